//! Where everything that is observed comes together: counters for `/metrics`, lanes for the page.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use http::StatusCode;
use tokio::time::Instant;
use tower_conn_core::{CloseReason, Connection, Side};
use tower_conn_pool::PortBudget;
use tower_hop_by_hop::{Message, Rejection, StripReport};
use tower_idempotent_retry::{Budget, RetryBudget, RetryReason};
use tower_pipeline_guard::AheadEvent;

use super::count::{Counter, Family, Histogram, lock};
use super::lanes::{Micros, Outcome, Shard};

const SHARDS: usize = 16;
const LANES_PER_SHARD: usize = 32;
/// How many connections the page can show at most.
pub(crate) const LANES: usize = SHARDS * LANES_PER_SHARD;

const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];
const BEHIND: [f64; 7] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];

pub(crate) type Seconds = Histogram<{ SECONDS.len() }>;
pub(crate) type Depth = Histogram<{ BEHIND.len() }>;

pub(crate) struct Board {
    start: Instant,
    shards: [Mutex<Slice>; SHARDS],
    upstream: Mutex<HashMap<u64, Upstream>>,
    pub(crate) opened: [Counter; 2],
    pub(crate) upstream_closes: Family<1>,
    pub(crate) retries: Family<1>,
    pub(crate) given_up: Family<1>,
    pub(crate) strips: Family<2>,
    pub(crate) rejections: Family<2>,
    pub(crate) ahead: Family<1>,
    pub(crate) depth: Mutex<Depth>,
    pub(crate) queued: Counter,
    pub(crate) hints: Counter,
    pub(crate) races_lost: Counter,
    pub(crate) ports: PortBudget,
    pub(crate) budget: RetryBudget,
}

/// Lanes, and the counts that are kept under the same lock. By side: upstream, client-facing.
struct Slice {
    lanes: Shard,
    counts: [Counts; 2],
}

/// The counts of one side.
#[derive(Clone)]
pub(crate) struct Counts {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) reused: u64,
    /// By the first digit of the status, from 1.
    pub(crate) statuses: [u64; 5],
    pub(crate) seconds: Seconds,
}

/// An open connection to the upstream.
pub(crate) struct Upstream {
    pub(crate) connection: Connection,
    pub(crate) tunnel: bool,
}

pub(crate) const fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

const fn message_label(message: Message) -> &'static str {
    match message {
        Message::Response => "response",
        _ => "request",
    }
}

impl Board {
    pub(crate) fn new() -> Self {
        let messages = ["request", "response"];
        let kinds = ["hop_by_hop", "nominated", "protected", "malformed"];
        let strips = messages.map(|message| kinds.map(|kind| [message, kind]));
        let retries = [
            RetryReason::NotSent,
            RetryReason::NotProcessed,
            RetryReason::StaleConnection,
            RetryReason::NoResponse,
            RetryReason::AttemptTimeout,
            RetryReason::Status(StatusCode::SERVICE_UNAVAILABLE),
        ];
        Self {
            start: Instant::now(),
            shards: std::array::from_fn(|_| Mutex::new(Slice::new())),
            upstream: Mutex::default(),
            opened: Default::default(),
            upstream_closes: Family::with(CloseReason::ALL.iter().map(|reason| [reason.as_str()])),
            retries: Family::with(retries.map(|reason| [reason.as_str()])),
            given_up: Family::with([]),
            strips: Family::with(strips.into_iter().flatten()),
            rejections: Family::with([]),
            ahead: Family::with([["started"], ["taken"], ["discarded"]]),
            depth: Mutex::new(Histogram::new(BEHIND)),
            queued: Counter::default(),
            hints: Counter::default(),
            races_lost: Counter::default(),
            ports: PortBudget::system(),
            budget: Budget::default().build(),
        }
    }

    pub(crate) fn now(&self) -> Micros {
        Instant::now()
            .saturating_duration_since(self.start)
            .as_micros() as Micros
    }

    fn slice(&self, id: u64) -> std::sync::MutexGuard<'_, Slice> {
        lock(&self.shards[id as usize % SHARDS])
    }

    // ===== what is reported =====

    pub(crate) fn opened(&self, connection: &Connection) {
        let side = connection.side();
        self.opened[index(side)].add(1);
        if side == Side::Client {
            let upstream = Upstream {
                connection: connection.clone(),
                tunnel: false,
            };
            lock(&self.upstream).insert(connection.id(), upstream);
        }
        let now = self.now();
        self.slice(connection.id()).lanes.open(connection, now);
    }

    pub(crate) fn closed(&self, connection: &Connection, reason: CloseReason) {
        if connection.side() == Side::Client {
            self.upstream_closes.add([reason.as_str()], 1);
            lock(&self.upstream).remove(&connection.id());
        }
        let now = self.now();
        self.slice(connection.id())
            .lanes
            .close(connection.id(), reason, now);
    }

    pub(crate) fn begun(&self, connection: &Connection, number: u32) {
        let now = self.now();
        let mut slice = self.slice(connection.id());
        slice.lanes.begun(connection, number, now);
        let counts = &mut slice.counts[index(connection.side())];
        counts.begun += 1;
        if number != 1 {
            counts.reused += 1;
        }
    }

    pub(crate) fn ended(&self, connection: &Connection, number: u32) {
        let now = self.now();
        let mut slice = self.slice(connection.id());
        slice.lanes.ended(connection.id(), number, now);
        slice.counts[index(connection.side())].ended += 1;
    }

    /// The head of a request is known.
    pub(crate) fn requested(
        &self,
        connection: &Connection,
        number: u32,
        method: &'static str,
        behind: usize,
    ) {
        let mut slice = self.slice(connection.id());
        slice.lanes.note(connection.id(), number, |outcome| {
            outcome.method = method;
            outcome.behind = behind;
        });
    }

    /// The head of a response is known, so long after the request.
    pub(crate) fn responded(
        &self,
        connection: &Connection,
        number: u32,
        outcome: Outcome,
        seconds: f64,
    ) {
        if outcome.status == 101 {
            if let Some(upstream) = lock(&self.upstream).get_mut(&connection.id()) {
                upstream.tunnel = true;
            }
        }
        let mut slice = self.slice(connection.id());
        slice.lanes.note(connection.id(), number, |noted| {
            let behind = noted.behind;
            *noted = Outcome { behind, ..outcome };
        });
        let counts = &mut slice.counts[index(connection.side())];
        let class = usize::from(outcome.status / 100).wrapping_sub(1);
        if let Some(count) = counts.statuses.get_mut(class) {
            *count += 1;
        }
        counts.seconds.record(seconds);
    }

    pub(crate) fn stripped(&self, message: Message, report: &StripReport) {
        let message = message_label(message);
        for (kind, count) in [
            ("hop_by_hop", report.removed().len() as u64),
            ("nominated", u64::from(report.nominated_count())),
            ("protected", u64::from(report.protected_count())),
            ("malformed", u64::from(report.malformed_count())),
            ("extra", u64::from(report.extra_count())),
        ] {
            self.strips.add([message, kind], count);
        }
    }

    pub(crate) fn rejected(&self, rejection: &Rejection) {
        let message = message_label(rejection.message());
        let reason = rejection.reason().as_str();
        self.rejections.add([message, reason], 1);
    }

    pub(crate) fn ahead(&self, event: AheadEvent) {
        let what = match event {
            AheadEvent::Started { behind, .. } => {
                lock(&self.depth).record(behind as f64);
                "started"
            }
            AheadEvent::Taken => "taken",
            AheadEvent::Discarded => "discarded",
            _ => return,
        };
        self.ahead.add([what], 1);
    }

    // ===== what is asked =====

    /// The counts of a side.
    pub(crate) fn counts(&self, side: Side) -> Counts {
        let mut sum = Counts::new();
        for shard in &self.shards {
            sum.merge(&lock(shard).counts[index(side)]);
        }
        sum
    }

    /// Connections that the page could not show.
    pub(crate) fn lanes_dropped(&self) -> u64 {
        let dropped = self.shards.iter().map(|shard| lock(shard).lanes.dropped);
        dropped.sum()
    }

    /// Looks at each lane of the last minute.
    pub(crate) fn for_each_lane(&self, mut look: impl FnMut(&super::lanes::Lane)) {
        for shard in &self.shards {
            let now = self.now();
            lock(shard).lanes.lanes(now).for_each(&mut look);
        }
    }

    /// Looks at each open connection to the upstream.
    pub(crate) fn for_each_upstream(&self, look: impl FnMut(&Upstream)) {
        lock(&self.upstream).values().for_each(look);
    }

    /// The addresses of the upstream.
    pub(crate) fn destinations(&self) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        self.for_each_upstream(|upstream| all.extend(upstream.connection.peer_addr()));
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Slice {
    fn new() -> Self {
        Self {
            lanes: Shard::new(LANES_PER_SHARD),
            counts: [Counts::new(), Counts::new()],
        }
    }
}

impl Counts {
    fn new() -> Self {
        Self {
            begun: 0,
            ended: 0,
            reused: 0,
            statuses: [0; 5],
            seconds: Histogram::new(SECONDS),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.ended += other.ended;
        self.reused += other.reused;
        for (sum, more) in self.statuses.iter_mut().zip(other.statuses) {
            *sum += more;
        }
        self.seconds.merge(&other.seconds);
    }
}
