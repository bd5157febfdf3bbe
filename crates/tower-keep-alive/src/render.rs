//! One consistent set of header fields for a decision.

use http::header::{CONNECTION, HeaderMap, HeaderValue};
use http::{Response, Version};
use tower_conn_core::names::{KEEP_ALIVE, PROXY_CONNECTION};
use tower_conn_core::options::connection_options;

use crate::persistence::leaves_http;
use crate::{Advertise, KeepAliveHint, Persistence, RequestFacts};

const CLOSE: &str = "close";
const KEEP: &str = "keep-alive";

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
    let http10 = request.version < Version::HTTP_11;
    let asked = request.asks_keep_alive();
    let headers = response.headers_mut();
    headers.remove(KEEP_ALIVE);
    if persistence.is_keep() {
        let announced = match advertise {
            Advertise::OnRequest => asked,
            Advertise::Always => true,
            Advertise::Never => false,
        };
        let value = announced.then(|| hint.to_value()).flatten();
        set_option(headers, (http10 || value.is_some()).then_some(KEEP));
        if let Some(value) = value {
            headers.insert(KEEP_ALIVE, value);
        }
    } else {
        // An HTTP/1.0 client expects nothing else, unless it has asked.
        set_option(headers, (asked || !http10).then_some(CLOSE));
    }
    // `close` alone does not close an HTTP/1.0 connection on hyper before 1.12.
    *response.version_mut() = if http10 && !persistence.is_keep() {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
}

/// Makes `option` the one thing that `Connection` says about persistence. Other options stay, on the
/// same line: hyper before 1.12 replaces a first line of an HTTP/1.0 response that lacks `keep-alive`.
fn set_option(headers: &mut HeaderMap, option: Option<&'static str>) {
    let mut value = Vec::new();
    for other in connection_options(headers).filter(|option| !is_persistence(option)) {
        value.extend_from_slice(other);
        value.extend_from_slice(b", ");
    }
    let value = match option {
        Some(option) if value.is_empty() => Some(HeaderValue::from_static(option)),
        Some(option) => {
            value.extend_from_slice(option.as_bytes());
            HeaderValue::from_bytes(&value).ok()
        }
        None => HeaderValue::from_bytes(value.strip_suffix(b", ").unwrap_or_default()).ok(),
    };
    match value.filter(|value| !value.is_empty()) {
        Some(value) => {
            headers.insert(CONNECTION, value);
        }
        None => {
            headers.remove(CONNECTION);
        }
    }
}

fn is_persistence(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
}
