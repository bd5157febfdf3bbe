//! This server against `axum::serve` and a bare hyper loop, in one run.
//!
//! ```text
//! cargo bench --bench serve
//! cargo bench --bench serve -- memory 19000          # only that table, with so many connections
//! cargo bench --bench serve -- parking 5000          # only the cost of parking, beside so many idle connections
//! cargo bench --bench serve -- peer 127.0.0.1:8080 PID 10000   # memory of another server
//! ```
//!
//! Prints three tables: requests per second and CPU time per request at 1, 32 and 256 connections; the same
//! with and without parking, beside 5,000 connections that are idle, with what it takes to wake and park each of
//! these; memory per idle connection, of 10,000, and how long a drain takes with as many. `-- --test` runs
//! everything once with small numbers.
//!
//! Each server is a process of its own, started from this binary, with one thread. CPU time is that of
//! the server alone; rounds of all servers alternate, and the median is printed. Memory is measured
//! after one request on each connection: what the allocator has handed out, and what is resident.

#[path = "serve/load.rs"]
mod load;
#[path = "serve/memory.rs"]
mod memory;
#[path = "serve/parking.rs"]
mod parking;
#[path = "serve/process.rs"]
mod process;
#[path = "serve/servers.rs"]
mod servers;

use std::time::Duration;

use self::process::Server;
use self::servers::Kind;

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 9;
const TIME: Duration = Duration::from_millis(1500);

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["run", kind] => servers::run(Kind::named(kind)),
        ["peer", addr, pid, count] => memory::peer(
            addr.parse().expect("an address"),
            pid.parse().expect("a process id"),
            count.parse().expect("a number"),
        ),
        ["parking", count, ..] => {
            parking::table(count.parse().expect("a number"), ROUNDS, TIME);
        }
        ["memory", count, ..] => memory::table(count.parse().expect("a number")),
        ["load", ..] => throughput(ROUNDS, TIME),
        _ if args.contains(&"--test") => {
            throughput(1, Duration::from_millis(20));
            parking::table(20, 1, Duration::from_millis(20));
            memory::table(20);
        }
        _ => {
            throughput(ROUNDS, TIME);
            parking::table(5000, ROUNDS, TIME);
            memory::table(10_000);
        }
    }
}

fn throughput(rounds: usize, time: Duration) {
    println!("\n| server | connections | requests/s | CPU per request | of bare hyper |");
    println!("|---|---:|---:|---:|---:|");
    for connections in [1, 32, 256] {
        let mut servers: Vec<_> = Kind::LOADED.map(|kind| (kind, Server::start(kind))).into();
        let mut results = vec![Vec::new(); servers.len()];
        for round in 0..=rounds {
            for (n, (_, server)) in servers.iter_mut().enumerate() {
                let result = load::run(server, connections, time);
                if round > 0 {
                    results[n].push(result);
                }
            }
        }
        let hyper = median(&results[0], |r| r.cpu);
        for ((kind, _), results) in servers.iter().zip(&results) {
            let cpu = median(results, |r| r.cpu);
            println!(
                "| {} | {connections} | {:.0} | {:.2} us | {:.1} % |",
                kind.title(),
                median(results, |r| r.rate),
                cpu,
                100.0 * cpu / hyper
            );
        }
    }
}

fn median(results: &[load::Result], of: impl Fn(&load::Result) -> f64) -> f64 {
    let mut all: Vec<_> = results.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
