use std::{fmt, sync::Arc};

use http::HeaderMap;

type MapTrailers = Arc<dyn Fn(HeaderMap) -> Option<HeaderMap> + Send + Sync>;

/// In what a body wrapper differs from plain forwarding. As it starts: in nothing.
#[derive(Clone, Default)]
pub struct BodyRules {
    pub(super) trailers: Option<MapTrailers>,
    pub(super) hint_may_widen: bool,
    pub(super) error_may_be_wrapped: bool,
    pub(super) may_outlive: bool,
    pub(super) end_may_be_late: bool,
}

impl BodyRules {
    /// Plain forwarding.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The wrapper changes trailers like this; `None` takes the frame away.
    #[must_use]
    pub fn trailers(
        mut self,
        map: impl Fn(HeaderMap) -> Option<HeaderMap> + Send + Sync + 'static,
    ) -> Self {
        self.trailers = Some(Arc::new(map));
        self
    }

    /// `size_hint` may say less than the inner body's. It must still be true.
    #[must_use]
    pub fn hint_may_widen(mut self) -> Self {
        self.hint_may_widen = true;
        self
    }

    /// `is_end_stream` may stay `false` where the inner body's is `true`. It must still be true when it says so.
    #[must_use]
    pub fn end_may_be_late(mut self) -> Self {
        self.end_may_be_late = true;
        self
    }

    /// The inner body's error may be a source of the wrapper's, instead of the error itself.
    #[must_use]
    pub fn error_may_be_wrapped(mut self) -> Self {
        self.error_may_be_wrapped = true;
        self
    }

    /// The inner body may live on when the wrapper is dropped (to be drained, for instance).
    #[must_use]
    pub fn may_outlive(mut self) -> Self {
        self.may_outlive = true;
        self
    }

    pub(super) fn map_trailers(&self, trailers: HeaderMap) -> Option<HeaderMap> {
        match &self.trailers {
            Some(map) => map(trailers),
            None => Some(trailers),
        }
    }
}

impl fmt::Debug for BodyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyRules")
            .field("trailers", &self.trailers.is_some())
            .field("hint_may_widen", &self.hint_may_widen)
            .field("end_may_be_late", &self.end_may_be_late)
            .field("error_may_be_wrapped", &self.error_may_be_wrapped)
            .field("may_outlive", &self.may_outlive)
            .finish()
    }
}
