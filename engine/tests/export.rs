//! A run in other tools' formats, each held against what that tool's documentation says of it. `consumers.rs` asks the
//! tools themselves.

mod support;

use std::fs;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use quorumbench::results::decode_histogram;
use serde_json::Value as Json;
use support::desk::{Desk, fails};
use support::points_on_disk;

/// Two points in virtual time, twice: no two machines tell them apart.
const CONFIG: &str = "name = 'a-name'
[cluster]
protocol = ['raft', 'echo']
transport = 'sim'
[load]
arrival = 'constant'
rate = 5000
[run]
warmup = '50ms'
duration = '200ms'
repetitions = 2
";
const GOSSIP: &str = "name = 'spread'
[cluster]
protocol = 'gossip'
transport = 'population'
nodes = 200
[gossip]
fanout = [1, 2]
trials = 20
";

/// A desk with a run on it, and the run's folder.
fn measured(config: &str) -> (Desk, String) {
    let desk = Desk::new(config);
    let said = desk.run(&["run", "x.toml", "--quiet"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let run = desk.only_run("results").display().to_string();
    (desk, run)
}

fn exported(desk: &Desk, run: &str, format: &str) -> String {
    let said = desk.run(&["export", run, "--format", format]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{format}");
    said.out
}

#[test]
fn histograms_come_out_as_they_went_in() {
    let (desk, run) = measured(CONFIG);
    let log = exported(&desk, &run, "hlog");
    assert!(log.starts_with("#[Histogram log format version 1.3]\n"), "{log}");
    let mut read = Vec::new();
    for entry in IntervalLogIterator::new(log.as_bytes()) {
        if let Ok(LogEntry::Interval(interval)) = entry {
            let tag = interval.tag().expect("a tag").as_str().to_owned();
            read.push((tag, decode_histogram(interval.encoded_histogram()).expect("a histogram")));
        }
    }
    // Two points, two repetitions, three metrics.
    assert_eq!(read.len(), 12);
    let points = points_on_disk(desk.only_run("results").as_path());
    for point in &points {
        let stored = decode_histogram(&point.histograms.response).expect("a histogram");
        let tag = format!("protocol={}/response", point.axis("protocol"));
        assert!(read.iter().any(|(other, histogram)| *other == tag && *histogram == stored), "{tag}");
    }
}

#[test]
fn percentile_files_are_one_a_point_and_repetition() {
    let (desk, run) = measured(CONFIG);
    fails(&desk.run(&["export", &run, "--format", "hgrm"]), 2, &["4 files", "--out DIR"]);
    let said = desk.run(&["export", &run, "--format", "hgrm", "--out", "percentiles"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
    let mut names: Vec<_> = fs::read_dir(desk.path("percentiles"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    assert_eq!(names, ["protocol=echo-0.hgrm", "protocol=echo-1.hgrm", "protocol=raft-0.hgrm", "protocol=raft-1.hgrm"]);
    let text = fs::read_to_string(desk.path("percentiles/protocol=raft-0.hgrm")).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
    assert_eq!(lines[1], "");
    let rows = &lines[2..lines.len() - 3];
    let last: Vec<&str> = rows[rows.len() - 1].split_whitespace().collect();
    assert_eq!((last.len(), last[1]), (3, "1.000000000000"), "{last:?}");
    assert!(rows[..rows.len() - 1].iter().all(|row| row.split_whitespace().count() == 4 && row.len() == 53), "{text}");
    let total = last[2].to_owned();
    assert!(lines[lines.len() - 2].ends_with(&format!("Total count    = {total:>12}]")), "{text}");
}

#[test]
fn tables_hold_the_values_of_the_lines() {
    let (desk, run) = measured(CONFIG);
    let table = exported(&desk, &run, "csv");
    let mut rows = table.lines();
    assert_eq!(rows.next(), Some("run,name,commit,protocol,repetition,metric,value,unit"));
    let points = points_on_disk(desk.only_run("results").as_path());
    for point in &points {
        let value = point.response_ns.p99;
        let (protocol, repetition) = (point.axis("protocol"), point.repetition);
        let row = format!(",{protocol},{repetition},p99,{value},ns");
        assert!(table.lines().any(|line| line.ends_with(&row)), "{row}\n{table}");
    }
    let whole: Json = serde_json::from_str(&exported(&desk, &run, "json")).expect("one document");
    assert_eq!(whole["runs"][0]["points"].as_array().map(Vec::len), Some(4));
    assert_eq!(whole["runs"][0]["manifest"]["name"], "a-name");
    let history = exported(&desk, &run, "otava");
    assert_eq!(history.lines().count(), 2, "{history}");
    assert!(history.starts_with("time,commit,protocol=echo cpu,protocol=echo p50,"), "{history}");
}

#[test]
fn benchstat_reads_a_line_a_repetition() {
    let (desk, run) = measured(CONFIG);
    let text = exported(&desk, &run, "benchstat");
    assert!(text.contains("Unit p99-ns/op better=lower\n") && text.contains("Unit commands/s better=higher\n"));
    let results: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("Benchmark"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(results.len(), 4);
    for result in results {
        // A name that ends in the number of cores, a count, and pairs of a value and a unit.
        let (name, cores) = result[0].rsplit_once('-').expect("cores");
        assert!(name.starts_with("BenchmarkCommit/protocol=") && cores.parse::<u32>().is_ok(), "{result:?}");
        assert!(result[1].parse::<u64>().is_ok_and(|count| count > 0) && result.len() % 2 == 0, "{result:?}");
        assert!(result[2..].chunks(2).all(|pair| pair[0].parse::<f64>().is_ok()), "{result:?}");
    }
    let (desk, run) = measured(GOSSIP);
    assert!(exported(&desk, &run, "benchstat").contains("BenchmarkEpidemic/fanout=2-"));
}

#[test]
fn dashboards_get_their_documents() {
    let (desk, run) = measured(CONFIG);
    let metrics: Json = serde_json::from_str(&exported(&desk, &run, "bencher")).expect("JSON");
    let latency = &metrics["protocol=raft"]["latency"];
    let [value, lower, upper] =
        ["value", "lower_value", "upper_value"].map(|key| latency[key].as_f64().expect("a number"));
    assert!(lower <= value && value <= upper);
    fails(&desk.run(&["export", &run, "--format", "github-action"]), 2, &["2 files"]);
    desk.run(&["export", &run, "--format", "github-action", "--out", "charts"]);
    for (name, metric) in [("smaller-is-better.json", "p99"), ("bigger-is-better.json", "throughput")] {
        let text = fs::read_to_string(desk.path("charts").join(name)).expect("a file");
        let entries: Vec<Json> = serde_json::from_str(&text).expect("a list");
        let named = |entry: &&Json| entry["name"] == format!("protocol=raft {metric}");
        let entry = entries.iter().find(named).expect("an entry");
        assert!(entry["value"].is_f64() && entry["unit"].is_string() && entry["range"].is_string());
    }
    let text = exported(&desk, &run, "prometheus");
    let sample = "quorumbench_p99_seconds{experiment=\"a-name\",repetition=\"1\",protocol=\"raft\"} ";
    assert!(text.contains("# TYPE quorumbench_p99_seconds gauge\n") && text.contains(sample), "{text}");
}

/// What `--out` names depends on the format, and not on how many files come of these data.
#[test]
fn a_format_goes_to_a_folder_or_to_a_file() {
    let (desk, run) =
        measured(&CONFIG.replace("['raft', 'echo']", "'echo'").replace("repetitions = 2", "repetitions = 1"));
    let exported = |format, out| desk.run(&["export", &run, "--format", format, "--out", out]);
    assert_eq!(exported("hgrm", "percentiles").code, Some(0));
    assert!(desk.path("percentiles/a-name-0.hgrm").is_file());
    let (spread, gossip) = measured(GOSSIP);
    let said = spread.run(&["export", &gossip, "--format", "github-action", "--out", "charts"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(spread.path("charts/smaller-is-better.json").is_file());
    assert_eq!(exported("csv", "a.csv").code, Some(0));
    fails(&exported("hgrm", "a.csv"), 2, &["a.csv: that is no folder"]);
    fails(&exported("csv", "percentiles"), 2, &["percentiles: that is a folder"]);
    assert_eq!(fs::read_dir(desk.path("percentiles")).expect("a folder").count(), 1);
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let (desk, run) = measured(CONFIG);
    let pipe = desk.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe)
    });
    let said = desk.run(&["export", &run, "--format", "csv", "--out", "pipe"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(fs::symlink_metadata(&pipe).is_ok_and(|there| !there.is_file()), "the pipe is there still");
    assert!(reader.join().expect("it ends").expect("text").starts_with("run,name,"));
    fs::write(desk.path("page.html"), "before").expect("written");
    std::os::unix::fs::symlink("page.html", desk.path("link.html")).expect("a link");
    assert_eq!(desk.run(&["report", &run, "--out", "link.html"]).code, Some(0));
    assert!(desk.path("link.html").is_symlink());
    assert!(fs::read_to_string(desk.path("page.html")).expect("a page").contains("</html>"));
}

/// Nights with one point, and one with two: the point that all have has the same name in all.
#[test]
fn a_history_names_points_alike() {
    let desk = Desk::new(CONFIG);
    let runs =
        [("one", "raft"), ("two", "[raft,echo]"), ("three", "raft"), ("other", "echo")].map(|(out, protocol)| {
            let set = format!("protocol={protocol}");
            let said = desk.run(&["run", "x.toml", "--quiet", "--out", out, "--set", &set, "--set", "repetitions=1"]);
            assert_eq!(said.code, Some(0), "{said:?}");
            desk.only_run(out).display().to_string()
        });
    let [one, two, three, other] = &runs;
    let said = desk.run(&["export", one, two, three, "--format", "otava"]);
    assert!(said.code == Some(0) && said.out.starts_with("time,commit,protocol=raft cpu,"), "{said:?}");
    assert_eq!(said.out.lines().count(), 4, "{said:?}");
    fails(&desk.run(&["export", one, other, "--format", "otava"]), 2, &["nothing in common"]);
    fs::write(desk.path(other).join("points.jsonl"), "").expect("written");
    for format in ["csv", "otava"] {
        fails(&desk.run(&["export", other, "--format", format]), 2, &["nothing that this format is about"]);
    }
}

#[test]
fn what_a_format_is_not_about_is_said() {
    let (desk, run) = measured(GOSSIP);
    for format in ["hlog", "hgrm"] {
        fails(&desk.run(&["export", &run, "--format", format]), 2, &["nothing that this format is about"]);
    }
    assert!(exported(&desk, &run, "csv").contains(",traffic,"));
    fails(&desk.run(&["export", &run, &run, "--format", "benchstat"]), 2, &["one RUN at a time"]);
    fails(&desk.run(&["export", "nowhere", "--format", "csv"]), 1, &["give it the folder of a run"]);
    fails(&desk.run(&["export", &run, "--format", "xml"]), 2, &["otava"]);
    assert_eq!(desk.run(&["export", &run, &run, "--format", "otava", "--out", "h.csv"]).code, Some(0));
    assert_eq!(fs::read_to_string(desk.path("h.csv")).expect("a file").lines().count(), 3);
    fails(
        &desk.run(&["export", &run, "--format", "csv", "--out", "no/where/x.csv"]),
        1,
        &["cannot write no/where/x.csv"],
    );
}
