//! What a report says, before anything draws it: sections of charts and tables, with every figure as it was measured.
//!
//! A page and an SVG are drawn from the same description. It is also the JSON document that the page carries.

use serde::Serialize;

/// The version of the document.
pub const REPORT_SCHEMA: &str = "quorumbench.report/1";

/// All of it, in the order in which it is read.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// [`REPORT_SCHEMA`].
    pub schema: &'static str,
    /// What the runs are called.
    pub title: String,
    /// What was asked, a line a run.
    pub asked: Vec<String>,
    /// The answer: first in one sentence, then in more of them.
    pub answer: Vec<String>,
    /// Whether to believe it.
    pub badges: Vec<Badge>,
    /// What there is to show. A section that has nothing is not among them.
    pub sections: Vec<Section>,
}

/// Something that a reader should know before anything else.
#[derive(Clone, Debug, Serialize)]
pub struct Badge {
    /// In a word or two.
    pub text: String,
    /// How it looks.
    pub level: Level,
    /// In a sentence.
    pub why: String,
}

/// What a badge says of the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Level {
    Good,
    Plain,
    Doubtful,
    Bad,
}

/// Charts and tables about one thing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Section {
    /// For links.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// How to read it.
    pub text: Vec<String>,
    /// Its charts.
    pub figures: Vec<Figure>,
    /// Its tables, after the charts.
    pub tables: Vec<Table>,
}

/// Charts that share a legend: what is switched off in one is in all.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Unlike any other's in the document; with a number, part of a file's name.
    pub id: String,
    /// What its charts have in common.
    pub title: String,
    /// What is in them.
    pub legend: Vec<Key>,
    /// They.
    pub charts: Vec<Chart>,
}

/// One thing that charts show, and how it looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// What it is.
    pub name: String,
    /// Which colour of the palette.
    pub colour: usize,
    /// 0 for a solid line; the others are dashed, each in its own way.
    pub dash: usize,
}

/// Lines over two axes.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// What is shown.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// What happened when.
    pub marks: Vec<Mark>,
}

/// An axis, from `min` to `max`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Axis {
    pub label: String,
    pub unit: Unit,
    pub log: bool,
    pub min: f64,
    pub max: f64,
    /// Where it is labelled.
    pub ticks: Vec<f64>,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Commands a second.
    PerSecond,
    /// Nanoseconds.
    Nanoseconds,
    /// Seconds, as labels of an axis of time.
    Seconds,
    /// 1/(1 - q) of a quantile q.
    Nines,
    /// A share of 1.
    Share,
    /// Times something else.
    Times,
    /// Bytes.
    Bytes,
    /// Anything else.
    Number,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Which of the legend's keys.
    pub key: usize,
    /// Whether it is a curve of many dots: then these are not drawn, and spreads are a band.
    pub dense: bool,
    /// In the order in which they are joined.
    pub dots: Vec<Dot>,
}

/// A place on a line. It is the median of what the repetitions had.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Dot {
    /// Where.
    pub x: f64,
    /// Where.
    pub y: f64,
    /// The least and the most that `x` was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_range: Option<[f64; 2]>,
    /// The least and the most that `y` was, or its 95 % interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y_range: Option<[f64; 2]>,
    /// What is special about it; empty if the axes say it all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Why it is to be doubted; empty if it is not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// What each repetition had, as it was stored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<[f64; 2]>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    /// Where.
    pub x: f64,
    /// To what: one of the legend's keys.
    pub key: usize,
    /// What.
    pub text: String,
    /// In which repetition, from 0. Only the first's are labelled.
    pub repetition: usize,
}

/// A table: what a row is called, and its figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Table {
    /// What is in it.
    pub title: String,
    /// How to read it; may be empty.
    pub note: String,
    /// Heads of the columns that name a row.
    pub names: Vec<String>,
    /// The columns of figures.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A column of figures.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    /// Its head.
    pub title: String,
    /// What it counts.
    pub unit: Unit,
}

/// A row.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// What it is called.
    pub names: Vec<String>,
    /// One for each column.
    pub cells: Vec<Cell>,
    /// Why it is to be doubted; empty if it is not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// A figure, or words.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cell {
    /// The figure; none if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The words, where it is no figure.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// How strong its shade is: from 0, as good as any, to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shade: Option<f64>,
    /// Whether it has too few samples behind it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub grey: bool,
}

impl Cell {
    /// A figure, if there is one.
    pub fn of(value: Option<f64>) -> Self {
        Self { value, ..Self::default() }
    }

    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl Section {
    /// Itself, if there is anything in it.
    pub(super) fn unless_empty(self) -> Option<Self> {
        (!self.figures.is_empty() || !self.tables.is_empty()).then_some(self)
    }
}
