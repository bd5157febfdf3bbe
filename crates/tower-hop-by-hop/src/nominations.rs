//! What the `Connection` lines of a message nominate.

use std::fmt;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_conn_core::options::{connection_options, is_token, members};

use crate::fields::FieldSet;
use crate::policy::{MalformedOptions, Policy, ProtectedNames};
use crate::rejection::RejectReason;
use crate::report::StripReport;

/// The nominations of a message head, kept for its trailers: an option removes every header *or
/// trailer* field of its name (RFC 9110 section 7.6.1).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Nominations(Box<[HeaderValue]>);

/// One pass over the options of a message, before anything is changed.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The well-known fields among them.
    pub(crate) known: FieldSet,
    /// Whether there are others.
    others: bool,
    report: StripReport,
}

enum Kind {
    Known(FieldSet),
    Protected,
    Name,
    Malformed,
}

impl Kind {
    fn of(option: &[u8], policy: &Policy) -> Self {
        let known = FieldSet::of(option).and(FieldSet::OPTIONS);
        if known.intersects(FieldSet::ALWAYS.or(FieldSet::CLOSE)) {
            Self::Known(known)
        } else if policy.protected_rule() != ProtectedNames::Honour && policy.is_protected(option) {
            Self::Protected
        } else if !known.is_empty() {
            Self::Known(known)
        } else if is_token(option) {
            Self::Name
        } else {
            Self::Malformed
        }
    }
}

/// Takes the `Connection` line out of a head that has one and no second one.
#[inline]
pub(crate) fn take_line(head: &mut HeaderMap, found: FieldSet) -> Option<HeaderValue> {
    // Only where no name has several lines is what `remove` returns sure to be all of it.
    if found.intersects(FieldSet::CONNECTION) && head.len() == head.keys_len() {
        head.remove(CONNECTION)
    } else {
        None
    }
}

/// Puts the line back into a head that is left as it was.
pub(crate) fn restore_line(head: &mut HeaderMap, line: Option<HeaderValue>) {
    if let Some(line) = line {
        head.insert(CONNECTION, line);
    }
}

/// Whether there is nothing to strip but a `Connection` that asks to be kept, which is most of HTTP/1.
#[inline]
pub(crate) fn says_keep_alive_only(
    found: FieldSet,
    line: Option<&HeaderValue>,
    policy: &Policy,
) -> bool {
    found.without(FieldSet::CONNECTION).is_harmless()
        && line.is_some_and(|line| matches!(line.as_bytes(), b"keep-alive" | b"Keep-Alive"))
        && policy.extra_names().is_empty()
        && policy.option_limit() != Some(0)
}

// ===== impl Nominations =====

impl Nominations {
    /// The nominations of a head that has not been stripped.
    #[must_use]
    pub fn of(head: &HeaderMap) -> Self {
        Self(head.get_all(CONNECTION).iter().cloned().collect())
    }

    /// Whether nothing is nominated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.options().next().is_none()
    }

    /// Whether this name is nominated, and may be under this policy.
    pub(crate) fn apply_to(&self, name: &HeaderName, policy: &Policy) -> bool {
        let name = name.as_str().as_bytes();
        self.options()
            .any(|option| option.eq_ignore_ascii_case(name))
            && !matches!(Kind::of(name, policy), Kind::Protected)
    }

    fn options(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flat_map(|line| members(line.as_bytes()))
    }
}

impl fmt::Debug for Nominations {
    /// Only what can be a name: the rest of the lines could be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.options().filter(|option| is_token(option));
        f.debug_set()
            .entries(names.map(String::from_utf8_lossy))
            .finish()
    }
}

// ===== impl Options =====

impl Options {
    /// Reads all options: those of the line that was [taken](take_line) out of the head, or else those
    /// of the head.
    pub(crate) fn read(
        head: &HeaderMap,
        taken: Option<&HeaderValue>,
        policy: &Policy,
    ) -> Result<Self, RejectReason> {
        match taken {
            Some(line) => Self::collect(members(line.as_bytes()), policy),
            None => Self::collect(connection_options(head), policy),
        }
    }

    fn collect<'a>(
        all: impl Iterator<Item = &'a [u8]>,
        policy: &Policy,
    ) -> Result<Self, RejectReason> {
        let mut options = Self::default();
        let limit = policy.option_limit().unwrap_or(u32::MAX);
        for (count, option) in (1u32..).zip(all) {
            if count > limit {
                return Err(RejectReason::TooManyOptions);
            }
            options.add(option, policy)?;
        }
        Ok(options)
    }

    fn add(&mut self, option: &[u8], policy: &Policy) -> Result<(), RejectReason> {
        match Kind::of(option, policy) {
            Kind::Known(field) => self.known = self.known.or(field),
            Kind::Name => {
                self.others = true;
                self.report.add_nominated(option);
            }
            Kind::Protected => {
                if policy.protected_rule() == ProtectedNames::Reject {
                    // A protected name is a valid one.
                    return Err(HeaderName::from_bytes(option)
                        .map_or(RejectReason::MalformedOption, RejectReason::ProtectedName));
                }
                self.report.add_protected(option);
            }
            Kind::Malformed => {
                if policy.malformed_rule() == MalformedOptions::Reject {
                    return Err(RejectReason::MalformedOption);
                }
                self.report.malformed += 1;
            }
        }
        Ok(())
    }

    /// Removes every nominated field that is not well known, and keeps what trailers need to know.
    pub(crate) fn remove_from(
        self,
        headers: &mut HeaderMap,
        taken: Option<HeaderValue>,
        policy: &Policy,
    ) -> (StripReport, Nominations) {
        let unusual = self.known.without(policy.stripped().or(FieldSet::CLOSE));
        if !self.others && unusual.is_empty() {
            return (self.report, Nominations::default());
        }
        let nominations = match taken {
            Some(line) => Nominations(Box::new([line])),
            None => Nominations::of(headers),
        };
        for option in nominations.options() {
            if let (Kind::Name, Ok(name)) = (Kind::of(option, policy), std::str::from_utf8(option))
            {
                headers.remove(name);
            }
        }
        (self.report, nominations)
    }
}
