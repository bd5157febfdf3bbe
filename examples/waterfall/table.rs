//! What is printed.

use std::time::Duration;

use crate::args::Strategy;
use crate::record::Load;
use crate::time_wait::TimeWait;

const COLUMNS: [[&str; 2]; 8] = [
    ["total", "ms"],
    ["first", "object"],
    ["handshakes", "%"],
    ["slow start", "%"],
    ["round trips", "%"],
    ["transfer", "%"],
    ["conns", ""],
    ["TIME_WAIT", "browser, server"],
];

pub(crate) fn heading() -> String {
    let line = |at: usize| aligned("", &COLUMNS.map(|column| column[at].to_owned()));
    format!("{}\n{}", line(0), line(1))
}

pub(crate) fn row(strategy: Strategy, load: &Load, time_wait: Option<TimeWait>) -> String {
    let shares = load.shares();
    let percent = |share: f64| format!("{:.0}", share * 100.0);
    let held = time_wait.map_or_else(
        || "unknown".to_owned(),
        |held| format!("{}, {}", held.browser, held.server),
    );
    let columns = [
        ms(load.total()),
        ms(load.first_object()),
        percent(shares.handshakes),
        percent(shares.slow_start),
        percent(shares.round_trips),
        percent(shares.transfer),
        load.connections.len().to_string(),
        held,
    ];
    aligned(strategy.name(), &columns)
}

fn aligned(name: &str, columns: &[String; 8]) -> String {
    const WIDTHS: [usize; 8] = [8, 8, 12, 12, 13, 10, 7, 17];
    let cells = columns.iter().zip(WIDTHS);
    let cells = cells.map(|(column, width)| format!("{column:>width$}"));
    format!("{name:<19}{}", cells.collect::<String>())
}

fn ms(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_under_its_heading() {
        let load = Load {
            objects: Vec::new(),
            connections: Vec::new(),
        };
        let widths = heading().lines().map(str::len).collect::<Vec<_>>();
        let row = row(Strategy::ParallelPersistent, &load, None);
        assert_eq!(widths, [row.len(); 2]);
        assert!(row.ends_with("unknown"));
    }
}
