//! `Proxy-Connection`, as a proxy that understands it treats it.
//!
//! An HTTP/1.0 client that sends `Connection: keep-alive` to a proxy cannot know whether the proxy understands
//! it. One that does not relays the field; the origin believes that the proxy wants to persist; and in the end
//! client and proxy wait for an end of the connection that never comes. So clients took to sending
//! `Proxy-Connection`: relayed by a proxy that does not know it, it means nothing to the origin, and a proxy that
//! knows it acts on it as on `Connection`, answers with `Connection`, and sends the origin a `Connection` of its
//! own (HTTP: The Definitive Guide, chapter 4). That fails as soon as a proxy that does not know the field stands
//! before one that does, and so RFC 9112 gave it up: a proxy persists with no HTTP/1.0 client at all
//! (section 9.3), and recipients have no need of the field (appendix C.2.2).
//!
//! What is left for a proxy that understands it: `close` is heeded, whatever else it says changes nothing, because
//! HTTP/1.1 clients, which still send it, persist anyway; and it goes no further. Persisting with HTTP/1.0 clients
//! for the sake of the field would take more than a layer, too: hyper decides about them when it parses the head,
//! by `Connection` alone.

use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use tower_conn_core::names::PROXY_CONNECTION;
use tower_conn_core::options::list_members;

/// Replaces `Proxy-Connection` by what it means for the connection of its sender.
pub(crate) fn understand<B>(mut request: Request<B>) -> Request<B> {
    // In HTTP/2 it is malformed, which is for the hop-by-hop layer to say.
    if request.version() < Version::HTTP_2 {
        let headers = request.headers_mut();
        let close = list_members(headers, &PROXY_CONNECTION)
            .any(|member| member.eq_ignore_ascii_case(b"close"));
        headers.remove(PROXY_CONNECTION);
        if close {
            headers.append(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    request
}
