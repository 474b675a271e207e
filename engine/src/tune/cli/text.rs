//! What is printed of a search.

use std::fmt::Write as _;
use std::path::Path;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::super::space::Space;
use super::super::{Contender, Finding, Goal, Level, Outcome, Plan, Tradeoff};
use crate::summary::{digits, thousands, time_text};

/// What would be tried.
pub(super) fn plan(space: &Space, plan: &Plan) -> String {
    let mut text = format!("{}: {} under {}\n", space.spec().name(), plan.goal, plan.slo);
    for (key, values) in &space.axes {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  {:20} {}", key.full(), values.join(" "));
    }
    let _ = writeln!(text, "  {:20} {}", "the default", plan.default.text());
    let (tried, all) = (plan.candidates.len(), space.combinations);
    let thinned = if tried < all { format!(" of {all}, the grid being thinned out,") } else { String::new() };
    let length = match plan.goal {
        Goal::MaxThroughput => format!("runs of up to {} s", plan.full),
        Goal::MinTraffic => format!("up to {} epidemics each", plan.full),
    };
    let _ = writeln!(
        text,
        "{tried} candidates{thinned} sorted out by {length}; at most 3 and the default confirmed by {} runs each",
        plan.repetitions
    );
    text
}

/// What a search came to.
pub(super) fn outcome(outcome: &Outcome, plan: &Plan, dir: &Path) -> String {
    let mut text =
        format!("\nThe finalists, in turn, {} runs each:\n{}\n", plan.repetitions, contenders(outcome, plan));
    if !outcome.front.is_empty() {
        let what = match plan.goal {
            Goal::MaxThroughput => "throughput and p99",
            Goal::MinTraffic => "traffic and rounds",
        };
        let _ =
            writeln!(text, "\nThe Pareto front: no other run was better in both, {what}:\n{}", front(outcome, plan));
    }
    let _ = writeln!(text, "\n{}", sentence(outcome, plan));
    for note in &outcome.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "Results: {}", dir.display());
    text
}

fn value_text(goal: Goal, value: f64) -> String {
    if goal == Goal::MaxThroughput { thousands(value) } else { digits(value) }
}

fn delay_text(goal: Goal, delay: f64) -> String {
    if goal == Goal::MaxThroughput { time_text(delay) } else { digits(delay) }
}

fn figures(goal: Goal) -> [&'static str; 2] {
    match goal {
        Goal::MaxThroughput => ["commands/s", "p99"],
        Goal::MinTraffic => ["traffic", "rounds"],
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(header);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn contenders(outcome: &Outcome, plan: &Plan) -> String {
    let [value, delay] = figures(plan.goal);
    let mut table = table(&["settings", "offered", value, delay, "held", "to the default", "verdict"]);
    for each in &outcome.contenders {
        let who = if each.is_default { " (default)" } else { "" };
        let name = format!("{}{who}", each.settings.text());
        if each.levels.is_empty() {
            table.add_row([name.as_str(), "", "", "", "", "", "holds at no rate"]);
        }
        for (index, level) in each.levels.iter().enumerate() {
            let mut cells = vec![Cell::new(if index == 0 { name.as_str() } else { "" })];
            cells.extend(level_cells(level, plan.goal));
            cells.extend(versus_cells(each, index));
            table.add_row(cells);
        }
    }
    table.trim_fmt()
}

fn level_cells(level: &Level, goal: Goal) -> [Cell; 4] {
    let value = crate::compare::statistics::median(&level.values);
    [
        right(level.rate.map(thousands).unwrap_or_default()),
        right(value_text(goal, value)),
        right(delay_text(goal, level.delay)),
        right(format!("{} of {}", level.held, level.values.len())),
    ]
}

/// Beside the level that is compared.
fn versus_cells(contender: &Contender, level: usize) -> [Cell; 2] {
    let empty = || Cell::new("");
    match (contender.confirmed, &contender.versus_default) {
        (None, _) if level == 0 => [empty(), Cell::new("does not hold")],
        (Some(confirmed), Some(versus)) if confirmed == level => {
            let end = |end: Option<f64>| end.map_or("\u{221e}".into(), |end| format!("{end:.3}"));
            let [low, high] = versus.interval.map(end);
            [right(format!("{} ({low} to {high})", end(versus.ratio))), Cell::new(&versus.verdict)]
        }
        _ => [empty(), empty()],
    }
}

fn front(outcome: &Outcome, plan: &Plan) -> String {
    let [value, delay] = figures(plan.goal);
    let mut table = table(&["settings", value, delay, "held"]);
    for Tradeoff { settings, value, delay, runs, held } in &outcome.front {
        table.add_row([
            Cell::new(settings.text()),
            right(value_text(plan.goal, *value)),
            right(delay_text(plan.goal, *delay)),
            right(format!("{held} of {runs}")),
        ]);
    }
    table.trim_fmt()
}

fn sentence(outcome: &Outcome, plan: &Plan) -> String {
    let slo = &plan.slo;
    match &outcome.finding {
        Finding::Found { .. } => outcome.recommended().map(|best| recommendation(best, plan)).unwrap_or_default(),
        Finding::NoBetter => {
            let unclear = |each: &Contender| {
                each.versus_default.as_ref().is_some_and(|versus| versus.verdict.starts_with("inconclusive"))
            };
            let more = if outcome.contenders.iter().any(unclear) {
                format!(" More runs may show more: --set run.repetitions={}.", 2 * plan.repetitions)
            } else {
                String::new()
            };
            format!("No better than the default: nothing that was tried is shown to do more under {slo}.{more}")
        }
        Finding::NotFound { why } => {
            format!("Not found: nothing that was tried holds {slo} ({why}). Allow more, or offer it less.")
        }
        Finding::GeneratorLimited { why } => {
            let more =
                if plan.slo.accepts_send_lag() { "allow more" } else { "--accept-send-lag counts what holds even so" };
            format!(
                "Generator-limited: nobody can tell what the system does under {slo} ({why}). Give clients cores of their \
                 own (cluster.pin), or fewer replicas; {more}."
            )
        }
    }
}

fn recommendation(best: &Contender, plan: &Plan) -> String {
    let value = value_text(plan.goal, best.value().unwrap_or_default());
    let what = match plan.goal {
        Goal::MaxThroughput => format!("sustains {value} commands/s"),
        Goal::MinTraffic => format!("takes a traffic of {value}"),
    };
    let beside = match best.versus_default.as_ref().map(|versus| versus.ratio) {
        Some(Some(ratio)) => format!("{ratio:.2} times what the default does"),
        _ => "and the default does not hold it".into(),
    };
    format!("Recommended: {}\nIt {what} under {}, {beside}.", best.settings, plan.slo)
}
