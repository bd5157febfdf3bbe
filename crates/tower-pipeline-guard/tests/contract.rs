//! What every layer of the workspace keeps.

use tower_conn_testkit::contract::{LayerBodies, LayerContract};
use tower_pipeline_guard::{Pipeline, PipelineGuardLayer};

fn layer() -> PipelineGuardLayer {
    Pipeline::new().wrap(tokio::io::empty()).1
}

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_contract() {
    LayerContract::new(layer())
        .inner_must_be_clone()
        .check()
        .await;
    LayerBodies::new(layer()).check().await;
}
