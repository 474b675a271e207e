//! Links that carry real packets: they are what they were to be, TCP and QUIC live with that, and nothing is left of
//! them. Skipped, saying why, where the machine or the user may not have them.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::time::Duration;

use quorumbench::drive::{EventKind, Fault, FaultKind, LinkCounts, Outcome, probe_packets};
use quorumbench::spec::Mover;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::Value as Json;
use support::alive::{children, is_alive, wait_until};
use support::checked::checked;
use support::desk::{Desk, PATIENCE, end, fails, signal, whole};
use support::{manifest, measure, packets_work, packets_work_by, uring_works};

/// A traced run of three replicas and three clients over links.
fn run(set: &[&str], faults: &[Fault]) -> Outcome {
    let links = ["network.emulation=packets", "network.delay=1ms", "network.client_delay=1ms", "duration=1s"];
    checked(&[&links, set].concat(), faults).0
}

/// What moves packets here.
fn movers() -> impl Iterator<Item = Mover> {
    Mover::ALL.iter().copied().filter(|&mover| packets_work_by(mover))
}

fn counts(outcome: &Outcome) -> LinkCounts {
    outcome.packets.as_ref().expect("there were links").together()
}

#[test]
fn every_transport_over_links_that_lose() {
    let all = movers().flat_map(|mover| ["tokio-tcp", "quic", "uring"].map(|transport| (mover, transport)));
    for (mover, transport) in all {
        if transport == "uring" && !uring_works() {
            continue;
        }
        for placement in ["threads", "processes"] {
            let set = [format!("transport={transport}"), format!("placement={placement}"), format!("mover={mover}")];
            let set: Vec<_> = set.iter().map(String::as_str).chain(["network.loss=0.02"]).collect();
            let outcome = run(&set, &[]);
            let LinkCounts { packets, lost, reordered, bytes, .. } = counts(&outcome);
            assert!(packets > 100 && lost > 0 && reordered == 0 && bytes > packets * 40, "{set:?}");
            // Each way to the leader and back, and to a follower and back: what is faster came another way.
            let fastest = outcome.recording.response.min();
            assert!(fastest >= 4_000_000, "{set:?}: {fastest}");
        }
    }
}

#[test]
fn loss_is_what_it_was_to_be_alone_and_in_bursts() {
    for (mover, burst) in movers().flat_map(|mover| [1.0, 3.0].map(|burst| (mover, burst))) {
        // What is lost makes TCP wait, so there are many connections, and much to send.
        let outcome = measure(
            &format!(
                "[cluster]\nprotocol = 'echo'\ntransport = 'tokio-tcp'\n[load]\narrival = 'closed'\nclients = 8\n\
                 payload = '512B'\n[network]\nemulation = 'packets'\nmover = '{mover}'\nloss = 0.05\nloss_burst = {burst:?}\n\
                 [run]\nwarmup = '200ms'\nduration = '2s'\n"
            ),
            &[],
        );
        let LinkCounts { packets, lost, dropped, .. } = counts(&outcome);
        let (packets, lost) = (packets as f64, lost as f64);
        assert!(packets > 500.0 && dropped == 0, "{packets} {dropped}");
        // The variance of a count of a two-state chain: binomial but for its memory, which lasts 2 x burst - 1 as long.
        let deviation = (packets * 0.05 * 0.95 * (2.0 * burst - 1.0)).sqrt();
        assert!((lost - packets * 0.05).abs() < 5.0 * deviation, "{mover}: {lost} of {packets}, in bursts of {burst}");
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
    for mover in movers() {
        shape_agrees_with(mover);
    }
}

fn shape_agrees_with(mover: Mover) {
    let packets = format!("packets'\nmover = '{mover}");
    let run = |emulation: &str, load: &str, network: &str| {
        let text = format!(
            "[cluster]\nprotocol = 'echo'\ntransport = 'tokio-tcp'\n[load]\narrival = 'closed'\n{load}\n\
             [network]\nemulation = '{emulation}'\n{network}\n[run]\nwarmup = '500ms'\nduration = '2s'\n"
        );
        measure(&text, &[])
    };
    let [near, link] = ["shape", &packets].map(|emulation| {
        let far = run(emulation, "outstanding = 1", "client_delay = '40ms'");
        far.recording.response.value_at_quantile(0.5) as f64
    });
    assert!(near >= 80e6 && link >= 80e6, "{mover}: there and back takes {near} and {link} ns");
    assert!((0.8..1.25).contains(&(link / near)), "{mover}: there and back takes {near} and {link} ns");

    let [near, link] = ["shape", &packets].map(|emulation| {
        let narrow = run(emulation, "outstanding = 64\npayload = '1KiB'", "bandwidth = '1MiB'");
        // A little more goes than the payload, and what is on the way as the window opens.
        let bytes = narrow.recording.tally.completed * 1024;
        bytes as f64 * 1e9 / narrow.window_ns as f64 / f64::from(1 << 20)
    });
    assert!(near < 1.1 && link < 1.1, "{mover}: {near} and {link} of the rate");
    assert!((0.5..2.0).contains(&(link / near)), "{mover}: {near} and {link} of the rate");
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
    for mover in movers() {
        a_result_says_what_it_did(mover);
    }
}

fn a_result_says_what_it_did(mover: Mover) {
    let desk = Desk::new(CONFIG);
    let set = format!("mover={mover}");
    let said = desk.run(&["run", "x.toml", "--json", "--set", "emulation=[none,packets]", "--set", &set]);
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
    assert_eq!(packets["mover"], mover.name());
    match mover {
        Mover::Tun => {
            let worked = packets["mover_busy"].as_f64() > Some(0.0);
            assert!(link["late_ns"]["count"].as_u64() > Some(100) && worked, "{link}");
        }
        Mover::Netem => {
            let unknown = [&link["late_ns"], &link["late_histogram"], &packets["mover_busy"], &packets["overrun"]];
            assert!(unknown.iter().all(|each| each.is_null()), "{link}");
        }
    }
}

/// One way of one link is as bad as the config says, and the others are as good.
#[test]
fn a_link_of_its_own_loses_what_others_do_not() {
    for mover in movers() {
        let own = "[[links]]\nfrom = 'clients'\nto = 0\nloss = 0.2\n";
        let desk = Desk::new(&format!("{}{own}", CONFIG.replace("loss = 0.01", "")));
        let set = ["--set", &format!("mover={mover}"), "--set", "transport=quic", "--set", "protocol=star"];
        let said =
            desk.run(&[&["run", "x.toml", "--json", "--set", "clients=1", "--set", "rate=2000"], &set[..]].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        let packets = &whole(&said.out)["points"][0]["link"]["packets"];
        let links = packets["links"].as_array().expect("links");
        let is_bad = |link: &&Json| (&link["from"], &link["to"]) == (&Json::from(3), &Json::from(0));
        let lost = |link: &Json| link["lost"].as_u64().expect("a count");
        assert!(links.iter().any(|link| is_bad(&link) && lost(link) > 20), "{packets}");
        assert!(links.iter().all(|link| is_bad(&link) || lost(link) == 0), "{packets}");
        let (asked, loss) = (packets["loss_asked"].as_f64(), packets["loss"].as_f64());
        assert!(asked > Some(0.0) && asked < Some(0.2) && loss > asked.map(|asked| asked / 2.0), "{packets}");
    }
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
fn in_the_middle(mover: Mover, placement: &str) -> (Desk, Child, Vec<(String, Pid)>, BTreeSet<String>) {
    let desk = Desk::new(CONFIG);
    let (set, duration) = (format!("mover={mover}"), "run.duration=60s");
    let mut run =
        desk.command(&["run", "x.toml", "--set", duration, "--set", placement, "--set", &set]).spawn().expect("run");
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
        held.len() == 4 && (mover == Mover::Netem || found.iter().any(|(name, _)| name == "mover"))
    });
    assert!(are_held(&held));
    (desk, run, found, held)
}

fn placements() -> impl Iterator<Item = (Mover, &'static str)> {
    movers().flat_map(|mover| ["placement=threads", "placement=processes"].map(|placement| (mover, placement)))
}

fn nothing_is_left(children: &[(String, Pid)], namespaces: &BTreeSet<String>) {
    for (name, process) in children {
        wait_until(&format!("{name} is gone"), PATIENCE, || !is_alive(*process));
    }
    wait_until("the namespaces are gone", PATIENCE, || !are_held(namespaces));
    let devices = fs::read_to_string("/proc/thread-self/net/dev").expect("devices");
    assert!(!devices.contains("link:") && !devices.contains("to0:"), "no device was ever here: {devices}");
}

#[test]
fn nothing_is_left_of_a_run_that_is_killed() {
    for (mover, placement) in placements() {
        let (_desk, run, children, namespaces) = in_the_middle(mover, placement);
        signal(&run, Signal::KILL);
        nothing_is_left(&children, &namespaces);
        assert_eq!(end(run).code, None);
    }
}

#[test]
fn nothing_is_left_of_a_run_that_is_stopped() {
    for (mover, placement) in placements() {
        let (desk, run, children, namespaces) = in_the_middle(mover, placement);
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
    let (_desk, run, children, namespaces) = in_the_middle(Mover::Tun, "placement=threads");
    let (_, mover) = children.iter().find(|(name, _)| name == "mover").expect("it is there");
    kill_process(*mover, Signal::KILL).expect("it runs");
    let said = end(run);
    let what = format!("the mover of packets (process {}) was killed by signal 9\n", mover.as_raw_nonzero());
    assert!(said.code == Some(1) && said.err.contains(&what), "{said:?}");
    nothing_is_left(&children, &namespaces);
}

#[test]
fn without_the_privileges_it_says_which_and_nothing_is_begun() {
    Mover::ALL.iter().for_each(|mover| refused_without_the_privileges(&format!("mover={mover}")));
}

fn refused_without_the_privileges(set: &str) {
    let desk = Desk::new(CONFIG);
    // A program that is run from this thread has no right to them, whoever runs it.
    let unprivileged = std::thread::scope(|scope| {
        let body = || {
            for capability in [CapabilitySet::NET_ADMIN, CapabilitySet::SYS_ADMIN] {
                // Who may not drop it does not have it.
                let _ = remove_capability_from_bounding_set(capability);
            }
            desk.run(&["run", "x.toml", "--quiet", "--set", set])
        };
        scope.spawn(body).join().expect("it was run")
    });
    let parts = ["`network.emulation` \"packets\": cannot ", "CAP_NET_ADMIN", "sudo", "\"shape\""];
    if unprivileged.err.contains("cannot make a TUN device") {
        println!("skipped: {}", unprivileged.err);
        return;
    }
    fails(&unprivileged, 1, &parts);
    assert!(!desk.path("results").exists(), "not even a folder");
}

#[test]
fn what_netem_takes_and_is_not_there_is_named_and_nothing_is_begun() {
    let Err(error) = probe_packets(Mover::Netem) else { return println!("skipped: it is there") };
    let error = error.to_string();
    if error.contains("cannot make a network namespace") {
        return println!("skipped: {error}");
    }
    let desk = Desk::new(CONFIG);
    let arguments = ["run", "x.toml", "--quiet", "--set", "mover=netem"];
    let hint = if error.contains("no `netem`") { "`modprobe sch_netem`" } else { "iproute2" };
    fails(&desk.run(&arguments), 1, &["`network.emulation` \"packets\": ", hint, "`network.mover` \"tun\""]);
    // What the user's own `PATH` leads to has no business with privileges.
    let trap = desk.path("trap");
    fs::create_dir(&trap).expect("a folder");
    for program in ["ip", "tc"] {
        let path = trap.join(program);
        fs::write(&path, format!("#!/bin/sh\n: > {}\n", desk.path("caught").display())).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("to be run");
    }
    let led = end(desk.command(&arguments).env("PATH", &trap).spawn().expect("run"));
    fails(&led, 1, &["`network.emulation` \"packets\": ", hint, "`network.mover` \"tun\""]);
    assert!(!desk.path("caught").exists(), "what it is led to is not run");
    assert!(!desk.path("results").exists(), "not even a folder");
}

#[test]
fn mover_is_not_for_the_command_line() {
    let desk = Desk::new("");
    fails(&desk.run(&["mover"]), 2, &["`mover` is not for the command line", "network.emulation"]);
    assert!(!desk.run(&["--help"]).out.contains("mover"), "nor in its help");
}
