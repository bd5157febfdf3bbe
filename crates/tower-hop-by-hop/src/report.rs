//! What a strip did to a message.

use std::fmt;

use http::HeaderName;

use crate::fields::FieldSet;

/// How many names of a kind a report holds; more are counted only.
const NAMES: usize = 16;

/// What was taken out of a message, by name. Values are never kept.
///
/// The layers put a report into the extensions of the request and of the response when it is
/// [notable](Self::is_notable), and hand every one that is not empty to the [hook](crate::OnStrip).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StripReport {
    pub(crate) removed: FieldSet,
    pub(crate) malformed: u32,
    pub(crate) extra: u32,
    // Apart, because an ordinary message has none.
    named: Option<Box<Named>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Named {
    nominated: NameList,
    protected: NameList,
}

/// The first names of many, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NameList {
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
        self.named
            .as_ref()
            .map_or(&[], |named| &named.nominated.names)
    }

    /// How many options nominated a field that is not well known.
    #[must_use]
    pub fn nominated_count(&self) -> u32 {
        self.named.as_ref().map_or(0, |named| named.nominated.count)
    }

    /// Protected names that options nominated, without effect; the first 16. No honest client does this.
    #[must_use]
    pub fn protected(&self) -> &[HeaderName] {
        self.named
            .as_ref()
            .map_or(&[], |named| &named.protected.names)
    }

    /// How many options nominated a protected name.
    #[must_use]
    pub fn protected_count(&self) -> u32 {
        self.named.as_ref().map_or(0, |named| named.protected.count)
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
        self.named.is_some() || self.malformed != 0
    }

    pub(crate) fn add_nominated(&mut self, option: &[u8]) {
        self.named.get_or_insert_default().nominated.push(option);
    }

    pub(crate) fn add_protected(&mut self, option: &[u8]) {
        self.named.get_or_insert_default().protected.push(option);
    }
}

impl fmt::Debug for StripReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripReport")
            .field("removed", &self.removed)
            .field("nominated", &self.nominated())
            .field("protected", &self.protected())
            .field("malformed", &self.malformed)
            .field("extra", &self.extra)
            .finish_non_exhaustive()
    }
}

// ===== impl NameList =====

impl NameList {
    fn push(&mut self, option: &[u8]) {
        self.count = self.count.saturating_add(1);
        if self.names.len() < NAMES {
            self.names.extend(HeaderName::from_bytes(option).ok());
        }
    }
}
