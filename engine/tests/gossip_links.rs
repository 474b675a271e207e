//! Gossip between nodes that are far from each other: nothing is early, as much is lost as was asked for, and a trial
//! waits for what is under way.
//!
//! Bounds are of what must have passed at least: how late a machine is beyond that is its own affair.

mod support;

use std::sync::atomic::AtomicBool;

use quorumbench::drive;
use quorumbench::results::{Epidemic, NodeLinks, Percentiles, Real, decode_histogram};
use support::{run_spec, spec, uring_works};

fn text(cluster: &str, network: &str, gossip: &str) -> String {
    format!(
        "cluster = {{ protocol = 'gossip', {cluster} }}\nnetwork = {{ emulation = 'shape', {network} }}\n\
         gossip = {{ {gossip} }}"
    )
}

fn run(cluster: &str, network: &str, gossip: &str) -> (Epidemic, Real, NodeLinks) {
    let point = spec(&text(cluster, network, gossip)).points().remove(0);
    let (epidemic, real) = drive::gossip(&point, 1, &AtomicBool::new(false), &mut |_| ())
        .unwrap_or_else(|error| panic!("{cluster} {network} {gossip}: {error}"));
    let link = real.link.clone().expect("links that are shaped");
    let dropped = if cluster.contains("quic") { 0 } else { real.dropped_frames };
    assert_eq!((real.malformed, dropped), (0, 0), "{cluster} {network} {gossip}: {real:?}");
    assert_eq!((epidemic.theory.rounds_last, epidemic.theory.residue), (None, None), "there is none of far nodes");
    // What a trial's end leaves under way has not come out.
    assert!(link.late_ns.count <= link.frames - link.lost_frames, "{link:?}");
    (epidemic, real, link)
}

/// Letters, which are what a trip is: none comes earlier than it takes, to a node of the same host or of another.
fn letters_take_their_way(transport: &str) {
    let cluster = format!("transport = '{transport}', nodes = 30, hosts = 2");
    let (epidemic, real, link) =
        run(&cluster, "delay = '45ms'", "style = 'direct-mail', interval = '20ms', trials = 3");
    assert!((epidemic.coverage.mean, epidemic.traffic.max) == (1.0, 29.0 / 30.0), "{transport}: {epidemic:?}");
    assert!(
        real.last_ns.p50 >= 45e6 && epidemic.rounds_mean.expect("some arrive").mean >= 3.0,
        "{transport}: {real:?}"
    );
    // In cycles of 20 ms, 45 ms after the first has begun is in the third; and nobody hears of it before.
    assert!(epidemic.curve[..3].iter().all(|&share| share < 1.5 / 30.0), "{transport}: {epidemic:?}");
    assert_eq!((link.frames, link.lost_frames, link.late_ns.count, real.strays), (87, 0, 87, 0), "{transport}");
    assert_eq!(link.shortest_ns, 45_000_000);
}

#[test]
fn letters_take_their_way_over_mem() {
    letters_take_their_way("mem");
}

#[test]
fn letters_take_their_way_over_tokio_tcp() {
    letters_take_their_way("tokio-tcp");
}

#[test]
fn letters_take_their_way_over_uring() {
    if uring_works() {
        letters_take_their_way("uring");
    }
}

#[test]
fn letters_take_their_way_over_quic() {
    letters_take_their_way("quic");
}

#[test]
fn as_much_is_lost_as_was_asked_for() {
    let network = "delay = '1ms', loss = 0.3";
    let gossip = "style = 'direct-mail', interval = '20ms', trials = 30";
    let (epidemic, _, link) = run("transport = 'mem', nodes = 200, hosts = 2", network, gossip);
    let (frames, lost) = (link.frames as f64, link.lost_frames as f64);
    assert_eq!((link.frames, link.late_ns.count + link.lost_frames), (30 * 199, link.frames), "each is held, or lost");
    assert!((lost / frames - 0.3).abs() < 5.0 * (0.3 * 0.7 / frames).sqrt(), "{link:?}");
    // Who is not reached is who was lost, of a letter each.
    assert!((epidemic.residue.mean - lost / (30.0 * 200.0)).abs() < 1e-9, "{epidemic:?}");
    assert!((epidemic.traffic.max - 199.0 / 200.0).abs() < 1e-9, "what is lost was sent");
}

#[test]
fn the_longer_the_way_the_later_is_the_last() {
    let gossip = "style = 'anti-entropy', exchange = 'pull', interval = '20ms', trials = 3";
    let [near, far] = ["0ms", "60ms"].map(|delay| {
        let network = format!("delay = '{delay}'");
        let (epidemic, ..) = run("transport = 'mem', nodes = 60, hosts = 2", &network, gossip);
        assert_eq!(epidemic.coverage.mean.to_bits(), 1.0_f64.to_bits(), "{epidemic:?}");
        epidemic
    });
    // A question and its answer take six cycles, and among so many nodes who learns has to be asked in turn, and more than
    // once; so nobody could hear before the seventh, nor all in one generation.
    assert!(far.curve[..6].iter().all(|&share| share < 1.5 / 60.0), "{far:?}");
    assert!(far.rounds_last.mean > near.rounds_last.mean + 6.0, "{near:?} {far:?}");
}

#[test]
fn regions_are_as_far_from_each_other_as_they_are_said_to_be() {
    // Of region a are the even nodes, with the origin, and of b the odd ones; and all on three hosts.
    let network = "delay = '1ms', round_trips = 'a-b 200ms'";
    let gossip = "style = 'direct-mail', interval = '50ms', trials = 2";
    let (epidemic, real, _) = run("transport = 'mem', nodes = 40, hosts = 3", network, gossip);
    assert!((epidemic.coverage.mean, real.last_ns.p50 >= 100e6) == (1.0, true), "{epidemic:?} {real:?}");
    let reached = epidemic.curve[2];
    assert!(reached <= 0.5 + 1e-9, "only its own region hears before 100 ms: {epidemic:?}");
}

/// Every style that loss does not break comes to an end, whatever is lost, late or out of order.
#[test]
fn every_style_comes_to_an_end_over_bad_links() {
    let bad = "delay = '5ms', jitter = '3ms', jitter_distribution = 'pareto', loss = 0.3, reorder = 0.2, \
               reorder_delay = '30ms', bandwidth = '1MB'";
    for (network, gossip) in [
        (bad, "style = 'direct-mail'"),
        (bad, "style = 'anti-entropy', exchange = 'push-pull', fanout = 2"),
        (bad, "style = 'anti-entropy', exchange = 'push', rumors = 3, rounds = 'asynchronous', payload = '20KiB'"),
        (bad, "style = 'anti-entropy', exchange = 'pull', crash = 0.05"),
        (bad, "exchange = 'push', k = 3"),
        (bad, "exchange = 'pull', k = 2, loss = 0.1"),
        (bad, "exchange = 'push-pull', k = 2, minimize = true"),
        (bad, "exchange = 'push-pull', interest = 'blind', stop = 'coin', k = 3"),
        (bad, "exchange = 'push-pull', k = 2, crash = 0.05, join = 0.03, view = 'partial'"),
        (bad, "style = 'median-counter'"),
        (
            "delay = '500us', loss = 0.3",
            "exchange = 'push-pull', k = 2, connection_limit = 1, hunt_limit = 'unlimited'",
        ),
        ("delay = '500us', loss = 0.3", "style = 'anti-entropy', exchange = 'pull', connection_limit = 1, fanout = 2"),
        ("delay = '30ms', jitter = '20ms'", "style = 'plumtree'"),
    ] {
        let gossip = format!("{gossip}, interval = '20ms', trials = 3");
        let (epidemic, _, link) = run("transport = 'mem', nodes = 60, hosts = 3", network, &gossip);
        assert_eq!(epidemic.trials, 3, "{gossip}");
        let lost = link.lost_frames as f64 / link.frames as f64;
        let expected = if network.contains("loss") { 0.3 } else { 0.0 };
        let error = 6.0 * (0.21 / link.frames as f64).sqrt();
        assert!((lost - expected).abs() <= error, "{gossip}: {lost} of {link:?}");
        if gossip.contains("anti-entropy") && !gossip.contains("crash") || gossip.contains("plumtree") {
            assert!(epidemic.residue.max <= 0.0, "{gossip}: {epidemic:?}");
        }
    }
}

#[test]
fn datagrams_over_quic_may_be_lost_by_links_too() {
    let gossip = "style = 'anti-entropy', exchange = 'push-pull', interval = '40ms', trials = 2";
    let (epidemic, real, link) =
        run("transport = 'quic', nodes = 100, hosts = 3", "delay = '10ms', jitter = '2ms', loss = 0.3", gossip);
    assert!(epidemic.residue.max <= 0.0 && link.lost_frames > 0, "{epidemic:?} {link:?}");
    assert!((0.5..0.8).contains(&real.travelled), "two of three nodes are elsewhere: {real:?}");
}

/// Longer than it takes to give up an update that the transport has lost: what a link holds is not lost.
#[test]
fn a_trial_waits_for_what_is_under_way() {
    let gossip = "style = 'rumor', exchange = 'push', interest = 'blind', stop = 'counter', k = 1, interval = '10ms', \
                  trials = 2";
    let (epidemic, real, link) = run("transport = 'mem', nodes = 2, hosts = 2", "delay = '400ms'", gossip);
    // The origin tells the other once, and forgets; who then tells the origin.
    assert!((epidemic.coverage.mean, link.frames, link.late_ns.count) == (1.0, 4, 4), "{epidemic:?} {link:?}");
    assert!(real.last_ns.p50 >= 400e6 && real.strays == 0, "{real:?}");
}

#[test]
fn a_run_stores_what_links_did() {
    let network = "delay = ['0us', '2ms']";
    let gossip = "style = 'anti-entropy', interval = '20ms', trials = 2";
    let spec = spec(&text("transport = 'mem', nodes = 40", network, gossip));
    let ran = run_spec(&spec).finished;
    assert_eq!(ran.epidemics.len(), 2, "{:?}", ran.failure);
    for result in &ran.epidemics {
        let link = result.real.as_ref().and_then(|real| real.link.as_ref()).expect("what links did");
        let delay = if result.axis("delay") == "2ms" { 2_000_000 } else { 0 };
        assert!(link.shortest_ns == delay && link.late_ns.count > 0, "{} {link:?}", result.axis("delay"));
        assert_eq!(Percentiles::from(&decode_histogram(&link.late_histogram).expect("a histogram")), link.late_ns);
        assert_eq!(result.axis("emulation"), "shape");
    }
}
