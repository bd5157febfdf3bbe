//! The command line.

use std::net::SocketAddr;

use clap::Parser;

use crate::forward::Upstream;
use crate::limit::Limit;

/// A reverse proxy with every connection policy on. In durations and counts, 0 means no limit.
#[derive(Debug, Parser)]
#[command(name = "gateway", args_override_self = true)]
pub(crate) struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where requests go, as http://HOST:PORT, or h2c://HOST:PORT for HTTP/2 with prior knowledge;
    /// without it a demo upstream is started.
    #[arg(long)]
    pub(crate) upstream: Option<Upstream>,
    /// How long a client connection may stay without a request.
    #[arg(long, default_value = "75s")]
    pub(crate) idle_timeout: Limit,
    /// How long a request head may take, from its first byte.
    #[arg(long, default_value = "10s")]
    pub(crate) header_timeout: Limit,
    /// How long an upload, or a client that does not read, may stall.
    #[arg(long, default_value = "30s")]
    pub(crate) body_timeout: Limit,
    /// Requests per client connection.
    #[arg(long, default_value_t = 0)]
    pub(crate) max_requests: u32,
    /// How old a client connection may become.
    #[arg(long, default_value = "0s")]
    pub(crate) max_age: Limit,
    /// Client connections at a time; when full, the longest-idle one makes room.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) max_connections: usize,
    /// Largest request body in bytes; more is answered with 413.
    #[arg(long, default_value_t = 0)]
    pub(crate) max_body: u64,
    /// How long a closing connection goes on reading what the client still sends.
    #[arg(long, default_value = "2s")]
    pub(crate) linger: Limit,
    /// How long SIGTERM waits for open exchanges.
    #[arg(long, default_value = "10s")]
    pub(crate) drain_timeout: Limit,
    /// Connections to the upstream at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) upstream_connections: usize,
    /// How long an upstream connection may idle.
    #[arg(long, default_value = "60s")]
    pub(crate) upstream_idle_timeout: Limit,
    /// GETs in flight on one upstream connection once all upstream connections are open.
    #[arg(long, default_value_t = 1)]
    pub(crate) pipeline_depth: usize,
    /// Attempts after the first.
    #[arg(long, default_value_t = 2)]
    pub(crate) retries: u32,
    /// How long one attempt may take, up to the response head.
    #[arg(long, default_value = "0s")]
    pub(crate) attempt_timeout: Limit,
    /// How long a request may take, up to the response head.
    #[arg(long, default_value = "60s")]
    pub(crate) request_timeout: Limit,
    /// The name under which the gateway appears in Via.
    #[arg(long, default_value = "gateway")]
    pub(crate) via: String,
    /// Address for /metrics and for a page that shows the connections. It has no authentication:
    /// keep it to the loopback interface.
    #[arg(long)]
    pub(crate) admin: Option<SocketAddr>,
    /// Worker threads; one for each core by default.
    #[arg(long, value_parser = workers)]
    pub(crate) workers: Option<usize>,
}

fn workers(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=1024).contains(n))
        .ok_or_else(|| "a number from 1 to 1024".to_owned())
}
