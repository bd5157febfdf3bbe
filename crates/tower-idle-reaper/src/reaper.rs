//! The reaper: policy, registry of live connections, counters, and the task that sweeps.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tower_conn_core::{CloseReason, Connection, OnExchange, Side};

use crate::common::{Common, Observer};
use crate::io::ReapedIo;
use crate::limits::{NEVER, Phase};
use crate::registry::{Candidate, Registry};
use crate::shared::Shared;
use crate::{OnClose, Policy, sweep};

/// Enforces a [`Policy`] over the connections of a server.
///
/// A cheap handle: clones share the policy, the registry of live connections, the counters and one
/// task that sweeps. The task runs while connections are open, wakes once a [tick](Policy::tick),
/// and ends when the last connection has; the next one starts it again.
///
/// See the [crate documentation](crate) for how to put it under a server.
#[derive(Clone)]
pub struct IdleReaper {
    pub(crate) inner: Arc<Inner>,
}

/// Starts an [`IdleReaper`] with observers.
#[must_use]
pub struct Builder {
    policy: Policy,
    observer: Option<Observer>,
    on_exchange: Option<ExchangeObserver>,
}

type ExchangeObserver = Arc<dyn OnExchange + Send + Sync>;

pub(crate) struct Inner {
    pub(crate) common: Arc<Common>,
    pub(crate) registry: Registry,
    on_exchange: Option<ExchangeObserver>,
    pub(crate) candidates: Mutex<Vec<Candidate>>,
    pub(crate) sweeping: AtomicBool,
}

// ===== impl IdleReaper =====

impl IdleReaper {
    /// A reaper with this policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::builder(policy).build()
    }

    /// Starts a reaper with this policy, to add an observer.
    pub const fn builder(policy: Policy) -> Builder {
        Builder {
            policy,
            observer: None,
            on_exchange: None,
        }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// Takes an accepted transport under the policy, whatever the limits on the number of
    /// connections say; [`admit`](Self::admit) respects them.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn wrap<T>(&self, io: T, peer: Option<SocketAddr>) -> ReapedIo<T> {
        self.inner.open.fetch_add(1, Ordering::AcqRel);
        ReapedIo::plain(io, self.inner.register(peer))
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.open.load(Ordering::Acquire)
    }

    /// How many connections have ended for this reason.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.inner.closed(reason)
    }

    /// How many connections have ended, for each reason for which any has.
    pub fn closed_by_reason(&self) -> impl Iterator<Item = (CloseReason, u64)> + '_ {
        CloseReason::ALL
            .iter()
            .map(|&reason| (reason, self.closed(reason)))
            .filter(|&(_, count)| count > 0)
    }

    /// The connections that are open now, for a status page.
    #[must_use]
    pub fn open_connections(&self) -> Vec<Connection> {
        let mut all = Vec::with_capacity(self.connections());
        self.inner
            .registry
            .for_each(|connection| all.push(connection));
        all
    }
}

impl Default for IdleReaper {
    /// A reaper with [`Policy::safe`].
    fn default() -> Self {
        Self::new(Policy::safe())
    }
}

impl fmt::Debug for IdleReaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleReaper")
            .field("policy", &self.inner.policy)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

// ===== impl Builder =====

impl Builder {
    /// Has this told of the end of every connection.
    pub fn on_close(mut self, observer: impl OnClose + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Has this told of the exchanges of every connection.
    pub fn on_exchange(mut self, observer: impl OnExchange + Send + Sync + 'static) -> Self {
        self.on_exchange = Some(Arc::new(observer));
        self
    }

    /// The reaper.
    #[must_use]
    pub fn build(self) -> IdleReaper {
        IdleReaper {
            inner: Arc::new(Inner {
                common: Arc::new(Common::new(self.policy, self.observer)),
                registry: Registry::default(),
                on_exchange: self.on_exchange,
                candidates: Mutex::default(),
                sweeping: AtomicBool::new(false),
            }),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

// ===== impl Inner =====

impl Inner {
    /// Enters a connection that has been counted as open.
    pub(crate) fn register(self: &Arc<Self>, peer: Option<SocketAddr>) -> Connection {
        let now = self.clock.refresh();
        let (slot, row) = self.registry.claim(&self.common);
        row.stamps.advance_to(now);
        let index = slot.index();
        let mut builder = Connection::builder(Side::Server).stamp(slot);
        if let Some(peer) = peer {
            builder = builder.peer_addr(peer);
        }
        if let Some(observer) = &self.on_exchange {
            builder = builder.on_exchange(Arc::clone(observer));
        }
        let connection = builder.build();
        row.chunk.enter(index, connection.link().clone());

        let shared = Shared::new(&row.chunk, index, connection.link());
        if self.limits.first_byte != NEVER {
            let due = crate::limits::after(now.get(), self.limits.first_byte);
            shared.enter(Phase::FirstByte, due);
        }
        if self.policy.max_age.is_some() {
            shared.look_at(self.age_at(&connection));
        }
        self.drain.meet(&connection);
        sweep::ensure_running(self);
        connection
    }
}

impl Deref for Inner {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}
