//! The body contract through a whole layer, in both directions.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Collected, Full, combinators::UnsyncBoxBody};
use tower::{Layer, Service, ServiceExt, layer::util::Identity};
use tower_conn_testkit::{
    body::{ScriptError, ScriptedBody},
    contract::{BodyRules, LayerBodies, assert_layer_forwards_bodies},
    service::NamedError,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Request,
    Response,
    BuffersRequest,
    EmptiesResponse,
    KeepsRequest,
    RebuildsRequest,
    RebuildsResponse,
}

type Bodies = UnsyncBoxBody<Bytes, ScriptError>;

#[derive(Clone, Debug)]
struct FaultyLayer(Fault);

#[derive(Clone)]
struct Faulty<S>(S, Fault);

impl<S> Layer<S> for FaultyLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty(inner, self.0)
    }
}

impl<S> Service<Request<ScriptedBody>> for Faulty<S>
where
    S: Service<Request<Bodies>, Response = Response<ScriptedBody>, Error = NamedError>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Bodies>;
    type Error = NamedError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bodies>, NamedError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NamedError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ScriptedBody>) -> Self::Future {
        let Self(inner, fault) = self.clone();
        Box::pin(async move {
            if fault == Fault::KeepsRequest {
                return Ok(Response::new(ScriptedBody::default().boxed_unsync()));
            }
            let (head, body) = request.into_parts();
            let body = match fault {
                Fault::Request => NoTrailers(Box::pin(body)).boxed_unsync(),
                Fault::BuffersRequest => buffered(body).await,
                _ => body.boxed_unsync(),
            };
            let request = match fault {
                Fault::RebuildsRequest => Request::new(body),
                _ => Request::from_parts(head, body),
            };
            let response = inner.oneshot(request).await?;
            if fault == Fault::RebuildsResponse {
                return Ok(Response::new(response.into_body().boxed_unsync()));
            }
            Ok(response.map(|body| match fault {
                Fault::Response => NoTrailers(Box::pin(body)).boxed_unsync(),
                Fault::EmptiesResponse => ScriptedBody::default().boxed_unsync(),
                _ => body.boxed_unsync(),
            }))
        })
    }
}

async fn buffered(body: ScriptedBody) -> Bodies {
    let bytes = body.collect().await.map(Collected::to_bytes);
    Full::new(bytes.unwrap_or_default())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Everything but the trailers.
struct NoTrailers(Pin<Box<ScriptedBody>>);

impl Body for NoTrailers {
    type Data = Bytes;
    type Error = ScriptError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScriptError>>> {
        loop {
            match std::task::ready!(self.0.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn verdict(bodies: LayerBodies<FaultyLayer>) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(bodies.check()))).err()?;
    Some(match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    })
}

#[tokio::test(start_paused = true)]
async fn honest_layers_pass() {
    assert_layer_forwards_bodies(Identity::new()).await;
    assert_layer_forwards_bodies(FaultyLayer(Fault::None)).await;
}

#[test]
fn each_direction_is_checked() {
    for (fault, expected) in [
        (
            Fault::Request,
            ["request body: data and trailers", "the next frame"],
        ),
        (
            Fault::Response,
            ["response body: data and trailers", "the next frame"],
        ),
        (Fault::BuffersRequest, ["request body: ", "size_hint"]),
        (Fault::EmptiesResponse, ["response body: ", "size_hint"]),
        (
            Fault::KeepsRequest,
            ["the layer did not pass the request", ""],
        ),
        (
            Fault::RebuildsRequest,
            ["the layer lost the request's extensions", ""],
        ),
        (
            Fault::RebuildsResponse,
            ["the layer lost the response's extensions", ""],
        ),
    ] {
        let verdict = verdict(LayerBodies::new(FaultyLayer(fault)))
            .unwrap_or_else(|| panic!("{fault:?} passes"));
        assert!(
            expected.iter().all(|part| verdict.contains(part)),
            "{fault:?}: {verdict}"
        );
    }
}

#[test]
fn rules_hold_for_their_own_direction() {
    let none = || {
        BodyRules::new()
            .trailers(|_: HeaderMap| None)
            .end_may_be_late()
    };
    let request = || LayerBodies::new(FaultyLayer(Fault::Request));
    let response = || LayerBodies::new(FaultyLayer(Fault::Response));
    assert_eq!(verdict(request().request_rules(none())), None);
    assert_eq!(verdict(response().response_rules(none())), None);
    assert!(verdict(request().response_rules(none())).is_some());
    assert!(verdict(response().request_rules(none())).is_some());
}
