//! A response body as it comes off a connection, whatever the connection is.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower_conn_core::CloseReason;
use tower_pipeline_guard::client;

use crate::conn::reason_of;
use crate::error::BoxError;

#[derive(Debug)]
pub(crate) enum Incoming {
    Hyper(hyper::body::Incoming),
    Pipelined(client::ResponseBody),
}

/// A body that failed, and why its connection closes.
pub(crate) struct IncomingError {
    pub(crate) reason: CloseReason,
    pub(crate) source: BoxError,
}

impl From<hyper::body::Incoming> for Incoming {
    fn from(body: hyper::body::Incoming) -> Self {
        Self::Hyper(body)
    }
}

impl From<client::ResponseBody> for Incoming {
    fn from(body: client::ResponseBody) -> Self {
        Self::Pipelined(body)
    }
}

impl From<hyper::Error> for IncomingError {
    fn from(error: hyper::Error) -> Self {
        Self {
            reason: reason_of(&error),
            source: error.into(),
        }
    }
}

impl From<client::BodyError> for IncomingError {
    fn from(error: client::BodyError) -> Self {
        Self {
            reason: error.cause().close_reason(),
            source: error.into(),
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = IncomingError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        match self.get_mut() {
            Self::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Pipelined(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Pipelined(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Pipelined(body) => body.size_hint(),
        }
    }
}
