//! The search is held to what is known: synthetic systems, virtual clusters and epidemics whose optimum can be computed.

mod support;

use std::cell::Cell;
use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use quorumbench::results::StoredRun;
use quorumbench::tune::{
    Bench, Contender, Finding, Goal, Journal, JournalError, Load, Observation, Outcome, Plan, Settings, Slo, Trial,
    search,
};
use quorumbench_protocols::Prng;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use serde_json::Value as Json;
use support::desk::{Desk, Said, end, fails, signal, whole};

/// A queue whose capacity grows with the batch and the window, and whose time does with the batch: neither the least nor
/// the largest batch is the best under an SLO.
#[derive(Clone, Copy)]
struct Queue {
    /// The highest rate that the generator can send.
    generator: f64,
    /// How noisy a run is, as a share.
    noise: f64,
    /// Whether the generator is late whenever the batch is the default's.
    biased: bool,
}

const QUEUE: Queue = Queue { generator: f64::INFINITY, noise: 0.01, biased: false };

impl Queue {
    fn capacity(settings: &Settings) -> f64 {
        let of = |key| settings.get(key).map_or(1.0, |value| value.parse::<f64>().expect("a number"));
        let (batch, window) = (of("batch.commands"), of("batch.window"));
        100_000.0 * batch / (batch + 16.0) * window / (window + 4.0)
    }

    fn idle_ns(settings: &Settings) -> f64 {
        let batch: f64 = settings.get("batch.commands").map_or(1.0, |value| value.parse().expect("a number"));
        1e6 + 30_000.0 * batch
    }

    /// The time that 99 of 100 stay in an M/M/1 queue: ln 100 over what the capacity has left.
    fn p99_ns(settings: &Settings, rate: f64) -> f64 {
        Self::idle_ns(settings) + 100_f64.ln() * 1e9 / (Self::capacity(settings) - rate).max(1.0)
    }

    /// The rate at which p99 is as long as it may be; 0 if it always is.
    fn highest(settings: &Settings, limit_ns: f64) -> f64 {
        let left = limit_ns - Self::idle_ns(settings);
        if left <= 0.0 { 0.0 } else { (Self::capacity(settings) - 100_f64.ln() * 1e9 / left).max(0.0) }
    }
}

impl Bench for Queue {
    type Error = Infallible;

    fn measure(&mut self, trial: &Trial) -> Result<Observation, Infallible> {
        let mut prng = Prng::new(trial.seed);
        let mut noisy = |value: f64| value * (1.0 + self.noise * (2.0 * prng.unit() - 1.0));
        let capacity = noisy(Self::capacity(&trial.settings));
        Ok(match trial.load {
            Load::Closed => Observation::of_commands(capacity.min(self.generator), 1e6, false),
            Load::Open { rate } => {
                let p99 = noisy(Self::p99_ns(&trial.settings, rate));
                let seen = Observation::of_commands(rate.min(capacity), p99, rate > capacity);
                let is_default = trial.settings.get("batch.commands") == Some("4");
                let generator = (rate > self.generator || self.biased && is_default).then(|| "it lags".to_owned());
                Observation { generator, ..seen }
            }
            Load::Epidemics { .. } => unreachable!("a queue does not spread"),
        })
    }
}

fn grid() -> Vec<Settings> {
    let of = |batch: u32, window: u32| {
        Settings::from([("batch.commands", batch.to_string()), ("batch.window", window.to_string())])
    };
    [1, 4, 16, 64, 256].iter().flat_map(|&batch| [1, 4, 16, 64].map(|window| of(batch, window))).collect()
}

fn plan(candidates: Vec<Settings>, slo: &str, seed: u64) -> Plan {
    Plan {
        goal: Goal::MaxThroughput,
        slo: Slo::parse(slo, Goal::MaxThroughput).expect("an SLO"),
        tolerance: 0.05,
        default: candidates[5 % candidates.len()].clone(),
        candidates,
        full: 4.0,
        repetitions: 5,
        seed,
    }
}

fn found(plan: &Plan, bench: &mut Queue) -> Outcome {
    let Ok(outcome) = search(plan, bench);
    outcome
}

#[test]
fn the_optimum_of_a_noisy_queue_is_found_within_the_tolerance() {
    for (slo, limit) in [("p99<5ms", 5e6), ("p99<20ms", 20e6)] {
        let best = grid().iter().map(|settings| Queue::highest(settings, limit)).fold(0.0, f64::max);
        for seed in 0..20 {
            let outcome = found(&plan(grid(), slo, seed), &mut QUEUE.clone());
            let recommended = outcome.recommended().unwrap_or_else(|| panic!("{slo} {seed}: {outcome:?}"));
            let highest = Queue::highest(&recommended.settings, limit);
            assert!(highest > best * 0.93, "{slo} {seed}: {} of {best} by {}", highest, recommended.settings);
            let rate = recommended.level().expect("confirmed").rate.expect("of commands");
            assert!((0.9..1.06).contains(&(rate / highest)), "{slo} {seed}: {rate} is not about {highest}");
            assert!(recommended.versus_default.as_ref().is_some_and(|versus| versus.better && versus.p < 0.05));
        }
    }
}

#[test]
fn what_is_on_the_front_is_beaten_by_nothing_else() {
    let outcome = found(&plan(grid(), "p99<5ms", 1), &mut QUEUE.clone());
    assert!(outcome.front.len() > 1, "{:?}", outcome.front);
    // In order of throughput, each slower one is also sooner.
    assert!(outcome.front.windows(2).all(|pair| pair[0].value > pair[1].value && pair[0].delay > pair[1].delay));
    let most = outcome.front[0].value;
    assert!(outcome.recommended().and_then(Contender::value).is_some_and(|value| value <= most * 1.01));
}

#[test]
fn what_nothing_can_hold_is_not_found() {
    let outcome = found(&plan(grid(), "p99<1ms", 1), &mut QUEUE.clone());
    let Finding::NotFound { why } = &outcome.finding else { panic!("{outcome:?}") };
    assert!(why.starts_with("p99 "), "{why}");
    assert!(outcome.recommended().is_none() && outcome.front.is_empty());
}

#[test]
fn a_generator_that_is_the_limit_is_no_finding() {
    // All of them can do more than it.
    let fast: Vec<_> = grid().into_iter().filter(|each| Queue::highest(each, 5e6) > 30_000.0).collect();
    assert!(fast.len() > 3);
    let outcome = found(&plan(fast, "p99<5ms", 1), &mut Queue { generator: 20_000.0, ..QUEUE });
    assert!(matches!(&outcome.finding, Finding::GeneratorLimited { why } if why == "it lags"), "{outcome:?}");
    // Nor is there one if it cannot send at all.
    let outcome = found(&plan(grid(), "p99<5ms", 1), &mut Queue { generator: 0.0, ..QUEUE });
    assert!(matches!(outcome.finding, Finding::GeneratorLimited { .. }), "{outcome:?}");
    // If it keeps the default from holding anything, nobody knows what the default does, whatever others do.
    let outcome = found(&plan(grid(), "p99<5ms", 1), &mut Queue { biased: true, ..QUEUE });
    assert!(matches!(outcome.finding, Finding::GeneratorLimited { .. }), "{outcome:?}");
    // If the default is slower than the generator, what is faster is better all the same, by how much nobody knows.
    let outcome = found(&plan(grid(), "p99<5ms", 1), &mut Queue { generator: 20_000.0, ..QUEUE });
    assert!(matches!(outcome.finding, Finding::Found { .. }), "{outcome:?}");
    assert!(outcome.notes.iter().any(|note| note.contains("may carry more")), "{:?}", outcome.notes);
}

#[test]
fn a_generator_that_is_late_counts_if_that_is_accepted() {
    let strict = plan(grid(), "p99<5ms", 1);
    let lenient = Plan { slo: strict.slo.clone().accepting_send_lag(true), ..strict };
    let outcome = found(&lenient, &mut Queue { generator: 20_000.0, ..QUEUE });
    let recommended = outcome.recommended().unwrap_or_else(|| panic!("{outcome:?}"));
    let best = grid().iter().map(|settings| Queue::highest(settings, 5e6)).fold(0.0, f64::max);
    assert!(Queue::highest(&recommended.settings, 5e6) > best * 0.93, "{}", recommended.settings);
    let said = "the generator was late in 5 of 5 runs of what is recommended; their times include that";
    assert!(outcome.notes.iter().any(|note| note == said), "{:?}", outcome.notes);
}

#[test]
fn what_is_no_better_than_the_default_is_not_recommended() {
    // All alike: the key does nothing.
    let alike: Vec<_> = (0..6).map(|value| Settings::from([("load.clients", value.to_string())])).collect();
    for seed in 0..40 {
        let outcome = found(&plan(alike.clone(), "p99<5s", seed), &mut Queue { noise: 0.03, ..QUEUE });
        assert_eq!(outcome.finding, Finding::NoBetter, "{seed}: {outcome:?}");
    }
    let best = grid().into_iter().max_by(|a, b| Queue::highest(a, 5e6).total_cmp(&Queue::highest(b, 5e6)));
    let outcome = found(&Plan { default: best.expect("some"), ..plan(grid(), "p99<5ms", 1) }, &mut QUEUE.clone());
    assert_eq!(outcome.finding, Finding::NoBetter, "{outcome:?}");
}

/// Rumors of which more copies leave fewer out: residue e^-copies, and a round less for every two.
struct Rumors;

impl Bench for Rumors {
    type Error = Infallible;

    fn measure(&mut self, trial: &Trial) -> Result<Observation, Infallible> {
        let Load::Epidemics { trials } = trial.load else { unreachable!("no commands") };
        let copies: f64 = trial.settings.get("copies").expect("it is set").parse().expect("a number");
        let mut prng = Prng::new(trial.seed);
        let mut noisy = |value: f64| value * (1.0 + 0.2 * (2.0 * prng.unit() - 1.0) / (trials as f64).sqrt());
        let figures = [("traffic", copies), ("residue", (-copies).exp()), ("rounds_mean", 20.0 - copies / 2.0)];
        let figures = figures.map(|(name, value)| (name.to_owned(), noisy(value))).into();
        Ok(Observation { figures, ..Observation::default() })
    }
}

fn rumors(slo: &str, default: u32) -> Outcome {
    let copies = |copies: u32| Settings::from([("copies", copies.to_string())]);
    let plan = Plan {
        goal: Goal::MinTraffic,
        slo: Slo::parse(slo, Goal::MinTraffic).expect("an SLO"),
        default: copies(default),
        full: 400.0,
        ..plan((1..20).map(copies).collect(), "p99<5ms", 3)
    };
    let Ok(outcome) = search(&plan, &mut Rumors);
    outcome
}

#[test]
fn the_cheapest_rumor_that_reaches_enough_is_found() {
    let found = |copies: u32| Finding::Found { settings: Settings::from([("copies", copies.to_string())]) };
    // e^-9 is 1.2e-4, e^-10 is 4.5e-5.
    assert_eq!(rumors("residue<1e-4", 19).finding, found(10));
    assert_eq!(rumors("residue<1e-4", 1).finding, found(10), "cheaper, and not good enough, is no default to beat");
    assert_eq!(rumors("residue<1e-4,rounds_mean<11.8", 19).finding, found(17));
    assert_eq!(rumors("residue<1e-4", 10).finding, Finding::NoBetter);
    let Finding::NotFound { why } = rumors("residue<1e-9,rounds_mean<99", 1).finding else { panic!("found") };
    // e^-19 is 5.6e-9: of all, the most copies come nearest.
    assert!(why.starts_with("residue 5") && why.ends_with("e-9"), "{why}");
}

/// A bench that is taken away after so many runs.
struct Mortal<'a> {
    left: usize,
    measured: &'a Cell<usize>,
}

#[derive(Debug, PartialEq)]
struct Gone;

impl Bench for Mortal<'_> {
    type Error = Gone;

    fn measure(&mut self, trial: &Trial) -> Result<Observation, Gone> {
        self.left = self.left.checked_sub(1).ok_or(Gone)?;
        self.measured.set(self.measured.get() + 1);
        let Ok(seen) = QUEUE.clone().measure(trial);
        Ok(seen)
    }
}

#[test]
fn a_search_that_is_interrupted_anywhere_goes_on_to_the_same_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = plan(grid()[..8].to_vec(), "p99<5ms", 5);
    let measured = Cell::new(0);
    let run = |name: &str, left: usize| {
        let mortal = Mortal { left, measured: &measured };
        let mut journal = Journal::open(&folder.path().join(name), &plan.slo, mortal).expect("a journal");
        search(&plan, &mut journal)
    };
    let whole = run("whole", usize::MAX).expect("nobody interrupts");
    assert!(matches!(whole.finding, Finding::Found { .. }));
    let steps = measured.replace(0);
    assert!(steps > 50, "{steps}");
    for dies_after in 0..steps {
        let name = dies_after.to_string();
        assert!(matches!(run(&name, dies_after), Err(JournalError::Bench(Gone))));
        // Whatever the last line was, it was not finished when the power failed.
        let path = folder.path().join(&name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, text + "{\"step\": ").expect("half a line");
        assert_eq!(run(&name, usize::MAX).expect("it goes on"), whole, "after {dies_after} runs");
        assert_eq!(measured.replace(0), steps, "no run is done twice");
    }
    let other = Plan { seed: 6, ..plan.clone() };
    let mortal = Mortal { left: 0, measured: &measured };
    let mut journal = Journal::open(&folder.path().join("whole"), &other.slo, mortal).expect("a journal");
    assert!(matches!(search(&other, &mut journal), Err(JournalError::Differs { line: 1, .. })));
}

/// A commit takes a round trip of 40 ms and nothing else, and batches linger until they are full, or for longer than that:
/// what a window of full batches holds is committed in that time, so the capacity is commands x window / 40 ms.
const VIRTUAL: &str = "name = 'virtual'
tune = ['batch.commands', 'batch.window']
[cluster]
transport = 'sim'
[batch]
commands = [2, 8]
window = [1, 2, 4]
linger = '50ms'
[load]
arrival = 'constant'
rate = 100
[network]
delay = '20ms'
client_delay = '0us'
[cost]
turn = '0us'
frame = '0us'
kib = '0us'
[run]
warmup = '250ms'
duration = '1s'
";

const BEST_PER_S: f64 = 8.0 * 4.0 / 0.040;

fn tune(desk: &Desk, more: &[&str]) -> Said {
    desk.run(&[&["tune", "x.toml", "--goal", "max-throughput", "--slo", "p99<150ms", "--quiet"], more].concat())
}

fn document(said: &Said) -> Json {
    assert!(said.err.is_empty(), "{said:?}");
    whole(&said.out)
}

#[test]
fn the_optimum_of_a_virtual_cluster_is_found_within_the_tolerance() {
    let desk = Desk::new(VIRTUAL);
    let said = tune(&desk, &["--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let document = document(&said);
    assert_eq!(document["recommendation"], "--set batch.commands=8 --set batch.window=4", "{document}");
    assert_eq!((&document["state"], &document["outcome"]["finding"]["finding"]), (&"complete".into(), &"found".into()));
    let contenders = document["outcome"]["contenders"].as_array().expect("contenders");
    let best = contenders
        .iter()
        .find(|each| each["settings"]["batch.commands"] == "8" && each["settings"]["batch.window"] == "4");
    let best = best.expect("it was confirmed");
    let rate = best["ceiling"]["rate"].as_f64().expect("a rate");
    assert!((0.93..1.07).contains(&(rate / BEST_PER_S)), "{rate} is not about {BEST_PER_S}");
    assert_eq!(best["versus_default"]["better"], true);
    everything_is_on_disk(&desk.only_run("results"), &document);
}

/// `tune.json` says what was printed, and each step's run can be read like any other.
fn everything_is_on_disk(dir: &Path, printed: &Json) {
    let stored = fs::read_to_string(dir.join("tune.json")).expect("it is there");
    assert_eq!(whole(&stored), *printed);
    let steps = fs::read_to_string(dir.join("steps.jsonl")).expect("they are there");
    assert!(steps.lines().count() > 40, "{}", steps.lines().count());
    for (index, line) in steps.lines().enumerate() {
        let step: Json = serde_json::from_str(line).expect("JSON");
        assert_eq!(step["step"], index);
        let runs = fs::read_dir(dir.join(step["run"].as_str().expect("a folder"))).expect("it is there");
        let runs: Vec<_> = runs.map(|run| StoredRun::read(&run.expect("readable").path()).expect("a run")).collect();
        let [run] = &runs[..] else { panic!("one run a step: {runs:?}") };
        let (point, lines) = run.points.iter().next().expect("a point");
        assert_eq!(
            (run.points.len(), lines.len(), &point["commands"][..]),
            (1, 1, step["settings"]["batch.commands"].as_str().expect("set"))
        );
        assert_eq!(lines[0]["completed_per_s"], step["seen"]["throughput"]);
    }
}

#[test]
fn what_is_printed_says_what_to_paste() {
    let desk = Desk::new(VIRTUAL);
    let said = tune(&desk, &["--set", "batch.commands=[2,8]", "--set", "batch.window=1"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    for part in
        ["(default)", "Pareto front", "\nRecommended: --set batch.commands=8 --set batch.window=", "Results: results/"]
    {
        assert!(said.out.contains(part), "no {part:?} in {}", said.out);
    }
}

#[test]
fn an_slo_that_nothing_holds_ends_with_its_own_code() {
    let desk = Desk::new(VIRTUAL);
    let arguments =
        ["tune", "x.toml", "--goal", "max-throughput", "--slo", "p99<39ms", "--quiet", "--set", "batch.linger=0us"];
    let said = desk.run(&[&arguments[..], &["--set", "batch.window=[1,2]"]].concat());
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.out.contains("Not found: nothing that was tried holds p99<39ms (p99 40"), "{}", said.out);
}

/// Turns of the client take 10 ms, so what is due meanwhile is sent late by up to that: more than it may be.
#[test]
fn a_client_that_cannot_keep_its_schedule_ends_with_its_own_code() {
    let desk = Desk::new(VIRTUAL);
    let set =
        ["protocol=echo", "replicas=1", "delay=0us", "cost.turn=10ms", "linger=0us", "tune=[window]", "commands=8"];
    let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    let said = tune(&desk, &set);
    assert_eq!((said.code, said.err.as_str()), (Some(5), ""), "{said:?}");
    assert!(
        said.out
            .contains("\nGenerator-limited: nobody can tell what the system does under p99<150ms (p99 send lag of ")
    );
    assert!(!said.out.contains("Recommended"), "{}", said.out);
}

/// Every node that hears of it tells so many others once: the residue is the root of s = e^(-fanout (1 - s)), 0.0198 for a
/// fan-out of 4 and 0.0070 for 5 (Kermack and `McKendrick`, *A contribution to the mathematical theory of epidemics*,
/// 1927).
const GOSSIP: &str = "name = 'gossip'
tune = ['fanout']
[cluster]
protocol = 'gossip'
transport = 'population'
nodes = 1000
[gossip]
style = 'rumor'
interest = 'blind'
stop = 'counter'
k = 1
fanout = [8, 2, 3, 4, 5, 6]
trials = 40
";

#[test]
fn the_fan_out_that_theory_says_is_found() {
    let desk = Desk::new(GOSSIP);
    let arguments = ["tune", "x.toml", "--goal", "min-traffic", "--slo", "residue<0.01", "--json", "--quiet"];
    let said = desk.run(&arguments);
    assert_eq!(said.code, Some(0), "{said:?}");
    let document = document(&said);
    assert_eq!(document["recommendation"], "--set gossip.fanout=5", "{document}");
    let contenders = document["outcome"]["contenders"].as_array().expect("contenders");
    let default = contenders.iter().find(|each| each["is_default"] == true).expect("the default");
    assert_eq!(default["settings"]["gossip.fanout"], "8", "the first, as the list does not have the key's own");
    let best = contenders.iter().find(|each| each["settings"]["gossip.fanout"] == "5").expect("it was confirmed");
    let traffic = best["levels"][0]["values"][0].as_f64().expect("traffic");
    assert!((traffic - 5.0 * (1.0 - 0.0070)).abs() < 0.05, "{traffic}");
}

#[test]
fn ctrl_c_keeps_everything_and_the_rest_is_done_later() {
    let desk = Desk::new(VIRTUAL);
    let all = ["tune", "x.toml", "--goal", "max-throughput", "--slo", "p99<150ms", "--set", "window=[1,4]"];
    let straight = document(&desk.run(&[&all[..], &["--quiet", "--json", "--out", "straight"]].concat()));
    let mut child = desk.command(&all).spawn().expect("tune");
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut lines = String::new();
    while lines.lines().count() < 15 {
        assert!(err.read_line(&mut lines).expect("UTF-8") > 0, "{lines}");
    }
    signal(&child, Signal::INT);
    err.read_to_string(&mut lines).expect("UTF-8");
    let said = end(child);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?} {lines}");
    let dir = desk.only_run("results");
    let name = format!("results/{}", dir.file_name().expect("a name").to_string_lossy());
    let how = format!("to go on: quorumbench tune --resume {name}\n");
    assert!(lines.contains("error: interrupted") && lines.ends_with(&how), "{lines}");
    let state = || whole(&fs::read_to_string(dir.join("tune.json")).expect("it is there"))["state"].clone();
    assert_eq!(state(), "interrupted");
    let before = fs::read_to_string(dir.join("steps.jsonl")).expect("they are there");
    // The config is as it was, whatever became of the file.
    fs::write(desk.path("x.toml"), "nonsense").expect("written");
    let resumed = document(&desk.run(&["tune", "--resume", &name, "--quiet", "--json"]));
    assert_eq!((&resumed["outcome"], state()), (&straight["outcome"], "complete".into()));
    let steps = fs::read_to_string(dir.join("steps.jsonl")).expect("they are there");
    assert!(steps.starts_with(&before) && before.lines().count() >= 15);
    // All of it is there now: nothing is measured.
    let again = desk.run(&["tune", "--resume", &name, "--quiet", "--json"]);
    assert_eq!(document(&again)["outcome"], straight["outcome"]);
    assert_eq!(fs::read_to_string(dir.join("steps.jsonl")).expect("they are there"), steps);
    // Figures of another machine, or of another build, do not go on with these.
    for (what, place) in [("cores", "/host/cores"), ("commit", "/host/build/commit")] {
        let mut document = resumed.clone();
        *document.pointer_mut(place).expect("it is said") = "other".into();
        fs::write(dir.join("tune.json"), document.to_string()).expect("written");
        fails(
            &desk.run(&["tune", "--resume", &name]),
            2,
            &["another machine or by another build", what, "begin a new search"],
        );
    }
}

#[test]
fn of_two_searches_in_one_folder_the_second_is_refused() {
    let desk = Desk::new(VIRTUAL);
    let mut child = desk.command(&["tune", "x.toml", "--goal", "max-throughput", "--slo", "p99<150ms"]).spawn();
    let child = child.as_mut().expect("tune");
    let mut first = String::new();
    BufReader::new(child.stderr.as_mut().expect("piped")).read_line(&mut first).expect("UTF-8");
    signal(child, Signal::STOP);
    waitpid(Some(Pid::from_child(child)), WaitOptions::UNTRACED).expect("it stops");
    let dir = desk.only_run("results");
    let name = format!("results/{}", dir.file_name().expect("a name").to_string_lossy());
    let kept = || ["tune.json", "steps.jsonl"].map(|file| fs::read_to_string(dir.join(file)).expect("it is there"));
    let before = kept();
    fails(&desk.run(&["tune", "--resume", &name]), 1, &[&name, "another `quorumbench tune` is searching there"]);
    assert_eq!(kept(), before, "nothing is touched");
    // Killed, it leaves no lock behind.
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let resumed = desk.run(&["tune", "--resume", &name, "--quiet", "--json"]);
    assert_eq!((resumed.code, &document(&resumed)["state"]), (Some(0), &"complete".into()), "{resumed:?}");
    // Of steps that are no longer its own it makes nothing, and does not say that it would next time.
    let steps = fs::read_to_string(dir.join("steps.jsonl")).expect("they are there");
    fs::write(dir.join("steps.jsonl"), steps.replacen("\"seed\":", "\"seed\":1", 1)).expect("written");
    let said = desk.run(&["tune", "--resume", &name, "--quiet"]);
    fails(&said, 1, &["steps.jsonl:1: this is no step of this search", "Begin a new search"]);
    assert!(!said.err.contains("to go on"), "{}", said.err);
}

#[test]
fn a_dry_run_says_what_would_be_tried() {
    let desk = Desk::new(VIRTUAL);
    let said = tune(&desk, &["--dry-run"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    for part in
        ["batch.commands       2 8\n", "batch.window         1 2 4\n", "6 candidates sorted out", "by 5 runs each"]
    {
        assert!(said.out.contains(part), "no {part:?} in {}", said.out);
    }
    assert!(!desk.path("results").exists());
}

#[test]
fn what_cannot_be_tuned_is_a_mistake_of_usage() {
    let desk = Desk::new(VIRTUAL);
    let refused = |goal: &str, slo: &str, more: &[&str], says: &str| {
        let said = desk.run(&[&["tune", "x.toml", "--goal", goal, "--slo", slo], more].concat());
        fails(&said, 2, &[says]);
    };
    refused("max-throughput", "pp99<5ms", &[], "did you mean `p99`?");
    refused("min-traffic", "residue<1", &[], "only gossip has");
    refused("max-throughput", "p99<5ms", &["--set", "replicas=[3,5]"], "`replicas` has several values");
    refused("max-throughput", "p99<5ms", &["--set", "tune=[batch.windw]"], "did you mean `batch.window`?");
    refused("max-throughput", "p99<0ms", &[], "nothing can hold `p99<0ms`");
    refused("fastest", "p99<5ms", &[], "max-throughput and min-traffic");
    fails(&desk.run(&["tune", "--resume", "nowhere"]), 2, &["give --resume the folder"]);
    fails(&desk.run(&["tune", "nowhere.toml", "--goal", "min-traffic", "--slo", "residue<1"]), 2, &["cannot read"]);
    // To `run`, the axes that may be tuned are axes like the others.
    let said = desk.run(&["run", "x.toml", "--dry-run"]);
    assert!(said.code == Some(0) && said.out.starts_with("virtual: 6 points x 1"), "{said:?}");
    assert!(said.out.contains("\ntune = [\"batch.commands\", \"batch.window\"]\n"), "{}", said.out);
}
