use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tower_conn_testkit::body::{BodyProbe, Hint, Script, ScriptedBody};

use super::*;

const LIMIT: usize = 64;

type Collected = http_body_util::Collected<Bytes>;

async fn collect<B>(body: ReplayBody<B>) -> Result<Collected, BoxError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    body.collect().await
}

async fn next<B>(body: &mut ReplayBody<B>) -> Option<Result<Frame<Bytes>, BoxError>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    body.frame().await
}

/// A scripted body that can be moved between polls.
trait Source {
    fn source(&self) -> (Pin<Box<ScriptedBody>>, BodyProbe);
}

impl Source for Script {
    fn source(&self) -> (Pin<Box<ScriptedBody>>, BodyProbe) {
        let (body, probe) = self.body();
        (Box::pin(body), probe)
    }
}

fn data(frame: Option<Result<Frame<Bytes>, BoxError>>) -> Bytes {
    let frame = frame.expect("a frame").expect("no error");
    frame.into_data().expect("data")
}

fn chunks(script: Script) -> Script {
    script.data("one ").data("two ").data("three")
}

#[tokio::test]
async fn every_attempt_sends_the_whole_body_and_its_trailers() {
    let (source, _) = chunks(Script::new())
        .trailer("sum", "9")
        .hint(Hint::Unknown)
        .source();
    let (first, replay) = ReplayBody::replayable(source, LIMIT);
    let mut body = first;
    for _ in 0..3 {
        assert_eq!(
            body.size_hint().exact(),
            None,
            "a length would lose the trailers"
        );
        let collected = collect(body).await.expect("no error");
        assert_eq!(collected.trailers().expect("trailers")["sum"], "9");
        assert_eq!(collected.to_bytes(), "one two three");
        body = replay.again().expect("replayable");
    }
}

#[tokio::test]
async fn trailers_alone_are_replayed() {
    let (source, _) = Script::new().trailer("sum", "0").source();
    let (mut body, replay) = ReplayBody::replayable(source, LIMIT);
    for _ in 0..2 {
        let collected = collect(body).await.expect("no error");
        assert_eq!(collected.trailers().expect("trailers")["sum"], "0");
        assert!(collected.to_bytes().is_empty());
        body = replay.again().expect("replayable");
    }
}

/// linkerd2#15649: the first chunk was sent twice when a retry began before anything was read.
#[tokio::test]
async fn an_untouched_body_is_sent_once_whatever_its_size() {
    let (source, probe) = Script::new()
        .data(vec![7_u8; 1000])
        .data(vec![8_u8; 1000])
        .source();
    let (first, replay) = ReplayBody::replayable(source, LIMIT);
    drop(first);
    let second = replay.again().expect("nothing was taken");
    assert_eq!(second.size_hint().exact(), Some(2000));
    assert_eq!(
        collect(second).await.expect("no error").to_bytes().len(),
        2000
    );
    assert_eq!(probe.frames(), 2);
    assert_eq!(replay.again().err(), Some(NotReplayable::OverLimit));
}

#[tokio::test]
async fn a_prefix_is_replayed_and_the_rest_follows() {
    let (source, probe) = chunks(Script::new()).source();
    let (mut first, replay) = ReplayBody::replayable(source, LIMIT);
    assert_eq!(data(next(&mut first).await), "one ");
    assert_eq!(replay.again().err(), Some(NotReplayable::Held));
    drop(first);
    assert!(!probe.dropped(), "the source waits for the next attempt");
    let second = replay.again().expect("let go of");
    assert_eq!(second.size_hint().exact(), Some(13));
    assert_eq!(
        collect(second).await.expect("no error").to_bytes(),
        "one two three"
    );
    let third = replay.again().expect("all of it was kept");
    assert_eq!(
        collect(third).await.expect("no error").to_bytes(),
        "one two three"
    );
}

/// linkerd2#11529: a clone polled while the original was alive panicked.
#[tokio::test]
async fn a_body_that_is_taken_over_ends_with_an_error() {
    let (source, _) = chunks(Script::new()).source();
    let (mut first, replay) = ReplayBody::replayable(source, LIMIT);
    assert_eq!(data(next(&mut first).await), "one ");
    let mut second = replay.take_over().expect("taken over");
    assert_eq!(data(next(&mut second).await), "one ");
    assert_eq!(data(next(&mut second).await), "two ");
    // It is given what was kept, in order, and nothing of the source.
    assert_eq!(data(next(&mut first).await), "two ");
    let error = next(&mut first)
        .await
        .expect("an item")
        .expect_err("an error");
    assert_eq!(error.downcast_ref(), Some(&ReplayError::Superseded));
    drop(first);
    assert_eq!(collect(second).await.expect("no error").to_bytes(), "three");
    assert!(replay.again().is_ok());
}

#[tokio::test]
async fn a_body_that_was_sent_whole_is_held_by_nobody() {
    let (source, _) = chunks(Script::new()).source();
    let (mut first, replay) = ReplayBody::replayable(source, LIMIT);
    for _ in 0..3 {
        next(&mut first).await;
    }
    assert!(first.is_end_stream());
    assert!(
        replay.again().is_ok(),
        "hyper keeps such a body for a while"
    );
}

#[tokio::test]
async fn at_the_limit_is_within_it_and_one_more_is_not() {
    for (length, replayable) in [(LIMIT, true), (LIMIT + 1, false)] {
        for hint in [Hint::Exact, Hint::Unknown] {
            let (source, _) = Script::new()
                .data(vec![1_u8; 32])
                .data(vec![2_u8; length - 32])
                .hint(hint)
                .source();
            let (first, replay) = ReplayBody::replayable(source, LIMIT);
            let sent = collect(first).await.expect("the attempt itself goes on");
            assert_eq!(sent.to_bytes().len(), length);
            assert_eq!(replay.again().is_ok(), replayable, "{length} bytes");
        }
    }
}

#[tokio::test]
async fn a_failed_source_is_not_sent_again() {
    let (source, _) = Script::new().data("one").error(5).source();
    let (mut first, replay) = ReplayBody::replayable(source, LIMIT);
    assert_eq!(data(next(&mut first).await), "one");
    let error = next(&mut first)
        .await
        .expect("an item")
        .expect_err("an error");
    assert_eq!(error.to_string(), "scripted body error 5");
    assert!(next(&mut first).await.is_none());
    assert_eq!(replay.take_over().err(), Some(NotReplayable::SourceFailed));
}

#[tokio::test]
async fn bytes_are_kept_without_a_copy() {
    let sent = Bytes::from(vec![3_u8; 40]);
    let (mut first, replay) = ReplayBody::replayable(Full::new(sent.clone()), LIMIT);
    assert_eq!(data(next(&mut first).await).as_ptr(), sent.as_ptr());
    let mut second = replay.again().expect("replayable");
    assert_eq!(data(next(&mut second).await).as_ptr(), sent.as_ptr());
}

#[tokio::test]
async fn an_empty_body_and_empty_frames_keep_nothing() {
    let (first, replay) = ReplayBody::replayable(ScriptedBody::default(), LIMIT);
    assert!(first.is_end_stream() && first.size_hint().exact() == Some(0));
    assert!(replay.again().expect("replayable").is_end_stream());

    let script = (0..10_000).fold(Script::new(), |script, _| script.data(""));
    let (first, replay) =
        ReplayBody::replayable(script.data("end").hint(Hint::Unknown).source().0, LIMIT);
    assert_eq!(collect(first).await.expect("no error").to_bytes(), "end");
    assert_eq!(
        collect(replay.again().expect("kept"))
            .await
            .expect("no error")
            .to_bytes(),
        "end"
    );
}

#[tokio::test]
async fn very_many_very_small_frames_are_not_kept() {
    let script = (0..5000).fold(Script::new(), |script, _| script.data("x"));
    let (first, replay) = ReplayBody::replayable(script.hint(Hint::Unknown).source().0, 64 * 1024);
    assert_eq!(
        collect(first).await.expect("no error").to_bytes().len(),
        5000
    );
    assert_eq!(replay.again().err(), Some(NotReplayable::OverLimit));
}

#[tokio::test]
async fn the_size_is_exact_at_every_frame_of_every_attempt() {
    let (source, _) = chunks(Script::new()).source();
    let (first, replay) = ReplayBody::replayable(source, LIMIT);
    let mut body = first;
    for _ in 0..2 {
        let mut left = 13;
        while left > 0 {
            assert_eq!(body.size_hint().exact(), Some(left));
            assert!(!body.is_end_stream());
            left -= data(next(&mut body).await).len() as u64;
        }
        assert!(body.is_end_stream() && body.size_hint().exact() == Some(0));
        body = replay.again().expect("replayable");
    }
}
