use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderName, Request, Version};

/// The content of an answer to TRACE, of type `message/http`: the request as it was received, in the
/// form of HTTP/1.1.
///
/// What could hold a secret is left out (RFC 9110 section 9.3.8): `Authorization`,
/// `Proxy-Authorization`, `Cookie`, values marked sensitive, the names given, and names that look like
/// it: anything with `auth`, `cookie`, `key`, `secret`, `session` or `token` in it.
pub fn trace_echo<B>(request: &Request<B>, hidden: &[HeaderName]) -> Bytes {
    let mut echo = BytesMut::new();
    let version = match request.version() {
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let uri = request.uri();
    let target = uri.path_and_query().map_or("*", |target| target.as_str());
    // Writing to memory does not fail.
    let _ = write!(echo, "{} {target} {version}\r\n", request.method());
    if let (false, Some(authority)) = (request.headers().contains_key(HOST), uri.authority()) {
        let host = authority.as_str();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let _ = write!(echo, "host: {host}\r\n");
    }
    for (name, value) in request.headers() {
        if is_secret(name) || hidden.contains(name) || value.is_sensitive() {
            continue;
        }
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            echo.put_slice(part);
        }
    }
    echo.put_slice(b"\r\n");
    echo.freeze()
}

fn is_secret(name: &HeaderName) -> bool {
    [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name)
        || ["auth", "cookie", "key", "secret", "session", "token"]
            .iter()
            .any(|hint| name.as_str().contains(hint))
}
