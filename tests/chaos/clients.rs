//! Clients of many kinds, who look at every byte they get.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpSocket;
use tower_conn_testkit::raw::{Ended, RawClient, RawError, RawResponse};

use crate::ledger::{Ledger, Tally};
use crate::rng::Rng;
use crate::spec::{Spec, download};

/// How long a client waits for anything: well above what the gateway gives a request.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) gateway: SocketAddr,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) seed: u64,
    next: AtomicU64,
    end: u64,
    phase: u64,
}

/// What a client made of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The connection goes on.
    Next,
    /// The connection is over.
    Over,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Steady,
    Slow,
    HalfClosing,
    Http10 { keep: bool },
    Pipelining,
    Vanishing,
    Http2,
}

impl Clients {
    pub(crate) fn new(gateway: SocketAddr, ledger: Arc<Ledger>, seed: u64) -> Self {
        Self {
            gateway,
            ledger,
            seed,
            next: AtomicU64::new(1),
            end: 0,
            phase: 0,
        }
    }

    /// Runs up to this many exchanges, counted from the first run, over so many connections at a time.
    pub(crate) async fn run(mut self, exchanges: u64, workers: u64) -> Self {
        self.end = exchanges;
        self.phase += 1;
        let clients = Arc::new(self);
        let mut running = Vec::new();
        for worker in 0..workers {
            let clients = Arc::clone(&clients);
            running.push(tokio::spawn(async move { clients.work(worker).await }));
        }
        for worker in running {
            worker.await.expect("clients do not panic");
        }
        Arc::into_inner(clients).expect("all workers are done")
    }

    async fn work(&self, worker: u64) {
        let mut rng = Rng::new(self.seed, (self.phase << 16) + worker);
        while self.next.load(Ordering::Relaxed) <= self.end {
            let kind = match rng.range(0, 20) {
                0..=5 => Kind::Steady,
                6 | 7 => Kind::Slow,
                8 | 9 => Kind::HalfClosing,
                10 => Kind::Http10 { keep: false },
                11 => Kind::Http10 { keep: true },
                12..=14 => Kind::Pipelining,
                15..=17 => Kind::Vanishing,
                _ => Kind::Http2,
            };
            match kind {
                Kind::Vanishing => self.vanishing(&mut rng).await,
                Kind::Pipelining => self.pipelining(&mut rng).await,
                Kind::Http2 => self.http2(&mut rng).await,
                Kind::Steady | Kind::Slow | Kind::HalfClosing | Kind::Http10 { .. } => {
                    self.serial(kind, &mut rng).await;
                }
            }
        }
    }

    /// The next exchange.
    pub(crate) fn spec(&self, rng: &mut Rng) -> Spec {
        Tally::add(&self.ledger.tally.begun);
        Spec::random(self.next.fetch_add(1, Ordering::Relaxed), rng)
    }

    async fn connect(&self, slow: bool) -> RawClient {
        let socket = TcpSocket::new_v4().expect("a socket");
        if slow {
            socket.set_recv_buffer_size(4096).expect("a small buffer");
        }
        let client = RawClient::connect_with(socket, self.gateway).await;
        client.expect("the gateway accepts").deadline(DEADLINE)
    }

    /// One request after the other; each must be answered.
    async fn serial(&self, kind: Kind, rng: &mut Rng) {
        let mut client = self.connect(matches!(kind, Kind::Slow)).await;
        let (version, connection) = match kind {
            Kind::Http10 { keep: true } => ("1.0", "Connection: keep-alive\r\n"),
            Kind::Http10 { keep: false } => ("1.0", ""),
            _ => ("1.1", ""),
        };
        let exchanges = rng.range(1, 20);
        for n in 1..=exchanges {
            let mut spec = self.spec(rng);
            if version == "1.0" {
                // Without chunks a body of unknown length ends with the connection, and then nobody can
                // tell whether it is whole (RFC 9112 section 8).
                (spec.upload_chunked, spec.chunked) = (false, false);
            }
            let head = spec.head(version, connection);
            let request = [head.as_bytes(), &spec.framed_upload()].concat();
            // The gateway may answer, and close, before it has read everything: the answer counts.
            if matches!(kind, Kind::Slow) {
                client = client.gap(Duration::from_millis(rng.range(0, 5)));
                let mut cuts: Vec<_> = (0..rng.range(0, 6))
                    .map(|_| rng.range(1, request.len() as u64) as usize)
                    .collect();
                cuts.sort_unstable();
                cuts.dedup();
                let _ = client.send_split(&request, &cuts).await;
                tokio::time::sleep(Duration::from_millis(rng.range(0, 30))).await;
            } else {
                let _ = client.send(&request).await;
            }
            let last = n == exchanges;
            if last && matches!(kind, Kind::HalfClosing) {
                let _ = client.half_close().await;
            }
            let response = client.read_final_response(spec.method).await;
            match response {
                Ok(response) if self.judge(&spec, &response) == Verdict::Next => {
                    let persists = match version {
                        "1.0" => response
                            .tokens("connection")
                            .contains(&"keep-alive".to_owned()),
                        _ => true,
                    };
                    if persists && !(last && matches!(kind, Kind::HalfClosing)) {
                        continue;
                    }
                    self.expect_end(&mut client, &spec).await;
                }
                Ok(_) => {}
                Err(error) => self.unanswered(&spec, &error, kind),
            }
            return;
        }
    }

    /// The connection must end now, after its last byte.
    async fn expect_end(&self, client: &mut RawClient, spec: &Spec) {
        let ended = client.ended(DEADLINE).await;
        let unread = client.unread().len();
        if ended == Ended::Open || unread > 0 {
            self.violation(
                spec,
                &format!("{ended:?} after the last response, {unread} unread"),
            );
        }
    }

    /// Bursts; the answers must come in order.
    async fn pipelining(&self, rng: &mut Rng) {
        let mut client = self.connect(false).await;
        for _ in 0..rng.range(1, 4) {
            let specs: Vec<_> = (0..rng.range(2, 9)).map(|_| self.spec(rng)).collect();
            let mut burst = Vec::new();
            for spec in &specs {
                burst.extend_from_slice(spec.head("1.1", "").as_bytes());
                burst.extend_from_slice(&spec.framed_upload());
            }
            let _ = client.send(&burst).await;
            let mut over = false;
            for spec in &specs {
                if over {
                    // Behind a response that closed the connection.
                    Tally::add(&self.ledger.tally.left);
                    continue;
                }
                match client.read_final_response(spec.method).await {
                    Ok(response) => over = self.judge(spec, &response) == Verdict::Over,
                    Err(error) => {
                        self.unanswered(spec, &error, Kind::Pipelining);
                        over = true;
                    }
                }
            }
            if over {
                return;
            }
        }
    }

    /// Sends some requests, or a part of them, and goes away at any moment.
    async fn vanishing(&self, rng: &mut Rng) {
        let mut client = self.connect(rng.percent(50)).await;
        let mut burst = Vec::new();
        for _ in 0..rng.range(1, 4) {
            let spec = self.spec(rng);
            Tally::add(&self.ledger.tally.left);
            burst.extend_from_slice(spec.head("1.1", "").as_bytes());
            burst.extend_from_slice(&spec.framed_upload());
        }
        if rng.percent(50) {
            burst.truncate(rng.range(1, burst.len() as u64 + 1) as usize);
        }
        let _ = client.send(&burst).await;
        if rng.percent(30) {
            let _ = client.half_close().await;
        }
        let wait = if rng.percent(30) { 0 } else { rng.size(60) };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if rng.percent(50) {
            let _ = client.reset();
        }
    }

    /// Compares a response with what it has to be.
    fn judge(&self, spec: &Spec, response: &RawResponse) -> Verdict {
        let tally = &self.ledger.tally;
        let closes = response.tokens("connection").contains(&"close".to_owned());
        let ids = response.fields.all("x-id");
        match response.status {
            200 => {
                let id = spec.id.to_string();
                if ids != [id.as_bytes()] {
                    self.violation(spec, &format!("got the fields of another: {response:?}"));
                }
                let expected = match spec.method {
                    "HEAD" => Vec::new(),
                    _ => download(spec.id, spec.length),
                };
                if !expected.starts_with(&response.body) {
                    self.violation(spec, &format!("got the body of another: {response:?}"));
                } else if !response.complete {
                    Tally::add(&tally.cut);
                    return Verdict::Over;
                } else if response.body.len() != expected.len() {
                    let length = response.body.len();
                    self.violation(spec, &format!("{length} bytes passed as all"));
                }
                Tally::add(&tally.whole);
            }
            // The upstream's answer to an upload that the network has cut.
            400 if spec.upload.is_some() && ids.is_empty() => Tally::add(&tally.refused),
            502 | 504 if ids.is_empty() => Tally::add(&tally.refused),
            _ => self.violation(spec, &format!("unexpected: {response:?}")),
        }
        if closes || !response.complete {
            Verdict::Over
        } else {
            Verdict::Next
        }
    }

    /// A client that did everything right got no answer.
    fn unanswered(&self, spec: &Spec, error: &RawError, kind: Kind) {
        let what = if error.is_timeout() {
            "hangs"
        } else {
            "got no answer"
        };
        self.violation(spec, &format!("{what} ({kind:?}): {error}"));
    }

    pub(crate) fn violation(&self, spec: &Spec, what: &str) {
        self.ledger
            .violation(format!("{} {spec} {what}", spec.method));
    }
}
