//! The `m-` vectors: what a server sends, byte for byte, over real sockets, in one piece and in as many
//! pieces as it has bytes.

mod client_support;

use client_support::{Outcome, Peer, connect, get, head, outcome};
use tower_conn_testkit::vectors;
use tower_pipeline_guard::client::{Builder, ErrorKind, PipelinedConnection};

/// What the first request gets, and whether the connection may be used again.
struct Case {
    name: &'static str,
    method: &'static str,
    sent: Vec<u8>,
    /// The server closes behind its bytes.
    closes: bool,
    first: Outcome,
    reused: bool,
}

const fn body(text: &'static str) -> Outcome {
    Outcome::Body(text)
}

fn case(name: &'static str, sent: impl Into<Vec<u8>>, first: Outcome, reused: bool) -> Case {
    Case {
        name,
        method: "GET",
        sent: sent.into(),
        closes: false,
        first,
        reused,
    }
}

fn with(fields: &str, rest: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{rest}").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    with("Transfer-Encoding: chunked\r\n", body)
}

const ONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nONE";
const BAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nBAD";

fn cases() -> Vec<Case> {
    use Outcome::{BodyError, Unanswered};
    let length = |value: &[u8]| {
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: ",
            value,
            b"\r\n\r\nONE",
        ]
        .concat()
    };
    let hints = |count| "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count);
    let mut cases = vec![
        case(
            "m-extra-response-same-segment",
            format!("{ONE}{BAD}"),
            body("ONE"),
            false,
        ),
        case("m-1xx-flood", hints(17) + ONE, Unanswered, false),
        case(
            "m-1xx-many-ok",
            format!("HTTP/1.1 100 Continue\r\n\r\n{}{ONE}", hints(2)),
            body("ONE"),
            true,
        ),
        case("m-1xx-many-ok", hints(16) + ONE, body("ONE"), true),
        case(
            "m-1xx-with-length",
            format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nBAD{ONE}"),
            Unanswered,
            false,
        ),
        case(
            "m-1xx-after-final",
            format!("{ONE}HTTP/1.1 100 Continue\r\n\r\n"),
            body("ONE"),
            false,
        ),
        case(
            "m-cl-and-te",
            with(
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                "3\r\nONE\r\n0\r\n\r\n",
            ),
            Unanswered,
            false,
        ),
        case(
            "m-te-cl-smuggled-tail",
            with(
                "Content-Length: 60\r\nTransfer-Encoding: chunked\r\n",
                &format!("0\r\n\r\n{BAD}"),
            ),
            Unanswered,
            false,
        ),
        case(
            "m-cl-duplicate-equal",
            with("Content-Length: 3\r\nContent-Length: 3\r\n", "ONE"),
            body("ONE"),
            true,
        ),
        case("m-cl-duplicate-equal", length(b"3, 3"), body("ONE"), true),
        case(
            "m-cl-duplicate-different",
            with("Content-Length: 3\r\nContent-Length: 5\r\n", "ONE"),
            Unanswered,
            false,
        ),
        case("m-cl-plus", length(b"+3"), Unanswered, false),
        case("m-cl-hex", length(b"0x3"), Unanswered, false),
        case(
            "m-cl-overflow",
            length(b"99999999999999999999999"),
            Unanswered,
            false,
        ),
        case(
            "m-cl-u64max",
            length(b"18446744073709551615"),
            Unanswered,
            false,
        ),
        case("m-cl-space-inside", length(b"3 4"), Unanswered, false),
        case("m-cl-obs-text", length(b"3\xff"), Unanswered, false),
        case(
            "m-304-cl-nobody",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
            body(""),
            true,
        ),
        case(
            "m-304-body",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nONE",
            body(""),
            false,
        ),
        case(
            "m-204-chunked",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n0\r\n\r\n",
            Unanswered,
            false,
        ),
        case(
            "m-205-body",
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 3\r\n\r\nONE",
            body("ONE"),
            true,
        ),
        case(
            "m-chunk-overflow",
            chunked("ffffffffffffffff1\r\nONE\r\n0\r\n\r\n"),
            BodyError,
            false,
        ),
        case(
            "m-chunk-negative",
            chunked("-3\r\nONE\r\n0\r\n\r\n"),
            BodyError,
            false,
        ),
        case(
            "m-chunk-plus",
            chunked("+3\r\nONE\r\n0\r\n\r\n"),
            BodyError,
            false,
        ),
        case(
            "m-chunk-0x",
            chunked("0x3\r\nONE\r\n0\r\n\r\n"),
            BodyError,
            false,
        ),
        case(
            "m-chunk-bare-lf",
            chunked("3\nONE\n0\n\n"),
            BodyError,
            false,
        ),
        case(
            "m-chunk-ext-bare-lf",
            chunked("3;a=\nb\r\nONE\r\n0\r\n\r\n"),
            BodyError,
            false,
        ),
        case(
            "m-chunk-overrun",
            chunked("3\r\nONEX\r\n0\r\n\r\n"),
            BodyError,
            false,
        ),
        case(
            "m-chunk-long-ext",
            chunked(&format!("3;{}\r\nONE\r\n0\r\n\r\n", "a".repeat(40))),
            body("ONE"),
            true,
        ),
        case(
            "m-te-twice",
            with(
                "Transfer-Encoding: chunked, chunked\r\n",
                "3\r\nONE\r\n0\r\n\r\n",
            ),
            Unanswered,
            false,
        ),
        case(
            "m-te-http10",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nONE",
            Unanswered,
            false,
        ),
        case(
            "m-space-before-colon",
            with("Content-Length : 3\r\n", "ONE"),
            Unanswered,
            false,
        ),
        case(
            "m-bare-lf-head",
            "HTTP/1.1 200 OK\nContent-Length: 3\n\nONE",
            Unanswered,
            false,
        ),
        case(
            "m-bare-cr",
            with("X: a\rb\r\nContent-Length: 3\r\n", "ONE"),
            Unanswered,
            false,
        ),
        case(
            "m-nul",
            with("X: a\0b\r\nContent-Length: 3\r\n", "ONE"),
            Unanswered,
            false,
        ),
        case("m-leading-junk", format!("junk{ONE}"), Unanswered, false),
        case(
            "m-version-odd",
            "HTTP/1.2 200 OK\r\nContent-Length: 3\r\n\r\nONE",
            Unanswered,
            false,
        ),
        case(
            "m-version-odd",
            "HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nONE",
            Unanswered,
            false,
        ),
        case(
            "m-version-odd",
            "http/1.1 200 OK\r\nContent-Length: 3\r\n\r\nONE",
            Unanswered,
            false,
        ),
        case(
            "m-connection-two-lines",
            with(
                "Connection: close\r\nConnection: keep-alive\r\nContent-Length: 3\r\n",
                "ONE",
            ),
            body("ONE"),
            false,
        ),
        case(
            "m-connection-two-lines",
            with(
                "Connection: keep-alive\r\nConnection: x, Close\r\nContent-Length: 3\r\n",
                "ONE",
            ),
            body("ONE"),
            false,
        ),
    ];
    for value in ["chunked, gzip\r\n", "xchunked\r\nContent-Length: 3\r\n"] {
        let name = if value.starts_with('x') {
            "m-te-unknown-plus-cl"
        } else {
            "m-te-not-final"
        };
        let sent = with(&format!("Transfer-Encoding: {value}"), "ONEBAD");
        cases.push(Case {
            closes: true,
            ..case(name, sent, body("ONEBAD"), false)
        });
    }
    for (name, rest) in [("m-head-with-body", "ONE"), ("m-head-smuggles", BAD)] {
        let sent = with("Content-Length: 3\r\n", rest);
        cases.push(Case {
            method: "HEAD",
            ..case(name, sent, body(""), false)
        });
    }
    cases
}

async fn run(case: &Case, each_byte: bool) {
    let what = format!(
        "{} {}",
        case.name,
        if each_byte { "byte by byte" } else { "at once" }
    );
    let peer = Peer::bind().await;
    let (mut connection, driver) = connect(&peer, Builder::new()).await;
    let request = if case.method == "HEAD" {
        head("/1")
    } else {
        get("/1")
    };
    let server = async {
        let mut stream = peer.accept().await;
        stream.read_request().await.expect("a request");
        // A client that has seen enough closes, and the rest cannot be written.
        let _ = if each_byte {
            stream.send_each_byte(&case.sent).await
        } else {
            stream.send(&case.sent).await
        };
        if case.closes {
            stream.half_close().await.expect("open");
        }
        if case.reused {
            stream.read_request().await.expect("the next request");
            stream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nTWO")
                .await
                .expect("open");
        }
        stream
    };
    let client = async {
        assert_eq!(
            outcome(&mut connection, request).await,
            case.first,
            "{what}"
        );
        if case.reused {
            assert_eq!(
                outcome(&mut connection, get("/2")).await,
                body("TWO"),
                "{what}"
            );
        } else {
            // It ends by itself, before anything else is sent.
            let _ = driver.await.expect("no panic");
            let next = outcome(&mut connection, get("/2")).await;
            assert_eq!(next, Outcome::NotSent, "{what}");
        }
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn messages_at_once() {
    for case in cases() {
        run(&case, false).await;
    }
}

#[tokio::test]
async fn messages_byte_by_byte() {
    for case in cases() {
        run(&case, true).await;
    }
}

#[tokio::test]
async fn m_unsolicited_before_request() {
    let peer = Peer::bind().await;
    let (mut connection, driver) = connect(&peer, Builder::new()).await;
    let mut stream = peer.accept().await;
    stream.send(BAD).await.expect("open");
    // Before the driver is woken by them, the bytes are readable: the request is given back unsent.
    let error = connection
        .call_ready(get("/1"))
        .await
        .expect_err("unsolicited bytes");
    assert_eq!(error.kind(), ErrorKind::NotSent);
    drop(driver.await);
    assert_eq!(
        stream.read_to_end().await.expect("ends").0,
        "",
        "nothing was written"
    );
}

#[tokio::test]
async fn m_huge_head() {
    let peer = Peer::bind().await;
    let (mut connection, driver) = connect(&peer, Builder::new()).await;
    let server = async {
        let mut stream = peer.accept().await;
        stream.read_request().await.expect("a request");
        stream.send("HTTP/1.1 200 OK\r\n").await.expect("open");
        let line = format!("X: {}\r\n", "a".repeat(1000));
        while stream.send(&line).await.is_ok() {}
    };
    let (first, ()) = tokio::join!(outcome(&mut connection, get("/1")), server);
    assert_eq!(first, Outcome::Unanswered);
    drop(driver.await);
}

#[tokio::test]
async fn m_crlf_injection_request() {
    assert!(http::Request::get("http://x/a\r\nGET /b").body(()).is_err());
    assert!(http::HeaderValue::from_bytes(b"a\r\nb").is_err());
    assert!(http::Method::from_bytes(b"GET /b\r\n").is_err());
    // And what `http` would let through does not leave either: see h1::encode.
}

/// The vectors that the echo guard is for are in `client_echo.rs`, all others here.
#[test]
fn every_message_vector_has_a_case() {
    let tested: Vec<_> = cases().iter().map(|case| case.name).collect();
    let elsewhere = [
        "m-unsolicited-before-request",
        "m-huge-head",
        "m-crlf-injection-request",
        "m-extra-response-while-pipelined",
        "m-missing-response",
        "m-swapped-order",
    ];
    for vector in vectors::load("tests/vectors/pipelining.jsonl") {
        let name = vector["name"].as_str().expect("a name").to_owned();
        if name.starts_with("m-") {
            assert!(
                tested.contains(&&*name) || elsewhere.contains(&&*name),
                "{name}"
            );
        }
    }
}

trait CallReady {
    async fn call_ready(
        &mut self,
        request: client_support::Request,
    ) -> Result<http::Response<tower_pipeline_guard::client::ResponseBody>, client_support::Error>;
}

impl CallReady for PipelinedConnection<client_support::Body> {
    async fn call_ready(
        &mut self,
        request: client_support::Request,
    ) -> Result<http::Response<tower_pipeline_guard::client::ResponseBody>, client_support::Error>
    {
        client_support::call(self, request).await
    }
}
