//! The probe service panics when it is misused, and does what its handle says.

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use tower::{Service, ServiceExt};
use tower_conn_testkit::service::{Outcome, ProbeService, Readiness, ServiceProbe, TestError};

type Probe = ProbeService<fn(Request<()>) -> Response<()>>;

fn probe() -> (Probe, ServiceProbe) {
    ProbeService::new(|_| Response::new(()))
}

async fn ready(service: &mut Probe) {
    assert!(poll_fn(|cx| service.poll_ready(cx)).await.is_ok());
}

#[tokio::test]
#[should_panic(expected = "instance 1 was never ready")]
async fn a_call_without_readiness_panics() {
    let (mut service, _probe) = probe();
    let _ = service.call(Request::new(())).await;
}

#[tokio::test]
#[should_panic(expected = "instance 2 was never ready")]
async fn a_clone_of_a_ready_service_is_not_ready() {
    let (mut service, _probe) = probe();
    ready(&mut service).await;
    let _ = service.clone().call(Request::new(())).await;
}

#[tokio::test]
#[should_panic(expected = "instance 1 was ready before, and has used that up")]
async fn a_second_call_on_one_readiness_panics() {
    let (mut service, _probe) = probe();
    ready(&mut service).await;
    let _ = service.call(Request::new(())).await;
    let _ = service.call(Request::new(())).await;
}

#[tokio::test]
#[should_panic(expected = "polled after it had finished")]
async fn a_finished_future_is_not_polled_again() {
    let (mut service, _probe) = probe();
    ready(&mut service).await;
    let mut response = Box::pin(service.call(Request::new(())));
    assert!(response.as_mut().await.is_ok());
    let _ = response.await;
}

#[tokio::test]
async fn readiness_follows_the_handle() {
    let (mut service, probe) = probe();
    let mut cx = Context::from_waker(Waker::noop());
    probe.set_readiness(Readiness::Pending);
    assert!(service.poll_ready(&mut cx).is_pending());
    probe.set_readiness(Readiness::Fail(5));
    let Poll::Ready(Err(error)) = service.poll_ready(&mut cx) else {
        panic!("should fail")
    };
    assert_eq!(error.id(), 5);
    probe.set_readiness(Readiness::Ready);
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    assert_eq!((probe.polls(), probe.readied().len()), (3, 1));
}

#[tokio::test]
async fn outcomes_follow_the_script_and_then_the_handle() {
    let (service, probe) = probe();
    probe.script([Outcome::Fail(1), Outcome::Respond]);
    probe.set_outcome(Outcome::Fail(2));
    let mut ids = Vec::new();
    for _ in 0..3 {
        let result = service.clone().oneshot(Request::new(())).await;
        ids.push(result.err().map(|error| error.id()));
    }
    assert_eq!(ids, [Some(1), None, Some(2)]);
    assert_eq!(probe.called(), [2, 3, 4], "one clone each");
    assert_eq!(probe.instances(), 4);
}

#[tokio::test]
async fn calls_under_way_and_cancelled_are_counted() {
    let (mut service, probe) = probe();
    probe.set_outcome(Outcome::Pending);
    ready(&mut service).await;
    let first = service.call(Request::new(()));
    ready(&mut service).await;
    let second = tokio::spawn(service.call(Request::new(())));
    assert_eq!((probe.calls(), probe.in_flight()), (2, 2));
    drop(first);
    assert_eq!((probe.in_flight(), probe.cancelled()), (1, 1));
    tokio::task::yield_now().await;
    probe.set_outcome(Outcome::Respond);
    assert!(second.await.unwrap().is_ok());
    assert_eq!((probe.in_flight(), probe.cancelled()), (0, 1));
}
