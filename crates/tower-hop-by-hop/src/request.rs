//! Requests: what reaches the next hop.

use http::header::{CONNECTION, COOKIE, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version};
use http_body::Body;
use tower_conn_core::framing::{BodyFraming, request_framing};
use tower_conn_core::options::{list_members, trim_ows};

use crate::fields::FieldSet;
use crate::nominations::{Nominations, Options, restore_line, says_keep_alive_only, take_line};
use crate::policy::{Policy, TransferCodings};
use crate::rejection::{Message, RejectReason, Rejection};
use crate::report::StripReport;
use crate::upgrade::UpgradeOffer;

/// What a strip leaves behind for the response and for the trailers.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stripped {
    /// What was removed.
    pub report: StripReport,
    /// What was nominated, for [`strip_trailers`](crate::strip_trailers).
    pub nominations: Nominations,
    /// The upgrade that the forwarded request offers; of a response, always empty.
    pub offer: UpgradeOffer,
}

/// What the `TE` lines say.
#[derive(Default)]
struct TeLines {
    /// `trailers` is among them.
    trailers: bool,
    /// Something else is.
    others: bool,
    /// They are one line, and it is `trailers`.
    canonical: bool,
}

impl Stripped {
    pub(crate) fn removed(fields: FieldSet) -> Self {
        let mut stripped = Self::default();
        stripped.report.removed = fields;
        stripped
    }
}

/// Removes from a request's fields what belongs to the connection it came over.
///
/// `version` is the one received. What is left can be forwarded in the policy's
/// [outbound](Policy::outbound) version: `Connection` and `Upgrade` are there only as this hop means
/// them, `TE` is `trailers` or gone, and several `Cookie` lines of HTTP/2 are one line in HTTP/1.
///
/// The order of the lines of a name is kept. The order among different names, which means nothing
/// (RFC 9110 section 5.3), may change, as it does whenever a `HeaderMap` loses a name.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Version};
/// use tower_hop_by_hop::{Policy, strip_request};
///
/// let mut headers = HeaderMap::new();
/// headers.append("connection", HeaderValue::from_static("keep-alive, X-Trace"));
/// headers.append("connection", HeaderValue::from_static("Host"));
/// headers.append("x-trace", HeaderValue::from_static("1"));
/// headers.append("host", HeaderValue::from_static("a.example"));
///
/// let stripped = strip_request(&mut headers, Version::HTTP_11, &Policy::gateway()).unwrap();
/// assert_eq!(headers.keys().collect::<Vec<_>>(), ["host"]);
/// assert_eq!(stripped.report.nominated(), ["x-trace"]);
/// assert_eq!(stripped.report.protected(), ["host"]);
/// ```
///
/// # Errors
///
/// A [`Rejection`] if the request must not be forwarded; the fields are unchanged then.
pub fn strip_request(
    headers: &mut HeaderMap,
    version: Version,
    policy: &Policy,
) -> Result<Stripped, Rejection> {
    let found = FieldSet::found_in(headers);
    if found.is_harmless() && policy.extra_names().is_empty() {
        finish_cookies(headers, found, version, policy);
        return Ok(Stripped::default());
    }
    let line = take_line(headers, found);
    if version < Version::HTTP_2 && says_keep_alive_only(found, line.as_ref(), policy) {
        return Ok(Stripped::removed(FieldSet::CONNECTION));
    }
    let te = TeLines::of(headers, found);
    let options = match check(headers, found, line.as_ref(), &te, version, policy) {
        Ok(options) => options,
        Err(reason) => {
            restore_line(headers, line);
            return Err(Rejection::new(Message::Request, reason));
        }
    };

    let keep_te = te.trailers && version >= Version::HTTP_11 && policy.keeps_te();
    let offer = if asks_to_upgrade(found, &options, version) && policy.sends_http11() {
        UpgradeOffer::of(headers, policy)
    } else {
        UpgradeOffer::default()
    };

    let mut gone = found.and(policy.stripped().or(options.known));
    if found.intersects(FieldSet::TRANSFER_ENCODING) {
        // RFC 9112 section 6.3: Transfer-Encoding wins, and Content-Length does not go further.
        gone = gone.or(found.and(FieldSet::CONTENT_LENGTH));
    }
    let own = own_options(&offer, keep_te && policy.sends_te_option());
    let absent = FieldSet::CONNECTION.only_if(line.is_some() || own.is_some());
    let (mut report, nominations) = options.remove_from(headers, line, policy);
    report.extra = remove_extra(headers, policy);

    if let Some(value) = offer.value() {
        headers.insert(UPGRADE, value);
        gone = gone.without(FieldSet::UPGRADE);
    }
    if keep_te {
        if !te.canonical {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        gone = gone.without(FieldSet::TE);
    }
    report.removed = gone;
    gone.without(absent).remove_from(headers);
    if let Some(value) = own {
        headers.insert(CONNECTION, value);
    }
    finish_cookies(headers, found, version, policy);
    Ok(Stripped {
        report,
        nominations,
        offer,
    })
}

/// Keeps the body of a request that hyper's HTTP/1 client would otherwise send without it: to GET,
/// HEAD and CONNECT of unknown length it adds a body only if `Transfer-Encoding` says so.
pub(crate) fn announce_body<B: Body>(
    headers: &mut HeaderMap,
    method: &Method,
    body: &B,
    policy: &Policy,
) {
    let bodiless = matches!(*method, Method::GET | Method::HEAD | Method::CONNECT);
    if bodiless
        && policy.sends_http11()
        && !body.is_end_stream()
        && body.size_hint().exact().is_none()
        && !headers.contains_key(http::header::CONTENT_LENGTH)
    {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The offer of a request that is forwarded as it is.
pub(crate) fn offer_of(headers: &HeaderMap, version: Version, policy: &Policy) -> UpgradeOffer {
    if version == Version::HTTP_11
        && headers.contains_key(UPGRADE)
        && tower_conn_core::options::has_connection_option(headers, "upgrade")
    {
        UpgradeOffer::of(headers, policy)
    } else {
        UpgradeOffer::default()
    }
}

/// Everything that may refuse a request.
fn check(
    headers: &HeaderMap,
    found: FieldSet,
    line: Option<&HeaderValue>,
    te: &TeLines,
    version: Version,
    policy: &Policy,
) -> Result<Options, RejectReason> {
    if version >= Version::HTTP_2 && (found.intersects(FieldSet::NOT_IN_HTTP2) || te.others) {
        return Err(RejectReason::NotInHttp2);
    }
    if found.intersects(FieldSet::TRANSFER_ENCODING) {
        let framing = request_framing(version, headers).map_err(RejectReason::Framing)?;
        check_codings(headers, framing, policy)?;
    }
    if found.intersects(FieldSet::CONNECTION) {
        Options::read(headers, line, policy)
    } else {
        Ok(Options::default())
    }
}

pub(crate) fn check_codings(
    headers: &HeaderMap,
    framing: BodyFraming,
    policy: &Policy,
) -> Result<(), RejectReason> {
    let only_chunked = framing == BodyFraming::Chunked
        && list_members(headers, &TRANSFER_ENCODING).nth(1).is_none();
    if only_chunked || policy.coding_rule() == TransferCodings::Any {
        Ok(())
    } else {
        Err(RejectReason::TransferCoding)
    }
}

pub(crate) fn remove_extra(headers: &mut HeaderMap, policy: &Policy) -> u32 {
    let names = policy.extra_names().iter();
    names.fold(0, |count, name| {
        count + u32::from(headers.remove(name).is_some())
    })
}

/// RFC 9110 section 7.8: without the option it is no upgrade, and HTTP/1.0 has none.
fn asks_to_upgrade(found: FieldSet, options: &Options, version: Version) -> bool {
    version == Version::HTTP_11
        && found.intersects(FieldSet::UPGRADE)
        && options.known.intersects(FieldSet::UPGRADE)
}

/// `trailers`, which has no weight (RFC 9110 section 10.1.4); one is overlooked.
fn is_trailers(member: &[u8]) -> bool {
    let name = member.split(|&byte| byte == b';').next();
    name.is_some_and(|name| trim_ows(name).eq_ignore_ascii_case(b"trailers"))
}

// ===== impl TeLines =====

impl TeLines {
    fn of(headers: &HeaderMap, found: FieldSet) -> Self {
        let mut this = Self::default();
        if !found.intersects(FieldSet::TE) {
            return this;
        }
        let mut lines = headers.get_all(TE).iter();
        this.canonical =
            lines.next().is_some_and(|line| line == "trailers") && lines.next().is_none();
        if this.canonical {
            this.trailers = true;
            return this;
        }
        for member in list_members(headers, &TE) {
            let trailers = is_trailers(member);
            this.trailers |= trailers;
            this.others |= !trailers;
        }
        this
    }
}

/// `Connection` as this hop means it.
fn own_options(offer: &UpgradeOffer, te: bool) -> Option<HeaderValue> {
    match (offer.is_empty(), te) {
        (false, true) => Some(HeaderValue::from_static("upgrade, te")),
        (false, false) => Some(HeaderValue::from_static("upgrade")),
        (true, true) => Some(HeaderValue::from_static("te")),
        (true, false) => None,
    }
}

/// RFC 9113 section 8.2.3: the cookie crumbs of HTTP/2 are one line in HTTP/1.
fn finish_cookies(headers: &mut HeaderMap, found: FieldSet, version: Version, policy: &Policy) {
    if version >= Version::HTTP_2 && policy.sends_http1() && found.intersects(FieldSet::COOKIE) {
        join_cookies(headers);
    }
}

fn join_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(COOKIE);
    if lines.iter().nth(1).is_none() {
        return;
    }
    let joined: Vec<&[u8]> = lines.iter().map(HeaderValue::as_bytes).collect();
    let sensitive = lines.iter().any(HeaderValue::is_sensitive);
    // Valid values joined by valid bytes make a valid value.
    if let Ok(mut value) = HeaderValue::from_bytes(&joined.join(&b"; "[..])) {
        value.set_sensitive(sensitive);
        headers.insert(COOKIE, value);
    }
}
