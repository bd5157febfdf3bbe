//! Looking at the socket before a request is written.

use std::io::Write as _;
use std::net::TcpListener;
use std::task::Waker;

use tower_conn_core::Side;

use super::*;
use crate::PortBudget;

struct Nobody;

impl SocketOwner for Nobody {
    fn socket_closed(&self, _: &Origin, _: &Connection) {}
}

/// A transport that has idled and carries a request now, and its peer.
async fn connected() -> (
    PoolIo<TokioIo<TcpStream>>,
    Arc<IoState>,
    std::net::TcpStream,
) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let stream = TcpStream::connect(addr).await.expect("connects");
    let (peer, _) = listener.accept().expect("connected");
    let watch: Arc<Watch<dyn PoolObserver>> = Arc::new(Watch {
        ports: PortBudget::default(),
        observer: (),
    });
    let owner: Weak<dyn SocketOwner> = Weak::<Nobody>::new();
    let origin = Origin::of(&"http://h/".parse().expect("a URI")).expect("an origin");
    let connection = Connection::builder(Side::Client).build();
    let state = Arc::new(IoState::new());
    let guard = SocketGuard::new(owner, watch, origin, connection, Arc::clone(&state));
    state.look_before_use();
    (
        PoolIo::new(TokioIo::new(stream), Wire::Http1, guard),
        state,
        peer,
    )
}

fn write<T: Write + Unpin + 'static>(io: &mut PoolIo<T>) -> io::Result<usize> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(io).poll_write(&mut cx, b"GET") {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("there is room"),
    }
}

#[tokio::test]
async fn a_write_that_comes_before_the_read_looks_itself() {
    let (mut io, state, mut peer) = connected().await;
    peer.write_all(b"x").expect("sent");
    assert!(write(&mut io).is_err());
    assert_eq!(
        (state.end(), state.written()),
        (CloseReason::UnsolicitedBytes, 0)
    );

    let (mut io, state, peer) = connected().await;
    drop(peer);
    assert!(write(&mut io).is_err());
    assert_eq!((state.end(), state.written()), (CloseReason::PeerClosed, 0));
}

#[tokio::test]
async fn what_arrives_after_the_write_is_not_taken_for_unasked() {
    let (mut io, state, mut peer) = connected().await;
    assert_eq!(write(&mut io).expect("written"), 3);
    let begun = io.guard.connection.begin();
    peer.write_all(b"HTTP").expect("sent");
    // The runtime has not reported it yet: the read is pending, and must not look.
    let mut space = [0; 8];
    let mut buf = ReadBuf::new(&mut space);
    let mut cx = Context::from_waker(Waker::noop());
    let read = Pin::new(&mut io).poll_read(&mut cx, &mut buf);
    assert!(
        matches!(read, Poll::Pending | Poll::Ready(Ok(()))),
        "{read:?}"
    );
    assert!(!state.is_dead());
    drop(begun);
}
