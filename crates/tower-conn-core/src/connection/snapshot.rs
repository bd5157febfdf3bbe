//! One reading of everything that exchanges and closers change.

#[cfg(doc)]
use super::Connection;
use crate::state::Word;

/// What was true of a [`Connection`] at one moment: one atomic load, for whoever has to look at
/// several of these together. Taken by [`Connection::snapshot`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(pub(super) Word);

impl Snapshot {
    /// How many exchanges had begun, modulo 2^32.
    #[must_use]
    #[inline]
    pub const fn exchanges_begun(self) -> u32 {
        self.0.begun()
    }

    /// How many exchanges were open.
    #[must_use]
    #[inline]
    pub const fn exchanges_open(self) -> u32 {
        self.0.open()
    }

    /// Whether a byte of a next head had been [delivered](Connection::head_started), whose exchange
    /// had not begun.
    #[must_use]
    #[inline]
    pub const fn is_receiving_head(self) -> bool {
        self.0.is_receiving()
    }

    /// Whether no exchange was open and no byte of a next head had been delivered.
    #[must_use]
    #[inline]
    pub const fn is_idle(self) -> bool {
        self.0.is_idle()
    }

    /// Whether it was [idle](Self::is_idle), no close had been asked for, and no
    /// [note](Connection::leave_note) left: whether there was nothing to look at.
    #[must_use]
    #[inline]
    pub const fn is_quiet(self) -> bool {
        self.0.is_quiet()
    }

    /// Whether a [note](Connection::leave_note) had been left and not taken.
    #[must_use]
    #[inline]
    pub const fn is_noted(self) -> bool {
        self.0.is_noted()
    }

    /// Whether a close had been asked for or had happened.
    #[must_use]
    #[inline]
    pub const fn is_closing(self) -> bool {
        self.0.is_closing()
    }

    /// Whether the connection was closed.
    #[must_use]
    #[inline]
    pub const fn is_closed(self) -> bool {
        self.0.is_closed()
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("begun", &self.exchanges_begun())
            .field("open", &self.exchanges_open())
            .field("receiving", &self.is_receiving_head())
            .field("closing", &self.is_closing())
            .field("closed", &self.is_closed())
            .finish()
    }
}
