//! `/metrics`: what was counted, for Prometheus.
//!
//! The label `side` is the side of a connection that the gateway is on: `server` towards its clients,
//! `client` towards the upstream.

use tower_conn_core::{CloseReason, Side};

use super::Sources;
use super::board::index;
use super::count::{Family, lock};
use super::states::States;
use super::text::Text;

const SIDES: [Side; 2] = [Side::Server, Side::Client];
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Everything there is to tell, as text.
pub(crate) fn render(sources: &Sources) -> String {
    let mut text = Text::default();
    connections(&mut text, sources);
    exchanges(&mut text, sources);
    messages(&mut text, sources);
    upstream(&mut text, sources);
    text.counter(
        "page_dropped_connections_total",
        "Connections that the page could not show for want of room.",
    )
    .sample(&[], sources.board.lanes_dropped());
    text.into_string()
}

fn connections(text: &mut Text, sources: &Sources) {
    let Sources { board, reaper, .. } = sources;
    let client_facing = States::client_facing(reaper);
    let upstream = States::upstream(board);
    text.gauge("connections", "Open connections.");
    for (side, states) in [(Side::Server, client_facing), (Side::Client, upstream)] {
        for (state, count) in states.by_name() {
            text.sample(&[("side", side.as_str()), ("state", state)], count);
        }
    }
    text.counter(
        "connections_opened_total",
        "Connections opened or accepted.",
    );
    for side in SIDES {
        let opened = board.opened[index(side)].get();
        text.sample(&[("side", side.as_str())], opened);
    }
    text.counter("closes_total", "Connections that have ended, by reason.");
    for &reason in CloseReason::ALL {
        let labels = [("side", "server"), ("reason", reason.as_str())];
        text.sample(&labels, reaper.closed(reason));
    }
    for ([reason], count) in board.upstream_closes.all() {
        text.sample(&[("side", "client"), ("reason", reason)], count);
    }
}

fn exchanges(text: &mut Text, sources: &Sources) {
    let counts = SIDES.map(|side| (side.as_str(), sources.board.counts(side)));
    text.counter("exchanges_total", "Exchanges that have ended.");
    for (side, counts) in &counts {
        text.sample(&[("side", side)], counts.ended);
    }
    text.gauge("exchanges_open", "Exchanges in progress.");
    for (side, counts) in &counts {
        text.sample(&[("side", side)], counts.begun.saturating_sub(counts.ended));
    }
    text.counter(
        "exchanges_reused_total",
        "Exchanges begun on a connection that had carried one before.",
    );
    for (side, counts) in &counts {
        text.sample(&[("side", side)], counts.reused);
    }
    text.counter("responses_total", "Responses, by class of status.");
    for (side, counts) in &counts {
        for (status, count) in STATUSES.into_iter().zip(counts.statuses) {
            text.sample(&[("side", side), ("status", status)], count);
        }
    }
    text.histogram(
        "response_seconds",
        "Time to the response head; towards the upstream with the wait for a connection.",
    );
    for (side, counts) in &counts {
        text.buckets(&[("side", side)], &counts.seconds);
    }
}

fn messages(text: &mut Text, sources: &Sources) {
    let board = &sources.board;
    text.counter("strips_total", "What was taken out of messages, by kind.");
    family(text, ["message", "kind"], &board.strips);
    text.counter("rejections_total", "Messages that were not forwarded.");
    family(text, ["message", "reason"], &board.rejections);
    text.counter(
        "pipelined_total",
        "Pipelined requests that started ahead of their turn, and what became of them.",
    );
    family(text, ["event"], &board.ahead);
    text.histogram(
        "pipeline_depth",
        "How many requests were before one that started ahead of its turn.",
    );
    let depth = lock(&board.depth).clone();
    text.buckets(&[], &depth);
}

fn upstream(text: &mut Text, sources: &Sources) {
    let board = &sources.board;
    text.counter("retries_total", "Requests sent again, by reason.");
    family(text, ["reason"], &board.retries);
    text.counter(
        "retries_refused_total",
        "Failed attempts after which the request was not sent again, by reason.",
    );
    family(text, ["reason"], &board.given_up);
    text.gauge("retry_budget", "Retries that the budget allows now.")
        .sample(&[], board.budget.balance());
    text.gauge("pool_waiting", "Requests that wait for a connection.")
        .sample(&[], (sources.pool)().waiting);
    text.counter(
        "pool_queued_total",
        "Requests that had to wait for a connection.",
    )
    .sample(&[], board.queued.get());
    text.counter(
        "pool_races_lost_total",
        "Connections opened for a request that got another one first.",
    )
    .sample(&[], board.races_lost.get());
    text.counter("pool_hints_total", "Keep-Alive hints of the upstream.")
        .sample(&[], board.hints.get());
    text.gauge(
        "ports_limit",
        "Local ports that there are towards each destination.",
    )
    .sample(&[], board.ports.ports());
    text.gauge(
        "ports_used",
        "Local ports in use or in TIME_WAIT, by destination with open connections.",
    );
    for destination in board.destinations() {
        let used = board.ports.used(destination);
        text.sample(&[("destination", &destination.to_string())], used);
    }
}

fn family<const N: usize>(text: &mut Text, names: [&str; N], family: &Family<N>) {
    for (values, count) in family.all() {
        let labels: Vec<_> = names.into_iter().zip(values).collect();
        text.sample(&labels, count);
    }
}
