//! Connections over the link, from the browser's end to the server's.

use std::io;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tower::Service;

use crate::model::Bottleneck;
use crate::page::Page;
use crate::record::Recorder;
use crate::relay::{Way, relay};
use crate::server;
use crate::time_wait::{Ports, Sockets, TimeWait};

/// One end of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type BoxStream = Box<dyn Stream>;

/// What the link is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) rtt: Duration,
    pub(crate) bits_per_second: Option<NonZeroU64>,
    /// Round trips before a connection can be used: TCP's own, and what is built on it.
    pub(crate) handshakes: u32,
}

/// What connections are made of: browser and relay, relay and server.
enum Wires {
    /// Two sockets on the loopback interface.
    Sockets {
        browser: TcpListener,
        server: TcpListener,
        opened: Sockets,
    },
    #[cfg(test)]
    Memory,
}

/// A link with a server behind it.
pub(crate) struct Network {
    conditions: Conditions,
    wires: Mutex<Wires>,
    up: StdMutex<Bottleneck>,
    down: StdMutex<Bottleneck>,
    recorder: Recorder,
    page: Page,
    running: StdMutex<JoinSet<()>>,
}

impl Network {
    /// Over real sockets.
    pub(crate) async fn new(conditions: Conditions, page: Page) -> io::Result<Arc<Self>> {
        let wires = Wires::Sockets {
            browser: TcpListener::bind("127.0.0.1:0").await?,
            server: TcpListener::bind("127.0.0.1:0").await?,
            opened: Sockets::default(),
        };
        Ok(Self::over(wires, conditions, page))
    }

    /// Without sockets, so that it runs on a paused clock.
    #[cfg(test)]
    pub(crate) fn in_memory(conditions: Conditions, page: Page) -> Arc<Self> {
        Self::over(Wires::Memory, conditions, page)
    }

    fn over(wires: Wires, conditions: Conditions, page: Page) -> Arc<Self> {
        let link = || StdMutex::new(Bottleneck::new(conditions.bits_per_second));
        Arc::new(Self {
            conditions,
            wires: Mutex::new(wires),
            up: link(),
            down: link(),
            recorder: Recorder::new(),
            page,
            running: StdMutex::default(),
        })
    }

    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// From one end of the link to the other.
    pub(crate) fn delay(&self) -> Duration {
        self.conditions.rtt / 2
    }

    /// Opens a connection; the browser's end of it, when the handshakes are over.
    pub(crate) async fn open(self: Arc<Self>) -> io::Result<BoxStream> {
        let connection = self.recorder.opening();
        let opened = self.recorder.now() + self.conditions.rtt * self.conditions.handshakes;
        let (browser, [near, far], server) = self.wires.lock().await.connect().await?;
        let relaying = Arc::clone(&self).relay_both(connection, near, far);
        let serving = server::serve(Arc::clone(&self), connection, server);
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.spawn(relaying);
            running.spawn(serving);
        }
        self.recorder.sleep_until(opened).await;
        self.recorder.opened(connection);
        Ok(browser)
    }

    async fn relay_both(self: Arc<Self>, connection: usize, near: BoxStream, far: BoxStream) {
        let (from_browser, to_browser) = tokio::io::split(near);
        let (from_server, to_server) = tokio::io::split(far);
        let way = |link, log_as| Way {
            link,
            delay: self.delay(),
            recorder: &self.recorder,
            log_as,
        };
        // An error is that of a side that has closed, and ends the other direction, too.
        let _ = tokio::try_join!(
            relay(from_browser, to_server, way(&self.up, None)),
            relay(from_server, to_browser, way(&self.down, Some(connection))),
        );
    }

    /// Waits until every connection has closed, for a while.
    pub(crate) async fn closed(&self) -> Result<(), tokio::time::error::Elapsed> {
        let mut running =
            std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let limit = self.conditions.rtt * 4 + Duration::from_secs(5);
        tokio::time::timeout(limit, async {
            while running.join_next().await.is_some() {}
        })
        .await
    }

    /// What of its sockets is in TIME_WAIT, if the system says.
    pub(crate) async fn time_wait(&self) -> Option<TimeWait> {
        match &*self.wires.lock().await {
            Wires::Sockets { opened, .. } => TimeWait::read(opened),
            #[cfg(test)]
            Wires::Memory => None,
        }
    }
}

impl Wires {
    /// The browser's end, both ends of the relay, and the server's end.
    async fn connect(&mut self) -> io::Result<(BoxStream, [BoxStream; 2], BoxStream)> {
        match self {
            Self::Sockets {
                browser,
                server,
                opened,
            } => {
                let (client, near) = socket_pair(browser).await?;
                let (far, served) = socket_pair(server).await?;
                opened.browser.push(ports(&client)?);
                opened.server.push(ports(&served)?);
                Ok((
                    Box::new(client),
                    [Box::new(near), Box::new(far)],
                    Box::new(served),
                ))
            }
            #[cfg(test)]
            Self::Memory => {
                let (client, near) = tokio::io::duplex(1 << 16);
                let (far, served) = tokio::io::duplex(1 << 16);
                Ok((
                    Box::new(client),
                    [Box::new(near), Box::new(far)],
                    Box::new(served),
                ))
            }
        }
    }
}

/// A connection to this listener, and what it accepts for it.
async fn socket_pair(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?).await?;
    loop {
        let (accepted, peer) = listener.accept().await?;
        // Somebody else on this machine may have connected in between.
        if peer == client.local_addr()? {
            client.set_nodelay(true)?;
            accepted.set_nodelay(true)?;
            return Ok((client, accepted));
        }
    }
}

fn ports(socket: &TcpStream) -> io::Result<Ports> {
    Ok((socket.local_addr()?.port(), socket.peer_addr()?.port()))
}

/// Opens connections for the pool.
#[derive(Clone)]
pub(crate) struct Connector(pub(crate) Arc<Network>);

impl Service<Uri> for Connector {
    type Response = Transport;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Transport>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let network = Arc::clone(&self.0);
        Box::pin(async move { Ok(Transport(TokioIo::new(network.open().await?))) })
    }
}

/// The browser's end of a connection, as the pool wants it.
pub(crate) struct Transport(TokioIo<BoxStream>);

impl Connection for Transport {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
