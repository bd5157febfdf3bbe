//! Watching what is stripped and refused.

use crate::rejection::{Message, Rejection};
use crate::report::StripReport;

/// Something that a layer did to a message.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum StripEvent<'a> {
    /// Fields were removed, or an attempt to have some removed was ignored; the message goes on.
    Stripped {
        /// Which message.
        message: Message,
        /// What was found, never empty.
        report: &'a StripReport,
    },
    /// The message was refused.
    Rejected(&'a Rejection),
}

/// A hook that the layers call for each message that they change or refuse.
///
/// `()` does nothing, and any `Fn(StripEvent<'_>)` will do. It runs on the request path: count, do not
/// wait. A nomination of a protected name ([`StripReport::protected`]) is the signature of an attack and
/// worth an alert.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower_hop_by_hop::{HopByHopLayer, StripEvent};
///
/// let attacks = Arc::new(AtomicU32::new(0));
/// let seen = Arc::clone(&attacks);
/// let layer = HopByHopLayer::gateway().on_strip(move |event: StripEvent<'_>| {
///     if let StripEvent::Stripped { report, .. } = event {
///         seen.fetch_add(report.protected_count(), Ordering::Relaxed);
///     }
/// });
/// # let _ = layer;
/// ```
pub trait OnStrip {
    /// Called before the message goes on, or before the refusal is sent.
    fn on_strip(&self, event: StripEvent<'_>);
}

impl OnStrip for () {
    #[inline]
    fn on_strip(&self, _: StripEvent<'_>) {}
}

impl<F: Fn(StripEvent<'_>)> OnStrip for F {
    fn on_strip(&self, event: StripEvent<'_>) {
        self(event);
    }
}

/// A hook that logs to `tracing`: refusals and nominations of protected names at `WARN`, everything
/// else at `DEBUG`. Names only, never values.
///
/// ```
/// use tower_hop_by_hop::{HopByHopLayer, TracingHook};
///
/// let layer = HopByHopLayer::gateway().on_strip(TracingHook::new());
/// # let _ = layer;
/// ```
#[cfg(feature = "tracing")]
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TracingHook;

#[cfg(feature = "tracing")]
impl TracingHook {
    /// The hook.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[cfg(feature = "tracing")]
impl OnStrip for TracingHook {
    fn on_strip(&self, event: StripEvent<'_>) {
        match event {
            StripEvent::Stripped { message, report } if report.protected_count() > 0 => {
                tracing::warn!(
                    ?message,
                    protected = ?report.protected(),
                    count = report.protected_count(),
                    "Connection nominates protected fields"
                );
            }
            StripEvent::Stripped { message, report } => {
                tracing::debug!(
                    ?message,
                    removed = ?report.removed(),
                    nominated = ?report.nominated(),
                    malformed = report.malformed_count(),
                    "hop-by-hop fields stripped"
                );
            }
            StripEvent::Rejected(rejection) => {
                tracing::warn!(
                    message = ?rejection.message(),
                    status = rejection.status().as_u16(),
                    reason = rejection.reason().as_str(),
                    "message refused"
                );
            }
        }
    }
}
