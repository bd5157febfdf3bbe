//! The one word that exchanges, closers and reapers compete for.
//!
//! Everything that must be decided together lives in one `u64`, so that starting an exchange, ending
//! one, asking for a close and claiming an idle connection are each a single atomic transition:
//!
//! | bits | meaning |
//! |---|---|
//! | 0..20 | exchanges open |
//! | 20 | a byte of a next head has been delivered |
//! | 21..23 | phase: running, closing, closed |
//! | 23..31 | reason of the close, 0 for none |
//! | 31 | a note has been left |
//! | 32..64 | exchanges begun, modulo 2^32 |
//!
//! An exchange begins by one addition, which is taken back on a closed connection.

use std::task::{Context, Poll};

use crate::CloseReason;
use crate::sync::{AtomicU64, Ordering, WakerCell};

const OPEN_ONE: u64 = 1;
const OPEN_MASK: u64 = (1 << 20) - 1;
/// More are refused, with room for those who find out only after they have added themselves.
const OPEN_MOST: u64 = 1 << 19;
const RECEIVING: u64 = 1 << 20;
const CLOSING: u64 = 1 << 21;
const CLOSED: u64 = 1 << 22;
const REASON_SHIFT: u32 = 23;
const REASON_MASK: u64 = 0xFF << REASON_SHIFT;
const NOTED: u64 = 1 << 31;
const BEGUN_SHIFT: u32 = 32;
/// One more begun, modulo 2^32: what is carried falls off the end.
const BEGIN: u64 = (1 << BEGUN_SHIFT) + OPEN_ONE;

/// One consistent reading of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    #[inline]
    pub(crate) const fn open(self) -> u32 {
        (self.0 & OPEN_MASK) as u32
    }

    #[inline]
    pub(crate) const fn begun(self) -> u32 {
        (self.0 >> BEGUN_SHIFT) as u32
    }

    #[inline]
    pub(crate) const fn is_receiving(self) -> bool {
        self.0 & RECEIVING != 0
    }

    #[inline]
    pub(crate) const fn is_idle(self) -> bool {
        self.0 & (OPEN_MASK | RECEIVING) == 0
    }

    /// Whether it is idle, and neither a close nor a note is to be looked at.
    #[inline]
    pub(crate) const fn is_quiet(self) -> bool {
        self.0 & (OPEN_MASK | RECEIVING | CLOSING | CLOSED | NOTED) == 0
    }

    #[inline]
    pub(crate) const fn is_noted(self) -> bool {
        self.0 & NOTED != 0
    }

    #[inline]
    pub(crate) const fn is_closing(self) -> bool {
        self.0 & (CLOSING | CLOSED) != 0
    }

    #[inline]
    pub(crate) const fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    #[inline]
    pub(crate) const fn reason(self) -> Option<CloseReason> {
        CloseReason::from_code((self.0 >> REASON_SHIFT) as u8)
    }

    const fn with_phase(self, phase: u64, reason: CloseReason) -> Self {
        let reason = match self.reason() {
            Some(first) => first as u64,
            None => reason as u64,
        };
        Self((self.0 & !REASON_MASK) | phase | (reason << REASON_SHIFT))
    }
}

#[derive(Debug)]
pub(crate) struct State {
    word: AtomicU64,
    waker: WakerCell,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            waker: WakerCell::default(),
        }
    }

    #[inline]
    pub(crate) fn load(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    fn update(&self, f: impl Fn(Word) -> Option<Word>) -> Result<Word, Word> {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |w| {
                f(Word(w)).map(|w| w.0)
            })
            .map(Word)
            .map_err(Word)
    }

    /// Starts an exchange and returns its number, from 1. Fails on a closed connection.
    #[inline]
    pub(crate) fn begin(&self) -> Result<u32, Word> {
        let before = Word(self.word.fetch_add(BEGIN, Ordering::AcqRel));
        if before.0 & (CLOSED | RECEIVING) != 0 || before.0 & OPEN_MASK >= OPEN_MOST {
            self.begin_otherwise(before)?;
        }
        Ok(before.begun().wrapping_add(1))
    }

    #[cold]
    fn begin_otherwise(&self, before: Word) -> Result<(), Word> {
        if before.is_closed() || before.0 & OPEN_MASK >= OPEN_MOST {
            self.word.fetch_sub(BEGIN, Ordering::AcqRel);
            return Err(before);
        }
        // Open by now, so that it is not idle in between.
        self.word.fetch_and(!RECEIVING, Ordering::AcqRel);
        Ok(())
    }

    /// Ends an exchange; `true` if it was the last one open.
    #[inline]
    pub(crate) fn end(&self) -> bool {
        let before = Word(self.word.fetch_sub(OPEN_ONE, Ordering::AcqRel));
        debug_assert!(before.open() > 0, "an exchange ended that never began");
        let last = before.open() == 1;
        if last && before.is_closing() {
            self.waker.wake();
        }
        last
    }

    /// Notes that a byte of a next head was delivered; `false` if the connection was claimed first.
    pub(crate) fn receive(&self) -> bool {
        self.update(|w| (!w.is_closed()).then_some(Word(w.0 | RECEIVING)))
            .is_ok()
    }

    /// Takes back [`receive`](Self::receive): what arrived was no head after all.
    pub(crate) fn unreceive(&self) {
        let before = Word(self.word.fetch_and(!RECEIVING, Ordering::AcqRel));
        if before.is_closing() {
            self.waker.wake();
        }
    }

    /// Asks for a close; `true` if nobody had asked before.
    pub(crate) fn request_close(&self, reason: CloseReason) -> bool {
        let first = self
            .update(|w| (!w.is_closing()).then(|| w.with_phase(CLOSING, reason)))
            .is_ok();
        if first {
            self.waker.wake();
        }
        first
    }

    /// Records that the connection is closed; the reason that stands, and whether this call closed it.
    pub(crate) fn close(&self, reason: CloseReason) -> (CloseReason, bool) {
        let result = self.update(|w| (!w.is_closed()).then(|| w.with_phase(CLOSED, reason)));
        let stands = match result {
            Ok(before) | Err(before) => before.reason().unwrap_or(reason),
        };
        if result.is_ok() {
            self.waker.wake();
        }
        (stands, result.is_ok())
    }

    /// Like [`close`](Self::close), but replaces a reason that was only asked for; whether this call
    /// closed it.
    pub(crate) fn cut(&self, reason: CloseReason) -> bool {
        let first = self
            .update(|w| {
                let unnamed = Word(w.0 & !REASON_MASK);
                (!w.is_closed()).then(|| unnamed.with_phase(CLOSED, reason))
            })
            .is_ok();
        if first {
            self.waker.wake();
        }
        first
    }

    /// Closes the connection if it is idle and nothing has happened to it since `seen`.
    pub(crate) fn claim(&self, seen: Word, reason: CloseReason) -> bool {
        !seen.is_closed() && self.move_idle(seen, CLOSED, reason)
    }

    /// Asks for a close if the connection is idle and nothing has happened to it since `seen`.
    pub(crate) fn ask_idle(&self, seen: Word, reason: CloseReason) -> bool {
        !seen.is_closing() && self.move_idle(seen, CLOSING, reason)
    }

    fn move_idle(&self, seen: Word, phase: u64, reason: CloseReason) -> bool {
        let moved = seen.is_idle()
            && self
                .word
                .compare_exchange(
                    seen.0,
                    seen.with_phase(phase, reason).0,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                )
                .is_ok();
        if moved {
            self.waker.wake();
        }
        moved
    }

    pub(crate) fn leave_note(&self) {
        self.word.fetch_or(NOTED, Ordering::AcqRel);
    }

    /// Whether there was one.
    pub(crate) fn take_note(&self) -> bool {
        self.load().is_noted() && {
            let before = self.word.fetch_and(!NOTED, Ordering::AcqRel);
            Word(before).is_noted()
        }
    }

    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Ready once a close was asked for or has happened.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.poll(cx, |state| {
            let word = state.load();
            word.is_closing().then(|| word.reason()).flatten()
        })
    }

    /// Ready once the connection is closed.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.poll(cx, |state| {
            let word = state.load();
            word.is_closed().then(|| word.reason()).flatten()
        })
    }

    /// Ready once a close was asked for and no exchange is open; the connection is closed by then.
    pub(crate) fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.poll(cx, |state| {
            loop {
                let word = state.load();
                let reason = word.reason().filter(|_| word.is_closing())?;
                if word.is_closed() || state.claim(word, reason) {
                    return Some(reason);
                }
                if !word.is_idle() {
                    return None;
                }
            }
        })
    }

    fn poll(
        &self,
        cx: &mut Context<'_>,
        check: impl Fn(&Self) -> Option<CloseReason>,
    ) -> Poll<CloseReason> {
        if let Some(reason) = check(self) {
            return Poll::Ready(reason);
        }
        self.waker.register(cx.waker());
        check(self).map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(all(test, not(tower_conn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_begun_exchanges_wraps_without_touching_its_neighbours() {
        let state = State::new();
        let full = u64::from(u32::MAX) << BEGUN_SHIFT;
        state.word.store(full | CLOSING, Ordering::Relaxed);
        assert_eq!(state.begin().ok(), Some(0));
        let word = state.load();
        assert_eq!((word.begun(), word.open()), (0, 1));
        assert!(word.is_closing() && !word.is_receiving() && !word.is_closed());
    }

    #[test]
    fn an_exchange_takes_over_from_the_head_that_was_begun() {
        let state = State::new();
        assert!(state.receive() && state.load().is_receiving());
        assert_eq!(state.begin().ok(), Some(1));
        assert!(!state.load().is_receiving());
    }

    #[test]
    fn no_more_exchanges_open_than_the_word_can_count() {
        let state = State::new();
        state.word.store(OPEN_MOST, Ordering::Relaxed);
        let before = state.load();
        assert!(state.begin().is_err());
        assert!(state.load() == before);
    }

    #[test]
    fn a_refused_exchange_leaves_no_trace() {
        let state = State::new();
        state.close(CloseReason::Idle);
        let before = state.load();
        assert!(state.begin().is_err());
        assert!(state.load() == before);
    }

    #[test]
    fn a_claim_fails_when_an_exchange_came_and_went_since_the_reading() {
        let state = State::new();
        let seen = state.load();
        state.begin().unwrap_or_else(|_| panic!("open"));
        state.end();
        assert!(!state.claim(seen, CloseReason::Idle));
        assert!(state.claim(state.load(), CloseReason::Idle));
        assert!(state.begin().is_err());
    }
}
