//! The command line.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::Parser;

use crate::limit::Limit;

/// A forward proxy. In durations, 0 means no limit.
#[derive(Debug, Parser)]
#[command(name = "forward_proxy")]
pub(crate) struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:3128")]
    pub(crate) listen: SocketAddr,
    /// The name under which the proxy appears in Via, and by which it knows its own requests; it must
    /// be unique along a chain of proxies. Default: a random one.
    #[arg(long)]
    pub(crate) via: Option<String>,
    /// Ports that CONNECT may reach, separated by commas, or `any`.
    #[arg(long, default_value = "443")]
    pub(crate) connect_ports: Ports,
    /// How long a client connection may stay without a request.
    #[arg(long, default_value = "75s")]
    pub(crate) idle_timeout: Limit,
    /// How long a request head may take, from its first byte.
    #[arg(long, default_value = "10s")]
    pub(crate) header_timeout: Limit,
    /// How long an upload, or a client that does not read, may stall.
    #[arg(long, default_value = "30s")]
    pub(crate) body_timeout: Limit,
    /// How long no byte may pass a tunnel.
    #[arg(long, default_value = "10m")]
    pub(crate) tunnel_idle: Limit,
    /// How old a tunnel may become.
    #[arg(long, default_value = "0s")]
    pub(crate) tunnel_age: Limit,
    /// Client connections at a time, tunnels included; when full, the longest-idle one makes room.
    #[arg(long, default_value = "10000")]
    pub(crate) max_connections: NonZeroUsize,
    /// Connections to one origin at a time.
    #[arg(long, default_value = "32")]
    pub(crate) origin_connections: NonZeroUsize,
    /// How long a connection to an origin may idle; a shorter time that it announces wins.
    #[arg(long, default_value = "45s")]
    pub(crate) origin_idle_timeout: Limit,
    /// How long connecting to an origin may take.
    #[arg(long, default_value = "10s")]
    pub(crate) connect_timeout: Limit,
    /// How long a request may take, up to the response head.
    #[arg(long, default_value = "60s")]
    pub(crate) request_timeout: Limit,
    /// Attempts after the first.
    #[arg(long, default_value_t = 2)]
    pub(crate) retries: u32,
    /// How long SIGTERM waits for open exchanges and tunnels.
    #[arg(long, default_value = "10s")]
    pub(crate) drain_timeout: Limit,
}

impl Args {
    /// The name in Via.
    pub(crate) fn pseudonym(&self) -> String {
        let random = || {
            format!(
                "proxy-{:08x}",
                RandomState::new().hash_one(self.listen) as u32
            )
        };
        self.via.clone().unwrap_or_else(random)
    }
}

/// The ports that CONNECT may reach (RFC 9110 section 9.3.6 asks for a limited set).
#[derive(Clone, Debug)]
pub(crate) enum Ports {
    Any,
    Of(Vec<u16>),
}

impl Ports {
    pub(crate) fn allow(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Of(ports) => ports.contains(&port),
        }
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let port = |text: &str| text.trim().parse().ok().filter(|port| *port > 0);
        text.split(',')
            .map(port)
            .collect::<Option<_>>()
            .map(Self::Of)
            .ok_or_else(|| "expected ports separated by commas, or `any`".to_owned())
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any port"),
            Self::Of(ports) => write!(f, "ports {ports:?}"),
        }
    }
}
