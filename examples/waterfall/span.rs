//! Spans of time, counted from the start of the page load.

use std::time::Duration;

/// From one moment to another; never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Duration,
    pub(crate) end: Duration,
}

impl Span {
    pub(crate) fn new(start: Duration, end: Duration) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    pub(crate) fn length(self) -> Duration {
        self.end.saturating_sub(self.start)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// What lies in both.
    pub(crate) fn within(self, other: Self) -> Self {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

/// The same moments, in order and without overlap.
pub(crate) fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| !span.is_empty());
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// What of `spans` lies in none of `others`; both are unions.
pub(crate) fn without(spans: &[Span], others: &[Span]) -> Vec<Span> {
    let mut rest = Vec::new();
    for &span in spans {
        let mut from = span.start;
        for other in others {
            if other.end > from && other.start < span.end {
                rest.push(Span::new(from, other.start));
                from = other.end;
            }
        }
        rest.push(Span::new(from, span.end));
    }
    rest.retain(|span| !span.is_empty());
    rest
}

/// What of `spans` lies in this span.
pub(crate) fn clip(spans: &[Span], to: Span) -> Vec<Span> {
    let mut clipped: Vec<_> = spans.iter().map(|span| span.within(to)).collect();
    clipped.retain(|span| !span.is_empty());
    clipped
}

pub(crate) fn total(spans: &[Span]) -> Duration {
    spans.iter().map(|span| span.length()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans<const N: usize>(of: [(u64, u64); N]) -> Vec<Span> {
        let ms = Duration::from_millis;
        of.map(|(start, end)| Span::new(ms(start), ms(end))).into()
    }

    #[test]
    fn a_union_has_no_overlap_and_no_empty_spans() {
        let all = spans([(5, 9), (0, 2), (3, 3), (1, 4), (9, 10), (20, 30)]);
        assert_eq!(union(all), spans([(0, 4), (5, 10), (20, 30)]));
    }

    #[test]
    fn without_takes_out_beginnings_middles_and_ends() {
        let whole = spans([(10, 20), (30, 40)]);
        assert_eq!(
            without(&whole, &spans([(5, 12), (14, 15), (18, 33), (39, 50)])),
            spans([(12, 14), (15, 18), (33, 39)])
        );
        assert_eq!(without(&whole, &[]), whole);
        assert_eq!(without(&whole, &spans([(0, 100)])), []);
    }

    #[test]
    fn a_span_that_ends_before_it_starts_is_empty() {
        let [span] = spans([(7, 3)])[..] else {
            unreachable!()
        };
        assert!(span.is_empty());
        assert_eq!(span.length(), Duration::ZERO);
    }

    #[test]
    fn clipping_keeps_what_lies_inside() {
        let [window] = spans([(4, 8)])[..] else {
            unreachable!()
        };
        let clipped = clip(&spans([(0, 4), (3, 5), (6, 7), (7, 12)]), window);
        assert_eq!(clipped, spans([(4, 5), (6, 7), (7, 8)]));
        assert_eq!(total(&clipped), Duration::from_millis(3));
    }
}
