//! The future of a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::dial::Dial;
use super::{Grant, Shared};
use crate::{Delivery, Origin, PoolError, PoolErrorKind, PoolObserver};

/// A place in the queue; left when dropped.
pub(crate) struct Waiting<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    pool: Arc<Shared<C, B, O>>,
    origin: Origin,
    ticket: u64,
    grant: Option<oneshot::Receiver<Grant<B>>>,
}

impl<C, B, O> Waiting<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    pub(super) fn new(
        pool: Arc<Shared<C, B, O>>,
        origin: Origin,
        ticket: u64,
        grant: oneshot::Receiver<Grant<B>>,
    ) -> Self {
        Self {
            pool,
            origin,
            ticket,
            grant: Some(grant),
        }
    }
}

impl<C, B, O> Future for Waiting<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    type Output = Grant<B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Grant<B>> {
        let this = self.get_mut();
        let Some(grant) = &mut this.grant else {
            return Poll::Pending;
        };
        Pin::new(grant).poll(cx).map(|granted| {
            this.grant = None;
            granted
                .unwrap_or_else(|_| Err(PoolError::new(PoolErrorKind::Canceled, Delivery::NotSent)))
        })
    }
}

impl<C, B, O> Drop for Waiting<C, B, O>
where
    C: Dial<B>,
    B: Send + 'static,
    O: PoolObserver,
{
    fn drop(&mut self) {
        let Some(mut grant) = self.grant.take() else {
            return;
        };
        self.pool.leave_queue(&self.origin, self.ticket);
        // What was granted a moment ago, and nobody has seen, belongs to the next.
        grant.close();
        if let Ok(Ok(conn)) = grant.try_recv() {
            self.pool.give_back(conn);
        }
    }
}
