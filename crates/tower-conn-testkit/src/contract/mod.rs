//! What every layer and every body wrapper of the workspace keeps, one function per contract.
//!
//! A crate's `tests/contract.rs` calls them with its own layers:
//!
//! ```
//! use tower::layer::layer_fn;
//! use tower_conn_testkit::contract::{
//!     assert_body_forwarding, assert_layer_contract, assert_layer_forwards_bodies,
//! };
//! # #[derive(Clone, Debug)] struct XLayer;
//! # impl<S> tower::Layer<S> for XLayer { type Service = S; fn layer(&self, inner: S) -> S { inner } }
//!
//! #[tokio::test(start_paused = true)]
//! # async fn hidden() {}
//! async fn x_keeps_the_contract() {
//!     assert_layer_contract(XLayer).await;
//!     assert_layer_forwards_bodies(XLayer).await;
//!     assert_body_forwarding(|body| body);
//! }
//! # fn main() {
//! #     tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(x_keeps_the_contract());
//! # }
//! ```
//!
//! Where a layer differs for a reason, the builders [`LayerContract`], [`LayerBodies`] and [`BodyContract`] take the
//! difference as an option, so that a test says what its layer does not promise.

mod body;
mod checks;
mod drive;
mod forward;
mod layer;
mod rules;
mod task;

pub use self::{
    body::{BodyContract, assert_body_forwarding},
    forward::{LayerBodies, Relay, assert_layer_forwards_bodies},
    layer::{Answer, AnyInner, CloneInner, LayerContract, assert_layer_contract},
    rules::BodyRules,
};
