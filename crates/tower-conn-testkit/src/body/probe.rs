use std::{
    sync::{Arc, Mutex, MutexGuard},
    task::Waker,
};

/// Watches one [`ScriptedBody`](super::ScriptedBody), wherever it has gone.
#[derive(Clone, Debug, Default)]
pub struct BodyProbe(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) polls: usize,
    pub(super) frames: usize,
    pub(super) ended: bool,
    pub(super) failed: bool,
    pub(super) dropped: bool,
    pub(super) resumed: usize,
    pub(super) stalled: Option<Waker>,
}

impl BodyProbe {
    /// How often the body was polled.
    #[must_use]
    pub fn polls(&self) -> usize {
        self.state().polls
    }

    /// How many frames were taken from it.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.state().frames
    }

    /// Whether it has returned `None`.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.state().ended
    }

    /// Whether it has returned its error.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.state().failed
    }

    /// Whether it was dropped.
    #[must_use]
    pub fn dropped(&self) -> bool {
        self.state().dropped
    }

    /// Ends the next (or present) [stall](super::Script::stall) and wakes whoever waits in it.
    pub fn resume(&self) {
        let stalled = {
            let mut state = self.state();
            state.resumed += 1;
            state.stalled.take()
        };
        if let Some(waker) = stalled {
            waker.wake();
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic under the lock")
    }
}
