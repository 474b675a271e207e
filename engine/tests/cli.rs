//! The program as users and scripts meet it: what it prints where, and with which code it ends.

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeWriter, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::Value as Json;
use support::desk::{Desk, PATIENCE, PROGRAM, Said, end, fails, signal, whole};
use support::{manifest, points_on_disk};

/// Five points of one server on rings in memory: quick to start, the same everywhere.
const FIVE_POINTS: &str = "name = 'five'
[cluster]
protocol = 'echo'
replicas = 1
transport = 'mem'
[load]
arrival = 'constant'
rate = [1000, 1100, 1200, 1300, 1400]
[run]
warmup = '10ms'
duration = '500ms'
";
#[test]
fn every_help_has_examples() {
    let desk = Desk::new("");
    for arguments in [&["--help"][..], &["-h"], &["run", "--help"], &["list", "--help"]] {
        let said = desk.run(arguments);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.out.contains("Examples:\n  quorumbench "), "{arguments:?}: {}", said.out);
        assert!(!said.out.contains('\u{1b}') && said.err.is_empty());
    }
    // Whatever commands there are: none goes without.
    let help = desk.run(&["--help"]).out;
    let commands = help.split("Commands:\n").nth(1).expect("a list").lines().take_while(|line| !line.is_empty());
    for command in commands.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()) {
        if command != "help" {
            assert!(desk.run(&[command, "--help"]).out.contains("Examples:\n"), "{command}");
        }
    }
    assert!(desk.run(&["--version"]).out.starts_with("quorumbench "));
}

#[test]
fn list_names_what_there_is() {
    let said = Desk::new("").run(&["list"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    for name in
        ["raft", "echo", "star", "mem", "uring", "tokio-tcp", "quic", "null", "kv", "bench-configs/quickstart.toml"]
    {
        assert!(said.out.contains(&format!("\n  {name} ")), "{name}: {}", said.out);
    }
}

#[test]
fn a_dry_run_prints_the_points_and_runs_nothing() {
    let desk = Desk::new(FIVE_POINTS);
    let said = desk.run(&["run", "x.toml", "--dry-run", "--set", "repetitions=3"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.starts_with("five: 5 points x 3 repetitions"), "{}", said.out);
    assert_eq!(said.out.matches("\"protocol\":\"echo\"").count(), 5);
    assert!(said.out.contains("rate = [1000, 1100, 1200, 1300, 1400]") && said.out.contains("[batch]"));
    assert!(!desk.path("results").exists());
    // The config that it prints is the config, defaults and all.
    let printed = said.out.split_once("\n\n").expect("the points, a blank line, the config").1;
    fs::write(desk.path("printed.toml"), printed).expect("written");
    assert_eq!(desk.run(&["run", "printed.toml", "--dry-run"]).out, said.out);
}

/// Its nodes are threads there, whatever the config says.
#[test]
fn points_that_take_no_processes_are_said_to_take_none() {
    let desk = Desk::new("name = 'two'\n[cluster]\ntransport = ['mem', 'tokio-tcp']\nplacement = 'processes'\n");
    let said = desk.run(&["run", "x.toml", "--dry-run"]);
    assert!(
        said.code == Some(0)
            && said.err.starts_with("note: `cluster.placement` \"processes\" is passed over at 1 of 2"),
        "{said:?}"
    );
    let memory = ["run", "x.toml", "--dry-run", "--set", "transport=mem"];
    fails(&desk.run(&memory), 2, &["--set transport=mem:1:11: ", "which have no memory in common"]);
}

#[test]
fn points_can_be_chosen() {
    let desk = Desk::new(FIVE_POINTS);
    let said = desk.run(&["run", "x.toml", "--dry-run", "--point", "5", "--point", "2"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let rates =
        |text: &str| text.lines().filter_map(|line| line.split("\"rate\":").nth(1)?.get(..4)?.parse().ok()).collect();
    assert_eq!((rates(&said.out), said.out.starts_with("five: 2 points x")), (vec![1100, 1400], true), "{}", said.out);
    for wrong in ["0", "6"] {
        fails(&desk.run(&["run", "x.toml", "--point", wrong]), 2, &["five has points 1 to 5"]);
    }
}

#[test]
fn a_mistake_is_usage_and_says_where() {
    let typo = Desk::new("name = 'x'\n[cluster]\nreplicsa = 3\n");
    fails(&typo.run(&["run", "x.toml"]), 2, &["x.toml:3:1", "replicsa", "`cluster.replicas`"]);
    let none = Desk::new("name = 'x'\n[cluster]\nreplicas = 0\n");
    fails(&none.run(&["run", "x.toml"]), 2, &["x.toml:3:12", "replicas", "1"]);

    let desk = Desk::new(FIVE_POINTS);
    fails(&desk.run(&["run", "x.toml", "--set", "batch.comands=3"]), 2, &["--set batch.comands=3", "`batch.commands`"]);
    fails(&desk.run(&["run", "x.toml", "--set", "transport=carrier-pigeon"]), 2, &["carrier-pigeon", "tokio-tcp"]);
    fails(&desk.run(&["run", "missing.toml"]), 2, &["missing.toml", "No such file"]);
    fails(&desk.run(&["run", "x.toml", "missing.toml"]), 2, &["missing.toml"]);
    fails(&desk.run(&["run", "x.toml", "x.toml", "--json"]), 2, &["--json", "one"]);
    fails(&desk.run(&["run", "x.toml", "--json", "--dry-run"]), 2, &["--json", "--dry-run"]);
    fails(&desk.run(&["run", "--sett", "x"]), 2, &["--set"]);
    assert!(!desk.path("results").exists(), "nothing was begun");

    for arguments in [&[][..], &["run"], &["walk"]] {
        let said = desk.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(said.err.contains("Usage: quorumbench"), "{}", said.err);
    }
}

#[test]
fn json_is_one_document_and_nothing_else() {
    let desk = Desk::new(FIVE_POINTS);
    let said = desk.run(&["run", "x.toml", "--json", "--out", "there", "--set", "rate=[900,950]"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let document = whole(&said.out);
    assert_eq!(document["schema"], "quorumbench.run/1");
    let dir = desk.only_run("there");
    assert_eq!(desk.path(document["run"].as_str().expect("a folder")), dir);
    let on_disk = fs::read_to_string(dir.join("points.jsonl")).expect("points.jsonl");
    let on_disk: Vec<Json> = on_disk.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(document["points"].as_array(), Some(&on_disk));
    assert_eq!(on_disk.len(), 2);
    assert_eq!(manifest(&dir)["command_line"][2], "x.toml");
    // Progress is not lost: it is elsewhere.
    assert_eq!(said.err.matches("commands/s").count(), 2, "{}", said.err);
    assert!(!said.err.contains('\u{1b}'));
}

/// The writing end of a pipe that nobody reads any more.
fn closed_pipe() -> PipeWriter {
    std::io::pipe().expect("a pipe").1
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let desk = Desk::new(FIVE_POINTS);
    let run = ["run", "x.toml", "--set", "rate=600", "--set", "duration=50ms"];
    for arguments in [&["list"][..], &["run", "x.toml", "--dry-run"], &run] {
        let said = Said::from(desk.command(arguments).stdout(closed_pipe()).output().expect("run"));
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        assert!(!said.err.contains("panicked"), "{}", said.err);
    }
    assert_eq!(manifest(&desk.only_run("results"))["state"], "complete");
    let said =
        Said::from(desk.command(&[&run[..], &["--out", "deaf"]].concat()).stderr(closed_pipe()).output().expect("run"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(manifest(&desk.only_run("deaf"))["state"], "complete", "the progress was for nobody, the result is not");
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let desk = Desk::new(FIVE_POINTS);
    let full = File::options().write(true).open("/dev/full").expect("Linux has one");
    let said = Said::from(desk.command(&["list"]).stdout(full).output().expect("run"));
    fails(&said, 1, &["standard output", "No space left"]);
}

#[test]
fn names_need_not_be_utf_8() {
    let desk = Desk::new(FIVE_POINTS);
    let odd = OsStr::from_bytes(b"odd-\xff");
    fs::copy(desk.path("x.toml"), desk.folder.path().join(odd)).expect("copied");
    let mut command = desk.command(&["run", "--set", "rate=600", "--set", "duration=50ms", "--json"]);
    let said = Said::from(command.arg(odd).output().expect("run"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(manifest(&desk.only_run("results"))["config"], "odd-\u{fffd}");
}

#[test]
fn without_a_terminal_there_are_no_control_characters() {
    let desk = Desk::new(FIVE_POINTS);
    let plain = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control());
    for (quiet, colour) in [(false, ("NO_COLOR", "1")), (true, ("NO_COLOR", "")), (false, ("CLICOLOR_FORCE", "0"))] {
        let mut arguments = vec!["run", "x.toml", "--set", "rate=[800,850]"];
        arguments.extend(quiet.then_some("--quiet"));
        let said = Said::from(desk.command(&arguments).env(colour.0, colour.1).output().expect("run"));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(plain(&said.out) && plain(&said.err), "{said:?}");
        assert!(said.out.contains("commands/s") && said.out.contains("Results: results/"), "{}", said.out);
        assert_eq!(said.err.is_empty(), quiet, "{}", said.err);
    }
    let said = Said::from(desk.command(&["run", "nope.toml"]).env("NO_COLOR", "1").output().expect("run"));
    assert!(plain(&said.err), "{said:?}");
}

#[test]
fn folders_are_named_by_time_and_experiment_and_never_shared() {
    let desk = Desk::new(FIVE_POINTS);
    let arguments = ["run", "x.toml", "--set", "rate=700", "--set", "duration=50ms", "--quiet"];
    let children: Vec<Child> = (0..3).map(|_| desk.command(&arguments).spawn().expect("run")).collect();
    children.into_iter().for_each(|mut child| assert!(child.wait().expect("it ends").success()));
    let mut names = Vec::new();
    for run in fs::read_dir(desk.path("results")).expect("results") {
        let run = run.expect("readable");
        assert_eq!(points_on_disk(&run.path()).len(), 1);
        names.push(run.file_name().into_string().expect("UTF-8"));
    }
    assert_eq!(names.len(), 3, "{names:?}");
    for name in names {
        let (time, rest) = name.split_once('-').expect("a time and a name");
        let digits = time.chars().filter(char::is_ascii_digit).count();
        assert!(digits == 14 && time.len() == 16 && time.contains('T') && time.ends_with('Z'), "{name}");
        assert!(rest == "five" || rest == "five-2" || rest == "five-3", "{name}");
    }
}

fn stopped_in_the_third_of_five(by: Signal) {
    let desk = Desk::new(FIVE_POINTS);
    let mut child = desk.command(&["run", "x.toml", "--set", "run.duration=1s"]).spawn().expect("run");
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut lines = String::new();
    while lines.matches("commands/s").count() < 2 {
        assert!(err.read_line(&mut lines).expect("UTF-8") > 0, "{lines}");
    }
    signal(&child, by);
    err.read_to_string(&mut lines).expect("UTF-8");
    let said = end(child);
    assert_eq!(said.code, Some(1), "{said:?} {lines}");
    let dir = desk.only_run("results");
    assert_eq!(points_on_disk(&dir).len(), 2);
    let manifest = manifest(&dir);
    assert_eq!((manifest["state"].as_str(), manifest["finished_points"].as_u64()), (Some("interrupted"), Some(2)));
    assert!(dir.join("report.html").exists(), "what was finished is drawn");
    assert_eq!((manifest["planned_points"].as_u64(), manifest["error"].as_str()), (Some(5), Some("interrupted")));
    let name = dir.file_name().and_then(OsStr::to_str).expect("UTF-8");
    let where_it_is = format!("2 of 5 points are finished and stored in results/{name}");
    assert!(lines.contains("error: interrupted") && lines.contains(&where_it_is), "{lines}");
    assert!(!dir.join("manifest.json.new").exists());
    assert!(said.out.contains(&format!("Results: results/{name}")), "the table of what there is: {}", said.out);
}

#[test]
fn ctrl_c_keeps_what_was_finished() {
    stopped_in_the_third_of_five(Signal::INT);
}

#[test]
fn sigterm_keeps_what_was_finished() {
    stopped_in_the_third_of_five(Signal::TERM);
}

#[test]
fn a_terminal_that_goes_away_keeps_what_was_finished() {
    if ignores_hangups() {
        return println!("skipped: whoever runs this is to be left running, and so is what it starts");
    }
    stopped_in_the_third_of_five(Signal::HUP);
}

/// As under `nohup`.
fn ignores_hangups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    let set = ignored.and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(0);
    set & 1 << (Signal::HUP.as_raw() - 1) != 0
}

#[test]
fn whoever_asks_for_it_is_left_running_when_the_terminal_goes_away() {
    let desk = Desk::new(FIVE_POINTS);
    let script = "trap '' HUP; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", PROGRAM, "run", "x.toml"]).current_dir(&desk.folder);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
    let mut line = String::new();
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    while !line.contains("commands/s") {
        assert!(err.read_line(&mut line).expect("UTF-8") > 0, "{line}");
    }
    signal(&child, Signal::HUP);
    err.read_to_string(&mut line).expect("UTF-8");
    assert_eq!(end(child).code, Some(0), "{line}");
    assert_eq!(points_on_disk(&desk.only_run("results")).len(), 5);
}

/// Fills a pipe that nobody reads to the brim: whoever writes to it waits.
fn fill(writer: &PipeWriter) {
    // Opened anew, so that who has it already goes on to wait.
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut own = File::options().write(true).custom_flags(flags).open(path).expect("a pipe");
    while own.write(b".").is_ok() {}
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let desk = Desk::new(FIVE_POINTS);
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = desk.command(&["run", "x.toml"]);
    let child = command.stderr(writer.try_clone().expect("a copy")).spawn().expect("run");
    let begin = Instant::now();
    let points = || {
        let run = fs::read_dir(desk.path("results")).ok()?.next()?.ok()?.path();
        fs::read_to_string(run.join("points.jsonl")).ok()
    };
    let wait = |until: &dyn Fn(String) -> bool| {
        while !points().is_some_and(until) {
            assert!(begin.elapsed() < PATIENCE, "no point was finished");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // It cannot say that its first point is finished, so it is stuck where the first signal does not help.
    wait(&|_| true);
    fill(&writer);
    wait(&|text| text.ends_with('\n'));
    let mut child = child;
    signal(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().expect("a child").is_none(), "it would clean up, if it could");
    signal(&child, Signal::INT);
    assert_eq!(end(child).code, Some(1));
    assert_eq!(points_on_disk(&desk.only_run("results")).len(), 1);
}

/// What must hold where a disk took no more: one message, and whole lines only.
fn ran_out_of_room(said: &Said, dir: &Path) {
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(said.err.matches("error: cannot write ").count(), 1, "{said:?}");
    let points = points_on_disk(dir).len();
    assert!((1..40).contains(&points), "{points} points found room");
    let intervals = fs::read_to_string(dir.join("intervals.csv")).expect("intervals.csv");
    assert!(intervals.ends_with('\n'), "no line is half-written");
    assert_eq!(intervals.lines().count(), 1 + points, "a header, and one interval of every point that is stored");
    let log = fs::read_to_string(dir.join("latency.hlog")).expect("latency.hlog");
    assert_eq!(log.lines().filter(|line| line.starts_with("Tag=")).count(), points);
    assert!(manifest(dir)["finished_points"].as_u64() <= Some(points as u64));
    assert!(said.err.contains(&format!("{points} of 40 points are finished and stored in ")), "{}", said.err);
}

const FORTY_POINTS: [&str; 8] =
    ["--set", "repetitions=8", "--set", "run.duration=20ms", "--set", "run.warmup=0ms", "--set", "in_flight_limit=100"];

#[test]
fn a_full_disk_leaves_whole_points() {
    let desk = Desk::new(FIVE_POINTS);
    fs::create_dir(desk.path("mount")).expect("a folder");
    let script = "mount -t tmpfs -o size=40k tmpfs mount || exit 77
        \"$@\"; code=$?; cp -r mount copy; exit $code";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh", PROGRAM, "run", "x.toml", "--out", "mount"])
        .args(FORTY_POINTS)
        .current_dir(&desk.folder)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if desk.path("copy").exists() => {
            let said = Said::from(output);
            assert!(said.err.contains("No space left on device") && said.err.contains("--out DIR"), "{said:?}");
            ran_out_of_room(&said, &desk.only_run("copy"));
        }
        no_mount => println!("skipped: no small disk can be mounted here: {no_mount:?}"),
    }
}

/// The same without any privilege: a file that may not grow refuses more, as a full disk does.
#[test]
fn a_file_that_may_not_grow_leaves_whole_points() {
    let desk = Desk::new(FIVE_POINTS);
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", PROGRAM, "run", "x.toml"]).args(FORTY_POINTS).current_dir(&desk.folder);
    let said = Said::from(command.output().expect("a shell"));
    ran_out_of_room(&said, &desk.only_run("results"));
    assert_eq!(manifest(&desk.only_run("results"))["state"], "failed");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let desk = Desk::new(FIVE_POINTS);
    File::create(desk.path("file")).expect("a file");
    fails(&desk.run(&["run", "x.toml", "--out", "file/results"]), 1, &["cannot write file/results", "Not a directory"]);
    // The kernel's own folder takes no files, not even from the superuser.
    let said = desk.run(&["run", "x.toml", "--out", "/proc/results"]);
    fails(&said, 1, &["cannot write /proc/results"]);
    let logs = ["--set", "storage.durability=fsync", "--set", "storage.path=file", "--set", "protocol=raft"];
    let said = desk.run(&[&["run", "x.toml"][..], &logs].concat());
    assert_eq!(said.code, Some(1), "{said:?}");
    let what = "error: cannot write logs to file: File exists (os error 17); set `storage.path` to a folder";
    assert!(
        said.err.lines().any(|line| line.starts_with(what)) && said.err.contains("0 of 5 points are finished"),
        "{said:?}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let desk = Desk::new(FIVE_POINTS);
    let port = format!("base_port={}", address.port());
    let said = desk.run(&["run", "x.toml", "--set", "transport=tokio-tcp", "--set", &port]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains(&format!("cannot listen on {address}")), "{}", said.err);
    assert!(said.err.contains("base_port = 0"), "it says what to do: {}", said.err);
    assert!(said.err.contains("0 of 5 points are finished"), "{}", said.err);
    let dir = desk.only_run("results");
    let manifest = manifest(&dir);
    assert_eq!((points_on_disk(&dir).len(), manifest["state"].as_str()), (0, Some("failed")));
    let why = manifest["error"].as_str().expect("it says why");
    assert!(said.err.contains(why) && why.contains("cannot listen"), "{why}");
}

/// Without descriptors there are no files, no sockets, no rings. Wherever they run out, the program
/// ends with one message that says so.
#[test]
fn descriptors_that_run_out_are_a_message() {
    let desk = Desk::new(FIVE_POINTS);
    for limit in 5..=8 {
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", PROGRAM, "run", "x.toml", "--set", "transport=uring", "--set", "rate=500"]);
        let said = Said::from(command.current_dir(&desk.folder).output().expect("a shell"));
        assert_eq!(said.code, Some(1), "{limit}: {said:?}");
        assert_eq!(said.err.matches("error: ").count(), 1, "{limit}: {}", said.err);
        assert!(!said.err.contains("panicked"), "{limit}: {}", said.err);
        assert!(said.err.contains("open files"), "{limit}: {}", said.err);
    }
}
