//! Axes: where they begin and end, and where they are labelled.

use super::document::{Axis, Unit};
use crate::summary::{digits, thousands, time_text};

/// Values of one scale span no more than this many times the least, or they get a logarithmic one.
const WIDE: f64 = 30.0;

impl Axis {
    /// From zero to beyond all of `values`, in steps that people count in.
    pub(super) fn linear(label: &str, unit: Unit, values: impl IntoIterator<Item = f64>) -> Self {
        let most = values.into_iter().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let power = 10_f64.powf((most / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| most / step <= 6.0);
        let step = step.unwrap_or(10.0 * power);
        let count = (most / step * 1.000_001).floor() as u32 + 1;
        let ticks: Vec<f64> = (0..=count).map(|tick| f64::from(tick) * step).collect();
        let max = most * 1.06;
        let ticks = ticks.into_iter().filter(|&tick| tick <= max).collect();
        Self { label: label.into(), unit, log: false, min: 0.0, max, ticks }
    }

    /// Logarithmic, from below all positive `values` to above them.
    pub(super) fn log(label: &str, unit: Unit, values: impl IntoIterator<Item = f64>) -> Self {
        let positive = values.into_iter().filter(|&value| value > 0.0 && value.is_finite());
        let (least, most) = positive.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let (least, most) = if most > 0.0 { (least, most) } else { (1.0, 10.0) };
        let (min, max) = (least / 1.15, most * 1.15);
        let (first, last) = (min.log10().floor() as i32, max.log10().ceil() as i32);
        let times: &[f64] = if last - first <= 4 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let round = |exponent: i32| times.iter().map(move |times| times * 10_f64.powi(exponent));
        // Not fewer than two labels: a scale of one is none.
        let all: Vec<f64> = (first..=last).flat_map(round).collect();
        let below = all.iter().copied().filter(|&tick| tick <= min).fold(min, |_, tick| tick);
        let above = all.iter().copied().find(|&tick| tick >= max).unwrap_or(max);
        let inside = |from: f64, to: f64| all.iter().copied().filter(|tick| (from..=to).contains(tick)).collect();
        let ticks: Vec<f64> = inside(min, max);
        let (min, max, ticks) = if ticks.len() < 2 { (below, above, inside(below, above)) } else { (min, max, ticks) };
        let every = ticks.len().div_ceil(12);
        Self { label: label.into(), unit, log: true, min, max, ticks: ticks.into_iter().step_by(every).collect() }
    }

    /// Logarithmic where the values are far apart.
    pub(super) fn fitting(label: &str, unit: Unit, values: &[f64]) -> Self {
        let positive = || values.iter().copied().filter(|&value| value > 0.0);
        let (least, most) = (positive().fold(f64::MAX, f64::min), positive().fold(0.0, f64::max));
        if most > WIDE * least { Self::log(label, unit, positive()) } else { Self::linear(label, unit, positive()) }
    }

    /// From where to where, logarithms if it is logarithmic.
    pub(super) fn range(&self) -> [f64; 2] {
        [self.place(self.min), self.place(self.max)]
    }

    /// A value as the place on the axis that is drawn: what is beyond it is at its edge.
    pub(super) fn place(&self, value: f64) -> f64 {
        let inside = value.clamp(self.min, self.max);
        if self.log { inside.log10() } else { inside }
    }
}

impl Unit {
    /// A value of it, for people.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{} /s", thousands(value)),
            Self::Nanoseconds => time_text(value),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Nines => format!("p{}", trimmed(&format!("{:.6}", 100.0 - 100.0 / value))),
            Self::Share => format!("{} %", trimmed(&digits(value * 100.0))),
            Self::Times if value < 10.0 => format!("{value:.2}x"),
            Self::Times if value < 100.0 => format!("{value:.1}x"),
            Self::Times => format!("{value:.0}x"),
            Self::Bytes => format!("{} B", digits(value)),
            Self::Number => digits(value),
        }
    }

    /// The label of a tick: as short as it can be.
    pub(super) fn tick(self, value: f64) -> String {
        match self {
            Self::PerSecond | Self::Number | Self::Bytes if value >= 10_000.0 => thousands_short(value),
            Self::PerSecond | Self::Seconds => trimmed(&format!("{value:.3}")),
            Self::Nanoseconds => {
                let text = time_text(value);
                text.split_once(' ')
                    .map_or_else(|| text.clone(), |(number, unit)| format!("{} {unit}", trimmed(number)))
            }
            Self::Share => format!("{} %", trimmed(&format!("{:.6}", value * 100.0))),
            Self::Number | Self::Bytes if value == 0.0 || value >= 0.001 => trimmed(&format!("{value:.4}")),
            Self::Nines | Self::Times | Self::Number | Self::Bytes => self.text(value),
        }
    }
}

/// `20k`, `1.5M`.
fn thousands_short(value: f64) -> String {
    let (value, unit) = match value {
        _ if value >= 1e9 => (value / 1e9, "G"),
        _ if value >= 1e6 => (value / 1e6, "M"),
        _ => (value / 1e3, "k"),
    };
    format!("{}{unit}", trimmed(&format!("{value:.2}")))
}

/// Without the zeros at the end of a fraction.
pub(super) fn trimmed(number: &str) -> String {
    if number.contains('.') && !number.contains('e') {
        number.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        number.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_holds_its_values_and_has_labels() {
        for values in
            [vec![], vec![0.0], vec![3.0], vec![120.0, 130.0], vec![1e-7, 1.0], vec![1.0, 1e9], vec![f64::NAN]]
        {
            for axis in [
                Axis::linear("", Unit::Number, values.clone()),
                Axis::log("", Unit::Number, values.clone()),
                Axis::fitting("", Unit::Number, &values),
            ] {
                assert!(axis.min < axis.max && (2..=14).contains(&axis.ticks.len()), "{values:?}: {axis:?}");
                assert!(axis.ticks.iter().all(|tick| (axis.min..=axis.max).contains(tick)), "{axis:?}");
                let holds = |value: &f64| (axis.min..=axis.max).contains(value) || axis.log && *value <= 0.0;
                assert!(values.iter().filter(|value| !value.is_nan()).all(holds), "{values:?}: {axis:?}");
            }
        }
    }

    #[test]
    fn labels_are_short() {
        let ticks = [
            (Unit::PerSecond, 20_000.0, "20k"),
            (Unit::PerSecond, 1_500_000.0, "1.5M"),
            (Unit::Nanoseconds, 1e6, "1 ms"),
            (Unit::Nanoseconds, 2.5e9, "2.5 s"),
            (Unit::Nines, 2.0, "p50"),
            (Unit::Nines, 1000.0, "p99.9"),
            (Unit::Share, 0.2, "20 %"),
            (Unit::Number, 0.5, "0.5"),
        ];
        for (unit, value, text) in ticks {
            assert_eq!(unit.tick(value), text);
        }
    }
}
