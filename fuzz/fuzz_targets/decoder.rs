//! The response decoder of `tower-pipeline-guard` against hyper's client, on the same bytes: never more
//! lenient, never another message.
//!
//! The first byte chooses the method of the request that is answered.

#![no_main]

#[path = "../../crates/tower-pipeline-guard/tests/differential/compare.rs"]
mod compare;

use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let method = match choice % 4 {
        0 => Method::HEAD,
        1 => Method::POST,
        _ => Method::GET,
    };
    compare::compare(&method, stream);
});
