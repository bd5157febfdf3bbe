//! What the clients are pointed at.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::Example;
use crate::upstream::Upstream;

pub(crate) const EXAMPLES: [&str; 2] = ["axum_server", "hyper_server"];

/// An example behind a relay that counts its connections.
pub(crate) struct Server {
    _example: Example,
    pub(crate) url: String,
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(example: &str, flags: &[&str]) -> Self {
        let example = Example::start(example, flags);
        let server = example.addr.parse().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let port = relay(server, Arc::clone(&connections));
        Self {
            _example: example,
            url: format!("http://127.0.0.1:{port}/"),
            port,
            connections,
        }
    }

    /// The gateway in front of this upstream.
    pub(crate) fn gateway(upstream: &Upstream, flags: &[&str]) -> Self {
        let url = format!("http://{}", upstream.addr);
        Self::start("gateway", &[&["--upstream", &url], flags].concat())
    }

    /// How many connections its clients have made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// `http://HOST:PORT` and this path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{}", self.url, path.trim_start_matches('/'))
    }
}

/// Passes connections on to a server and counts them.
fn relay(server: SocketAddr, connections: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else {
                continue;
            };
            connections.fetch_add(1, Ordering::SeqCst);
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            pump(&client, &server);
            pump(&server, &client);
        }
    });
    port
}

fn pump(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (
        from.try_clone().expect("a handle"),
        to.try_clone().expect("a handle"),
    );
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}
