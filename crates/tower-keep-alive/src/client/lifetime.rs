//! How much longer one client connection may be reused.

use std::time::Duration;

use http::{Response, Version};
use tokio::time::Instant;
use tower_conn_core::CloseReason;

use crate::hint::smallest;
use crate::{KeepAliveHint, Persistence, RequestFacts, ReusePolicy, decide_reuse};

/// How much longer one client connection may be reused: fed with its requests and responses, and
/// asked before each reuse. For pools; [`Expiring`](crate::Expiring) is the same as a service.
///
/// The idle time counts from the head of the response, which is never later than the server's own
/// count: a connection whose response took longer to read than it may be idle is not reused.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    born: Instant,
    uses: u32,
    /// The shortest time announced so far: a server need not repeat itself.
    timeout: Option<Duration>,
    /// How many more requests the server takes.
    left: Option<u32>,
    deadline: Option<Instant>,
    retired: Option<CloseReason>,
}

impl Lifetime {
    /// A connection opened at `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            born: now,
            uses: 0,
            timeout: None,
            left: None,
            deadline: None,
            retired: None,
        }
    }

    /// Notes that a request is sent.
    pub const fn sent(&mut self) {
        self.uses = self.uses.saturating_add(1);
        self.deadline = None;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
    }

    /// Notes the head of a response, received at `now`.
    pub fn received<B>(
        &mut self,
        policy: &ReusePolicy,
        request: &RequestFacts,
        response: &Response<B>,
        now: Instant,
    ) {
        if let Persistence::Close(reason) = decide_reuse(request, response) {
            self.retire(reason);
        }
        match response.version() {
            // There is no hint, and other streams may be at work.
            version if version > Version::HTTP_11 => return,
            version if version < Version::HTTP_11 && !policy.reuses_http10() => {
                self.retire(CloseReason::Http10);
            }
            _ => {}
        }
        let hint = policy.hint_of(response);
        self.timeout = smallest(self.timeout, hint.timeout());
        self.left = smallest(self.left, hint.max());
        if self.left == Some(0) {
            self.retire(CloseReason::MaxRequests);
        }
        match policy.idle_limit(KeepAliveHint::new(self.timeout, self.left)) {
            Some(limit) => self.deadline = now.checked_add(limit),
            None => self.retire(CloseReason::HintExpired),
        }
    }

    /// Takes the connection out of use. The first reason given stays.
    pub const fn retire(&mut self, reason: CloseReason) {
        if self.retired.is_none() {
            self.retired = Some(reason);
        }
    }

    /// Why the connection must not be reused at `now`; `None` while it may be.
    #[must_use]
    pub fn expired(&self, policy: &ReusePolicy, now: Instant) -> Option<CloseReason> {
        if self.retired.is_some() {
            return self.retired;
        }
        if policy.uses().is_some_and(|uses| self.uses >= uses.get()) {
            return Some(CloseReason::MaxRequests);
        }
        let age = now.saturating_duration_since(self.born);
        if policy.age().is_some_and(|limit| age >= limit) {
            return Some(CloseReason::MaxAge);
        }
        let announced = if self.timeout.is_some() {
            CloseReason::HintExpired
        } else {
            CloseReason::Idle
        };
        self.deadline
            .is_some_and(|deadline| now >= deadline)
            .then_some(announced)
    }

    /// When the connection must not be reused any more, if nothing happens until then; `None` while
    /// a request is on it.
    #[must_use]
    pub fn deadline(&self, policy: &ReusePolicy) -> Option<Instant> {
        let aged = policy.age().and_then(|age| self.born.checked_add(age));
        self.deadline
            .map(|deadline| aged.map_or(deadline, |aged| aged.min(deadline)))
    }

    /// How many requests were sent.
    #[must_use]
    pub const fn uses(&self) -> u32 {
        self.uses
    }
}
