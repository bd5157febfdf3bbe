//! Two futures, of which the first one that is ready counts.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

pub(crate) enum First<A, B> {
    Left(A),
    Right(B),
}

/// Polls both, the left one first, until one is ready; the other is dropped.
pub(crate) async fn first<A: Future, B: Future>(left: A, right: B) -> First<A::Output, B::Output> {
    let mut left = pin!(left);
    let mut right = pin!(right);
    poll_fn(|cx| {
        if let Poll::Ready(output) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(output));
        }
        right.as_mut().poll(cx).map(First::Right)
    })
    .await
}
