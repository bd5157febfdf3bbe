//! Where a request goes, and how its target is written.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::OnceLock;

use http::header::HOST;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version};
use tower_conn_core::AuthorityKey;

/// The scheme, host and port that connections are pooled by.
///
/// A default port and user information are left out, so that `http://h`, `http://h:80` and
/// `http://me@h` share connections.
#[derive(Clone, Debug, Eq)]
pub struct Origin {
    scheme: Scheme,
    authority: AuthorityKey,
    /// Taken once: a request looks its origin up several times.
    hash: u64,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.scheme == other.scheme && self.authority == other.authority
    }
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hands on the hash that an [`Origin`] carries.
#[derive(Debug, Default)]
pub(crate) struct Taken(u64);

impl Hasher for Taken {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Origin {
    fn new(scheme: &Scheme, authority: &Authority) -> Option<Self> {
        static SEED: OnceLock<RandomState> = OnceLock::new();
        let authority = AuthorityKey::from(bare(scheme, authority)?);
        // The scheme is compared, and not part of the hash: hosts with both are few.
        let hash = SEED.get_or_init(RandomState::new).hash_one(&authority);
        Some(Self {
            scheme: scheme.clone(),
            authority,
            hash,
        })
    }

    /// The origin of an absolute URI; `None` if it has no scheme or no host.
    #[must_use]
    pub fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        Self::new(scheme, uri.authority()?)
    }

    /// The origin of a request; CONNECT names no scheme, and means TCP (RFC 9110 section 9.3.6).
    pub(crate) fn of_request<B>(request: &Request<B>) -> Option<Self> {
        if request.method() == Method::CONNECT && request.uri().scheme().is_none() {
            return Self::new(&Scheme::HTTP, request.uri().authority()?);
        }
        Self::of(request.uri())
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The host, and the port unless it is the default one.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        self.authority.get()
    }

    /// The value of Host.
    pub(crate) fn to_host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.authority().as_str()).ok()
    }

    /// What the connector is asked for.
    pub(crate) fn to_uri(&self) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.get().clone());
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// Without user information and without the default port; `None` if there is no host.
fn bare(scheme: &Scheme, authority: &Authority) -> Option<Authority> {
    let text = authority.as_str();
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let default = if *scheme == Scheme::HTTP {
        ":80"
    } else if *scheme == Scheme::HTTPS {
        ":443"
    } else {
        "\0"
    };
    let host = host.strip_suffix(default).unwrap_or(host);
    let host = host.strip_suffix(':').unwrap_or(host);
    if host.is_empty() || host.starts_with(':') {
        None
    } else if host.len() == text.len() {
        Some(authority.clone())
    } else {
        host.parse().ok()
    }
}

/// Makes a request fit the connection: its version, its target form, and Host where it is missing.
///
/// RFC 9112 section 3.2: origin-form to a server, absolute-form to a proxy, authority-form for
/// CONNECT. HTTP/2 keeps the absolute URI, which becomes its pseudo-header fields.
pub(crate) fn address<B>(
    request: &mut Request<B>,
    scheme: &Scheme,
    host: Option<&HeaderValue>,
    http2: bool,
    proxied: bool,
) {
    if http2 {
        *request.version_mut() = Version::HTTP_2;
        return;
    }
    if request.version() >= Version::HTTP_2 {
        *request.version_mut() = Version::HTTP_11;
    }
    if !request.headers().contains_key(HOST) {
        if let Some(host) = host {
            request.headers_mut().insert(HOST, host.clone());
        }
    }
    let uri = request.uri();
    let mut parts = Parts::default();
    if request.method() == Method::CONNECT {
        parts.authority = uri.authority().cloned();
    } else if proxied && *scheme == Scheme::HTTP {
        return;
    } else {
        parts.path_and_query = Some(
            uri.path_and_query()
                .filter(|target| !target.as_str().is_empty())
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
        );
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Option<String> {
        Origin::of(&uri.parse().expect("a URI")).map(|origin| origin.to_string())
    }

    #[test]
    fn default_ports_and_user_information_make_no_origin_of_their_own() {
        for uri in [
            "http://h",
            "http://h:80/x",
            "http://me:pw@h/",
            "http://me@h:80",
        ] {
            assert_eq!(origin(uri).as_deref(), Some("http://h"), "{uri}");
        }
        assert_eq!(origin("https://h:443/").as_deref(), Some("https://h"));
        assert_eq!(origin("https://h:80/").as_deref(), Some("https://h:80"));
        assert_eq!(origin("http://[::1]:80/").as_deref(), Some("http://[::1]"));
        for none in ["/path", "http://:80/", "http://me@:81/"] {
            let parsed = none.parse::<Uri>();
            assert!(parsed.is_err() || origin(none).is_none(), "{none}");
        }
    }

    #[test]
    fn hosts_are_compared_without_case() {
        let lower = Origin::of(&Uri::from_static("http://example.com/"));
        assert_eq!(lower, Origin::of(&Uri::from_static("http://EXAMPLE.com/a")));
    }

    fn addressed(method: Method, uri: &'static str, proxied: bool) -> Request<()> {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .expect("a request");
        let origin = Origin::of(request.uri()).expect("an origin");
        let host = origin.to_host();
        address(&mut request, origin.scheme(), host.as_ref(), false, proxied);
        request
    }

    #[test]
    fn targets_take_the_form_of_rfc_9112_section_3_2() {
        let request = addressed(Method::GET, "http://me@h:80/a?b", false);
        assert_eq!(request.uri(), "/a?b");
        assert_eq!(request.headers()[HOST], "h");
        assert_eq!(addressed(Method::GET, "http://h", false).uri(), "/");
        assert_eq!(
            addressed(Method::GET, "http://h/a", true).uri(),
            "http://h/a"
        );
        assert_eq!(
            addressed(Method::CONNECT, "http://h:8080", false).uri(),
            "h:8080"
        );
    }

    #[test]
    fn a_host_that_the_caller_gave_stays() {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("other"));
        *request.uri_mut() = Uri::from_static("http://h/");
        let origin = Origin::of(request.uri()).expect("an origin");
        let host = origin.to_host();
        address(&mut request, origin.scheme(), host.as_ref(), false, false);
        assert_eq!(request.headers()[HOST], "other");
    }
}
