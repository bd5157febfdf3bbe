//! What the parts that handle one connection share: the transport, the sweep, the middleware.

mod look;
mod state;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use tower_conn_core::{CloseReason, Connection, Link};

use crate::common::Common;
use crate::limits::Phase;
use crate::registry::Chunk;

pub(crate) use self::state::{Clocks, Reading, State, Writing};

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
/// The last request asked for the connection to close after it.
pub(crate) const PEER_ASKED: u32 = 1 << 6;
/// A request body was left unfinished when the connection was shut down.
pub(crate) const UNREAD: u32 = 1 << 7;
/// The transport is under TLS whose handshake is not over.
pub(crate) const SEALED: u32 = 1 << 8;
/// More of a request body is to come.
pub(crate) const IN_BODY: u32 = 1 << 9;

/// Above a number of heads, so that there is one.
const COUNTED: u32 = 1 << 16;

/// One of those who keep the connection open, counted above the flags.
const KEPT: u32 = 1 << 12;

/// A body whose length is not known, and one that is longer than can be said.
const UNKNOWN: u32 = u32::MAX;
const HUGE: u32 = u32::MAX - 1;

/// One connection, as the reaper knows it: its slot in a [`Chunk`].
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    chunk: &'a Chunk,
    state: &'a State,
    slot: u32,
    link: &'a Link,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(chunk: &'a Chunk, slot: u32, link: &'a Link) -> Self {
        Self {
            chunk,
            state: chunk.state(slot),
            slot,
            link,
        }
    }

    /// What the reaper knows about a connection of its own.
    pub(crate) fn of(connection: &'a Connection) -> Option<Self> {
        Self::of_link(connection.link())
    }

    pub(crate) fn of_link(link: &'a Link) -> Option<Self> {
        let chunk = link.attachment()?;
        Some(Self::new(chunk, link.stamp_slot()?.index(), link))
    }

    pub(crate) const fn chunk(&self) -> &'a Chunk {
        self.chunk
    }

    #[inline]
    pub(crate) fn reaper(&self) -> &'a Arc<Common> {
        &self.chunk.reaper
    }

    #[inline]
    pub(crate) fn now(&self) -> u32 {
        self.reaper().clock.now()
    }

    pub(crate) fn look_at(&self, tick: u32) {
        self.chunk.look_at(self.slot, tick);
    }

    // ===== flags =====

    #[inline]
    pub(crate) fn flags(&self) -> u32 {
        self.state.flags.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags() & flag != 0
    }

    pub(crate) fn set(&self, flag: u32) {
        self.state.flags.fetch_or(flag, Ordering::AcqRel);
    }

    pub(crate) fn unset(&self, flag: u32) {
        self.state.flags.fetch_and(!flag, Ordering::AcqRel);
    }

    // ===== the reading side =====

    /// Enters a phase now, to be looked at in time.
    pub(crate) fn enter(&self, phase: Phase, due: u32) {
        self.state.set_phase(phase, self.now());
        if phase != Phase::Quiet {
            self.look_at(due);
        }
    }

    pub(crate) fn phase(&self) -> (Phase, u32) {
        self.state.phase()
    }

    /// Bytes of the phase count from here, `already` of them having come.
    pub(crate) fn mark_phase(&self, already: u64) {
        let mark = self.bytes_in().saturating_sub(already);
        self.chunk.change_clocks(self.slot, |clocks| {
            clocks.reading = Some(Reading { mark, waited: 0 });
        });
    }

    /// The head or the body is here.
    pub(crate) fn unmark_phase(&self) {
        self.chunk
            .change_clocks(self.slot, |clocks| clocks.reading = None);
    }

    pub(crate) fn reading(&self) -> Reading {
        self.chunk.clocks(self.slot).0.unwrap_or_default()
    }

    /// Bytes that came in the phase.
    pub(crate) fn phase_bytes(&self) -> u64 {
        self.bytes_in().saturating_sub(self.reading().mark)
    }

    pub(crate) fn set_waited(&self, ticks: u32) {
        self.chunk.change_clocks(self.slot, |clocks| {
            clocks.reading.get_or_insert_default().waited = ticks;
        });
    }

    #[inline]
    pub(crate) fn bytes_in(&self) -> u64 {
        self.link.bytes_received()
    }

    /// That many heads have come, modulo 2^16; `None` if none came behind another.
    pub(crate) fn set_heads(&self, heads: Option<u16>) {
        let heads = heads.map_or(0, |heads| COUNTED | u32::from(heads));
        self.state.heads.store(heads, Ordering::Relaxed);
    }

    /// Whether no head has come behind that of the exchange of this number: whether it is the one
    /// whose body is to come, if there is one. Clients may pipeline.
    pub(crate) fn is_last_head(&self, number: Option<NonZeroU32>) -> bool {
        let heads = self.state.heads.load(Ordering::Relaxed);
        heads == 0 || number.is_none_or(|number| number.get() as u16 == heads as u16)
    }

    /// A request body of this length, if it is known, follows.
    pub(crate) fn tell_body(&self, length: Option<u64>) {
        let told = length.map_or(UNKNOWN, |n| {
            u32::try_from(n.saturating_add(1)).map_or(HUGE, |n| n.min(HUGE))
        });
        self.state.body.store(told, Ordering::Relaxed);
        self.link.connection().leave_note();
    }

    /// What was told since this was last asked.
    pub(crate) fn take_body(&self) -> Option<Body> {
        if !self.link.connection().take_note() {
            return None;
        }
        Some(match self.state.body.load(Ordering::Relaxed) {
            UNKNOWN => Body::Chunked,
            HUGE => Body::Huge,
            n => Body::Length(n.saturating_sub(1)),
        })
    }

    // ===== the writing side =====

    pub(crate) fn bytes_out(&self) -> u64 {
        self.link.bytes_sent()
    }

    /// The peer takes nothing; `first` if it did not hold bytes up before.
    pub(crate) fn write_stalls(&self, first: bool) {
        let now = self.now();
        let blocked = self.chunk.change_clocks(self.slot, |clocks| {
            if first {
                clocks.writing = None;
            }
            let writing = clocks.writing.get_or_insert_with(|| Writing {
                mark: self.bytes_out(),
                blocked: now,
                stalled: now,
            });
            writing.stalled = now;
            writing.blocked
        });
        self.look_at(self.reaper().limits.write_due(now, blocked, now));
    }

    /// The peer took something.
    pub(crate) fn write_moves(&self) {
        self.chunk.change_clocks(self.slot, |clocks| {
            if let Some(writing) = &mut clocks.writing {
                writing.stalled = 0;
            }
        });
    }

    /// The peer took everything.
    pub(crate) fn write_ends(&self) {
        let writer = self.chunk.change_clocks(self.slot, |clocks| {
            clocks.writing = None;
            clocks.writer.take()
        });
        drop(writer);
    }

    /// Has this one woken when the connection is cut, or may linger no longer. What was done before
    /// this to make that known is seen after it.
    pub(crate) fn writer_waits(&self, waker: &Waker) {
        self.chunk.writer_waits(self.slot, waker);
    }

    // ===== keeping, closing, cutting =====

    pub(crate) fn keep(&self) {
        self.state.flags.fetch_add(KEPT, Ordering::AcqRel);
    }

    pub(crate) fn unkeep(&self) {
        self.state.flags.fetch_sub(KEPT, Ordering::AcqRel);
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.state.flags.load(Ordering::Acquire) >= KEPT
    }

    /// Has the connection cut at this tick, unless it is to be cut earlier.
    pub(crate) fn cut_at(&self, tick: u32) {
        let update = |at| Some(if at == 0 { tick } else { tick.min(at) });
        let _ = self
            .state
            .cut_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        self.look_at(tick);
    }

    /// Closes the connection at once; `true` if this did it.
    pub(crate) fn cut(&self, reason: CloseReason) -> bool {
        self.set(CUT | LINGER_OVER);
        let cut = self.link.connection().cut(reason);
        self.chunk.wake_writer(self.slot);
        cut
    }

    pub(crate) fn end_linger(&self) {
        self.set(LINGER_OVER);
        self.chunk.wake_writer(self.slot);
    }

    // ===== tunnels =====

    /// The connection leaves HTTP.
    pub(crate) fn upgrade(&self) {
        self.state.set_phase(Phase::Quiet, self.now());
        self.set(UPGRADED);
        // Not idle from now on, also when the exchange of the upgrade is over.
        let connection = self.link.connection();
        let _ = connection.head_started();
        let reaper = self.reaper();
        let due = reaper
            .limits
            .tunnel_due(reaper.opened(&connection), self.now());
        self.look_at(due);
    }

    #[inline]
    pub(crate) fn is_tunnel(&self) -> bool {
        self.has(UPGRADED)
    }

    /// Bytes pass.
    pub(crate) fn touch_tunnel(&self) {
        if self.is_tunnel() && self.phase().0 == Phase::Quiet {
            self.state.set_phase(Phase::Quiet, self.now());
        }
    }
}

/// A body whose head the transport has not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Length(u32),
    Chunked,
    Huge,
}

impl fmt::Debug for Shared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}
