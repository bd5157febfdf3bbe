use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    task::Waker,
};

/// What `poll_ready` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// `Ready(Ok(()))`.
    #[default]
    Ready,
    /// `Pending`, until something else is set.
    Pending,
    /// `Ready(Err)` with the error of this number.
    Fail(u32),
}

/// What a response future comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The handler's response.
    #[default]
    Respond,
    /// `Pending`, until something else is set.
    Pending,
    /// The error of this number.
    Fail(u32),
}

/// Steers and watches a [`ProbeService`](super::ProbeService) with all its clones.
#[derive(Clone, Debug)]
pub struct ServiceProbe(pub(super) Arc<Shared>);

impl ServiceProbe {
    /// Sets what `poll_ready` says from now on, and wakes whoever waits.
    ///
    /// An instance that has said `Ready` stays ready.
    pub fn set_readiness(&self, readiness: Readiness) {
        self.0.lock().readiness = readiness;
        self.0.wake();
    }

    /// Sets what response futures come to, those under way included, and wakes whoever waits.
    pub fn set_outcome(&self, outcome: Outcome) {
        self.0.lock().outcome = outcome;
        self.0.wake();
    }

    /// Sets what the futures of the next calls come to, one each. Later calls follow
    /// [`ServiceProbe::set_outcome`].
    pub fn script(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.0.lock().script.extend(outcomes);
    }

    /// How often `poll_ready` has been called on any instance.
    #[must_use]
    pub fn polls(&self) -> usize {
        self.0.lock().polls
    }

    /// How often any instance has been called.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.lock().called.len()
    }

    /// How many instances exist or have existed: 1 and the clones.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.0.lock().instances
    }

    /// The numbers of the instances that became ready, in order.
    #[must_use]
    pub fn readied(&self) -> Vec<usize> {
        self.0.lock().readied.clone()
    }

    /// The numbers of the instances that were called, in order.
    #[must_use]
    pub fn called(&self) -> Vec<usize> {
        self.0.lock().called.clone()
    }

    /// How many response futures exist that have not finished.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.lock().in_flight
    }

    /// How many response futures were dropped before they had finished.
    #[must_use]
    pub fn cancelled(&self) -> usize {
        self.0.lock().cancelled
    }
}

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    readiness: Readiness,
    outcome: Outcome,
    script: VecDeque<Outcome>,
    waiting: Vec<Waker>,
    polls: usize,
    instances: usize,
    readied: Vec<usize>,
    called: Vec<usize>,
    in_flight: usize,
    cancelled: usize,
}

impl Shared {
    pub(super) fn instance(&self) -> usize {
        let mut state = self.lock();
        state.instances += 1;
        state.instances
    }

    pub(super) fn poll_ready(&self, instance: usize, ready: bool, waker: &Waker) -> Readiness {
        let mut state = self.lock();
        state.polls += 1;
        if ready {
            return Readiness::Ready;
        }
        match state.readiness {
            Readiness::Ready => state.readied.push(instance),
            Readiness::Pending => state.waiting.push(waker.clone()),
            Readiness::Fail(_) => {}
        }
        state.readiness
    }

    /// Notes a call; its outcome if one is scripted.
    pub(super) fn call(&self, instance: usize) -> Option<Outcome> {
        let mut state = self.lock();
        state.called.push(instance);
        state.in_flight += 1;
        state.script.pop_front()
    }

    pub(super) fn poll_outcome(&self, scripted: Option<Outcome>, waker: &Waker) -> Outcome {
        let mut state = self.lock();
        let outcome = scripted.unwrap_or(state.outcome);
        if outcome == Outcome::Pending {
            state.waiting.push(waker.clone());
        }
        outcome
    }

    pub(super) fn finished(&self, cancelled: bool) {
        let mut state = self.lock();
        state.in_flight -= 1;
        state.cancelled += usize::from(cancelled);
    }

    /// Why an instance is not ready, for a panic.
    pub(super) fn history(&self, instance: usize) -> &'static str {
        let state = self.lock();
        if !state.readied.contains(&instance) {
            "never ready (a fresh clone?)"
        } else if state.called.contains(&instance) {
            "ready before, and has used that up"
        } else {
            "ready, and failed since"
        }
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        for waker in waiting {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}
