//! The connections of hyper-util that detect the protocol.

use std::error::Error as StdError;
use std::pin::Pin;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::Service;
use hyper_util::server::conn::auto;
use tower_conn_core::CloseReason;

use super::{Graceful, engine};

type BoxError = Box<dyn StdError + Send + Sync>;

fn reason(error: &BoxError) -> CloseReason {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return engine::reason(error);
    }
    let source: &(dyn StdError + 'static) = error.as_ref();
    engine::io_reason(Some(source)).unwrap_or(CloseReason::ProtocolError)
}

impl<I, B, S, E> Graceful for auto::Connection<'_, I, S, E>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    I: Read + Write + Unpin + 'static,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    E: auto::HttpServerConnExec<S::Future, B>,
{
    type Error = BoxError;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }

    fn reason(error: &BoxError) -> CloseReason {
        reason(error)
    }
}

impl<I, B, S, E> Graceful for auto::UpgradeableConnection<'_, I, S, E>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    I: Read + Write + Unpin + Send + 'static,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    E: auto::HttpServerConnExec<S::Future, B>,
{
    type Error = BoxError;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }

    fn reason(error: &BoxError) -> CloseReason {
        reason(error)
    }
}
