//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};

use super::count::Histogram;

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics as text.
#[derive(Default)]
pub(crate) struct Text {
    out: String,
    name: String,
}

impl Text {
    pub(crate) fn counter(&mut self, name: &str, help: &str) -> &mut Self {
        self.metric(name, "counter", help)
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str) -> &mut Self {
        self.metric(name, "gauge", help)
    }

    pub(crate) fn histogram(&mut self, name: &str, help: &str) -> &mut Self {
        self.metric(name, "histogram", help)
    }

    fn metric(&mut self, name: &str, kind: &str, help: &str) -> &mut Self {
        self.name = format!("tower_conn_{name}");
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.out, "# HELP {} {help}", self.name);
        let _ = writeln!(self.out, "# TYPE {} {kind}", self.name);
        self
    }

    /// A sample of the metric that was declared last.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line("", labels, None, value)
    }

    /// The samples of a histogram.
    pub(crate) fn buckets<const N: usize>(
        &mut self,
        labels: &[(&str, &str)],
        histogram: &Histogram<N>,
    ) -> &mut Self {
        let mut count = 0;
        for (bound, more) in histogram.bounds.iter().zip(histogram.counts) {
            count += more;
            self.line("_bucket", labels, Some(&bound.to_string()), count);
        }
        count += histogram.above;
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, histogram.sum);
        self.line("_count", labels, None, count)
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        bound: Option<&str>,
        value: impl Display,
    ) -> &mut Self {
        self.out.push_str(&self.name);
        self.out.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.out, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
        self
    }

    pub(crate) fn into_string(self) -> String {
        self.out
    }
}
