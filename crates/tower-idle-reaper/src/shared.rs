//! What the parts that handle one connection share: the transport, the sweep, the middleware.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use atomic_waker::AtomicWaker;
use tower_conn_core::{CloseReason, Connection};

use crate::limits::{Action, Facts, NEVER, Phase, after};
use crate::reaper::Inner;
use crate::registry::Chunk;

/// HTTP/2 was opened on the connection.
pub(crate) const HTTP2: u32 = 1;
/// The connection left HTTP.
pub(crate) const UPGRADED: u32 = 1 << 1;
/// Someone drives the connection with [`watch`](crate::IdleReaper::watch).
pub(crate) const WATCHED: u32 = 1 << 2;
/// Reading and writing fail from now on.
pub(crate) const CUT: u32 = 1 << 3;
/// Reading fails from now on.
pub(crate) const BODY_FAILED: u32 = 1 << 4;
/// Lingering is over.
pub(crate) const LINGER_OVER: u32 = 1 << 5;
/// A request body was left unfinished when the connection was shut down.
pub(crate) const UNREAD: u32 = 1 << 7;
/// The transport is under TLS whose handshake is not over.
pub(crate) const SEALED: u32 = 1 << 8;
/// More of a request body is to come.
pub(crate) const IN_BODY: u32 = 1 << 9;
/// The last request asked for the connection to close after it.
pub(crate) const PEER_ASKED: u32 = 1 << 6;

/// One connection, as the reaper knows it. Hangs on the [`Connection`] as its attachment.
///
/// Every field is written by one side and read by the sweep; stores are relaxed, because the sweep
/// is told by [`Chunk::look_at`] when it must see them.
pub(crate) struct Shared {
    pub(crate) reaper: Arc<Inner>,
    chunk: Arc<Chunk>,
    slot: u32,
    number: u32,
    opened: u32,
    age_at: AtomicU32,
    close_at: AtomicU32,
    cut_at: AtomicU32,
    kept: AtomicU32,
    flags: AtomicU32,
    /// Phase and its beginning, together.
    phase: AtomicU64,
    waited: AtomicU32,
    stalled: AtomicU32,
    blocked: AtomicU32,
    active: AtomicU32,
    /// `bytes_in` when the phase began.
    phase_mark: AtomicU64,
    /// `bytes_out` when the peer began to hold bytes up.
    blocked_mark: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Length of a request body that the transport cannot know, plus one; `u64::MAX` for unknown.
    body: AtomicU64,
    /// Of the task that writes, and then lingers.
    pub(crate) waker: AtomicWaker,
}

impl Shared {
    pub(crate) fn new(reaper: Arc<Inner>, now: u32) -> Self {
        let (chunk, slot, number) = reaper.registry.take();
        Self {
            reaper,
            chunk,
            slot,
            number,
            opened: now,
            age_at: AtomicU32::new(NEVER),
            close_at: AtomicU32::new(0),
            cut_at: AtomicU32::new(0),
            kept: AtomicU32::new(0),
            flags: AtomicU32::new(0),
            phase: AtomicU64::new(0),
            waited: AtomicU32::new(0),
            stalled: AtomicU32::new(0),
            blocked: AtomicU32::new(0),
            active: AtomicU32::new(now),
            phase_mark: AtomicU64::new(0),
            blocked_mark: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            body: AtomicU64::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// What the reaper knows about a connection of its own.
    pub(crate) fn of(connection: &Connection) -> Option<&Self> {
        connection.attachment()
    }

    /// The same, to keep.
    pub(crate) fn arc_of(connection: &Connection) -> Option<Arc<Self>> {
        connection.shared_attachment()
    }

    pub(crate) fn place(&self) -> (&Arc<Chunk>, u32) {
        (&self.chunk, self.slot)
    }

    pub(crate) fn now(&self) -> u32 {
        self.reaper.clock.now()
    }

    fn look_at(&self, tick: u32) {
        self.chunk.look_at(self.slot, tick);
    }

    // ===== flags =====

    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    pub(crate) fn set(&self, flag: u32) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
    }

    pub(crate) fn unset(&self, flag: u32) {
        self.flags.fetch_and(!flag, Ordering::AcqRel);
    }

    // ===== the reading side =====

    /// Enters a phase now, to be looked at in time.
    pub(crate) fn enter(&self, phase: Phase, due: u32) {
        let now = self.now();
        let packed = (u64::from(phase as u8) << 32) | u64::from(now);
        self.phase.store(packed, Ordering::Relaxed);
        if phase != Phase::Quiet {
            self.look_at(due);
        }
    }

    pub(crate) fn phase(&self) -> (Phase, u32) {
        let packed = self.phase.load(Ordering::Relaxed);
        (Phase::from_code((packed >> 32) as u8), packed as u32)
    }

    /// Bytes of the phase count from here, `already` of them having come.
    pub(crate) fn mark_phase(&self, already: u64) {
        let mark = self.bytes_in().saturating_sub(already);
        self.phase_mark.store(mark, Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
    }

    pub(crate) fn waited(&self) -> u32 {
        self.waited.load(Ordering::Relaxed)
    }

    pub(crate) fn set_waited(&self, ticks: u32) {
        self.waited.store(ticks, Ordering::Relaxed);
    }

    pub(crate) fn count_in(&self, n: usize) {
        let total = self.bytes_in.load(Ordering::Relaxed) + n as u64;
        self.bytes_in.store(total, Ordering::Relaxed);
        self.active.store(self.now(), Ordering::Relaxed);
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// A request body of this length, if it is known, follows.
    pub(crate) fn tell_body(&self, length: Option<u64>) {
        let told = length.map_or(u64::MAX, |n| n.saturating_add(1).min(u64::MAX - 1));
        self.body.store(told, Ordering::Relaxed);
    }

    /// What was told since this was last asked.
    pub(crate) fn take_body(&self) -> Option<Option<u64>> {
        match self.body.load(Ordering::Relaxed) {
            0 => None,
            told => {
                self.body.store(0, Ordering::Relaxed);
                Some((told != u64::MAX).then(|| told - 1))
            }
        }
    }

    // ===== the writing side =====

    pub(crate) fn count_out(&self, n: usize) {
        let total = self.bytes_out.load(Ordering::Relaxed) + n as u64;
        self.bytes_out.store(total, Ordering::Relaxed);
        self.active.store(self.now(), Ordering::Relaxed);
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// The peer takes nothing; `first` if it did not hold bytes up before.
    pub(crate) fn write_stalls(&self, first: bool) {
        let now = self.now();
        if first {
            self.blocked_mark.store(self.bytes_out(), Ordering::Relaxed);
            self.blocked.store(now, Ordering::Relaxed);
        }
        self.stalled.store(now, Ordering::Relaxed);
        let blocked = self.blocked.load(Ordering::Relaxed);
        self.look_at(self.reaper.limits.write_due(now, blocked, now));
    }

    /// The peer took something.
    pub(crate) fn write_moves(&self) {
        self.stalled.store(0, Ordering::Relaxed);
    }

    /// The peer took everything.
    pub(crate) fn write_ends(&self) {
        self.stalled.store(0, Ordering::Relaxed);
        self.blocked.store(0, Ordering::Relaxed);
    }

    // ===== keeping, closing, cutting =====

    pub(crate) fn keep(&self) {
        self.kept.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn unkeep(&self) {
        self.kept.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire) != 0
    }

    pub(crate) fn set_age(&self, ticks: u32) {
        let at = after(self.opened, ticks);
        self.age_at.store(at, Ordering::Relaxed);
        self.look_at(at);
    }

    pub(crate) fn close_at(&self, tick: u32) {
        self.close_at.store(tick.max(1), Ordering::Relaxed);
        self.look_at(tick);
    }

    /// Has the connection cut at this tick, unless it is to be cut earlier.
    pub(crate) fn cut_at(&self, tick: u32) {
        let update = |at| Some(if at == 0 { tick } else { tick.min(at) });
        let _ = self
            .cut_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        self.look_at(tick);
    }

    /// Closes the connection at once; `true` if this did it.
    pub(crate) fn cut(&self, connection: &Connection, reason: CloseReason) -> bool {
        self.set(CUT | LINGER_OVER);
        let cut = connection.cut(reason);
        self.waker.wake();
        cut
    }

    /// The connection leaves HTTP.
    pub(crate) fn upgrade(&self, connection: &Connection) {
        self.active.store(self.now(), Ordering::Relaxed);
        self.set(UPGRADED);
        // Not idle from now on, also when the exchange of the upgrade is over.
        let _ = connection.head_started();
        let limits = &self.reaper.limits;
        self.look_at(limits.tunnel_due(self.opened, self.now()));
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.has(UPGRADED)
    }

    pub(crate) fn end_linger(&self) {
        self.set(LINGER_OVER);
        self.waker.wake();
    }

    // ===== the sweep =====

    fn facts(&self, connection: &Connection, now: u32) -> Facts {
        let (mut phase, since) = self.phase();
        if phase == Phase::Head && connection.exchanges_open() > 0 {
            // Pipelined: the clock of this head starts when the engine comes to it.
            phase = Phase::Quiet;
        }
        Facts {
            now,
            opened: self.opened,
            phase,
            since,
            bytes: self
                .bytes_in()
                .saturating_sub(self.phase_mark.load(Ordering::Relaxed)),
            waited: self.waited(),
            stalled: self.stalled.load(Ordering::Relaxed),
            blocked: self.blocked.load(Ordering::Relaxed),
            blocked_bytes: self
                .bytes_out()
                .saturating_sub(self.blocked_mark.load(Ordering::Relaxed)),
            active: self.active.load(Ordering::Relaxed),
            age_at: self.age_at.load(Ordering::Relaxed),
            close_at: self.close_at.load(Ordering::Relaxed),
            cut_at: self.cut_at.load(Ordering::Relaxed),
            closing: connection.is_closing(),
            upgraded: self.has(UPGRADED),
        }
    }

    /// Does what is due and sees to it that the connection is looked at again.
    pub(crate) fn look(&self, connection: &Connection, now: u32) {
        // Bounded, although each action switches off the clock that it came from.
        for _ in 0..4 {
            let (action, due) = self.reaper.limits.verdict(&self.facts(connection, now));
            match action {
                None => {
                    if due != NEVER {
                        self.look_at(due);
                    }
                    return;
                }
                Some(Action::Close(reason)) => {
                    connection.request_close(reason);
                    if reason == CloseReason::MaxAge {
                        let at = self.reaper.limits.cut_after_age(now);
                        if at != NEVER {
                            self.cut_at(at);
                        }
                    }
                }
                Some(Action::Cut(reason)) => {
                    self.cut(connection, reason);
                    return;
                }
                Some(Action::Expire) => {
                    let reason = connection.close_reason().unwrap_or(CloseReason::Aborted);
                    self.cut(connection, reason);
                    return;
                }
                Some(Action::FailBody) => {
                    self.phase.store(0, Ordering::Relaxed);
                    self.set(BODY_FAILED);
                    connection.request_close(CloseReason::BodyTimeout);
                    connection.wake();
                }
                Some(Action::EndLinger) => {
                    self.end_linger();
                    return;
                }
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last handle is gone by now, so nothing stamps the slot any more.
        self.reaper.registry.give_back(self.number);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("phase", &self.phase())
            .field("flags", &self.flags.load(Ordering::Relaxed))
            .field("bytes_in", &self.bytes_in())
            .field("bytes_out", &self.bytes_out())
            .finish_non_exhaustive()
    }
}
