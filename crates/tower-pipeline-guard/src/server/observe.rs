//! Watching what runs ahead.

use std::sync::Arc;

/// Is told of requests that run ahead of their turn.
///
/// `()` does nothing, and closures `Fn(AheadEvent)` implement it. It is called within the request:
/// count, do not wait.
pub trait OnAhead {
    /// A request started ahead of its turn, or what became of one.
    fn on_ahead(&self, event: AheadEvent);
}

/// What an [`OnAhead`] is told. Each request that has started is either taken or discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AheadEvent {
    /// A request started.
    #[non_exhaustive]
    Started {
        /// How many requests of the connection were unanswered before it.
        behind: usize,
    },
    /// Its turn came, and its response is the answer.
    Taken,
    /// It was for nothing: the connection closed before its turn, or the server read the request
    /// differently.
    Discarded,
}

impl OnAhead for () {
    fn on_ahead(&self, _: AheadEvent) {}
}

impl<F: Fn(AheadEvent)> OnAhead for F {
    fn on_ahead(&self, event: AheadEvent) {
        self(event);
    }
}

pub(super) type Observer = Arc<dyn OnAhead + Send + Sync>;

/// Tells what becomes of one request that runs ahead.
pub(super) struct Fate(Option<Observer>);

impl Fate {
    pub(super) fn started(observer: Option<&Observer>, behind: usize) -> Self {
        if let Some(observer) = observer {
            observer.on_ahead(AheadEvent::Started { behind });
        }
        Self(observer.cloned())
    }

    pub(super) fn taken(mut self) {
        if let Some(observer) = self.0.take() {
            observer.on_ahead(AheadEvent::Taken);
        }
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        if let Some(observer) = self.0.take() {
            observer.on_ahead(AheadEvent::Discarded);
        }
    }
}
