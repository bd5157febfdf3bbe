//! The decision of the client: may the connection carry another request.

use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, Response, StatusCode, Version};
use tower_conn_core::CloseReason;
use tower_conn_core::framing::{content_length, has_both, response_framing};

use crate::facts::Options;
use crate::persistence::leaves_http;
use crate::{Persistence, RequestFacts};

/// Decides on the client side whether the connection may carry another request after this response
/// (RFC 9112 section 9.3).
///
/// The reason against it is the first of these that applies: the connection leaves HTTP; framing that
/// is faulty, or that a 204 cannot have, after which the next response could be anywhere; `close` in
/// the request, then in the response; a response that ends with the connection; HTTP/1.0 without
/// `keep-alive`; a 408, with which the server says that it has given up on the connection.
/// `Proxy-Connection` is not read. In HTTP/2 and HTTP/3 a response says nothing about its connection.
#[must_use]
pub fn decide_reuse<B>(request: &RequestFacts, response: &Response<B>) -> Persistence {
    let (version, status) = (response.version(), response.status());
    if version > Version::HTTP_11 {
        return Persistence::Keep;
    }
    let headers = response.headers();
    let options = Options::of(headers);
    let framing = response_framing(&request.method, status, version, headers);
    let reason = if leaves_http(request, status) {
        CloseReason::Upgraded
    } else if framing.is_err() || has_both(headers) || is_204_with_body(status, headers) {
        CloseReason::FaultyFraming
    } else if request.options.close {
        CloseReason::Application
    } else if options.close {
        CloseReason::PeerRequested
    } else if framing.is_ok_and(|framing| !framing.is_self_delimited()) {
        CloseReason::NoLength
    } else if version < Version::HTTP_11 && !options.keep_alive {
        CloseReason::Http10
    } else if status == StatusCode::REQUEST_TIMEOUT {
        CloseReason::Status
    } else {
        return Persistence::Keep;
    };
    Persistence::Close(reason)
}

fn is_204_with_body(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::NO_CONTENT
        && (headers.contains_key(TRANSFER_ENCODING)
            || !matches!(content_length(headers), Ok(None | Some(0))))
}
