//! `/connections.json`: what the page shows.

use std::collections::HashSet;

use serde::Serialize;
use tower_conn_core::{CloseReason, Connection, Side};

use super::Sources;
use super::board::{LANES, index};
use super::lanes::{Bar, Lane, Micros, Open, WINDOW};
use super::states::{State, States};

/// How many lanes are sent.
const SENT: usize = 80;

#[derive(Serialize)]
struct View {
    /// Milliseconds on the clock of all times in here.
    now: f64,
    window: f64,
    listen: String,
    upstream: String,
    draining: bool,
    server: Totals,
    client: Totals,
    retries: u64,
    waiting: usize,
    lanes: Vec<LaneView>,
    /// Connections of the last minute that are known, of which `lanes` are the first.
    known: usize,
    kept: usize,
    /// Connections that were not even kept, since the start.
    dropped: u64,
}

#[derive(Serialize)]
struct Totals {
    #[serde(flatten)]
    states: States,
    opened: u64,
    exchanges: u64,
    begun: u64,
    reused: u64,
    /// Reasons for which connections have ended, the most frequent first.
    closes: Vec<(&'static str, u64)>,
}

#[derive(Serialize)]
struct LaneView {
    id: u64,
    side: &'static str,
    peer: Option<String>,
    version: Option<&'static str>,
    opened: f64,
    closed: Option<f64>,
    reason: Option<&'static str>,
    /// `None` once it is closed.
    state: Option<State>,
    /// Since when it is a tunnel.
    tunnel: Option<f64>,
    last: f64,
    exchanges: u32,
    dropped: u64,
    bars: Vec<BarView>,
    open: Vec<OpenView>,
}

/// Start, length, row, count, status, method, longest, via, attempts, behind.
#[derive(Serialize)]
struct BarView(f64, f64, u8, u32, u16, &'static str, f64, u64, u32, usize);

/// Start, row, status, method, via, attempts, behind.
#[derive(Serialize)]
struct OpenView(f64, u8, u16, &'static str, u64, u32, usize);

/// The view that a query asks for: `side=server`, `side=client`, or both.
pub(crate) fn render(query: &str, sources: &Sources) -> Vec<u8> {
    let side = query.split('&').find_map(|part| match part {
        "side=server" => Some(Side::Server),
        "side=client" => Some(Side::Client),
        _ => None,
    });
    serde_json::to_vec(&view(side, sources)).unwrap_or_default()
}

fn view(side: Option<Side>, sources: &Sources) -> View {
    let board = &sources.board;
    let now = board.now();
    let mut order = Vec::new();
    board.for_each_lane(|lane| {
        if side.is_none_or(|side| side == lane.side) {
            order.push((rank(lane, now), lane.id));
        }
    });
    let known = order.len();
    order.sort_unstable_by(|one, other| other.cmp(one));
    order.truncate(SENT);
    let sent: HashSet<u64> = order.iter().map(|&(_, id)| id).collect();
    let mut lanes = Vec::new();
    board.for_each_lane(|lane| {
        if sent.contains(&lane.id) {
            lanes.push((rank(lane, now), LaneView::of(lane)));
        }
    });
    lanes.sort_unstable_by(|(one, a), (other, b)| (other, b.id).cmp(&(one, a.id)));
    View {
        now: millis(now),
        window: millis(WINDOW),
        listen: sources.listen.to_string(),
        upstream: sources.upstream.clone(),
        draining: sources.reaper.is_draining(),
        server: Totals::of(Side::Server, sources),
        client: Totals::of(Side::Client, sources),
        retries: board.retries.all().values().sum(),
        waiting: (sources.pool)().waiting,
        lanes: lanes.into_iter().map(|(_, lane)| lane).collect(),
        known,
        kept: LANES,
        dropped: board.lanes_dropped(),
    }
}

/// What a person would want to see first: open connections that did something within the minute,
/// then quiet ones, then those that have closed; and of these the newest.
fn rank(lane: &Lane, now: Micros) -> u8 {
    let busy = !lane.open.is_empty() || lane.tunnel.is_some();
    let recent = lane.last >= now.saturating_sub(WINDOW);
    match lane.closed {
        Some(_) => 0,
        None if busy || recent => 2,
        None => 1,
    }
}

impl Totals {
    fn of(side: Side, sources: &Sources) -> Self {
        let Sources { board, reaper, .. } = sources;
        let counts = board.counts(side);
        let (states, mut closes) = match side {
            Side::Server => {
                let ended = reaper.closed_by_reason();
                let named = ended.map(|(reason, count)| (CloseReason::as_str(reason), count));
                (States::client_facing(reaper), named.collect::<Vec<_>>())
            }
            Side::Client => {
                let all = board.upstream_closes.all().into_iter();
                let some = all.filter(|&(_, count)| count > 0);
                let named = some.map(|([reason], count)| (reason, count));
                (States::upstream(board), named.collect())
            }
        };
        closes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        Self {
            states,
            opened: board.opened[index(side)].get(),
            exchanges: counts.ended,
            begun: counts.begun,
            reused: counts.reused,
            closes,
        }
    }
}

impl LaneView {
    fn of(lane: &Lane) -> Self {
        let connection = lane.connection.as_ref();
        let version = connection.map_or(lane.version, Connection::version);
        Self {
            id: lane.id,
            side: lane.side.as_str(),
            peer: lane.peer.map(|peer| peer.to_string()),
            version: version.map(|version| match version {
                http::Version::HTTP_10 => "HTTP/1.0",
                http::Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            }),
            opened: millis(lane.opened),
            closed: lane.closed.map(|(at, _)| millis(at)),
            reason: match (lane.closed, connection) {
                (Some((_, reason)), _) => Some(reason.as_str()),
                (None, connection) => connection
                    .and_then(Connection::close_reason)
                    .map(CloseReason::as_str),
            },
            state: connection.map(|connection| State::of(connection, lane.tunnel.is_some())),
            tunnel: lane.tunnel.map(millis),
            last: millis(lane.last),
            exchanges: lane.exchanges,
            dropped: lane.dropped,
            bars: lane.bars.iter().map(BarView::of).collect(),
            open: lane.open.iter().map(OpenView::of).collect(),
        }
    }
}

impl BarView {
    fn of(bar: &Bar) -> Self {
        let outcome = &bar.outcome;
        Self(
            millis(bar.start),
            millis(bar.end - bar.start),
            bar.row,
            bar.count,
            outcome.status,
            outcome.method,
            millis(bar.longest),
            outcome.via,
            outcome.attempts,
            outcome.behind,
        )
    }
}

impl OpenView {
    fn of(open: &Open) -> Self {
        let outcome = &open.outcome;
        Self(
            millis(open.start),
            open.row,
            outcome.status,
            outcome.method,
            outcome.via,
            outcome.attempts,
            outcome.behind,
        )
    }
}

/// Milliseconds, to the hundredth.
fn millis(micros: Micros) -> f64 {
    (micros as f64 / 10.0).round() / 100.0
}
