//! One consistent set of header fields for a decision.

use http::header::{CONNECTION, HeaderMap, HeaderValue};
use http::{Response, Version};
use tower_conn_core::names::{KEEP_ALIVE, PROXY_CONNECTION};
use tower_conn_core::options::connection_options;

use crate::persistence::leaves_http;
use crate::{Advertise, KeepAliveHint, Persistence, RequestFacts};

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const KEEP: HeaderValue = HeaderValue::from_static("keep-alive");

/// Writes the decision into the head of the response.
///
/// Whatever the application had said about persistence is replaced; other connection options stay.
///
/// | Request | Keep | Close |
/// |---|---|---|
/// | HTTP/1.1 | nothing, or `Connection: keep-alive` and `Keep-Alive` where `hint` is announced | `Connection: close` |
/// | HTTP/1.0 | `Connection: keep-alive`, and `Keep-Alive` | the response's version becomes HTTP/1.0; `Connection: close` where the client had asked for `keep-alive` |
/// | HTTP/2, HTTP/3 | `Connection`, `Keep-Alive` and `Proxy-Connection` are removed: they are malformed there (RFC 9113 section 8.2.2) | the same |
///
/// A response after which the connection leaves HTTP (101, 2xx to CONNECT) is not touched.
pub fn render<B>(
    persistence: Persistence,
    request: &RequestFacts,
    advertise: Advertise,
    hint: KeepAliveHint,
    response: &mut Response<B>,
) {
    if !request.is_http1() {
        for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION] {
            response.headers_mut().remove(name);
        }
        return;
    }
    if leaves_http(request, response.status()) {
        return;
    }
    let headers = response.headers_mut();
    headers.remove(KEEP_ALIVE);
    drop_persistence_options(headers);

    let http10 = request.version < Version::HTTP_11;
    if persistence.is_keep() {
        let announced = match advertise {
            Advertise::OnRequest => request.asks_keep_alive(),
            Advertise::Always => true,
            Advertise::Never => false,
        };
        let value = announced.then(|| hint.to_value()).flatten();
        if http10 || value.is_some() {
            headers.append(CONNECTION, KEEP);
        }
        if let Some(value) = value {
            headers.insert(KEEP_ALIVE, value);
        }
        *response.version_mut() = Version::HTTP_11;
    } else if http10 {
        // `close` alone does not close an HTTP/1.0 connection on hyper before 1.12.
        if request.asks_keep_alive() {
            headers.append(CONNECTION, CLOSE);
        }
        *response.version_mut() = Version::HTTP_10;
    } else {
        headers.append(CONNECTION, CLOSE);
        *response.version_mut() = Version::HTTP_11;
    }
}

/// Takes `close` and `keep-alive` out of `Connection`; the other options stay, on one line.
fn drop_persistence_options(headers: &mut HeaderMap) {
    if !headers.contains_key(CONNECTION) || !connection_options(headers).any(is_persistence) {
        return;
    }
    let mut rest = Vec::new();
    for option in connection_options(headers).filter(|option| !is_persistence(option)) {
        if !rest.is_empty() {
            rest.extend_from_slice(b", ");
        }
        rest.extend_from_slice(option);
    }
    headers.remove(CONNECTION);
    if let Some(value) = HeaderValue::from_bytes(&rest)
        .ok()
        .filter(|_| !rest.is_empty())
    {
        headers.insert(CONNECTION, value);
    }
}

fn is_persistence(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
}
