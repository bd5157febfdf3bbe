//! The layer contract over any service that a layer made around a probe.

use std::future::poll_fn;

use http::Request;
use tokio::task::yield_now;
use tower_service::Service;

use super::task::{TURNS, Task, patiently};
use crate::{
    body::ScriptedBody,
    service::{Outcome, Readiness, ServiceProbe, TestError},
};

/// In what a layer differs from the plain contract.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    pub(super) readies_in_future: bool,
    pub(super) may_repeat: bool,
    pub(super) may_detach: bool,
}

/// A service under test, made anew for each check.
pub(super) struct Rig<'a, S> {
    pub(super) make: &'a dyn Fn() -> (S, ServiceProbe),
    pub(super) request: &'a dyn Fn() -> Request<ScriptedBody>,
    pub(super) rules: Rules,
}

impl<S, E> Rig<'_, S>
where
    S: Service<Request<ScriptedBody>, Error = E>,
    E: TestError,
{
    /// What any service must keep, whether or not it can be cloned.
    pub(super) async fn check(&self) {
        self.pending_readiness_is_passed_on().await;
        self.failed_readiness_is_passed_on().await;
        self.each_call_uses_its_own_readiness().await;
        self.calls_overlap().await;
        self.a_pending_response_is_woken().await;
        self.a_failed_response_keeps_its_error().await;
        self.a_dropped_response_is_dropped_inside().await;
    }

    async fn pending_readiness_is_passed_on(&self) {
        let (mut service, probe) = (self.make)();
        probe.set_readiness(Readiness::Pending);
        if self.rules.readies_in_future {
            ready(&mut service).await;
            let mut response = Task::new(service.call((self.request)()));
            response
                .stays_pending("the inner service is not ready, yet the response is")
                .await;
            assert_eq!(probe.calls(), 0, "the inner service was called unready");
            probe.set_readiness(Readiness::Ready);
            succeed(response).await;
            return;
        }
        let mut waiting = Task::new(poll_fn(|cx| service.poll_ready(cx)));
        waiting
            .stays_pending("the inner service is not ready, yet the layer's is")
            .await;
        probe.set_readiness(Readiness::Ready);
        let woken = waiting
            .finish("poll_ready was not woken by the inner service")
            .await;
        assert!(
            woken.is_ok(),
            "poll_ready fails, though the inner service is ready"
        );
        succeed(Task::new(service.call((self.request)()))).await;
    }

    async fn failed_readiness_is_passed_on(&self) {
        let (mut service, probe) = (self.make)();
        probe.set_readiness(Readiness::Fail(11));
        let result = if self.rules.readies_in_future {
            ready(&mut service).await;
            let response = service.call((self.request)());
            patiently(response, "no response after a failed readiness")
                .await
                .map(drop)
        } else {
            let polled = poll_fn(|cx| service.poll_ready(cx));
            patiently(
                polled,
                "poll_ready stays pending though the inner service failed",
            )
            .await
        };
        match result {
            Ok(()) => panic!("the error of the inner poll_ready is swallowed"),
            Err(error) => assert_eq!(
                error.id(),
                11,
                "another error than that of the inner poll_ready"
            ),
        }
        assert_eq!(
            probe.calls(),
            0,
            "the inner service was called after its poll_ready failed"
        );
    }

    async fn each_call_uses_its_own_readiness(&self) {
        let (mut service, probe) = (self.make)();
        for nth in 1..=3 {
            // Asking twice is allowed, and is one readiness.
            ready(&mut service).await;
            ready(&mut service).await;
            let readied = probe.readied();
            let response = Task::new(service.call((self.request)()));
            succeed(response).await;
            if self.rules.may_repeat {
                assert!(probe.calls() >= nth, "the inner service was not called");
            } else {
                assert_eq!(
                    probe.calls(),
                    nth,
                    "the inner calls (left) are not as many as the requests"
                );
            }
            if !self.rules.readies_in_future && !self.rules.may_repeat {
                assert_eq!(
                    probe.called().last(),
                    readied.last(),
                    "another instance was called than the one that poll_ready made ready"
                );
            }
        }
    }

    async fn calls_overlap(&self) {
        let (mut service, probe) = (self.make)();
        probe.set_outcome(Outcome::Pending);
        ready(&mut service).await;
        let mut first = Task::new(service.call((self.request)()));
        first
            .stays_pending("a response without one from the inner service")
            .await;
        ready(&mut service).await;
        let mut second = Task::new(service.call((self.request)()));
        second
            .stays_pending("a response without one from the inner service")
            .await;
        probe.set_outcome(Outcome::Respond);
        // The later one first: neither may depend on the other's polls.
        succeed(second).await;
        succeed(first).await;
    }

    async fn a_pending_response_is_woken(&self) {
        let (mut service, probe) = (self.make)();
        probe.set_outcome(Outcome::Pending);
        ready(&mut service).await;
        let mut response = Task::new(service.call((self.request)()));
        response
            .stays_pending("a response without one from the inner service")
            .await;
        assert_eq!(probe.in_flight(), 1, "the inner call is not under way");
        probe.set_outcome(Outcome::Respond);
        succeed(response).await;
        assert_eq!(
            probe.cancelled(),
            0,
            "the inner future was dropped and not finished"
        );
    }

    async fn a_failed_response_keeps_its_error(&self) {
        let (mut service, probe) = (self.make)();
        probe.set_outcome(Outcome::Fail(12));
        ready(&mut service).await;
        let response = service.call((self.request)());
        match patiently(response, "no response after a failed inner call").await {
            Ok(_) => panic!("the error of the inner response future is swallowed"),
            Err(error) => assert_eq!(
                error.id(),
                12,
                "another error than that of the inner future"
            ),
        }
        // A failed exchange says nothing about the service.
        probe.set_outcome(Outcome::Respond);
        ready(&mut service).await;
        succeed(Task::new(service.call((self.request)()))).await;
    }

    async fn a_dropped_response_is_dropped_inside(&self) {
        let (mut service, probe) = (self.make)();
        probe.set_outcome(Outcome::Pending);
        ready(&mut service).await;
        let mut response = Task::new(service.call((self.request)()));
        response
            .stays_pending("a response without one from the inner service")
            .await;
        drop(response);
        if !self.rules.may_detach {
            for _ in 0..TURNS {
                yield_now().await;
            }
            assert_eq!(
                probe.in_flight(),
                0,
                "the inner future outlives the dropped response future"
            );
        }
        probe.set_outcome(Outcome::Respond);
        ready(&mut service).await;
        succeed(Task::new(service.call((self.request)()))).await;
    }
}

impl<S, E> Rig<'_, S>
where
    S: Service<Request<ScriptedBody>, Error = E> + Clone,
    E: TestError,
{
    /// What a service that can be cloned must keep besides.
    pub(super) async fn check_clones(&self) {
        self.a_clone_starts_unready().await;
        self.clones_are_independent().await;
    }

    /// As hyper-util and axum do for each request: clone, ready, call.
    async fn a_clone_starts_unready(&self) {
        let (service, probe) = (self.make)();
        for _ in 0..3 {
            let mut oneshot = service.clone();
            ready(&mut oneshot).await;
            succeed(Task::new(oneshot.call((self.request)()))).await;
        }
        assert!(probe.calls() >= 3, "the inner service was not called");
    }

    async fn clones_are_independent(&self) {
        let (mut service, _probe) = (self.make)();
        ready(&mut service).await;
        let mut clone = service.clone();
        for _ in 0..2 {
            ready(&mut clone).await;
            succeed(Task::new(clone.call((self.request)()))).await;
        }
        // Ready since before the clone was made.
        succeed(Task::new(service.call((self.request)()))).await;
        let mut clones = [service.clone(), clone.clone()];
        for clone in &mut clones {
            ready(clone).await;
        }
        drop(service);
        for mut clone in clones {
            succeed(Task::new(clone.call((self.request)()))).await;
        }
    }
}

async fn ready<S, R, E>(service: &mut S)
where
    S: Service<R, Error = E>,
    E: TestError,
{
    let polled = poll_fn(|cx| service.poll_ready(cx));
    if let Err(error) = patiently(polled, "poll_ready stays pending").await {
        panic!("poll_ready fails with error {}", error.id());
    }
}

async fn succeed<T, E: TestError>(response: Task<impl Future<Output = Result<T, E>>>) {
    let result = response
        .finish("the response does not come, though the inner one has")
        .await;
    if let Err(error) = result {
        panic!("the response is error {}", error.id());
    }
}
