//! axum's types under this server.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::routing::MethodRouter;
use tower_conn_core::Connection;
use tower_service::Service;

use crate::IncomingStream;

/// Puts the state into a router, once. Left to the requests, each would do it again; and `axum::serve`
/// does it for each connection, which then has routes of its own.
pub(crate) fn prepare<M: Any>(make_service: &mut M) {
    let make_service: &mut dyn Any = make_service;
    if let Some(router) = make_service.downcast_mut::<Router<()>>() {
        *router = std::mem::take(router).with_state(());
    } else if let Some(router) = make_service.downcast_mut::<MethodRouter<()>>() {
        *router = std::mem::take(router).with_state(());
    }
}

impl<I, A> Service<IncomingStream<'_, I, A>> for Router<()> {
    type Response = Self;
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: IncomingStream<'_, I, A>) -> Self::Future {
        ready(Ok(self.clone()))
    }
}

impl<I, A> Service<IncomingStream<'_, I, A>> for MethodRouter<()> {
    type Response = Self;
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: IncomingStream<'_, I, A>) -> Self::Future {
        ready(Ok(self.clone()))
    }
}

impl<I> Connected<IncomingStream<'_, I, Self>> for SocketAddr {
    fn connect_info(stream: IncomingStream<'_, I, Self>) -> Self {
        *stream.remote_addr()
    }
}

impl<I, A> Connected<IncomingStream<'_, I, A>> for Connection {
    fn connect_info(stream: IncomingStream<'_, I, A>) -> Self {
        stream.connection().clone()
    }
}
