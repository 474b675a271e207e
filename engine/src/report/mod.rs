//! A run as a page that people look at: what was asked, what came out, whether to believe it, and charts.
//!
//! A [`Report`] is made of stored runs, side by side where there are several. What it says is decided here, in one
//! [`Document`]: which chart has which lines, and every figure, exactly as it was stored. The page
//! only draws it, and so do the SVGs, which have the same charts.
//!
//! The page is one file without a network: the plotting library is inside, and a policy forbids everything else. Names
//! from a config reach it inside of a JSON document, and the screen as text.

use std::io;
use std::path::Path;

use crate::results::{self, StoredRun};

mod answer;
mod axis;
pub mod cli;
pub mod document;
mod gossip;
mod grids;
mod latency;
mod leader;
mod material;
mod page;
mod percentiles;
mod setup;
mod svg;
mod tables;
mod timeline;

use document::Document;
pub use material::BadLine;
use material::Material;

/// What the ids of figures begin with: the ids of the sections that have any.
const FIGURES: [&str; 5] = ["latency", "percentiles", "timeline", "coverage", "rounds"];

/// A page, and the same as SVGs.
#[derive(Clone, Debug)]
pub struct Report {
    document: Document,
}

impl Report {
    /// Of these runs.
    ///
    /// # Errors
    /// If a line of theirs is not whole.
    pub fn of(runs: &[StoredRun]) -> Result<Self, BadLine> {
        let material = Material::of(runs)?;
        let (commands, epidemics, convergences) = (&material.commands, &material.epidemics, &material.convergences);
        let sections = [
            latency::section(commands),
            percentiles::section(commands),
            timeline::section(runs, commands),
            grids::matrix(commands),
            grids::heatmaps(material.groups()),
            tables::costs(commands),
            gossip::coverage(epidemics),
            gossip::rounds(epidemics),
            tables::epidemics(epidemics),
            tables::convergences(convergences),
            setup::warnings(&material),
            setup::config(runs),
            setup::host(runs),
            setup::doctor(runs),
        ];
        Ok(Self { document: answer::document(runs, &material, sections.into_iter().flatten().collect()) })
    }

    /// What it says.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The page.
    pub fn html(&self) -> String {
        page::html(&self.document)
    }

    /// Its charts as SVG: what each is called, as part of a file's name, and it.
    pub fn charts(&self) -> Vec<(String, String)> {
        let figures = self.document.sections.iter().flat_map(|section| &section.figures);
        let of_figure = |figure: &document::Figure| {
            let name = |at: usize| {
                if figure.charts.len() > 1 { format!("{}-{}", figure.id, at + 1) } else { figure.id.clone() }
            };
            let chart = |(at, chart)| (name(at), svg::svg(figure, chart));
            figure.charts.iter().enumerate().map(chart).collect::<Vec<_>>()
        };
        figures.flat_map(of_figure).collect()
    }

    /// Whether a chart could be called that, in this report or in another.
    pub(crate) fn is_name_of_chart(name: &str) -> bool {
        let mut parts = name.split('-');
        let figure = parts.next().is_some_and(|figure| FIGURES.contains(&figure));
        let numbers: Vec<&str> = parts.collect();
        let is_number = |part: &&str| part.parse::<u32>().is_ok_and(|number| number.to_string() == **part);
        figure && (1..=2).contains(&numbers.len()) && numbers.iter().all(is_number)
    }

    /// Writes the page, in the place of the file at `path`, at once; a pipe or a device is written into.
    ///
    /// # Errors
    /// If it cannot be written; what was there is there still.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        results::replace(path, self.html().as_bytes())
    }
}
