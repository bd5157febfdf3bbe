//! The client-side persistence vectors, on the wire: is the connection used for a second request?

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;
use support::{Memory, fetch};
use tower_conn_pool::Pool;
use tower_conn_testkit::vectors::{headers, load, pairs};

/// Lines that say something else on purpose: why the pool differs.
const DIFFERENT: [(&str, &str); 2] = [
    (
        "hc_10_explicit_keepalive",
        "HTTP/1.0 connections are used once: hyper would go on as HTTP/1.0 and lose streamed bodies",
    ),
    (
        "nginx_upstream_age_cap_is_lazy",
        "an idle connection closes at its maximum age, not at the request after it",
    ),
];

fn response(line: &Value) -> String {
    let version = line["response_version"].as_str().expect("a version");
    let status = line["status"].as_u64().unwrap_or(200);
    let mut text = format!("HTTP/{version} {status} Any\r\n");
    let mut length = 0;
    for (name, value) in pairs(&line["response_headers"]) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        }
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    match line["response_body_framing"].as_str().expect("a framing") {
        "chunked" => text.push_str("1\r\nx\r\n0\r\n\r\n"),
        "content-length" => text.push_str(&"x".repeat(length)),
        _ => {}
    }
    text
}

#[tokio::test(start_paused = true)]
async fn connections_persist_as_the_vectors_say() {
    let lines = load(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/keep-alive-client.jsonl"
    ));
    let mut checked = 0;
    for line in lines {
        let name = line["name"].as_str().expect("a name").to_owned();
        // Other bytes than a response, or another protocol: tests/reuse.rs, tests/protocols.rs.
        let apart = [
            "hyper_unsolicited_408_on_idle",
            "hyper_body_dropped_early",
            "hint_on_http2",
        ];
        if apart.contains(&name.as_str()) {
            continue;
        }
        let response = response(&line);
        let extra = if name == "hyper_extra_bytes_after_response" {
            "?"
        } else {
            ""
        };
        let closes = line["response_body_framing"] == "close";
        let server = Memory::new(move |mut stream, _| {
            let answer = format!("{response}{extra}");
            async move {
                while stream.read_request().await.is_ok() {
                    if stream.send(&answer).await.is_err() || closes {
                        return;
                    }
                }
            }
        });
        let config = line["config"].as_str().unwrap_or_default();
        let (builder, pause) = match config {
            // About the announcement itself, not about what is taken off.
            "" => (Pool::builder().hint_margin(Duration::ZERO), 0),
            "threshold 2 s (undici default)" => (Pool::builder(), 0),
            "threshold 29 s" => (Pool::builder().hint_margin(Duration::from_secs(29)), 900),
            "client ceiling 1 s" => (Pool::builder().hint_ceiling(Duration::from_secs(1)), 900),
            "margin 1 s" => (Pool::builder().hint_margin(Duration::from_secs(1)), 0),
            _ if config.starts_with("client-side idle cap") => (
                Pool::builder().idle_timeout(Some(Duration::from_secs(2))),
                2_500,
            ),
            _ if config.starts_with("keepalive_time 2s") => (
                Pool::builder()
                    .max_age(Some(Duration::from_secs(2)))
                    .age_jitter(0),
                2_500,
            ),
            other => panic!("{name}: {other}"),
        };
        let pool: Pool<_, Full<Bytes>> = builder.build(server.clone());
        for n in 0..2 {
            let mut request = Request::get("http://example.com/")
                .body(Full::default())
                .expect("a request");
            *request.headers_mut() = headers(&line["request_headers"]);
            let _ = fetch(&pool, request).await;
            if n == 0 {
                tokio::time::sleep(Duration::from_millis(pause.max(1))).await;
            }
        }
        let persists = server.opened() == 1;
        let mut expected = line["expected_persist"].as_bool().expect("a boolean");
        if DIFFERENT.iter().any(|(other, _)| *other == name) {
            expected = !expected;
        }
        assert_eq!(persists, expected, "{name}");
        if let Some(seconds) = line["effective_idle_s"].as_u64().filter(|&s| s > 0) {
            tokio::time::sleep(Duration::from_millis(seconds * 1000 + 20)).await;
            assert_eq!(pool.stats().open, 0, "{name}: closed after {seconds} s");
        }
        checked += 1;
    }
    assert!(checked >= 60, "{checked} lines");
}
