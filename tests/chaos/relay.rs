//! The faulty network between the gateway and its upstream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::ledger::{Ledger, Tally};
use crate::rng::Rng;

/// What befalls one direction of a connection after so many bytes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing passes for a while.
    Delay(Duration),
    /// The next bytes pass one at a time.
    Dribble(usize),
    /// The far end is told that this was all; the other direction goes on.
    HalfClose,
    /// Both ends see the connection end.
    Cut,
    /// Nothing passes for a while, then it ends.
    Stall(Duration),
    /// Both ends are reset.
    Reset,
    /// The gateway is reset, and the upstream sees the end of what it was sent.
    ResetGateway,
}

impl Fault {
    fn random(rng: &mut Rng) -> Self {
        match rng.range(0, 10) {
            0 | 1 => Self::Delay(Duration::from_millis(rng.size(60))),
            2 => Self::Dribble(rng.size(200) as usize),
            3 => Self::HalfClose,
            4 | 5 => Self::Cut,
            6 => Self::Stall(Duration::from_millis(rng.size(400))),
            7 | 8 => Self::Reset,
            _ => Self::ResetGateway,
        }
    }
}

/// How a connection ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Close,
    ResetGateway,
    ResetBoth,
}

#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    seed: u64,
    mortal: bool,
    upstream: SocketAddr,
    ledger: Arc<Ledger>,
    calm: AtomicBool,
    open: AtomicUsize,
}

impl Relay {
    /// `mortal` connections all end before long: where one carries everything, a healthy one would.
    pub(crate) async fn start(
        seed: u64,
        upstream: SocketAddr,
        ledger: Arc<Ledger>,
        mortal: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            seed,
            mortal,
            upstream,
            ledger,
            calm: AtomicBool::new(false),
            open: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            for n in 1.. {
                let Ok((gateway, _)) = listener.accept().await else {
                    continue;
                };
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    state.open.fetch_add(1, Ordering::SeqCst);
                    relay(&state, n, gateway).await;
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { addr, state }
    }

    /// New connections are faultless from now on.
    pub(crate) fn calm(&self) {
        self.state.calm.store(true, Ordering::SeqCst);
    }

    /// How many connections of the gateway are open.
    pub(crate) fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }
}

async fn relay(state: &State, n: u64, mut gateway: TcpStream) {
    let mut rng = Rng::new(state.seed, n << 32);
    let Ok(mut upstream) = TcpStream::connect(state.upstream).await else {
        return;
    };
    let _ = (gateway.set_nodelay(true), upstream.set_nodelay(true));
    let calm = state.calm.load(Ordering::SeqCst);
    let mut direction = |faulty: u64| Direction {
        ledger: &state.ledger,
        rng: Rng::new(rng.draw(), 0),
        faulty: !calm && rng.percent(faulty),
    };
    // A fault befalls everything that a connection carries at the time.
    let (up, down) = if state.mortal { (20, 30) } else { (40, 60) };
    let (requests, responses) = (direction(up), direction(down));
    let life = Duration::from_millis(match state.mortal {
        _ if calm => 3_600_000,
        true => rng.range(200, 2000),
        false if rng.percent(20) => rng.size(800),
        false => 3_600_000,
    });
    let end = {
        let (mut from_gateway, mut to_gateway) = gateway.split();
        let (mut from_upstream, mut to_upstream) = upstream.split();
        let both = async {
            tokio::try_join!(
                requests.pump(&mut from_gateway, &mut to_upstream),
                responses.pump(&mut from_upstream, &mut to_gateway),
            )
        };
        match tokio::time::timeout(life, both).await {
            Ok(Ok(_)) => End::Close,
            Ok(Err(end)) => end,
            Err(_) => {
                Tally::add(&state.ledger.tally.faults);
                rng.pick(&[End::Close, End::ResetGateway, End::ResetBoth])
            }
        }
    };
    if end != End::Close {
        let _ = gateway.set_zero_linger();
    }
    if end == End::ResetBoth {
        let _ = upstream.set_zero_linger();
    }
}

struct Direction<'a> {
    ledger: &'a Ledger,
    rng: Rng,
    faulty: bool,
}

impl Direction<'_> {
    /// Passes bytes on to their end, or to a fault that ends the connection.
    async fn pump(
        mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), End> {
        let mut buffer = [0; 8192];
        let (mut left, mut dribble) = (self.next_fault(), 0_usize);
        loop {
            let most = match (dribble, left) {
                (0, Some(left)) => buffer.len().min(left),
                (0, None) => buffer.len(),
                _ => 1,
            };
            let read = from.read(&mut buffer[..most]).await;
            let Ok(read @ 1..) = read else {
                let _ = to.shutdown().await;
                return Ok(());
            };
            if to.write_all(&buffer[..read]).await.is_err() {
                return Err(End::Close);
            }
            dribble = dribble.saturating_sub(read);
            left = left.map(|left| left.saturating_sub(read));
            if left == Some(0) {
                Tally::add(&self.ledger.tally.faults);
                match Fault::random(&mut self.rng) {
                    Fault::Delay(time) => tokio::time::sleep(time).await,
                    Fault::Dribble(bytes) => dribble = bytes,
                    Fault::HalfClose => {
                        let _ = to.shutdown().await;
                        // What still comes is thrown away.
                        while matches!(from.read(&mut buffer).await, Ok(1..)) {}
                        return Ok(());
                    }
                    Fault::Cut => return Err(End::Close),
                    Fault::Stall(time) => {
                        tokio::time::sleep(time).await;
                        return Err(End::Close);
                    }
                    Fault::Reset => return Err(End::ResetBoth),
                    Fault::ResetGateway => return Err(End::ResetGateway),
                }
                left = self.next_fault();
            }
        }
    }

    /// After how many bytes.
    fn next_fault(&mut self) -> Option<usize> {
        self.faulty.then(|| self.rng.size(64 << 10) as usize)
    }
}
