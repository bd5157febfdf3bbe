//! Accepting.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use std::any::Any;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tower_idle_reaper::{Accept, ReapedIo, ReapedListener};
use tower_service::Service;

use crate::IncomingStream;
use crate::conn::{Core, Drive, Established};
use crate::counters::Counters;
use crate::race::{First, first};
use crate::stack::Stack;
use crate::tls::Establish;

/// A listener that is counted.
pub(crate) struct Counted<L> {
    pub(crate) inner: L,
    pub(crate) counters: Arc<Counters>,
    pub(crate) nodelay: bool,
}

impl<L: Accept> Accept for Counted<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> io::Result<(L::Io, L::Addr)> {
        let accepted = self.inner.accept().await;
        match &accepted {
            Ok((io, _)) => {
                self.counters.accepted.count();
                if let (true, Some(tcp)) = (self.nodelay, (io as &dyn Any).downcast_ref()) {
                    // A connection that is gone already will say so when it is read.
                    let _ = TcpStream::set_nodelay(tcp, true);
                }
            }
            Err(_) => self.counters.accept_errors.count(),
        }
        accepted
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.inner.local_addr()
    }

    fn peer_of(addr: &L::Addr) -> Option<SocketAddr> {
        L::peer_of(addr)
    }
}

/// A listener that several tasks accept from.
pub(crate) type SharedListener<L> = Arc<Mutex<ReapedListener<Counted<L>>>>;

/// Accepts until a drain says that nothing is to be accepted any more.
pub(crate) async fn accept<L, M, S, E, K>(
    listener: SharedListener<L>,
    core: Arc<Core<K>>,
    establish: E,
    make: M,
) where
    L: Accept,
    M: for<'a> Service<IncomingStream<'a, E::Io, L::Addr>, Response = S, Error = Infallible>
        + Clone
        + Send
        + 'static,
    for<'a> <M as Service<IncomingStream<'a, E::Io, L::Addr>>>::Future: Send,
    S: Send + 'static,
    E: Establish<L::Io>,
    K: Stack<E::Io, S>,
{
    loop {
        let accepted = {
            let next = async { listener.lock().await.accept().await };
            first(next, core.reaper.refusing()).await
        };
        let First::Left((io, addr)) = accepted else {
            return;
        };
        let connection = io.connection();
        let establishing = established(
            Arc::clone(&core.counters),
            io,
            addr,
            establish.clone(),
            make.clone(),
        );
        tokio::spawn(Drive::<_, _, K, _>::new(
            Arc::clone(&core),
            connection,
            establishing,
        ));
    }
}

/// Makes an accepted transport ready for HTTP, and its service.
async fn established<I, A, M, S, E>(
    counters: Arc<Counters>,
    io: ReapedIo<I>,
    addr: A,
    establish: E,
    mut make: M,
) -> Option<Established<E::Io, S>>
where
    A: Send,
    M: for<'a> Service<IncomingStream<'a, E::Io, A>, Response = S, Error = Infallible> + Send,
    for<'a> <M as Service<IncomingStream<'a, E::Io, A>>>::Future: Send,
    E: Establish<I>,
{
    let Ok((io, protocol)) = establish.establish(io).await else {
        counters.handshake_failures.count();
        return None;
    };
    let ready =
        poll_fn(|cx| Service::<IncomingStream<'_, E::Io, A>>::poll_ready(&mut make, cx)).await;
    let Ok(()) = ready;
    let Ok(service) = make
        .call(IncomingStream {
            io: io.get_ref(),
            remote_addr: &addr,
            connection: &io.connection(),
        })
        .await;
    Some((io, service, protocol))
}
