//! What every layer of the workspace keeps.

use std::num::NonZeroUsize;

use http::HeaderName;
use tower_conn_testkit::contract::{LayerBodies, LayerContract};
use tower_conn_testkit::service::TestError;
use tower_pipeline_guard::{EchoGuardLayer, EchoMismatch, Pipeline, PipelineGuardLayer};

fn guard(parallel: usize) -> PipelineGuardLayer {
    let parallel = NonZeroUsize::new(parallel).expect("not zero");
    Pipeline::new()
        .parallel(parallel)
        .wrap(tokio::io::empty())
        .1
}

#[tokio::test(start_paused = true)]
async fn the_guard_keeps_the_contract() {
    for parallel in [1, 8] {
        LayerContract::new(guard(parallel))
            .inner_must_be_clone()
            .check()
            .await;
        LayerBodies::new(guard(parallel)).check().await;
    }
}

struct EchoError(u32);

impl TestError for EchoError {
    fn new(id: u32) -> Self {
        Self(id)
    }

    fn id(&self) -> u32 {
        self.0
    }
}

impl From<EchoMismatch> for EchoError {
    fn from(_: EchoMismatch) -> Self {
        Self(u32::MAX)
    }
}

#[tokio::test(start_paused = true)]
async fn the_echo_guard_keeps_the_contract() {
    let layer = EchoGuardLayer::new(HeaderName::from_static("x-request-id"));
    LayerContract::new(layer).error::<EchoError>().check().await;
}
