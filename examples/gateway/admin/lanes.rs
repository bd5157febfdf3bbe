//! What each connection did over the last minute, in bounded memory.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tower_conn_core::{CloseReason, Connection, Side};

/// Microseconds since the board was set up.
pub(crate) type Micros = u64;

/// How far back a lane goes.
pub(crate) const WINDOW: Micros = 60_000_000;
/// How many bars a lane keeps; the oldest one makes room.
const BARS: usize = 128;
/// How many open exchanges a lane tells apart; more are only counted.
const OPEN: usize = 64;
/// Exchanges that follow each other within this time are one bar, which a screen could not show apart,
const GAP: Micros = 30_000;
/// until the bar is this long.
const SPAN: Micros = 500_000;
/// A lane that is still open makes room for a new connection after so long without an exchange.
const QUIET: Micros = 10_000_000;

/// How an exchange went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The method, as far as it is known, or empty.
    pub(crate) method: &'static str,
    /// The status of the response; 0 while there is none, or if there never was one.
    pub(crate) status: u16,
    /// The upstream connection that answered, or 0.
    pub(crate) via: u64,
    /// How many attempts it took, or 0 if that is not known.
    pub(crate) attempts: u32,
    /// How many requests were before it when it started ahead of its turn.
    pub(crate) behind: usize,
}

/// An exchange in progress.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    number: u32,
    pub(crate) start: Micros,
    /// Which of those that are in progress together, from 0.
    pub(crate) row: u8,
    pub(crate) outcome: Outcome,
}

/// One exchange that has ended, or several in a row that went the same way.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// Of the last one.
    number: u32,
    pub(crate) start: Micros,
    pub(crate) end: Micros,
    pub(crate) row: u8,
    pub(crate) count: u32,
    pub(crate) longest: Micros,
    pub(crate) outcome: Outcome,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: u64,
    pub(crate) side: Side,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) opened: Micros,
    pub(crate) closed: Option<(Micros, CloseReason)>,
    pub(crate) tunnel: Option<Micros>,
    /// While it is open.
    pub(crate) connection: Option<Connection>,
    pub(crate) version: Option<http::Version>,
    pub(crate) exchanges: u32,
    pub(crate) last: Micros,
    pub(crate) open: Vec<Open>,
    pub(crate) bars: VecDeque<Bar>,
    /// Exchanges that have no bar, or have lost it to later ones.
    pub(crate) dropped: u64,
}

impl Lane {
    fn new(connection: &Connection, now: Micros) -> Self {
        let begun = connection.exchanges_begun();
        Self {
            id: connection.id(),
            side: connection.side(),
            peer: connection.peer_addr(),
            opened: now.saturating_sub(connection.age().as_micros() as Micros),
            closed: None,
            tunnel: None,
            connection: Some(connection.clone()),
            version: None,
            exchanges: begun.wrapping_sub(connection.exchanges_open()),
            last: now,
            open: Vec::new(),
            bars: VecDeque::new(),
            dropped: 0,
        }
    }

    fn begun(&mut self, number: u32, now: Micros) {
        self.last = now;
        if self.open.len() >= OPEN {
            return;
        }
        let row = (0..)
            .find(|&row| self.open.iter().all(|open| open.row != row))
            .unwrap_or(u8::MAX);
        self.open.push(Open {
            number,
            start: now,
            row,
            outcome: Outcome::default(),
        });
    }

    fn note(&mut self, number: u32, note: impl FnOnce(&mut Outcome)) {
        if let Some(open) = self.open.iter_mut().rfind(|open| open.number == number) {
            note(&mut open.outcome);
            return;
        }
        // A response without a body ends its exchange before anybody has seen its head.
        let late = |bar: &Bar| bar.number == number && bar.outcome.status == 0;
        let Some(at) = self.bars.iter().rposition(late) else {
            return;
        };
        if let Some(bar) = self.bars.remove(at) {
            let (mut open, end) = bar.reopen();
            note(&mut open.outcome);
            self.place(&open, end);
        }
    }

    fn ended(&mut self, number: u32, now: Micros) {
        self.last = now;
        self.exchanges = self.exchanges.wrapping_add(1);
        match self.open.iter().rposition(|open| open.number == number) {
            Some(at) => {
                let open = self.open.swap_remove(at);
                self.place(&open, now);
            }
            None => self.dropped += 1,
        }
    }

    /// Draws an exchange that has ended.
    fn place(&mut self, open: &Open, end: Micros) {
        if open.outcome.status == 101 {
            self.tunnel = Some(end);
        }
        self.forget(end);
        let mut recent = self.bars.iter_mut().rev().take(16);
        match recent.find(|bar| bar.row == open.row) {
            Some(bar) if bar.takes(open, end) => bar.take(open, end),
            _ => {
                if self.bars.len() >= BARS {
                    let oldest = self.bars.pop_front();
                    self.dropped += oldest.map_or(0, |bar| u64::from(bar.count));
                }
                self.bars.push_back(Bar::of(open, end));
            }
        }
    }

    /// Lets go of what is out of sight.
    pub(crate) fn forget(&mut self, now: Micros) {
        let since = now.saturating_sub(WINDOW);
        while self.bars.front().is_some_and(|bar| bar.end < since) {
            self.bars.pop_front();
        }
    }

    fn close(&mut self, reason: CloseReason, now: Micros) {
        // A handle of a closed connection would hold on to more than is shown.
        if let Some(connection) = self.connection.take() {
            self.version = connection.version();
        }
        self.closed = Some((now, reason));
        self.last = now;
    }

    /// Whether a person who looks at the last minute would miss it.
    pub(crate) fn in_sight(&self, now: Micros) -> bool {
        self.closed
            .is_none_or(|(at, _)| at >= now.saturating_sub(WINDOW))
    }
}

impl Bar {
    fn of(open: &Open, end: Micros) -> Self {
        Self {
            number: open.number,
            start: open.start,
            end,
            row: open.row,
            count: 1,
            longest: end.saturating_sub(open.start),
            outcome: open.outcome,
        }
    }

    fn reopen(self) -> (Open, Micros) {
        let open = Open {
            number: self.number,
            start: self.start,
            row: self.row,
            outcome: self.outcome,
        };
        (open, self.end)
    }

    fn takes(&self, next: &Open, end: Micros) -> bool {
        next.start >= self.end
            && next.start - self.end < GAP
            && end.saturating_sub(self.start) < SPAN
            && self.outcome.status / 100 == next.outcome.status / 100
            && next.outcome.status / 100 < 5
            && next.outcome.status > 101
            && next.outcome.attempts == self.outcome.attempts
    }

    fn take(&mut self, next: &Open, end: Micros) {
        self.number = next.number;
        self.end = end;
        self.count = self.count.saturating_add(1);
        self.longest = self.longest.max(end.saturating_sub(next.start));
        let outcome = &mut self.outcome;
        if outcome.method != next.outcome.method {
            outcome.method = "";
        }
        if outcome.via != next.outcome.via {
            outcome.via = 0;
        }
        outcome.status = outcome.status.max(next.outcome.status);
        outcome.behind = outcome.behind.max(next.outcome.behind);
    }
}

/// Some of the lanes, under one lock.
#[derive(Debug)]
pub(crate) struct Shard {
    // Apart, because every event begins with a search for its connection.
    ids: Vec<u64>,
    lanes: Vec<Lane>,
    most: usize,
    /// Connections that had no lane, or lost theirs within the minute.
    pub(crate) dropped: u64,
}

impl Shard {
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            ids: Vec::new(),
            lanes: Vec::new(),
            most,
            dropped: 0,
        }
    }

    fn lane(&mut self, id: u64) -> Option<&mut Lane> {
        let at = self.ids.iter().position(|&other| other == id)?;
        self.lanes.get_mut(at)
    }

    /// Gives a connection a lane, if there is room or a lane that is less worth looking at.
    pub(crate) fn open(&mut self, connection: &Connection, now: Micros) -> Option<&mut Lane> {
        let lane = Lane::new(connection, now);
        if self.lanes.len() < self.most {
            self.ids.push(lane.id);
            self.lanes.push(lane);
            return self.lanes.last_mut();
        }
        let (at, worst) = self
            .lanes
            .iter()
            .enumerate()
            .min_by_key(|(_, lane)| (lane.closed.is_none(), lane.last))?;
        let replaceable = worst.closed.is_some() || now.saturating_sub(worst.last) >= QUIET;
        if worst.in_sight(now) {
            self.dropped += 1;
        }
        if !replaceable {
            return None;
        }
        *self.ids.get_mut(at)? = lane.id;
        let place = self.lanes.get_mut(at)?;
        *place = lane;
        Some(place)
    }

    pub(crate) fn begun(&mut self, connection: &Connection, number: u32, now: Micros) {
        let lane = match self.ids.iter().position(|&id| id == connection.id()) {
            Some(at) => self.lanes.get_mut(at),
            // It lost its lane while it was quiet, or it never had one.
            None => self.open(connection, now),
        };
        if let Some(lane) = lane {
            lane.begun(number, now);
        }
    }

    /// Fills in what is known of an exchange.
    pub(crate) fn note(&mut self, id: u64, number: u32, note: impl FnOnce(&mut Outcome)) {
        if let Some(lane) = self.lane(id) {
            lane.note(number, note);
        }
    }

    pub(crate) fn ended(&mut self, id: u64, number: u32, now: Micros) {
        if let Some(lane) = self.lane(id) {
            lane.ended(number, now);
        }
    }

    pub(crate) fn close(&mut self, id: u64, reason: CloseReason, now: Micros) {
        if let Some(lane) = self.lane(id) {
            lane.close(reason, now);
        }
    }

    /// The lanes in sight.
    pub(crate) fn lanes(&mut self, now: Micros) -> impl Iterator<Item = &Lane> {
        for lane in &mut self.lanes {
            lane.forget(now);
        }
        self.lanes.iter().filter(move |lane| lane.in_sight(now))
    }
}
