//! Names of connection-specific fields that `http` has no constants for.

use http::HeaderName;

/// `Keep-Alive` (RFC 2068 section 19.7.1.1).
pub const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// `Proxy-Connection`, which clients are told not to send (RFC 9112 appendix C.2.2).
pub const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// `HTTP2-Settings`, of the deprecated upgrade to h2c (RFC 7540 section 3.2.1).
pub const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// `Proxy-Authentication-Info` (RFC 9110 section 11.7.3).
pub const PROXY_AUTHENTICATION_INFO: HeaderName =
    HeaderName::from_static("proxy-authentication-info");
