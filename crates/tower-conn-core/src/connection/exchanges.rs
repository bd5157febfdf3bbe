//! Exchanges begin and end, and in between the connection is idle.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use http::Extensions;

use super::{Connection, Link};
use crate::{CloseReason, Exchange, ExchangeEvent};

impl Connection {
    /// Begins an exchange.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the connection has been closed, for instance by an idle limit that was first.
    /// A connection that is only asked to close still takes the requests that reach it.
    #[inline]
    pub fn begin(&self) -> Result<Exchange, Closed> {
        self.link.begin()
    }

    /// Begins the exchange of the request with these extensions, unless an outer layer already has.
    ///
    /// `None` if the request carries no connection, if its exchange has begun before, or if the
    /// connection is closed. Layers that count exchanges use this, so that stacking them counts once.
    pub fn begin_once(extensions: &mut Extensions) -> Option<Exchange> {
        let connection = Self::of_mut(extensions)?;
        if connection.exchange.is_some() {
            return None;
        }
        let exchange = connection.begin().ok()?;
        connection.exchange = exchange.connection().exchange;
        Some(exchange)
    }

    /// The number of the exchange that this handle was found on, from 1; `None` for a handle that
    /// does not come from the extensions of a request whose exchange has begun.
    #[must_use]
    #[inline]
    pub fn exchange_number(&self) -> Option<NonZeroU32> {
        self.exchange
    }

    /// How many exchanges have begun, modulo 2^32.
    #[must_use]
    #[inline]
    pub fn exchanges_begun(&self) -> u32 {
        self.inner().state.load().begun()
    }

    /// How many exchanges have ended, modulo 2^32.
    #[must_use]
    pub fn exchanges_finished(&self) -> u32 {
        let word = self.inner().state.load();
        word.begun().wrapping_sub(word.open())
    }

    /// How many exchanges are open now.
    #[must_use]
    #[inline]
    pub fn exchanges_open(&self) -> u32 {
        self.inner().state.load().open()
    }

    #[inline]
    pub(crate) fn end(&self, number: u32) {
        if self.inner().state.end() {
            self.inner().stamp_idle();
        }
        if let Some(observer) = self.inner().observer() {
            observer.on_exchange(self, ExchangeEvent::Ended { number });
        }
    }

    // ===== idleness =====

    /// Whether no exchange is open and no byte of a next head has been delivered. A head that was
    /// [delivered whole](Self::head_delivered) counts from when its exchange begins.
    #[must_use]
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.inner().state.load().is_idle()
    }

    /// How long no exchange has been open; `None` while one is.
    #[must_use]
    pub fn idle_for(&self) -> Option<Duration> {
        self.inner().idle_for()
    }

    /// Notes that a byte of a next message head was delivered, so that the connection is not idle
    /// any more. `false` if the connection was closed first: then the byte must not be delivered.
    ///
    /// [`begin`](Self::begin) takes over from here.
    #[must_use]
    pub fn head_started(&self) -> bool {
        self.inner().state.receive()
    }

    /// Notes that a whole head was delivered, whose exchange begins next: one relaxed store. `false`
    /// if the connection is closed: then the head must not be delivered.
    ///
    /// For the driver itself, who does not look for idleness between the two.
    /// [`idle_for`](Self::idle_for) is `None` from now on, so that limits which are watched from
    /// outside leave the connection alone; one that was faster has
    /// [asked](Self::request_close_if_idle) for a close after the exchange.
    #[must_use]
    #[inline]
    pub fn head_delivered(&self) -> bool {
        self.link.head_delivered()
    }

    /// Takes back [`head_started`](Self::head_started): what was delivered was no head, and the idle
    /// time goes on as if it had not been.
    pub fn head_abandoned(&self) {
        self.inner().state.unreceive();
    }

    /// Has the idle time start anew, unless an exchange is open: something that is no exchange kept
    /// the connection busy until now, the opening of HTTP/2 for instance.
    pub fn restart_idle(&self) {
        if self.exchanges_open() == 0 {
            self.inner().stamp_idle();
        }
    }
}

impl Link {
    /// Begins an exchange.
    ///
    /// # Errors
    ///
    /// As [`Connection::begin`].
    #[inline]
    pub fn begin(&self) -> Result<Exchange, Closed> {
        match self.inner.state.begin() {
            Ok(number) => {
                self.inner.stamp_busy();
                let exchange = Exchange::new(Connection {
                    link: self.clone(),
                    exchange: NonZeroU32::new(number),
                });
                if let Some(observer) = self.inner.observer() {
                    observer.on_exchange(exchange.connection(), ExchangeEvent::Begun { number });
                }
                Ok(exchange)
            }
            Err(word) => Err(Closed {
                reason: word.reason(),
            }),
        }
    }
}

/// The connection is closed: no exchange can begin on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    reason: Option<CloseReason>,
}

impl Closed {
    /// Why it was closed; `None` only if more exchanges are open at once than can be counted (2^19).
    #[must_use]
    pub const fn reason(&self) -> Option<CloseReason> {
        self.reason
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Some(reason) => write!(f, "the connection is closed ({reason})"),
            None => f.write_str("too many exchanges are open on the connection"),
        }
    }
}

impl std::error::Error for Closed {}
