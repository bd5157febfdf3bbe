//! The model of the link: how long a segment occupies it, and how many may be under way.
//!
//! Pure: time is an argument, counted from the start of the page load.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::span::Span;

/// Payload of a full TCP segment on an Ethernet path.
pub(crate) const SEGMENT: usize = 1460;
/// What IP and TCP add to each.
const HEADERS: usize = 40;
/// Segments that may be sent before the first acknowledgement (RFC 6928).
const INITIAL_WINDOW: usize = 10;

/// One direction of the link, shared by all connections: first come, first served.
#[derive(Debug)]
pub(crate) struct Bottleneck {
    bits_per_second: Option<NonZeroU64>,
    free_from: Duration,
}

impl Bottleneck {
    /// `None` takes no time for anything.
    pub(crate) fn new(bits_per_second: Option<NonZeroU64>) -> Self {
        Self {
            bits_per_second,
            free_from: Duration::ZERO,
        }
    }

    /// When a segment with so much payload, handed over at this time, is on the link.
    pub(crate) fn send(&mut self, at: Duration, payload: usize) -> Span {
        let start = at.max(self.free_from);
        let bits = 8 * (payload + HEADERS) as u64;
        let takes = self.bits_per_second.map_or(Duration::ZERO, |rate| {
            Duration::from_nanos(bits.saturating_mul(1_000_000_000) / rate)
        });
        self.free_from = start.saturating_add(takes);
        Span::new(start, self.free_from)
    }
}

/// The congestion window of a sender in slow start (RFC 5681 section 3.1), in segments.
///
/// Nothing is lost, so that slow start never ends. As in Linux, a window that has not been needed does
/// not grow: not beyond twice what was outstanding at once.
#[derive(Debug)]
pub(crate) struct Window {
    limit: usize,
    outstanding: usize,
    peak: usize,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            limit: INITIAL_WINDOW,
            outstanding: 0,
            peak: 0,
        }
    }

    /// Whether a segment may be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.outstanding < self.limit
    }

    pub(crate) fn sent(&mut self) {
        if self.outstanding == 0 {
            self.peak = 0;
        }
        self.outstanding += 1;
        self.peak = self.peak.max(self.outstanding);
    }

    /// One segment was acknowledged: one more may follow it, and the window is one larger.
    pub(crate) fn acknowledged(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.limit < 2 * self.peak {
            self.limit += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends while the window is open, up to `have` segments, and has all acknowledged.
    fn flight(window: &mut Window, have: usize) -> usize {
        let mut sent = 0;
        while window.is_open() && sent < have {
            window.sent();
            sent += 1;
        }
        (0..sent).for_each(|_| window.acknowledged());
        sent
    }

    #[test]
    fn a_window_starts_at_ten_segments_and_doubles_each_round_trip() {
        let mut window = Window::new();
        let flights: Vec<_> = (0..4).map(|_| flight(&mut window, usize::MAX)).collect();
        assert_eq!(flights, [10, 20, 40, 80]);
    }

    #[test]
    fn a_window_that_is_not_needed_does_not_grow() {
        let mut window = Window::new();
        assert_eq!((0..5).map(|_| flight(&mut window, 4)).sum::<usize>(), 20);
        assert_eq!(flight(&mut window, usize::MAX), 10);
    }

    #[test]
    fn a_segment_waits_for_the_one_before_it() {
        // 1500 bytes at 12 Mbit/s take one millisecond.
        let ms = Duration::from_millis;
        let mut link = Bottleneck::new(NonZeroU64::new(12_000_000));
        assert_eq!(link.send(ms(5), SEGMENT), Span::new(ms(5), ms(6)));
        assert_eq!(link.send(ms(5), SEGMENT), Span::new(ms(6), ms(7)));
        assert_eq!(link.send(ms(9), SEGMENT), Span::new(ms(9), ms(10)));
    }

    #[test]
    fn a_link_without_a_limit_takes_no_time() {
        let at = Duration::from_millis(5);
        let mut link = Bottleneck::new(None);
        assert_eq!(link.send(at, SEGMENT), Span::new(at, at));
        assert_eq!(link.send(at, SEGMENT), Span::new(at, at));
    }
}
