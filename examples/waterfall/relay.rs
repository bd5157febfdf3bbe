//! One direction of one connection over the link.
//!
//! Bytes that the sender has written are taken from it as far as its window allows, occupy the link
//! segment by segment, and are written to the receiver after the delay of the link; a delay later the
//! sender learns that they have arrived. What stays behind stays in the sender's socket. An end of
//! stream travels like a segment without payload.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::model::{Bottleneck, SEGMENT, Window};
use crate::record::Recorder;
use crate::span::Span;

/// The link as one direction sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) link: &'a Mutex<Bottleneck>,
    /// From one end to the other.
    pub(crate) delay: Duration,
    pub(crate) recorder: &'a Recorder,
    /// The connection in whose log arrivals and stalls go, if they do.
    pub(crate) log_as: Option<usize>,
}

/// Relays until the end of the stream has been delivered.
pub(crate) async fn relay<R, W>(mut from: R, mut to: W, way: Way<'_>) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut sender = Sender::new(way);
    let mut buffer = BytesMut::with_capacity(SEGMENT);
    loop {
        let now = way.recorder.now();
        while let Some(event) = sender.next_due(now) {
            match event {
                Event::Arrival(bytes) if bytes.is_empty() => return to.shutdown().await,
                Event::Arrival(bytes) => to.write_all(&bytes).await?,
                Event::Acknowledgement(at) => sender.acknowledged(at),
            }
        }
        let wake_at = sender.next_time();
        tokio::select! {
            read = from.read_buf(&mut buffer), if sender.wants_more() => {
                let length = read?;
                let now = way.recorder.now();
                if length == 0 {
                    sender.finish(now);
                } else {
                    sender.give(buffer.split().freeze(), now);
                }
                buffer.reserve(SEGMENT);
            }
            () = way.recorder.sleep_until(wake_at.unwrap_or_default()), if wake_at.is_some() => {}
        }
    }
}

enum Event {
    /// At the receiver; empty at the end of the stream.
    Arrival(Bytes),
    /// At the sender.
    Acknowledgement(Duration),
}

struct Sender<'a> {
    way: Way<'a>,
    window: Window,
    /// Read from the sender, and not allowed to leave yet.
    held: Bytes,
    held_since: Option<Duration>,
    finished: bool,
    arrivals: VecDeque<(Duration, Bytes)>,
    acknowledgements: VecDeque<Duration>,
}

impl<'a> Sender<'a> {
    fn new(way: Way<'a>) -> Self {
        Self {
            way,
            window: Window::new(),
            held: Bytes::new(),
            held_since: None,
            finished: false,
            arrivals: VecDeque::new(),
            acknowledgements: VecDeque::new(),
        }
    }

    fn wants_more(&self) -> bool {
        self.held.is_empty() && !self.finished
    }

    fn next_time(&self) -> Option<Duration> {
        let arrival = self.arrivals.front().map(|(time, _)| *time);
        arrival
            .into_iter()
            .chain(self.acknowledgements.front().copied())
            .min()
    }

    /// What has happened by now, in order.
    fn next_due(&mut self, now: Duration) -> Option<Event> {
        let next = self.next_time().filter(|&time| time <= now)?;
        if self.acknowledgements.front() == Some(&next) {
            self.acknowledgements.pop_front();
            return Some(Event::Acknowledgement(next));
        }
        let (_, bytes) = self.arrivals.pop_front()?;
        Some(Event::Arrival(bytes))
    }

    fn give(&mut self, bytes: Bytes, now: Duration) {
        self.held = bytes;
        self.send(now);
    }

    fn finish(&mut self, now: Duration) {
        self.finished = true;
        let after = self
            .arrivals
            .back()
            .map_or(Duration::ZERO, |(time, _)| *time);
        self.arrivals
            .push_back((after.max(now + self.way.delay), Bytes::new()));
    }

    /// A timer may be late; what an acknowledgement lets go leaves when it should have.
    fn acknowledged(&mut self, at: Duration) {
        self.window.acknowledged();
        self.send(at);
    }

    fn send(&mut self, at: Duration) {
        while !self.held.is_empty() && self.window.is_open() {
            self.resume(at);
            let segment = self.held.split_to(self.held.len().min(SEGMENT));
            let mut link = self.way.link.lock().unwrap_or_else(PoisonError::into_inner);
            let on_link = link.send(at, segment.len());
            drop(link);
            self.window.sent();
            let arrival = self.at_receiver(on_link);
            if let Some(connection) = self.way.log_as {
                self.way.recorder.received(connection, arrival);
            }
            self.arrivals.push_back((arrival.end, segment));
            self.acknowledgements
                .push_back(arrival.end + self.way.delay);
        }
        if !self.held.is_empty() {
            self.held_since.get_or_insert(at);
        }
    }

    /// The window has opened again.
    fn resume(&mut self, at: Duration) {
        let Some(since) = self.held_since.take() else {
            return;
        };
        if let Some(connection) = self.way.log_as {
            let stall = self.at_receiver(Span::new(since, at));
            self.way.recorder.stalled(connection, stall);
        }
    }

    fn at_receiver(&self, span: Span) -> Span {
        Span::new(span.start + self.way.delay, span.end + self.way.delay)
    }
}
