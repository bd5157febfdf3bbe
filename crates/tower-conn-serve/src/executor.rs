//! Where the streams of HTTP/2 run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::Executor;
use pin_project_lite::pin_project;

use crate::counters::Counters;

/// Spawns the streams of HTTP/2 as tasks of tokio, and counts those that panic.
///
/// Its only use is as the type parameter of hyper's builder in [`Server::http2`](crate::Server::http2).
#[derive(Clone, Debug)]
pub struct StreamExecutor {
    counters: Arc<Counters>,
}

impl StreamExecutor {
    pub(crate) const fn new(counters: Arc<Counters>) -> Self {
        Self { counters }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(Counted {
            future: Some(future),
            counters: Arc::clone(&self.counters),
        });
    }
}

pin_project! {
    /// A stream whose panic ends it, and is counted.
    struct Counted<F> {
        #[pin]
        future: Option<F>,
        counters: Arc<Counters>,
    }
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Ready(());
        };
        // What panicked is not touched again, except to drop it.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(polled) => polled,
            Err(_) => {
                this.counters.panics.count();
                this.future.set(None);
                Poll::Ready(())
            }
        }
    }
}
