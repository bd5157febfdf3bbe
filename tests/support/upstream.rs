//! An upstream that does what the path of a request says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;

pub(crate) struct Upstream {
    /// `HOST:PORT`.
    pub(crate) addr: String,
}

struct Shared {
    three: Barrier,
    has_cut: AtomicBool,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("bound").to_string();
        let shared = Arc::new(Shared {
            three: Barrier::new(3),
            has_cut: AtomicBool::new(false),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { addr }
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some(head) = read_head(&mut stream).await {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = match path {
            "/cut-once" if !shared.has_cut.swap(true, Ordering::SeqCst) => return,
            "/missing" => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "/error" => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
            "/switch" => {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            }
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        };
        match path {
            "/never" => return std::future::pending().await,
            "/slow" => tokio::time::sleep(Duration::from_millis(400)).await,
            "/three" => {
                shared.three.wait().await;
            }
            _ => {}
        }
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Reads a response with a Content-Length.
pub(crate) async fn read_response(stream: &mut TcpStream) -> String {
    let mut head = read_head(stream).await.expect("a response");
    let lower = head.to_ascii_lowercase();
    let length = lower
        .split("content-length:")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next())
        .expect("a length");
    let mut body = vec![0; length.trim().parse().expect("a number")];
    stream.read_exact(&mut body).await.expect("a body");
    head.push_str(&String::from_utf8_lossy(&body));
    head
}
