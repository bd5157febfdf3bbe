//! Clients that others have written, against the gateway and the axum and hyper examples: how many
//! requests, answers, bytes and connections each came to.
//!
//! A test whose tool is missing says so and passes; `.ci/run` installs the tools.

#[path = "../support/mod.rs"]
mod support;

mod ab;
mod curl;
mod go;
mod grpc;
mod h2load;
mod node;
mod pipelining;
mod python;
mod server;
mod tools;
mod upstream;
mod websocket;
mod wrk;
