//! How many connections: who makes room, and who waits.
#![cfg(all(feature = "axum", feature = "hyper", feature = "hyper-util"))]

mod support;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex};

use support::*;
use tokio::io::{DuplexStream, duplex};
use tokio::time::Instant;
use tower_conn_core::CloseReason;
use tower_conn_testkit::raw::Ended;
use tower_idle_reaper::{Accept, Capacity, IdleReaper, Policy, ReapedListener};

fn room_for(n: usize) -> Capacity {
    Capacity::new(NonZeroUsize::new(n).expect("some room"))
}

async fn idle_client(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(GET).await.unwrap();
    client.read_response("GET").await.unwrap();
    client
}

#[tokio::test(start_paused = true)]
async fn cap_evicts_oldest_idle() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe().max_connections(room_for(4)));
        let mut busy = server.connect();
        busy.send(get("/slow/30")).await.unwrap();
        let mut idle = Vec::new();
        for _ in 0..3 {
            idle.push(idle_client(&server).await);
            tokio::time::sleep(secs(1)).await;
        }
        // The first one is used again, so the second is now the longest-idle.
        idle[0].send(GET).await.unwrap();
        idle[0].read_response("GET").await.unwrap();
        tokio::time::sleep(secs(1)).await;

        let start = Instant::now();
        let _fresh = idle_client(&server).await;
        assert!(Instant::now() - start < millis(50), "{engine:?}: at once");
        assert_eq!(idle[1].ended(millis(1)).await, Ended::Fin, "{engine:?}");
        assert_eq!(idle[0].ended(millis(1)).await, Ended::Open);
        assert_eq!(idle[2].ended(millis(1)).await, Ended::Open);
        assert_eq!(server.ended(), [(CloseReason::Evicted, 1)]);
        assert_eq!(busy.read_response("GET").await.unwrap().text(), "late");
        assert!(server.reaper.connections() <= 4);
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_became_idle_together_go_in_the_order_in_which_they_came() {
    let server = Server::new(Engine::Http1, Policy::safe().max_connections(room_for(40)));
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(idle_client(&server).await);
    }
    for n in 0..36 {
        idle.push(idle_client(&server).await);
        assert_eq!(idle[n].ended(millis(1)).await, Ended::Fin, "{n}");
        assert_eq!(idle[n + 1].ended(millis(1)).await, Ended::Open, "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_are_active_the_newcomer_waits() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe().max_connections(room_for(2)));
        let mut busy = [server.connect(), server.connect()];
        for client in &mut busy {
            client.send(get("/slow/20")).await.unwrap();
        }
        tokio::time::sleep(millis(1)).await;
        let start = Instant::now();
        let mut fresh = server.connect();
        fresh.send(GET).await.unwrap();
        assert_eq!(fresh.read_response("GET").await.unwrap().status, 200);
        let took = Instant::now() - start;
        assert!(
            took >= secs(19) && took <= secs(20) + millis(100),
            "{took:?}"
        );
        let mut served = 0;
        for client in &mut busy {
            served += usize::from(client.read_response("GET").await.unwrap().complete);
        }
        assert_eq!(served, 2, "{engine:?}: no active connection was touched");
    }
}

#[tokio::test(start_paused = true)]
async fn cap_respects_min_idle() {
    for engine in Engine::HTTP1 {
        let capacity = room_for(2).min_idle(secs(30));
        let server = Server::new(engine, Policy::safe().max_connections(capacity));
        let mut idle = [idle_client(&server).await, idle_client(&server).await];
        let start = Instant::now();
        let _fresh = idle_client(&server).await;
        let took = Instant::now() - start;
        assert!(took >= secs(29) && took <= secs(31), "{engine:?}: {took:?}");
        assert_eq!(idle[0].ended(millis(1)).await, Ended::Fin);
        assert_eq!(idle[1].ended(millis(1)).await, Ended::Open);
    }
}

/// A silent client is as good a victim as an idle one.
#[tokio::test(start_paused = true)]
async fn connections_that_never_spoke_make_room() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe().max_connections(room_for(2)));
        let _silent = [server.connect(), server.connect()];
        tokio::time::sleep(secs(1)).await;
        let start = Instant::now();
        let _fresh = idle_client(&server).await;
        assert!(Instant::now() - start < millis(50), "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn evict_batch_bounded() {
    let server = Server::new(Engine::Http1, Policy::safe().max_connections(room_for(500)));
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(idle_client(&server).await);
    }
    let mut burst = Vec::new();
    for _ in 0..50 {
        burst.push(server.connect());
    }
    tokio::time::sleep(secs(1)).await;
    assert_eq!(
        server.ended(),
        [(CloseReason::Evicted, 50)],
        "one for each newcomer, and no more"
    );
    assert_eq!(server.reaper.connections(), 500);
}

#[tokio::test(start_paused = true)]
async fn per_ip_cap() {
    for engine in Engine::HTTP1 {
        let server = Server::new(engine, Policy::safe().max_per_address(NonZeroU32::new(2)));
        let mut first = vec![idle_client(&server).await, idle_client(&server).await];
        let mut third = server.connect();
        assert_eq!(third.ended(secs(1)).await, Ended::Fin, "{engine:?}");
        let other: SocketAddr = "192.0.2.7:9".parse().unwrap();
        let mut elsewhere = server.connect_from(other);
        elsewhere.send(GET).await.unwrap();
        assert_eq!(elsewhere.read_response("GET").await.unwrap().status, 200);
        assert_eq!(server.reaper.closed(CloseReason::AddressLimit), 1);

        drop(first.pop());
        tokio::time::sleep(secs(1)).await;
        let _second = idle_client(&server).await;
        assert_eq!(first[0].ended(millis(1)).await, Ended::Open);
    }
}

/// Accepting fails for as long as more than so many pipes are open.
struct Exhausted {
    waiting: VecDeque<DuplexStream>,
    reaper: IdleReaper,
    most: usize,
    failures: Arc<Mutex<Vec<Instant>>>,
}

impl Accept for Exhausted {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> io::Result<(DuplexStream, ())> {
        if self.reaper.connections() >= self.most && !self.waiting.is_empty() {
            self.failures.lock().unwrap().push(Instant::now());
            const EMFILE: i32 = 24;
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        match self.waiting.pop_front() {
            Some(io) => Ok((io, ())),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }

    fn peer_of((): &()) -> Option<SocketAddr> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn accept_emfile() {
    let reaper = IdleReaper::new(Policy::safe());
    let failures = Arc::new(Mutex::new(Vec::new()));
    let mut clients = Vec::new();
    let mut waiting = VecDeque::new();
    for _ in 0..12 {
        let (near, far) = duplex(1024);
        clients.push(tower_conn_testkit::raw::RawStream::over(near).deadline(secs(1000)));
        waiting.push_back(far);
    }
    let mut listener = ReapedListener::new(
        Exhausted {
            waiting,
            reaper: reaper.clone(),
            most: 8,
            failures: Arc::clone(&failures),
        },
        &reaper,
    );
    let accepting = reaper.clone();
    tokio::spawn(async move {
        loop {
            let (io, ()) = listener.accept().await;
            let reaper = accepting.clone();
            tokio::spawn(async move {
                drive(Engine::Http1, &reaper, io, Arc::default()).await;
            });
        }
    });
    // The first eight are idle, the others find the process out of descriptors.
    for client in &mut clients {
        client.send(GET).await.unwrap();
        client.read_response("GET").await.unwrap();
    }
    assert_eq!(reaper.closed(CloseReason::Evicted), 4, "one for each");
    let failures = failures.lock().unwrap().clone();
    assert!((4..=8).contains(&failures.len()), "{}", failures.len());
}

#[tokio::test(start_paused = true)]
async fn out_of_descriptors_with_nothing_idle_accepting_backs_off() {
    let reaper = IdleReaper::new(Policy::unlimited());
    let failures = Arc::new(Mutex::new(Vec::new()));
    let (_near, far) = duplex(64);
    let mut listener = ReapedListener::new(
        Exhausted {
            waiting: VecDeque::from([far]),
            reaper: reaper.clone(),
            most: 0,
            failures: Arc::clone(&failures),
        },
        &reaper,
    );
    let waited = tokio::time::timeout(secs(10), listener.accept()).await;
    assert!(waited.is_err(), "it neither gives up nor spins");
    let failures = failures.lock().unwrap();
    let pauses: Vec<_> = failures.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(
        pauses[0] >= millis(5) && pauses[0] < millis(8),
        "{pauses:?}"
    );
    assert!(
        pauses.len() < 20 && pauses.last() >= Some(&secs(1)),
        "{pauses:?}"
    );
}
