//! The scripted peer and the raw client against each other and against hyper, on real sockets.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket, TcpStream},
};
use tower_conn_testkit::{
    peer::{End, ScriptedPeer},
    raw::{Ended, GET, RawClient},
};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn exchanges_are_numbered_and_recorded() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        let reply = format!(
            "{}.{}.{}",
            exchange.connection(),
            exchange.nth(),
            exchange.total()
        );
        exchange.ok(reply).await.unwrap();
    })
    .await;
    let mut first = RawClient::connect(peer.addr()).await.unwrap();
    for expected in ["1.1.1", "1.2.2"] {
        first.send_each_byte(GET).await.unwrap();
        assert_eq!(first.read_response("GET").await.unwrap().text(), expected);
    }
    let mut second = RawClient::connect(peer.addr()).await.unwrap();
    second
        .send("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: 1\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(second.read_response("POST").await.unwrap().text(), "2.1.3");

    drop(first);
    peer.until_closed(1).await;
    let ends: Vec<_> = peer
        .connections()
        .into_iter()
        .map(|record| (record.requests, record.end))
        .collect();
    assert_eq!(ends, [(2, Some(End::ByClient)), (1, None)]);
    let seen = &peer.requests()[2];
    assert_eq!((seen.connection, seen.nth), (2, 1));
    assert_eq!(seen.request.text(), "ab");
    assert_eq!(seen.request.trailers.text("t").unwrap(), "1");
}

#[tokio::test]
async fn the_peer_tells_how_a_client_left() {
    let peer =
        ScriptedPeer::start(|mut exchange| async move { exchange.ok("").await.unwrap() }).await;

    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    client.send("GET / HT").await.unwrap();
    client.half_close().await.unwrap();
    peer.until_closed(1).await;

    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    client
        .send("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab")
        .await
        .unwrap();
    client.half_close().await.unwrap();
    peer.until_closed(2).await;

    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    client.send(GET).await.unwrap();
    client.read_response("GET").await.unwrap();
    client.reset().unwrap();
    peer.until_closed(3).await;

    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    client.send("\n\n").await.unwrap();
    assert_eq!(client.ended(SOON).await, Ended::Fin);
    peer.until_closed(4).await;

    let ends: Vec<_> = peer
        .connections()
        .into_iter()
        .filter_map(|record| record.end)
        .collect();
    assert_eq!(ends[..3], [End::InRequest, End::InRequest, End::Reset]);
    assert!(
        matches!(&ends[3], End::Failed(what) if what.contains("bare LF")),
        "{ends:?}"
    );
}

#[tokio::test]
async fn the_client_tells_how_the_peer_left() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        match exchange.request.target.as_str() {
            "/fin" => exchange.close(),
            "/reset" => exchange.reset(),
            "/half" => {
                exchange.half_close().await.unwrap();
                assert_eq!(exchange.drain(SOON).await, Ended::Fin);
                assert_eq!(exchange.unread(), b"late");
            }
            _ => exchange.ok("").await.unwrap(),
        }
    })
    .await;
    for (path, ended) in [
        ("/fin", Ended::Fin),
        ("/reset", Ended::Reset),
        ("/half", Ended::Fin),
        ("/open", Ended::Open),
    ] {
        let mut client = RawClient::connect(peer.addr()).await.unwrap();
        client
            .send(format!("GET {path} HTTP/1.1\r\n\r\n"))
            .await
            .unwrap();
        let limit = if path == "/open" {
            Duration::from_millis(50)
        } else {
            SOON
        };
        assert_eq!(client.ended(limit).await, ended, "{path}");
        if path == "/half" {
            client.send("late").await.unwrap();
        }
    }
    peer.until_closed(4).await;
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_and_the_body_is_still_recorded() {
    let peer = ScriptedPeer::on_head(|mut exchange| async move {
        assert!(exchange.request.body.is_empty());
        exchange
            .send("HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .unwrap();
        exchange.read_body().await.unwrap();
        let body = exchange.request.body.clone();
        exchange.ok(body).await.unwrap();
    })
    .await;
    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    client
        .send("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(client.read_response("POST").await.unwrap().status, 100);
    client.send("ab").await.unwrap();
    assert_eq!(
        client.read_final_response("POST").await.unwrap().text(),
        "ab"
    );
    assert_eq!(peer.requests()[0].request.text(), "ab");
}

#[tokio::test]
async fn a_body_left_unread_is_read_before_the_next_request() {
    let peer = ScriptedPeer::on_head(|mut exchange| async move {
        exchange.ok("").await.unwrap();
    })
    .await;
    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    client
        .send("POST /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    client.read_response("POST").await.unwrap();
    client.read_response("GET").await.unwrap();
    let requests = peer.requests();
    assert_eq!(requests[0].request.text(), "ab");
    assert_eq!(requests[1].request.target, "/2");
}

#[tokio::test]
async fn a_script_may_take_several_pipelined_requests_at_once() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        let second = exchange.read_request().await.unwrap();
        let targets = format!("{}{}", exchange.request.target, second.target);
        exchange.ok(targets).await.unwrap();
    })
    .await;
    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    client
        .send("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().text(), "/1/2");
    assert_eq!(peer.requests().len(), 2);
}

#[tokio::test]
async fn a_peer_may_speak_first() {
    let peer = ScriptedPeer::on_connect(|mut connection| async move {
        connection
            .send("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
    })
    .await;
    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    let response = client.read_response("GET").await.unwrap();
    assert_eq!(response.status, 408);
    assert_eq!(response.tokens("connection"), ["close"]);
    assert_eq!(client.ended(SOON).await, Ended::Fin);
    assert_eq!(peer.connections()[0].end, Some(End::ByPeer));
}

#[tokio::test]
#[should_panic(expected = "the peer's script panicked: expected in this test")]
async fn a_script_that_panics_fails_the_test() {
    let peer = ScriptedPeer::start(|_| async { panic!("expected in this test") }).await;
    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    client.send(GET).await.unwrap();
    let _ = client.ended(SOON).await;
    peer.until_closed(1).await;
    let _ = peer.requests();
}

#[tokio::test]
async fn dropping_the_peer_closes_everything() {
    let peer = ScriptedPeer::on_connect(|connection| async move {
        std::future::pending::<()>().await;
        drop(connection);
    })
    .await;
    let mut client = RawClient::connect(peer.addr()).await.unwrap();
    let addr = peer.addr();
    peer.until("a connection", |connections, _| connections.len() == 1)
        .await;
    drop(peer);
    assert_eq!(client.ended(SOON).await, Ended::Fin);
    assert!(TcpStream::connect(addr).await.is_err());
}

/// What the other side of a socket reads, read by read.
async fn parts_read(send: impl AsyncFnOnce(RawClient)) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = RawClient::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    let mut stream = accepted.unwrap().0;
    let reader = tokio::spawn(async move {
        let mut parts = Vec::new();
        let mut buf = [0; 64];
        loop {
            match stream.read(&mut buf).await.unwrap() {
                0 => return parts,
                count => parts.push(String::from_utf8_lossy(&buf[..count]).into_owned()),
            }
        }
    });
    send(client.unwrap()).await;
    reader.await.unwrap()
}

#[tokio::test]
async fn a_split_write_arrives_in_its_parts_on_a_socket() {
    let parts = parts_read(async |mut client: RawClient| {
        client.send_split("abcdef", &[2, 5]).await.unwrap();
    });
    assert_eq!(parts.await, ["ab", "cde", "f"]);
    let parts = parts_read(async |mut client: RawClient| {
        client.send_each_byte("xyz").await.unwrap();
    });
    assert_eq!(parts.await, ["x", "y", "z"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_keeps_parts_apart_across_threads() {
    let parts = parts_read(async |client: RawClient| {
        let mut client = client.gap(Duration::from_millis(100));
        client.send_split("abc", &[1]).await.unwrap();
    });
    assert_eq!(parts.await, ["a", "bc"]);
}

#[tokio::test]
async fn hyper_talks_to_the_peer() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange
            .send_split(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                &[1, 30, 50],
            )
            .await
            .unwrap();
    })
    .await;
    let stream = TcpSocket::new_v4()
        .unwrap()
        .connect(peer.addr())
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::put("/x")
        .header("Host", "a")
        .body(Full::new(Bytes::from("abc")))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "a"
    );
    let seen = &peer.requests()[0].request;
    assert_eq!(seen.start_line, "PUT /x HTTP/1.1");
    assert_eq!(seen.text(), "abc");
}
