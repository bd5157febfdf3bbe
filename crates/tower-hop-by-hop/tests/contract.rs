//! Every layer keeps the contract that tower and axum users expect.

use bytes::Bytes;
use http::header::MAX_FORWARDS;
use http::{HeaderMap, HeaderValue};
use tower_conn_testkit::body::{BodyRules, assert_body_forwarding};
use tower_conn_testkit::contract::{assert_layer_contract, assert_layer_forwards_bodies};
use tower_hop_by_hop::{
    HopByHopLayer, MaxForwardsLayer, StripRequestLayer, StripResponseLayer, ViaLayer,
};

#[tokio::test(start_paused = true)]
async fn hop_by_hop() {
    assert_layer_contract(HopByHopLayer::gateway()).await;
    assert_layer_forwards_bodies(HopByHopLayer::gateway()).await;
}
