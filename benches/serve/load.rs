//! Requests as fast as they are answered, on so many connections.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::process::Server;

pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Result {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Microseconds of the server's CPU time per request.
    pub(crate) cpu: f64,
}

pub(crate) fn run(server: &Server, connections: usize, time: Duration) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let addr = SocketAddr::from(([127, 0, 0, 1], server.port));
    LocalSet::new().block_on(&runtime, async {
        let done = Rc::new(Cell::new(0u64));
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            let mut client = connect(addr).await;
            ask(&mut client).await;
            clients.push(client);
        }
        let (start, cpu) = (Instant::now(), server.cpu());
        let end = start + time;
        let tasks: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let done = Rc::clone(&done);
                tokio::task::spawn_local(async move {
                    while Instant::now() < end {
                        ask(&mut client).await;
                        done.set(done.get() + 1);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no client fails");
        }
        let took = Instant::now().saturating_duration_since(start);
        let cpu = server.cpu() - cpu;
        let requests = done.get().max(1) as f64;
        Result {
            rate: requests / took.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e6 / requests,
        }
    })
}

pub(crate) async fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).await.expect("it listens");
    stream.set_nodelay(true).expect("TCP");
    stream
}

/// One request, and its answer to the last byte.
pub(crate) async fn ask(client: &mut TcpStream) {
    client.write_all(REQUEST).await.expect("it reads");
    let mut buf = [0; 2048];
    let mut filled = 0;
    loop {
        let n = client.read(&mut buf[filled..]).await.expect("it answers");
        assert!(n > 0, "the server closed the connection");
        filled += n;
        if whole(&buf[..filled]) {
            return;
        }
    }
}

/// Whether this ends with a whole body, of the length that the head says.
fn whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length = text
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.and_then(|n| n.parse().ok()).expect("it says");
    answer.len() >= head + 4 + length
}
