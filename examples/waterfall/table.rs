//! What is printed.

use std::time::Duration;

use crate::args::Strategy;
use crate::record::Load;
use crate::time_wait::TimeWait;

pub(crate) fn heading() -> String {
    format!(
        "{:<20} {:>9} {:>9} {:>11} {:>11} {:>11} {:>9} {:>6} {:>18}\n{:<20} {:>9} {:>9} {:>11} {:>11} {:>11} {:>9} {:>6} {:>18}",
        "",
        "total",
        "first",
        "handshakes",
        "slow start",
        "round trips",
        "transfer",
        "conns",
        "TIME_WAIT",
        "",
        "ms",
        "object",
        "%",
        "%",
        "%",
        "%",
        "",
        "browser, server",
    )
}

pub(crate) fn row(strategy: Strategy, load: &Load, time_wait: Option<TimeWait>) -> String {
    let shares = load.shares();
    let percent = |share: f64| format!("{:.0}", share * 100.0);
    let held = time_wait.map_or_else(
        || "unknown".to_owned(),
        |held| format!("{}, {}", held.browser, held.server),
    );
    format!(
        "{:<20} {:>9} {:>9} {:>11} {:>11} {:>11} {:>9} {:>6} {held:>18}",
        strategy.name(),
        ms(load.total()),
        ms(load.first_object()),
        percent(shares.handshakes),
        percent(shares.slow_start),
        percent(shares.round_trips),
        percent(shares.transfer),
        load.connections.len(),
    )
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
