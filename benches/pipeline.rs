//! Pipelining on one connection.
//!
//! `cargo bench --bench pipeline` prints, for the server: requests per second, CPU time and memory at depth 1
//! to 256 with stock hyper, hyper with `pipeline_flush`, and `tower-pipeline-guard`; memory while a client
//! asks for much and reads nothing; and how long eight pipelined requests of 100 ms take. For the client,
//! through a proxy that delays each direction by half a round trip: one request at a time, a warm pool of as
//! many hyper connections, and one pipelined connection. With `-- server` or `-- client` only these;
//! `-- --test` runs everything once with small numbers.
//!
//! Each server is a process of its own, started from this binary, so that CPU time and memory are its own.
//! Rounds of all subjects alternate, and the median of the rounds is printed. All sockets are on the
//! loopback interface of one machine whose cores clients and servers share: compare rows, not numbers. The
//! proxy keeps the order, and has no bandwidth limit and no loss.

#[path = "pipeline/client.rs"]
mod client;
#[path = "pipeline/process.rs"]
mod process;
#[path = "pipeline/server.rs"]
mod server;

use server::Kind;

fn main() {
    if let Ok(kind) = std::env::var(process::SERVE) {
        return server::serve(Kind::named(&kind));
    }
    let given: Vec<_> = std::env::args().skip(1).collect();
    let has = |word: &str| given.iter().any(|arg| arg == word);
    let test = has("--test");
    if !has("client") {
        server::depths(test);
        server::flood(test);
        server::eight_slow(test);
    }
    if !has("server") {
        client::round_trips(test);
    }
}
