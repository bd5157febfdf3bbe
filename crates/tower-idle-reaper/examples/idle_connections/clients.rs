//! The other ends of the connections: here, or in a process of their own.

use std::io;
use std::process::Stdio;

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
    Lines,
};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Error;
use crate::servers::Server;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

pub(crate) enum Clients<'a> {
    InMemory(&'a Server, Vec<DuplexStream>),
    OnSockets(Box<Process>),
}

/// A process that obeys a line with a number: how many new connections, or `again` and how many of
/// the newest are to send another request. It answers with a line when they have their answers.
pub(crate) struct Process {
    _child: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
}

impl<'a> Clients<'a> {
    pub(crate) const fn in_memory(server: &'a Server) -> Self {
        Self::InMemory(server, Vec::new())
    }

    pub(crate) async fn on_sockets(server: &Server) -> Result<Self, Error> {
        let addr = server.listen().await?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["client", &addr.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().ok_or("no pipe")?;
        let reports = child.stdout.take().ok_or("no pipe")?;
        Ok(Self::OnSockets(Box::new(Process {
            _child: child,
            orders,
            reports: BufReader::new(reports).lines(),
        })))
    }

    /// Opens so many connections, each with one request.
    pub(crate) async fn open(&mut self, count: usize) -> Result<(), Error> {
        match self {
            Self::InMemory(server, all) => {
                all.reserve_exact(count);
                for _ in 0..count {
                    let mut client = server.pipe();
                    ask(&mut client).await?;
                    all.push(client);
                }
                Ok(())
            }
            Self::OnSockets(process) => process.order(&count.to_string()).await,
        }
    }

    /// Sends another request on so many of the newest.
    pub(crate) async fn ask_again(&mut self, count: usize) -> Result<(), Error> {
        match self {
            Self::InMemory(_, all) => {
                for client in all.iter_mut().rev().take(count) {
                    ask(client).await?;
                }
                Ok(())
            }
            Self::OnSockets(process) => process.order(&format!("again {count}")).await,
        }
    }
}

impl Process {
    async fn order(&mut self, order: &str) -> Result<(), Error> {
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .await?;
        match self.reports.next_line().await?.as_deref() {
            Some("done") => Ok(()),
            report => Err(format!("the clients failed: {report:?}").into()),
        }
    }
}

/// The process of the clients.
pub(crate) async fn run_child(addr: &str) -> Result<(), Error> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut clients = Vec::new();
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        if let Some(count) = order.strip_prefix("again ") {
            for client in clients.iter_mut().rev().take(count.parse()?) {
                ask(client).await?;
            }
        } else {
            for _ in 0..order.parse()? {
                let mut client = TcpStream::connect(addr).await?;
                client.set_nodelay(true)?;
                ask(&mut client).await?;
                clients.push(client);
            }
        }
        println!("done");
    }
    Ok(())
}

/// One request, and its answer.
pub(crate) async fn ask<T: AsyncRead + AsyncWrite + Unpin>(client: &mut T) -> io::Result<()> {
    client.write_all(GET).await?;
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\nhello") {
        if client.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
