//! Every layer keeps the contract that tower and axum users expect.

use http::HeaderMap;
use tower_conn_testkit::body::ScriptedBody;
use tower_conn_testkit::contract::{
    BodyRules, LayerBodies, assert_layer_contract, assert_layer_forwards_bodies,
};
use tower_hop_by_hop::{
    HopByHopLayer, LoopGuardLayer, MaxForwardsLayer, StripEvent, StripRequestLayer,
    StripResponseLayer, ViaLayer,
};

#[tokio::test(start_paused = true)]
async fn hop_by_hop() {
    assert_layer_contract(HopByHopLayer::gateway()).await;
    assert_layer_forwards_bodies(HopByHopLayer::gateway()).await;
    let hooked = HopByHopLayer::gateway().on_strip(|_: StripEvent<'_>| {});
    assert_layer_contract(hooked).await;
}

#[tokio::test(start_paused = true)]
async fn one_direction() {
    assert_layer_contract(StripRequestLayer::gateway()).await;
    assert_layer_forwards_bodies(StripRequestLayer::gateway()).await;
    assert_layer_contract(StripResponseLayer::gateway()).await;
    assert_layer_forwards_bodies(StripResponseLayer::gateway()).await;
}

#[tokio::test(start_paused = true)]
async fn via_and_max_forwards() {
    let via = ViaLayer::new("edge").expect("a pseudonym").responses(true);
    assert_layer_contract(via.clone()).await;
    assert_layer_forwards_bodies(via).await;
    let guard = LoopGuardLayer::new("edge").expect("a pseudonym");
    assert_layer_contract(guard.clone()).await;
    assert_layer_forwards_bodies(guard).await;
    assert_layer_contract(MaxForwardsLayer::new()).await;
    assert_layer_forwards_bodies(MaxForwardsLayer::new()).await;
}

/// A nominated trailer goes, in whatever pieces the body comes.
#[tokio::test(start_paused = true)]
async fn bodies_lose_nominated_trailers_only() {
    let rules = BodyRules::new().trailers(|mut trailers: HeaderMap| {
        trailers.remove("x-sum");
        (!trailers.is_empty()).then_some(trailers)
    });
    LayerBodies::new(HopByHopLayer::gateway())
        .request(|body| {
            http::Request::post("/")
                .header("connection", "x-sum")
                .header("transfer-encoding", "chunked")
                .body(body)
                .expect("valid")
        })
        .response(|body: ScriptedBody| {
            http::Response::builder()
                .header("connection", "close, x-sum")
                .body(body)
                .expect("valid")
        })
        .request_rules(rules.clone())
        .response_rules(rules)
        .check()
        .await;
}

/// `Debug` of a hooked layer needs a hook that has it; nothing else does.
#[test]
fn closures_are_hooks() {
    fn assert_layer<L: tower::Layer<()> + Clone + Send + Sync + 'static>(_: &L) {}
    assert_layer(&HopByHopLayer::gateway().on_strip(|_: StripEvent<'_>| {}));
}
