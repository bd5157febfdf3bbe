//! `h2load`: HTTP/1.1, pipelined, and HTTP/2.

use crate::server::{EXAMPLES, Server};
use crate::tools::run;
use crate::upstream::Upstream;

const REQUESTS: usize = 2000;
const CLIENTS: usize = 4;

/// Fetches `size` bytes over and over; whether there is an `h2load`.
fn h2load(server: &Server, path: &str, size: usize, protocol: &[&str], depth: usize) -> bool {
    let (n, c, m) = (REQUESTS.to_string(), CLIENTS.to_string(), depth.to_string());
    let url = server.at(path);
    let args = [&["-n", &n, "-c", &c, "-m", &m][..], protocol, &[&url]].concat();
    let Some(output) = run("h2load", &args) else {
        return false;
    };
    for line in [
        format!("{n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout"),
        format!("{n} 2xx, 0 3xx, 0 4xx, 0 5xx"),
        format!("({}) data", REQUESTS * size),
    ] {
        assert!(output.contains(&line), "{protocol:?} {depth}: {output}");
    }
    assert_eq!(server.connections(), CLIENTS, "{protocol:?} {depth}");
    true
}

#[test]
fn h2load_gets_every_byte_from_the_examples() {
    for example in EXAMPLES {
        for (protocol, depth, flags) in [
            (&["--h1"][..], 1, &[][..]),
            (&["--h1"], 8, &[]),
            (&["--h1"], 8, &["--parallel", "8"]),
            (&[], 10, &[]),
        ] {
            let server = Server::start(example, flags);
            h2load(&server, "/", 6, protocol, depth);
        }
    }
}

#[test]
fn h2load_gets_every_byte_through_the_gateway() {
    for (protocol, depth) in [(&["--h1"][..], 1), (&["--h1"], 8), (&[], 10)] {
        let upstream = Upstream::start();
        let gateway = Server::gateway(&upstream, &[]);
        if h2load(&gateway, "/bytes/2500", 2500, protocol, depth) {
            assert_eq!(upstream.reads(), REQUESTS, "{protocol:?} {depth}");
        }
    }
}

#[test]
fn the_gateway_speaks_http2_to_its_upstream() {
    let upstream = Upstream::start();
    let url = format!("h2c://{}", upstream.addr);
    for (protocol, depth) in [(&["--h1"][..], 8), (&[], 10)] {
        let before = upstream.reads();
        let gateway = Server::start("gateway", &["--upstream", &url]);
        if h2load(&gateway, "/bytes/2500", 2500, protocol, depth) {
            assert_eq!(upstream.reads() - before, REQUESTS, "{protocol:?} {depth}");
        }
    }
}
