//! A server in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use crate::servers::Kind;

pub(crate) struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) port: u16,
}

/// What a server says of its memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) live: usize,
    pub(crate) resident: usize,
    pub(crate) parked: usize,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        let binary = std::env::current_exe().expect("this binary");
        let mut child = Command::new(binary)
            .args(["run", &format!("{kind:?}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut server = Self {
            child,
            input,
            output,
            port: 0,
        };
        server.port = server.numbers()[0].try_into().expect("a port");
        server
    }

    pub(crate) fn memory(&mut self) -> Memory {
        let told = self.ask("memory");
        Memory {
            live: told[0],
            resident: told[1],
            parked: told[2],
        }
    }

    /// Its memory once at least so many connections are parked.
    pub(crate) fn until_parked(&mut self, count: usize) -> Memory {
        let start = Instant::now();
        loop {
            let memory = self.memory();
            if memory.parked >= count {
                return memory;
            }
            assert!(
                Instant::now() - start < Duration::from_secs(60),
                "{memory:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How long it took, in microseconds, and how many connections it closed.
    pub(crate) fn drain(&mut self) -> (Duration, usize) {
        let told = self.ask("drain");
        (Duration::from_micros(told[0] as u64), told[1])
    }

    /// CPU time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }

    fn ask(&mut self, command: &str) -> Vec<usize> {
        writeln!(self.input, "{command}").expect("the server listens");
        self.numbers()
    }

    fn numbers(&mut self) -> Vec<usize> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the server speaks");
        line.split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Proportional resident memory of a process, in bytes; 0 where it cannot be told.
pub(crate) fn resident(pid: u32) -> usize {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) * 1024
}

/// CPU time of a process: to the nanosecond where the scheduler tells, 0 where it does not.
fn cpu(pid: u32) -> Duration {
    let schedstat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanos = schedstat.split_whitespace().next();
    Duration::from_nanos(nanos.and_then(|n| n.parse().ok()).unwrap_or(0))
}
