//! The config layer from outside: expansions, round trips, bundled configs, and no panic whatever the text.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorumbench::spec::{
    Arrival, Fault, FaultKind, Keys, MachineName, Point, ProtocolName, ReadsMode, Spec, Target, TransportName, Wait,
    question,
};
use quorumbench_protocols::Prng;
use serde_json::json;

fn spec(text: &str, overrides: &[&str]) -> Spec {
    let overrides: Vec<_> = overrides.iter().map(|each| (*each).to_owned()).collect();
    Spec::parse(text, "test.toml", &overrides).unwrap_or_else(|error| panic!("{error}"))
}

/// The points' values of these axes, comma-separated; what does not apply is empty.
fn rows(points: &[Point], axes: &[&str]) -> Vec<String> {
    let cell = |point: &Point, axis: &str| match point.axes().get(axis) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    points.iter().map(|point| axes.iter().map(|axis| cell(point, axis)).collect::<Vec<_>>().join(",")).collect()
}

#[test]
fn defaults_are_the_documented_ones() {
    let spec = spec("name = 'x'", &[]);
    let [point] = &spec.points()[..] else { panic!("one point") };
    let cluster = &point.cluster;
    assert_eq!((cluster.protocol, cluster.replicas), (ProtocolName::Raft, 3));
    assert_eq!((cluster.transport, cluster.machine), (TransportName::Uring, MachineName::Null));
    assert_eq!((cluster.wait, cluster.bind.to_string().as_str(), cluster.base_port), (Wait::Block, "127.0.0.1", 0));
    assert_eq!((cluster.election_timeout.as_millis(), cluster.heartbeat.as_millis()), (300, 50));
    let batch = &point.batch;
    assert_eq!((batch.commands, batch.bytes, batch.linger, batch.window), (64, 65536, Duration::ZERO, 32));
    let load = &point.load;
    assert_eq!(load.arrival, Arrival::Poisson { rate: 10_000.0 });
    assert_eq!((load.clients, load.payload, load.in_flight_limit), (1, 16, 65536));
    assert_eq!((load.keys, load.resend), (Keys::Uniform { count: 1_000_000 }, Duration::from_secs(1)));
    assert_eq!(point.reads.mode, ReadsMode::Log);
    let transport = &point.transport_options;
    let built_in = quorumbench_transports::Options::default();
    assert_eq!((&transport.congestion, transport.gather_threshold), (&built_in.congestion, built_in.gather_threshold));
    assert_eq!(transport.zero_copy_threshold, None);
    let run = spec.run();
    assert_eq!((run.warmup.as_secs(), run.duration.as_secs(), run.repetitions, run.seed), (1, 5, 1, 1));
    assert_eq!(spec.varied(), [""; 0]);
}

#[test]
fn later_keys_vary_fastest_and_lists_keep_their_order() {
    let text = "name = 'x'\n[batch]\ncommands = [64, 1]\n[cluster]\nreplicas = [5, 3]\nprotocol = ['star', 'raft']";
    let points = spec(text, &[]).points();
    assert_eq!(
        rows(&points, &["protocol", "replicas", "commands"]),
        ["star,5,64", "star,5,1", "star,3,64", "star,3,1", "raft,5,64", "raft,5,1", "raft,3,64", "raft,3,1"],
    );
}

#[test]
fn what_does_not_apply_makes_no_points() {
    let text =
        "name = 'x'\n[load]\narrival = ['poisson', 'closed', 'constant']\nrate = [1, 2]\noutstanding = [8, 9, 10]";
    let loops = spec(text, &[]);
    assert_eq!(
        rows(&loops.points(), &["arrival", "rate", "outstanding"]),
        ["poisson,1,", "poisson,2,", "closed,,8", "closed,,9", "closed,,10", "constant,1,", "constant,2,"],
    );
    assert_eq!(loops.varied(), ["arrival", "rate", "outstanding"]);
    assert_eq!(spec(text, &["arrival=closed"]).varied(), ["outstanding"], "no point has a rate");

    let points = spec("name = 'x'", &["transport=[uring,mem]", "placement=[threads,processes]"]).points();
    assert_eq!(rows(&points, &["transport", "placement"]), ["uring,threads", "uring,processes", "mem,"]);
    let note = |overrides: &[&str]| spec("name = 'x'", overrides).note();
    let shared = "`cluster.placement` \"processes\" is passed over at 2 of 4 points of x, those with `cluster.transport` \"mem\": \
                  processes have no memory in common";
    assert_eq!(note(&["transport=[uring,mem]", "placement=processes", "replicas=[3,5]"]).as_deref(), Some(shared));
    for silent in
        [&["transport=[uring,mem]"][..], &["placement=processes"], &["transport=[uring,sim]", "placement=processes"]]
    {
        assert_eq!(note(silent), None, "{silent:?}");
    }

    let overrides = ["machine=[null,kv]", "reads=[0,0.5]", "transport=[mem,uring]", "zero_copy_threshold=[off,16KiB]"];
    let points = spec("name = 'x'", &overrides).points();
    assert_eq!(
        rows(&points, &["transport", "machine", "reads", "zero_copy_threshold"]),
        [
            "mem,null,,",
            "mem,kv,0,",
            "mem,kv,0.5,",
            "uring,null,,off",
            "uring,null,,16KiB",
            "uring,kv,0,off",
            "uring,kv,0,16KiB",
            "uring,kv,0.5,off",
            "uring,kv,0.5,16KiB",
        ],
    );
    assert!(points.iter().filter(|point| point.cluster.machine == MachineName::Null).all(|p| p.load.reads == 0.0));

    let points = spec("name = 'x'", &["machine=[null,kv]", "reads.mode=[index,stale]"]).points();
    assert_eq!(rows(&points, &["machine", "mode"]), ["null,", "kv,index", "kv,stale"]);
}

#[test]
fn rules_of_gossip_make_points_where_they_do_something() {
    let text = "name = 'x'\ncluster = { protocol = 'gossip', transport = 'population' }";
    let limits = spec(text, &["connection_limit=[unlimited,1]", "hunt_limit=[0,2]"]);
    assert_eq!(rows(&limits.points(), &["connection_limit", "hunt_limit"]), ["unlimited,", "1,0", "1,2"]);
    let counters = spec(text, &["exchange=[push,push-pull]", "stop=[counter,coin]", "minimize=[false,true]"]);
    assert_eq!(
        rows(&counters.points(), &["exchange", "stop", "minimize"]),
        ["push,counter,", "push,coin,", "push-pull,counter,false", "push-pull,counter,true", "push-pull,coin,"],
    );
    let asked = spec(
        text,
        &["exchange=[push,pull]", "interest=[feedback,blind]", "stop=[counter,coin]", "pulls=[together,each]"],
    );
    assert_eq!(
        rows(&asked.points(), &["exchange", "interest", "stop", "pulls"]),
        [
            "push,feedback,counter,",
            "push,feedback,coin,",
            "push,blind,counter,",
            "push,blind,coin,",
            "pull,feedback,counter,together",
            "pull,feedback,counter,each",
            "pull,feedback,coin,together",
            "pull,feedback,coin,each",
            "pull,blind,counter,",
            "pull,blind,coin,",
        ],
    );
    let tossed = spec(text, &["interest=[feedback,blind]", "stop=[counter,coin]", "toss=[after,before]"]);
    assert_eq!(
        rows(&tossed.points(), &["interest", "stop", "toss"]),
        ["feedback,counter,", "feedback,coin,", "blind,counter,", "blind,coin,after", "blind,coin,before"],
    );
    let at_once =
        spec(text, &["style=[rumor,plumtree]", "rounds=[synchronous,asynchronous]", "acts=[next-cycle,same-cycle]"]);
    assert_eq!(
        rows(&at_once.points(), &["style", "rounds", "acts"]),
        ["rumor,synchronous,next-cycle", "rumor,synchronous,same-cycle", "rumor,asynchronous,", "plumtree,,"],
    );
    let judged = spec(text, &["style=[rumor,anti-entropy]", "interest=[feedback,blind]", "judging=[snapshot,arrival]"]);
    assert_eq!(
        rows(&judged.points(), &["style", "interest", "judging"]),
        [
            "rumor,feedback,snapshot",
            "rumor,feedback,arrival",
            "rumor,blind,",
            "anti-entropy,,snapshot",
            "anti-entropy,,arrival",
        ],
    );
}

#[test]
fn links_are_virtual_or_emulated() {
    let overrides = ["transport=[sim,uring]", "emulation=[none,shape]", "network.delay=[1ms,5ms]", "jitter=[0us,1ms]"];
    let shaped = spec("name = 'x'", &[&overrides[..], &["jitter_distribution=[normal,pareto]"]].concat());
    assert_eq!(
        rows(&shaped.points(), &["transport", "emulation", "delay", "jitter", "jitter_distribution"]),
        [
            "sim,,1ms,0s,",
            "sim,,1ms,1ms,normal",
            "sim,,1ms,1ms,pareto",
            "sim,,5ms,0s,",
            "sim,,5ms,1ms,normal",
            "sim,,5ms,1ms,pareto",
            "uring,none,,,",
            "uring,shape,1ms,0s,",
            "uring,shape,1ms,1ms,normal",
            "uring,shape,1ms,1ms,pareto",
            "uring,shape,5ms,0s,",
            "uring,shape,5ms,1ms,normal",
            "uring,shape,5ms,1ms,pareto",
        ],
    );
    let lossy = spec("name = 'x'", &["emulation=packets", "loss=[0,0.01]", "loss_burst=[1,5]", "reorder=0.1"]);
    assert_eq!(rows(&lossy.points(), &["loss", "loss_burst", "reorder_delay"]), ["0,,1ms", "0.01,1,1ms", "0.01,5,1ms"]);
}

/// Draws lists for some axes and checks what holds for every expansion.
#[test]
fn expansions_are_products_without_duplicates() {
    let lists: &[(&str, &[&str])] = &[
        ("protocol", &["raft", "echo", "star"]),
        ("replicas", &["1", "3", "5", "7"]),
        ("transport", &["mem", "tokio-tcp"]),
        ("commands", &["1", "64", "256"]),
        ("linger", &["0us", "50us", "1.5ms"]),
        ("rate", &["0.5", "1e3", "50_000"]),
        ("payload", &["0B", "64B", "1KiB"]),
    ];
    let mut prng = Prng::new(7);
    for _ in 0..100 {
        let mut expected = 1;
        let mut overrides = Vec::new();
        for (key, values) in lists {
            let count = 1 + prng.below(values.len() as u64) as usize;
            expected *= count;
            overrides.push(format!("{key}=[{}]", values[..count].join(",")));
        }
        let spec = Spec::parse("name = 'x'", "x", &overrides).expect("a valid spec");
        let points = spec.points();
        let distinct: HashSet<_> =
            points.iter().map(|point| serde_json::Value::from(point.axes()).to_string()).collect();
        assert_eq!((points.len(), distinct.len()), (expected, expected), "{overrides:?}");
        assert_eq!(Spec::parse(&spec.to_toml(), "x", &[]), Ok(spec), "{overrides:?}");
    }
}

#[test]
fn coordinates_are_full_and_in_their_shortest_form() {
    let point = &spec("name = 'x'", &["payload=0.0625KiB", "rate=5e4", "linger=1500us", "clients=0x10"]).points()[0];
    let expected = serde_json::json!({
        "protocol": "raft", "replicas": 3, "groups": 1, "transport": "uring", "machine": "null", "wait": "block", "pin": "spread",
        "placement": "threads",
        "election_timeout": "300ms", "heartbeat": "50ms",
        "snapshot_slots": 1_048_576, "snapshot_bytes": "256MiB", "snapshot_basis": "auto", "durability": "none",
        "commands": 64, "bytes": "64KiB", "linger": "1500us", "window": 32,
        "arrival": "poisson", "rate": 50000, "clients": 16, "payload": "64B", "resend": "1s", "in_flight_limit": 65536,
        "zero_copy_threshold": "off", "gather_threshold": "1KiB", "emulation": "none",
    });
    assert_eq!(serde_json::Value::from(point.axes()), expected);
    let axes = Spec::keys().iter().filter(|key| key.axis && point.coordinate(key).is_some());
    assert_eq!(axes.count(), point.axes().len());
}

#[test]
fn keys_of_one_name_are_told_apart_by_their_section() {
    let spec = spec(
        "name = 'x'\nstorage = { durability = 'fsync', linger = ['0us', '50us'], direct = true }",
        &["linger=1ms"],
    );
    assert_eq!(spec.varied(), ["storage_linger"]);
    let axes = spec.points()[1].axes();
    let said = ["linger", "storage_linger", "direct", "durability"].map(|axis| axes[axis].clone());
    assert_eq!(serde_json::Value::from(said.to_vec()), serde_json::json!(["1ms", "50us", true, "fsync"]));
}

#[test]
fn resolved_has_every_key_and_to_toml_reads_back() {
    let text = "name = 'all'\n[cluster]\nmachine = 'kv'\nbind = '::1'\nbase_port = 9000\n[batch]\nlinger = ['0s', '50µs']
        [load]\nreads = [0.25, 1]\nkeys = ['zipf:1_000_000:0.99', 'uniform:1500']\n[transport]\nzero_copy_threshold = '16KiB'";
    let spec = spec(text, &["run.seed=9223372036854775807"]);
    let resolved = spec.resolved();
    for key in Spec::keys() {
        let table = if key.section.is_empty() { &resolved } else { &resolved[key.section] };
        assert!(table.get(key.name).is_some(), "{key}");
    }
    assert_eq!(resolved["batch"]["linger"], serde_json::json!(["0s", "50us"]));
    assert_eq!(resolved["load"]["reads"], serde_json::json!([0.25, 1]));
    assert_eq!(resolved["run"]["seed"], i64::MAX);
    let written = spec.to_toml();
    assert!(written.contains("keys = [\"zipf:1e6:0.99\", \"uniform:1500\"]\n"), "{written}");
    assert_eq!(Spec::parse(&written, "written.toml", &[]), Ok(spec));
}

#[test]
fn overrides_take_toml_and_bare_words() {
    let overrides = [
        "batch.commands=[1, 64]",
        "cluster.protocol=raft",
        "transport=[ mem , 'uring' ]",
        "load.payload = 64B",
        "name=from-the-command-line",
        "rate=1",
        "load.rate=[1_000, 5e4]",
    ];
    // Quotes within a list make it TOML, so the bare `mem` there is an error; without them it is a word.
    let error = Spec::parse("", "x.toml", &overrides.map(String::from)).expect_err("half-quoted");
    assert_eq!((error.file.as_str(), error.line), ("--set transport=[ mem , 'uring' ]", 1));

    let mut overrides = overrides;
    overrides[2] = "transport=[ mem , uring, ]";
    let spec = spec("", &overrides);
    assert_eq!(spec.name(), "from-the-command-line");
    assert_eq!(spec.varied(), ["transport", "commands", "rate"], "the last override of a key wins");
    assert_eq!(spec.points()[0].load.payload, 64);
}

fn bundled() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench-configs");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("bench-configs").map(|entry| entry.expect("it").path()).collect();
    paths.sort();
    paths
}

#[test]
fn bundled_configs_are_valid_and_ask_a_question() {
    let mut counts = Vec::new();
    for path in bundled() {
        let spec = Spec::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        let stem = path.file_stem().expect("a name").to_str().expect("ASCII").to_owned();
        assert_eq!(spec.name(), stem, "a config is named like its file");
        let text = fs::read_to_string(&path).expect("just read");
        assert!(question(&text).is_some_and(|question| question.contains('?')), "{stem} asks nothing");
        if !spec.points()[0].cluster.protocol.orders() {
            let takes: Duration = spec.points().iter().filter_map(Point::estimate).sum();
            assert!(takes < Duration::from_secs(300), "{stem} takes a core {takes:?}");
            continue;
        }
        let each = spec.run().warmup + spec.run().duration;
        counts.push((
            stem,
            spec.points().len(),
            (each * (spec.points().len() * spec.run().repetitions) as u32).as_millis(),
        ));
    }
    let expected = [
        ("batch-sweep", 15, 52_500),
        ("cluster-size", 9, 31_500),
        ("compare-protocols", 90, 315_000),
        ("durability", 132, 330_000),
        ("failover", 9, 175_500),
        ("groups", 20, 50_000),
        ("head-of-line", 9, 108_000),
        ("lossy-link", 24, 156_000),
        ("paxos-duel", 12, 26_400),
        ("payload-sweep", 18, 63_000),
        ("peak", 10, 105_000),
        ("placement", 6, 63_000),
        ("quickstart", 9, 31_500),
        ("reads", 8, 28_000),
        ("regression", 6, 84_000),
        ("shaped-links", 32, 41_600),
        ("slow-follower", 3, 31_500),
        ("smoke", 24, 9_600),
        ("transports", 80, 104_000),
        ("tune-raft", 24, 31_200),
        ("uneven-links", 8, 24_000),
        ("virtual-disk", 12, 30_000),
        ("wan-five-regions", 6, 42_000),
        ("wan-three-regions", 9, 63_000),
        ("wan", 12, 84_000),
        ("window-sweep", 21, 73_500),
    ];
    assert_eq!(counts, expected.map(|(name, points, ms)| (name.to_owned(), points, ms)));
}

/// Seeded edits of valid configs: whatever comes of it, it is a spec or an error that can be shown.
#[test]
fn no_text_makes_it_panic() {
    const SCRAPS: &[&str] = &[
        "[",
        "]",
        "\"",
        "'",
        "=",
        ",",
        "\n",
        "#",
        ".",
        "-",
        "1e999",
        "nan",
        "inf",
        "-1",
        "é",
        "\u{0}",
        "\u{feff}",
        "{}",
        "[[",
        "99999999999999999999999",
        "[cluster]",
        "rate",
        "\"1.5us\"",
        "\"\"\"",
        "1979-05-27",
        "[1, 1]",
        "true",
        "uniform:",
        "zipf:1e9:",
        "0x",
        "\r\n",
        "\t",
        "_",
        "e",
    ];
    let configs: Vec<_> = bundled().iter().map(|path| fs::read_to_string(path).expect("readable")).collect();
    let mut prng = Prng::new(20_240_607);
    let (mut valid, mut invalid) = (0, 0);
    for round in 0..6_000 {
        let mut chars: Vec<char> = configs[round % configs.len()].chars().collect();
        for _ in 0..=prng.below(4) {
            let start = prng.below(chars.len() as u64 + 1) as usize;
            let end = (start + prng.below(8) as usize).min(chars.len());
            let scrap = SCRAPS[prng.below(SCRAPS.len() as u64) as usize];
            let scrap = if prng.below(3) == 0 { "" } else { scrap };
            chars.splice(start..end, scrap.chars());
        }
        let text: String = chars.into_iter().collect();
        let line = text.lines().nth(prng.below(20) as usize).unwrap_or_default().to_owned();
        for overrides in [vec![], vec![line]] {
            match Spec::parse(&text, "fuzz.toml", &overrides) {
                Ok(spec) => {
                    valid += 1;
                    assert!(!spec.points().is_empty());
                }
                Err(error) => {
                    invalid += 1;
                    assert!(error.line >= 1 && error.column >= 1);
                    assert!(error.to_string().len() < 4000, "{error}");
                }
            }
        }
    }
    assert!(valid > 500 && invalid > 500, "{valid} valid and {invalid} invalid: both are exercised");
}

#[test]
fn links_are_read_written_out_and_laid_where_there_are_any() {
    let text = "name = 'x'
        cluster = { protocol = ['raft', 'gossip'], transport = ['mem', 'sim'] }
        network = { delay = '2ms', client_delay = '1ms', jitter = '10us', bandwidth = '1MB', round_trips = 'a-b 8ms' }
        [[links]]
        to = 'clients'
        delay = '7ms'
        bandwidth = 'off'
        [[links]]
        from = 2
        jitter = '0us'
        [[links]]
        from = 'replicas'
        to = 0
        delay = '3500us'";
    let spec = Spec::parse(text, "x.toml", &[]).expect("a valid config");
    let ms = Duration::from_millis;
    let points = spec.points();
    let way = |point: &Point, from, to| {
        let way = point.way(from, to);
        (way.delay, way.jitter.as_micros(), way.bandwidth)
    };
    let virtual_one = points.iter().find(|point| point.is_virtual()).expect("one");
    let narrow = Some(1_000_000);
    // Of three replicas the last is beside the first, and clients, whose first is 3, are beside both.
    assert_eq!(way(virtual_one, 0, 1), (ms(4), 10, narrow), "as it is");
    assert_eq!(way(virtual_one, 1, 0), (ms(7) / 2, 10, narrow), "whatever region");
    assert_eq!(way(virtual_one, 2, 0), (ms(7) / 2, 0, narrow), "by two tables");
    assert_eq!(way(virtual_one, 2, 1), (ms(4), 0, narrow));
    assert_eq!(way(virtual_one, 2, 3), (ms(7), 0, None));
    assert_eq!([way(virtual_one, 3, 2), way(virtual_one, 3, 0)], [(ms(1), 10, narrow); 2], "the other way round");
    assert_eq!((virtual_one.shortest_way(), virtual_one.longest_way()), (ms(1), ms(7)));
    for bare in points.iter().filter(|point| !point.is_virtual()) {
        assert!(bare.network.links.is_empty(), "{bare:?}");
    }
    assert_eq!(Spec::parse(&spec.to_toml(), "x.toml", &[]).expect("it reads back"), spec);
    assert_eq!(
        spec.resolved()["links"][0],
        json!({"from": "any", "to": "clients", "delay": "7ms", "bandwidth": "off"})
    );
    let without = Spec::parse(text, "x.toml", &["transport=mem".into()]).expect("passed over");
    assert_eq!((without.points().len(), without.resolved().get("links")), (2, None));
    let good = [
        // What is lost is lost again by a later table, and the one replica has no peers.
        ("network = { emulation = 'shape' }\n[[links]]\nto = 1\ndelay = '1ms'", vec!["replicas=[2,3]"]),
        ("network = { emulation = 'shape' }\n[[links]]\nto = 'replicas'\ndelay = '1ms'", vec!["replicas=[1,3]"]),
        ("network = { emulation = 'shape' }\n[[links]]\nto = 4\ndelay = '1ms'", vec!["replicas=3"]),
        ("network = { emulation = 'packets', loss = 0.1 }\n[[links]]\nto = 1\nloss_burst = 4", vec!["network.loss=0"]),
    ];
    for (text, overrides) in good {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        let parsed = Spec::parse(&format!("name = 'x'\n{text}"), "x.toml", &overrides);
        assert!(parsed.is_ok(), "{text}: {parsed:?}");
    }
}

/// A closed loop must take time, and not more than that is asked.
#[test]
fn a_round_is_free_if_a_majority_is_where_the_client_is() {
    let free = "cluster = { transport = 'sim', protocol = 'raft' }\nload = { arrival = 'closed' }
        cost = { turn = '0us', frame = '0us', kib = '0us' }";
    let beside = "network = { delay = '0us', client_delay = '0us', round_trips = 'a-b 2ms' }";
    let link = |from: &str, to: &str| format!("[[links]]\nfrom = {from}\nto = {to}\ndelay = '0us'\n");
    let at_once = |a: &str, b: &str| link(a, b) + &link(b, a);
    let client = at_once("'clients'", "0");
    for (more, replicas, passes) in [
        (beside.to_owned(), 5, false),
        (beside.replace("a-b 2ms", "a-b 2ms, a-c 2ms, b-c 2ms"), 5, true),
        (beside.replace("client_delay = '0us'", "client_delay = '1us'"), 5, true),
        (client.clone() + &at_once("0", "1"), 3, false),
        (client.clone() + &link("0", "1"), 3, true),
        (client.clone() + &at_once("1", "2"), 3, true),
        (client.clone() + &at_once("0", "1"), 5, true),
        (client.clone(), 1, false),
        (link("'clients'", "0"), 1, true),
    ] {
        let parsed = Spec::parse(&format!("name = 'x'\n{free}\n{more}"), "x.toml", &[format!("replicas={replicas}")]);
        assert_eq!(parsed.is_ok(), passes, "{more} {parsed:?}");
    }
}

#[test]
fn faults_are_read_written_out_and_repeated() {
    let text = "name = 'x'
        [[faults]]
        at = '1s'
        kind = 'kill'
        for = '200ms'
        every = '1.5s'
        times = 3
        [[faults]]
        at = '500ms'
        kind = 'slow-link'
        extra = '10ms'
        target = 2";
    let spec = Spec::parse(text, "x.toml", &[]).expect("a valid config");
    let ms = Duration::from_millis;
    let kill = |at| Fault::new(ms(at), FaultKind::Kill).lasting(ms(200));
    let slow = Fault::new(ms(500), FaultKind::SlowLink { extra: ms(10) }).on(Target::Id(2));
    assert_eq!(spec.faults(), [kill(1000), kill(2500), kill(4000), slow]);
    assert_eq!(Spec::parse(&spec.to_toml(), "x.toml", &[]).expect("it reads back"), spec);
    let first = json!({"at": "1s", "kind": "kill", "target": "leader", "for": "200ms", "every": "1500ms", "times": 3});
    assert_eq!(spec.resolved()["faults"][0], first);
    assert_eq!(spec.resolved()["faults"][1]["target"], 2);
    let quiet = Spec::parse("name = 'x'", "x.toml", &[]).expect("a valid config");
    assert!(quiet.faults().is_empty() && quiet.resolved().get("faults").is_none());
}
