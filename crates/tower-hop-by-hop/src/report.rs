//! What a strip did to a message.

use http::HeaderName;

use crate::fields::FieldSet;

/// How many names of a kind a report holds; more are counted only.
const NAMES: usize = 16;

/// What was taken out of a message, by name. Values are never kept.
///
/// The layers put a report into the extensions of the request and of the response when it is
/// [notable](Self::is_notable), and hand every one that is not empty to the [hook](crate::OnStrip).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StripReport {
    pub(crate) removed: FieldSet,
    pub(crate) nominated: NameList,
    pub(crate) protected: NameList,
    pub(crate) malformed: u32,
    pub(crate) extra: u32,
}

/// The first names of many, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameList {
    names: Vec<HeaderName>,
    count: u32,
}

// ===== impl StripReport =====

impl StripReport {
    /// The well-known hop-by-hop fields that were removed or rewritten.
    #[must_use]
    pub const fn removed(&self) -> FieldSet {
        self.removed
    }

    /// Names that options nominated and that were looked up and removed, in order; the first 16.
    #[must_use]
    pub fn nominated(&self) -> &[HeaderName] {
        &self.nominated.names
    }

    /// How many options nominated a field that is not well known.
    #[must_use]
    pub const fn nominated_count(&self) -> u32 {
        self.nominated.count
    }

    /// Protected names that options nominated, without effect; the first 16. No honest client does this.
    #[must_use]
    pub fn protected(&self) -> &[HeaderName] {
        &self.protected.names
    }

    /// How many options nominated a protected name.
    #[must_use]
    pub const fn protected_count(&self) -> u32 {
        self.protected.count
    }

    /// How many `Connection` members were not tokens.
    #[must_use]
    pub const fn malformed_count(&self) -> u32 {
        self.malformed
    }

    /// How many of the policy's [extra names](crate::Policy::extra) were there and removed.
    #[must_use]
    pub const fn extra_count(&self) -> u32 {
        self.extra
    }

    /// Whether the strip found nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.extra == 0 && !self.is_notable()
    }

    /// Whether the sender said anything out of the ordinary: it nominated a field of its own or a
    /// protected one, or something that is no name.
    #[must_use]
    pub const fn is_notable(&self) -> bool {
        self.nominated.count != 0 || self.protected.count != 0 || self.malformed != 0
    }
}

// ===== impl NameList =====

impl NameList {
    pub(crate) fn push(&mut self, option: &[u8]) {
        self.count = self.count.saturating_add(1);
        if self.names.len() < NAMES {
            self.names.extend(HeaderName::from_bytes(option).ok());
        }
    }
}
