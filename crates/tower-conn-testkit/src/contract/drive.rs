//! Drives a wrapped body beside an unwrapped one of the same script and compares them at each step.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use super::{BodyRules, task::Wakes};
use crate::body::{ScriptError, ScriptedBody};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// How far a body is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// To `None` or an error, as a plain reader does.
    None,
    /// Until `is_end_stream` is true, as hyper does: it does not poll again then.
    EndStream,
    /// For so many frames.
    Frames(usize),
}

/// What a poll came to, in a form that can be compared.
#[derive(PartialEq, Eq)]
enum Got {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(u32),
    End,
}

impl fmt::Debug for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) if data.len() > 64 => {
                write!(
                    f,
                    "{} bytes that begin with {:?}",
                    data.len(),
                    data.slice(..8)
                )
            }
            Self::Data(data) => write!(f, "data {data:?}"),
            Self::Trailers(trailers) => write!(f, "trailers {trailers:?}"),
            Self::Error(id) => write!(f, "error {id}"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// Drives both bodies and panics where they differ beyond the rules.
pub(super) fn compare<B>(
    mut wrapped: Pin<&mut B>,
    plain: ScriptedBody,
    rules: &BodyRules,
    until: Until,
    scenario: &str,
) where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut plain = std::pin::pin!(plain);
    let mut frames = 0;
    loop {
        let at = format!("{scenario}, after {frames} frames");
        announcements(&*wrapped, &plain, rules, &at);
        match until {
            Until::EndStream if wrapped.is_end_stream() => {
                let rest = visible(plain.as_mut(), rules, &at);
                assert_eq!(
                    rest,
                    Got::End,
                    "{at}: is_end_stream was true with this still to come"
                );
                return;
            }
            Until::Frames(count) if frames == count => return,
            _ => {}
        }
        let got = next(wrapped.as_mut(), rules, &at);
        let want = visible(plain.as_mut(), rules, &at);
        assert_eq!(
            got, want,
            "{at}: the next frame (left: the wrapper's) is not the inner body's"
        );
        if matches!(got, Got::End | Got::Error(_)) {
            if got == Got::End {
                announcements(
                    &*wrapped,
                    &plain,
                    rules,
                    &format!("{scenario}, after the end"),
                );
            }
            return;
        }
        frames += 1;
    }
}

/// Compares `size_hint` and `is_end_stream`.
fn announcements<B: Body>(wrapped: &B, plain: &ScriptedBody, rules: &BodyRules, at: &str) {
    let (hint, inner) = (wrapped.size_hint(), plain.size_hint());
    let (bounds, expected) = ((hint.lower(), hint.upper()), (inner.lower(), inner.upper()));
    if rules.hint_may_widen {
        let upper = |bound: Option<u64>| bound.unwrap_or(u64::MAX);
        assert!(
            bounds.0 <= expected.0 && upper(bounds.1) >= upper(expected.1),
            "{at}: size_hint {bounds:?} promises more than the inner body's {expected:?}"
        );
    } else {
        assert_eq!(
            bounds, expected,
            "{at}: size_hint (left: the wrapper's) is not the inner body's"
        );
    }
    if plain.is_end_stream() && !rules.end_may_be_late {
        assert!(
            wrapped.is_end_stream(),
            "{at}: is_end_stream is false, though the inner body's is true"
        );
    }
    if wrapped.is_end_stream() {
        // A wrapper that knows better than a late inner body is right as long as nothing follows.
        assert!(
            !plain.more(|trailers| rules.map_trailers(trailers.clone()).is_some()),
            "{at}: is_end_stream is true with more to come"
        );
    }
}

/// The next thing that the wrapper should show.
fn visible(mut plain: Pin<&mut ScriptedBody>, rules: &BodyRules, at: &str) -> Got {
    loop {
        match next(plain.as_mut(), rules, at) {
            Got::Trailers(trailers) => {
                if let Some(trailers) = rules.map_trailers(trailers) {
                    return Got::Trailers(trailers);
                }
            }
            other => return other,
        }
    }
}

/// Polls until something comes. Every `Pending` must have arranged its wake.
fn next<B>(mut body: Pin<&mut B>, rules: &BodyRules, at: &str) -> Got
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    for _ in 0..1000 {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        match body.as_mut().poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => assert!(
                wakes.count() > 0,
                "{at}: Pending, though nothing will wake the task"
            ),
            Poll::Ready(None) => return Got::End,
            Poll::Ready(Some(Err(error))) => {
                return Got::Error(identity(&*error.into(), rules, at));
            }
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Got::Data(data),
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => return Got::Trailers(trailers),
                    Err(_) => panic!("{at}: a frame of a kind that was not scripted"),
                },
            },
        }
    }
    panic!("{at}: Pending a thousand times");
}

fn identity(error: &(dyn Error + 'static), rules: &BodyRules, at: &str) -> u32 {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<ScriptError>() {
            return error.id();
        }
        next = error.source().filter(|_| rules.error_may_be_wrapped);
    }
    panic!("{at}: the error is not the inner body's: {error}");
}
