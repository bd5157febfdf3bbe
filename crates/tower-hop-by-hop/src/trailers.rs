//! Trailers: what may follow the body.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    COOKIE, EXPECT, FORWARDED, HOST, MAX_FORWARDS, RANGE, SET_COOKIE, TRAILER, VIA,
};
use http::{HeaderMap, HeaderName, Version};

use crate::nominations::Nominations;
use crate::policy::Policy;

/// Removes from a trailer section what does not belong there or was nominated in the head, and says
/// whether anything is left.
///
/// `receiver` is the version that the message goes on in: HTTP/1.0 has no trailers. Fields of framing,
/// routing, credentials and control may not be trailers (RFC 9110 section 6.5.1). A `Connection` among
/// the trailers nominates nothing.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Version};
/// use tower_hop_by_hop::{Nominations, Policy, strip_trailers};
///
/// let mut head = HeaderMap::new();
/// head.insert("connection", HeaderValue::from_static("X-Private"));
/// let nominations = Nominations::of(&head);
///
/// let mut trailers = HeaderMap::new();
/// trailers.insert("x-private", HeaderValue::from_static("1"));
/// trailers.insert("content-length", HeaderValue::from_static("7"));
/// trailers.insert("grpc-status", HeaderValue::from_static("0"));
///
/// let policy = Policy::gateway();
/// assert!(strip_trailers(&mut trailers, &nominations, Version::HTTP_11, &policy));
/// assert_eq!(trailers.keys().collect::<Vec<_>>(), ["grpc-status"]);
/// ```
pub fn strip_trailers(
    trailers: &mut HeaderMap,
    nominations: &Nominations,
    receiver: Version,
    policy: &Policy,
) -> bool {
    if receiver < Version::HTTP_11 || !policy.keeps_trailers() {
        trailers.clear();
        return false;
    }
    let fields = policy.stripped();
    let goes = |name: &HeaderName| {
        fields.contains(name)
            || is_forbidden(name)
            || policy.extra_names().contains(name)
            || nominations.apply_to(name, policy)
    };
    let gone: Vec<HeaderName> = trailers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        trailers.remove(name);
    }
    !trailers.is_empty()
}

fn is_forbidden(name: &HeaderName) -> bool {
    static FORBIDDEN: [HeaderName; 15] = [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        COOKIE,
        EXPECT,
        FORWARDED,
        HOST,
        MAX_FORWARDS,
        RANGE,
        SET_COOKIE,
        TRAILER,
        VIA,
    ];
    FORBIDDEN.contains(name) || name.as_str().starts_with("x-forwarded-")
}
