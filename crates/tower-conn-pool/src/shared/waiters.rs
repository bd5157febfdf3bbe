//! The queue of those who wait for a connection to one origin.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::Grant;
use crate::conn::Wire;
use crate::policy::Need;

pub(super) struct Waiter<B> {
    pub(super) grant: oneshot::Sender<Grant<B>>,
    pub(super) need: Need,
    /// Whether a connection is being opened for it.
    pub(super) dialing: bool,
}

/// In the order in which they came, by ticket.
pub(super) struct Waiters<B> {
    /// Who has left from the middle is only crossed out.
    queue: VecDeque<(u64, Option<Waiter<B>>)>,
    len: usize,
    /// Of those that no connection is being opened for: how many could share a pipelined one.
    sharing: usize,
    /// And how many could not.
    alone: usize,
}

impl<B> Default for Waiters<B> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            len: 0,
            sharing: 0,
            alone: 0,
        }
    }
}

impl<B> Waiter<B> {
    /// Whether a connection that nothing is outstanding on does for it.
    pub(super) fn takes(&self, is_new: bool, wire: Wire) -> bool {
        (is_new || !self.need.fresh) && (wire == Wire::Http1 || !self.need.switches)
    }
}

impl<B> Waiters<B> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn sharing(&self) -> usize {
        self.sharing
    }

    pub(super) fn alone(&self) -> usize {
        self.alone
    }

    /// Tickets have to ascend.
    pub(super) fn push(&mut self, ticket: u64, waiter: Waiter<B>) {
        self.count(&waiter, 1);
        self.len += 1;
        self.queue.push_back((ticket, Some(waiter)));
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&Waiter<B>> {
        self.queue[self.find(ticket)?].1.as_ref()
    }

    pub(super) fn remove(&mut self, ticket: u64) -> Option<Waiter<B>> {
        let at = self.find(ticket)?;
        self.take(at)
    }

    /// A connection is being opened for this one.
    pub(super) fn dialing(&mut self, ticket: u64) {
        self.set_dialing(ticket, true);
    }

    /// The connection for this one is there, or will not be; `true` if it still waits.
    pub(super) fn dialed(&mut self, ticket: u64) -> bool {
        self.set_dialing(ticket, false)
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<&Waiter<B>> {
        self.iter().next().map(|(_, waiter)| waiter)
    }

    /// The oldest that no connection is being opened for.
    pub(super) fn undialed(&self) -> Option<(u64, &Waiter<B>)> {
        if self.sharing + self.alone == 0 {
            return None;
        }
        self.iter().find(|(_, waiter)| !waiter.dialing)
    }

    /// Takes the oldest that a connection does for that nothing is outstanding on.
    pub(super) fn take_for(&mut self, is_new: bool, wire: Wire) -> Option<Waiter<B>> {
        self.take_first(|waiter| waiter.takes(is_new, wire))
    }

    /// Takes the oldest that a stream of an HTTP/2 connection does for.
    pub(super) fn take_for_stream(&mut self) -> Option<Waiter<B>> {
        self.take_first(|waiter| !waiter.need.fresh)
    }

    /// Takes the oldest that may share a pipelined connection with others and has no own one coming.
    pub(super) fn take_sharing(&mut self) -> Option<Waiter<B>> {
        if self.sharing == 0 {
            return None;
        }
        self.take_first(|waiter| waiter.need.may_share() && !waiter.dialing)
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Waiter<B>> + use<B> {
        std::mem::take(self)
            .queue
            .into_iter()
            .filter_map(|(_, waiter)| waiter)
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &Waiter<B>)> {
        self.queue
            .iter()
            .filter_map(|(ticket, waiter)| Some((*ticket, waiter.as_ref()?)))
    }

    fn find(&self, ticket: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&ticket, |(t, _)| *t).ok()
    }

    fn take_first(&mut self, fits: impl Fn(&Waiter<B>) -> bool) -> Option<Waiter<B>> {
        let at = self
            .queue
            .iter()
            .position(|(_, waiter)| waiter.as_ref().is_some_and(&fits))?;
        self.take(at)
    }

    fn take(&mut self, at: usize) -> Option<Waiter<B>> {
        let waiter = self.queue[at].1.take()?;
        self.len -= 1;
        self.count(&waiter, -1);
        while self.queue.front().is_some_and(|(_, w)| w.is_none()) {
            self.queue.pop_front();
        }
        // A first one that waits for ever must not keep those who came and went behind it.
        if self.queue.len() > 2 * self.len + 32 {
            self.queue.retain(|(_, waiter)| waiter.is_some());
        }
        Some(waiter)
    }

    fn set_dialing(&mut self, ticket: u64, dialing: bool) -> bool {
        let Some(at) = self.find(ticket) else {
            return false;
        };
        let Some(mut waiter) = self.queue[at].1.take() else {
            return false;
        };
        self.count(&waiter, -1);
        waiter.dialing = dialing;
        self.count(&waiter, 1);
        self.queue[at].1 = Some(waiter);
        true
    }

    fn count(&mut self, waiter: &Waiter<B>, change: isize) {
        if waiter.dialing {
            return;
        }
        let count = if waiter.need.may_share() {
            &mut self.sharing
        } else {
            &mut self.alone
        };
        *count = count.wrapping_add_signed(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Need = Need {
        fresh: false,
        alone: false,
        switches: false,
    };
    const ALONE: Need = Need {
        alone: true,
        ..SHARE
    };
    const FRESH: Need = Need {
        fresh: true,
        ..ALONE
    };

    fn queue(needs: &[Need]) -> Waiters<()> {
        let mut waiters = Waiters::default();
        for (ticket, need) in needs.iter().enumerate() {
            let (grant, _) = oneshot::channel();
            waiters.push(
                ticket as u64 * 3,
                Waiter {
                    grant,
                    need: *need,
                    dialing: false,
                },
            );
        }
        waiters
    }

    fn left(waiters: &Waiters<()>) -> Vec<u64> {
        waiters.iter().map(|(ticket, _)| ticket).collect()
    }

    #[test]
    fn the_oldest_that_fits_is_next() {
        let mut waiters = queue(&[FRESH, ALONE, SHARE, SHARE]);
        assert!(waiters.take_for(false, Wire::Http1).is_some());
        assert_eq!(left(&waiters), [0, 6, 9], "the first one wants a new one");
        assert!(waiters.take_sharing().is_some());
        assert!(waiters.take_for(true, Wire::Pipelined).is_some());
        assert_eq!(left(&waiters), [9]);
        assert_eq!((waiters.sharing(), waiters.alone()), (1, 0));
    }

    #[test]
    fn one_for_whom_a_connection_is_opened_does_not_share() {
        let mut waiters = queue(&[SHARE, SHARE]);
        waiters.dialing(0);
        assert_eq!(waiters.undialed().map(|(ticket, _)| ticket), Some(3));
        assert!(waiters.take_sharing().is_some());
        assert!(waiters.take_sharing().is_none());
        assert!(waiters.dialed(0) && !waiters.dialed(3));
        assert!(waiters.take_sharing().is_some());
        assert!(waiters.is_empty() && waiters.first().is_none());
    }

    #[test]
    fn who_left_from_the_middle_takes_no_room() {
        let mut waiters = queue(&[SHARE; 1000]);
        for ticket in 1..999 {
            assert!(waiters.remove(ticket * 3).is_some());
            assert!(waiters.remove(ticket * 3).is_none());
        }
        assert_eq!(left(&waiters), [0, 999 * 3]);
        assert!(waiters.queue.len() < 40, "{}", waiters.queue.len());
        assert_eq!((waiters.len(), waiters.sharing()), (2, 2));
    }
}
