//! Reports: every figure is that of a line, nothing leaves the page, and names are only names.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use quorumbench::report::Report;
use quorumbench::report::document::{Chart, Figure, Section};
use serde_json::{Value as Json, json};
use support::reported::{
    failover, gossip, hostile_name, inside, lines, loops, make_hostile, reconciliation, report, sweep,
};

fn section<'a>(report: &'a Report, id: &str) -> &'a Section {
    let section = report.document().sections.iter().find(|section| section.id == id);
    section.unwrap_or_else(|| panic!("no section {id}"))
}

fn sections(report: &Report) -> Vec<&str> {
    report.document().sections.iter().map(|section| section.id).collect()
}

fn names(figure: &Figure) -> Vec<&str> {
    figure.legend.iter().map(|key| key.name.as_str()).collect()
}

/// To the last digit.
fn exactly(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits()
}

/// All that repetitions had, over all dots of a chart, in order.
fn drawn(chart: &Chart) -> Vec<[f64; 2]> {
    let mut runs: Vec<[f64; 2]> =
        chart.series.iter().flat_map(|series| &series.dots).flat_map(|dot| dot.runs.clone()).collect();
    runs.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    runs
}

/// The same from the lines.
fn stored(lines: &[Json], x: &str, y: &str) -> Vec<[f64; 2]> {
    let at = |line: &Json, pointer: &str| line.pointer(pointer).and_then(Json::as_f64).expect("a figure");
    let mut pairs: Vec<[f64; 2]> = lines.iter().map(|line| [at(line, x), at(line, y)]).collect();
    pairs.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    pairs
}

#[test]
fn a_sweep_is_drawn_as_it_was_stored() {
    let ran = sweep();
    let dir = &ran.finished.dir;
    let report = report(&[dir]);
    let expected = ["latency", "percentiles", "timeline", "matrix", "costs", "warnings", "config", "host", "doctor"];
    assert_eq!(sections(&report), expected, "what there is, and nothing else");

    let lines = lines(dir);
    let [figure] = &section(&report, "latency").figures[..] else { panic!("one figure") };
    assert_eq!(names(figure), ["echo (floor)", "raft", "zab"]);
    assert_eq!(figure.legend.iter().map(|key| key.dash).collect::<Vec<_>>(), [1, 0, 0], "the floor is dashed");
    for (chart, percentile) in figure.charts.iter().zip(["p50", "p99"]) {
        assert_eq!(drawn(chart), stored(&lines, "/completed_per_s", &format!("/response_ns/{percentile}")));
        for series in &chart.series {
            let labels: Vec<&str> = series.dots.iter().map(|dot| dot.label.as_str()).collect();
            assert_eq!(labels, ["rate=100", "rate=400"], "in the order of what was offered");
            for dot in &series.dots {
                let [low, high] = dot.y_range.expect("two repetitions");
                assert!(low <= dot.y && dot.y <= high && exactly(dot.y, f64::midpoint(dot.runs[0][1], dot.runs[1][1])));
                // A p99 from a few hundred commands is none.
                assert!(percentile == "p50" || dot.doubts.iter().any(|doubt| doubt.starts_with("too_few_samples:")));
            }
        }
    }
    // In the page it is the same, digit by digit.
    let page = inside(&report.html());
    assert_eq!(page, serde_json::to_value(report.document()).expect("JSON"));
}

#[test]
fn percentiles_are_those_of_the_lines() {
    let ran = sweep();
    let report = report(&[&ran.finished.dir]);
    let [figure] = &section(&report, "percentiles").figures[..] else { panic!("one figure") };
    assert_eq!(names(figure).len(), 6, "a line a point");
    let all = drawn(&figure.charts[0]);
    for line in lines(&ran.finished.dir) {
        for (nines, pointer) in [(2.0, "p50"), (10.0, "p90"), (100.0, "p99")] {
            let value = line["response_ns"][pointer].as_f64().expect("a percentile");
            let found = all.iter().any(|&[x, y]| (x / nines - 1.0).abs() < 1e-9 && exactly(y, value));
            assert!(found, "{pointer} = {value}");
        }
    }
}

#[test]
fn what_happened_is_marked_where_it_did() {
    let ran = failover();
    let report = report(&[&ran.finished.dir]);
    let [figure] = &section(&report, "timeline").figures[..] else { panic!("one figure") };
    assert_eq!(names(figure), ["raft", "zab"]);
    let [throughput, p99] = &figure.charts[..] else { panic!("two charts") };
    let expected: Vec<(f64, String)> = lines(&ran.finished.dir)
        .iter()
        .flat_map(|line| line["events"].as_array().cloned().unwrap_or_default())
        .filter(|event| (0..=5_000_000_000).contains(&event["at_ns"].as_i64().expect("a time")))
        .map(|event| (event["at_ns"].as_f64().expect("a time") / 1e9, event["kind"].to_string()))
        .collect();
    assert!(expected.iter().any(|(_, kind)| kind == "\"killed\"") && expected.len() >= 6, "{expected:?}");
    for chart in [throughput, p99] {
        assert_eq!(chart.marks.len(), expected.len());
        assert!(expected.iter().all(|(at, _)| chart.marks.iter().any(|mark| exactly(mark.x, *at))));
        assert_eq!(chart.series.iter().map(|series| series.dots.len()).collect::<Vec<_>>(), [5, 5]);
    }
    // What came of each is in a table.
    let [table] = &section(&report, "timeline").tables[..] else { panic!("one table") };
    let gaps: Vec<Option<f64>> = table.rows.iter().map(|row| row.cells[0].value).collect();
    let stored: Vec<Option<f64>> = ["raft", "zab"]
        .iter()
        .flat_map(|protocol| {
            lines(&ran.finished.dir).into_iter().filter(move |line| line["axes"]["protocol"] == **protocol)
        })
        .map(|line| line["faults"][0]["gap_ns"].as_f64())
        .collect();
    assert!(gaps == stored && gaps.iter().all(Option::is_some), "{gaps:?} {stored:?}");
    // All that was answered is there, second by second.
    let answered: f64 = throughput.series.iter().flat_map(|series| &series.dots).map(|dot| dot.y).sum();
    let stored: f64 =
        lines(&ran.finished.dir).iter().map(|line| line["completed_per_s"].as_f64().expect("a rate") * 5.0).sum();
    assert!((answered - stored).abs() < 1e-6, "{answered} {stored}");
}

#[test]
fn loops_of_both_kinds_never_share_a_chart() {
    let ran = loops();
    let report = report(&[&ran.finished.dir]);
    let figures = &section(&report, "percentiles").figures;
    let titles: Vec<&str> = figures.iter().map(|figure| figure.title.as_str()).collect();
    assert_eq!(titles, ["Open loop", "Closed loop"]);
    assert!(figures.iter().all(|figure| figure.charts[0].series.len() == 4));
    assert!(!sections(&report).contains(&"latency"), "one load each makes no line");
    let heat = section(&report, "heatmap");
    let titles: Vec<&str> = heat.tables.iter().map(|table| table.title.as_str()).collect();
    let expected = ["commands/s", "p99", "p50", "p99"].map(|figure| format!("{figure}, commands by window"));
    assert_eq!(titles, expected);
    for table in &heat.tables {
        assert_eq!((table.rows.len(), table.columns.len()), (2, 2));
        let shades = || table.rows.iter().flat_map(|row| &row.cells).filter_map(|cell| cell.shade);
        assert!(shades().count() == 4 && shades().any(|shade| shade == 0.0), "the best is not shaded");
    }
}

#[test]
fn gossip_stands_beside_its_theory() {
    let ran = gossip();
    let report = report(&[&ran.finished.dir]);
    assert_eq!(sections(&report), ["coverage", "rounds", "epidemics", "config", "host", "doctor"]);
    let lines = lines(&ran.finished.dir);
    let [figure] = &section(&report, "rounds").figures[..] else { panic!("one figure") };
    assert_eq!(names(figure), ["push", "pull", "push: theory", "pull: theory"]);
    let measured = stored(&lines, "/axes/nodes", "/epidemic/rounds_last/mean");
    assert_eq!(drawn(&figure.charts[0]), measured);
    let theory: Vec<f64> = figure.charts[0].series[2].dots.iter().map(|dot| dot.y).collect();
    assert_eq!(theory.len(), 3);
    assert!(theory.iter().all(|&rounds| lines.iter().any(|line| line["epidemic"]["theory"]["rounds_last"] == rounds)));

    let [figure] = &section(&report, "coverage").figures[..] else { panic!("one figure") };
    assert_eq!(figure.legend.len(), 6);
    let curve: Vec<f64> =
        lines[0]["epidemic"]["curve"].as_array().expect("a curve").iter().filter_map(Json::as_f64).collect();
    let all = drawn(&figure.charts[0]);
    assert!(curve.iter().enumerate().all(|(round, share)| all.contains(&[round as f64, *share])));
}

#[test]
fn replicas_that_reconcile_have_a_table_of_bytes() {
    let ran = reconciliation();
    let report = report(&[&ran.finished.dir]);
    assert_eq!(sections(&report), ["convergence", "config", "host", "doctor"]);
    let [table] = &section(&report, "convergence").tables[..] else { panic!("one table") };
    let bytes: Vec<Option<f64>> = table.rows.iter().map(|row| row.cells[0].value).collect();
    let stored = lines(&ran.finished.dir);
    assert_eq!(bytes.len(), stored.len());
    for line in &stored {
        assert!(bytes.contains(&line["convergence"]["bytes"]["all"]["mean"].as_f64()));
    }
}

#[test]
fn what_the_doctor_said_is_at_the_end() {
    let ran = reconciliation();
    let path = ran.finished.dir.join("manifest.json");
    let mut manifest: Json = serde_json::from_str(&fs::read_to_string(&path).expect("a manifest")).expect("JSON");
    let finding =
        json!({"check": "cpu.governor", "level": "warn", "what": "powersave", "cost": "speed", "todo": "tuned-adm"});
    manifest["doctor"] = json!({"findings": [finding], "deltas": {"steal_ms": 12}});
    fs::write(&path, manifest.to_string()).expect("it can be written");
    let report = report(&[&ran.finished.dir]);
    assert_eq!(sections(&report).last(), Some(&"doctor"));
    let [findings, deltas] = &section(&report, "doctor").tables[..] else { panic!("two tables") };
    let said: Vec<&str> = findings.rows[0].cells.iter().map(|cell| cell.text.as_str()).collect();
    assert_eq!(
        (findings.rows[0].names[0].as_str(), said),
        ("cpu.governor", vec!["warn", "powersave", "speed", "tuned-adm"])
    );
    assert_eq!((deltas.rows[0].names[0].as_str(), deltas.rows[0].cells[0].text.as_str()), ("steal_ms", "12"));
}

#[test]
fn several_runs_stand_side_by_side() {
    let (one, other) = (sweep(), sweep());
    let report = report(&[&one.finished.dir, &other.finished.dir]);
    let figures = &section(&report, "latency").figures;
    let lines: usize = figures.iter().map(|figure| figure.legend.len()).sum();
    assert_eq!(lines, 6, "a line a run and protocol");
    assert_eq!(report.document().asked.len(), 2);
    let host = &section(&report, "host").tables[0];
    assert_eq!(host.columns.len(), 2);
}

#[test]
fn all_that_was_offered_is_all_whatever_came_by_chance() {
    let (one, other) = (sweep(), sweep());
    let begins = "At 400 commands/s, all that was offered, ";
    let alone = report(&[&one.finished.dir]);
    assert!(alone.document().answer[0].starts_with(begins), "{:?}", alone.document().answer);
    // Of several runs, each has its answer before any has the rest.
    let both = report(&[&one.finished.dir, &other.finished.dir]);
    for (ran, answer) in [&one, &other].into_iter().zip(&both.document().answer) {
        let expected = format!("{}: {begins}", ran.finished.dir.display());
        let folder = ran.finished.dir.file_name().expect("a name").to_string_lossy();
        assert!(answer.starts_with(&expected) || answer.starts_with(&format!("{folder}: {begins}")), "{answer}");
    }
}

#[test]
fn charts_of_an_earlier_report_do_not_stay() {
    let at = tempfile::tempdir().expect("a folder");
    let draw = |ran: &Path| {
        let output = quorumbench(&["report", ran.to_str().expect("UTF-8"), "--svg", "charts", "--json"], at.path());
        assert!(output.status.success(), "{}", said(&output));
        let document: Json = serde_json::from_slice(&output.stdout).expect("one document");
        ["charts", "removed"].map(|key| serde_json::from_value::<Vec<String>>(document[key].clone()).expect("paths"))
    };
    let there = || {
        let files = fs::read_dir(at.path().join("charts")).expect("a folder");
        let names = files.map(|file| format!("charts/{}", file.expect("readable").file_name().to_string_lossy()));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let others = ["charts/latency-1-old.svg", "charts/latency-1.png", "charts/notes-1.svg", "charts/rounds.svg"];
    fs::create_dir(at.path().join("charts")).expect("created");
    others.iter().for_each(|other| fs::write(at.path().join(other), "mine").expect("written"));
    let mut before = Vec::new();
    // Charts of each kind, and in the end none.
    for ran in [sweep(), failover(), gossip(), reconciliation()] {
        let [charts, removed] = draw(&ran.finished.dir);
        before.retain(|chart| !charts.contains(chart));
        before.sort();
        assert_eq!(removed, before);
        let mut expected = [charts.clone(), others.map(str::to_owned).to_vec()].concat();
        expected.sort();
        assert_eq!(there(), expected);
        before = charts;
    }
    assert!(before.is_empty());
}

#[test]
fn the_page_asks_for_nothing_and_runs_only_what_it_came_with() {
    let ran = sweep();
    let html = report(&[&ran.finished.dir]).html();
    assert!(html.contains("default-src 'none'"));
    assert!(!html.contains("unsafe-"), "neither scripts nor styles but its own");
    let markup = without_scripts(&html);
    for attribute in ["src=", "href=", "url(", "@import"] {
        assert!(!markup.contains(attribute), "{attribute}");
    }
}

/// A page without the insides of its scripts.
fn without_scripts(html: &str) -> String {
    let mut rest = html;
    let mut markup = String::new();
    while let Some((before, after)) = rest.split_once("<script") {
        markup += before;
        rest = after.split_once("</script>").expect("it ends").1;
    }
    markup + rest
}

#[test]
fn hostile_names_are_only_names() {
    let ran = sweep();
    make_hostile(&ran.finished.dir);
    let report = report(&[&ran.finished.dir]);
    let html = report.html();
    let name = hostile_name();
    assert!(!html.contains("<img"), "no name is markup");
    assert_eq!(html.matches("<script").count(), 3 + library_mentions(), "nor a script");
    let page = inside(&html);
    assert_eq!(page["sections"][0]["figures"][0]["legend"][2]["name"], name.as_str(), "it is there, whole");
    for (_, svg) in report.charts() {
        let read = roxmltree::Document::parse(&svg).expect("XML");
        assert!(read.descendants().all(|node| !node.has_tag_name("script") && !node.has_tag_name("img")));
    }
}

/// How often the scripts themselves mention one.
fn library_mentions() -> usize {
    [include_str!("../src/report/vendor/uPlot.iife.min.js"), include_str!("../src/report/app.js")]
        .iter()
        .map(|script| script.matches("<script").count())
        .sum()
}

#[test]
fn every_chart_is_an_svg_with_its_lines() {
    for ran in [sweep(), failover(), gossip()] {
        let report = report(&[&ran.finished.dir]);
        let figures: Vec<&Figure> = report.document().sections.iter().flat_map(|section| &section.figures).collect();
        let charts = report.charts();
        assert_eq!(charts.len(), figures.iter().map(|figure| figure.charts.len()).sum::<usize>());
        let all = figures.iter().flat_map(|figure| figure.charts.iter().map(move |chart| (figure, chart)));
        for ((name, svg), (figure, chart)) in charts.iter().zip(all) {
            assert!(name.starts_with(&figure.id), "{name}");
            let read = roxmltree::Document::parse(svg).expect("XML");
            let texts: Vec<&str> = read.descendants().filter_map(|node| node.text()).map(str::trim).collect();
            for key in &figure.legend {
                assert!(texts.contains(&key.name.as_str()), "{name}: {}", key.name);
            }
            let count = |tag: &str| read.descendants().filter(|node| node.has_tag_name(tag)).count();
            let dots: usize = chart.series.iter().filter(|series| !series.dense).map(|series| series.dots.len()).sum();
            assert_eq!(count("circle"), 2 * dots, "{name}: each dot and its rim");
            let pieces: usize = chart.series.iter().map(|series| series.dots.len().saturating_sub(1)).sum();
            assert!(count("polyline") >= pieces, "{name}: {} of {pieces}", count("polyline"));
        }
    }
}

fn quorumbench(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorumbench")).args(arguments).current_dir(folder).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn it_says_where_everything_is() {
    let ran = sweep();
    let dir = ran.finished.dir.to_str().expect("UTF-8");
    let at = ran.out.path();
    let output = quorumbench(&["report", dir, "--out", "page.html", "--svg", "charts/new", "--json"], at);
    assert!(output.status.success(), "{}", said(&output));
    let document: Json = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["page"], "page.html");
    let charts = document["charts"].as_array().expect("charts");
    assert!(!charts.is_empty());
    for chart in charts {
        let svg = fs::read_to_string(at.join(chart.as_str().expect("a path"))).expect("a chart");
        assert!(svg.starts_with("<svg"), "{chart}");
    }
    assert!(fs::read_to_string(at.join("page.html")).expect("a page").starts_with("<!DOCTYPE html>"));
    // Without being told where, into the run's folder; and again over what is there.
    for _ in 0..2 {
        assert!(quorumbench(&["report", dir], at).status.success());
        assert!(ran.finished.dir.join("report.html").exists());
    }
    assert!(!ran.finished.dir.join("report.html.new").exists(), "nothing is left beside it");
}

#[test]
fn what_cannot_be_drawn_is_said_and_what_is_there_stays() {
    let ran = sweep();
    let dir = ran.finished.dir.to_str().expect("UTF-8");
    let at = ran.out.path();
    let fails = |arguments: &[&str], why: &str| {
        let output = quorumbench(arguments, at);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(why), "{}", said(&output));
    };
    fails(&["report", "nowhere"], "give it the folder of a run");
    fails(&["report", dir, "--out", "no/such/folder/page.html"], "choose another place with --out");
    let points = ran.finished.dir.join("points.jsonl");
    let whole = fs::read_to_string(&points).expect("points");
    fs::write(&points, "").expect("it can be written");
    fails(&["report", dir], "there is no point yet");
    fs::write(&points, whole.replacen("\"completed_per_s\"", "\"completed\"", 1)).expect("it can be written");
    fails(&["report", dir], "a line that is not whole");
}

#[test]
fn a_run_leaves_its_report_beside_its_results() {
    let at = tempfile::tempdir().expect("a folder");
    let config = at.path().join("question.toml");
    let text = "# Is it drawn?\nname = \"drawn\"\ncluster = { protocol = \"echo\", transport = \"sim\" }\n\
                load = { arrival = \"closed\", outstanding = 2 }\nrun = { warmup = \"1ms\", duration = \"20ms\" }\n";
    fs::write(&config, text).expect("it can be written");
    let output = quorumbench(&["run", "question.toml", "--quiet"], at.path());
    assert!(output.status.success(), "{}", said(&output));
    let run =
        fs::read_dir(at.path().join("results")).expect("results").next().expect("a run").expect("readable").path();
    let page = inside(&fs::read_to_string(run.join("report.html")).expect("a report"));
    assert_eq!(page["asked"][0], "drawn: Is it drawn?");
    assert_eq!(page["sections"][0]["id"], "percentiles");
}
