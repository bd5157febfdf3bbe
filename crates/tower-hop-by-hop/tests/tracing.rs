//! What the tracing hook says, and that it never says a value.

#![cfg(feature = "tracing")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_hop_by_hop::{HopByHopBody, HopByHopLayer, TracingHook};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().expect("no panic").push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn names_are_logged_and_values_are_not() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let service = HopByHopLayer::gateway()
        .on_strip(TracingHook::new())
        .layer(service_fn(async |_: Request<HopByHopBody<Body>>| {
            Response::builder()
                .header("transfer-encoding", "gzip, chunked")
                .body(Body::empty())
        }));
    for options in ["X-A, secret@value", "Authorization"] {
        let request = Request::builder()
            .header("connection", options)
            .header("x-a", "secret")
            .header("authorization", "secret")
            .body(Body::empty())
            .expect("valid");
        service.clone().oneshot(request).await.expect("answered");
    }
    let lines = lines.0.lock().expect("no panic");
    let lines: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("essage"))
        .collect();
    assert!(
        lines.iter().all(|line| !line.contains("secret")),
        "{lines:#?}"
    );
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(
        lines[0].starts_with("DEBUG") && lines[0].contains("x-a"),
        "{lines:#?}"
    );
    assert!(
        lines[2].starts_with("WARN") && lines[2].contains("authorization"),
        "{lines:#?}"
    );
    for refused in [lines[1], lines[3]] {
        assert!(
            refused.starts_with("WARN") && refused.contains("transfer_coding"),
            "{refused}"
        );
    }
}
