//! One request and its response.

use std::num::NonZeroU32;

use http::Extensions;

use crate::{Closed, Connection};

/// One request and its response, from the head received (or sent) to the last byte of the response
/// body.
///
/// A guard: the connection is idle exactly when no exchange is open, and dropping the guard ends
/// it. It rides in the response future first and then in the response body, as
/// [`ExchangeBody`](crate::ExchangeBody). Beginning and ending one is a few atomic operations: no
/// lock, no allocation.
#[derive(Debug)]
#[must_use = "the exchange ends when this is dropped"]
pub struct Exchange {
    /// With the number of this exchange.
    connection: Connection,
}

impl Exchange {
    #[inline]
    pub(crate) const fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Begins an exchange; the same as [`Connection::begin`].
    ///
    /// # Errors
    ///
    /// [`Closed`] if the connection has been closed.
    pub fn begin(connection: &Connection) -> Result<Self, Closed> {
        connection.begin()
    }

    /// Begins the exchange of a request, unless an outer layer has; the same as
    /// [`Connection::begin_once`].
    pub fn begin_once(extensions: &mut Extensions) -> Option<Self> {
        Connection::begin_once(extensions)
    }

    /// The connection it is on; the handle carries the [number](Connection::exchange_number) of the
    /// exchange.
    #[must_use]
    #[inline]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Its number on the connection, from 1, modulo 2^32.
    #[must_use]
    #[inline]
    pub fn number(&self) -> u32 {
        self.connection.exchange_number().map_or(0, NonZeroU32::get)
    }
}

impl Drop for Exchange {
    #[inline]
    fn drop(&mut self) {
        self.connection.end(self.number());
    }
}
