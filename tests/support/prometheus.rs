//! A strict reader of the text format of Prometheus, version 0.0.4.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Samples by name and labels, as they are written.
pub(crate) struct Metrics(BTreeMap<String, f64>);

const PREFIX: &str = "tower_conn_";

impl Metrics {
    /// Reads all lines; panics at the first that breaks the rules.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has an end");
        let mut kinds = HashMap::new();
        let mut helped = HashSet::new();
        let mut current = String::new();
        let mut samples = BTreeMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a text");
                assert!(!help.is_empty());
                assert!(helped.insert(name.to_owned()), "helped once: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert!(helped.contains(name), "HELP comes first: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(
                    kinds.insert(name.to_owned(), kind).is_none(),
                    "typed once: {line}"
                );
                name.clone_into(&mut current);
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                let value: f64 = value.parse().expect("a number");
                let name = series.split('{').next().expect("a name");
                check_name(name);
                check_labels(series.strip_prefix(name).expect("it does"));
                let base = match kinds[&current] {
                    "histogram" => ["_bucket", "_sum", "_count"]
                        .iter()
                        .find_map(|suffix| name.strip_suffix(suffix))
                        .expect("a suffix of histograms"),
                    _ => name,
                };
                assert_eq!(base, current, "under its own TYPE: {line}");
                assert!(
                    samples.insert(series.to_owned(), value).is_none(),
                    "once: {line}"
                );
            }
        }
        check_histograms(&samples);
        Self(samples)
    }

    /// A sample, by what follows the common prefix of the names.
    pub(crate) fn get(&self, series: &str) -> f64 {
        let found = self.0.get(&format!("{PREFIX}{series}"));
        *found.unwrap_or_else(|| panic!("no {series} among {:#?}", self.0))
    }

    /// Compares many, and shows all that differ.
    pub(crate) fn assert(&self, expected: &[(&str, f64)]) {
        let differ: Vec<_> = expected
            .iter()
            .filter(|(series, value)| self.get(series) != *value)
            .map(|(series, value)| format!("{series} is {}, not {value}", self.get(series)))
            .collect();
        assert!(differ.is_empty(), "{differ:#?}\n{:#?}", self.0);
    }
}

fn check_name(name: &str) {
    assert!(name.starts_with(PREFIX), "{name}");
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    assert!(name.bytes().all(legal), "{name}");
}

/// `{name="value",name="value"}`, or nothing.
fn check_labels(text: &str) {
    if text.is_empty() {
        return;
    }
    let inside = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let mut rest = inside.expect("labels in braces");
    let mut seen = HashSet::new();
    loop {
        let (name, value) = rest.split_once("=\"").expect("a label");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{text}");
        assert!(seen.insert(name), "each label once: {text}");
        let (value, after) = value.split_once('"').expect("a closing quote");
        assert!(!value.contains('\\'), "nothing here needs escapes: {text}");
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(after, "", "{text}"),
        }
    }
}

/// Buckets grow, and the last one is the count.
fn check_histograms(samples: &BTreeMap<String, f64>) {
    let mut buckets = HashMap::<String, Vec<(f64, f64)>>::new();
    for (series, &value) in samples {
        let Some((name, labels)) = series.split_once("_bucket{") else {
            continue;
        };
        let (labels, bound) = labels.split_once("le=\"").expect("a bound");
        let bound = bound.strip_suffix("\"}").expect("the bound is last");
        let labels = labels.trim_end_matches(',');
        let count = match labels {
            "" => format!("{name}_count"),
            _ => format!("{name}_count{{{labels}}}"),
        };
        let bound = bound.parse().expect("a number, or +Inf");
        buckets.entry(count).or_default().push((bound, value));
    }
    assert!(!buckets.is_empty());
    for (count, mut buckets) in buckets {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(
            buckets.is_sorted_by_key(|bucket| bucket.1),
            "{count}: {buckets:?}"
        );
        let last = buckets.last().expect("some");
        assert_eq!(*last, (f64::INFINITY, samples[&count]), "{count}");
    }
}
