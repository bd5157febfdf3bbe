//! The README's examples compile, work, and are what the README says.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use tower_conn_core::Connection;
use tower_conn_pool::{Pool, connector};
use tower_idempotent_retry::RetryLayer;
use tower_idle_reaper::{IdleReaper, Policy, ReapLayer};
use tower_keep_alive::KeepAliveLayer;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn server(app: Router) -> Result<(), BoxError> {
    // README: server
    let reaper = IdleReaper::new(Policy::behind_proxy(Duration::from_secs(60))?);
    let listener = reaper.listener(TcpListener::bind("127.0.0.1:8080").await?);
    let app = app.layer(KeepAliveLayer::new().max_requests(NonZeroU32::new(1000)));
    let app = app
        .layer(ReapLayer::new())
        .into_make_service_with_connect_info::<Connection>();
    axum::serve(listener, app).await?;
    // README: end
    Ok(())
}

async fn client() -> Result<http::Response<impl http_body::Body<Data = Bytes>>, BoxError> {
    // README: client
    let client = ServiceBuilder::new()
        .layer(RetryLayer::client().total_timeout(Duration::from_secs(30)))
        .service(Pool::builder().build(connector()));
    let request = Request::get("http://127.0.0.1:8080/").body(Full::<Bytes>::default())?;
    let response = client.oneshot(request).await?;
    // README: end
    Ok(response)
}

/// What stands between a marker and its end in this file, without the indentation.
fn example(name: &str) -> String {
    let (_, rest) = include_str!("readme.rs")
        .split_once(&format!("// README: {name}\n"))
        .expect("a marker");
    let (code, _) = rest.split_once("    // README: end").expect("an end");
    code.lines()
        .map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line)))
        .collect()
}

#[test]
fn the_readme_shows_what_is_tested_here() {
    let readme = include_str!("../README.md");
    for name in ["server", "client"] {
        assert!(
            readme.contains(&example(name)),
            "{name}:\n{}",
            example(name)
        );
    }
}

#[tokio::test]
async fn the_examples_talk_to_each_other() {
    if TcpListener::bind("127.0.0.1:8080").await.is_err() {
        println!("port 8080 is in use, skipped");
        return;
    }
    let app = Router::new().route("/", get(|| async { "hello" }));
    let server = tokio::spawn(server(app));
    // The server binds in its own time; the client has retries, but no backoff long enough to count on.
    while tokio::net::TcpStream::connect("127.0.0.1:8080")
        .await
        .is_err()
    {
        assert!(!server.is_finished(), "the server gave up");
        tokio::task::yield_now().await;
    }
    let response = client().await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.ok().expect("a body");
    assert_eq!(body.to_bytes(), "hello");
    server.abort();
}
