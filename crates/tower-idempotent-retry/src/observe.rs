//! Watching decisions.

use http::{Method, Uri};

use crate::decide::Decision;
use crate::evidence::Evidence;

/// One attempt has ended, or takes too long, and this was decided.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// The target of the request.
    pub uri: &'a Uri,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// What is known of the attempt.
    pub evidence: Evidence,
    /// Whether the connection had carried exchanges before; `None` if that is not known.
    pub reused: Option<bool>,
    /// What was decided.
    pub decision: Decision,
}

/// Sees every decision, also that of accepting a response.
///
/// `()` sees nothing; a closure sees the events it is called with. It is called in the task that
/// polls the response future, so it must not block.
pub trait Observe {
    /// An attempt was decided on. Requests marked [`NoRetry`](crate::NoRetry) are not reported.
    fn on_decision(&self, event: &Event<'_>);
}

impl Observe for () {
    fn on_decision(&self, _: &Event<'_>) {}
}

impl<F: Fn(&Event<'_>)> Observe for F {
    fn on_decision(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Records retries as `tracing` events at debug level, and failures that are not retried at trace level.
#[cfg(feature = "tracing")]
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceDecisions;

#[cfg(feature = "tracing")]
impl Observe for TraceDecisions {
    fn on_decision(&self, event: &Event<'_>) {
        use crate::decide::StopReason;

        match &event.decision {
            Decision::Retry(retry) => tracing::debug!(
                method = %event.method,
                uri = %event.uri,
                retry.attempt = event.attempt,
                retry.reason = %retry.reason,
                retry.delay = ?retry.delay,
                retry.fresh = retry.fresh,
                evidence = ?event.evidence,
                connection.reused = event.reused,
                "sending the request again"
            ),
            Decision::Stop(StopReason::Accepted) => {}
            Decision::Stop(reason) => tracing::trace!(
                method = %event.method,
                uri = %event.uri,
                retry.attempt = event.attempt,
                retry.stopped = %reason,
                evidence = ?event.evidence,
                connection.reused = event.reused,
                "not sending the request again"
            ),
        }
    }
}
