//! Python's `http.client`, which keeps a connection, and `urllib`, which does not.

use crate::server::{EXAMPLES, Server};
use crate::tools::{run, script};
use crate::upstream::Upstream;

#[test]
fn http_client_keeps_one_connection() {
    for example in EXAMPLES {
        for (version, flags, connections) in [
            ("11", &[][..], 1),
            ("10", &[], 1),
            ("11", &["--max-requests", "5"], 4),
            ("10", &["--max-requests", "5"], 4),
        ] {
            let server = Server::start(example, flags);
            let (file, port) = (script("http_client.py"), server.port.to_string());
            if run("python3", &[&file, &port, version, "hello"]).is_some() {
                let made = server.connections();
                assert_eq!(made, connections, "{example} {version} {flags:?}");
            }
        }
    }
}

#[test]
fn http_client_gets_and_sends_every_byte_through_the_gateway() {
    for version in ["10", "11"] {
        let upstream = Upstream::start();
        let gateway = Server::gateway(&upstream, &[]);
        let (file, port) = (script("http_client.py"), gateway.port.to_string());
        if run("python3", &[&file, &port, version, "bytes"]).is_some() {
            assert_eq!(gateway.connections(), 1, "{version}");
            assert_eq!(upstream.reads(), 60);
            // HTTP/1.0 has no chunks.
            let writes = if version == "10" { 20 } else { 40 };
            assert_eq!(upstream.writes(), writes);
            assert_eq!(upstream.received(), writes * 50_000);
        }
    }
}

#[test]
fn urllib_gets_and_sends_every_byte_over_connections_that_close() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    let (file, port) = (script("urllib_request.py"), gateway.port.to_string());
    if run("python3", &[&file, &port]).is_some() {
        assert_eq!(gateway.connections(), 41);
        assert_eq!(upstream.reads(), 21);
        assert_eq!(upstream.writes(), 20);
        assert_eq!(upstream.received(), 20 * 50_000);
    }
}
