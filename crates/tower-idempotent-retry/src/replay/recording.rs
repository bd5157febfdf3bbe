//! What the attempts of one request share: the source, and what was taken from it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{NotReplayable, ReplayError, poll_bytes};
use crate::BoxError;

/// So that a body of very many very small frames costs no more memory than its limit promises.
const MOST_FRAMES: usize = 4096;

pub(super) struct Recording<B> {
    /// Until it has ended or failed.
    source: Option<Pin<Box<B>>>,
    /// What it said of its size when it had.
    last_hint: SizeHint,
    /// Whether its size was known before anything was taken. If not, it is sent again without one: a
    /// message with a length cannot carry trailers.
    sized: bool,
    frames: Vec<Kept>,
    bytes: usize,
    limit: usize,
    keeping: Keeping,
    /// The attempt that may take from the source.
    attempt: u32,
    /// Whether its body is still alive.
    held: bool,
}

enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    Everything,
    /// The limit was passed: the attempt under way is the last.
    OverLimit,
    SourceFailed,
}

impl<B> Recording<B> {
    pub(super) fn new(source: B, limit: usize) -> Self
    where
        B: Body,
    {
        Self {
            sized: source.size_hint().exact().is_some(),
            source: Some(Box::pin(source)),
            last_hint: SizeHint::with_exact(0),
            frames: Vec::new(),
            bytes: 0,
            limit,
            keeping: Keeping::Everything,
            attempt: 0,
            held: true,
        }
    }

    pub(super) const fn check(&self, take_over: bool) -> Result<(), NotReplayable> {
        match self.keeping {
            Keeping::OverLimit => Err(NotReplayable::OverLimit),
            Keeping::SourceFailed => Err(NotReplayable::SourceFailed),
            // A body that has given all it has is held by nobody.
            Keeping::Everything if self.held && self.source.is_some() && !take_over => {
                Err(NotReplayable::Held)
            }
            Keeping::Everything => Ok(()),
        }
    }

    /// Begins the next attempt, and ends the one before if that is still there.
    pub(super) fn begin(&mut self, take_over: bool) -> Result<u32, NotReplayable> {
        self.check(take_over)?;
        self.attempt = self.attempt.wrapping_add(1);
        self.held = true;
        Ok(self.attempt)
    }

    pub(super) const fn release(&mut self, attempt: u32) {
        if attempt == self.attempt {
            self.held = false;
        }
    }
}

impl<B: Body> Recording<B> {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        attempt: u32,
        given: &mut usize,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
    where
        B::Error: Into<BoxError>,
    {
        if let Some(kept) = self.frames.get(*given) {
            *given += 1;
            return Poll::Ready(Some(Ok(kept.frame())));
        }
        if attempt != self.attempt {
            // Everything was kept for an attempt that ends here, too.
            return Poll::Ready(match self.source {
                None if self.keeping == Keeping::Everything => None,
                _ => Some(Err(ReplayError::Superseded.into())),
            });
        }
        let Some(source) = &mut self.source else {
            return Poll::Ready(None);
        };
        let frame = ready!(poll_bytes(source.as_mut(), cx));
        if source.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            self.last_hint = source.size_hint();
            self.source = None;
        }
        Poll::Ready(match frame {
            None => None,
            Some(Ok(frame)) => Some(Ok(self.keep(frame, given))),
            Some(Err(error)) => {
                self.keeping = Keeping::SourceFailed;
                self.frames = Vec::new();
                Some(Err(error.into()))
            }
        })
    }

    fn keep(&mut self, frame: Frame<Bytes>, given: &mut usize) -> Frame<Bytes> {
        if self.keeping != Keeping::Everything {
            return frame;
        }
        let kept = match frame.into_data() {
            Ok(data) if data.is_empty() => return Frame::data(data),
            Ok(data) => {
                let bytes = self.bytes.saturating_add(data.len());
                if bytes > self.limit
                    || self.frames.len() >= MOST_FRAMES
                    || self.is_sure_to_pass(bytes)
                {
                    self.keeping = Keeping::OverLimit;
                    self.frames = Vec::new();
                    *given = 0;
                    return Frame::data(data);
                }
                self.bytes = bytes;
                Kept::Data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => Kept::Trailers(trailers),
                // There is no third kind of frame today.
                Err(frame) => {
                    self.keeping = Keeping::OverLimit;
                    return frame;
                }
            },
        };
        let frame = kept.frame();
        self.frames.push(kept);
        *given += 1;
        frame
    }

    /// Whether what is still to come is announced to be more than is kept, so that keeping what has
    /// come is a waste.
    fn is_sure_to_pass(&self, bytes: usize) -> bool {
        let rest = self.source.as_ref().map_or(0, |it| it.size_hint().lower());
        let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
        rest.saturating_add(bytes as u64) > limit
    }

    pub(super) fn is_end_stream(&self, given: usize) -> bool {
        given >= self.frames.len() && self.source.as_deref().is_none_or(Body::is_end_stream)
    }

    /// What is left of the kept data, and what the source announces.
    pub(super) fn size_hint(&self, given: usize) -> SizeHint {
        let kept: u64 = self
            .frames
            .iter()
            .skip(given)
            .map(|kept| match kept {
                Kept::Data(data) => data.len() as u64,
                Kept::Trailers(_) => 0,
            })
            .sum();
        let source = self
            .source
            .as_deref()
            .map_or_else(|| self.last_hint, Body::size_hint);
        if kept == 0 {
            return source;
        }
        let lower = source.lower().saturating_add(kept);
        let upper = source.upper().and_then(|upper| upper.checked_add(kept));
        let mut hint = SizeHint::new();
        hint.set_lower(lower);
        if let Some(upper) = upper.filter(|&upper| self.sized || upper > lower) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl Kept {
    fn frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.clone()),
        }
    }
}
