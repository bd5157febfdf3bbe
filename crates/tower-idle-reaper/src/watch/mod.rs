//! Driving a connection future of hyper or hyper-util to its end.

#[cfg(feature = "hyper-util")]
mod detect;
#[cfg(feature = "hyper")]
mod engine;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_conn_core::{CloseReason, Connection, Link};

use crate::IdleReaper;
use crate::shared::{CUT, HTTP2, Shared, UPGRADED, WATCHED};

/// A connection future that can be asked to finish.
///
/// Implemented for the server connections of hyper (feature `hyper`: `http1::Connection`,
/// `http1::UpgradeableConnection`, `http2::Connection`) and for the `auto` ones of hyper-util (feature
/// `hyper-util`).
pub trait Graceful: Future<Output = Result<(), Self::Error>> {
    /// How the connection fails.
    type Error;

    /// Finishes what is in progress and starts nothing new.
    fn graceful_shutdown(self: Pin<&mut Self>);

    /// What a failure means for the connection.
    fn reason(error: &Self::Error) -> CloseReason;
}

/// How long a peer may take to answer the PING between the two GOAWAYs of a graceful shutdown
/// (RFC 9113 section 6.8), when no stream is open.
const PONG_WAIT: Duration = Duration::from_secs(5);
/// How long no stream must have been open by then, for the last one's bytes to have left.
const SETTLED: Duration = Duration::from_secs(1);

pin_project! {
    /// Drives a connection; made by [`IdleReaper::watch`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Watch<C> {
        #[pin]
        inner: Option<C>,
        link: Link,
        // Allocated when the engine has been asked to finish, with the wait for a PONG if there is one.
        asked: Option<Pin<Box<Option<Sleep>>>>,
    }
}

impl IdleReaper {
    /// Drives a connection future to its end, and closes it when its
    /// [`Connection`] is asked to close. Resolves with the reason for which it has ended, and never
    /// with an error: a client that has gone is none of the server's.
    ///
    /// An HTTP/2 connection is sent a GOAWAY, streams that are open finish, and the wait for the
    /// peer's PONG is bounded to 5 s. An HTTP/1 connection finishes the exchange in progress; a head
    /// that has begun to arrive is waited for. The transport under the future should be a
    /// [`ReapedIo`](crate::ReapedIo), whose [`connection`](crate::ReapedIo::connection) is the handle
    /// to pass; with another handle, only closing on request works.
    ///
    /// After an upgrade it resolves with [`CloseReason::Upgraded`]; the connection lives on in
    /// hyper's `Upgraded`.
    pub fn watch<C: Graceful>(&self, future: C, connection: Connection) -> Watch<C> {
        if let Some(shared) = Shared::of(&connection) {
            shared.set(WATCHED);
        }
        Watch {
            inner: Some(future),
            link: connection.into_link(),
            asked: None,
        }
    }
}

impl<C> Watch<C> {
    /// The connection future, to be driven by someone else from here on; `None` once it has ended.
    pub fn into_inner(self) -> Option<C> {
        if let Some(shared) = Shared::of_link(&self.link) {
            shared.unset(WATCHED);
        }
        self.inner
    }
}

impl<C: Graceful> Future for Watch<C> {
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(ended(this.link));
        };
        let mut told = false;
        loop {
            if let Poll::Ready(result) = inner.as_mut().poll(cx) {
                if let Err(error) = &result {
                    if !this.link.snapshot().is_closing() {
                        this.link.connection().close(C::reason(error));
                    }
                }
                break;
            }
            if this.asked.is_none() && this.link.poll_close(cx).is_pending() {
                return Poll::Pending;
            }
            if !std::mem::replace(&mut told, true) {
                // The transport may have looked before the close was asked for.
                continue;
            }
            // Now this waits for the end, and sees a cut meanwhile.
            if this.link.poll_closed(cx).is_ready() && is_cut(this.link) {
                break;
            }
            if this.asked.is_none() && can_shut_down(this.link) {
                inner.as_mut().graceful_shutdown();
                let pong = is_http2(this.link).then(|| tokio::time::sleep(PONG_WAIT));
                *this.asked = Some(Box::pin(pong));
                continue;
            }
            if let Some(mut pong) = this.asked.as_mut().and_then(|a| a.as_mut().as_pin_mut()) {
                while pong.as_mut().poll(cx).is_ready() {
                    if is_settled(this.link) {
                        return Poll::Ready(finish(&mut this.inner, this.link));
                    }
                    pong.as_mut().reset(Instant::now() + SETTLED);
                }
            }
            return Poll::Pending;
        }
        Poll::Ready(finish(&mut this.inner, this.link))
    }
}

/// Drops the transport first, so that the connection is counted when the watch resolves.
fn finish<C>(inner: &mut Pin<&mut Option<C>>, link: &Link) -> CloseReason {
    inner.set(None);
    ended(link)
}

fn ended(link: &Link) -> CloseReason {
    let upgraded = Shared::of_link(link).is_some_and(|shared| shared.has(UPGRADED));
    if upgraded && !link.snapshot().is_closed() {
        return CloseReason::Upgraded;
    }
    link.connection().close(CloseReason::PeerClosed)
}

/// Whether the last exchange has been over for long enough. The idle time of a connection that was
/// found idle for too long is not kept.
fn is_settled(link: &Link) -> bool {
    let idle = link.connection().idle_for();
    link.snapshot().exchanges_open() == 0 && idle.is_none_or(|idle| idle >= SETTLED)
}

fn is_cut(link: &Link) -> bool {
    Shared::of_link(link).is_none_or(|shared| shared.has(CUT))
}

fn is_http2(link: &Link) -> bool {
    link.connection().version() == Some(http::Version::HTTP_2)
        || Shared::of_link(link).is_some_and(|shared| shared.has(HTTP2))
}

/// Whether a graceful shutdown loses nothing now.
///
/// hyper drops the head that it has read half of when an HTTP/1 connection is shut down while no
/// exchange is open. An idle connection under a reaper is closed by its transport, which knows.
fn can_shut_down(link: &Link) -> bool {
    is_http2(link)
        || link.snapshot().exchanges_open() > 0
        || (Shared::of_link(link).is_none() && link.snapshot().is_idle())
}

impl<C> fmt::Debug for Watch<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("connection", &self.link.connection())
            .field("asked", &self.asked.is_some())
            .finish_non_exhaustive()
    }
}
