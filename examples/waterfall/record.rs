//! What happened during a page load, and where its time went.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::span::{Span, clip, total, union, without};

/// One connection, as its client sees it.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLog {
    /// From the first packet until requests can be sent.
    pub(crate) opening: Span,
    /// When bytes of responses arrived.
    pub(crate) receiving: Vec<Span>,
    /// When nothing arrived because the server had more to send than its window allowed.
    pub(crate) stalled: Vec<Span>,
}

/// A request: on which connection it went, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) connection: usize,
    pub(crate) at: Duration,
}

/// The clock of a page load, and what the link and the server see.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    connections: Mutex<Vec<ConnectionLog>>,
    sent: Mutex<HashMap<String, Sent>>,
    completed: AtomicUsize,
}

impl Recorder {
    /// Starts the clock.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            connections: Mutex::default(),
            sent: Mutex::default(),
            completed: AtomicUsize::new(0),
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    pub(crate) async fn sleep_until(&self, time: Duration) {
        tokio::time::sleep_until(self.start + time).await;
    }

    /// A connection is being opened; its number.
    pub(crate) fn opening(&self) -> usize {
        let now = self.now();
        let mut connections = lock(&self.connections);
        connections.push(ConnectionLog {
            opening: Span::new(now, now),
            receiving: Vec::new(),
            stalled: Vec::new(),
        });
        connections.len() - 1
    }

    pub(crate) fn opened(&self, connection: usize) {
        let now = self.now();
        lock(&self.connections)[connection].opening.end = now;
    }

    pub(crate) fn received(&self, connection: usize, span: Span) {
        lock(&self.connections)[connection].receiving.push(span);
    }

    pub(crate) fn stalled(&self, connection: usize, span: Span) {
        lock(&self.connections)[connection].stalled.push(span);
    }

    pub(crate) fn sent(&self, path: &str, sent: Sent) {
        lock(&self.sent).insert(path.to_owned(), sent);
    }

    pub(crate) fn when_sent(&self, path: &str) -> Option<Sent> {
        lock(&self.sent).get(path).copied()
    }

    /// One more object is complete.
    pub(crate) fn complete(&self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn completed(&self) -> usize {
        self.completed.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> Vec<ConnectionLog> {
        lock(&self.connections).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One object of the page.
#[derive(Clone, Debug)]
pub(crate) struct ObjectLog {
    pub(crate) path: String,
    pub(crate) size: usize,
    /// When the browser learned that it needs it.
    pub(crate) discovered: Duration,
    /// When its request left.
    pub(crate) sent: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) complete: Duration,
    pub(crate) connection: usize,
}

/// What an object's time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Known, but its turn has not come.
    Queued,
    /// Its connection is being opened.
    Opening,
    /// The request is on its way, or the response, or one that comes before it.
    Waiting,
    /// Some has arrived, and the server may not send more: slow start.
    Stalled,
    Receiving,
}

impl Phase {
    pub(crate) const ALL: [Self; 5] = [
        Self::Queued,
        Self::Opening,
        Self::Waiting,
        Self::Stalled,
        Self::Receiving,
    ];
}

/// A whole page load.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// In the order of discovery.
    pub(crate) objects: Vec<ObjectLog>,
    pub(crate) connections: Vec<ConnectionLog>,
}

/// Each moment of a page load belongs to one of these, as parts of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    /// The link was carrying responses.
    pub(crate) transfer: f64,
    /// Else a connection was being opened.
    pub(crate) handshakes: f64,
    /// Else a server had more to send than its window allowed.
    pub(crate) slow_start: f64,
    /// Else requests or responses were on their way.
    pub(crate) round_trips: f64,
}

impl Load {
    /// Until the last object is complete.
    pub(crate) fn total(&self) -> Duration {
        let ends = self.objects.iter().map(|object| object.complete);
        ends.max().unwrap_or_default()
    }

    /// Until the first object after the page itself is complete.
    pub(crate) fn first_object(&self) -> Duration {
        let ends = self.objects.iter().skip(1).map(|object| object.complete);
        ends.min().unwrap_or_default()
    }

    pub(crate) fn shares(&self) -> Shares {
        let all = Span::new(Duration::ZERO, self.total());
        let each = |spans: fn(&ConnectionLog) -> &[Span]| {
            let spans = self.connections.iter().flat_map(|log| spans(log).to_vec());
            clip(&union(spans.collect()), all)
        };
        let transfer = each(|log| &log.receiving);
        let handshakes = without(&each(|log| std::slice::from_ref(&log.opening)), &transfer);
        let taken = union([transfer.clone(), handshakes.clone()].concat());
        let slow_start = without(&each(|log| &log.stalled), &taken);
        let share = |spans: &[Span]| total(spans).as_secs_f64() / all.length().as_secs_f64();
        let [transfer, handshakes, slow_start] =
            [&transfer, &handshakes, &slow_start].map(|spans| share(spans));
        Shares {
            transfer,
            handshakes,
            slow_start,
            round_trips: (1.0 - transfer - handshakes - slow_start).max(0.0),
        }
    }

    /// What this object's time was spent on, in order, from its discovery on.
    pub(crate) fn phases(&self, object: &ObjectLog) -> Vec<(Phase, Span)> {
        let connection = &self.connections[object.connection];
        let queue = Span::new(object.discovered, object.sent);
        let first = self
            .objects
            .iter()
            .filter(|it| it.connection == object.connection);
        let is_first = first
            .min_by_key(|it| it.sent)
            .is_some_and(|it| it.path == object.path);
        let opening = if is_first {
            clip(&[connection.opening], queue)
        } else {
            Vec::new()
        };
        let body = Span::new(object.first_byte, object.complete);
        let stalled = clip(&union(connection.stalled.clone()), body);
        let each = |phase, spans: Vec<Span>| spans.into_iter().map(move |span| (phase, span));
        let mut phases: Vec<_> = each(Phase::Queued, without(&[queue], &opening))
            .chain(each(Phase::Opening, opening))
            .chain([(Phase::Waiting, Span::new(object.sent, object.first_byte))])
            .chain(each(Phase::Receiving, without(&[body], &stalled)))
            .chain(each(Phase::Stalled, stalled))
            .filter(|(_, span)| !span.is_empty())
            .collect();
        phases.sort_by_key(|(_, span)| span.start);
        phases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    fn span(start: u64, end: u64) -> Span {
        Span::new(ms(start), ms(end))
    }

    /// A page on one connection and an object on another.
    fn load() -> Load {
        let object = |path: &str, times: [u64; 4], connection| ObjectLog {
            path: path.to_owned(),
            size: 1,
            discovered: ms(times[0]),
            sent: ms(times[1]),
            first_byte: ms(times[2]),
            complete: ms(times[3]),
            connection,
        };
        Load {
            objects: vec![
                object("/", [0, 10, 20, 40], 0),
                object("/a", [30, 60, 70, 100], 1),
            ],
            connections: vec![
                ConnectionLog {
                    opening: span(0, 10),
                    receiving: vec![span(20, 22), span(36, 40)],
                    stalled: vec![span(22, 36)],
                },
                ConnectionLog {
                    opening: span(34, 60),
                    receiving: vec![span(70, 75), span(90, 100)],
                    stalled: vec![span(75, 90)],
                },
            ],
        }
    }

    #[test]
    fn each_moment_counts_once_and_what_moves_bytes_comes_first() {
        let shares = load().shares();
        let expected = Shares {
            transfer: 0.21,
            // 0 to 10, 34 to 36, 40 to 60: not while the link was carrying the page.
            handshakes: 0.32,
            // 22 to 34, 75 to 90: not while a connection was being opened.
            slow_start: 0.27,
            round_trips: 0.20,
        };
        for (is, should) in [
            (shares.transfer, expected.transfer),
            (shares.handshakes, expected.handshakes),
            (shares.slow_start, expected.slow_start),
            (shares.round_trips, expected.round_trips),
        ] {
            assert!((is - should).abs() < 1e-9, "{shares:?}");
        }
    }

    #[test]
    fn an_object_waits_for_its_turn_then_opens_waits_and_receives() {
        let load = load();
        assert_eq!(
            load.phases(&load.objects[1]),
            [
                (Phase::Queued, span(30, 34)),
                (Phase::Opening, span(34, 60)),
                (Phase::Waiting, span(60, 70)),
                (Phase::Receiving, span(70, 75)),
                (Phase::Stalled, span(75, 90)),
                (Phase::Receiving, span(90, 100)),
            ]
        );
    }

    #[test]
    fn only_the_first_object_of_a_connection_has_opened_it() {
        let mut load = load();
        load.objects[1].connection = 0;
        let phases = load.phases(&load.objects[1]);
        assert_eq!(phases[0], (Phase::Queued, span(30, 60)));
        assert!(phases.iter().all(|(phase, _)| *phase != Phase::Opening));
    }

    #[test]
    fn the_first_object_is_not_the_page() {
        assert_eq!(load().first_object(), ms(100));
        assert_eq!(load().total(), ms(100));
    }
}
