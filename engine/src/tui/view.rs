//! What is on the screen, whatever screen it is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, LegendPosition, Paragraph};

use crate::live::Status;
use crate::results::PointResult;
use crate::summary::{thousands, time_text};

/// A run so far.
#[derive(Debug, Default)]
pub struct View {
    status: Status,
    /// The latest last.
    lines: VecDeque<String>,
    /// By what is special about their points but for the load: throughput, p50 and p99.
    curves: BTreeMap<String, Vec<Dot>>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug)]
struct Dot {
    /// What curves are drawn in the order of: offered, or in flight.
    load: f64,
    per_s: f64,
    p50_ns: f64,
    p99_ns: f64,
}

/// More are out of sight.
const LINES: usize = 6;
const COLORS: [Color; 6] = [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Blue, Color::Red];

impl View {
    /// Adds a line below.
    pub fn say(&mut self, line: String) {
        self.lines.push_back(line);
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }

    /// Adds a finished point to its curve.
    pub fn add(&mut self, label: &str, result: &PointResult) {
        let is_load = |part: &&str| ["rate=", "outstanding="].iter().any(|axis| part.starts_with(axis));
        let parts: Vec<&str> = label.split('/').filter(|part| !is_load(part)).collect();
        let key = if parts.concat().is_empty() { result.axis("protocol") } else { parts.join(" ") };
        let in_flight = || result.axis("outstanding").parse().unwrap_or(0.0);
        let times = result.response_ns;
        let dots = self.curves.entry(key).or_default();
        dots.push(Dot {
            load: result.offered_per_s.unwrap_or_else(in_flight),
            per_s: result.completed_per_s,
            p50_ns: times.p50 as f64,
            p99_ns: times.p99 as f64,
        });
        dots.sort_by(|a, b| a.load.total_cmp(&b.load));
    }

    /// Where the run is now.
    pub fn status(&mut self, status: &Status) {
        self.status.clone_from(status);
    }

    /// Draws all of it.
    pub fn render(&self, frame: &mut Frame<'_>) {
        let rows = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Min(3),
            Constraint::Length(2),
            Constraint::Length(LINES as u16),
            Constraint::Length(1),
        ]);
        let [head, bar, curve, figures, lines, foot] = rows.areas(frame.area());
        let status = &self.status;
        let title = Span::styled(status.name.as_str(), Style::new().add_modifier(Modifier::BOLD));
        frame.render_widget(Line::from(vec![title, Span::raw(format!("  {}", status.text()))]), head);
        frame.render_widget(self.bar(), bar);
        self.render_curve(frame, curve);
        frame.render_widget(Paragraph::new(self.figures()), figures);
        let said: Vec<Line<'_>> = self.lines.iter().map(|line| Line::raw(line.as_str())).collect();
        frame.render_widget(Paragraph::new(said), lines);
        frame.render_widget(Line::raw("q stops, and keeps what was finished"), foot);
    }

    fn bar(&self) -> Gauge<'_> {
        let Status { index, total, left, .. } = self.status;
        let left = left.map_or_else(String::new, |left| {
            format!(", {} left", humantime::format_duration(Duration::from_secs(left.as_secs())))
        });
        let share = (index as f64 / total.max(1) as f64).clamp(0.0, 1.0);
        let label = format!("point {} of {total}{left}", (index + 1).min(total));
        Gauge::default().ratio(share).label(label).gauge_style(Style::new().fg(Color::Cyan))
    }

    fn figures(&self) -> Vec<Line<'static>> {
        let figures = &self.status.figures;
        let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| time_text(ns as f64));
        vec![
            Line::raw(format!("now     {}/s, p99 {}", thousands(figures.throughput), time(figures.p99_ns))),
            Line::raw(format!(
                "so far  {} commands, p50 {}, p99 {}, {} given up, {} late",
                thousands(figures.completed as f64),
                time(figures.p50_so_far_ns),
                time(figures.p99_so_far_ns),
                thousands(figures.errors as f64),
                thousands(figures.late as f64),
            )),
        ]
    }

    fn render_curve(&self, frame: &mut Frame<'_>, area: Rect) {
        let log = |ns: f64| ns.max(1.0).log10();
        let figures = &self.status.figures;
        let now: Vec<(f64, f64)> =
            figures.p99_ns.map(|p99| (figures.throughput, log(p99 as f64))).into_iter().collect();
        let line = |of: fn(&Dot) -> f64| {
            let dots = |dots: &Vec<Dot>| dots.iter().map(|dot| (dot.per_s, log(of(dot)))).collect();
            self.curves.values().map(dots).collect::<Vec<Vec<(f64, f64)>>>()
        };
        let (p50, p99) = (line(|dot| dot.p50_ns), line(|dot| dot.p99_ns));
        let mut sets = Vec::new();
        for (at, key) in self.curves.keys().enumerate() {
            let color = COLORS[at % COLORS.len()];
            let set =
                |dots, marker| Dataset::default().data(dots).marker(marker).graph_type(GraphType::Line).style(color);
            sets.push(set(&p99[at][..], Marker::Braille).name(key.as_str()));
            sets.push(set(&p50[at][..], Marker::Dot));
        }
        sets.push(Dataset::default().name("now").data(&now).marker(Marker::Block).style(Color::White));
        let dots = p50.iter().chain(&p99).flatten().chain(&now);
        let (mut most, mut low, mut high) = (1.0_f64, f64::MAX, f64::MIN);
        for &(per_s, time) in dots {
            (most, low, high) = (most.max(per_s), low.min(time), high.max(time));
        }
        // Whole powers of ten, and at least one.
        let (low, high) = if low > high { (3.0, 6.0) } else { (low.floor(), high.ceil().max(low.floor() + 1.0)) };
        let times = [low, f64::midpoint(low, high), high].map(|power| time_text(10_f64.powf(power)));
        let rates = [0.0, most / 2.0, most].map(thousands);
        let chart = Chart::new(sets)
            .block(Block::bordered().title("response time by throughput: p99, and dotted p50"))
            .legend_position(Some(LegendPosition::TopLeft))
            .hidden_legend_constraints((Constraint::Percentage(100), Constraint::Percentage(60)))
            .x_axis(Axis::default().title("commands/s").bounds([0.0, most * 1.05]).labels(rates))
            .y_axis(Axis::default().bounds([low, high]).labels(times));
        frame.render_widget(chart, area);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;
    use crate::drive::Phase;
    use crate::live::Figures;
    use crate::results::{POINT_SCHEMA, Percentiles};

    fn point(protocol: &str, rate: f64, p99_us: u64) -> PointResult {
        let times = Percentiles { p50: p99_us * 500, p99: p99_us * 1000, ..Percentiles::default() };
        let line = json!({
            "schema": POINT_SCHEMA, "name": "x", "repetition": 0, "world": "real", "seed": 1,
            "axes": {"protocol": protocol, "rate": rate}, "offered_per_s": rate, "completed_per_s": rate,
            "commands": 1, "errors": 0, "shed": 0, "late": 0, "resent": 0, "window_ns": 1,
            "response_ns": times, "service_ns": times, "send_lag_ns": times,
            "cost": crate::results::Cost::default(), "floor": null, "warnings": [], "events": [],
            "core_round_trip_ns": [0.0, 0.0],
            "histograms": {"response": "", "service": "", "send_lag": ""},
        });
        serde_json::from_value(line).expect("a point")
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| view.render(frame)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width.max(1)));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n").collect()
    }

    fn view() -> View {
        let mut view = View::default();
        for (protocol, times) in [("echo", 1), ("raft", 3)] {
            for rate in [10_000.0, 20_000.0, 40_000.0] {
                view.add(
                    &format!("protocol={protocol}/rate={rate}"),
                    &point(protocol, rate, times * rate as u64 / 100),
                );
            }
        }
        view.say("  protocol=raft/rate=40000: finished".into());
        let figures = Figures { throughput: 31_234.0, p99_ns: Some(812_000), completed: 98_765, ..Figures::default() };
        view.status(&Status {
            name: "quickstart".into(),
            index: 3,
            total: 9,
            label: "protocol=raft".into(),
            phase: Some(Phase::Measuring),
            figures,
            left: Some(Duration::from_secs(90)),
            ..Status::default()
        });
        view
    }

    #[test]
    fn the_screen_shows_the_curve_and_where_the_run_is() {
        let screen = drawn(&view(), 100, 40);
        for part in [
            "quickstart",
            "protocol=raft  measuring  31,234/s, p99 812 us",
            "point 4 of 9, 1m 30s left",
            "98,765 commands",
            "protocol=echo",
            "response time by throughput",
            "20,000",
            "rate=40000: finished",
            "q stops",
        ] {
            assert!(screen.contains(part), "no {part:?} in\n{screen}");
        }
        let dots = |screen: &str| screen.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
        assert!(dots(&screen) > 10, "a curve:\n{screen}");
        assert_eq!(dots(&drawn(&View::default(), 100, 40)), 0, "no curve before there is a point");
    }

    #[test]
    fn curves_are_drawn_in_the_order_of_their_load() {
        let mut view = View::default();
        for rate in [30.0, 10.0, 20.0] {
            view.add(&format!("rate={rate}"), &point("raft", rate, 1));
        }
        let (key, dots) = view.curves.first_key_value().expect("a curve");
        assert_eq!(
            (key.as_str(), dots.iter().map(|dot| dot.load).collect::<Vec<_>>()),
            ("raft", vec![10.0, 20.0, 30.0])
        );
    }

    #[test]
    fn any_size_will_do_and_any_text() {
        let mut view = view();
        view.say("\u{1b}[31m\u{7}\n\u{202e}".repeat(100));
        view.add("a=\u{1b}]0;x\u{7}", &point("\u{0}", f64::MAX, u64::MAX / 2000));
        for (width, height) in [(1, 1), (2, 40), (200, 1), (10, 10), (300, 100)] {
            let screen = drawn(&view, width, height);
            assert!(!screen.contains(['\u{1b}', '\u{7}']), "{width} x {height}");
        }
    }
}
