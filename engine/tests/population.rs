//! Epidemics over a population: the tables of the paper, theory, what can be counted by hand, and what must hold of all.

mod support;

use std::process::Command;
use std::sync::atomic::AtomicBool;

use quorumbench::population::{Population, SoFar, Trial, epidemic};
use quorumbench::results::{EPIDEMIC_SCHEMA, Epidemic, EpidemicResult, Spread};
use quorumbench::spec::{Point, Spec};
use quorumbench_protocols::Prng;
use support::{manifest, run_spec, spec};

/// Points that gossip.
fn points(nodes: &str, gossip: &str) -> Spec {
    spec(&format!(
        "cluster = {{ protocol = 'gossip', transport = 'population', nodes = {nodes} }}\ngossip = {{ {gossip} }}"
    ))
}

fn run(point: &Point, seed: u64, threads: usize) -> Epidemic {
    let never = AtomicBool::new(false);
    epidemic(point.cluster.nodes, &point.gossip, seed, threads, &never, &mut |_| ()).expect("nobody interrupts")
}

fn epidemics(nodes: &str, gossip: &str) -> Vec<Epidemic> {
    points(nodes, gossip).points().iter().map(|point| run(point, 1, 2)).collect()
}

fn one(nodes: usize, gossip: &str) -> Epidemic {
    epidemics(&nodes.to_string(), gossip).remove(0)
}

fn trials(nodes: usize, gossip: &str, count: u64) -> Vec<Trial> {
    let points = points(&nodes.to_string(), gossip).points();
    let mut population = Population::new(nodes, &points[0].gossip);
    (0..count).map(|seed| population.trial(Prng::new(seed), &|| true).expect("nobody stops it")).collect()
}

/// A figure as a paper prints it: within one unit of its last digit, and of what the trials leave open.
fn agrees(what: &str, measured: &Spread, printed: &str) {
    let (mantissa, exponent) = printed.split_once('e').unwrap_or((printed, "0"));
    let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let unit = 10_f64.powf(exponent.parse::<f64>().expect("a power of ten") - decimals as f64);
    let paper: f64 = printed.parse().expect("a number");
    let open = measured.half_interval.expect("several trials");
    assert!((measured.mean - paper).abs() <= unit + open, "{what}: {} \u{b1}{open}, printed {printed}", measured.mean);
}

/// What is left empty is not compared; what does not agree, `docs/gossip.md` says.
fn is_table(gossip: &str, trials: usize, rows: &[[&str; 3]]) {
    let ks: Vec<_> = (1..=rows.len()).collect();
    let measured = epidemics("1000", &format!("{gossip}, k = {ks:?}, trials = {trials}"));
    for ((k, row), printed) in (1..).zip(&measured).zip(rows) {
        let figures = [("s", &row.residue), ("m", &row.traffic), ("t_last", &row.rounds_last)];
        for ((what, figure), printed) in figures.into_iter().zip(printed).filter(|(_, printed)| !printed.is_empty()) {
            agrees(&format!("{gossip}, k = {k}, {what}"), figure, printed);
        }
    }
}

#[test]
fn table_1_of_demers_push_feedback_counter() {
    let rows = [
        ["0.18", "1.7", "16.8"],
        ["0.037", "3.3", "16.9"],
        ["0.011", "4.5", "17.4"],
        ["0.0036", "5.6", "17.5"],
        ["0.0012", "6.7", "17.7"],
    ];
    is_table("exchange = 'push', interest = 'feedback', stop = 'counter'", 2000, &rows);
}

#[test]
fn table_2_of_demers_push_blind_coin() {
    let rows = [
        ["0.96", "0.04", ""],
        ["0.20", "1.6", "33"],
        ["0.060", "2.8", "32"],
        ["0.021", "3.9", "32"],
        ["0.008", "4.9", "32"],
    ];
    is_table("exchange = 'push', interest = 'blind', stop = 'coin'", 2000, &rows);
}

#[test]
fn table_3_of_demers_pull_feedback_counter() {
    // With k = 3, four nodes in a million are missed, too few for a test to see.
    let rows = [["3.1e-2", "2.7", "17.6"], ["5.8e-4", "4.5", ""], ["", "6.1", "14.0"]];
    is_table("exchange = 'pull', interest = 'feedback', stop = 'counter'", 700, &rows);
}

#[test]
fn anti_entropy_takes_as_long_as_theory_says() {
    for exchange in ["push", "pull", "push-pull"] {
        let gossip = format!("style = 'anti-entropy', exchange = '{exchange}', trials = 60");
        let sizes = epidemics("[100, 1000, 10_000]", &gossip);
        let theory = |row: &Epidemic| row.theory.rounds_last.expect("there is one");
        for pair in sizes.windows(2) {
            // All of the formulas are up to a constant.
            let grew = pair[1].rounds_last.mean - pair[0].rounds_last.mean;
            let expected = theory(&pair[1]) - theory(&pair[0]);
            assert!((grew - expected).abs() < 0.8, "{exchange}: {grew} rounds more, not {expected}");
        }
        for row in &sizes {
            assert!((row.rounds_last.mean - theory(row)).abs() < 2.0, "{exchange}: {:?}", row.rounds_last);
            assert_eq!((row.coverage.mean, row.residue.max), (1.0, 0.0), "everyone is reached, always");
        }
    }
}

#[test]
fn a_coin_leaves_what_the_equations_say() {
    for row in epidemics("10_000", "stop = 'coin', k = [1, 2, 3], trials = 20") {
        let (s, m) = (row.residue.mean, row.traffic.mean);
        let by_traffic = row.theory.residue_of_traffic.expect("push");
        assert!((by_traffic - (-m).exp()).abs() < 1e-12);
        assert!((s / by_traffic - 1.0).abs() < 0.05, "s = e^-m: {s}, {by_traffic}");
    }
    for row in epidemics("10_000", "interest = 'blind', fanout = [2, 3, 4], k = 1, trials = 20") {
        let (s, theory) = (row.residue.p50, row.theory.residue.expect("there is one"));
        assert!((s / theory - 1.0).abs() < 0.1, "each tells f and is done: {s}, {theory}");
    }
}

/// With two nodes there is no chance left.
#[test]
fn two_nodes_can_be_counted_by_hand() {
    let counted = |gossip: &str| {
        let trials = trials(2, gossip, 3);
        assert!(
            trials.iter().all(|trial| *trial == trials[0] && trial.reached() == 2 && trial.last() == 1),
            "{gossip}"
        );
        (trials[0].sent, trials[0].arrivals.len())
    };
    assert_eq!(counted("style = 'direct-mail'"), (1, 1));
    for exchange in ["push", "pull", "push-pull"] {
        let sent = if exchange == "push-pull" { 2 } else { 1 };
        assert_eq!(counted(&format!("style = 'anti-entropy', exchange = '{exchange}'")), (sent, 1), "{exchange}");
        // Both turns of a cycle meet the same pair: judged by arrival, the second finds nothing to do.
        let by_arrival = format!("style = 'anti-entropy', exchange = '{exchange}', judging = 'arrival'");
        assert_eq!(counted(&by_arrival), (1, 1), "{exchange}");
    }
    // Useful in the first cycle, and then each tells the other k times in vain.
    assert_eq!(counted("k = 1"), (3, 2));
    assert_eq!(counted("k = 3"), (7, 4));
    assert_eq!(counted("exchange = 'pull', k = 1"), (3, 2));
    // Both ways in both turns; the one that both chose and was chosen counts twice.
    assert_eq!(counted("exchange = 'push-pull', k = 2"), (6, 2));
    assert_eq!(counted("exchange = 'push-pull', k = 3"), (10, 3));
    // Three cycles each, whatever the other knows; the second begins a cycle later.
    assert_eq!(counted("interest = 'blind', k = 3"), (6, 4));
}

#[test]
fn partners_of_a_cycle_are_all_different() {
    for trial in trials(10, "style = 'anti-entropy', fanout = 9", 20) {
        assert_eq!((trial.last(), trial.sent), (1, 9), "nine partners are the nine others");
    }
}

#[test]
fn connections_are_limited_and_hunted_for() {
    let nodes = 2000.0;
    let a_cycle = |more: &str| {
        let gossip = format!("style = 'anti-entropy', exchange = 'push-pull', connection_limit = 1{more}");
        let trials = trials(nodes as usize, &gossip, 10);
        let cycles: usize = trials.iter().map(|trial| trial.arrivals.len()).sum();
        trials.iter().map(|trial| trial.contacts).sum::<u64>() as f64 / cycles as f64 / nodes
    };
    // All n choose at once: a node is chosen by nobody with probability 1/e.
    assert!((a_cycle("") - (1.0 - (-1_f64).exp())).abs() < 0.01);
    assert!(a_cycle(", hunt_limit = 1") > 0.7, "a second try finds some of those");
    // At most the last one is left alone, with only itself to choose.
    assert!(a_cycle(", hunt_limit = 'unlimited'") > 1.0 - 1.0 / nodes, "a permutation");
    // Refused contacts carry nothing: the residue is below e^-m, and above e^-m/(1 - 1/e) (section 1.4).
    let row = one(1000, "connection_limit = 1, k = 3, trials = 300");
    let exponent = -row.residue.mean.ln() / row.traffic.mean;
    assert!(exponent > 1.2 && exponent < 1.0 / (1.0 - (-1_f64).exp()), "{exponent}");
}

#[test]
fn minimization_saves_traffic() {
    let [plain, minimized] = [false, true]
        .map(|minimize| one(1000, &format!("exchange = 'push-pull', k = 2, trials = 300, minimize = {minimize}")));
    let per_traffic = |row: &Epidemic| -row.residue.mean.ln() / row.traffic.mean;
    assert!(minimized.residue.mean < plain.residue.mean && per_traffic(&minimized) > per_traffic(&plain));
}

#[test]
fn who_tosses_first_sends_once_less() {
    let coins = |more: &str| trials(1000, &format!("interest = 'blind', stop = 'coin', {more}"), 100);
    assert!(
        coins("k = 1, toss = 'before'").iter().all(|trial| (trial.sent, trial.reached()) == (0, 1)),
        "not even one"
    );
    for (toss, expected) in [("after", 4.0), ("before", 3.0)] {
        let trials = coins(&format!("k = 4, toss = '{toss}'"));
        let [sent, reached] = [Trial::reached, |trial: &Trial| trial.sent].map(|of| trials.iter().map(of).sum::<u64>());
        let each = reached as f64 / sent as f64;
        assert!((each - expected).abs() < 0.1, "{toss}: {each} updates from each who knows");
    }
}

/// Once everyone knows, a node is asked by one other in a cycle on average, often by several and often by nobody. So it
/// takes more cycles until there were k in which someone asked, than until k have.
#[test]
fn who_counts_each_that_asks_is_tired_sooner() {
    let [together, each] = ["together", "each"]
        .map(|pulls| one(1000, &format!("exchange = 'pull', k = 3, pulls = '{pulls}', trials = 50")));
    assert!(each.traffic.mean < 0.85 * together.traffic.mean, "{:?} of {:?}", each.traffic, together.traffic);
    assert!(each.residue.mean > together.residue.mean, "{:?} of {:?}", each.residue, together.residue);
}

/// Anti-entropy by such rules takes so many rounds more among 10,000 than among 100, and reaches everyone, always.
fn grows(exchange: &str, rules: &str, expected: f64, tolerance: f64) -> Vec<Epidemic> {
    let gossip = format!("style = 'anti-entropy', exchange = '{exchange}', trials = 40, {rules}");
    let sizes = epidemics("[100, 10_000]", &gossip);
    let grew = sizes[1].rounds_last.mean - sizes[0].rounds_last.mean;
    assert!((grew - expected).abs() < tolerance, "{exchange}: {grew} rounds more, not {expected}");
    for row in &sizes {
        assert_eq!((row.coverage.mean, row.residue.max), (1.0, 0.0), "everyone is reached, always");
    }
    sizes
}

/// Those who know are e^r times as many after a cycle in which everyone has its turn at a random time and acts at once,
/// with r = 1 by push or pull, and 2 both ways. In the end, by push, 1/e of the others are missed in a cycle, as ever.
#[test]
fn who_acts_at_once_is_faster() {
    for (exchange, r, end) in [("push", 1.0, 100_f64.ln()), ("pull", 1.0, 1.0), ("push-pull", 2.0, 1.0)] {
        grows(exchange, "acts = 'same-cycle'", 100_f64.ln() / r + end, 0.7);
    }
    // The cycle in which it came is not among those that are counted.
    let blind = trials(500, "interest = 'blind', k = 3, acts = 'same-cycle'", 20);
    let [sent, reached] = [|trial: &Trial| trial.sent, Trial::reached].map(|of| blind.iter().map(of).sum::<u64>());
    let each = sent as f64 / reached as f64;
    assert!((3.3..3.7).contains(&each), "three turns each, and in half of all cases one before: {each}");
}

#[test]
fn what_is_lost_is_sent_all_the_same() {
    let mailed = one(10_000, "style = 'direct-mail', loss = 0.3, trials = 50");
    assert!((mailed.residue.mean - 0.3).abs() < 0.003, "{:?}", mailed.residue);
    assert_eq!((mailed.traffic.max, mailed.rounds_last.max), (0.9999, 1.0));
    let [whole, lossy] = [0.0, 0.5]
        .map(|loss| one(1000, &format!("style = 'anti-entropy', exchange = 'pull', loss = {loss}, trials = 50")));
    assert_eq!((lossy.coverage.mean, whole.traffic.max), (1.0, 0.999), "it tries until it succeeds");
    assert!((lossy.traffic.mean - 2.0 * 0.999).abs() < 0.03, "twice for each: {:?}", lossy.traffic);
}

#[test]
fn a_seed_says_it_all() {
    let spec = points("500", "exchange = 'push-pull', k = 2, connection_limit = 2, loss = 0.1, trials = 40");
    let point = &spec.points()[0];
    assert_eq!(run(point, 7, 1), run(point, 7, 3), "however many threads there are");
    assert_ne!(run(point, 7, 1), run(point, 8, 1));
    let stopped = AtomicBool::new(true);
    assert_eq!(epidemic(500, &point.gossip, 7, 2, &stopped, &mut |_| ()), None);
}

/// Every rule with every other, as far as they go together.
#[test]
fn figures_add_up_whatever_the_rules() {
    let rumor = "exchange = ['push', 'pull', 'push-pull'], stop = ['counter', 'coin'], reset = [true, false],
        connection_limit = ['unlimited', 2], fanout = [1, 3], loss = [0.0, 0.2], trials = 3";
    let others = "style = ['direct-mail', 'anti-entropy'], exchange = ['push', 'pull', 'push-pull'], fanout = [1, 5],
        loss = [0.0, 0.2], connection_limit = ['unlimited', 1], trials = 3";
    let feedback = format!("interest = 'feedback', judging = ['snapshot', 'arrival'], {rumor}");
    let blind = format!("interest = 'blind', {}", rumor.replace("reset = [true, false],", ""));
    let rows = [&feedback, &blind, others].map(|gossip| epidemics("[7, 64, 200]", &gossip.replace('\n', "")));
    assert_eq!(rows.each_ref().map(Vec::len), [432, 144, 78]);
    for row in rows.iter().flatten() {
        let (first, last) = (row.curve[0], row.curve[row.curve.len() - 1]);
        assert!((first - 1.0 / row.nodes as f64).abs() < 1e-12 && row.curve.is_sorted(), "{row:?}");
        assert!((last - row.coverage.mean).abs() < 1e-12 && (last + row.residue.mean - 1.0).abs() < 1e-12, "{row:?}");
        assert_eq!(row.curve.len() - 1, row.rounds_last.max as usize, "{row:?}");
        let needed = row.coverage.mean - first;
        assert!(row.traffic.mean >= needed - 1e-12 && row.redundancy.p50 >= 0.0, "{row:?}");
        assert!((row.bytes_per_node.mean - 64.0 * row.traffic.mean).abs() < 1e-9, "{row:?}");
        assert!(row.rounds_mean.is_none_or(|mean| mean.max <= row.rounds_last.max), "{row:?}");
    }
}

/// Karp et al. 2000, theorem 3.1: everyone, in O(log n) cycles, for O(n log log n) updates.
#[test]
fn a_median_counter_knows_when_to_stop() {
    let of = |style: &str| epidemics("[100, 1000, 10_000]", &format!("{style}, trials = 30"));
    let counted = of("style = 'median-counter'");
    let endless = of("style = 'anti-entropy', exchange = 'push-pull'");
    for (counted, endless) in counted.iter().zip(&endless) {
        assert_eq!((counted.residue.max, counted.coverage.mean), (0.0, 1.0), "{counted:?}");
        let later = counted.rounds_last.mean - endless.rounds_last.mean;
        assert!(later.abs() < 0.5, "it stops after the last one knows: {later}");
        // Two for each contact, while B and C last: ever more, but by the logarithm of a logarithm.
        let cycles = counted.traffic.mean / (counted.nodes as f64).ln().log2().ceil();
        assert!((4.5..6.0).contains(&cycles), "{}: {cycles}", counted.nodes);
    }
    let lossy = one(1000, "style = 'median-counter', loss = 0.1, trials = 30");
    assert!(lossy.residue.mean < 1e-3, "robust (section 3.2): {:?}", lossy.residue);
}

/// Leitão et al. 2007, section 4: flooding sends as many as there are links, a tree one for each node; and what the others
/// would have sent, they announce.
#[test]
fn a_tree_has_no_redundancy() {
    let tree = |broadcasts: usize| trials(300, &format!("style = 'plumtree', broadcasts = {broadcasts}"), 5);
    for ((first, second), tenth) in tree(1).iter().zip(tree(2)).zip(tree(10)) {
        for each in [first, &second, &tenth] {
            assert!(each.reached() == 300 && each.is_split == Some(false), "{each:?}");
            assert_eq!(each.last(), first.last(), "first come is shortest: the tree is no deeper than the flood");
        }
        assert_eq!((second.sent, tenth.sent), (299, 299), "one for each");
        // PRUNE answers each that was useless; what is left is IHAVE. Over each link but one to each node goes one of the
        // two.
        let prunes = first.sent - 299;
        assert_eq!(second.sent + second.control, first.sent + first.control - prunes, "over the same links");
        let redundancy = first.sent as f64 / 299.0 - 1.0;
        assert!((1.8..3.01).contains(&redundancy), "five peers but the sender: {redundancy}");
    }
    let lossy = one(300, "style = 'plumtree', loss = 0.05, trials = 20");
    assert!(lossy.residue.mean < 1e-3, "what is lost is asked for: {:?}", lossy.residue);
    assert!(lossy.redundancy.mean < 0.6 && lossy.rounds_last.mean > 7.0, "{lossy:?}");
    let patient = one(300, "style = 'plumtree', loss = 0.05, graft_timeout = 9, trials = 20");
    assert!(patient.rounds_last.mean > lossy.rounds_last.mean + 3.0, "{:?}", patient.rounds_last);
}

#[test]
fn nobody_tells_whom_it_heard_it_from() {
    // The first tells one, and that one the other: nobody tells the same twice.
    for choice in ["not-sender", "not-sent"] {
        let rumor = format!("interest = 'blind', k = 2, partners = '{choice}'");
        assert!(trials(3, &rumor, 30).iter().all(|trial| trial.reached() == 3 && trial.last() == 2), "{choice}");
    }
    let anyone = trials(3, "interest = 'blind', k = 2", 30);
    assert!(anyone.iter().any(|trial| trial.reached() < 3 || trial.last() > 2), "by chance");
    // After all others it begins again.
    let all = trials(4, "interest = 'blind', k = 9, partners = 'not-sent', fanout = 2", 10);
    assert!(all.iter().all(|trial| trial.reached() == 4 && trial.sent == 4 * 9 * 2));
}

/// Demers et al. 1987, section 3, and Kempe et al. 2001: the nearer partners are, the longer it takes; from a = 0, where
/// all are as good, to neighbors alone, from whom it goes a step a cycle.
#[test]
fn distance_takes_time() {
    for (partners, nodes, neighbors) in [("ring", 100, 50.0), ("grid", 100, 10.0)] {
        let gossip = format!("style = 'anti-entropy', exchange = 'push-pull', partners = '{partners}', trials = 40");
        let rows = epidemics(&nodes.to_string(), &format!("{gossip}, exponent = [0.0, 2.0, 3.0, 16.0]"));
        let uniform = one(nodes, "style = 'anti-entropy', exchange = 'push-pull', trials = 40");
        let last: Vec<f64> = rows.iter().map(|row| row.rounds_last.mean).collect();
        assert!((last[0] - uniform.rounds_last.mean).abs() < 0.5, "{last:?}");
        assert!(last.is_sorted() && last[3] > neighbors && last[3] < 3.0 * neighbors, "{last:?}");
    }
    // As many different ones as there are to choose from, however far some of them are.
    let all = trials(9, "style = 'anti-entropy', partners = 'ring', exponent = 16.0, fanout = 8", 5);
    assert!(all.iter().all(|trial| trial.last() == 1));
}

/// Leitão et al. 2007 (DSN), section 5: five peers are enough.
#[test]
fn partial_views_reach_everyone() {
    for exchange in ["push", "push-pull"] {
        let row = |view: &str| {
            one(300, &format!("style = 'anti-entropy', exchange = '{exchange}', view = '{view}', trials = 20"))
        };
        let (full, partial) = (row("full"), row("partial"));
        assert_eq!((full.split, partial.split, partial.residue.max), (None, Some(0), 0.0));
        let factor = partial.rounds_last.mean / full.rounds_last.mean;
        assert!((1.0..1.8).contains(&factor), "{exchange}: {factor}");
    }
    // Eager push to all peers but the sender, of which there are four: each node is told four times.
    let eager =
        one(300, "interest = 'blind', k = 1, view = 'partial', partners = 'not-sender', fanout = 4, trials = 5");
    assert!((2.85..3.02).contains(&eager.redundancy.mean) && eager.residue.p50 < 0.01, "{eager:?}");
    // All peers of a view at once are a flood, whose last hop is the overlay's depth.
    let flood = trials(300, "interest = 'blind', k = 1, view = 'partial', fanout = 5", 3);
    let tree = trials(300, "style = 'plumtree', broadcasts = 1", 3);
    for (flood, tree) in flood.iter().zip(&tree) {
        assert_eq!((flood.reached(), flood.last()), (tree.reached(), tree.last()), "the same overlay");
    }
}

#[test]
fn who_is_up_counts() {
    let gossip = "style = 'anti-entropy', exchange = 'push-pull', crash = 0.02";
    for trial in trials(1000, gossip, 10).iter().filter(|trial| trial.reached() > 1) {
        let (alive, cycles) = (1000 - trial.down, trial.departures.len());
        assert_eq!(trial.reached(), alive, "all that are left know");
        let expected = 1000.0 * 0.98_f64.powf(cycles as f64);
        assert!((alive as f64 - expected).abs() < 5.0 * expected.sqrt(), "{alive} after {cycles} cycles");
    }
    // As many come as go, and 1/e of those that do not know is not told in a cycle of push: 1/e + 1/e^2 + ... of those that
    // come in one.
    let row = one(1000, "style = 'anti-entropy', crash = 0.02, join = 0.02, trials = 10");
    let missed = 0.02 / (1_f64.exp() - 1.0);
    assert!((row.residue.p50 - missed).abs() < 0.006, "{:?}, not {missed}", row.residue);
    assert!(row.theory.rounds_last.is_none(), "theory is about those that stay");
    // What is over is over: a rumor does not reach those that come later, which is what anti-entropy is for.
    let rumor = one(1000, "exchange = 'push-pull', k = 3, crash = 0.02, join = 0.02, trials = 10");
    assert!(rumor.residue.p50 > row.residue.p50, "{:?}", rumor.residue);
    for style in ["style = 'plumtree'", "style = 'median-counter'", "view = 'partial', k = 4"] {
        let row = one(300, &format!("{style}, crash = 0.01, join = 0.01, trials = 8"));
        assert!(
            row.residue.p50 < 0.3 && (row.coverage.mean + row.residue.mean - 1.0).abs() < 1e-9,
            "{style}: {:?}",
            row.residue
        );
        assert!(row.curve.len() > row.rounds_last.max as usize, "{style}");
    }
}

/// Those who know are e^r times as many after a round. By push r = 1: one who hears of it has its first turn anywhere in
/// the next round. By pull r = e^-r, as it hears in a turn of its own, and answers from the next; both ways r = 1 + e^-r.
#[test]
fn rounds_of_ones_own_are_faster() {
    for (exchange, r, end) in [("push", 1.0, 100_f64.ln()), ("pull", 0.567, 1.4), ("push-pull", 1.278, 1.0)] {
        for row in grows(exchange, "rounds = 'asynchronous'", 100_f64.ln() / r + end, 1.0) {
            assert_eq!(row.curve.len() - 1, row.rounds_last.max.ceil() as usize);
        }
    }
    // A turn is a cycle: what a node heard since the last one counts in the next.
    let blind = trials(500, "interest = 'blind', k = 3, rounds = 'asynchronous'", 5);
    assert!(blind.iter().all(|trial| trial.sent == 3 * trial.reached()), "three turns each, and one update in each");
}

/// With a trip's time L, uniform up to twice its mean, an update by push goes on with r = E[e^-rL]^3: a digest, "send it",
/// and the update. By pull with r = e^-r E[e^rL]: who was told acts from its turn after the one in which it asked, while
/// both trips fit between two; and that question it sent before it arrived.
#[test]
fn trips_take_their_time() {
    for (exchange, r, end) in [("push", 0.631, 100_f64.ln()), ("pull", 0.627, 1.4)] {
        grows(exchange, "rounds = 'asynchronous', latency = '250ms'", 100_f64.ln() / r + end, 1.0);
    }
    // What is under way when the last one has lost interest arrives all the same.
    let late = "interest = 'blind', k = 3, rounds = 'asynchronous', latency = '16s'";
    let blind = trials(500, late, 5);
    assert!(blind.iter().all(|trial| trial.sent == 3 * trial.reached()), "three turns each, and one update in each");
    assert!(blind.iter().all(|trial| trial.last() > 30 * trial.parts), "twice the mean, to the furthest");
}

/// Contacts are shared, and nothing else is: each update spreads as if it were alone.
#[test]
fn several_rumors_share_contacts() {
    let [alone, together] = [1, 4].map(|rumors| one(300, &format!("k = 2, trials = 200, rumors = {rumors}")));
    for (what, alone, together) in [
        ("s", &alone.residue, &together.residue),
        ("m", &alone.traffic, &together.traffic),
        ("t_last", &alone.rounds_last, &together.rounds_last),
        ("t_ave", &alone.rounds_mean.expect("arrivals"), &together.rounds_mean.expect("arrivals")),
    ] {
        let open = alone.half_interval.expect("several") + together.half_interval.expect("several");
        assert!((alone.mean - together.mean).abs() < 1.5 * open, "{what}: {} {}", alone.mean, together.mean);
    }
    for trial in trials(300, "k = 2, rumors = 4", 5) {
        let sent: u64 = trial.sent + trial.others.iter().map(|other| other.sent).sum::<u64>();
        assert!(trial.others.len() == 3 && trial.contacts < sent, "one message carries several: {trial:?}");
    }
}

#[test]
fn large_views_and_small_clusters_need_no_large_passive_view() {
    points("1000", "style = 'anti-entropy', view = 'partial', view_size = [5, 40, 64]");
    points("8", "style = 'anti-entropy', view = 'partial', view_size = 5, passive_size = 2");
}

#[test]
fn an_overlay_in_parts_is_told() {
    let spec = points("100", "style = 'anti-entropy', view = 'partial', view_size = 3, passive_size = 3, crash = 0.3");
    let ran = run_spec(&spec);
    let row = &ran.finished.epidemics[0];
    assert!(row.epidemic.split.is_some_and(|split| split > 0), "{:?}", row.epidemic.split);
    assert!(row.warnings.len() == 1 && row.warnings[0].starts_with("split_view: in "), "{:?}", row.warnings);
    // Not only when hours are spent: whoever waits hears of it with the first of them.
    let (gossip, mut first) = (&spec.points()[0].gossip, None);
    let hear = &mut |so_far: SoFar| first = first.or_else(|| (so_far.split > 0).then_some(so_far.finished));
    epidemic(100, gossip, 1, 1, &AtomicBool::new(false), hear).expect("nobody interrupts");
    assert!(first.is_some_and(|first| first < gossip.trials), "{first:?} of {}", gossip.trials);
}

#[test]
fn a_run_stores_its_epidemics() {
    let spec = points("[50, 100]", "style = ['direct-mail', 'rumor'], trials = 5");
    let ran = run_spec(&spec);
    assert!(ran.finished.failure.is_none() && ran.finished.points.is_empty());
    let text = std::fs::read_to_string(ran.finished.dir.join("points.jsonl")).expect("points.jsonl");
    let lines: Vec<EpidemicResult> = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    assert_eq!(lines, ran.finished.epidemics, "what is on disk is what the run said");
    let planned: Vec<_> = spec.points().iter().map(Point::axes).collect();
    assert!(lines.len() == 4 && lines.iter().all(|line| line.schema == EPIDEMIC_SCHEMA));
    for line in &lines {
        assert!(planned.contains(&line.axes) && line.epidemic.trials == 5, "{line:?}");
        let absent = ["replicas", "rate", "commands", "payload", "loss", "k"];
        let absent = &absent[..if line.axis("style") == "rumor" { 5 } else { 6 }];
        assert!(absent.iter().all(|axis| !line.axes.contains_key(*axis)), "what gossip does not have: {:?}", line.axes);
    }
    let intervals = std::fs::read_to_string(ran.finished.dir.join("intervals.csv")).expect("intervals.csv");
    assert_eq!(intervals.lines().count(), 1, "an epidemic has no seconds");
    let manifest = manifest(&ran.finished.dir);
    assert_eq!((manifest["state"].as_str(), manifest["finished_points"].as_u64()), (Some("complete"), Some(4)));
}

#[test]
fn the_command_line_tells_epidemics() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let run = |more: &[&str]| {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench-configs/gossip-scale.toml");
        let fixed = ["run", config, "--set", "nodes=[100,200]", "--set", "gossip.trials=3", "--out"];
        let mut program = Command::new(env!("CARGO_BIN_EXE_quorumbench"));
        let output = program.args(fixed).arg(out.path()).args(more).output().expect("it runs");
        let texts = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
        (output.status.code(), texts)
    };
    let (code, [table, progress]) = run(&[]);
    assert_eq!(code, Some(0), "{progress}");
    assert!(
        table.contains("theory t") && table.contains("100") && progress.contains("nodes=200: "),
        "{table}{progress}"
    );
    let (code, [json, _]) = run(&["--json", "-q"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("one JSON document");
    assert_eq!(code, Some(0));
    assert_eq!(json["points"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["points"][0]["epidemic"]["coverage"]["mean"], 1.0);
    let (code, [_, error]) = run(&["--check"]);
    assert!(code == Some(2) && error.contains("--check"), "{error}");
    let (code, [plan, _]) = run(&["--dry-run"]);
    assert!(code == Some(0) && plan.contains("2 points") && plan.contains("[gossip]"), "{plan}");
}
