//! The body contract passes honest wrappers and catches each way of being a bad one.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tower_conn_testkit::{
    body::{Script, ScriptedBody},
    contract::{BodyContract, BodyRules, assert_body_forwarding},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    SwallowsTrailers,
    ChangesTrailers,
    ChangesData,
    DropsEmptyFrames,
    Reorders,
    LosesSizeHint,
    FixesSizeHint,
    LosesEndStream,
    EndsStreamAfterData,
    SwallowsError,
    ReplacesError,
    WrapsError,
    PollsAfterEnd,
    LeaksInner,
    LosesWaker,
    KeepsFirstWaker,
    SpinsInstead,
    EndsAfterOneFrame,
}

struct Wrapper {
    inner: Option<Pin<Box<ScriptedBody>>>,
    fault: Fault,
    held: Option<Frame<Bytes>>,
    waker: Option<Waker>,
    frames: usize,
    first_hint: SizeHint,
}

impl Wrapper {
    fn new(inner: ScriptedBody, fault: Fault) -> Self {
        Self {
            first_hint: inner.size_hint(),
            inner: Some(Box::pin(inner)),
            fault,
            held: None,
            waker: None,
            frames: 0,
        }
    }

    fn inner(&self) -> &ScriptedBody {
        self.inner.as_ref().unwrap()
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let inner = self.inner.as_mut().unwrap().as_mut();
        let polled = match self.fault {
            Fault::LosesWaker => inner.poll_frame(&mut Context::from_waker(Waker::noop())),
            Fault::SpinsInstead => {
                cx.waker().wake_by_ref();
                inner.poll_frame(&mut Context::from_waker(Waker::noop()))
            }
            Fault::KeepsFirstWaker => {
                let waker = self.waker.get_or_insert_with(|| cx.waker().clone());
                inner.poll_frame(&mut Context::from_waker(waker))
            }
            _ => inner.poll_frame(cx),
        };
        polled.map_err(Into::into)
    }
}

impl Body for Wrapper {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.fault == Fault::EndsAfterOneFrame
            && this.frames == 1
            && this.inner().size_hint().lower() > 0
        {
            return Poll::Ready(None);
        }
        if let Some(held) = this.held.take() {
            return Poll::Ready(Some(Ok(held)));
        }
        loop {
            let polled = std::task::ready!(this.poll_inner(cx));
            let frame = match (polled, this.fault) {
                (None, Fault::PollsAfterEnd) => return this.poll_inner(cx),
                (Some(Err(_)), Fault::SwallowsError) => return Poll::Ready(None),
                (Some(Err(_)), Fault::ReplacesError) => {
                    return Poll::Ready(Some(Err("another".into())));
                }
                (Some(Err(error)), Fault::WrapsError) => {
                    return Poll::Ready(Some(Err(std::io::Error::other(Around(error)).into())));
                }
                (Some(Ok(frame)), _) => frame,
                (other, _) => return Poll::Ready(other),
            };
            this.frames += 1;
            match this.fault {
                Fault::SwallowsTrailers if frame.is_trailers() => continue,
                Fault::ChangesTrailers if frame.is_trailers() => {
                    let mut trailers = frame.into_trailers().unwrap();
                    trailers.remove("x-sum");
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Fault::ChangesData if frame.is_data() => {
                    return Poll::Ready(Some(Ok(
                        frame.map_data(|data| data.slice(data.len().min(1)..))
                    )));
                }
                Fault::DropsEmptyFrames if frame.data_ref().is_some_and(Bytes::is_empty) => {
                    continue;
                }
                Fault::Reorders if this.frames == 1 && this.inner().size_hint().lower() > 0 => {
                    // The second frame, which is sure to be there, goes first.
                    let second = std::task::ready!(this.poll_inner(cx));
                    this.held = Some(frame);
                    return Poll::Ready(second);
                }
                _ => return Poll::Ready(Some(Ok(frame))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.fault {
            Fault::LosesEndStream => false,
            Fault::EndsStreamAfterData => self.frames > 0 || self.inner().is_end_stream(),
            _ => self.inner().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.fault {
            Fault::LosesSizeHint => SizeHint::default(),
            Fault::FixesSizeHint => self.first_hint,
            _ => self.inner().size_hint(),
        }
    }
}

impl Drop for Wrapper {
    fn drop(&mut self) {
        if self.fault == Fault::LeaksInner {
            Box::leak(Box::new(self.inner.take()));
        }
    }
}

#[derive(Debug)]
struct Around(BoxError);

impl std::fmt::Display for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("around")
    }
}

impl std::error::Error for Around {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// Why the contract rejects a fault under these rules; `None` if it does not.
fn verdict(fault: Fault, rules: BodyRules) -> Option<String> {
    let contract = BodyContract::new(move |body| Wrapper::new(body, fault)).rules(rules);
    let panic = catch_unwind(AssertUnwindSafe(|| contract.check())).err()?;
    Some(match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    })
}

#[test]
fn honest_wrappers_pass() {
    assert_body_forwarding(|body| body);
    assert_body_forwarding(Box::pin);
    assert_body_forwarding(BodyExt::boxed_unsync);
    assert_eq!(verdict(Fault::None, BodyRules::new()), None);
}

#[test]
fn every_fault_is_caught_and_named() {
    let next = "the next frame (left: the wrapper's) is not the inner body's";
    for (fault, expected) in [
        (Fault::SwallowsTrailers, next),
        (Fault::ChangesTrailers, next),
        (Fault::ChangesData, next),
        (Fault::DropsEmptyFrames, next),
        (Fault::Reorders, next),
        (
            Fault::LosesSizeHint,
            "size_hint (left: the wrapper's) is not the inner body's",
        ),
        (
            Fault::FixesSizeHint,
            "size_hint (left: the wrapper's) is not the inner body's",
        ),
        (
            Fault::LosesEndStream,
            "is_end_stream is false, though the inner body's is true",
        ),
        (
            Fault::EndsStreamAfterData,
            "is_end_stream is true with more to come",
        ),
        (Fault::SwallowsError, next),
        (
            Fault::ReplacesError,
            "the error is not the inner body's: another",
        ),
        (
            Fault::WrapsError,
            "the error is not the inner body's: around",
        ),
        (Fault::PollsAfterEnd, "a body was polled after its end"),
        (
            Fault::LeaksInner,
            "the inner body outlives the dropped wrapper",
        ),
        (
            Fault::LosesWaker,
            "Pending, though nothing will wake the task",
        ),
        (
            Fault::KeepsFirstWaker,
            "Pending, though nothing will wake the task",
        ),
        (
            Fault::SpinsInstead,
            "the task that polled last is not woken",
        ),
        (Fault::EndsAfterOneFrame, next),
    ] {
        let verdict =
            verdict(fault, BodyRules::new()).unwrap_or_else(|| panic!("{fault:?} passes"));
        assert!(verdict.contains(expected), "{fault:?}: {verdict}");
    }
}

#[test]
fn rules_allow_what_they_name_and_no_more() {
    let without = |trailers: HeaderMap| {
        let mut kept = trailers;
        kept.remove("x-sum");
        Some(kept)
    };
    let plain = BodyRules::new;
    for (fault, rules) in [
        (
            Fault::SwallowsTrailers,
            plain().trailers(|_| None).end_may_be_late(),
        ),
        (Fault::ChangesTrailers, plain().trailers(without)),
        (Fault::LosesSizeHint, plain().hint_may_widen()),
        (Fault::LosesEndStream, plain().end_may_be_late()),
        (Fault::WrapsError, plain().error_may_be_wrapped()),
        (Fault::LeaksInner, plain().may_outlive()),
    ] {
        assert_eq!(verdict(fault, rules), None, "{fault:?}");
    }
    for (fault, rules) in [
        (Fault::None, plain().trailers(without)),
        (Fault::SwallowsTrailers, plain().trailers(without)),
        (Fault::FixesSizeHint, plain().hint_may_widen()),
        (Fault::EndsStreamAfterData, plain().end_may_be_late()),
        (Fault::ReplacesError, plain().error_may_be_wrapped()),
        (Fault::PollsAfterEnd, plain().may_outlive()),
    ] {
        assert!(verdict(fault, rules).is_some(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_scripted_body_keeps_its_script() {
    let (body, probe) = Script::new().data("ab").stall().error(5).body();
    let mut body = Box::pin(body);
    assert_eq!(body.size_hint().exact(), Some(2));
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "ab"
    );
    assert!(!body.is_end_stream());
    let resumed = probe.clone();
    let (frame, ()) = tokio::join!(body.frame(), async move { resumed.resume() });
    assert_eq!(frame.unwrap().unwrap_err().id(), 5);
    assert!(probe.failed() && !probe.ended() && !probe.dropped());
    assert_eq!(probe.frames(), 1);
    drop(body);
    assert!(probe.dropped());
}

#[test]
#[should_panic(expected = "a body was polled after its error")]
fn a_scripted_body_is_not_polled_after_its_error() {
    let (body, _probe) = Script::new().error(1).body();
    let mut body = Box::pin(body);
    let mut cx = Context::from_waker(Waker::noop());
    let _ = body.as_mut().poll_frame(&mut cx);
    let _ = body.as_mut().poll_frame(&mut cx);
}
