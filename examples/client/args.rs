//! The command line.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use http::{HeaderName, HeaderValue, Method, Uri};

/// Fetches URLs over few, kept connections, and tells what happened to each request.
///
/// Exits with 1 if a request got no whole response, or one with a status of 400 or above.
#[derive(Debug, Parser)]
#[command(name = "client")]
pub(crate) struct Args {
    /// What to fetch, as http://HOST/PATH or https://HOST/PATH.
    #[arg(required = true, value_parser = url)]
    pub(crate) urls: Vec<Uri>,
    /// How often each URL is fetched.
    #[arg(long, short = 'n', default_value = "1")]
    pub(crate) repeat: NonZeroU32,
    /// Connections to one origin at a time.
    #[arg(long, short = 'c', default_value = "6")]
    pub(crate) connections: NonZeroUsize,
    /// Requests in flight at a time; by default as many as the connections to one origin can take.
    #[arg(long, short = 'p')]
    pub(crate) parallel: Option<NonZeroUsize>,
    /// GETs that share a connection before they are answered, over HTTP/1.1, once there is no room for another
    /// connection and the server has shown that it keeps them.
    #[arg(long, default_value = "1", conflicts_with = "http2")]
    pub(crate) pipeline_depth: NonZeroUsize,
    /// HTTP/2 from the first byte, also over http.
    #[arg(long, conflicts_with = "http1")]
    pub(crate) http2: bool,
    /// HTTP/1.1 only; otherwise https offers HTTP/2 as well.
    #[arg(long)]
    pub(crate) http1: bool,
    /// A file of PEM certificates that are trusted beside the public ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The method.
    #[arg(long, short = 'X', default_value = "GET")]
    pub(crate) method: Method,
    /// The request body; the method is POST then unless another is given.
    #[arg(long, short = 'd')]
    pub(crate) data: Option<String>,
    /// A header field, as NAME:VALUE.
    #[arg(long, short = 'H', value_parser = header)]
    pub(crate) header: Vec<(HeaderName, HeaderValue)>,
    /// Adds an Idempotency-Key to each POST, so that it may be repeated.
    #[arg(long)]
    pub(crate) idempotency_key: bool,
    /// Attempts after the first.
    #[arg(long, default_value_t = 2)]
    pub(crate) retries: u32,
    /// How long a request may take, its body and all attempts included.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// How long opening a connection may take, TLS included.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) connect_timeout: Duration,
    /// How long a connection is kept without a request; a shorter time that the server announces wins.
    #[arg(long, default_value = "45s", value_parser = humantime::parse_duration)]
    pub(crate) idle_timeout: Duration,
    /// By how much a connection is given up before the time that the server announced.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) hint_margin: Duration,
    /// Takes no notice of what servers announce in Keep-Alive.
    #[arg(long)]
    pub(crate) no_hints: bool,
    /// A pause between a response and the next request in its place.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) pause: Duration,
    /// Only the summary, without the table of requests.
    #[arg(long)]
    pub(crate) summary: bool,
}

impl Args {
    /// The method, given that there may be a body.
    pub(crate) fn method(&self) -> Method {
        if self.data.is_some() && self.method == Method::GET {
            Method::POST
        } else {
            self.method.clone()
        }
    }

    /// What https offers by ALPN; there is no pipelining in HTTP/2, nor need of it.
    pub(crate) fn alpn(&self) -> &'static [&'static [u8]] {
        if self.http2 {
            &[b"h2"]
        } else if self.http1 || self.pipeline_depth.get() > 1 {
            &[b"http/1.1"]
        } else {
            &[b"h2", b"http/1.1"]
        }
    }

    /// How many requests are in flight at a time.
    pub(crate) fn in_flight(&self) -> usize {
        let room = self.connections.saturating_mul(self.pipeline_depth);
        self.parallel.unwrap_or(room).get()
    }
}

fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err("expected http://HOST/PATH or https://HOST/PATH".to_owned()),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
    let name = name.trim().parse().map_err(|error| format!("{error}"))?;
    let value = value.trim().parse().map_err(|error| format!("{error}"))?;
    Ok((name, value))
}
