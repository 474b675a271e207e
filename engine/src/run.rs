//! An experiment, run: every point, in an order that is fair, with what it yields stored at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use quorumbench_protocols::Prng;
use serde_json::{Value as Json, json};

use crate::check::witness::Breach;
use crate::disk::Disk;
use crate::doctor::Watch;
use crate::drive::{self, DriveError, Extras, Outcome, Phase};
use crate::host;
use crate::live::{Live, Planned};
use crate::results::{
    self, ConvergenceResult, Ending, EpidemicResult, Floor, Percentiles, PointResult, RunDir, StoreError,
};
use crate::spec::{Durability, Emulation, Mover, Point, ProtocolName, Run, Spec, question};
use crate::warnings::warnings;

pub(crate) mod cli;
mod convergence;
mod epidemic;
mod figures;

/// What to run, and where to put it.
#[derive(Debug)]
pub struct Experiment<'a> {
    /// The points.
    pub spec: &'a Spec,
    /// The config's path, for the manifest.
    pub config: &'a Path,
    /// The folder that the run's folder goes into.
    pub out: &'a Path,
    /// What was typed, for the manifest.
    pub command_line: Vec<String>,
    /// Whether each point is verified, after it was measured: see [`crate::check::witness`].
    pub check: bool,
}

/// Hears how a run goes on.
pub trait Observer {
    /// Before the first point: what of this machine has to do with this run, a line each.
    fn found(&mut self, _lines: &[String]) {}
    /// The points that are to be run, in that order, of the experiment of this name.
    fn plan(&mut self, _name: &str, _plan: Vec<Planned>) {}
    /// Where clients are to count what they see, if it is to be shown.
    fn live(&self) -> Option<Arc<Live>> {
        None
    }
    /// Point `index` of `total` begins; `label` names what is special about it.
    fn begin(&mut self, _index: usize, _total: usize, _label: &str) {}
    /// It is in this phase now. Called every few milliseconds.
    fn phase(&mut self, _phase: Phase) {}
    /// Of its trials, so many are finished. Called every few milliseconds where epidemics are run.
    fn trials(&mut self, _finished: usize, _of: usize) {}
    /// Something makes this point's figures doubtful that is known before they are.
    fn warn(&mut self, _warning: &str) {}
    /// It is finished, and stored.
    fn finished(&mut self, _result: &PointResult) {}
    /// The same of a point that gossips.
    fn spread(&mut self, _result: &EpidemicResult) {}
    /// The same of a point of replicas that reconcile.
    fn converged(&mut self, _result: &ConvergenceResult) {}
}

/// Hears nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silence;

impl Observer for Silence {}

/// A run that is on disk, whole or in part.
#[derive(Debug)]
pub struct Finished {
    /// Its folder.
    pub dir: PathBuf,
    /// Its points, in the order in which they were run.
    pub points: Vec<PointResult>,
    /// Those of them that gossip.
    pub epidemics: Vec<EpidemicResult>,
    /// Those of replicas that reconcile.
    pub convergences: Vec<ConvergenceResult>,
    /// What happened to the machine meanwhile that makes all of it doubtful, a line each.
    pub doubts: Vec<String>,
    /// How many there were to be.
    pub planned: usize,
    /// Why it ended early, if it did.
    pub failure: Option<RunError>,
}

impl Finished {
    /// How many points there are.
    pub fn count(&self) -> usize {
        self.points.len() + self.epidemics.len() + self.convergences.len()
    }
}

/// Why a run ended early.
#[derive(Debug)]
pub enum RunError {
    /// A point could not be measured.
    Drive {
        /// Which.
        label: String,
        /// Why.
        source: DriveError,
    },
    /// What was measured was not linearizable. The run is invalid, whatever it says.
    Unsafe {
        /// Which point.
        label: String,
        /// What does not hold.
        breach: Box<Breach>,
    },
    /// The folder for logs is none, or its disk cannot be written to.
    Disk {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A result could not be stored.
    Store(StoreError),
    /// The user stopped it.
    Interrupted,
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Drive { label, source } if label.is_empty() => source.fmt(f),
            Self::Drive { label, source } => write!(f, "{label}: {source}"),
            Self::Unsafe { label, breach } if label.is_empty() => write!(f, "invalid: {breach}"),
            Self::Unsafe { label, breach } => write!(f, "invalid: {label}: {breach}"),
            Self::Disk { folder, source } => write!(
                f,
                "cannot write logs to {}: {source}; set `storage.path` to a folder on a disk with room",
                folder.display()
            ),
            Self::Store(error) => error.fmt(f),
            Self::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Drive { source, .. } => Some(source),
            Self::Unsafe { breach, .. } => Some(breach),
            Self::Disk { source, .. } => Some(source),
            Self::Store(error) => Some(error),
            Self::Interrupted => None,
        }
    }
}

/// One run of one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shot {
    point: usize,
    repetition: usize,
    seed: u64,
}

/// Runs every point. `interrupted` ends the run after cleaning up; what was finished is on disk.
///
/// # Errors
/// [`RunError`] if it cannot begin: the run's folder cannot be made, or links that a point asks for. Later failures come
/// with what was finished.
pub fn run(
    experiment: &Experiment<'_>,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Finished, RunError> {
    let spec = experiment.spec;
    let mut points = spec.points();
    for &mover in Mover::ALL {
        if points.iter().any(|Point { network, .. }| network.emulation == Emulation::Packets && network.mover == mover)
        {
            drive::probe_packets(mover).map_err(|source| RunError::Drive { label: String::new(), source })?;
        }
    }
    let plan = plan(&points, spec);
    let watch = Watch::begin(points.iter().find_map(|point| point.storage.path.as_deref()).unwrap_or(experiment.out));
    observer.found(&watch.lines(&points));
    observer.plan(spec.name(), plan.iter().map(|shot| planned(&points[shot.point], spec.run())).collect());
    let manifest = manifest(experiment, plan.len(), &watch);
    let mut dir = RunDir::create(experiment.out, spec.name(), SystemTime::now(), manifest).map_err(RunError::Store)?;
    let mut finished = Finished {
        dir: dir.path().to_owned(),
        points: Vec::new(),
        epidemics: Vec::new(),
        convergences: Vec::new(),
        doubts: Vec::new(),
        planned: plan.len(),
        failure: None,
    };
    let logs = dir.path().join("logs");
    points.iter_mut().for_each(|point| _ = point.storage.path.get_or_insert(logs.clone()));
    let mut beside = Beside::default();
    for (index, shot) in plan.iter().enumerate() {
        let point = &points[shot.point];
        let label = label(point, spec);
        observer.begin(index, plan.len(), &label);
        let stored = measure(experiment, point, *shot, &mut beside, interrupted, observer)
            .map_err(|missed| missed.at(&label))
            .and_then(|measured| {
                measured.store(&mut dir, index, &label).map_err(RunError::Store)?;
                measured.tell(&mut finished, observer);
                dir.progress(finished.count()).map_err(RunError::Store)
            });
        finished.failure = stored.err();
        if interrupted.load(Ordering::Relaxed) && index + 1 < plan.len() {
            finished.failure.get_or_insert(RunError::Interrupted);
        }
        if finished.failure.is_some() {
            break;
        }
    }
    // Its points have removed theirs, and the folder is the run's own.
    let _ = std::fs::remove_dir(logs);
    let real = finished.points.iter().filter(|point| !point.is_virtual());
    let round_trips = real.flat_map(|point| point.core_round_trip_ns);
    let (doctor, doubts) = watch.end(&points, beside.disks.probed.values(), round_trips);
    finished.doubts = doubts;
    dir.note("doctor", doctor);
    let ending = match finished.failure {
        None => Ending::Complete,
        Some(RunError::Interrupted) => Ending::Interrupted,
        Some(_) => Ending::Failed,
    };
    let why = finished.failure.as_ref().map(ToString::to_string);
    if let Err(error) = dir.finish(ending, why, finished.count()) {
        finished.failure.get_or_insert(RunError::Store(error));
    }
    Ok(finished)
}

/// The order of a run: repetition by repetition, so that what is compared is interleaved; within one,
/// the points that differ only in their protocol stand together, echo first and then star, because the
/// others are read against both, and star against echo. Groups, and the protocols in one, come in a
/// seeded random order.
fn plan(points: &[Point], spec: &Spec) -> Vec<Shot> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, point) in points.iter().enumerate() {
        groups.entry(without_protocol(point)).or_default().push(index);
    }
    let seeds = Prng::new(spec.run().seed);
    let mut plan = Vec::new();
    for repetition in 0..spec.run().repetitions {
        let mut order = seeds.fork(u64::MAX - repetition as u64);
        let mut groups: Vec<_> = groups.values().cloned().collect();
        shuffle(&mut groups, &mut order);
        for mut group in groups {
            shuffle(&mut group, &mut order);
            group.sort_by_key(|&index| match points[index].cluster.protocol {
                ProtocolName::Echo => 0,
                protocol => 1 + u8::from(!protocol.is_floor()),
            });
            plan.extend(group.into_iter().map(|point| {
                let seed = seeds.fork(point as u64).fork(repetition as u64).next_u64();
                Shot { point, repetition, seed }
            }));
        }
    }
    plan
}

fn planned(point: &Point, run: Run) -> Planned {
    let axes = point.axes().iter().map(|(axis, value)| (axis.clone(), plain(value))).collect();
    Planned { axes, lasts: lasts(point, run) }
}

/// How long one run of a point takes at least.
pub(crate) fn lasts(point: &Point, run: Run) -> Duration {
    point.estimate().unwrap_or(run.warmup + run.duration)
}

/// Puts them in a random order.
pub(crate) fn shuffle<T>(items: &mut [T], prng: &mut Prng) {
    for last in (1..items.len()).rev() {
        items.swap(last, prng.below(last as u64 + 1) as usize);
    }
}

/// A point's coordinates but for the protocol, and for what only some protocols have: what its floors share.
fn without_protocol(point: &Point) -> String {
    let mut axes = point.axes();
    axes.remove("protocol");
    for key in Spec::keys().iter().filter(|key| key.applies.asks_the_protocol()) {
        axes.remove(key.coordinate);
    }
    Json::Object(axes).to_string()
}

/// What is special about a point: its coordinates on the axes that vary.
fn label(point: &Point, spec: &Spec) -> String {
    let axes = point.axes();
    let varied = spec.varied().into_iter();
    varied.filter_map(|axis| Some(format!("{axis}={}", plain(axes.get(axis)?)))).collect::<Vec<_>>().join("/")
}

/// As people write it.
fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Why a point has no result.
enum Missed {
    Disk(PathBuf, io::Error),
    Drive(DriveError),
    Unsafe(Breach),
}

impl Missed {
    fn at(self, label: &str) -> RunError {
        match self {
            Self::Drive(DriveError::Interrupted) => RunError::Interrupted,
            Self::Disk(folder, source) => RunError::Disk { folder, source },
            Self::Drive(source) => RunError::Drive { label: label.into(), source },
            Self::Unsafe(breach) => RunError::Unsafe { label: label.into(), breach: Box::new(breach) },
        }
    }
}

/// What one run of one point yielded.
enum Measured {
    Commands(Box<(PointResult, Outcome)>),
    Epidemic(Box<EpidemicResult>),
    Convergence(Box<ConvergenceResult>),
}

impl Measured {
    fn store(&self, dir: &mut RunDir, index: usize, label: &str) -> Result<(), StoreError> {
        match self {
            Self::Commands(both) => {
                let (result, outcome) = &**both;
                dir.append(index, result, label, &outcome.recording, outcome.window_closed)
            }
            Self::Epidemic(result) => dir.append_epidemic(result),
            Self::Convergence(result) => dir.append_convergence(result),
        }
    }

    /// It is stored: the observer hears of it, and it is among what is finished.
    fn tell(self, finished: &mut Finished, observer: &mut dyn Observer) {
        match self {
            Self::Commands(both) => {
                observer.finished(&both.0);
                finished.points.push(both.0);
            }
            Self::Epidemic(result) => {
                observer.spread(&result);
                finished.epidemics.push(*result);
            }
            Self::Convergence(result) => {
                observer.converged(&result);
                finished.convergences.push(*result);
            }
        }
    }
}

fn measure(
    experiment: &Experiment<'_>,
    point: &Point,
    shot: Shot,
    beside: &mut Beside,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Measured, Missed> {
    if point.cluster.protocol.is_gossip() {
        let result = epidemic::shoot(experiment, point, shot, interrupted, observer)?;
        return Ok(Measured::Epidemic(Box::new(result)));
    }
    if point.cluster.protocol.reconciles() {
        let result = convergence::shoot(experiment, point, shot, interrupted, observer)?;
        return Ok(Measured::Convergence(Box::new(result)));
    }
    let both = shoot(experiment, point, shot, beside, interrupted, observer)?;
    Ok(Measured::Commands(Box::new(both)))
}

fn shoot(
    experiment: &Experiment<'_>,
    point: &Point,
    shot: Shot,
    beside: &mut Beside,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<(PointResult, Outcome), Missed> {
    let disk = beside.disks.under(point)?;
    let probe = || if point.is_virtual() { 0.0 } else { host::core_round_trip_ns() };
    let before = probe();
    let run = experiment.spec.run();
    let (faults, check) = (experiment.spec.faults(), experiment.check);
    let extras = Extras { traced: check, live: observer.live() };
    let progress = &mut |phase| observer.phase(phase);
    let measured = drive::measure_with(point, run, shot.seed, &faults, extras, interrupted, progress);
    let (outcome, trace) = measured.map_err(Missed::Drive)?;
    let round_trip = [before, probe()];
    if check {
        observer.phase(Phase::Checking);
        trace.verify(point.cluster.machine).map_err(Missed::Unsafe)?;
    }
    let warnings = warnings(point, &outcome, disk.as_ref(), round_trip);
    let mut result = figures::result(experiment.spec.name(), point, shot, &outcome, &warnings);
    result.checked = check;
    // Nothing acknowledged is lost: that is among what was verified just now.
    result.faults.iter_mut().for_each(|fault| fault.lost = check.then_some(0));
    result.core_round_trip_ns = round_trip;
    result.floor = beside.floors.beside(point, &result);
    result.storage = disk.map(|disk| figures::storage(&disk, &outcome));
    Ok((result, outcome))
}

/// What stands beside the points of a run: measured once, said with each.
#[derive(Debug, Default)]
struct Beside {
    floors: Floors,
    disks: Disks,
}

/// The disks that were looked at, by folder, how they are written to, and how many logs there are.
#[derive(Debug, Default)]
struct Disks {
    probed: BTreeMap<(PathBuf, bool, usize), Disk>,
}

impl Disks {
    /// The disk under a point's logs, if they are on one. Nothing else runs while it is looked at.
    fn under(&mut self, point: &Point) -> Result<Option<Disk>, Missed> {
        let storage = &point.storage;
        let Some(folder) = storage.path.clone().filter(|_| storage.durability != Durability::None) else {
            return Ok(None);
        };
        let logs = point.cluster.replicas;
        let disk = match self.probed.entry((folder.clone(), storage.direct, logs)) {
            Entry::Occupied(probed) => probed.get().clone(),
            Entry::Vacant(new) => {
                let disk = Disk::probe(&folder, storage.direct, logs).map_err(|source| Missed::Disk(folder, source))?;
                new.insert(disk).clone()
            }
        };
        Ok(Some(disk))
    }
}

/// The floors measured so far, by repetition and by what they share with the points above them.
#[derive(Debug, Default)]
struct Floors {
    measured: BTreeMap<(ProtocolName, usize, String), (f64, Percentiles, bool)>,
}

impl Floors {
    /// `result` beside its floors; remembered, if it is one itself.
    fn beside(&mut self, point: &Point, result: &PointResult) -> Option<Floor> {
        let protocol = point.cluster.protocol;
        let shared = without_protocol(point);
        if protocol.is_floor() {
            let measured = (result.completed_per_s, result.response_ns, result.is_doubtful());
            self.measured.insert((protocol, result.repetition, shared.clone()), measured);
        }
        let over = |floor: ProtocolName| {
            let key = (floor, result.repetition, shared.clone());
            let (throughput, times, doubtful) = self.measured.get(&key).filter(|_| floor != protocol)?;
            let ratio = |mine: f64, floor: f64| (floor > 0.0).then(|| mine / floor);
            let times = |of: fn(&Percentiles) -> u64| ratio(of(&result.response_ns) as f64, of(times) as f64);
            let ratios = [ratio(result.completed_per_s, *throughput), times(|each| each.p50), times(|each| each.p99)];
            Some((ratios, *doubtful))
        };
        let echo = over(ProtocolName::Echo);
        // The floor of replication says nothing of a server that does not replicate.
        let star = over(ProtocolName::Star).filter(|_| protocol != ProtocolName::Echo);
        if echo.is_none() && star.is_none() {
            return None;
        }
        let ([echo_throughput_ratio, echo_p50_ratio, echo_p99_ratio], echo_doubtful) = echo.unwrap_or_default();
        let ([star_throughput_ratio, star_p50_ratio, star_p99_ratio], star_doubtful) = star.unwrap_or_default();
        Some(Floor {
            echo_throughput_ratio,
            echo_p50_ratio,
            echo_p99_ratio,
            star_throughput_ratio,
            star_p50_ratio,
            star_p99_ratio,
            echo_doubtful,
            star_doubtful,
        })
    }
}

/// What the config asks, in its first line. A config that is gone by now asks nothing.
fn question_of(config: &Path) -> Option<String> {
    let text = std::fs::read_to_string(config).ok()?;
    question(&text).map(str::to_owned)
}

fn manifest(experiment: &Experiment<'_>, planned: usize, watch: &Watch) -> Json {
    let host = host::describe();
    let fingerprint = results::fingerprint_of(&json!({ "host": host }));
    json!({
        "schema": "quorumbench.manifest/1",
        "name": experiment.spec.name(),
        "config": experiment.config.display().to_string(),
        "question": question_of(experiment.config),
        "command_line": experiment.command_line,
        "started": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        "planned_points": planned,
        "varied": experiment.spec.varied(),
        "spec": experiment.spec.resolved(),
        "host": host,
        "fingerprint": results::fingerprint_hash(&fingerprint),
        "doctor": watch.findings(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let text = "name = \"x\"\n[cluster]\nprotocol = [\"raft\", \"echo\", \"star\"]\n[load]\nrate = [10, 20, 30]\n[run]\nrepetitions = 4";
        Spec::parse(text, "x.toml", &[]).expect("a valid config")
    }

    #[test]
    fn what_only_some_protocols_have_does_not_part_them_from_their_floors() {
        let points = Spec::parse("name = 'x'", "x.toml", &["protocol=[echo,star,raft,multipaxos,zab,paxos]".into()]);
        let points = points.expect("a valid config").points();
        let shared: std::collections::BTreeSet<_> = points.iter().map(without_protocol).collect();
        assert_eq!((points.len(), shared.len()), (6, 1), "{shared:?}");
    }

    #[test]
    fn a_plan_interleaves_and_puts_floors_first() {
        let (spec, points) = (spec(), spec().points());
        let plan = plan(&points, &spec);
        assert_eq!(plan.len(), 36);
        for (index, shots) in plan.chunks(3).enumerate() {
            let protocols: Vec<_> = shots.iter().map(|shot| points[shot.point].cluster.protocol).collect();
            let expected = [ProtocolName::Echo, ProtocolName::Star, ProtocolName::Raft];
            assert_eq!(protocols, expected, "floors come before what stands on them");
            assert!(shots.iter().all(|shot| shot.repetition == index / 3), "repetition by repetition");
            assert!(shots.iter().all(|shot| points[shot.point].load.arrival == points[shots[0].point].load.arrival));
        }
        let seeds: std::collections::BTreeSet<_> = plan.iter().map(|shot| shot.seed).collect();
        assert_eq!(seeds.len(), 36, "no two runs share a seed");
        let order = |repetition: usize| plan[repetition * 9..][..9].iter().map(|shot| shot.point).collect::<Vec<_>>();
        assert!((1..4).any(|repetition| order(repetition) != order(0)), "the order is random");
    }

    #[test]
    fn labels_name_what_varies() {
        assert_eq!(label(&spec().points()[0], &spec()), "protocol=raft/rate=10");
    }
}
