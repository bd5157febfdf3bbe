//! The layer contract passes honest layers and catches each way of being a bad one.

use std::{
    future::poll_fn,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use http::{Request, Response, StatusCode};
use tokio::sync::Mutex;
use tower::{
    Layer, Service, layer::util::Identity, limit::ConcurrencyLimitLayer, util::MapResponseLayer,
};
use tower_conn_testkit::{
    body::ScriptedBody,
    contract::{LayerContract, assert_layer_contract},
    service::{NamedError, TestError},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    CallsFreshClone,
    ReadiesAnotherClone,
    CallsTwice,
    ClaimsReadiness,
    CopiesReadiness,
    LosesReadyWaker,
    SwallowsReadyError,
    ReplacesReadyError,
    SwallowsError,
    ReplacesError,
    LosesWaker,
    Detaches,
    Serialises,
    RepeatsFailures,
    FailsForGood,
    AnswersItself,
    WaitsForReadiness,
}

#[derive(Clone, Debug)]
struct FaultyLayer(Fault);

impl<S> Layer<S> for FaultyLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty {
            inner,
            fault: self.0,
            ready: false,
            broken: Arc::default(),
            line: Arc::default(),
        }
    }
}

#[derive(Clone)]
struct Faulty<S> {
    inner: S,
    fault: Fault,
    ready: bool,
    broken: Arc<std::sync::atomic::AtomicBool>,
    line: Arc<Mutex<()>>,
}

type Answer = Response<ScriptedBody>;
type Boxed<E> = Pin<Box<dyn Future<Output = Result<Answer, E>> + Send>>;

impl<S> Service<Request<ScriptedBody>> for Faulty<S>
where
    S: Service<Request<ScriptedBody>, Response = Answer, Error: TestError, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
    type Response = Answer;
    type Error = S::Error;
    type Future = Boxed<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.broken.load(std::sync::atomic::Ordering::SeqCst) {
            return Poll::Ready(Err(TestError::new(98)));
        }
        match self.fault {
            Fault::ClaimsReadiness | Fault::WaitsForReadiness => Poll::Ready(Ok(())),
            Fault::CopiesReadiness => {
                if !self.ready {
                    ready!(self.inner.poll_ready(cx))?;
                    self.ready = true;
                }
                Poll::Ready(Ok(()))
            }
            Fault::LosesReadyWaker => self
                .inner
                .poll_ready(&mut Context::from_waker(Waker::noop())),
            Fault::SwallowsReadyError => self.inner.poll_ready(cx).map(|_| Ok(())),
            Fault::ReplacesReadyError => self.inner.poll_ready(cx).map_err(|_| TestError::new(99)),
            _ => self.inner.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<ScriptedBody>) -> Self::Future {
        self.ready = false;
        let clone = self.inner.clone();
        match self.fault {
            Fault::CallsFreshClone => Box::pin(self.inner.clone().call(request)),
            Fault::CallsTwice => {
                drop(self.inner.call(Request::new(ScriptedBody::default())));
                Box::pin(self.inner.call(request))
            }
            Fault::ReadiesAnotherClone | Fault::WaitsForReadiness => {
                let mut clone = clone;
                Box::pin(async move {
                    poll_fn(|cx| clone.poll_ready(cx)).await?;
                    clone.call(request).await
                })
            }
            Fault::AnswersItself => Box::pin(async { Ok(Response::default()) }),
            Fault::SwallowsError => {
                let response = self.inner.call(request);
                Box::pin(async move { Ok(response.await.unwrap_or_default()) })
            }
            Fault::ReplacesError => {
                let response = self.inner.call(request);
                Box::pin(async move { response.await.map_err(|_| TestError::new(99)) })
            }
            Fault::LosesWaker => {
                let mut response = Box::pin(self.inner.call(request));
                Box::pin(poll_fn(move |_| {
                    response
                        .as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()))
                }))
            }
            Fault::Detaches => {
                let response = tokio::spawn(self.inner.call(request));
                Box::pin(async move { response.await.unwrap() })
            }
            Fault::Serialises => {
                let response = self.inner.call(request);
                let line = Arc::clone(&self.line);
                Box::pin(async move {
                    let _turn = line.lock().await;
                    response.await
                })
            }
            Fault::RepeatsFailures => {
                // The right way to own the service: the readied one goes into the future.
                let mut inner = mem::replace(&mut self.inner, clone);
                Box::pin(async move {
                    let first = inner.call(request).await;
                    poll_fn(|cx| inner.poll_ready(cx)).await?;
                    drop(first);
                    inner.call(Request::new(ScriptedBody::default())).await
                })
            }
            Fault::FailsForGood => {
                let response = self.inner.call(request);
                let broken = Arc::clone(&self.broken);
                Box::pin(async move {
                    let result = response.await;
                    broken.fetch_or(result.is_err(), std::sync::atomic::Ordering::SeqCst);
                    result
                })
            }
            _ => {
                let mut inner = mem::replace(&mut self.inner, clone);
                Box::pin(async move { inner.call(request).await })
            }
        }
    }
}

/// Runs a contract; why it fails, if it does.
fn verdict(contract: impl Future<Output = ()>) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(contract))).err()?;
    Some(match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    })
}

#[tokio::test(start_paused = true)]
async fn honest_layers_pass() {
    assert_layer_contract(Identity::new()).await;
    let status: fn(Answer) -> StatusCode = |response| response.status();
    assert_layer_contract(MapResponseLayer::new(status)).await;
    assert_layer_contract(ConcurrencyLimitLayer::new(8)).await;
    LayerContract::new(FaultyLayer(Fault::None))
        .inner_must_be_clone()
        .check()
        .await;
    LayerContract::new(Identity::new())
        .error::<NamedError>()
        .check()
        .await;
}

#[test]
fn every_fault_is_caught_and_named() {
    for (fault, expected) in [
        (Fault::CallsFreshClone, "was never ready (a fresh clone?)"),
        (Fault::ReadiesAnotherClone, "another instance was called"),
        (Fault::CallsTwice, "was ready before, and has used that up"),
        (
            Fault::ClaimsReadiness,
            "the inner service is not ready, yet the layer's is",
        ),
        (Fault::CopiesReadiness, "was never ready (a fresh clone?)"),
        (
            Fault::LosesReadyWaker,
            "poll_ready was not woken by the inner service",
        ),
        (
            Fault::SwallowsReadyError,
            "the error of the inner poll_ready is swallowed",
        ),
        (
            Fault::ReplacesReadyError,
            "another error than that of the inner poll_ready",
        ),
        (
            Fault::SwallowsError,
            "the error of the inner response future is swallowed",
        ),
        (
            Fault::ReplacesError,
            "another error than that of the inner future",
        ),
        (
            Fault::LosesWaker,
            "the response does not come, though the inner one has",
        ),
        (
            Fault::Detaches,
            "the inner future outlives the dropped response future",
        ),
        (
            Fault::Serialises,
            "the response does not come, though the inner one has",
        ),
        (
            Fault::RepeatsFailures,
            "the inner calls (left) are not as many as the requests",
        ),
        (Fault::FailsForGood, "poll_ready fails with error 98"),
        (
            Fault::AnswersItself,
            "the inner calls (left) are not as many as the requests",
        ),
        (
            Fault::WaitsForReadiness,
            "the inner service is not ready, yet the layer's is",
        ),
    ] {
        let contract = LayerContract::new(FaultyLayer(fault)).inner_must_be_clone();
        let verdict = verdict(contract.check()).unwrap_or_else(|| panic!("{fault:?} passes"));
        assert!(verdict.contains(expected), "{fault:?}: {verdict}");
    }
}

#[test]
fn options_allow_what_they_name_and_no_more() {
    let plain = |fault| LayerContract::new(FaultyLayer(fault)).inner_must_be_clone();
    for contract in [
        plain(Fault::WaitsForReadiness).readies_in_future(),
        plain(Fault::RepeatsFailures).may_repeat(),
        plain(Fault::Detaches).may_detach(),
    ] {
        let name = format!("{contract:?}");
        assert_eq!(verdict(contract.check()), None, "{name}");
    }
    for contract in [
        plain(Fault::CallsFreshClone).readies_in_future(),
        plain(Fault::ClaimsReadiness).readies_in_future(),
        plain(Fault::CallsTwice).may_repeat(),
        plain(Fault::ReadiesAnotherClone).may_detach(),
        plain(Fault::AnswersItself).may_repeat(),
    ] {
        let name = format!("{contract:?}");
        assert!(verdict(contract.check()).is_some(), "{name}");
    }
}
