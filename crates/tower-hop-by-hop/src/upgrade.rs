//! The protocols that a request offers to switch to, and the one that a 101 switches to.

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue};
use tower_conn_core::options::{is_token, list_members};

use crate::policy::{Policy, Upgrades};

/// The protocols that a forwarded request offers to switch to (RFC 9110 section 7.8).
///
/// Remember it until the response: a 101 may only name what was offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpgradeOffer(Offer);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Offer {
    #[default]
    Nothing,
    WebSocket,
    /// A list of protocols that are all acceptable.
    Protocols(Box<HeaderValue>),
}

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

// ===== impl UpgradeOffer =====

impl UpgradeOffer {
    /// What a request offers that may be forwarded under this policy, from its `Upgrade` lines.
    pub(crate) fn of(request: &HeaderMap, policy: &Policy) -> Self {
        let mut websocket = false;
        let mut kept = 0usize;
        let mut all = 0usize;
        for protocol in list_members(request, &UPGRADE) {
            all += 1;
            kept += usize::from(may_pass(protocol, policy));
            websocket |= is_websocket(protocol);
        }
        Self(match (policy.upgrade_rule(), kept) {
            (_, 0) => Offer::Nothing,
            (_, 1) if websocket => Offer::WebSocket,
            (Upgrades::WebSocket, _) => Offer::WebSocket,
            _ => Self::list(request, policy, kept == all),
        })
    }

    fn list(request: &HeaderMap, policy: &Policy, unchanged: bool) -> Offer {
        let mut lines = request.get_all(UPGRADE).iter();
        if let (true, Some(only), None) = (unchanged, lines.next(), lines.next()) {
            return Offer::Protocols(Box::new(only.clone()));
        }
        let kept = list_members(request, &UPGRADE).filter(|protocol| may_pass(protocol, policy));
        HeaderValue::from_bytes(&join(kept))
            .map_or(Offer::Nothing, |list| Offer::Protocols(Box::new(list)))
    }

    /// Whether nothing is offered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.0, Offer::Nothing)
    }

    /// The value of `Upgrade` that makes this offer.
    #[must_use]
    pub fn value(&self) -> Option<HeaderValue> {
        match &self.0 {
            Offer::Nothing => None,
            Offer::WebSocket => Some(WEBSOCKET),
            Offer::Protocols(list) => Some(HeaderValue::clone(list)),
        }
    }

    /// The value of `Upgrade` for the client, if what a 101 switches to was offered.
    pub(crate) fn accepted_by(&self, response: &HeaderMap) -> Option<HeaderValue> {
        let mut accepted = list_members(response, &UPGRADE).peekable();
        accepted.peek()?;
        if !accepted.all(|protocol| self.offers(protocol)) {
            return None;
        }
        if self.0 == Offer::WebSocket {
            return Some(WEBSOCKET);
        }
        HeaderValue::from_bytes(&join(list_members(response, &UPGRADE))).ok()
    }

    fn offers(&self, protocol: &[u8]) -> bool {
        match &self.0 {
            Offer::Nothing => false,
            Offer::WebSocket => is_websocket(protocol),
            Offer::Protocols(list) => tower_conn_core::options::members(list.as_bytes())
                .any(|offered| offered.eq_ignore_ascii_case(protocol)),
        }
    }
}

fn is_websocket(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"websocket")
}

/// Whether the policy lets a protocol be offered. HTTP in any clothes is not: the client would speak
/// to the upstream past this hop.
fn may_pass(protocol: &[u8], policy: &Policy) -> bool {
    match policy.upgrade_rule() {
        Upgrades::Deny => false,
        Upgrades::WebSocket => is_websocket(protocol),
        Upgrades::Any => {
            let mut parts = protocol.splitn(2, |&byte| byte == b'/');
            let name = parts.next().unwrap_or_default();
            is_token(name) && parts.next().is_none_or(is_token) && !is_http(name)
        }
    }
}

/// `HTTP`, `h2`, `h2c`, `h3` and their drafts (`h2c-14`).
fn is_http(name: &[u8]) -> bool {
    let base = name.split(|&byte| byte == b'-').next().unwrap_or_default();
    [&b"http"[..], b"h2", b"h2c", b"h3"]
        .iter()
        .any(|http| base.eq_ignore_ascii_case(http))
}

fn join<'a>(protocols: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut list = Vec::new();
    for protocol in protocols {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(protocol);
    }
    list
}
