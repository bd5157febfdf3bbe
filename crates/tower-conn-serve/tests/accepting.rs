//! Listeners: errors, several of them, Unix sockets.

mod support;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::*;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Instant, sleep};
use tower::service_fn;
use tower_conn_serve::{Accept, CloseReason, Server, Shared};
use tower_conn_testkit::raw::{Ended, RawClient, RawStream};

/// Fails as often as it is told, then accepts.
struct Failing<L> {
    failures: VecDeque<io::Error>,
    attempts: Arc<AtomicUsize>,
    inner: L,
}

impl<L: Accept> Accept for Failing<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> io::Result<(L::Io, L::Addr)> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        match self.failures.pop_front() {
            Some(error) => Err(error),
            None => self.inner.accept().await,
        }
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.inner.local_addr()
    }

    fn peer_of(addr: &L::Addr) -> Option<SocketAddr> {
        L::peer_of(addr)
    }
}

#[tokio::test(start_paused = true)]
async fn failures_to_accept_back_off_and_recover() {
    const EMFILE: i32 = 24;
    let (sender, inner) = PipeListener::new();
    let attempts = Arc::new(AtomicUsize::new(0));
    let listener = Failing {
        failures: (0..20)
            .map(|_| io::Error::from_raw_os_error(EMFILE))
            .collect(),
        attempts: Arc::clone(&attempts),
        inner,
    };
    let service = service_fn(|request| handle(request, Arc::default()));
    let serve = Server::new().serve(listener, Shared::new(service));
    let handle = serve.handle();
    tokio::spawn(async move { serve.await });

    let (near, far): (DuplexStream, _) = tokio::io::duplex(1024);
    sender
        .send((far, SocketAddr::from(([127, 0, 0, 1], 1))))
        .ok()
        .unwrap();
    let start = Instant::now();
    sleep(secs(5)).await;
    let tried = attempts.load(Ordering::Relaxed);
    assert!((5..=15).contains(&tried), "{tried} attempts in 5 s");
    let mut client = RawStream::over(near).deadline(secs(100));
    client.send(GET).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().text(), "hello");
    let took = Instant::now() - start;
    assert!(took > secs(10) && took < secs(20), "{took:?}");
    let stats = handle.stats();
    assert_eq!((stats.accept_errors, stats.accepted), (20, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_gone_before_it_was_accepted_costs_nothing() {
    let (sender, inner) = PipeListener::new();
    let listener = Failing {
        failures: (0..100)
            .map(|_| io::ErrorKind::ConnectionAborted.into())
            .collect(),
        attempts: Arc::default(),
        inner,
    };
    let service = service_fn(|request| handle(request, Arc::default()));
    let serve = Server::new().serve(listener, Shared::new(service));
    tokio::spawn(async move { serve.await });
    let (near, far): (DuplexStream, _) = tokio::io::duplex(1024);
    sender
        .send((far, SocketAddr::from(([127, 0, 0, 1], 1))))
        .ok()
        .unwrap();
    let start = Instant::now();
    let mut client = RawStream::over(near);
    client.send(GET).await.unwrap();
    client.read_response("GET").await.unwrap();
    assert!(Instant::now() - start < millis(5), "no pause");
}

#[cfg(target_os = "linux")]
mod descriptors {
    //! The real thing, in a process that may have few of them.

    use std::process::Command;

    use super::*;

    const MARK: &str = "SERVE_FEW_DESCRIPTORS";

    #[test]
    fn out_of_file_descriptors() {
        let binary = std::env::current_exe().unwrap();
        let script = format!(
            "ulimit -n 64 && exec {} --exact descriptors::in_a_process_with_few --nocapture",
            binary.display()
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .env(MARK, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("it recovered"),
            "{output:?}"
        );
    }

    #[tokio::test]
    async fn in_a_process_with_few() {
        if std::env::var_os(MARK).is_none() {
            return;
        }
        let (handle, addr, _) = listen(Server::new()).await;
        // Busy ones, which are never given up, until neither side gets a descriptor.
        let mut clients = Vec::new();
        while let Ok(mut client) = RawClient::connect(addr).await {
            client.send(get("/slow/3")).await.unwrap();
            clients.push(client);
            sleep(millis(2)).await;
        }
        sleep(millis(500)).await;
        let errors = handle.stats().accept_errors;
        assert!(errors > 0, "none of {} was refused", clients.len());
        assert!(errors < 50, "it spins: {errors} errors");
        for client in clients.iter_mut().take(5) {
            assert_eq!(client.read_response("GET").await.unwrap().text(), "late");
        }
        drop(clients);
        let mut client = RawClient::connect(addr).await.unwrap();
        client.send(GET).await.unwrap();
        assert_eq!(client.read_response("GET").await.unwrap().text(), "hello");
        println!("it recovered");
    }
}

#[tokio::test]
async fn several_tasks_accept_from_several_listeners() {
    let listener = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseport(true).unwrap();
        socket
    };
    let first = listener();
    first.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let first = first.listen(64).unwrap();
    let addr = first.local_addr().unwrap();
    let second = listener();
    second.bind(addr).unwrap();
    let second = second.listen(64).unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let others = other.local_addr().unwrap();

    let service = service_fn(|request| handle(request, Arc::default()));
    let serve = Server::new()
        .accept_tasks(NonZeroUsize::new(3).unwrap())
        .serve(first, Shared::new(service))
        .and(second)
        .and(other);
    let handle = serve.handle();
    let serving = tokio::spawn(async move { serve.await });
    let mut clients = Vec::new();
    for n in 0..40 {
        let mut client = RawClient::connect(if n % 4 == 0 { others } else { addr })
            .await
            .unwrap();
        client.send(GET).await.unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.read_response("GET").await.unwrap().text(), "hello");
    }
    assert_eq!(handle.stats().accepted, 40);
    handle.shutdown();
    let summary = serving.await.unwrap().unwrap();
    assert_eq!((summary.drained, summary.cut), (40, 0));
    assert!(
        RawClient::connect(addr).await.is_err(),
        "nobody listens any more"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket() {
    let path = std::env::temp_dir().join(format!("tower-conn-serve-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let service = service_fn(|request| handle(request, Arc::default()));
    let serve = Server::new()
        .park_after(millis(10))
        .serve(listener, Shared::new(service));
    let handle = serve.handle();
    let serving = tokio::spawn(async move { serve.await });
    let mut client = RawStream::over(tokio::net::UnixStream::connect(&path).await.unwrap());
    client.send(GET).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().text(), "hello");
    while handle.stats().parked == 0 {
        sleep(millis(5)).await;
    }
    client.send(GET).await.unwrap();
    assert_eq!(client.read_response("GET").await.unwrap().text(), "hello");
    handle.shutdown();
    assert_eq!(client.read_to_end().await.unwrap().1, Ended::Fin);
    let summary = serving.await.unwrap().unwrap();
    assert_eq!(summary.reasons, [(CloseReason::Draining, 1)]);
    std::fs::remove_file(&path).unwrap();
}
