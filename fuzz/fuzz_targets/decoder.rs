//! The response decoder of `tower-pipeline-guard` against hyper's client, on the same bytes: never more
//! lenient, never another message.
//!
//! The first byte chooses the method of the request that is answered. `corpus/decoder` is replayed by the
//! test `differential` of the crate.

#![no_main]

#[path = "../../crates/tower-pipeline-guard/tests/differential/compare.rs"]
#[allow(dead_code, reason = "the test takes more of it")]
mod compare;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    compare::compare_input(data);
});
