//! Under and over TLS, with a stand-in that has what matters of it: a handshake, and a farewell that
//! must be sent before the transport is half-closed.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_conn_testkit::raw::{Ended, RawStream};
use tower_idle_reaper::{IdleReaper, Linger, Policy, ReapedIo};

const HELLO: &[u8] = b"<client hello>";
const CLOSE_NOTIFY: &[u8] = b"<close_notify>";

struct Tls<T> {
    inner: T,
    farewell: &'static [u8],
}

async fn handshake<T: AsyncRead + Unpin>(mut inner: T) -> io::Result<Tls<T>> {
    let mut hello = [0; HELLO.len()];
    inner.read_exact(&mut hello).await?;
    Ok(Tls {
        inner,
        farewell: CLOSE_NOTIFY,
    })
}

impl<T: AsyncRead + Unpin> AsyncRead for Tls<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tls<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.farewell.is_empty() {
            let farewell = self.farewell;
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, farewell))?;
            self.farewell = &farewell[n..];
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn serve(reaper: &IdleReaper) -> RawStream<DuplexStream> {
    let (near, far) = duplex(64 * 1024);
    let reaper = reaper.clone();
    tokio::spawn(async move {
        let tcp = reaper.wrap(far, None).under_tls();
        let connection = tcp.connection();
        let Ok(tls) = handshake(tcp).await else {
            return;
        };
        let io = ReapedIo::over_tls(tls, &connection)
            .ok()
            .expect("a reaper's");
        drive(Engine::Http1, &reaper, io, Arc::default()).await;
    });
    RawStream::over(near).deadline(secs(1000))
}

#[tokio::test(start_paused = true)]
async fn tls_handshake_timeout() {
    let reaper = IdleReaper::new(Policy::safe().head(secs(5)));
    let mut silent = serve(&reaper);
    let mut client = serve(&reaper);
    client.send(&HELLO[..5]).await.unwrap();
    let start = Instant::now();
    // Others are not held up meanwhile.
    let mut other = serve(&reaper);
    other.send([HELLO, GET].concat()).await.unwrap();
    assert_eq!(other.read_response("GET").await.unwrap().status, 200);
    assert!(Instant::now() - start < millis(1));

    client.read_to_end().await.unwrap();
    let took = Instant::now() - start;
    assert!(took >= secs(5) && took <= secs(6), "{took:?}");
    silent.read_to_end().await.unwrap();
    let took = Instant::now() - start;
    assert!(took >= secs(10) && took <= secs(11), "{took:?}");
    assert_eq!(reaper.closed(CloseReason::HeadTimeout), 1);
    assert_eq!(reaper.closed(CloseReason::FirstByteTimeout), 1);
    assert_eq!(other.ended(millis(1)).await, Ended::Open);
}

#[tokio::test(start_paused = true)]
async fn a_handshaken_client_that_stays_silent_is_closed_at_the_first_byte_limit() {
    let reaper = IdleReaper::new(Policy::safe());
    let mut client = serve(&reaper);
    tokio::time::sleep(secs(8)).await;
    client.send(HELLO).await.unwrap();
    let start = Instant::now();
    let (rest, _) = client.read_to_end().await.unwrap();
    let took = Instant::now() - start;
    assert!(took >= secs(10) && took <= secs(11), "{took:?}");
    assert_eq!(rest, CLOSE_NOTIFY);
    assert_eq!(reaper.closed(CloseReason::FirstByteTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_tls_connection_says_farewell() {
    let reaper = IdleReaper::new(Policy::safe());
    let mut client = serve(&reaper);
    client.send([HELLO, GET].concat()).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().status, 200);
    let start = Instant::now();
    let (rest, ended) = client.read_to_end().await.unwrap();
    let took = Instant::now() - start;
    assert_eq!((&rest[..], ended), (CLOSE_NOTIFY, Ended::Fin));
    assert!(took >= secs(75) && took <= secs(76), "{took:?}");
    assert_eq!(reaper.closed(CloseReason::Idle), 1);
    assert_eq!(reaper.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn linger_tls() {
    let linger = Linger::new(secs(20)).gap(secs(3));
    let reaper = IdleReaper::new(Policy::safe().linger(linger));
    let mut client = serve(&reaper);
    client.send(HELLO).await.unwrap();
    client
        .send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..100 {
        client.send([b'x'; 10_000]).await.expect("it is discarded");
        tokio::time::sleep(millis(1)).await;
    }
    assert_eq!(client.read_response("POST").await.unwrap().status, 401);
    let (rest, ended) = client.read_to_end().await.unwrap();
    assert_eq!((&rest[..], ended), (CLOSE_NOTIFY, Ended::Fin));
    assert_eq!(reaper.connections(), 1, "it lingers");
    tokio::time::sleep(secs(4)).await;
    assert_eq!(reaper.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_handshake_that_has_not_begun() {
    let reaper = IdleReaper::new(Policy::safe());
    let mut silent = serve(&reaper);
    tokio::time::sleep(millis(1)).await;
    assert!(reaper.drain(secs(30)).await.took < millis(50));
    assert_eq!(silent.ended(millis(1)).await, Ended::Fin);
}

#[test]
fn a_connection_of_no_reaper_is_refused() {
    let (near, _far) = duplex(1);
    let foreign = tower_conn_core::Connection::server();
    assert!(ReapedIo::over_tls(near, &foreign).is_err());
}
