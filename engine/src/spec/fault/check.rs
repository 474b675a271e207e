//! What no fault may be, by itself, in its window, or at one of the points.

use std::time::Duration;

use super::{AT, EVERY, EXTRA, FACTOR, FOR, KIND, LEADER, Setting, TARGET, TIMES, Target};
use crate::spec::error::{Complaint, SpecError};
use crate::spec::keys::{self, Draft, Key};
use crate::spec::names::{Durability, FaultName, Placement, ProtocolName};
use crate::spec::parse::default;
use crate::spec::point::{Point, Run};
use crate::spec::tables::Given;
use crate::spec::units::duration_text;

/// What is wrong, and the key to point at.
type Wrong = (&'static Key, Complaint);

/// The faults of a spec whose points these are.
pub(in crate::spec) fn check(given: &[Given<'_>], drafts: &[Draft]) -> Result<Vec<Setting>, SpecError> {
    let run = drafts.first().map_or_else(Run::blank, |draft| draft.run);
    let mut settings = Vec::new();
    for fault in given {
        let setting = Setting(fault.row.clone());
        let wrong = by_itself(&setting)
            .or_else(|| in_window(&setting, run))
            .or_else(|| drafts.iter().find_map(|draft| at_point(&setting, &draft.point)));
        if let Some((key, complaint)) = wrong {
            return Err(fault.error(key, complaint));
        }
        settings.push(setting);
    }
    Ok(settings)
}

fn by_itself(setting: &Setting) -> Option<Wrong> {
    let (kind, has) = (setting.name(), |key: &Key| setting.value(key).is_some());
    let with = |key: &'static Key, why: &str| Complaint::new(format!("{key} with {} \"{kind}\", which {why}", &KIND));
    let without = |key: &'static Key| {
        let complaint = Complaint::new(format!("{} \"{kind}\" without {key}: {}", &KIND, key.doc));
        let example = default(key).expect("it is in range").to_toml();
        complaint.help(format!("for example `{} = {example}`", key.name))
    };
    let at_once = matches!(kind, FaultName::Restart | FaultName::Transfer);
    let adds = matches!(kind, FaultName::SlowDisk | FaultName::SlowLink);
    let divides = kind == FaultName::Slow;
    let (every, _) = setting.repeats();
    let lasts = setting.first().lasts.unwrap_or_default();
    match () {
        () if at_once && has(&FOR) => {
            let help = if kind == FaultName::Restart { "leave it out, or use kind = \"kill\"" } else { "leave it out" };
            Some((&FOR, with(&FOR, "is over at once").help(help)))
        }
        () if kind == FaultName::Pause && !has(&FOR) => Some((&KIND, without(&FOR))),
        () if adds && !has(&EXTRA) => Some((&KIND, without(&EXTRA))),
        () if !adds && has(&EXTRA) => {
            let complaint = with(&EXTRA, "has no such amount");
            Some((&EXTRA, complaint.help("it belongs to \"slow-disk\" and \"slow-link\"")))
        }
        () if divides && !has(&FACTOR) => Some((&KIND, without(&FACTOR))),
        () if !divides && has(&FACTOR) => {
            Some((&FACTOR, with(&FACTOR, "has no such number").help("it belongs to \"slow\"")))
        }
        () if has(&TIMES) != has(&EVERY) => {
            let (there, absent) = if has(&TIMES) { (&TIMES, &EVERY) } else { (&EVERY, &TIMES) };
            let complaint = Complaint::new(format!("{there} without {absent}: {}", absent.doc));
            Some((there, complaint.help("set both, or neither")))
        }
        () if has(&EVERY) && !at_once && !has(&FOR) => {
            let complaint = Complaint::new(format!("{} without {}: what is never undone happens once", &EVERY, &FOR));
            Some((&EVERY, complaint.help(format!("set {} to less than {}", &FOR, &EVERY))))
        }
        () if has(&EVERY) && every <= lasts => {
            let [every, lasts] = [every, lasts].map(duration_text);
            let complaint = Complaint::new(format!("{} {every} is not above {} {lasts}", &EVERY, &FOR));
            Some((&EVERY, complaint.help("a fault must be over before it comes again")))
        }
        () if kind == FaultName::Transfer && setting.first().target != Target::Leader => {
            let complaint = Complaint::new(format!("{} \"{kind}\" of another than the leader", &KIND));
            Some((
                &TARGET,
                complaint.help(format!("only a leader has something to hand over: set {} to \"{LEADER}\"", &TARGET)),
            ))
        }
        () => None,
    }
}

/// Longer than this, the fine record that faults are measured by would take too much memory.
const LONGEST: Duration = Duration::from_secs(600);

fn in_window(setting: &Setting, run: Run) -> Option<Wrong> {
    let fault = setting.first();
    let (every, times) = setting.repeats();
    let (duration, text) = (run.duration, duration_text(run.duration));
    if duration > LONGEST {
        let complaint = Complaint::new(format!("a fault in a window of {} {text}", &keys::DURATION));
        return Some((&AT, complaint.help(format!("with faults it is at most {}", duration_text(LONGEST)))));
    }
    let last = fault.at + every * (times - 1);
    if last >= duration {
        let key = if fault.at >= duration { &AT } else { &TIMES };
        let complaint = Complaint::new(format!("a fault at {}, past the window's end", duration_text(last)));
        return Some((key, complaint.help(format!("{} is {text}", &keys::DURATION))));
    }
    let end = last + fault.lasts.unwrap_or_default();
    (end > duration).then(|| {
        let complaint = Complaint::new(format!("a fault until {}, past the window's end", duration_text(end)));
        (&FOR, complaint.help(format!("{} is {text}; leave {} out for what is not undone", &keys::DURATION, &FOR)))
    })
}

fn at_point(setting: &Setting, point: &Point) -> Option<Wrong> {
    let (kind, target, cluster) = (setting.name(), setting.first().target, &point.cluster);
    let (protocol, replicas) = (cluster.protocol, cluster.replicas);
    let of_protocol = |key: &Key, value: &str| format!("{key} \"{value}\" with {} \"{protocol}\"", &keys::PROTOCOL);
    let loses = matches!(kind, FaultName::Kill | FaultName::Restart | FaultName::Partition | FaultName::Transfer);
    let named = match target {
        Target::Leader => Some(super::LEADER),
        Target::Follower => Some(super::FOLLOWER),
        Target::Any | Target::Id(_) => None,
    };
    let followers = replicas - cluster.observers.min(replicas - 1) - 1;
    match (target, named) {
        _ if protocol.reconciles() => {
            let complaint = Complaint::new(format!("a fault with {} \"{protocol}\"", &keys::PROTOCOL));
            Some((&KIND, complaint.help("what may go wrong there is in the section [replication]")))
        }
        _ if protocol.is_gossip() => {
            let complaint = Complaint::new(format!("a fault with {} \"{protocol}\"", &keys::PROTOCOL));
            Some((&KIND, complaint.help("nodes that gossip are no replicas that could fail")))
        }
        (Target::Id(id), _) if id as usize >= replicas => {
            let complaint = Complaint::new(format!("{} {id} with {} {replicas}", &TARGET, &keys::REPLICAS));
            Some((&TARGET, complaint.help(format!("ids are from 0 to {}", replicas - 1))))
        }
        (_, Some(name)) if protocol.is_leaderless() => {
            let complaint = Complaint::new(format!("{}, which has no leader", of_protocol(&TARGET, name)));
            Some((&TARGET, complaint.help(format!("set {} to \"any\" or a replica's id", &TARGET))))
        }
        _ if protocol.is_floor() && loses => {
            let complaint =
                Complaint::new(format!("{}, a floor, which survives no fault", of_protocol(&KIND, kind.name())));
            Some((&KIND, complaint.help("leave the floors out, or use a kind that loses nothing")))
        }
        _ if kind == FaultName::Transfer && !protocol.hands_over() => {
            let what = of_protocol(&KIND, kind.name());
            let complaint = Complaint::new(format!("{what}, whose leader goes only when it fails"));
            let able: Vec<_> =
                ProtocolName::ALL.iter().filter(|each| each.hands_over()).map(ToString::to_string).collect();
            Some((&KIND, complaint.help(format!("leave it out, or use {}", able.join(" or ")))))
        }
        (Target::Follower, _) if followers == 0 => {
            let complaint = Complaint::new(format!("{} \"{}\" of a cluster without one", &TARGET, super::FOLLOWER));
            Some((&TARGET, complaint.help(format!("set {} to at least 2 voters", &keys::REPLICAS))))
        }
        _ if kind == FaultName::Transfer && followers == 0 => {
            let complaint = Complaint::new(format!("{} \"{kind}\" in a cluster of one", &KIND));
            Some((&KIND, complaint.help(format!("set {} to at least 2 voters", &keys::REPLICAS))))
        }
        _ if setting.first().returns() && !point.remembers() => {
            let what =
                if kind == FaultName::Kill { format!("\"{kind}\" with {}", &FOR) } else { format!("\"{kind}\"") };
            let with = format!("{} {what} and {} \"{}\"", &KIND, &keys::PLACEMENT, Placement::Processes);
            let complaint = Complaint::new(format!("{with}: it comes back blank without a log, and could vote twice"));
            Some((&KIND, complaint.help(format!("set {} to \"{}\"", &keys::DURABILITY, Durability::Fsync))))
        }
        _ if kind == FaultName::SlowDisk && !has_disk(point) => {
            let complaint = Complaint::new(format!("{} \"{kind}\" of a replica without a disk", &KIND));
            let help = if point.is_virtual() {
                format!("set {} above 0us", &keys::SYNC)
            } else {
                format!("set {} to \"{}\"", &keys::DURABILITY, Durability::Fsync)
            };
            Some((&KIND, complaint.help(help)))
        }
        _ => None,
    }
}

/// Whether replicas write to a disk that can be slow.
fn has_disk(point: &Point) -> bool {
    let takes_time = !point.cost.sync.is_zero() || point.cost.disk_bandwidth.is_some();
    if point.is_virtual() { takes_time } else { point.storage.durability != Durability::None }
}
