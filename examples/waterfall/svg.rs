//! Waterfalls as SVG, for a page of about 800 pixels, in light and dark.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use crate::args::Strategy;
use crate::record::{Load, Phase};
use crate::span::Span;

const WIDTH: u32 = 800;
/// The outermost that text and bars may use.
const MARGIN: f64 = 16.0;

const STYLE: &str = "<style>\
    text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\
    .h{font-size:15px;font-weight:600}.b{font-weight:600}.s{font-size:11px}.m{fill:#59636e}\
    .e{text-anchor:end}.c{text-anchor:middle}.bg{fill:#fff;stroke:#d1d9e0}.g{stroke:#d8dee4}\
    .queued{fill:#c5ccd3}.opening{fill:#d9822b}.waiting{fill:#9cc9ec}.stalled{fill:#b565b8}.receiving{fill:#1f6fb5}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}\
    .bg{fill:#0d1117;stroke:#3d444d}.g{stroke:#2a313c}\
    .queued{fill:#3d4650}.opening{fill:#e39a45}.waiting{fill:#35648a}.stalled{fill:#c77dca}.receiving{fill:#58a6ff}}\
    </style>";

/// One strategy: a row for each object.
pub(crate) fn waterfall(strategy: Strategy, load: &Load, setting: &str) -> String {
    const ROW: f64 = 17.0;
    const TOP: f64 = 104.0;
    const LEFT: f64 = 190.0;
    let bottom = TOP + ROW * load.objects.len() as f64;
    let title = format!("{}: {}", strategy.name(), strategy.description());
    let mut svg = Svg::new(bottom + 12.0, &title, setting);
    svg.text(MARGIN, 26.0, "h", &title);
    svg.text(MARGIN, 45.0, "m", &format!("{}; {setting}", costs(load)));
    svg.legend(68.0);
    // Behind the last bar stands when it ends.
    let scale = Scale::new(load.total(), LEFT, 748.0);
    svg.axis(&scale, TOP - 8.0);
    svg.grid(&scale, TOP, bottom);
    svg.text(136.0, TOP - 8.0, "s m e", "size");
    svg.text(LEFT - 16.0, TOP - 8.0, "s m e", "conn.");

    let mut paths = Paths::default();
    for (row, object) in load.objects.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let name = object.path.trim_start_matches('/');
        svg.text(MARGIN, y + 12.0, "s", name);
        let size = format!("{:.1} KB", object.size as f64 / 1000.0);
        svg.text(136.0, y + 12.0, "s m e", &size);
        let connection = (object.connection + 1).to_string();
        svg.text(LEFT - 16.0, y + 12.0, "s m e", &connection);
        for (phase, pixels) in scale.pixels(&load.phases(object)) {
            // A queue is a thin line: nothing happens there.
            let (top, height) = match phase {
                Phase::Queued => (y + 7.0, 3.0),
                _ => (y + 3.0, 11.0),
            };
            paths.bar(phase, &pixels, top, height);
        }
        let end = format!("{:.0}", object.complete.as_secs_f64() * 1e3);
        svg.text(scale.x(object.complete) + 5.0, y + 12.0, "s m", &end);
    }
    svg.paths(&paths);
    svg.finish()
}

/// All strategies on one time axis.
pub(crate) fn overview(loads: &[(Strategy, Load)], setting: &str) -> String {
    const ROW: f64 = 4.0;
    const TOP: f64 = 102.0;
    const HEADING: f64 = 22.0;
    const GAP: f64 = 14.0;
    let right = f64::from(WIDTH) - MARGIN;
    let heights = loads
        .iter()
        .map(|(_, load)| ROW * load.objects.len() as f64);
    let bottom = TOP + heights.map(|height| HEADING + height + GAP).sum::<f64>();
    let title = "One page, and what its connections cost";
    let mut svg = Svg::new(bottom + 4.0, title, setting);
    svg.text(MARGIN, 26.0, "h", title);
    svg.text(MARGIN, 45.0, "m", setting);
    svg.legend(68.0);
    let longest = loads.iter().map(|(_, load)| load.total()).max();
    let scale = Scale::new(longest.unwrap_or_default(), MARGIN, right);
    svg.axis(&scale, 92.0);

    let mut paths = Paths::default();
    let mut y = TOP;
    for (strategy, load) in loads {
        svg.text(MARGIN, y + 14.0, "b", strategy.name());
        svg.text(MARGIN + 140.0, y + 14.0, "s m", strategy.description());
        svg.text(right, y + 14.0, "s e", &costs(load));
        y += HEADING;
        svg.grid(&scale, y, y + ROW * load.objects.len() as f64);
        for object in &load.objects {
            for (phase, pixels) in scale.pixels(&load.phases(object)) {
                let (top, height) = match phase {
                    Phase::Queued => (y + 1.0, 1.0),
                    _ => (y, ROW - 1.0),
                };
                paths.bar(phase, &pixels, top, height);
            }
            y += ROW;
        }
        y += GAP;
    }
    svg.paths(&paths);
    svg.finish()
}

/// What a strategy took.
fn costs(load: &Load) -> String {
    let shares = load.shares();
    format!(
        "{:.0} ms, {} connection{}; {:.0} % handshakes, {:.0} % slow start",
        load.total().as_secs_f64() * 1e3,
        load.connections.len(),
        if load.connections.len() == 1 { "" } else { "s" },
        shares.handshakes * 1e2,
        shares.slow_start * 1e2,
    )
}

/// From times to places on the axis.
struct Scale {
    end: Duration,
    left: f64,
    right: f64,
}

impl Scale {
    fn new(end: Duration, left: f64, right: f64) -> Self {
        Self {
            end: end.max(Duration::from_millis(1)),
            left,
            right,
        }
    }

    fn x(&self, time: Duration) -> f64 {
        self.left + (self.right - self.left) * time.as_secs_f64() / self.end.as_secs_f64()
    }

    /// What takes up most of each pixel, and for how many pixels: one phase often changes into another
    /// and back within less.
    fn pixels(&self, phases: &[(Phase, Span)]) -> Vec<(Phase, Range<u32>)> {
        let mut columns = BTreeMap::<u32, [f64; Phase::ALL.len()]>::new();
        for &(phase, span) in phases {
            let (from, to) = (self.x(span.start), self.x(span.end));
            for pixel in from as u32..=to as u32 {
                let part = to.min(f64::from(pixel + 1)) - from.max(f64::from(pixel));
                // The shortest is still seen.
                if part > 0.0 || pixel == from as u32 {
                    columns.entry(pixel).or_default()[phase as usize] += part.max(f64::EPSILON);
                }
            }
        }
        let mut bars: Vec<(Phase, Range<u32>)> = Vec::new();
        for (pixel, parts) in columns {
            let longest = |a: &Phase, b: &Phase| parts[*a as usize].total_cmp(&parts[*b as usize]);
            let Some(phase) = Phase::ALL.into_iter().max_by(longest) else {
                continue;
            };
            push(&mut bars, phase, pixel);
        }
        bars
    }

    /// Round numbers of milliseconds, about eight of them.
    fn ticks(&self) -> Vec<Duration> {
        let milliseconds = self.end.as_secs_f64() * 1e3;
        let rough = milliseconds / 8.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let count = (milliseconds / step) as u32;
        (0..=count)
            .map(|tick| Duration::from_secs_f64(f64::from(tick) * step / 1e3))
            .collect()
    }
}

/// One pixel more. A sender whose window is full sends two segments with each acknowledgement: where
/// that shows as stripes, what comes first covers them.
fn push(bars: &mut Vec<(Phase, Range<u32>)>, phase: Phase, pixel: u32) {
    let is_body = |phase| matches!(phase, Phase::Stalled | Phase::Receiving);
    match &mut bars[..] {
        [.., (last, pixels)] if *last == phase && pixels.end == pixel => pixels.end += 1,
        [.., (first, covers), (between, stripe)]
            if *first == phase
                && is_body(phase)
                && is_body(*between)
                && stripe.len() < 3
                && stripe.end == pixel =>
        {
            covers.end = pixel + 1;
            bars.pop();
        }
        _ => bars.push((phase, pixel..pixel + 1)),
    }
}

/// The bars of each phase as one path, which keeps the file small.
#[derive(Default)]
struct Paths([String; Phase::ALL.len()]);

impl Paths {
    fn bar(&mut self, phase: Phase, pixels: &Range<u32>, top: f64, height: f64) {
        let (from, width) = (pixels.start, pixels.len());
        let path = &mut self.0[phase as usize];
        let _ = write!(path, "M{from} {top}h{width}v{height}h-{width}z");
    }
}

fn class(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "queued",
        Phase::Opening => "opening",
        Phase::Waiting => "waiting",
        Phase::Stalled => "stalled",
        Phase::Receiving => "receiving",
    }
}

fn label(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "waiting for its turn",
        Phase::Opening => "handshake",
        Phase::Waiting => "request and response under way",
        Phase::Stalled => "slow start",
        Phase::Receiving => "receiving",
    }
}

struct Svg(String);

impl Svg {
    fn new(height: f64, title: &str, description: &str) -> Self {
        let mut svg = Self(String::new());
        let _ = write!(
            svg.0,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\"><title>{}</title><desc>{}</desc>{STYLE}\n\
             <rect class=\"bg\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n",
            escape(title),
            escape(description),
            WIDTH - 1,
            height - 1.0,
        );
        svg
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y}\" class=\"{class}\">{}</text>",
            escape(text)
        );
    }

    fn legend(&mut self, y: f64) {
        let mut x = 16.0;
        for phase in Phase::ALL {
            let (top, height) = match phase {
                Phase::Queued => (y - 6.0, 3.0),
                _ => (y - 10.0, 11.0),
            };
            let _ = write!(
                self.0,
                "<rect class=\"{}\" x=\"{x}\" y=\"{top}\" width=\"16\" height=\"{height}\"/>",
                class(phase)
            );
            self.text(x + 22.0, y, "s", label(phase));
            // Wide enough for the text in any of the fonts.
            x += 46.0 + 5.9 * label(phase).len() as f64;
        }
    }

    fn axis(&mut self, scale: &Scale, y: f64) {
        for (tick, time) in scale.ticks().into_iter().enumerate() {
            let label = format!("{:.0}", time.as_secs_f64() * 1e3);
            match tick {
                0 => self.text(scale.left, y, "s m", &format!("{label} ms")),
                // Half of a centred label would stand out.
                _ if scale.x(time) > f64::from(WIDTH) - 2.0 * MARGIN => {
                    self.text(scale.right, y, "s m e", &label);
                }
                _ => self.text(scale.x(time), y, "s m c", &label),
            }
        }
    }

    fn grid(&mut self, scale: &Scale, top: f64, bottom: f64) {
        let mut lines = String::new();
        for tick in scale.ticks() {
            // In the middle of a pixel, so that the line is sharp.
            let x = scale.x(tick).floor() + 0.5;
            let _ = write!(lines, "M{x} {top}V{bottom}");
        }
        let _ = writeln!(self.0, "<path class=\"g\" d=\"{lines}\"/>");
    }

    fn paths(&mut self, paths: &Paths) {
        for (phase, path) in Phase::ALL.into_iter().zip(&paths.0) {
            if !path.is_empty() {
                let _ = writeln!(self.0, "<path class=\"{}\" d=\"{path}\"/>", class(phase));
            }
        }
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_xml_is_escaped() {
        assert_eq!(escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }

    fn scale(until: u64) -> Scale {
        Scale::new(Duration::from_millis(until), 100.0, 200.0)
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (until, step, count) in [(7, 1, 8), (80, 10, 9), (333, 50, 7), (2_700, 500, 6)] {
            let ticks = scale(until).ticks();
            assert_eq!(ticks.len(), count, "{until}");
            assert_eq!(ticks[1], Duration::from_millis(step), "{until}");
        }
    }

    #[test]
    fn the_axis_ends_where_the_load_ends() {
        let scale = scale(300);
        assert_eq!(scale.x(Duration::ZERO), 100.0);
        assert_eq!(scale.x(Duration::from_millis(300)), 200.0);
    }

    #[test]
    fn a_pixel_shows_what_takes_up_most_of_it() {
        // Ten pixels to a millisecond.
        let span = |start, end| Span::new(Duration::from_micros(start), Duration::from_micros(end));
        let phases = [
            (Phase::Waiting, span(1_000, 2_010)),
            (Phase::Stalled, span(2_010, 2_035)),
            (Phase::Receiving, span(2_035, 2_075)),
            (Phase::Stalled, span(2_075, 2_100)),
            (Phase::Receiving, span(2_100, 2_500)),
        ];
        assert_eq!(
            scale(10).pixels(&phases),
            [
                (Phase::Waiting, 110..120),
                (Phase::Stalled, 120..121),
                (Phase::Receiving, 121..125)
            ]
        );
    }

    #[test]
    fn stripes_of_a_body_are_covered_and_nothing_else_is() {
        use Phase::{Opening, Queued, Receiving, Stalled};
        let bars = |phases: &[Phase]| {
            let mut bars = Vec::new();
            for (&phase, pixel) in phases.iter().zip(7..) {
                push(&mut bars, phase, pixel);
            }
            bars
        };
        assert_eq!(
            bars(&[Stalled, Receiving, Receiving, Stalled, Receiving, Stalled]),
            [(Stalled, 7..13)]
        );
        assert_eq!(
            bars(&[Queued, Opening, Queued]),
            [(Queued, 7..8), (Opening, 8..9), (Queued, 9..10)]
        );
        assert_eq!(
            bars(&[Stalled, Receiving, Receiving, Receiving, Stalled]),
            [(Stalled, 7..8), (Receiving, 8..11), (Stalled, 11..12)]
        );
    }

    #[test]
    fn what_is_short_is_still_a_pixel() {
        let span = Span::new(Duration::from_micros(10), Duration::from_micros(11));
        let bars = scale(1_000).pixels(&[(Phase::Opening, span)]);
        assert_eq!(bars, [(Phase::Opening, 100..101)]);
    }
}
