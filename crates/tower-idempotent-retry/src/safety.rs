//! Whether sending a request twice does what sending it once does.

use http::{HeaderMap, HeaderName, Method, header};
use tower_conn_core::options::has_connection_option;

/// Why a request may be sent again although an earlier attempt may have been applied, or that it
/// may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplaySafety {
    /// The method is safe (RFC 9110 section 9.2.1).
    Safe,
    /// The method is idempotent, but not safe (RFC 9110 section 9.2.2).
    Idempotent,
    /// The request carries an `Idempotency-Key`, and the layer takes the caller's word for it.
    Keyed,
    /// The caller put [`MarkIdempotent`](crate::MarkIdempotent) on the request.
    Marked,
    /// None of these: repeating the request may repeat its effect.
    Unsafe,
}

impl ReplaySafety {
    /// What is known of a method alone, by the IANA registry of methods.
    ///
    /// Names are case-sensitive (RFC 9110 section 9.1), and a method that is not registered is not
    /// taken to be idempotent.
    ///
    /// ```
    /// use http::Method;
    /// use tower_idempotent_retry::ReplaySafety;
    ///
    /// assert_eq!(ReplaySafety::of_method(&Method::PUT), ReplaySafety::Idempotent);
    /// let query = Method::from_bytes(b"QUERY").unwrap();
    /// assert_eq!(ReplaySafety::of_method(&query), ReplaySafety::Safe);
    /// let get = Method::from_bytes(b"get").unwrap();
    /// assert_eq!(ReplaySafety::of_method(&get), ReplaySafety::Unsafe);
    /// ```
    #[must_use]
    pub fn of_method(method: &Method) -> Self {
        match method.as_str() {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "PROPFIND" | "REPORT" | "SEARCH" => {
                Self::Safe
            }
            "PUT" | "DELETE" | "ACL" | "BASELINE-CONTROL" | "BIND" | "CHECKIN" | "CHECKOUT"
            | "COPY" | "LABEL" | "LINK" | "MERGE" | "MKACTIVITY" | "MKCALENDAR" | "MKCOL"
            | "MKREDIRECTREF" | "MKWORKSPACE" | "MOVE" | "ORDERPATCH" | "PROPPATCH" | "REBIND"
            | "UNBIND" | "UNCHECKOUT" | "UNLINK" | "UNLOCK" | "UPDATE" | "UPDATEREDIRECTREF"
            | "VERSION-CONTROL" => Self::Idempotent,
            _ => Self::Unsafe,
        }
    }

    /// What is known of a request.
    ///
    /// A request that asks for an upgrade is [`Unsafe`](Self::Unsafe) whatever its method, because
    /// it hands the connection over.
    pub(crate) fn of(
        method: &Method,
        headers: &HeaderMap,
        marked: bool,
        trusted_key: Option<&HeaderName>,
    ) -> Self {
        if marked {
            return Self::Marked;
        }
        if headers.contains_key(header::UPGRADE) || has_connection_option(headers, "upgrade") {
            return Self::Unsafe;
        }
        match Self::of_method(method) {
            Self::Unsafe if *method != Method::CONNECT => {
                let keyed = trusted_key
                    .and_then(|name| headers.get(name))
                    .is_some_and(|value| !value.is_empty());
                if keyed { Self::Keyed } else { Self::Unsafe }
            }
            known => known,
        }
    }

    /// Whether the request may be repeated when an earlier attempt may have been applied.
    #[must_use]
    pub const fn is_repeatable(self) -> bool {
        !matches!(self, Self::Unsafe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    static KEY: HeaderName = HeaderName::from_static("idempotency-key");

    fn method(name: &str) -> Method {
        Method::from_bytes(name.as_bytes()).expect("a method")
    }

    /// The registry: <https://www.iana.org/assignments/http-methods>.
    #[test]
    fn the_registry_decides() {
        for safe in [
            "GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH",
        ] {
            assert_eq!(
                ReplaySafety::of_method(&method(safe)),
                ReplaySafety::Safe,
                "{safe}"
            );
        }
        for idempotent in [
            "PUT",
            "DELETE",
            "MKCOL",
            "COPY",
            "MOVE",
            "PROPPATCH",
            "UNLOCK",
        ] {
            assert_eq!(
                ReplaySafety::of_method(&method(idempotent)),
                ReplaySafety::Idempotent,
                "{idempotent}"
            );
        }
        for not in [
            "POST", "PATCH", "CONNECT", "LOCK", "PRI", "FROB", "get", "Put", "delete",
        ] {
            assert_eq!(
                ReplaySafety::of_method(&method(not)),
                ReplaySafety::Unsafe,
                "{not}"
            );
        }
    }

    #[test]
    fn a_key_counts_only_where_it_is_trusted_and_not_empty() {
        let mut headers = HeaderMap::new();
        let of = |headers: &HeaderMap, name: &str, trusted| {
            ReplaySafety::of(&method(name), headers, false, trusted)
        };
        headers.insert(&KEY, HeaderValue::from_static("\"8e03\""));
        assert_eq!(of(&headers, "POST", Some(&KEY)), ReplaySafety::Keyed);
        assert_eq!(of(&headers, "POST", None), ReplaySafety::Unsafe);
        assert_eq!(of(&headers, "GET", Some(&KEY)), ReplaySafety::Safe);
        assert_eq!(of(&headers, "CONNECT", Some(&KEY)), ReplaySafety::Unsafe);
        headers.insert(&KEY, HeaderValue::from_static(""));
        assert_eq!(of(&headers, "POST", Some(&KEY)), ReplaySafety::Unsafe);
    }

    #[test]
    fn an_upgrade_is_unsafe_and_a_mark_overrides() {
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            let of = |marked| ReplaySafety::of(&Method::GET, &headers, marked, Some(&KEY));
            assert_eq!(of(false), ReplaySafety::Unsafe, "{name}");
            assert_eq!(of(true), ReplaySafety::Marked, "{name}");
        }
    }
}
