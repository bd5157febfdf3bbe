//! What a hop keeps, drops and refuses.

use http::{HeaderName, Version};

use crate::fields::FieldSet;

/// The rules of a strip.
///
/// Start from [`gateway`](Self::gateway), [`forward_proxy`](Self::forward_proxy) or
/// [`rfc_literal`](Self::rfc_literal) and change what differs.
///
/// ```
/// use http::HeaderName;
/// use tower_hop_by_hop::{Policy, ProtectedNames, Upgrades};
///
/// let edge = Policy::gateway()
///     .protected_names(ProtectedNames::Reject)
///     .upgrades(Upgrades::Deny)
///     .protect(HeaderName::from_static("x-tenant"));
/// assert_ne!(edge, Policy::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Policy {
    protected_names: ProtectedNames,
    protected: Vec<HeaderName>,
    unprotected: Vec<HeaderName>,
    malformed_options: MalformedOptions,
    max_options: Option<u32>,
    te: Te,
    te_option: bool,
    upgrades: Upgrades,
    proxy_auth: ProxyAuth,
    trailers: Trailers,
    strip_alt_svc: bool,
    transfer_codings: TransferCodings,
    extra: Vec<HeaderName>,
    outbound: Version,
}

/// What becomes of an option that names a field meant for every recipient, such as `Host` or
/// `Authorization`. No honest sender nominates one (RFC 9110 section 7.6.1); a client that does wants
/// the next hop not to see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtectedNames {
    /// The field stays, and the attempt is reported.
    #[default]
    Ignore,
    /// The message is refused: 400, or 502 for a response.
    Reject,
    /// The field goes, as RFC 9110 section 7.6.1 says of every option. Do not use it where a header
    /// added further out, or checked further in, decides about access.
    Honour,
}

/// What becomes of a `Connection` member that is not a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MalformedOptions {
    /// It names nothing; the other members count.
    #[default]
    Ignore,
    /// The message is refused: 400, or 502 for a response.
    Reject,
}

/// What becomes of a request's `TE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Te {
    /// `trailers` survives, nominated or not (gRPC cannot do without); transfer codings go.
    #[default]
    Trailers,
    /// Nothing survives: for a proxy that drops trailers.
    Strip,
}

/// Which upgrades a request may offer. `h2c`, `h2` and `HTTP` never pass: they would carry the client
/// past every rule of this hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Upgrades {
    /// None.
    Deny,
    /// `websocket` only.
    #[default]
    WebSocket,
    /// Any other protocol too.
    Any,
}

/// What becomes of `Proxy-Authorization`, `Proxy-Authenticate` and `Proxy-Authentication-Info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyAuth {
    /// They stop here. A service that authenticates clients belongs outside the layer.
    #[default]
    Strip,
    /// They pass, for a chain of proxies that authenticate together (RFC 9110 section 11.7.2).
    Relay,
}

/// What becomes of the `Trailer` field and the trailer section, which stand or fall together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trailers {
    /// Kept, less the fields that may not be trailers. hyper sends only announced trailers over
    /// HTTP/1, so that dropping `Trailer` alone would drop them too.
    #[default]
    Keep,
    /// Both dropped.
    Strip,
}

/// Which transfer codings are taken off a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransferCodings {
    /// `chunked`, which hyper decodes. Any other coding would stay in the body while its label is
    /// removed, so the message is refused: 501, or 502 for a response (RFC 9112 section 6.1).
    #[default]
    ChunkedOnly,
    /// Any: the HTTP library underneath decodes them all.
    Any,
}

/// Fields that an option cannot remove unless the policy says so: framing, routing, credentials,
/// what describes the content, what caches go by, and what proxies say about the client.
static PROTECTED: [&str; 24] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "forwarded",
    "host",
    "location",
    "max-forwards",
    "set-cookie",
    "vary",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
];

// ===== impl Policy =====

impl Policy {
    /// For a reverse proxy. Nominations of protected names are ignored and reported, at most 64
    /// options are read, `TE: trailers` and trailers pass, WebSocket may be offered, proxy
    /// authentication stops here.
    pub const fn gateway() -> Self {
        Self {
            protected_names: ProtectedNames::Ignore,
            protected: Vec::new(),
            unprotected: Vec::new(),
            malformed_options: MalformedOptions::Ignore,
            max_options: Some(64),
            te: Te::Trailers,
            te_option: true,
            upgrades: Upgrades::WebSocket,
            proxy_auth: ProxyAuth::Strip,
            trailers: Trailers::Keep,
            strip_alt_svc: false,
            transfer_codings: TransferCodings::ChunkedOnly,
            extra: Vec::new(),
            outbound: Version::HTTP_11,
        }
    }

    /// For a proxy that its clients have configured: like [`gateway`](Self::gateway), and any upgrade
    /// may be offered but those to HTTP itself.
    ///
    /// Credentials for this proxy do not leak to the origin; relay them to a parent proxy with
    /// [`ProxyAuth::Relay`].
    pub const fn forward_proxy() -> Self {
        Self::gateway().upgrades(Upgrades::Any)
    }

    /// As RFC 9110 section 7.6.1 has it to the letter: every option removes the field it names,
    /// however many there are. For closed networks and for comparing implementations.
    pub const fn rfc_literal() -> Self {
        let mut policy = Self::gateway()
            .protected_names(ProtectedNames::Honour)
            .upgrades(Upgrades::Any)
            .proxy_auth(ProxyAuth::Relay);
        policy.max_options = None;
        policy
    }

    /// What becomes of a nomination of a protected name. Default: ignored and reported.
    pub const fn protected_names(mut self, rule: ProtectedNames) -> Self {
        self.protected_names = rule;
        self
    }

    /// Protects one more name. The fields that are always stripped cannot be protected.
    pub fn protect(mut self, name: HeaderName) -> Self {
        self.unprotected.retain(|other| *other != name);
        self.protected.push(name);
        self
    }

    /// Lets options remove a field whose name is protected by default.
    pub fn unprotect(mut self, name: HeaderName) -> Self {
        self.protected.retain(|other| *other != name);
        self.unprotected.push(name);
        self
    }

    /// What becomes of a `Connection` member that is not a token. Default: ignored.
    pub const fn malformed_options(mut self, rule: MalformedOptions) -> Self {
        self.malformed_options = rule;
        self
    }

    /// How many non-empty members all `Connection` lines of a message may have together, the unusable
    /// ones included; a message with more is refused: 400, or 502 for a response. Default: 64.
    ///
    /// `None` leaves the limit to the size of the head that the HTTP library accepts.
    pub const fn max_options(mut self, max: Option<u32>) -> Self {
        self.max_options = max;
        self
    }

    /// What becomes of a request's `TE`. Default: `trailers` survives.
    pub const fn te(mut self, rule: Te) -> Self {
        self.te = rule;
        self
    }

    /// Whether a forwarded `TE` comes with `Connection: te`, as RFC 9110 section 10.1.4 demands of
    /// HTTP/1. Default: yes. It is never sent when the [outbound](Self::outbound) version is HTTP/2.
    pub const fn te_option(mut self, emit: bool) -> Self {
        self.te_option = emit;
        self
    }

    /// Which upgrades a request may offer. Default: WebSocket.
    pub const fn upgrades(mut self, rule: Upgrades) -> Self {
        self.upgrades = rule;
        self
    }

    /// What becomes of the proxy authentication fields. Default: stripped.
    pub const fn proxy_auth(mut self, rule: ProxyAuth) -> Self {
        self.proxy_auth = rule;
        self
    }

    /// What becomes of `Trailer` and trailers. Default: kept.
    pub const fn trailers(mut self, rule: Trailers) -> Self {
        self.trailers = rule;
        self
    }

    /// Whether `Alt-Svc` goes. It is not hop-by-hop (RFC 7838), but what an upstream says about its
    /// own alternatives is often wrong for the clients of a gateway. Default: no.
    pub const fn strip_alt_svc(mut self, strip: bool) -> Self {
        self.strip_alt_svc = strip;
        self
    }

    /// Which transfer codings are accepted. Default: chunked only.
    pub const fn transfer_codings(mut self, rule: TransferCodings) -> Self {
        self.transfer_codings = rule;
        self
    }

    /// Strips one more name, from requests, responses and trailers, nominated or not.
    pub fn extra(mut self, name: HeaderName) -> Self {
        self.extra.push(name);
        self
    }

    /// The version in which requests go out. Default: HTTP/1.1.
    ///
    /// A layer cannot see which protocol a pooled client will pick. When it is HTTP/2, say so: hyper's
    /// HTTP/2 encoder takes `Connection: te` for a nomination and drops the `TE` that gRPC needs, and
    /// HTTP/2 has no upgrades. For HTTP/1.0, neither `TE` nor an upgrade is sent.
    pub const fn outbound(mut self, version: Version) -> Self {
        self.outbound = version;
        self
    }

    pub(crate) fn is_protected(&self, option: &[u8]) -> bool {
        let is = |name: &HeaderName| name.as_str().as_bytes().eq_ignore_ascii_case(option);
        self.protected.iter().any(is)
            || (PROTECTED
                .iter()
                .any(|name| name.as_bytes().eq_ignore_ascii_case(option))
                && !self.unprotected.iter().any(is))
    }

    /// The fields that go whether nominated or not.
    pub(crate) fn stripped(&self) -> FieldSet {
        let mut fields = FieldSet::ALWAYS;
        if self.proxy_auth == ProxyAuth::Strip {
            fields = fields.or(FieldSet::PROXY_AUTH);
        }
        if self.trailers == Trailers::Strip {
            fields = fields.or(FieldSet::TRAILER);
        }
        if self.strip_alt_svc {
            fields = fields.or(FieldSet::ALT_SVC);
        }
        fields
    }

    pub(crate) const fn protected_rule(&self) -> ProtectedNames {
        self.protected_names
    }

    pub(crate) const fn malformed_rule(&self) -> MalformedOptions {
        self.malformed_options
    }

    pub(crate) const fn option_limit(&self) -> Option<u32> {
        self.max_options
    }

    pub(crate) const fn upgrade_rule(&self) -> Upgrades {
        self.upgrades
    }

    pub(crate) const fn coding_rule(&self) -> TransferCodings {
        self.transfer_codings
    }

    pub(crate) fn keeps_te(&self) -> bool {
        self.te == Te::Trailers && self.outbound >= Version::HTTP_11
    }

    pub(crate) fn sends_te_option(&self) -> bool {
        self.te_option && self.sends_http11()
    }

    pub(crate) fn sends_http11(&self) -> bool {
        self.outbound == Version::HTTP_11
    }

    pub(crate) fn sends_http1(&self) -> bool {
        self.outbound < Version::HTTP_2
    }

    pub(crate) fn keeps_trailers(&self) -> bool {
        self.trailers == Trailers::Keep
    }

    pub(crate) const fn outbound_version(&self) -> Version {
        self.outbound
    }

    pub(crate) fn extra_names(&self) -> &[HeaderName] {
        &self.extra
    }
}

impl Default for Policy {
    /// [`Policy::gateway`].
    fn default() -> Self {
        Self::gateway()
    }
}
