//! What types promise to those who compose them.

mod support;

use std::error::Error;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_conn_pool::{Pool, PoolBody, PoolError, PoolEvent, PortBudget, ResponseFuture};

/// A request body that is neither `Sync` nor `Debug`.
struct Plain(#[expect(dead_code, reason = "makes it not Sync")] std::cell::Cell<u8>);

#[test]
fn what_is_shared_and_sent_can_be() {
    fn service<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    fn sent<T: Send + 'static>() {}
    fn body<T: Send + Unpin + Default + std::fmt::Debug + 'static>() {}
    fn error<T: Error + Send + Sync + 'static>() {}
    service::<support::TcpPool>();
    service::<Pool<HttpConnector, Plain>>();
    service::<Pool<HttpConnector, Full<Bytes>, fn(&PoolEvent<'_>)>>();
    service::<PortBudget>();
    sent::<ResponseFuture>();
    body::<PoolBody>();
    error::<PoolError>();
}

#[test]
fn an_error_is_small_to_return() {
    assert_eq!(size_of::<PoolError>(), size_of::<usize>());
}
