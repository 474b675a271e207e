//! From what was measured to what is written of it.

use super::Shot;
use crate::disk::Disk;
use crate::drive::{self, Aftermath, LinkLine, Outcome, PacketsReport, Usage};
use crate::results::{
    Cost, EventLine, FaultLine, Histograms, Leaders, Link, POINT_SCHEMA, Packets, Percentiles, PointResult, Storage,
    encode_histogram,
};
use crate::spec::{Emulation, Mover, Point};
use crate::warnings::Warning;

/// What a point's line in the results says, but for what was measured beside it.
pub(super) fn result(name: &str, point: &Point, shot: Shot, outcome: &Outcome, warnings: &[Warning]) -> PointResult {
    let recording = &outcome.recording;
    let tally = recording.tally;
    let event =
        |event: &drive::Event| EventLine { at_ns: event.at_ns, kind: event.kind.name().into(), node: event.node.0 };
    PointResult {
        schema: POINT_SCHEMA.into(),
        name: name.into(),
        repetition: shot.repetition,
        world: if point.is_virtual() { "virtual" } else { "real" }.into(),
        seed: shot.seed,
        axes: point.axes(),
        offered_per_s: point.load.arrival.rate(),
        completed_per_s: tally.completed as f64 * 1e9 / outcome.window_ns as f64,
        commands: tally.intended,
        errors: tally.unanswered,
        shed: 0,
        late: tally.late,
        resent: tally.resent,
        checked: false,
        window_ns: outcome.window_ns,
        response_ns: Percentiles::from(&recording.response),
        service_ns: Percentiles::from(&recording.service),
        send_lag_ns: Percentiles::from(&recording.send_lag),
        cost: cost(outcome),
        storage: None,
        link: (point.network.emulation != Emulation::None).then(|| link(point, outcome)),
        memory: outcome.memory,
        floor: None,
        leaders: Some(leaders(outcome)),
        warnings: warnings.iter().map(ToString::to_string).collect(),
        events: outcome.events.iter().map(event).collect(),
        faults: outcome.faults.iter().map(fault_line).collect(),
        core_round_trip_ns: [0.0; 2],
        histograms: Histograms {
            response: encode_histogram(&recording.response),
            service: encode_histogram(&recording.service),
            send_lag: encode_histogram(&recording.send_lag),
        },
    }
}

fn leaders(outcome: &Outcome) -> Leaders {
    let led = |at: usize| outcome.groups_led.iter().map(|led| led[at]).collect();
    Leaders { start: led(0), end: led(1) }
}

fn fault_line(fault: &Aftermath) -> FaultLine {
    FaultLine {
        kind: fault.kind.name().to_string(),
        target: fault.node.map(|node| node.0),
        at_ns: fault.at_ns,
        until_ns: fault.until_ns,
        gap_ns: fault.gap_ns,
        leader_ns: fault.leader_ns,
        throughput_back_ns: fault.throughput_back_ns,
        p99_back_ns: fault.p99_back_ns,
        catch_up_ns: fault.catch_up_ns,
        catch_up_bytes: fault.catch_up_bytes,
        lag_slots: fault.lag_slots,
        lag_grows: fault.lag_grows,
        kept_bytes: fault.kept_bytes,
        others_kept_bytes: fault.others_kept_bytes,
        unknown: fault.unknown,
        resent: fault.resent,
        lost: None,
    }
}

fn cost(outcome: &Outcome) -> Cost {
    let commands = outcome.recording.tally.completed.max(1) as f64;
    let both = |of: fn(&Usage) -> u64| (of(&outcome.replicas) + of(&outcome.clients)) as f64 / commands;
    let slots = outcome.busiest.slots;
    let per_slot = |sum: u64| (slots > 0).then(|| sum as f64 / slots as f64);
    Cost {
        cpu_ns_per_command: outcome.process_cpu_ns as f64 / commands,
        replica_cpu_ns_per_command: outcome.replicas.cpu_ns as f64 / commands,
        client_cpu_ns_per_command: outcome.clients.cpu_ns as f64 / commands,
        syscalls_per_command: both(|usage| usage.counters.syscalls),
        copied_bytes_per_command: both(|usage| usage.counters.copied_bytes),
        wire_bytes_per_command: both(|usage| usage.counters.sent_bytes),
        commands_per_slot: outcome.busiest.commands as f64 / slots.max(1) as f64,
        messages_per_slot: per_slot(outcome.together.messages),
        bytes_per_slot: per_slot(outcome.together.message_bytes),
        rounds_per_slot: per_slot(outcome.together.rounds),
    }
}

fn link(point: &Point, outcome: &Outcome) -> Link {
    let packets = |report: &PacketsReport| {
        let (all, effort) = (report.together(), report.effort);
        Packets {
            mover: point.network.mover.name().into(),
            loss_asked: loss_asked(point, report),
            loss: all.lost as f64 / all.packets.max(1) as f64,
            all,
            overrun: effort.map(|effort| effort.overrun),
            mover_busy: effort.map(|effort| effort.busy(outcome.window_ns)),
            links: report.links.clone(),
        }
    };
    // The kernel does not say how late it is.
    let lateness = (point.network.mover != Mover::Netem).then_some(&outcome.lateness);
    Link {
        shortest_ns: point.shortest_way().as_nanos() as u64,
        late_ns: lateness.map(Percentiles::from),
        late_histogram: lateness.map(encode_histogram),
        packets: outcome.packets.as_ref().map(packets),
    }
}

fn loss_asked(point: &Point, report: &PacketsReport) -> f64 {
    if point.network.links.is_empty() {
        return point.network.usual.loss;
    }
    let asked = |line: &LinkLine| point.way(line.from as usize, line.to as usize).loss * line.counts.packets as f64;
    report.links.iter().map(asked).sum::<f64>() / report.together().packets.max(1) as f64
}

pub(super) fn storage(disk: &Disk, outcome: &Outcome) -> Storage {
    let counters = outcome.replicas.counters;
    let per_second = |count: u64| count as f64 * 1e9 / outcome.window_ns as f64;
    let syncs_of_one = counters.file_syncs as f64 / outcome.totals.len() as f64;
    Storage {
        file_system: disk.file_system.clone(),
        syncs_per_s: per_second(counters.file_syncs),
        commands_per_sync: (syncs_of_one > 0.0).then(|| outcome.recording.tally.completed as f64 / syncs_of_one),
        writes_per_s: per_second(counters.file_writes),
        written_bytes_per_s: per_second(counters.file_bytes),
        write_ns: Percentiles::from(&outcome.log_writes),
        alone_ns: Percentiles::from(&disk.syncs),
        together_ns: Percentiles::from(&disk.together),
        write_histogram: encode_histogram(&outcome.log_writes),
        alone_histogram: encode_histogram(&disk.syncs),
    }
}
