//! The one word that exchanges, closers and reapers compete for.
//!
//! Everything that must be decided together lives in one `u64`, so that starting an exchange, ending
//! one, asking for a close and claiming an idle connection are each a single atomic transition:
//!
//! | bits | meaning |
//! |---|---|
//! | 0..20 | exchanges open |
//! | 20..52 | exchanges begun, modulo 2^32 |
//! | 52 | a byte of a next head has been delivered |
//! | 53..55 | phase: running, closing, closed |
//! | 56..64 | reason of the close, 0 for none |

use std::task::{Context, Poll};

use crate::CloseReason;
use crate::sync::{AtomicU64, Ordering, WakerCell};

const OPEN_BITS: u32 = 20;
const OPEN_ONE: u64 = 1;
const OPEN_MASK: u64 = (1 << OPEN_BITS) - 1;
const BEGUN_SHIFT: u32 = OPEN_BITS;
const BEGUN_ONE: u64 = 1 << BEGUN_SHIFT;
const BEGUN_MASK: u64 = 0xFFFF_FFFF << BEGUN_SHIFT;
const RECEIVING: u64 = 1 << 52;
const CLOSING: u64 = 1 << 53;
const CLOSED: u64 = 1 << 54;
const REASON_SHIFT: u32 = 56;

/// One consistent reading of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) const fn open(self) -> u32 {
        (self.0 & OPEN_MASK) as u32
    }

    pub(crate) const fn begun(self) -> u32 {
        (self.0 >> BEGUN_SHIFT) as u32
    }

    pub(crate) const fn is_receiving(self) -> bool {
        self.0 & RECEIVING != 0
    }

    pub(crate) const fn is_idle(self) -> bool {
        self.0 & (OPEN_MASK | RECEIVING) == 0
    }

    pub(crate) const fn is_closing(self) -> bool {
        self.0 & (CLOSING | CLOSED) != 0
    }

    pub(crate) const fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    pub(crate) const fn reason(self) -> Option<CloseReason> {
        CloseReason::from_code((self.0 >> REASON_SHIFT) as u8)
    }

    const fn with_begun_one(self) -> Self {
        let begun = self.0.wrapping_add(BEGUN_ONE) & BEGUN_MASK;
        Self(((self.0 & !(BEGUN_MASK | RECEIVING)) + OPEN_ONE) | begun)
    }

    const fn with_phase(self, phase: u64, reason: CloseReason) -> Self {
        let reason = match self.reason() {
            Some(first) => first as u64,
            None => reason as u64,
        };
        Self((self.0 & !(0xFF << REASON_SHIFT)) | phase | (reason << REASON_SHIFT))
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
    pub(crate) fn begin(&self) -> Result<u32, Word> {
        self.update(|w| {
            (!w.is_closed() && w.0 & OPEN_MASK != OPEN_MASK).then(|| w.with_begun_one())
        })
        .map(|before| before.with_begun_one().begun())
    }

    /// Ends an exchange; `true` if it was the last one open.
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
                let unnamed = Word(w.0 & !(0xFF << REASON_SHIFT));
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
        let full = Word(BEGUN_MASK | RECEIVING | CLOSING);
        let next = full.with_begun_one();
        assert_eq!(next.begun(), 0);
        assert_eq!(next.open(), 1);
        assert!(next.is_closing() && !next.is_receiving() && !next.is_closed());
    }

    #[test]
    fn no_more_exchanges_open_than_the_word_can_count() {
        let state = State::new();
        state.word.store(OPEN_MASK, Ordering::Relaxed);
        assert!(state.begin().is_err());
        assert_eq!(state.load().open(), OPEN_MASK as u32);
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
