//! Percentiles from the stored histograms, to as many nines as there are samples for.

use hdrhistogram::Histogram;

use super::document::{Axis, Chart, Dot, Figure, Section, Series, Unit};
use super::material::{Group, Point, lines, median, range};
use crate::results::decode_histogram;
use crate::warnings::{PERCENTILES, samples_needed};

/// The section, if anything answered commands.
pub(super) fn section(group: &Group) -> Option<Section> {
    let (together, facets) = group.facets(&[]);
    let figure = |(index, (title, points)): (usize, (String, Vec<&Point>))| {
        let (legend, lines) = lines(&points, &together);
        let series: Vec<Series> = lines.iter().enumerate().filter_map(|(key, line)| curve(key, line[0])).collect();
        let dots = || series.iter().flat_map(|series| &series.dots);
        let mut x = Axis::log("percentile", Unit::Nines, dots().map(|dot| dot.x));
        x.min = 1.0;
        x.ticks = (1..=7).map(|nines| 10_f64.powi(nines)).filter(|&tick| tick <= x.max).collect();
        x.ticks.insert(0, 2.0);
        let y = Axis::log("response time", Unit::Nanoseconds, dots().flat_map(|dot| dot.y_range.unwrap_or([dot.y; 2])));
        let chart = Chart { title: "Response time by percentile".into(), x, y, series, marks: Vec::new() };
        Figure { id: format!("percentiles-{}", index + 1), title, legend, charts: vec![chart] }
    };
    let figures = facets.into_iter().enumerate().map(figure).filter(|figure| !figure.charts[0].series.is_empty());
    let text = "From the full histograms; each repetition's percentile is one observation, the line is their median, and \
                the band their least and most. Thin and pale: too few samples for that percentile.";
    Section {
        id: "percentiles",
        title: "Percentiles",
        text: vec![text.into()],
        figures: figures.collect(),
        ..Section::default()
    }
    .unless_empty()
}

/// Ten steps for each nine, and the percentiles that have names.
fn quantiles(count: u64) -> Vec<f64> {
    // Those at whole nines have names.
    let steps = (0..100).filter(|step| !matches!(step, 10 | 20 | 30 | 40));
    let steps = steps.map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 10.0));
    let named = PERCENTILES.iter().map(|&(_, quantile)| quantile).chain([0.5]);
    let mut quantiles: Vec<f64> = steps.chain(named).collect();
    // Not further than to one sample; chance of rounding apart.
    quantiles.retain(|quantile| (1.0 - quantile) * count as f64 > 0.999_999);
    quantiles.sort_by(f64::total_cmp);
    quantiles
}

fn curve(key: usize, point: &Point) -> Option<Series> {
    let histograms: Vec<Histogram<u64>> =
        point.results.iter().filter_map(|result| decode_histogram(&result.histograms.response)).collect();
    let count = histograms.iter().map(Histogram::len).min().filter(|&count| count > 0)?;
    let dot = |quantile: f64| {
        let each: Vec<f64> = histograms.iter().map(|each| each.value_at_quantile(quantile) as f64).collect();
        let needed = samples_needed(quantile);
        let x = 1.0 / (1.0 - quantile);
        Dot {
            x,
            y: median(&each).unwrap_or_default(),
            y_range: range(&each),
            doubts: if count < needed { vec![format!("{count} commands; it wants {needed}")] } else { Vec::new() },
            runs: each.into_iter().map(|value| [x, value]).collect(),
            ..Dot::default()
        }
    };
    Some(Series { key, dense: true, dots: quantiles(count).into_iter().map(dot).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_nines_as_samples() {
        assert_eq!(quantiles(1), [0.0]);
        let some = quantiles(1000);
        assert!(
            some.contains(&0.5) && some.contains(&0.9) && some.contains(&0.99) && some.contains(&0.999),
            "{some:?}"
        );
        assert!(some.iter().all(|&quantile| quantile <= 0.999));
        assert!(some.windows(2).all(|pair| pair[1] - pair[0] > 1e-9), "{some:?}");
    }
}
