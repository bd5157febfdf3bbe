//! Whether a connection persists on the client side, and until when.

use std::hash::{BuildHasher, RandomState};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use tower_conn_core::framing::{BodyFraming, FramingError, has_both, response_framing};
use tower_conn_core::options::has_connection_option;
use tower_conn_core::{CloseReason, FreshConnection};
use tower_pipeline_guard::client::{self, may_share};

/// What a request says about the connection it is sent on, read before it is given away.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    method: Method,
    http10: bool,
    close: bool,
}

impl Asked {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            http10: request.version() < Version::HTTP_11,
            close: has_connection_option(request.headers(), "close"),
        }
    }

    pub(crate) fn is_connect(&self) -> bool {
        self.method == Method::CONNECT
    }
}

/// What a request needs of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// It insists on one that has carried no exchange.
    pub(crate) fresh: bool,
    /// Nothing may be outstanding beside it.
    pub(crate) alone: bool,
    /// It may leave HTTP, which in a pool that pipelines needs a connection of hyper's.
    pub(crate) switches: bool,
}

impl Need {
    pub(crate) fn of<B: Body>(request: &Request<B>, limits: &Limits) -> Self {
        let fresh = request.extensions().get::<FreshConnection>().is_some();
        if limits.depth.is_none() {
            return Self {
                fresh,
                alone: true,
                switches: false,
            };
        }
        let switches =
            request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE);
        Self {
            // What has carried an exchange is pipelined.
            fresh: fresh || switches,
            alone: !may_share(request),
            switches,
        }
    }

    /// Whether it can be sent while the responses to others are outstanding.
    pub(crate) const fn may_share(self) -> bool {
        !self.fresh && !self.alone
    }
}

/// What a response head means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Why the connection is not used again; `None` if it persists.
    pub(crate) retire: Option<CloseReason>,
    /// Whether only the end of the connection ends the body, so that its end proves nothing.
    pub(crate) close_delimited: bool,
}

/// Decides from the response head whether the connection persists (RFC 9112 section 9.3).
///
/// Two rules are stricter than the RFC. HTTP/1.0 connections are not used again, `keep-alive` or
/// not: hyper would send later requests as HTTP/1.0 and lose bodies of unknown length. And a 408 may
/// be a timeout of the connection that crossed with the request.
pub(crate) fn answer<B>(asked: &Asked, response: &Response<B>) -> Answer {
    let (version, status, headers) = (response.version(), response.status(), response.headers());
    if version >= Version::HTTP_2 {
        return Answer {
            retire: None,
            close_delimited: false,
        };
    }
    let framing = response_framing(&asked.method, status, version, headers);
    let close_delimited = framing == Ok(BodyFraming::Close);
    Answer {
        retire: retire(asked, version, status, headers, framing),
        close_delimited,
    }
}

fn retire(
    asked: &Asked,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Result<BodyFraming, FramingError>,
) -> Option<CloseReason> {
    if status == StatusCode::SWITCHING_PROTOCOLS || (asked.is_connect() && status.is_success()) {
        return Some(CloseReason::Upgraded);
    }
    // RFC 9112 section 6.1 and 6.3: both fields, or a coding where none can be, means that the
    // sender and this recipient may not agree on where the message ends.
    let lies_about_204 = status == StatusCode::NO_CONTENT
        && (headers.contains_key(TRANSFER_ENCODING)
            || headers
                .get(CONTENT_LENGTH)
                .is_some_and(|length| length != "0"));
    if framing.is_err() || has_both(headers) || lies_about_204 {
        return Some(CloseReason::FaultyFraming);
    }
    if version < Version::HTTP_11 && headers.contains_key(TRANSFER_ENCODING) {
        return Some(CloseReason::FaultyFraming);
    }
    if has_connection_option(headers, "close") {
        return Some(CloseReason::PeerRequested);
    }
    if asked.close {
        return Some(CloseReason::Application);
    }
    if version < Version::HTTP_11 || asked.http10 {
        return Some(CloseReason::Http10);
    }
    if framing == Ok(BodyFraming::Close) {
        return Some(CloseReason::NoLength);
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        return Some(CloseReason::Status);
    }
    None
}

/// The limits of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) per_origin: NonZeroUsize,
    pub(crate) total: NonZeroUsize,
    pub(crate) idle: NonZeroUsize,
    pub(crate) idle_per_origin: NonZeroUsize,
    pub(crate) waiting: Option<usize>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) age_jitter: u8,
    pub(crate) max_uses: Option<NonZeroU32>,
    pub(crate) honour_hints: bool,
    pub(crate) hint_margin: Duration,
    pub(crate) hint_ceiling: Duration,
    pub(crate) drain_bytes: u64,
    pub(crate) drain_time: Duration,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) check_after: Duration,
    pub(crate) depth: Option<NonZeroUsize>,
}

const fn at_least_one(n: usize) -> NonZeroUsize {
    match NonZeroUsize::new(n) {
        Some(n) => n,
        None => NonZeroUsize::MIN,
    }
}

impl Limits {
    pub(crate) const DEFAULT: Self = Self {
        per_origin: at_least_one(64),
        total: at_least_one(512),
        idle: at_least_one(256),
        idle_per_origin: at_least_one(64),
        waiting: None,
        idle_timeout: Some(Duration::from_secs(45)),
        max_age: None,
        age_jitter: 10,
        max_uses: None,
        honour_hints: true,
        hint_margin: Duration::from_secs(2),
        hint_ceiling: Duration::from_secs(600),
        drain_bytes: 64 * 1024,
        drain_time: Duration::from_millis(500),
        connect_timeout: Some(Duration::from_secs(10)),
        check_after: Duration::from_millis(1),
        depth: None,
    };

    /// How long a connection may idle, given what the server announced, and the reason that it
    /// closes for then. Zero means that it is not kept at all.
    pub(crate) fn idle_time(&self, hint: Option<Duration>) -> Option<(Duration, CloseReason)> {
        let own = self.idle_timeout.map(|limit| (limit, CloseReason::Idle));
        let Some(hint) = hint.filter(|_| self.honour_hints) else {
            return own;
        };
        let hinted = hint.saturating_sub(self.hint_margin).min(self.hint_ceiling);
        match own {
            Some((limit, reason)) if limit <= hinted => Some((limit, reason)),
            _ => Some((hinted, CloseReason::HintExpired)),
        }
    }

    /// How a pipelined connection behaves.
    pub(crate) fn pipeline(&self) -> client::Builder {
        client::Builder::new()
            .depth(self.depth.unwrap_or(NonZeroUsize::MIN))
            .drain(self.drain_bytes, self.drain_time)
    }

    /// The age at which a connection retires: somewhere between the maximum and the maximum less
    /// the jitter, so that connections opened together do not close together.
    pub(crate) fn retirement(&self, seed: &RandomState, id: u64) -> Option<Duration> {
        let age = self.max_age?;
        let spread = age * u32::from(self.age_jitter) / 100;
        let part = (seed.hash_one(id) >> 32) as u32;
        Some(age.saturating_sub(spread.mul_f64(f64::from(part) / f64::from(u32::MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_hint_less_the_margin_wins_where_it_is_shorter() {
        let limits = Limits {
            idle_timeout: Some(S(60)),
            ..Limits::DEFAULT
        };
        let (idle, hinted) = (CloseReason::Idle, CloseReason::HintExpired);
        assert_eq!(limits.idle_time(None), Some((S(60), idle)));
        assert_eq!(limits.idle_time(Some(S(5))), Some((S(3), hinted)));
        assert_eq!(limits.idle_time(Some(S(62))), Some((S(60), idle)));
        assert_eq!(limits.idle_time(Some(S(1))), Some((S(0), hinted)));
    }

    #[test]
    fn a_hint_is_capped_and_can_be_ignored() {
        let limits = Limits {
            idle_timeout: None,
            ..Limits::DEFAULT
        };
        let (time, _) = limits.idle_time(Some(S(86_400))).expect("a limit");
        assert_eq!(time, S(600), "undici: keepAliveMaxTimeout");
        assert_eq!(limits.idle_time(None), None);
        let deaf = Limits {
            honour_hints: false,
            ..limits
        };
        assert_eq!(deaf.idle_time(Some(S(1))), None);
    }

    #[test]
    fn ages_spread_over_the_jitter_and_never_pass_the_maximum() {
        let limits = Limits {
            max_age: Some(S(1000)),
            ..Limits::DEFAULT
        };
        let seed = RandomState::new();
        let ages: Vec<_> = (0..1000)
            .filter_map(|id| limits.retirement(&seed, id))
            .collect();
        assert!(ages.iter().all(|age| (S(900)..=S(1000)).contains(age)));
        let (min, max) = (ages.iter().min(), ages.iter().max());
        assert!(
            min < Some(&S(910)) && max > Some(&S(990)),
            "{min:?} {max:?}"
        );
    }
}
