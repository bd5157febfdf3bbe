//! tower-pipeline-guard: hyper's server with the guard around it, next to the same server without it,
//! when requests come one at a time: what its users pay who have no client that pipelines.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use criterion::Criterion;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::{Layer, service_fn};
use tower_pipeline_guard::Pipeline;

const REQUEST: &[u8] = b"GET /some/path?query HTTP/1.1\r\nHost: example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";

pub(crate) fn bench(criterion: &mut Criterion) {
    let subjects = [("bare", None), ("guard", Some(1)), ("parallel_8", Some(8))];
    for (name, parallel) in subjects {
        let mut exchange = server(parallel);
        exchange();
        let allocations = allocation_counter::measure(&mut *exchange).count_total;
        println!("pipeline_guard/{name}: allocations: {allocations}");
    }
    let mut group = criterion.benchmark_group("pipeline_guard");
    for (name, parallel) in subjects {
        let mut exchange = server(parallel);
        group.bench_function(name, |bencher| bencher.iter(&mut exchange));
    }
    group.finish();
}

async fn answer<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

/// A connection; each call is one exchange on it.
fn server(parallel: Option<usize>) -> Box<dyn FnMut()> {
    let wire = Rc::new(Wire::default());
    let io = OneAtATime(Rc::clone(&wire));
    let service = service_fn(answer);
    let builder = http1::Builder::new();
    match parallel {
        None => {
            let service = TowerToHyperService::new(service);
            exchanges(builder.serve_connection(TokioIo::new(io), service), wire)
        }
        Some(calls) => {
            let calls = NonZeroUsize::new(calls).expect("not zero");
            let (io, guard) = Pipeline::new().parallel(calls).wrap(io);
            let service = TowerToHyperService::new(guard.layer(service_fn(answer)));
            exchanges(builder.serve_connection(TokioIo::new(io), service), wire)
        }
    }
}

fn exchanges(
    connection: impl Future<Output = hyper::Result<()>> + 'static,
    wire: Rc<Wire>,
) -> Box<dyn FnMut()> {
    let mut connection = Box::pin(connection);
    Box::new(move || {
        wire.request.set(true);
        let writes = wire.writes.get();
        let mut context = Context::from_waker(Waker::noop());
        assert!(connection.as_mut().poll(&mut context).is_pending());
        assert_eq!(wire.writes.get(), writes + 1, "answered in one write");
    })
}

#[derive(Default)]
struct Wire {
    /// A request is there to be read.
    request: Cell<bool>,
    writes: Cell<usize>,
}

struct OneAtATime(Rc<Wire>);

impl AsyncRead for OneAtATime {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.0.request.take() {
            return Poll::Pending;
        }
        buf.put_slice(REQUEST);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OneAtATime {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.writes.set(self.0.writes.get() + 1);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
