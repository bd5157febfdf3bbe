//! The table of requests and the summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tower_conn_pool::ConnectionUse;

use crate::fetch::Outcome;
use crate::tally::Counts;

const HEADINGS: [&str; 13] = [
    "", "status", "http", "bytes", "conn", "use", "tries", "lookup", "connect", "tls", "wait",
    "body", "url",
];

/// One line for each request; times in milliseconds.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for (n, outcome) in outcomes.iter().enumerate() {
        rows.push(row(n + 1, outcome));
    }
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for (row, outcome) in rows
        .iter()
        .zip(std::iter::once(None).chain(outcomes.iter().map(Some)))
    {
        let (url, cells) = row.split_last().expect("as many as headings");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "{cell:>width$}  ");
        }
        text.push_str(url);
        text.push('\n');
        if let Some(error) = outcome.and_then(|outcome| outcome.error.as_ref()) {
            let _ = writeln!(text, "{:>1$}  {error}", "", widths[0]);
        }
    }
    text
}

fn row(n: usize, outcome: &Outcome) -> [String; 13] {
    let dash = || "-".to_owned();
    let opening = |step: fn(&crate::connector::Opening) -> Option<Duration>| {
        let time = outcome.opening.as_ref().and_then(step);
        time.map_or_else(dash, millis)
    };
    let answered = outcome.status.is_some();
    [
        n.to_string(),
        match outcome.status {
            Some(status) if outcome.error.is_some() => format!("{} cut", status.as_u16()),
            Some(status) => status.as_u16().to_string(),
            None => "failed".to_owned(),
        },
        outcome.version.map_or_else(dash, |version| {
            // "HTTP/1.1", and "HTTP/2.0" for what is called HTTP/2.
            let text = format!("{version:?}");
            let number = text.trim_start_matches("HTTP/");
            number.replace("2.0", "2")
        }),
        if answered {
            outcome.bytes.to_string()
        } else {
            dash()
        },
        outcome.connection.map_or_else(dash, |id| format!("#{id}")),
        outcome.usage.as_ref().map_or_else(dash, used),
        outcome.retries.attempts.to_string(),
        opening(|it| it.lookup),
        opening(|it| Some(it.connect)),
        opening(|it| it.tls),
        millis(outcome.wait),
        if answered {
            millis(outcome.body)
        } else {
            dash()
        },
        outcome.url.to_string(),
    ]
}

/// Whether the connection was new, or after how many exchanges and how long a pause it was used.
fn used(usage: &ConnectionUse) -> String {
    match (usage.exchanges_before, usage.idle_for) {
        (0, _) => "new".to_owned(),
        (before, Some(idle)) if idle >= Duration::from_secs(1) => {
            format!("after {before}, idle {:.1} s", idle.as_secs_f64())
        }
        (before, _) => format!("after {before}"),
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// How far it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Requests to be made.
    pub(crate) asked: usize,
    /// Of these, the ones that were begun.
    pub(crate) begun: usize,
}

/// What it all came to.
pub(crate) fn summary(
    outcomes: &[Outcome],
    progress: Progress,
    counts: &Counts,
    elapsed: Duration,
) -> String {
    let failed = outcomes.iter().filter(|outcome| outcome.failed()).count();
    let bytes: u64 = outcomes.iter().map(|outcome| outcome.bytes).sum();
    let reused = outcomes
        .iter()
        .filter(|outcome| outcome.usage.is_some_and(|usage| usage.is_reused()))
        .count();
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<12} {value}");
    };

    let mut requests = format!("{}, {failed} failed", outcomes.len());
    for (count, what) in [
        (progress.begun.saturating_sub(outcomes.len()), "cut off"),
        (progress.asked - progress.begun, "not begun"),
    ] {
        if count > 0 {
            let _ = write!(requests, ", {count} {what}");
        }
    }
    line("requests", requests);
    line("attempts", attempts(outcomes));
    line(
        "connections",
        format!(
            "{} opened, {reused} of the requests on a used one",
            counts.opened
        ),
    );
    if !counts.closed.is_empty() {
        line("closed", list(&counts.closed));
    }
    for (hint, kept) in &counts.announced {
        let kept = kept.map_or_else(
            || "without a limit".to_owned(),
            |kept| format!("{:.1} s", kept.as_secs_f64()),
        );
        line("announced", format!("{hint}; kept {kept}"));
    }
    line("bytes", format!("{bytes} of bodies"));
    let mut heads: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.status.is_some())
        .map(Outcome::to_head)
        .collect();
    heads.sort_unstable();
    let mut time = format!("{:.2} s", elapsed.as_secs_f64());
    if let Some(longest) = heads.last() {
        let rank = |percent: usize| heads[(heads.len() * percent).div_ceil(100) - 1];
        let _ = write!(
            time,
            "; to the response head: median {} ms, 95 % {} ms, longest {} ms",
            millis(rank(50)),
            millis(rank(95)),
            millis(*longest)
        );
    }
    line("time", time);
    text
}

/// How many attempts, and why those after the first were made.
fn attempts(outcomes: &[Outcome]) -> String {
    let made: u64 = outcomes
        .iter()
        .map(|outcome| u64::from(outcome.retries.attempts))
        .sum();
    let mut reasons = BTreeMap::new();
    for reason in outcomes.iter().flat_map(|outcome| &outcome.retries.reasons) {
        *reasons.entry(reason.to_string()).or_default() += 1;
    }
    if reasons.is_empty() {
        made.to_string()
    } else {
        format!("{made}, repeated for: {}", list(&reasons))
    }
}

fn list<K: ToString>(counts: &BTreeMap<K, u64>) -> String {
    let parts: Vec<_> = counts
        .iter()
        .map(|(what, count)| format!("{} {count}", what.to_string()))
        .collect();
    parts.join(", ")
}
