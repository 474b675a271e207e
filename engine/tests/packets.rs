//! Links that carry real packets: they are what they were to be, TCP and QUIC live with that, and nothing is left of
//! them. Skipped, saying why, where the machine or the user may not have them.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::Child;
use std::time::Duration;

use quorumbench::drive::{EventKind, Fault, FaultKind, LinkCounts, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::Value as Json;
use support::alive::{children, is_alive, wait_until};
use support::checked::checked;
use support::desk::{Desk, PATIENCE, end, fails, signal, whole};
use support::{manifest, measure, packets_work, uring_works};

/// A traced run of three replicas and three clients over links.
fn run(set: &[&str], faults: &[Fault]) -> Outcome {
    let links = ["network.emulation=packets", "network.delay=1ms", "network.client_delay=1ms", "duration=1s"];
    checked(&[&links, set].concat(), faults).0
}

fn counts(outcome: &Outcome) -> LinkCounts {
    outcome.packets.as_ref().expect("there were links").together()
}

#[test]
fn every_transport_over_links_that_lose() {
    if !packets_work() {
        return;
    }
    for transport in ["tokio-tcp", "quic", "uring"] {
        if transport == "uring" && !uring_works() {
            continue;
        }
        for placement in ["threads", "processes"] {
            let set = [format!("transport={transport}"), format!("placement={placement}"), "network.loss=0.02".into()];
            let outcome = run(&set.each_ref().map(String::as_str), &[]);
            let LinkCounts { packets, lost, reordered, bytes, .. } = counts(&outcome);
            assert!(packets > 100 && lost > 0 && reordered == 0 && bytes > packets * 40, "{transport} {placement}");
            // Each way to the leader and back, and to a follower and back: what is faster came another way.
            let fastest = outcome.recording.response.min();
            assert!(fastest >= 4_000_000, "{transport} {placement}: {fastest}");
        }
    }
}

#[test]
fn loss_is_what_it_was_to_be_alone_and_in_bursts() {
    if !packets_work() {
        return;
    }
    for burst in [1.0, 3.0] {
        // What is lost makes TCP wait, so there are many connections, and much to send.
        let outcome = measure(
            &format!(
                "[cluster]\nprotocol = 'echo'\ntransport = 'tokio-tcp'\n[load]\narrival = 'closed'\nclients = 8\n\
                 payload = '512B'\n[network]\nemulation = 'packets'\nloss = 0.05\nloss_burst = {burst:?}\n\
                 [run]\nwarmup = '200ms'\nduration = '2s'\n"
            ),
            &[],
        );
        let LinkCounts { packets, lost, dropped, .. } = counts(&outcome);
        let (packets, lost) = (packets as f64, lost as f64);
        assert!(packets > 500.0 && dropped == 0, "{packets} {dropped}");
        // The variance of a count of a two-state chain: binomial but for its memory, which lasts 2 x burst - 1 as long.
        let deviation = (packets * 0.05 * 0.95 * (2.0 * burst - 1.0)).sqrt();
        assert!((lost - packets * 0.05).abs() < 5.0 * deviation, "{lost} of {packets}, in bursts of {burst}");
    }
}

#[test]
fn what_is_held_back_is_overtaken_and_nothing_is_lost_for_it() {
    if !packets_work() {
        return;
    }
    let outcome = run(&["transport=tokio-tcp", "network.reorder=0.2", "network.reorder_delay=3ms"], &[]);
    let LinkCounts { packets, lost, reordered, .. } = counts(&outcome);
    let share = reordered as f64 / packets as f64;
    assert!((0.1..0.3).contains(&share) && lost == 0, "{share} {lost}");
}

/// What emulates links, and whether it is asked to do so by the node or by a process beside it, is not to be seen in how
/// far and how fast they are.
#[test]
fn shape_and_packets_agree_on_distance_and_rate() {
    if !packets_work() {
        return;
    }
    let run = |emulation: &str, load: &str, network: &str| {
        let text = format!(
            "[cluster]\nprotocol = 'echo'\ntransport = 'tokio-tcp'\n[load]\narrival = 'closed'\n{load}\n\
             [network]\nemulation = '{emulation}'\n{network}\n[run]\nwarmup = '500ms'\nduration = '2s'\n"
        );
        measure(&text, &[])
    };
    let [shape, packets] = ["shape", "packets"].map(|emulation| {
        let far = run(emulation, "outstanding = 1", "client_delay = '40ms'");
        far.recording.response.value_at_quantile(0.5) as f64
    });
    assert!(shape >= 80e6 && packets >= 80e6, "there and back takes {shape} and {packets} ns");
    assert!((0.8..1.25).contains(&(packets / shape)), "there and back takes {shape} and {packets} ns");

    let [shape, packets] = ["shape", "packets"].map(|emulation| {
        let narrow = run(emulation, "outstanding = 64\npayload = '1KiB'", "bandwidth = '1MiB'");
        // A little more goes than the payload, and what is on the way as the window opens.
        let bytes = narrow.recording.tally.completed * 1024;
        bytes as f64 * 1e9 / narrow.window_ns as f64 / f64::from(1 << 20)
    });
    assert!(shape < 1.1 && packets < 1.1, "{shape} and {packets} of the rate");
    assert!((0.5..2.0).contains(&(packets / shape)), "{shape} and {packets} of the rate");
}

#[test]
fn a_replica_comes_back_to_where_it_was() {
    if !packets_work() {
        return;
    }
    let faults = [Fault::new(Duration::from_millis(200), FaultKind::Restart)];
    for transport in ["transport=tokio-tcp", "transport=quic"] {
        let outcome = run(&[transport, "duration=1500ms"], &faults);
        assert!(outcome.events.iter().any(|event| event.kind == EventKind::Restarted), "{:?}", outcome.events);
    }
    let kill = [Fault::new(Duration::from_millis(200), FaultKind::Kill)];
    let outcome = run(&["transport=tokio-tcp", "placement=processes", "duration=1500ms"], &kill);
    let leaders = outcome.events.iter().filter(|event| event.kind == EventKind::Leader).count();
    assert!(leaders >= 2, "another one leads: {:?}", outcome.events);
}

const CONFIG: &str = "name = 'packets'
[cluster]
transport = 'tokio-tcp'
[load]
rate = 500
[network]
emulation = 'packets'
delay = '1ms'
loss = 0.01
[run]
warmup = '100ms'
duration = '1s'
";

#[test]
fn a_result_says_what_the_links_did() {
    if !packets_work() {
        return;
    }
    let desk = Desk::new(CONFIG);
    let said = desk.run(&["run", "x.toml", "--json", "--set", "emulation=[none,packets]"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let document = whole(&said.out);
    let [bare, linked] = ["none", "packets"].map(|emulation| {
        let points = document["points"].as_array().expect("points");
        points.iter().find(|point| point["axes"]["emulation"] == emulation).expect("a point of each")
    });
    assert!(bare["link"].is_null() && bare["axes"]["network_mtu"].is_null());
    let (link, packets) = (&linked["link"], &linked["link"]["packets"]);
    assert_eq!((&packets["loss_asked"], &linked["axes"]["network_mtu"]), (&0.01.into(), &"1500B".into()));
    let sum = |name: &str| {
        let links = packets["links"].as_array().expect("links").iter();
        links.map(|link| link[name].as_u64().expect("a count")).sum::<u64>()
    };
    for name in ["packets", "bytes", "lost", "dropped", "reordered"] {
        assert_eq!(packets[name], sum(name), "{name}");
    }
    let share = packets["lost"].as_f64().expect("a count") / packets["packets"].as_f64().expect("a count");
    assert_eq!(packets["loss"].as_f64(), Some(share));
    assert!(link["late_ns"]["count"].as_u64() > Some(100) && packets["mover_busy"].as_f64() > Some(0.0), "{link}");
}

/// The network namespaces of some processes' threads.
fn namespaces(processes: impl IntoIterator<Item = Pid>) -> BTreeSet<String> {
    let links = processes.into_iter().flat_map(|process| {
        let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()));
        threads.into_iter().flatten().flatten().filter_map(|thread| fs::read_link(thread.path().join("ns/net")).ok())
    });
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

/// Whether anybody is in one of these, or has it open.
fn are_held(namespaces: &BTreeSet<String>) -> bool {
    let everybody = fs::read_dir("/proc").expect("Linux has one").flatten();
    let places = everybody.flat_map(|process| {
        let threads = fs::read_dir(process.path().join("task")).into_iter().flatten().flatten();
        let inside = threads.map(|thread| thread.path().join("ns/net"));
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten().map(|file| file.path());
        inside.chain(open).collect::<Vec<_>>()
    });
    let mut links = places.into_iter().filter_map(|place| fs::read_link(place).ok());
    links.any(|link| namespaces.contains(&*link.to_string_lossy()))
}

/// A run that goes on for long: itself, its children, and the namespaces of its nodes.
fn in_the_middle(placement: &str) -> (Desk, Child, Vec<(String, Pid)>, BTreeSet<String>) {
    let desk = Desk::new(CONFIG);
    let mut run =
        desk.command(&["run", "x.toml", "--set", "run.duration=60s", "--set", placement]).spawn().expect("run");
    let (mut found, mut held) = (Vec::new(), BTreeSet::new());
    // Of this process's first thread only: others may be in namespaces of other tests, whose numbers are used again.
    let own = fs::read_link(format!("/proc/{}/ns/net", std::process::id())).expect("it is somewhere");
    let own = BTreeSet::from([own.to_string_lossy().into_owned()]);
    wait_until("four nodes and a mover", PATIENCE, || {
        if run.try_wait().expect("a child").is_some() {
            let mut said = String::new();
            run.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
            panic!("{placement}: {said}");
        }
        found = children(Pid::from_child(&run));
        let everybody = found.iter().map(|(_, process)| *process).chain([Pid::from_child(&run)]);
        held = namespaces(everybody).difference(&own).cloned().collect();
        held.len() == 4 && found.iter().any(|(name, _)| name == "mover")
    });
    assert!(are_held(&held));
    (desk, run, found, held)
}

fn nothing_is_left(children: &[(String, Pid)], namespaces: &BTreeSet<String>) {
    for (name, process) in children {
        wait_until(&format!("{name} is gone"), PATIENCE, || !is_alive(*process));
    }
    wait_until("the namespaces are gone", PATIENCE, || !are_held(namespaces));
    let devices = fs::read_to_string("/proc/thread-self/net/dev").expect("devices");
    assert!(!devices.contains("link:"), "no device was ever here: {devices}");
}

#[test]
fn nothing_is_left_of_a_run_that_is_killed() {
    if !packets_work() {
        return;
    }
    for placement in ["placement=threads", "placement=processes"] {
        let (_desk, run, children, namespaces) = in_the_middle(placement);
        signal(&run, Signal::KILL);
        nothing_is_left(&children, &namespaces);
        assert_eq!(end(run).code, None);
    }
}

#[test]
fn nothing_is_left_of_a_run_that_is_stopped() {
    if !packets_work() {
        return;
    }
    for placement in ["placement=threads", "placement=processes"] {
        let (desk, run, children, namespaces) = in_the_middle(placement);
        signal(&run, Signal::INT);
        let said = end(run);
        assert!(said.code == Some(1) && said.err.contains("error: interrupted"), "{said:?}");
        nothing_is_left(&children, &namespaces);
        assert_eq!(manifest(&desk.only_run("results"))["state"], Json::from("interrupted"));
    }
}

#[test]
fn a_mover_that_dies_is_named() {
    if !packets_work() {
        return;
    }
    let (_desk, run, children, namespaces) = in_the_middle("placement=threads");
    let (_, mover) = children.iter().find(|(name, _)| name == "mover").expect("it is there");
    kill_process(*mover, Signal::KILL).expect("it runs");
    let said = end(run);
    let what = format!("the mover of packets (process {}) was killed by signal 9\n", mover.as_raw_nonzero());
    assert!(said.code == Some(1) && said.err.contains(&what), "{said:?}");
    nothing_is_left(&children, &namespaces);
}

#[test]
fn without_the_privileges_it_says_which_and_nothing_is_begun() {
    let desk = Desk::new(CONFIG);
    // A program that is run from this thread has no right to them, whoever runs it.
    let unprivileged = std::thread::scope(|scope| {
        let body = || {
            for capability in [CapabilitySet::NET_ADMIN, CapabilitySet::SYS_ADMIN] {
                // Who may not drop it does not have it.
                let _ = remove_capability_from_bounding_set(capability);
            }
            desk.run(&["run", "x.toml", "--quiet"])
        };
        scope.spawn(body).join().expect("it was run")
    });
    let parts = ["`network.emulation` \"packets\": cannot ", "CAP_NET_ADMIN", "sudo", "\"shape\""];
    if unprivileged.err.contains("/dev/net/tun") {
        println!("skipped: {}", unprivileged.err);
        return;
    }
    fails(&unprivileged, 1, &parts);
    assert!(!desk.path("results").exists(), "not even a folder");
}

#[test]
fn mover_is_not_for_the_command_line() {
    let desk = Desk::new("");
    fails(&desk.run(&["mover"]), 2, &["`mover` is not for the command line", "network.emulation"]);
    assert!(!desk.run(&["--help"]).out.contains("mover"), "nor in its help");
}
