//! What is done after the lock is released.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tower_conn_core::CloseReason;

use super::dial::{Dial, Wanted};
use super::{Grant, Shared};
use crate::conn::Conn;
use crate::{PoolEvent, PoolObserver};

pub(super) struct Work<B> {
    pub(super) grants: Grants<B>,
    pub(super) dials: Vec<Wanted>,
    pub(super) retire: Vec<(Arc<Conn<B>>, CloseReason)>,
    pub(super) ports_low: Vec<(std::net::SocketAddr, u32, u32)>,
    pub(super) start_timer: bool,
}

/// What waiters get. Mostly it is one, which takes no allocation.
pub(super) struct Grants<B> {
    first: Option<(oneshot::Sender<Grant<B>>, Grant<B>)>,
    rest: Vec<(oneshot::Sender<Grant<B>>, Grant<B>)>,
}

impl<B> Grants<B> {
    pub(super) fn push(&mut self, waiter: oneshot::Sender<Grant<B>>, grant: Grant<B>) {
        if self.first.is_none() {
            self.first = Some((waiter, grant));
        } else {
            self.rest.push((waiter, grant));
        }
    }
}

impl<B> Default for Work<B> {
    fn default() -> Self {
        Self {
            grants: Grants {
                first: None,
                rest: Vec::new(),
            },
            dials: Vec::new(),
            retire: Vec::new(),
            ports_low: Vec::new(),
            start_timer: false,
        }
    }
}

impl<C, B, O> Shared<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    pub(super) fn carry_out(&self, work: Work<B>) {
        let Grants { first, rest } = work.grants;
        for (waiter, grant) in first.into_iter().chain(rest) {
            // Whoever waited has gone in the meantime: the connection is free again.
            if let Err(Ok(conn)) = waiter.send(grant) {
                self.give_back(conn);
            }
        }
        for (conn, reason) in work.retire {
            conn.retire(reason);
        }
        for (destination, used, ports) in work.ports_low {
            self.watch.observer.on_event(&PoolEvent::PortsLow {
                destination,
                used,
                ports,
            });
        }
        if work.dials.is_empty() && !work.start_timer {
            return;
        }
        let Some(me) = self.me.upgrade() else {
            return;
        };
        for wanted in work.dials {
            C::dial(&me, wanted);
        }
        if work.start_timer {
            self.spawn(crate::timer::run(self.me.clone(), Arc::clone(&self.alarm)));
        }
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match Handle::try_current() {
            Ok(handle) => {
                handle.spawn(future);
            }
            Err(_) => {
                if let Some(handle) = self.runtime.get() {
                    handle.spawn(future);
                }
            }
        }
    }
}

impl<C, B, O> Shared<C, B, O> {
    /// Remembers the runtime, for what has to be started from outside of one.
    pub(crate) fn note_runtime(&self) {
        if self.runtime.get().is_none() {
            if let Ok(handle) = Handle::try_current() {
                let _ = self.runtime.set(handle);
            }
        }
    }
}
