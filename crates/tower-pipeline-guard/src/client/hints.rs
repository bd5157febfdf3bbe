//! What a request may say about how it is sent.

use std::fmt;
use std::sync::Arc;

use http::Response;

/// In the extensions of a request: how it goes with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PipelineHint {
    /// Nothing before it and nothing behind it is outstanding at the same time.
    Alone,
    /// Nothing is sent behind it until the head of its response is here: its answer may take long.
    NoFollow,
}

/// In the extensions of a request: what to do with its 1xx responses, which are otherwise skipped.
#[derive(Clone)]
pub struct OnInformational(Arc<dyn Fn(Response<()>) + Send + Sync>);

impl OnInformational {
    /// Calls the function for each 1xx response but 101.
    pub fn new(function: impl Fn(Response<()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(super) fn call(&self, response: Response<()>) {
        (self.0)(response);
    }
}

impl fmt::Debug for OnInformational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnInformational").finish_non_exhaustive()
    }
}
