//! The layer keeps tower's contracts and forwards bodies.

use http::Request;
use tower_conn_core::Connection;
use tower_conn_testkit::contract::{
    LayerBodies, LayerContract, assert_layer_contract, assert_layer_forwards_bodies,
};
use tower_idle_reaper::{IdleReaper, Policy, ReapLayer};

#[tokio::test(start_paused = true)]
async fn without_a_connection() {
    assert_layer_contract(ReapLayer::new()).await;
    assert_layer_forwards_bodies(ReapLayer::new()).await;
}

#[tokio::test(start_paused = true)]
async fn on_a_connection_of_its_own() {
    let layer = ReapLayer::of(Connection::server());
    assert_layer_contract(layer.clone()).await;
    assert_layer_forwards_bodies(layer).await;
}

#[tokio::test(start_paused = true)]
async fn on_a_connection_of_a_reaper() {
    let reaper = IdleReaper::new(Policy::safe());
    let (near, _far) = tokio::io::duplex(64);
    let io = reaper.wrap(near, None);
    let connection = io.connection();
    LayerContract::new(ReapLayer::new())
        .request({
            let connection = connection.clone();
            move || {
                let mut request = Request::new(Default::default());
                request.extensions_mut().insert(connection.clone());
                request
            }
        })
        .check()
        .await;
    LayerBodies::new(ReapLayer::new())
        .request(move |body| {
            let mut request = Request::new(body);
            request.extensions_mut().insert(connection.clone());
            request
        })
        .check()
        .await;
    assert!(io.connection().is_idle(), "every exchange has ended");
    assert!(io.connection().exchanges_finished() > 0);
}

#[test]
fn auto_traits() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + Unpin + 'static>() {}
    shared::<IdleReaper>();
    shared::<ReapLayer>();
    shared::<tower_idle_reaper::ReapHandle>();
    shared::<Policy>();
    sent::<tower_idle_reaper::ReapedIo<tokio::io::DuplexStream>>();
    sent::<tower_idle_reaper::KeepOpen>();
}
