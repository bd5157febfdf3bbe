//! The layers as methods of `tower::ServiceBuilder`.

use tower::ServiceBuilder;
#[cfg(feature = "idle-reaper")]
use tower_conn_core::Connection;
#[cfg(feature = "hop-by-hop")]
use tower_hop_by_hop::{
    HopByHopLayer, LoopGuardLayer, MaxForwardsLayer, Policy, StripRequestLayer, StripResponseLayer,
    ViaEntry, ViaLayer,
};
#[cfg(feature = "idempotent-retry")]
use tower_idempotent_retry::{IdempotencyKeyLayer, RetryLayer};
#[cfg(feature = "idle-reaper")]
use tower_idle_reaper::ReapLayer;
#[cfg(feature = "keep-alive")]
use tower_keep_alive::KeepAliveLayer;
#[cfg(all(feature = "keep-alive", feature = "hyper-util"))]
use tower_keep_alive::{KeepAliveHintLayer, ReusePolicy};
#[cfg(feature = "pipeline-guard")]
use tower_pipeline_guard::{EchoGuardLayer, PipelineGuardLayer};

/// Declares a method, and applies the layer, of each row.
macro_rules! layers {
    ($($(#[$meta:meta])* $name:ident($($arg:ident: $ty:ty)?) -> $layer:ty = $value:expr;)+) => {
        /// The layers as methods of [`ServiceBuilder`].
        ///
        /// Each takes what its layer cannot do without. A layer with options set goes in by
        /// [`ServiceBuilder::layer`], in the same place: the order is in the [crate docs](crate).
        ///
        /// ```
        /// # #[cfg(all(feature = "hop-by-hop", feature = "keep-alive"))] {
        /// use bytes::Bytes;
        /// use http::{Request, Response, StatusCode};
        /// use http_body_util::{Empty, Full};
        /// use tower::{ServiceBuilder, ServiceExt, service_fn};
        /// use tower_conn::ServiceBuilderExt;
        /// use tower_conn::hop_by_hop::{HopByHopBody, Policy, ViaEntry};
        /// use tower_conn::keep_alive::RequestBody;
        ///
        /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
        /// type Received = HopByHopBody<RequestBody<Empty<Bytes>>>;
        ///
        /// let service = ServiceBuilder::new()
        ///     .keep_alive()
        ///     .max_forwards()
        ///     .hop_by_hop(Policy::gateway())
        ///     .loop_guard(ViaEntry::new("gateway")?)
        ///     .via(ViaEntry::new("gateway")?)
        ///     .service(service_fn(async |request: Request<Received>| {
        ///         assert_eq!(request.headers()["via"], "1.1 gateway");
        ///         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
        ///     }));
        /// let response = service.clone().oneshot(Request::new(Empty::new())).await?;
        /// assert!(response.headers().is_empty());
        ///
        /// // What has been here before goes no further.
        /// let again = Request::builder().header("via", "1.1 gateway, 1.1 other").body(Empty::new())?;
        /// assert_eq!(service.oneshot(again).await?.status(), StatusCode::LOOP_DETECTED);
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// # }).unwrap();
        /// # }
        /// ```
        pub trait ServiceBuilderExt<L>: sealed::Sealed<L> + Sized {
            $($(#[$meta])* fn $name(self $(, $arg: $ty)?) -> ServiceBuilder<tower::layer::util::Stack<$layer, L>>;)+
        }

        impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {
            $($(#[$meta])* fn $name(self $(, $arg: $ty)?) -> ServiceBuilder<tower::layer::util::Stack<$layer, L>> {
                self.layer($value)
            })+
        }
    };
}

layers! {
    /// Runs pipelined safe requests in parallel, answers in order. The layer comes with its
    /// transport, from [`Pipeline::wrap`](tower_pipeline_guard::Pipeline::wrap), and goes outermost.
    #[cfg(feature = "pipeline-guard")]
    pipeline_guard(guard: PipelineGuardLayer) -> PipelineGuardLayer = guard;

    /// Compares a request id that the server sends back; see [`EchoGuardLayer::new`].
    #[cfg(feature = "pipeline-guard")]
    echo_guard(name: http::HeaderName) -> EchoGuardLayer = EchoGuardLayer::new(name);

    /// Tells the reaper which connections are busy, for requests that carry their connection; see
    /// [`ReapLayer::new`].
    #[cfg(feature = "idle-reaper")]
    reap() -> ReapLayer = ReapLayer::new();

    /// Tells the reaper that this connection is busy, and puts its handle on each request; see
    /// [`ReapLayer::of`].
    #[cfg(feature = "idle-reaper")]
    reap_connection(connection: Connection) -> ReapLayer = ReapLayer::of(connection);

    /// HTTP persistence by the rules, without limits; see [`KeepAliveLayer::new`].
    #[cfg(feature = "keep-alive")]
    keep_alive() -> KeepAliveLayer = KeepAliveLayer::new();

    /// Gives up connections of hyper-util's legacy client before their servers do; see
    /// [`KeepAliveHintLayer::new`].
    #[cfg(all(feature = "keep-alive", feature = "hyper-util"))]
    keep_alive_hints(policy: ReusePolicy) -> KeepAliveHintLayer = KeepAliveHintLayer::new(policy);

    /// Counts `Max-Forwards` down and answers at 0; see [`MaxForwardsLayer::new`].
    #[cfg(feature = "hop-by-hop")]
    max_forwards() -> MaxForwardsLayer = MaxForwardsLayer::new();

    /// Strips what belongs to one hop from requests and responses; see [`HopByHopLayer::new`].
    #[cfg(feature = "hop-by-hop")]
    hop_by_hop(policy: Policy) -> HopByHopLayer = HopByHopLayer::new(policy);

    /// Strips requests only; see [`StripRequestLayer::new`].
    #[cfg(feature = "hop-by-hop")]
    strip_requests(policy: Policy) -> StripRequestLayer = StripRequestLayer::new(policy);

    /// Strips responses only, as around a client; see [`StripResponseLayer::new`].
    #[cfg(feature = "hop-by-hop")]
    strip_responses(policy: Policy) -> StripResponseLayer = StripResponseLayer::new(policy);

    /// Answers 508 to what has been here before, by `Via`; see [`LoopGuardLayer`]. Goes outside of
    /// [`via`](Self::via).
    #[cfg(feature = "hop-by-hop")]
    loop_guard(entry: ViaEntry) -> LoopGuardLayer = LoopGuardLayer::from(entry);

    /// Adds this hop to the `Via` of requests; see [`ViaLayer`].
    #[cfg(feature = "hop-by-hop")]
    via(entry: ViaEntry) -> ViaLayer = ViaLayer::from(entry);

    /// Adds an `Idempotency-Key` to requests that are not idempotent; see [`IdempotencyKeyLayer`].
    /// Goes outside of the retries.
    #[cfg(feature = "idempotent-retry")]
    idempotency_key() -> IdempotencyKeyLayer = IdempotencyKeyLayer::new();

    /// Retries as the client at the origin of requests; see [`RetryLayer::client`].
    #[cfg(feature = "idempotent-retry")]
    retry_as_client() -> RetryLayer = RetryLayer::client();

    /// Retries as an intermediary may; see [`RetryLayer::proxy`].
    #[cfg(feature = "idempotent-retry")]
    retry_as_proxy() -> RetryLayer = RetryLayer::proxy();

    /// Retries after a stale connection only; see [`RetryLayer::stale_only`].
    #[cfg(feature = "idempotent-retry")]
    retry_stale_only() -> RetryLayer = RetryLayer::stale_only();

    /// Retries by RFC 9110 section 9.2.2 to the letter; see [`RetryLayer::rfc_strict`].
    #[cfg(feature = "idempotent-retry")]
    retry_rfc_strict() -> RetryLayer = RetryLayer::rfc_strict();
}

mod sealed {
    use tower::ServiceBuilder;

    #[allow(unreachable_pub, unnameable_types)]
    pub trait Sealed<L> {}

    impl<L> Sealed<L> for ServiceBuilder<L> {}
}
