use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::{ConnectionRecord, Exchange, PeerConnection, Seen, record::Records};

/// A server on `127.0.0.1` that follows a script. See the [module docs](super).
/// Dropping it closes the port and all connections.
pub struct ScriptedPeer {
    addr: SocketAddr,
    records: Arc<Records>,
    task: JoinHandle<()>,
}

impl ScriptedPeer {
    /// Calls `script` with each request as soon as all of it has arrived.
    pub async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::by_exchange(script, false).await
    }

    /// Calls `script` with each request as soon as its head has arrived; [`Exchange::read_body`] reads the rest.
    pub async fn on_head<F, Fut>(script: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::by_exchange(script, true).await
    }

    /// Calls `script` with each accepted connection before anything is read from it. The connection
    /// is closed when the script drops it.
    pub async fn on_connect<F, Fut>(script: F) -> Self
    where
        F: Fn(PeerConnection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port on the loopback interface");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let records = Arc::new(Records::default());
        let task = tokio::spawn(accept(listener, Arc::clone(&records), script));
        Self {
            addr,
            records,
            task,
        }
    }

    async fn by_exchange<F, Fut>(script: F, head_only: bool) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let script = Arc::new(script);
        Self::on_connect(move |mut connection| {
            let script = Arc::clone(&script);
            async move {
                while connection.is_open() {
                    // The end of the connection is in the records.
                    let Ok(arrived) = connection.next(head_only).await else {
                        return;
                    };
                    let (exchange, returned) = Exchange::new(arrived, connection);
                    script(exchange).await;
                    match returned.await {
                        Ok(returned) => connection = returned,
                        Err(_) => return,
                    }
                }
            }
        })
        .await
    }

    /// Where the peer listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT` followed by this path.
    #[must_use]
    pub fn uri(&self, path: &str) -> http::Uri {
        format!("http://{}{path}", self.addr)
            .parse()
            .expect("a path that begins with a slash")
    }

    /// All requests so far, in the order of arrival.
    ///
    /// # Panics
    ///
    /// When the script has panicked; so do all other looks at the records.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.records.look(|state| state.requests.clone())
    }

    /// All connections so far, open or ended, in the order of acceptance.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionRecord> {
        self.records.look(|state| state.connections.clone())
    }

    /// How many connections have ended.
    #[must_use]
    pub fn closed_connections(&self) -> usize {
        self.records.look(|state| {
            state
                .connections
                .iter()
                .filter(|record| record.end.is_some())
                .count()
        })
    }

    /// Waits until this many requests have arrived.
    ///
    /// # Panics
    ///
    /// After 10 seconds.
    pub async fn until_requests(&self, count: usize) {
        self.until(&format!("{count} requests"), |_, requests| {
            requests.len() >= count
        })
        .await;
    }

    /// Waits until this many connections have ended. A peer sees its client's close when the script does
    /// not hold the connection, or reads from it.
    ///
    /// # Panics
    ///
    /// After 10 seconds.
    pub async fn until_closed(&self, count: usize) {
        self.until(&format!("{count} closed connections"), |connections, _| {
            connections
                .iter()
                .filter(|record| record.end.is_some())
                .count()
                >= count
        })
        .await;
    }

    /// Waits until the records are as `reached` wants them; `what` says so in the panic.
    ///
    /// # Panics
    ///
    /// After 10 seconds.
    pub async fn until(
        &self,
        what: &str,
        mut reached: impl FnMut(&[ConnectionRecord], &[Seen]) -> bool,
    ) {
        let wait = self
            .records
            .until(|state| reached(&state.connections, &state.requests));
        if timeout(Duration::from_secs(10), wait).await.is_err() {
            panic!("waited in vain for {what}: {self:?}");
        }
    }
}

impl fmt::Debug for ScriptedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedPeer")
            .field("addr", &self.addr)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl Drop for ScriptedPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<F, Fut>(listener: TcpListener, records: Arc<Records>, script: F)
where
    F: Fn(PeerConnection) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    // Aborts all connections when the peer is dropped.
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let _ = stream.set_nodelay(true);
                let number = records.accepted();
                tasks.spawn(script(PeerConnection::new(stream, number, Arc::clone(&records))));
            }
            Some(finished) = tasks.join_next() => {
                if let Err(error) = finished {
                    if error.is_panic() {
                        records.panicked(crate::panic_text(&*error.into_panic()));
                    }
                }
            }
        }
    }
}
