//! axum's types under this server.

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

impl<I, A> Service<IncomingStream<'_, I, A>> for Router<()> {
    type Response = Self;
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: IncomingStream<'_, I, A>) -> Self::Future {
        // As axum::serve does it: the state is put in once, not for each request.
        ready(Ok(self.clone().with_state(())))
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
        ready(Ok(self.clone().with_state(())))
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
