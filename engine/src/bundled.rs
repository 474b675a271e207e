//! What this program comes with: protocols, transports, machines, and example configs.

use std::fmt::Write as _;

use crate::spec::{ArrivalName, Emulation, MachineName, ProtocolName, TransportName, question};

/// A config from `bench-configs/`, as it was when this program was built.
#[derive(Clone, Copy, Debug)]
pub struct BundledConfig {
    /// Its path in the repository.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! bundled {
    ($($name:literal)+) => {
        /// The bundled configs.
        pub const CONFIGS: &[BundledConfig] = &[$(BundledConfig {
            path: concat!("bench-configs/", $name, ".toml"),
            text: include_str!(concat!("../../bench-configs/", $name, ".toml")),
        }),+];
    };
}

bundled! {
    "quickstart" "peak" "compare-protocols" "batch-sweep" "window-sweep" "payload-sweep" "cluster-size" "groups" "head-of-line" "reads" "transports" "placement" "durability" "failover" "slow-follower" "smoke" "virtual-disk" "wan-three-regions" "wan-five-regions" "wan" "shaped-links" "uneven-links" "lossy-link" "paxos-duel" "regression" "tune-raft" "tune-gossip" "gossip-demers" "gossip-fanout" "gossip-real" "gossip-far" "gossip-scale" "gossip-loss-churn" "gossip-latency" "gossip-broadcast-trees" "gossip-digests" "gossip-deletion" "crdt"
}

/// What `list` prints.
pub fn list() -> String {
    let mut text = String::new();
    let mut section = |title: &str, entries: &[(&str, &str)]| {
        let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let _ = writeln!(text, "{title}");
        for (name, purpose) in entries {
            let _ = writeln!(text, "  {name:width$}  {purpose}");
        }
        text.push('\n');
    };
    let is_floor = |protocol: &&ProtocolName| protocol.is_floor();
    let of =
        |protocols: Vec<&ProtocolName>| protocols.iter().map(|each| (each.name(), each.purpose())).collect::<Vec<_>>();
    section("Protocols (cluster.protocol)", &of(ProtocolName::ALL.iter().filter(|each| !is_floor(each)).collect()));
    section(
        "Floors, which are no protocols (cluster.protocol)",
        &of(ProtocolName::ALL.iter().filter(is_floor).collect()),
    );
    let transports: Vec<_> = TransportName::ALL.iter().map(|each| (each.name(), each.purpose())).collect();
    section("Transports (cluster.transport)", &transports);
    let emulations: Vec<_> = Emulation::ALL.iter().map(|each| (each.name(), each.purpose())).collect();
    section("What makes links far away (network.emulation)", &emulations);
    let machines: Vec<_> = MachineName::ALL.iter().map(|each| (each.name(), each.purpose())).collect();
    section("State machines (cluster.machine)", &machines);
    let arrivals: Vec<_> = ArrivalName::ALL.iter().map(|each| (each.name(), each.purpose())).collect();
    section("Arrivals (load.arrival)", &arrivals);
    let configs: Vec<_> = CONFIGS.iter().map(|each| (each.path, question(each.text).unwrap_or_default())).collect();
    section("Bundled configs", &configs);
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_config_of_the_folder_is_listed_and_says_what_it_answers() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench-configs");
        let files = std::fs::read_dir(folder).expect("the folder is there");
        let files: BTreeSet<_> =
            files.map(|file| file.expect("readable").file_name().into_string().expect("UTF-8")).collect();
        let listed: BTreeSet<_> =
            CONFIGS.iter().map(|config| config.path.trim_start_matches("bench-configs/").to_owned()).collect();
        assert_eq!(files, listed);
        for config in CONFIGS {
            assert!(question(config.text).is_some_and(|question| question.contains('?')), "{}", config.path);
        }
    }

    #[test]
    fn the_list_names_everything() {
        let list = list();
        for name in [
            "raft",
            "paxos",
            "multipaxos",
            "zab",
            "echo",
            "star",
            "uring",
            "mem",
            "tokio-tcp",
            "quic",
            "null",
            "kv",
            "bench-configs/quickstart.toml",
        ] {
            assert!(list.lines().any(|line| line.trim_start().starts_with(name)), "{name}");
        }
    }
}
