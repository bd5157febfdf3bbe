//! `ab -k`: HTTP/1.0 with keep-alive.

use crate::server::{EXAMPLES, Server};
use crate::tools::{figure, run, scratch};
use crate::upstream::{Upstream, pattern};

fn ab(url: &str, requests: usize, clients: usize, more: &[&str]) -> Option<String> {
    let (n, c) = (requests.to_string(), clients.to_string());
    let output = run(
        "ab",
        &[&["-k", "-n", &n, "-c", &c][..], more, &[url]].concat(),
    )?;
    assert_eq!(
        figure(&output, "Complete requests:"),
        Some(requests),
        "{output}"
    );
    assert_eq!(figure(&output, "Failed requests:"), Some(0), "{output}");
    assert_eq!(figure(&output, "Non-2xx responses:"), None, "{output}");
    Some(output)
}

#[test]
fn ab_keeps_one_connection_for_each_of_its_clients() {
    for example in EXAMPLES {
        let server = Server::start(example, &[]);
        if let Some(output) = ab(&server.url, 400, 4, &[]) {
            assert_eq!(
                figure(&output, "HTML transferred:"),
                Some(400 * 6),
                "{output}"
            );
            assert_eq!(server.connections(), 4, "{example}");
        }
    }
}

#[test]
fn ab_loses_nothing_when_connections_end_after_their_last_request() {
    for example in EXAMPLES {
        let server = Server::start(example, &["--max-requests", "50"]);
        if ab(&server.url, 400, 1, &[]).is_some() {
            assert_eq!(server.connections(), 8, "{example}");
        }
    }
}

#[test]
fn without_our_crates_the_examples_answer_too_and_do_not_count() {
    for example in EXAMPLES {
        let server = Server::start(example, &["--bare", "--max-requests", "50"]);
        if ab(&server.url, 400, 1, &[]).is_some() {
            assert_eq!(server.connections(), 1, "{example}");
        }
    }
}

#[test]
fn ab_gets_every_byte_through_the_gateway() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    let Some(output) = ab(&gateway.at("/bytes/10000"), 400, 4, &[]) else {
        return;
    };
    assert_eq!(
        figure(&output, "HTML transferred:"),
        Some(400 * 10_000),
        "{output}"
    );
    assert_eq!(
        figure(&output, "Keep-Alive requests:"),
        Some(400),
        "{output}"
    );
    assert_eq!(upstream.reads(), 400);
    assert_eq!(gateway.connections(), 4);
}

#[test]
fn ab_posts_every_byte_through_the_gateway_once() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &["--max-requests", "50"]);
    let file = scratch("ab").join("body");
    std::fs::write(&file, pattern(5000)).expect("a file");
    let file = file.to_string_lossy();
    let more = ["-p", &*file, "-T", "application/octet-stream"];
    if ab(&gateway.at("/echo"), 200, 2, &more).is_some() {
        assert_eq!(upstream.writes(), 200);
        assert_eq!(upstream.received(), 200 * 5000);
    }
}
