use std::{
    cell::Cell,
    collections::VecDeque,
    fmt,
    marker::{PhantomData, PhantomPinned},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    BodyProbe,
    script::{Hint, Script, ScriptError, Step},
};

pin_project! {
    /// A body that follows a [`Script`]. See the [module docs](super).
    ///
    /// `Default` is an empty body that tells its end at once.
    pub struct ScriptedBody {
        steps: VecDeque<Step>,
        hint: Hint,
        late_end: bool,
        life: Life,
        // Neither Unpin nor Sync: wrappers have to do without, as with hyper's and axum's bodies.
        #[pin]
        pinned: PhantomPinned,
        not_sync: PhantomData<Cell<()>>,
    }
}

/// Notes the drop.
struct Life(BodyProbe);

impl ScriptedBody {
    pub(super) fn new(script: &Script) -> (Self, BodyProbe) {
        let probe = BodyProbe::default();
        let body = Self {
            steps: script.steps.iter().cloned().collect(),
            hint: script.hint,
            late_end: script.late_end,
            life: Life(probe.clone()),
            pinned: PhantomPinned,
            not_sync: PhantomData,
        };
        (body, probe)
    }

    /// Whether a reader would still get a frame or an error, if it sees only trailers that `shows` lets through.
    pub(crate) fn more(&self, shows: impl Fn(&HeaderMap) -> bool) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Data(_) | Step::Error(_) => true,
            Step::Trailers(trailers) => shows(trailers),
            Step::Pending | Step::Stall => false,
        })
    }
}

impl Default for ScriptedBody {
    fn default() -> Self {
        Self::new(&Script::new()).0
    }
}

impl From<Bytes> for ScriptedBody {
    /// One data frame, as layers that answer by themselves need it.
    fn from(bytes: Bytes) -> Self {
        Self::new(&Script::new().data(bytes)).0
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = ScriptError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScriptError>>> {
        let this = self.project();
        let mut state = this.life.0.state();
        let over = match (state.ended, state.failed) {
            (true, _) => Some("its end"),
            (_, true) => Some("its error"),
            _ => None,
        };
        state.polls += 1;
        if let Some(over) = over {
            drop(state);
            panic!("a body was polled after {over}");
        }
        while let Some(Step::Stall) = this.steps.front() {
            if state.resumed == 0 {
                state.stalled = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.resumed -= 1;
            this.steps.pop_front();
        }
        let frame = match this.steps.pop_front() {
            None => {
                state.ended = true;
                return Poll::Ready(None);
            }
            Some(Step::Pending | Step::Stall) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Error(id)) => {
                state.failed = true;
                return Poll::Ready(Some(Err(ScriptError { id })));
            }
            Some(Step::Data(data)) => Frame::data(data),
            Some(Step::Trailers(trailers)) => Frame::trailers(trailers),
        };
        state.frames += 1;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.life.0.state();
        state.ended || (self.steps.is_empty() && !self.late_end)
    }

    fn size_hint(&self) -> SizeHint {
        self.hint.of(&self.steps)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.state().dropped = true;
    }
}

impl fmt::Debug for ScriptedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedBody")
            .field("steps", &self.steps)
            .field("hint", &self.hint)
            .finish_non_exhaustive()
    }
}
