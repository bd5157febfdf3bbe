use std::{
    fmt,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Body;

use super::{
    BodyRules,
    drive::{BoxError, Until, compare},
    task::Wakes,
};
use crate::body::{BodyProbe, Hint, Script, ScriptedBody};

/// Checks that a body wrapper forwards everything: data frames unchanged and in order, trailers, errors with their
/// identity, `size_hint` and `is_end_stream` at each step, wakes, and the drop; and that it does not poll the inner body
/// after its end.
///
/// `wrap` is called for many bodies. For wrappers that differ on purpose see [`BodyContract`].
///
/// # Panics
///
/// With the scenario and the step at which the wrapper differs.
pub fn assert_body_forwarding<W, B>(wrap: W)
where
    W: FnMut(ScriptedBody) -> B,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    BodyContract::new(wrap).check();
}

/// [`assert_body_forwarding`] with [`BodyRules`].
pub struct BodyContract<W> {
    wrap: W,
    rules: BodyRules,
}

impl<W> BodyContract<W> {
    /// The contract of plain forwarding.
    pub fn new(wrap: W) -> Self {
        Self {
            wrap,
            rules: BodyRules::new(),
        }
    }

    /// In what this wrapper differs.
    #[must_use]
    pub fn rules(mut self, rules: BodyRules) -> Self {
        self.rules = rules;
        self
    }

    /// Runs all scenarios.
    ///
    /// # Panics
    ///
    /// With the scenario and the step at which the wrapper differs.
    pub fn check<B>(mut self)
    where
        W: FnMut(ScriptedBody) -> B,
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        for scenario in Scenario::all() {
            let (body, probe) = scenario.script.body();
            scenario.check((self.wrap)(body), &probe, &self.rules);
        }
    }
}

impl<W> fmt::Debug for BodyContract<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyContract")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// One script and how far it is driven.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) script: Script,
    until: Until,
    stalls: bool,
}

// ===== impl Scenario =====

impl Scenario {
    pub(super) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (name, script, frames) in scripts() {
            for (kind, script) in [
                ("", script.clone()),
                (", late end", script.clone().late_end()),
                (", unknown size", script.clone().hint(Hint::Unknown)),
                (", size within 2", script.clone().hint(Hint::Within(2))),
            ] {
                let drops = (0..=frames).map(Until::Frames);
                for until in [Until::None, Until::EndStream].into_iter().chain(drops) {
                    all.push(Self {
                        name: format!("{name}{kind}, until {until:?}"),
                        script: script.clone(),
                        until,
                        stalls: false,
                    });
                }
            }
        }
        all.push(Self {
            name: "a stall".to_owned(),
            script: Script::new().data("ab").stall().data("c"),
            until: Until::None,
            stalls: true,
        });
        all
    }

    /// Drives the wrapped body through this scenario, then drops it.
    pub(super) fn check<B>(&self, wrapped: B, probe: &BodyProbe, rules: &BodyRules)
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        if self.stalls {
            self.check_stall(wrapped, probe);
        } else {
            let (plain, _) = self.script.body();
            let mut wrapped = Box::pin(wrapped);
            compare(wrapped.as_mut(), plain, rules, self.until, &self.name);
        }
        assert!(
            probe.dropped() || rules.may_outlive,
            "{}: the inner body outlives the dropped wrapper",
            self.name
        );
    }

    /// A pending body is polled by two tasks in turn; the last one is to be woken.
    fn check_stall<B: Body<Data = Bytes>>(&self, wrapped: B, probe: &BodyProbe) {
        let mut wrapped = pin!(wrapped);
        let (first, second) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        let mut poll = |wakes: &Arc<Wakes>| {
            let waker = Waker::from(Arc::clone(wakes));
            match wrapped
                .as_mut()
                .poll_frame(&mut Context::from_waker(&waker))
            {
                Poll::Pending => None,
                Poll::Ready(Some(Ok(frame))) => Some(frame.into_data().ok()),
                Poll::Ready(_) => Some(None),
            }
        };
        let name = &self.name;
        assert_eq!(
            poll(&first),
            Some(Some(Bytes::from("ab"))),
            "{name}: before it"
        );
        assert_eq!(poll(&first), None, "{name}: Pending becomes something else");
        assert_eq!(
            poll(&second),
            None,
            "{name}: Pending becomes something else"
        );
        let before = second.count();
        probe.resume();
        assert!(
            second.count() > before,
            "{name}: the task that polled last is not woken"
        );
        assert_eq!(
            poll(&second),
            Some(Some(Bytes::from("c"))),
            "{name}: after it"
        );
    }
}

/// Scripts with the number of their frames.
fn scripts() -> Vec<(&'static str, Script, usize)> {
    let mut trailers = HeaderMap::new();
    trailers.append("x-sum", HeaderValue::from_static("1"));
    trailers.append("x-sum", HeaderValue::from_static("2"));
    trailers.append(
        "x-bytes",
        HeaderValue::from_bytes(b"\xff").expect("obs-text is allowed"),
    );
    let data = Script::new().data("abc");
    vec![
        ("empty", Script::new(), 0),
        ("one frame", data.clone(), 1),
        (
            "four frames, one empty, one large",
            Script::new()
                .data("a")
                .data("")
                .data(vec![7; 100_000])
                .data("bc"),
            4,
        ),
        (
            "data and trailers",
            data.clone().trailers(trailers.clone()),
            2,
        ),
        (
            "trailers alone",
            Script::new().trailers(trailers.clone()),
            1,
        ),
        ("data and an error", data.clone().error(3), 1),
        (
            "an error before the promised data",
            Script::new().error(4).data("abc"),
            0,
        ),
        (
            "pending between all frames",
            Script::new()
                .pending()
                .data("ab")
                .pending()
                .pending()
                .data("c")
                .pending()
                .trailers(trailers)
                .pending(),
            3,
        ),
        ("pending before the end", data.pending(), 1),
    ]
}
