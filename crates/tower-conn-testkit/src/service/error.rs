use std::{error::Error, fmt};

/// An error whose identity can be followed through a layer.
pub trait TestError: Send + 'static {
    /// The error of this number.
    fn new(id: u32) -> Self;

    /// Its number.
    fn id(&self) -> u32;
}

/// The plainest error: no `Debug`, no `Display`, no `Error`, no `Clone`. A layer that compiles around it leaves
/// error types alone.
#[expect(missing_debug_implementations, reason = "shows that no layer needs it")]
pub struct ProbeError {
    id: u32,
}

impl TestError for ProbeError {
    fn new(id: u32) -> Self {
        Self { id }
    }

    fn id(&self) -> u32 {
        self.id
    }
}

/// A [`TestError`] that implements [`Error`], for layers that must look into errors (a retry's classifier).
#[derive(Debug)]
pub struct NamedError {
    id: u32,
}

impl TestError for NamedError {
    fn new(id: u32) -> Self {
        Self { id }
    }

    fn id(&self) -> u32 {
        self.id
    }
}

impl fmt::Display for NamedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test error {}", self.id)
    }
}

impl Error for NamedError {}
