//! What a layer costs per message, one group per crate.
//!
//! `cargo bench --bench layers`; with `-- hop_by_hop` only that group. Allocation counts are printed
//! first: they are exact, times are not.
//!
//! `no_layer` is the service alone, to be taken off the `layer` figures. Comparisons: `nine_names` removes the nine names of Go's `ReverseProxy` from a header map and reads no
//! nominations; `axum_reverse_proxy` is `Rfc9110Layer` of the crate of that name.

#[path = "layers/hop_by_hop.rs"]
mod hop_by_hop;
#[path = "layers/keep_alive.rs"]
mod keep_alive;
#[path = "layers/pipeline_guard.rs"]
mod pipeline_guard;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    hop_by_hop::bench(&mut criterion);
    keep_alive::bench(&mut criterion);
    pipeline_guard::bench(&mut criterion);
    criterion.final_summary();
}
