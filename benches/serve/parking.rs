//! What parking costs the connections that are not parked, and the one that is woken.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::load::{self, ask};
use crate::median;
use crate::memory::{PACE, open, pause, runtime};
use crate::process::Server;
use crate::servers::Kind;

/// Connections that are always busy.
const HOT: usize = 32;

/// A server, and connections to it on which nothing happens.
struct Crowded {
    kind: Kind,
    server: Server,
    idle: Vec<TcpStream>,
    hot: Vec<load::Result>,
    woken: Vec<load::Result>,
}

/// Both servers without idle connections, and with so many.
pub(crate) fn table(count: usize, rounds: usize, time: Duration) {
    let runtime = runtime();
    println!(
        "\n| server | idle beside | {HOT} hot: requests/s | CPU per request | a request on each idle one: CPU |"
    );
    println!("|---|---:|---:|---:|---:|");
    for idle in [0, count] {
        let mut servers =
            [Kind::OursHot, Kind::OursParked].map(|kind| Crowded::new(&runtime, kind, idle));
        for round in 0..=rounds {
            for server in &mut servers {
                let hot = load::run(&server.server, HOT, time);
                let woken = server.wake(&runtime);
                if round > 0 {
                    server.hot.push(hot);
                    server.woken.extend(woken);
                }
            }
        }
        for server in &servers {
            let woken = if server.woken.is_empty() {
                "-".to_owned()
            } else {
                format!("{:.2} us", median(&server.woken, |r| r.cpu))
            };
            println!(
                "| {} | {idle} | {:.0} | {:.2} us | {woken} |",
                server.kind.title(),
                median(&server.hot, |r| r.rate),
                median(&server.hot, |r| r.cpu),
            );
        }
    }
}

impl Crowded {
    fn new(runtime: &Runtime, kind: Kind, idle: usize) -> Self {
        let mut crowded = Self {
            kind,
            server: Server::start(kind),
            idle: Vec::new(),
            hot: Vec::new(),
            woken: Vec::new(),
        };
        let addr = SocketAddr::from(([127, 0, 0, 1], crowded.server.port));
        crowded.idle = runtime.block_on(open(addr, idle, Some(PACE)));
        crowded.settle(runtime);
        crowded
    }

    /// Until all idle connections are parked, where they are.
    fn settle(&mut self, runtime: &Runtime) {
        // Longer than the time after which they park.
        pause(runtime, Duration::from_millis(300));
        if self.kind.parks() {
            self.server.until_parked(self.idle.len());
        }
    }

    /// One request on each idle connection, one after the other, and what it takes to park them again.
    fn wake(&mut self, runtime: &Runtime) -> Option<load::Result> {
        self.settle(runtime);
        let (start, cpu) = (Instant::now(), self.server.cpu());
        runtime.block_on(async {
            for client in &mut self.idle {
                ask(client).await;
            }
        });
        let took = Instant::now() - start;
        self.settle(runtime);
        let cpu = self.server.cpu() - cpu;
        let requests = self.idle.len() as f64;
        (!self.idle.is_empty()).then(|| load::Result {
            rate: requests / took.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e6 / requests,
        })
    }
}
