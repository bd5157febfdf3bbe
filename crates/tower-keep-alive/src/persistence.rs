//! The decision: keep the connection or close it, and why.

use http::{StatusCode, Version};
use tower_conn_core::CloseReason;

use crate::{BodyOutcome, ConnectionSnapshot, Limits, RequestFacts, ResponseFacts, Role};

/// What happens to the connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a connection persists or it does not"
)]
pub enum Persistence {
    /// It persists.
    Keep,
    /// It closes, for this reason. [`CloseReason::Upgraded`] means that it leaves HTTP.
    Close(CloseReason),
}

impl Persistence {
    /// Whether the connection persists.
    #[must_use]
    pub const fn is_keep(self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Why it closes.
    #[must_use]
    pub const fn reason(self) -> Option<CloseReason> {
        match self {
            Self::Keep => None,
            Self::Close(reason) => Some(reason),
        }
    }
}

/// Decides on the server side whether the connection persists after this exchange (RFC 9112
/// section 9.3).
///
/// The reason of a close is the first of these that applies: the connection leaves HTTP (101, 2xx to
/// CONNECT); faulty framing; `close` from the client, then from the application; HTTP/1.0 without
/// `keep-alive`; a proxy in the way of an HTTP/1.0 client; a response without length; a request body
/// that was not read; a close that someone asked for; a limit; a status.
///
/// Without a `connection` the limits on requests and age, which need one, are not applied. In HTTP/2
/// and HTTP/3, where connection options do not exist and each body ends with its stream, only the
/// last three count; there is nothing to render, and a close is for the driver of the connection.
#[must_use]
pub fn decide(
    request: &RequestFacts,
    body: BodyOutcome,
    response: &ResponseFacts,
    limits: &Limits,
    connection: Option<&ConnectionSnapshot>,
) -> Persistence {
    let reason = if request.is_http1() {
        http1(request, body, response, limits)
    } else {
        None
    };
    let reason = reason
        .or_else(|| connection.and_then(|connection| connection.closing))
        .or_else(|| limits.reached(connection))
        .or_else(|| {
            limits
                .closes_on(response.status)
                .then_some(CloseReason::Status)
        });
    reason.map_or(Persistence::Keep, Persistence::Close)
}

fn http1(
    request: &RequestFacts,
    body: BodyOutcome,
    response: &ResponseFacts,
    limits: &Limits,
) -> Option<CloseReason> {
    if leaves_http(request, response.status) {
        return Some(CloseReason::Upgraded);
    }
    if request.faulty || response.faulty {
        return Some(CloseReason::FaultyFraming);
    }
    if request.options.close {
        return Some(CloseReason::PeerRequested);
    }
    if response.options.close {
        return Some(CloseReason::Application);
    }
    let http10 = http10(request, limits.server_role());
    if http10.is_some() {
        return http10;
    }
    if !response.framing.is_self_delimited() {
        return Some(CloseReason::NoLength);
    }
    match body {
        BodyOutcome::Finished => None,
        // An error response to an upload that goes on: the client should stop, not finish it.
        BodyOutcome::InUse => is_error(response.status).then_some(CloseReason::UnreadBody),
        BodyOutcome::Unread => Some(CloseReason::UnreadBody),
        BodyOutcome::ExpectUnanswered => Some(CloseReason::ExpectUnanswered),
        BodyOutcome::Failed => Some(CloseReason::IncompleteMessage),
    }
}

fn http10(request: &RequestFacts, role: Role) -> Option<CloseReason> {
    if request.version > Version::HTTP_10 {
        return None;
    }
    if request.version < Version::HTTP_10 || !request.options.keep_alive {
        return Some(CloseReason::Http10);
    }
    if role == Role::Proxy || request.proxied {
        return Some(CloseReason::ProxyRole);
    }
    None
}

/// Whether the connection is no HTTP connection any more after this response.
pub(crate) fn leaves_http(request: &RequestFacts, status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS
        || (request.method == http::Method::CONNECT && status.is_success())
}

pub(crate) fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}
