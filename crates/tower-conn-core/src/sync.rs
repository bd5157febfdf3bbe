//! Atomics and the waker cell, swapped for loom's when the handle is model-checked.

#[cfg(not(tower_conn_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(tower_conn_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use std::task::Waker;

/// One slot for the waker of whoever drives the connection.
#[derive(Debug, Default)]
pub(crate) struct WakerCell {
    #[cfg(not(tower_conn_loom))]
    cell: atomic_waker::AtomicWaker,
    #[cfg(tower_conn_loom)]
    cell: loom::future::AtomicWaker,
}

impl WakerCell {
    pub(crate) fn register(&self, waker: &Waker) {
        #[cfg(not(tower_conn_loom))]
        self.cell.register(waker);
        #[cfg(tower_conn_loom)]
        self.cell.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        self.cell.wake();
    }
}
