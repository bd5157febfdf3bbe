//! What happened, and what must not have.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Kept by both ends of all exchanges.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    violations: Mutex<Vec<String>>,
    /// How often the upstream was asked for each id.
    executions: Mutex<HashMap<u64, u32>>,
    pub(crate) tally: Tally,
}

/// How many exchanges came to what.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests that a client has begun to send.
    pub(crate) begun: AtomicUsize,
    /// Answered whole, by the upstream.
    pub(crate) whole: AtomicUsize,
    /// Answered in part, and recognisably so.
    pub(crate) cut: AtomicUsize,
    /// Answered by the gateway, with a 502 or 504.
    pub(crate) refused: AtomicUsize,
    /// Not waited for, by clients that vanish, or behind a response that closed the connection.
    pub(crate) left: AtomicUsize,
    /// Sent again by the gateway, with success or without.
    pub(crate) repeated: AtomicUsize,
    /// Faults that the relay has injected.
    pub(crate) faults: AtomicUsize,
}

impl Tally {
    pub(crate) fn add(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let get = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        write!(
            f,
            "{} exchanges: {} whole, {} cut, {} refused, {} left; {} repeated, {} faults",
            get(&self.begun),
            get(&self.whole),
            get(&self.cut),
            get(&self.refused),
            get(&self.left),
            get(&self.repeated),
            get(&self.faults)
        )
    }
}

impl Ledger {
    /// The upstream was asked for this.
    pub(crate) fn executed(&self, id: u64, method: &str) {
        let mut executions = self.executions.lock().expect("no panic inside");
        let count = executions.entry(id).or_default();
        *count += 1;
        if *count > 1 {
            Tally::add(&self.tally.repeated);
            if method == "POST" {
                self.violation(format!("POST {id} was executed {count} times"));
            }
        }
    }

    pub(crate) fn violation(&self, what: String) {
        let mut violations = self.violations.lock().expect("no panic inside");
        if violations.len() < 20 {
            eprintln!("violation: {what}");
        }
        violations.push(what);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().expect("no panic inside").clone()
    }
}
