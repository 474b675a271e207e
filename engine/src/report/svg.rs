//! The charts as SVG, for papers and pull requests: the same descriptions, drawn without a browser.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::document::{Axis, Chart, Figure, Key, Mark, Series};
use super::material::COLOURS;

/// The colours of the page, on white; the last is that of floors.
const PALETTE: [RGBColor; COLOURS + 1] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x80, 0x5c),
    RGBColor(0xb5, 0x56, 0x8c),
    RGBColor(0x9a, 0x74, 0x00),
    RGBColor(0x3f, 0xa0, 0xd8),
    RGBColor(0x5b, 0x4b, 0xb5),
    RGBColor(0x7a, 0x4a, 0x2b),
    RGBColor(0x70, 0x77, 0x7e),
];
const GRID: RGBColor = RGBColor(0xe2, 0xe6, 0xea);
const TEXT: RGBColor = RGBColor(0x1d, 0x23, 0x29);
const GREY: RGBColor = RGBColor(0x9a, 0xa3, 0xac);

const SIZE: (u32, u32) = (760, 430);
const LEGEND: u32 = 200;
/// The height of a name in it.
const ROW: u32 = 18;
/// Letters of a name that a legend has room for.
const NAME: usize = 28;
/// Letters of a title.
const TITLE: usize = 100;

type Drawing<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plane<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// A chart of a figure.
pub(super) fn svg(figure: &Figure, chart: &Chart) -> String {
    let mut text = String::new();
    draw(&mut text, figure, chart).expect("a String takes everything");
    text
}

fn draw(text: &mut String, figure: &Figure, chart: &Chart) -> Result<(), Box<dyn Error>> {
    let (width, height) = (SIZE.0, SIZE.1.max(60 + ROW * figure.legend.len() as u32));
    let root = SVGBackend::with_string(text, (width, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = fit(&format!("{}. {}", chart.title, figure.title), TITLE);
    root.draw(&Text::new(title, (14, 12), ("sans-serif", 16).into_font().color(&TEXT)))?;
    let (body, legend) = root.margin(36, 8, 6, 6).split_horizontally(width - 12 - LEGEND);
    let mut plane = ChartBuilder::on(&body)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .margin_right(14)
        .build_cartesian_2d(Scale(chart.x.clone()), Scale(chart.y.clone()))?;
    plane
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(GREY)
        .label_style(("sans-serif", 12).into_font().color(&TEXT))
        .axis_desc_style(("sans-serif", 13).into_font().color(&TEXT))
        .x_desc(chart.x.label.clone())
        .y_desc(chart.y.label.clone())
        .draw()?;
    for series in &chart.series {
        draw_series(&mut plane, series, &figure.legend[series.key])?;
    }
    for (mark, row) in chart.marks.iter().zip(rows(chart)) {
        draw_mark(&mut plane, chart, row, mark, &figure.legend[mark.key])?;
    }
    draw_legend(&legend, figure)?;
    root.present()?;
    Ok(())
}

/// An axis, as plotters has it.
#[derive(Clone)]
struct Scale(Axis);

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let [min, max] = self.0.range();
        let share = (self.0.place(*value) - min) / (max - min);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Lines between those that are labelled would be too many.
        if hint.weight().allow_light_points() { Vec::new() } else { self.0.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.0.min..self.0.max
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.0.unit.tick(*value)
    }
}

fn draw_series(plane: &mut Plane<'_, '_>, series: &Series, key: &Key) -> Result<(), Box<dyn Error>> {
    let colour = PALETTE[key.colour.min(COLOURS)];
    let line = ShapeStyle::from(&colour).stroke_width(2);
    let thin = ShapeStyle::from(&colour).stroke_width(1);
    let dots = &series.dots;
    let ranged = || dots.iter().filter_map(|dot| Some((dot.x, dot.y_range?)));
    if series.dense && ranged().next().is_some() {
        let low = ranged().map(|(x, [low, _])| (x, low));
        let high: Vec<_> = ranged().map(|(x, [_, high])| (x, high)).collect();
        let band: Vec<_> = low.chain(high.into_iter().rev()).collect();
        plane.draw_series([Polygon::new(band, colour.mix(0.15))])?;
    }
    for dot in dots.iter().filter(|_| !series.dense) {
        let up = dot.y_range.map(|[low, high]| [(dot.x, low), (dot.x, high)]);
        let along = dot.x_range.map(|[low, high]| [(low, dot.y), (high, dot.y)]);
        plane.draw_series([up, along].into_iter().flatten().map(|ends| PathElement::new(ends, thin)))?;
    }
    for pair in dots.windows(2) {
        // What has too few samples behind it is pale and thin.
        let doubted = series.dense && !pair[1].doubts.is_empty();
        let style = if doubted { ShapeStyle::from(&colour.mix(0.5)).stroke_width(1) } else { line };
        let ends = [(pair[0].x, pair[0].y), (pair[1].x, pair[1].y)];
        match key.dash {
            0 => plane.draw_series([PathElement::new(ends, style)])?,
            1 => plane.draw_series(DashedLineSeries::new(ends, 7, 4, style))?,
            _ => plane.draw_series(DashedLineSeries::new(ends, 2, 3, style))?,
        };
    }
    if !series.dense || dots.len() == 1 {
        for dot in dots {
            let at = (dot.x, dot.y);
            plane.draw_series([Circle::new(
                at,
                4,
                if dot.doubts.is_empty() { colour.filled() } else { WHITE.filled() },
            )])?;
            plane.draw_series([Circle::new(at, 4, thin)])?;
        }
    }
    Ok(())
}

/// In which row each mark has its label: the first that is free there; none for later repetitions, and where none is free.
fn rows(chart: &Chart) -> Vec<Option<i32>> {
    // What letters and the plane are about as wide as.
    const LETTER: f64 = 5.5;
    const PLANE: f64 = 460.0;
    let mut ends = [f64::NEG_INFINITY; 8];
    let row = |mark: &Mark| {
        let from = (mark.x - chart.x.min) / (chart.x.max - chart.x.min) * PLANE;
        let row = ends.iter().position(|&end| mark.repetition == 0 && end <= from)?;
        ends[row] = from + LETTER * mark.text.chars().count() as f64 + 6.0;
        i32::try_from(row).ok()
    };
    chart.marks.iter().map(row).collect()
}

/// A line from top to bottom, and its label in that row.
fn draw_mark(
    plane: &mut Plane<'_, '_>,
    chart: &Chart,
    row: Option<i32>,
    mark: &Mark,
    key: &Key,
) -> Result<(), Box<dyn Error>> {
    let (x, bottom, top) = (mark.x, chart.y.min, chart.y.max);
    let colour = PALETTE[key.colour.min(COLOURS)];
    if let Some(row) = row {
        let at = move |area: (f64, f64)| {
            EmptyElement::at(area)
                + Text::new(fit(&mark.text, NAME), (3, 2 + 12 * row), ("sans-serif", 10).into_font().color(&colour))
        };
        plane.draw_series([at((x, top))])?;
    }
    plane.draw_series(DashedLineSeries::new([(x, bottom), (x, top)], 3, 3, ShapeStyle::from(&colour)))?;
    Ok(())
}

fn draw_legend(area: &Drawing<'_>, figure: &Figure) -> Result<(), Box<dyn Error>> {
    for (row, key) in (0..).zip(&figure.legend) {
        let y = 14 + row * ROW.cast_signed();
        let colour = PALETTE[key.colour.min(COLOURS)];
        let line = ShapeStyle::from(&colour).stroke_width(2);
        // As the line itself: whole, in dashes, or in dots.
        let strokes: &[(i32, i32)] = match key.dash {
            0 => &[(4, 28)],
            1 => &[(4, 11), (15, 22), (26, 28)],
            _ => &[(4, 6), (9, 11), (14, 16), (19, 21), (24, 26)],
        };
        for &(from, to) in strokes {
            area.draw(&PathElement::new([(from, y), (to, y)], line))?;
        }
        area.draw(&Text::new(fit(&key.name, NAME), (34, y - 6), ("sans-serif", 12).into_font().color(&TEXT)))?;
    }
    Ok(())
}

/// Not longer than there is room for, and nothing that XML has no word for.
fn fit(text: &str, most: usize) -> String {
    let legal = |c: char| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c };
    let mut fitted: String = text.chars().take(most).map(legal).collect();
    if text.chars().nth(most).is_some() {
        fitted.pop();
        fitted.push('\u{2026}');
    }
    fitted
}
