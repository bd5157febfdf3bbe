//! Responses: what reaches the client.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use tower_conn_core::framing::{response_framing, response_has_body};

use crate::fields::FieldSet;
use crate::nominations::{Options, restore_line, says_keep_alive_only, take_line};
use crate::policy::Policy;
use crate::rejection::{Message, RejectReason, Rejection};
use crate::request::{Stripped, check_codings, remove_extra};
use crate::upgrade::UpgradeOffer;

/// What a response's strip has to know of its request.
#[derive(Clone, Debug)]
#[must_use]
pub struct RequestContext {
    method: Method,
    version: Version,
    offer: UpgradeOffer,
}

impl RequestContext {
    /// The method of the request and the version that the *client* speaks.
    pub fn new(method: &Method, version: Version) -> Self {
        Self {
            method: method.clone(),
            version,
            offer: UpgradeOffer::default(),
        }
    }

    /// What the forwarded request [offered](Stripped::offer) to switch to. Default: nothing.
    pub fn offer(mut self, offer: UpgradeOffer) -> Self {
        self.offer = offer;
        self
    }

    /// The version that the client speaks.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }
}

/// Removes from a response's fields what belongs to the connection it came over.
///
/// `version` is the one received. A 101 is compared with the request's offer and rebuilt. Framing that
/// would be wrong on the client's side goes: `Content-Length` beside `Transfer-Encoding`, and either in
/// 1xx, 204 and a successful CONNECT.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
/// use tower_hop_by_hop::{Policy, RequestContext, strip_response};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("connection", HeaderValue::from_static("close, Meter"));
/// headers.insert("meter", HeaderValue::from_static("max-uses=3"));
/// headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
///
/// let request = RequestContext::new(&Method::GET, Version::HTTP_11);
/// let policy = Policy::gateway();
/// strip_response(&mut headers, StatusCode::OK, Version::HTTP_11, &request, &policy).unwrap();
/// assert_eq!(headers.keys().collect::<Vec<_>>(), ["cache-control"]);
/// ```
///
/// # Errors
///
/// A [`Rejection`] if the response must not be forwarded; the fields are unchanged then.
pub fn strip_response(
    headers: &mut HeaderMap,
    status: StatusCode,
    version: Version,
    request: &RequestContext,
    policy: &Policy,
) -> Result<Stripped, Rejection> {
    let found = FieldSet::found_in(headers);
    let ordinary = !has_no_length(status, &request.method);
    if ordinary && found.is_harmless() && policy.extra_names().is_empty() {
        return Ok(Stripped::default());
    }
    let line = take_line(headers, found);
    if ordinary && says_keep_alive_only(found, line.as_ref(), policy) {
        return Ok(Stripped::removed(FieldSet::CONNECTION));
    }
    let (options, upgrade) = match check(
        headers,
        found,
        line.as_ref(),
        status,
        version,
        request,
        policy,
    ) {
        Ok(checked) => checked,
        Err(reason) => {
            restore_line(headers, line);
            return Err(Rejection::new(Message::Response, reason));
        }
    };

    let mut gone = found.and(policy.stripped().or(options.known));
    if found.intersects(FieldSet::TRANSFER_ENCODING) || !ordinary {
        gone = gone.or(found.and(FieldSet::CONTENT_LENGTH));
    }
    let absent = FieldSet::CONNECTION.only_if(line.is_some());
    let (mut report, nominations) = options.remove_from(headers, line, policy);
    report.extra = remove_extra(headers, policy);
    report.removed = gone;
    if upgrade.is_some() {
        report.removed = gone.without(FieldSet::UPGRADE);
    }
    gone.without(absent).remove_from(headers);
    if let Some(value) = upgrade {
        headers.insert(UPGRADE, value);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    Ok(Stripped {
        report,
        nominations,
        offer: UpgradeOffer::default(),
    })
}

/// The fields of an interim response (100, 102, 103) as they may go on to the client, or `None` if it
/// must not go on at all: to an HTTP/1.0 client, or when it is at fault.
///
/// Interim responses do not pass through a tower service. Where they are relayed by hand, from
/// `hyper::ext::on_informational` for instance, this is the filter:
///
/// ```
/// use http::{HeaderMap, HeaderValue, StatusCode, Version};
/// use tower_hop_by_hop::{Policy, strip_interim};
///
/// let mut hints = HeaderMap::new();
/// hints.insert("link", HeaderValue::from_static("</a.css>; rel=preload"));
/// hints.insert("keep-alive", HeaderValue::from_static("timeout=5"));
///
/// let policy = Policy::gateway();
/// let early = StatusCode::EARLY_HINTS;
/// let kept = strip_interim(&hints, early, Version::HTTP_11, &policy).unwrap();
/// assert_eq!(kept.keys().collect::<Vec<_>>(), ["link"]);
/// assert!(strip_interim(&hints, early, Version::HTTP_10, &policy).is_none());
/// ```
#[must_use]
pub fn strip_interim(
    headers: &HeaderMap,
    status: StatusCode,
    client: Version,
    policy: &Policy,
) -> Option<HeaderMap> {
    if !status.is_informational() {
        return None;
    }
    let request = RequestContext::new(&Method::GET, client);
    let mut headers = headers.clone();
    strip_response(&mut headers, status, Version::HTTP_11, &request, policy).ok()?;
    Some(headers)
}

fn check(
    headers: &HeaderMap,
    found: FieldSet,
    line: Option<&HeaderValue>,
    status: StatusCode,
    version: Version,
    request: &RequestContext,
    policy: &Policy,
) -> Result<(Options, Option<HeaderValue>), RejectReason> {
    let mut upgrade = None;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let accepted = request.offer.accepted_by(headers);
        upgrade = Some(accepted.ok_or(RejectReason::UnofferedUpgrade)?);
    } else if status.is_informational() && request.version < Version::HTTP_11 {
        return Err(RejectReason::InterimToHttp10);
    }
    // Without a body no label is lost.
    if found.intersects(FieldSet::TRANSFER_ENCODING)
        && version < Version::HTTP_2
        && response_has_body(&request.method, status)
    {
        let framing = response_framing(&request.method, status, version, headers)
            .map_err(RejectReason::Framing)?;
        check_codings(headers, framing, policy)?;
    }
    let options = if found.intersects(FieldSet::CONNECTION) {
        Options::read(headers, line, policy)?
    } else {
        Options::default()
    };
    Ok((options, upgrade))
}

/// RFC 9110 section 8.6.
fn has_no_length(status: StatusCode, method: &Method) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || (*method == Method::CONNECT && status.is_success())
}
