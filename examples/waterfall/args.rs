//! The command line.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Loads one page in every way that HTTP has to use connections, over a link with a delay.
#[derive(Debug, Parser)]
#[command(name = "waterfall")]
pub(crate) struct Args {
    /// Round-trip time of the link, from 2ms to 5s.
    #[arg(long, default_value = "50ms", value_parser = round_trip)]
    pub(crate) rtt: Duration,
    /// Bandwidth of the link in each direction, such as 20Mbit, or unlimited.
    #[arg(long, default_value = "20Mbit")]
    pub(crate) bandwidth: Bandwidth,
    /// Connections at a time, where there are several; browsers open 6.
    #[arg(long, default_value = "6", value_parser = up_to_64)]
    pub(crate) parallel: NonZeroUsize,
    /// Pipelined requests at a time.
    #[arg(long, default_value = "16", value_parser = up_to_64)]
    pub(crate) depth: NonZeroUsize,
    /// Opening a connection takes a second round trip, as with TLS 1.3.
    #[arg(long)]
    pub(crate) tls: bool,
    /// These only, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Strategy>,
    /// Folder for a waterfall of each, and an overview of all, as SVG; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
}

impl Args {
    pub(crate) fn strategies(&self) -> Vec<Strategy> {
        let all = Strategy::value_variants().iter().copied();
        all.filter(|strategy| self.only.is_empty() || self.only.contains(strategy))
            .collect()
    }
}

/// How connections are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// A new connection for each object, one after the other.
    Serial,
    /// A new connection for each object, some at a time.
    Parallel,
    /// One connection that stays open, one request at a time.
    Persistent,
    /// Some connections that stay open: HTTP/1.1 in browsers.
    ParallelPersistent,
    /// One connection, several requests at a time, answered in order.
    Pipelined,
    /// One HTTP/2 connection, answers interleaved.
    Multiplexed,
}

impl Strategy {
    /// The name on the command line, in the table and of the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Parallel => "parallel",
            Self::Persistent => "persistent",
            Self::ParallelPersistent => "parallel-persistent",
            Self::Pipelined => "pipelined",
            Self::Multiplexed => "multiplexed",
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Serial => "a new connection each, one at a time",
            Self::Parallel => "a new connection each, several at a time",
            Self::Persistent => "one connection, one request at a time",
            Self::ParallelPersistent => "several connections that are kept",
            Self::Pipelined => "one connection, answers in order",
            Self::Multiplexed => "one HTTP/2 connection, answers interleaved",
        }
    }
}

/// Bits a second; `None` is without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bandwidth(pub(crate) Option<NonZeroU64>);

const UNITS: [(&str, f64); 3] = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];

impl FromStr for Bandwidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if lower == "unlimited" {
            return Ok(Self(None));
        }
        let value = lower.strip_suffix("/s").unwrap_or(&lower);
        UNITS
            .iter()
            .find_map(|(unit, factor)| Some((value.strip_suffix(unit)?, factor)))
            .and_then(|(number, factor)| Some(number.trim_end().parse::<f64>().ok()? * factor))
            .filter(|bits| (64e3..=100e9).contains(bits))
            .map(|bits| Self(NonZeroU64::new(bits as u64)))
            .ok_or_else(|| "from 64kbit to 100Gbit, such as 20Mbit, or unlimited".to_owned())
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bits) = self.0 else {
            return f.write_str("unlimited bandwidth");
        };
        let bits = bits.get() as f64;
        match bits {
            ..1e6 => write!(f, "{} kbit/s", bits / 1e3),
            ..1e9 => write!(f, "{} Mbit/s", bits / 1e6),
            _ => write!(f, "{} Gbit/s", bits / 1e9),
        }
    }
}

fn round_trip(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(2)..=Duration::from_secs(5);
    match humantime::parse_duration(text) {
        Ok(rtt) if range.contains(&rtt) => Ok(rtt),
        Ok(_) => Err("from 2ms to 5s: timers tick in milliseconds".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn up_to_64(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|n: &NonZeroUsize| n.get() <= 64)
        .ok_or_else(|| "a number from 1 to 64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["waterfall"].iter().chain(args))
    }

    #[test]
    fn bandwidths_are_numbers_with_a_unit() {
        for (text, bits) in [
            ("64kbit", 64_000),
            ("1.5Mbit", 1_500_000),
            ("20 mbit/s", 20_000_000),
            ("2GBIT", 2_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Bandwidth(NonZeroU64::new(bits))), "{text}");
        }
        assert_eq!("unlimited".parse(), Ok(Bandwidth(None)));
        for text in [
            "", "20", "0Mbit", "-1Mbit", "nanMbit", "infGbit", "1kbit", "Mbit", "20MB",
        ] {
            assert!(text.parse::<Bandwidth>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bandwidth_prints_as_it_is_read() {
        for text in ["64 kbit/s", "1.5 Mbit/s", "20 Mbit/s", "2 Gbit/s"] {
            let bandwidth: Bandwidth = text.parse().expect("a bandwidth");
            assert_eq!(bandwidth.to_string(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_range() {
        for (args, says) in [
            (["--rtt", "1ms"], "from 2ms to 5s"),
            (["--rtt", "6s"], "from 2ms to 5s"),
            (["--rtt", "fast"], "expected number"),
            (["--bandwidth", "20"], "such as 20Mbit"),
            (["--parallel", "0"], "a number from 1 to 64"),
            (["--depth", "65"], "a number from 1 to 64"),
            (["--only", "http3"], "possible values"),
        ] {
            let error = parse(&args).expect_err("refused").to_string();
            assert!(error.contains(says), "{args:?}: {error}");
        }
    }

    #[test]
    fn only_picks_and_keeps_the_order() {
        let args = parse(&["--only", "pipelined,serial"]).expect("valid");
        assert_eq!(args.strategies(), [Strategy::Serial, Strategy::Pipelined]);
        assert_eq!(parse(&[]).expect("valid").strategies().len(), 6);
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for strategy in Strategy::value_variants() {
            let value = strategy.to_possible_value().expect("not hidden");
            assert_eq!(value.get_name(), strategy.name());
        }
    }
}
