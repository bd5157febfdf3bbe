use std::{error::Error, fmt};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::SizeHint;

use super::{BodyProbe, ScriptedBody};

/// What `size_hint` says about the data that is still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Exactly what is scripted.
    #[default]
    Exact,
    /// Nothing.
    Unknown,
    /// Bounds that are this far from the truth on each side.
    Within(u64),
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(u32),
    Pending,
    Stall,
}

/// What a [`ScriptedBody`] does, step by step. A script can be [made a body](Script::body) any number of times.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(super) steps: Vec<Step>,
    pub(super) hint: Hint,
    pub(super) late_end: bool,
}

impl Script {
    /// An empty body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Then a data frame.
    #[must_use]
    pub fn data(self, data: impl Into<Bytes>) -> Self {
        self.then(Step::Data(data.into()))
    }

    /// Then a trailers frame of these fields.
    #[must_use]
    pub fn trailers(self, trailers: HeaderMap) -> Self {
        self.then(Step::Trailers(trailers))
    }

    /// Then a trailers frame of one field.
    ///
    /// # Panics
    ///
    /// When that is no header field.
    #[must_use]
    pub fn trailer(self, name: &'static str, value: &'static str) -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
        self.trailers(trailers)
    }

    /// Then the error of this number, which ends the body.
    #[must_use]
    pub fn error(self, id: u32) -> Self {
        self.then(Step::Error(id))
    }

    /// Then `Pending` once, woken at once.
    #[must_use]
    pub fn pending(self) -> Self {
        self.then(Step::Pending)
    }

    /// Then `Pending` until [`BodyProbe::resume`].
    #[must_use]
    pub fn stall(self) -> Self {
        self.then(Step::Stall)
    }

    /// What `size_hint` says; exactly what is scripted unless set.
    #[must_use]
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = hint;
        self
    }

    /// `is_end_stream` stays `false` until `None` was returned, as with a body that cannot know. Otherwise it is
    /// `true` as soon as no step is left, as with `Full`.
    #[must_use]
    pub fn late_end(mut self) -> Self {
        self.late_end = true;
        self
    }

    /// A body that follows this script, and the handle to watch it.
    #[must_use]
    pub fn body(&self) -> (ScriptedBody, BodyProbe) {
        ScriptedBody::new(self)
    }

    /// The number of data bytes in the script.
    #[must_use]
    pub fn len(&self) -> u64 {
        data_len(&self.steps)
    }

    /// Whether there is no data in the script.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl Hint {
    pub(super) fn of<'a>(self, rest: impl IntoIterator<Item = &'a Step>) -> SizeHint {
        let exact = data_len(rest);
        match self {
            Self::Exact => SizeHint::with_exact(exact),
            Self::Unknown => SizeHint::new(),
            Self::Within(slack) => {
                let mut hint = SizeHint::new();
                hint.set_lower(exact.saturating_sub(slack));
                hint.set_upper(exact.saturating_add(slack));
                hint
            }
        }
    }
}

fn data_len<'a>(steps: impl IntoIterator<Item = &'a Step>) -> u64 {
    steps
        .into_iter()
        .map(|step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        })
        .sum()
}

/// The error of a [`ScriptedBody`], known by its number.
#[derive(Debug, PartialEq, Eq)]
pub struct ScriptError {
    pub(super) id: u32,
}

impl ScriptError {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scripted body error {}", self.id)
    }
}

impl Error for ScriptError {}
