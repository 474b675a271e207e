//! Two ways to run gossip, one answer: the rules over a population, and state machines that know of each other only what
//! they say, agree in every figure, whatever the rules.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use quorumbench::epidemic::VirtualTime;
use quorumbench::population::{Population, Trial};
use quorumbench::spec::{Gossip, PartnerChoice, Spec};
use quorumbench_protocols::Prng;

mod support;

const NODES: usize = 200;
/// How many standard errors two means may be apart that are the same. Of a thousand comparisons one in sixteen runs would
/// have one beyond, if means were normal; the seeds are fixed.
const MOST_ERRORS: f64 = 4.0;

/// All rules that these lists make together.
fn rules(gossip: &str) -> Vec<Gossip> {
    rules_of(NODES, gossip)
}

fn rules_of(nodes: usize, gossip: &str) -> Vec<Gossip> {
    let text = format!(
        "cluster = {{ protocol = 'gossip', transport = 'sim', nodes = {nodes} }}\ngossip = {{ {} }}",
        gossip.replace('\n', "")
    );
    support::spec(&text).points().iter().map(|point| point.gossip.clone()).collect()
}

/// The same where the nodes are a square.
fn grid(gossip: &str) -> Vec<Gossip> {
    rules_of(196, gossip)
}

fn rule(gossip: &str) -> Gossip {
    let mut rules = rules(gossip);
    assert_eq!(rules.len(), 1);
    rules.remove(0)
}

/// Everything that the two are compared in.
fn variants() -> Vec<Gossip> {
    let rumors =
        "exchange = ['push', 'pull', 'push-pull'], interest = ['feedback', 'blind'], stop = ['counter', 'coin'],
        k = [1, 2]";
    let first = "interest = 'blind', stop = 'coin', toss = 'before'";
    let every = "exchange = ['push', 'pull', 'push-pull']";
    let feedback = format!("{every}, k = 2");
    let late = "rounds = 'asynchronous', latency";
    [
        rules(rumors),
        rules("style = 'direct-mail', loss = [0.0, 0.3]"),
        rules("style = 'anti-entropy', exchange = ['push', 'pull', 'push-pull'], fanout = [1, 2], loss = [0.0, 0.1]"),
        rules("style = 'anti-entropy', exchange = ['push', 'pull', 'push-pull'], judging = 'arrival', fanout = [1, 2]"),
        rules(
            "style = 'anti-entropy', exchange = ['push', 'pull', 'push-pull'], connection_limit = 1,
            hunt_limit = [0, 2, 'unlimited']",
        ),
        rules(&format!("{feedback}, fanout = 2")),
        rules(&format!("{feedback}, judging = 'arrival', fanout = [1, 2]")),
        rules(&format!("{feedback}, reset = false")),
        rules(&format!("{feedback}, loss = 0.1, stop = ['counter', 'coin']")),
        rules(&format!("{feedback}, connection_limit = 1, hunt_limit = [0, 2, 'unlimited']")),
        rules(&format!("{feedback}, connection_limit = 2, hunt_limit = 1, fanout = 2")),
        rules("exchange = ['push', 'push-pull'], interest = 'blind', fanout = 3, k = 1, loss = [0.0, 0.1]"),
        rules(&format!("{feedback}, rounds = 'asynchronous', stop = ['counter', 'coin'], fanout = [1, 2]")),
        rules("exchange = ['push', 'push-pull'], interest = 'blind', stop = 'coin', k = 3, rounds = 'asynchronous'"),
        rules("style = 'anti-entropy', exchange = ['push', 'pull', 'push-pull'], rounds = 'asynchronous', loss = [0.0, 0.1]"),
        rules(&format!("{late} = ['100ms', '1500ms'], {feedback}, stop = ['counter', 'coin']")),
        rules(&format!("{late} = '400ms', exchange = ['push', 'push-pull'], interest = 'blind', fanout = 2, loss = 0.1")),
        rules(&format!("{late} = ['100ms', '2s'], style = 'anti-entropy', {every}, loss = [0.0, 0.1]")),
        rules(&format!("{late} = '500ms', exchange = ['pull', 'push-pull'], pulls = 'each', reset = false, fanout = 2")),
        rules(&format!("{late} = '300ms', {first}, exchange = ['push', 'pull'], k = 3")),
        rules(&format!("{late} = '700ms', {every}, style = ['rumor', 'anti-entropy'], crash = 0.02, join = [0.0, 0.02]")),
        rules(&format!("{late} = '300ms', exchange = ['push', 'push-pull'], partners = ['not-sender', 'not-sent'], k = 3")),
        rules(&format!("{late} = '300ms', style = ['rumor', 'anti-entropy'], view = 'partial', exchange = 'push-pull'")),
        rules(&format!("{late} = '300ms', partners = 'ring', exponent = 1.5, k = 4")),
        rules(&format!("{feedback}, rumors = 4, fanout = [1, 2]")),
        rules("exchange = 'push-pull', minimize = true, k = 2, rumors = 4, connection_limit = 2, loss = 0.1"),
        rules("style = 'anti-entropy', exchange = ['push', 'pull', 'push-pull'], rumors = 4, loss = [0.0, 0.1]"),
        rules("style = 'anti-entropy', exchange = 'push-pull', rumors = 4, judging = 'arrival', fanout = 2, loss = 0.1"),
        rules("style = 'anti-entropy', exchange = 'pull', rumors = 4, rounds = 'asynchronous'"),
        rules("exchange = 'push-pull', minimize = true, k = [1, 2, 3]"),
        rules("exchange = 'push-pull', minimize = true, k = 2, reset = false, loss = 0.1, fanout = 2"),
        rules("exchange = ['pull', 'push-pull'], k = 2, pulls = 'each', stop = ['counter', 'coin'], fanout = [1, 2]"),
        rules("exchange = 'push-pull', minimize = true, k = 3, pulls = 'each', reset = false, loss = 0.1"),
        rules("exchange = ['pull', 'push-pull'], k = 2, pulls = 'each', rounds = 'asynchronous'"),
        rules(&format!("{first}, exchange = ['push', 'pull', 'push-pull'], k = [2, 4]")),
        rules(&format!("{first}, exchange = ['push', 'pull'], k = 3, rounds = 'asynchronous'")),
        rules(&format!("{first}, exchange = 'push-pull', k = 3, rumors = 3, crash = 0.02")),
        rules(&format!("acts = 'same-cycle', {}", rumors.replace("k = [1, 2]", "k = 2"))),
        rules(&format!("{feedback}, acts = 'same-cycle', judging = 'arrival', fanout = [1, 2]")),
        rules(&format!("{feedback}, acts = 'same-cycle', loss = 0.1, fanout = 2")),
        rules(&format!("{feedback}, acts = 'same-cycle', connection_limit = 2, hunt_limit = 1, fanout = 2")),
        rules("exchange = 'push-pull', acts = 'same-cycle', minimize = true, k = 3, rumors = 4, loss = 0.1"),
        rules("exchange = ['push', 'push-pull'], acts = 'same-cycle', partners = 'not-sender', k = 2"),
        rules("exchange = 'push', acts = 'same-cycle', k = 2, rumors = 4, crash = 0.02, join = 0.02"),
        rules(&format!("{first}, exchange = ['push', 'pull'], acts = 'same-cycle', k = 3")),
        rules(
            "style = 'anti-entropy', acts = 'same-cycle', exchange = ['push', 'pull', 'push-pull'],
            judging = ['snapshot', 'arrival'], fanout = [1, 2]",
        ),
        rules("style = 'anti-entropy', acts = 'same-cycle', exchange = 'push-pull', rumors = 3, loss = 0.1"),
        rules("style = 'anti-entropy', acts = 'same-cycle', connection_limit = 1, hunt_limit = [0, 2, 'unlimited']"),
        rules("style = 'median-counter', fanout = [1, 2], loss = [0.0, 0.1]"),
        rules("style = 'median-counter', partners = ['not-sender', 'not-sent'], loss = 0.1"),
        rules("style = 'median-counter', partners = 'ring', exponent = 1.5"),
        rules("style = 'median-counter', view = 'partial', fanout = [1, 2]"),
        rules("exchange = ['push', 'push-pull'], partners = ['not-sender', 'not-sent'], k = 2, fanout = [1, 2], loss = 0.1"),
        rules("style = 'anti-entropy', exchange = ['push', 'push-pull'], partners = ['not-sender', 'not-sent']"),
        rules("exchange = ['push', 'pull', 'push-pull'], partners = 'ring', exponent = [1.0, 2.0], k = 4, fanout = [1, 2]"),
        rules("style = 'anti-entropy', exchange = ['push', 'pull', 'push-pull'], partners = 'ring', exponent = 1.5"),
        rules("style = 'anti-entropy', exchange = 'push-pull', partners = 'ring', connection_limit = 1, hunt_limit = 2"),
        rules("exchange = ['push', 'pull', 'push-pull'], view = 'partial', k = 3, fanout = [1, 2]"),
        rules("exchange = 'push', view = 'partial', partners = ['not-sender', 'not-sent'], view_size = [3, 5], k = 3"),
        rules("style = 'anti-entropy', view = 'partial', exchange = ['push', 'pull', 'push-pull'], loss = 0.1"),
        rules("style = 'anti-entropy', view = 'partial', connection_limit = 1, hunt_limit = [0, 3]"),
        rules("exchange = 'push-pull', k = 3, view = 'partial', rounds = 'asynchronous'"),
        rules("style = 'plumtree', broadcasts = [1, 2, 5], loss = [0.0, 0.1], view_size = [4, 5]"),
        rules("style = 'plumtree', broadcasts = 3, loss = 0.3, graft_timeout = [1, 5]"),
        rules("style = 'plumtree', broadcasts = [1, 3], crash = 0.05, loss = 0.05"),
        rules("style = 'plumtree', broadcasts = 1, crash = 0.02, join = 0.02, view_size = 4"),
        rules("exchange = ['push', 'pull', 'push-pull'], k = 3, crash = 0.02, join = [0.0, 0.02], fanout = [1, 2]"),
        rules("style = 'anti-entropy', exchange = ['push', 'pull', 'push-pull'], crash = 0.05, loss = 0.1, fanout = [1, 2]"),
        rules("style = 'anti-entropy', exchange = 'push-pull', crash = 0.02, join = 0.02, rumors = 3"),
        rules("style = 'anti-entropy', exchange = 'push', crash = 0.05, connection_limit = 1, hunt_limit = 2"),
        rules("style = 'anti-entropy', exchange = 'pull', crash = 0.05, rounds = 'asynchronous'"),
        rules("style = ['rumor', 'anti-entropy', 'median-counter'], crash = 0.02, join = 0.01, view = 'partial'"),
        // So many come that one cycle more of them shows in few trials.
        rules("exchange = ['push', 'pull', 'push-pull'], k = 1, crash = 0.05, join = 0.05"),
        rules("style = ['median-counter', 'plumtree'], broadcasts = 3, crash = 0.05, join = 0.05"),
        grid("style = ['anti-entropy', 'rumor', 'median-counter'], partners = 'grid', exponent = 2.0"),
    ]
    .concat()
}

/// What the two are compared in: of each trial, where it has it.
type Figure = (&'static str, fn(&Trial) -> Option<f64>);

const FIGURES: [Figure; 5] = [
    ("control", |trial| Some(trial.control as f64 / NODES as f64)),
    ("residue", |trial| {
        Some(1.0 - over(trial, |each| each.reached() + each.down) as f64 / updates(trial) / NODES as f64)
    }),
    ("traffic", |trial| Some(over(trial, |each| each.sent) as f64 / updates(trial) / NODES as f64)),
    ("rounds_last", |trial| Some(over(trial, Trial::last) as f64 / updates(trial) / trial.parts as f64)),
    ("rounds_mean", |trial| {
        let arrived = over(trial, |each| each.arrivals.iter().sum());
        let parts = over(trial, |each| (1..).zip(&each.arrivals).map(|(part, arrived)| part * arrived).sum());
        (arrived > 0).then(|| parts as f64 / (arrived * trial.parts) as f64)
    }),
];

/// Over all updates of a trial.
fn over(trial: &Trial, of: impl Fn(&Trial) -> u64) -> u64 {
    std::iter::once(trial).chain(&trial.others).map(of).sum()
}

fn updates(trial: &Trial) -> f64 {
    1.0 + trial.others.len() as f64
}

/// A grid is the largest square that they make.
fn nodes(gossip: &Gossip) -> usize {
    if gossip.partners == PartnerChoice::Grid { NODES.isqrt().pow(2) } else { NODES }
}

fn over_a_population(gossip: &Gossip, trials: u64) -> Vec<Trial> {
    let mut population = Population::new(nodes(gossip), gossip);
    (0..trials).map(|seed| population.trial(Prng::new(seed), &|| true).expect("nobody stops it")).collect()
}

fn among_machines(gossip: &Gossip, trials: u64) -> Vec<Trial> {
    let mut world = VirtualTime::new(nodes(gossip), gossip);
    let seeds = Prng::new(u64::MAX);
    (0..trials).map(|seed| world.trial(seeds.fork(seed), &|| true).expect("nobody stops it")).collect()
}

/// How far apart two means are, in standard errors of their difference (Welch 1947). `None` if neither varies, and they
/// are the same.
fn apart(one: &[f64], other: &[f64]) -> Option<f64> {
    let of = |values: &[f64]| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0) / count)
    };
    let ((one, one_error), (other, other_error)) = (of(one), of(other));
    let difference = (one - other).abs();
    (difference > 1e-12).then(|| difference / (one_error + other_error).sqrt())
}

/// The figure in which the two are furthest apart, and how far.
fn difference(population: &[Trial], machines: &[Trial]) -> (&'static str, f64) {
    let apart_in = |(name, of): Figure| {
        let values = |trials: &[Trial]| trials.iter().filter_map(of).collect::<Vec<_>>();
        (name, apart(&values(population), &values(machines)).unwrap_or(0.0))
    };
    FIGURES.map(apart_in).into_iter().max_by(|one, other| one.1.total_cmp(&other.1)).expect("figures")
}

/// Each of these, on as many threads as a small machine has cores.
fn for_each<T: Sync>(items: &[T], each: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(item);
                }
            });
        }
    });
}

/// The first of these, and each so many after it.
fn agree(trials: u64, each: usize) {
    let variants = variants();
    assert_eq!(variants.len(), 343);
    let variants: Vec<_> = variants.into_iter().step_by(each).collect();
    let furthest = AtomicUsize::new(0);
    for_each(&variants, |gossip| {
        let (figure, errors) = difference(&over_a_population(gossip, trials), &among_machines(gossip, trials));
        println!("{errors:.1} standard errors apart in {figure}: {gossip:?}");
        furthest.fetch_max((errors * 1000.0) as usize, Ordering::Relaxed);
    });
    let furthest = furthest.into_inner() as f64 / 1000.0;
    assert!(furthest <= MOST_ERRORS, "some variant differs by {furthest:.1} standard errors");
}

#[test]
fn population_and_machines_agree() {
    // What is not optimised takes ten times as long: so few trials of so few rules notice what is quite wrong, and no more.
    if cfg!(debug_assertions) {
        agree(20, 4);
    } else {
        agree(300, 1);
    }
}

#[test]
#[ignore = "takes minutes"]
fn population_and_machines_agree_over_thousands_of_trials() {
    agree(4000, 1);
}

/// Each rule, if one of the two had it wrong.
#[test]
fn a_wrong_rule_is_noticed() {
    let plain = "exchange = 'push-pull', k = 2";
    let pairs = [
        ("k = 1", "k = 2"),
        ("exchange = 'pull', k = 1", "exchange = 'push-pull', k = 1"),
        ("stop = 'counter'", "stop = 'coin'"),
        ("interest = 'feedback'", "interest = 'blind'"),
        ("reset = true", "reset = false"),
        ("judging = 'snapshot', k = 1", "judging = 'arrival', k = 1"),
        (plain, "exchange = 'push-pull', k = 2, minimize = true"),
        ("exchange = 'pull', k = 3, pulls = 'each'", "exchange = 'pull', k = 3"),
        ("interest = 'blind', stop = 'coin', k = 4, toss = 'before'", "interest = 'blind', stop = 'coin', k = 4"),
        ("k = 1, acts = 'same-cycle'", "k = 1"),
        ("style = 'anti-entropy', exchange = 'pull', acts = 'same-cycle'", "style = 'anti-entropy', exchange = 'pull'"),
        ("loss = 0.1", "loss = 0.15"),
        ("k = 1, fanout = 2", "k = 1, fanout = 3"),
        ("connection_limit = 1", "connection_limit = 2"),
        ("connection_limit = 1, hunt_limit = 2", "connection_limit = 1, hunt_limit = 1"),
        ("connection_limit = 1, hunt_limit = 'unlimited'", "connection_limit = 1, hunt_limit = 2"),
        ("style = 'anti-entropy', judging = 'arrival'", "style = 'anti-entropy'"),
        ("k = 1, rounds = 'asynchronous'", "k = 1"),
        ("style = 'anti-entropy', rounds = 'asynchronous'", "style = 'anti-entropy'"),
        ("k = 1, rounds = 'asynchronous', latency = '100ms'", "k = 1, rounds = 'asynchronous'"),
        ("style = 'anti-entropy', exchange = 'pull'", "style = 'anti-entropy', exchange = 'push-pull'"),
        ("style = 'plumtree', broadcasts = 1", "style = 'plumtree', broadcasts = 2"),
        ("style = 'plumtree', loss = 0.2, graft_timeout = 3", "style = 'plumtree', loss = 0.2, graft_timeout = 4"),
        ("k = 1, crash = 0.02", "k = 1"),
        ("style = 'anti-entropy', crash = 0.02, join = 0.02", "style = 'anti-entropy', crash = 0.02, join = 0.01"),
        ("style = 'median-counter'", "style = 'median-counter', fanout = 2"),
        ("view = 'partial', partners = 'not-sender'", "view = 'partial'"),
        ("view = 'partial', partners = 'not-sent'", "view = 'partial', partners = 'not-sender'"),
        ("partners = 'ring', exponent = 1.5", "partners = 'ring', exponent = 1.2"),
        ("view = 'partial', view_size = 5", "view = 'partial', view_size = 4"),
    ];
    let pairs: Vec<_> = pairs.into_iter().step_by(if cfg!(debug_assertions) { 4 } else { 1 }).collect();
    for_each(&pairs, |(right, wrong)| {
        let (figure, errors) = difference(&over_a_population(&rule(right), 400), &among_machines(&rule(wrong), 400));
        assert!(
            errors > 1.5 * MOST_ERRORS,
            "{wrong} for {right} shows by {errors:.1} standard errors of {figure} only"
        );
    });
}

/// With two nodes there is no chance left: every trial of either is the same.
#[test]
fn two_nodes_do_the_same_in_every_cycle() {
    let rumors = "exchange = ['push', 'pull', 'push-pull'], interest = ['feedback', 'blind'], k = [1, 2, 3],
        connection_limit = ['unlimited', 1]";
    let others = "style = ['direct-mail', 'anti-entropy'], exchange = ['push', 'pull', 'push-pull'],
        judging = ['snapshot', 'arrival'], connection_limit = ['unlimited', 1]";
    let feedback = "exchange = ['push', 'pull'], k = [1, 2, 3], judging = 'arrival', reset = [true, false]";
    for gossip in [rules(rumors), rules(others), rules(feedback)].concat() {
        let counted = |trial: &Trial| (trial.last(), trial.reached(), trial.sent);
        let population = Population::new(2, &gossip).trial(Prng::new(1), &|| true).expect("nobody stops it");
        for seed in 0..5 {
            let machines = VirtualTime::new(2, &gossip).trial(Prng::new(seed), &|| true).expect("nobody stops it");
            assert_eq!(counted(&machines), counted(&population), "{gossip:?}");
        }
    }
}

#[test]
fn machines_are_limited_and_hunt() {
    let a_cycle = |more: &str| {
        let gossip = rule(&format!("style = 'anti-entropy', exchange = 'push-pull', connection_limit = 1{more}"));
        let trials = among_machines(&gossip, 60);
        let cycles: u64 = trials.iter().map(Trial::last).sum();
        trials.iter().map(|trial| trial.contacts).sum::<u64>() as f64 / cycles as f64 / NODES as f64
    };
    // All n choose at once: a node is chosen by nobody with probability 1/e.
    assert!((a_cycle("") - (1.0 - (-1_f64).exp())).abs() < 0.01);
    assert!(a_cycle(", hunt_limit = 1") > 0.7, "a second try finds some of those");
    assert!(a_cycle(", hunt_limit = 'unlimited'") > 1.0 - 1.0 / NODES as f64, "at most the last one is left alone");
}

#[test]
fn a_seed_says_it_all() {
    let gossip = rule("exchange = 'push-pull', k = 2, connection_limit = 2, hunt_limit = 1, loss = 0.1");
    assert_eq!(among_machines(&gossip, 5), among_machines(&gossip, 5));
    let mut world = VirtualTime::new(NODES, &gossip);
    assert_eq!(world.trial(Prng::new(1), &|| false), None, "it stops when it is told to");
    let [one, other] = [1, 2].map(|seed| world.trial(Prng::new(seed), &|| true));
    assert_ne!(one, other);
}

#[test]
fn virtual_time_is_a_transport_like_others() {
    let config = "name = 'x'\ncluster = { protocol = 'gossip', transport = ['population', 'sim'], nodes = 100 }
        gossip = { style = 'anti-entropy', trials = 20, interval = '2s' }";
    let spec = Spec::parse(config, "x.toml", &[]).unwrap_or_else(|error| panic!("{error}"));
    let finished = support::run_spec(&spec).finished;
    assert!(finished.failure.is_none(), "{:?}", finished.failure);
    for result in &finished.epidemics {
        let world = if result.axis("transport") == "sim" { "virtual" } else { "population" };
        let epidemic = &result.epidemic;
        assert_eq!((&*result.world, epidemic.trials, epidemic.coverage.mean), (world, 20, 1.0));
        assert!(
            (epidemic.last_ns - 2e9 * epidemic.rounds_last.mean).abs() < 1.0 && epidemic.theory.rounds_last.is_some()
        );
    }
}
