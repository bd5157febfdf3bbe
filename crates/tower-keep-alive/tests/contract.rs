//! What every layer owes its users, checked by the testkit.

use std::time::Duration;

use tower_conn_testkit::contract::{assert_layer_contract, assert_layer_forwards_bodies};
use tower_keep_alive::{Advertise, KeepAliveLayer};

#[tokio::test(start_paused = true)]
async fn the_default_layer_keeps_the_contract() {
    assert_layer_contract(KeepAliveLayer::new()).await;
    assert_layer_forwards_bodies(KeepAliveLayer::new()).await;
}

#[tokio::test(start_paused = true)]
async fn a_configured_layer_keeps_the_contract() {
    let layer = || {
        KeepAliveLayer::new()
            .advertise(Advertise::Always)
            .idle_timeout(Duration::from_secs(75))
            .on_decision(|_, _: Option<&_>| {})
    };
    assert_layer_contract(layer()).await;
    assert_layer_forwards_bodies(layer()).await;
}
