//! When a server stops.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at SIGTERM or Ctrl-C; from the call on, neither ends the process.
pub(crate) fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
