//! hyper's own connections.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;

use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, Write, bounds::Http2ServerConnExec};
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use tower_conn_core::CloseReason;

use super::Graceful;

type BoxError = Box<dyn StdError + Send + Sync>;

/// What a failure of hyper means for the connection.
pub(super) fn reason(error: &hyper::Error) -> CloseReason {
    if error.is_timeout() {
        return CloseReason::HeadTimeout;
    }
    if error.is_parse() {
        return CloseReason::ProtocolError;
    }
    if error.is_incomplete_message() {
        return CloseReason::IncompleteMessage;
    }
    if error.is_user() {
        return CloseReason::BodyDropped;
    }
    io_reason(error.source()).unwrap_or(CloseReason::ProtocolError)
}

/// What a failure of the transport, somewhere in this chain, means for the connection.
pub(super) fn io_reason(mut source: Option<&(dyn StdError + 'static)>) -> Option<CloseReason> {
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(match error.kind() {
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::NotConnected => CloseReason::PeerReset,
                io::ErrorKind::UnexpectedEof => CloseReason::IncompleteMessage,
                _ => CloseReason::Transport,
            });
        }
        source = error.source();
    }
    None
}

impl<I, B, S> Graceful for http1::Connection<I, S>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: Read + Write + Unpin,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    type Error = hyper::Error;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }

    fn reason(error: &hyper::Error) -> CloseReason {
        reason(error)
    }
}

impl<I, B, S> Graceful for http1::UpgradeableConnection<I, S>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: Read + Write + Unpin + Send + 'static,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    type Error = hyper::Error;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }

    fn reason(error: &hyper::Error) -> CloseReason {
        reason(error)
    }
}

impl<I, B, S, E> Graceful for http2::Connection<I, S, E>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: Read + Write + Unpin,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    E: Http2ServerConnExec<S::Future, B>,
{
    type Error = hyper::Error;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }

    fn reason(error: &hyper::Error) -> CloseReason {
        reason(error)
    }
}
