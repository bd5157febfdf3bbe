//! The in-memory stream, alone and under hyper on a paused clock.

use std::{convert::Infallible, io::ErrorKind, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_conn_testkit::{
    io::{IoEvent, TestIo, pair},
    raw::{Ended, RawClient},
};

#[tokio::test]
async fn reads_come_in_the_parts_that_were_fed() {
    let (mut io, control) = pair();
    control.feed_split("abcdef", &[1, 1, 5]);
    control.feed_each_byte("xy");
    control.feed_error(ErrorKind::TimedOut);
    let mut parts = Vec::new();
    let mut buf = [0; 3];
    let error = loop {
        match io.read(&mut buf).await {
            Ok(count) => parts.push(String::from_utf8_lossy(&buf[..count]).into_owned()),
            Err(error) => break error,
        }
    };
    assert_eq!(parts, ["a", "bcd", "e", "f", "x", "y"]);
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(control.reads(), 6);
    assert_eq!(control.unread(), 0);
}

#[tokio::test(start_paused = true)]
async fn writes_are_limited_stalled_and_resumed() {
    let (mut io, control) = pair();
    control.limit_writes(2);
    io.write_all(b"abc").await.unwrap();
    control.stall_writes_after(1);
    let writer = tokio::spawn(async move {
        io.write_all(b"defg").await.unwrap();
        io.flush().await.unwrap();
        io
    });
    assert_eq!(control.until_written(4).await, "abcd");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(control.written(), "");
    assert!(!writer.is_finished());
    control.stall_flushes();
    control.resume_writes();
    let mut io = writer.await.unwrap();
    assert_eq!(control.take_written(), "efg");
    io.shutdown().await.unwrap();
    assert_eq!(
        io.write(b"h").await.unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    drop(io);
    assert_eq!(
        control.events(),
        [
            IoEvent::Write(2),
            IoEvent::Write(1),
            IoEvent::Write(1),
            IoEvent::Write(3),
            IoEvent::Flush,
            IoEvent::Shutdown,
            IoEvent::WriteFailed(ErrorKind::BrokenPipe),
            IoEvent::Drop,
        ]
    );
}

#[tokio::test]
async fn a_stalled_flush_waits() {
    let (mut io, control) = pair();
    control.stall_flushes();
    let (flushed, ()) = tokio::join!(io.flush(), async {
        control
            .until("a flush", |control| control.flushes() > 0)
            .await;
        control.resume_writes();
    });
    flushed.unwrap();
}

#[tokio::test]
async fn a_reset_loses_what_was_not_read() {
    let (mut io, control) = pair();
    control.feed("lost");
    control.reset();
    let error = io.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(
        io.write(b"x").await.unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "waited in vain for 1 bytes to be written")]
async fn waiting_in_vain_fails_the_test() {
    let (_io, control) = pair();
    control.until_written(1).await;
}

fn serve(io: TestIo) -> tokio::task::JoinHandle<hyper::Result<()>> {
    let service = service_fn(|request: Request<Incoming>| async move {
        let path = request.uri().path().to_owned();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(path))))
    });
    tokio::spawn(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .half_close(true)
            .header_read_timeout(Duration::from_secs(30))
            .serve_connection(TokioIo::new(io), service),
    )
}

#[tokio::test(start_paused = true)]
async fn hyper_serves_over_it() {
    let (io, control) = pair();
    let server = serve(io);
    let mut client = RawClient::over(control.far_end()).deadline(Duration::from_secs(86_400));
    for path in ["/1", "/2"] {
        client
            .send_each_byte(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await
            .unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().text(), path);
    }
    // Half a head: hyper's own timer ends it, in no time at all.
    client.send("GET").await.unwrap();
    assert_eq!(client.ended(Duration::from_secs(29)).await, Ended::Open);
    assert_eq!(client.ended(Duration::from_secs(2)).await, Ended::Fin);
    assert!(server.await.unwrap().unwrap_err().is_timeout());
    assert_eq!(control.events().last(), Some(&IoEvent::Drop));
}

#[tokio::test(start_paused = true)]
async fn hyper_sees_the_end_and_the_reset() {
    let (io, control) = pair();
    let server = serve(io);
    control.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    control.feed_eof();
    control.until_closed().await;
    assert!(control.take_written().starts_with(b"HTTP/1.1 200 OK\r\n"));
    server.await.unwrap().unwrap();

    let (io, control) = pair();
    let server = serve(io);
    control.feed("GET / HT");
    control.until_read().await;
    control.reset();
    assert!(server.await.unwrap().is_err());
}
