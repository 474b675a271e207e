//! What the kernel's `netem` does not do as the keys of `[network]` mean it: better said than nearly done.

use std::time::Duration;

use super::expand::Conflict;
use super::keys::{self, Key};
use super::links::Way;
use super::names::{Emulation, JitterDistribution, Mover};
use super::point::{Network, Point};
use super::units::{duration_text, size_text};

/// It has 32 bits for a draw, and takes the rest of a division for one of so many nanoseconds: up to here the mean is within
/// 1.2 % of what it should be.
const MOST_JITTER: Duration = Duration::from_millis(100);

/// Of 32 bits for a chance, too few are left of one below: up to here it is within 1.2 % of what it should be.
const RAREST_LOSS: f64 = 1e-8;

/// What a point asks of it that it does otherwise.
pub(super) fn conflict(point: &Point) -> Option<Conflict> {
    let network = &point.network;
    let refused = || in_parts_of_a_microsecond(network).or_else(|| refused(&network.usual, &|key| key));
    is_mover(network).then(refused).flatten()
}

/// What a link of its own asks of it that it does otherwise. `own` says which key a value has there.
pub(super) fn conflict_of_link(point: &Point, way: &Way, own: Own<'_>) -> Option<Conflict> {
    let times = [(own(&keys::DELAY), way.delay), (own(&keys::JITTER), way.jitter)];
    let refused = || parts_of_a_microsecond(times).or_else(|| refused(way, own));
    is_mover(&point.network).then(refused).flatten()
}

type Own<'a> = &'a dyn Fn(&'static Key) -> &'static Key;

fn is_mover(network: &Network) -> bool {
    network.emulation == Emulation::Packets && network.mover == Mover::Netem
}

fn refused(way: &Way, own: Own<'_>) -> Option<Conflict> {
    let Way { jitter, jitter_distribution, loss, loss_burst, reorder, bandwidth, .. } = *way;
    let has_jitter = !jitter.is_zero();
    if has_jitter && jitter_distribution != JitterDistribution::Uniform {
        let (value, others) = (format!("\"{jitter_distribution}\""), "whose tables for all but \"uniform\" are others");
        let help = format!("set it to \"{}\"", JitterDistribution::Uniform);
        return Some(refusal(own(&keys::JITTER_DISTRIBUTION), &value, others, &help));
    }
    if jitter > MOST_JITTER {
        let help = format!("it can be at most \"{}\"", duration_text(MOST_JITTER));
        let why = "which draws it evenly only while it is short";
        return Some(refusal(own(&keys::JITTER), &duration_text(jitter), why, &help));
    }
    if reorder > 0.0 {
        let why = "which holds back none, but sends some at once";
        return Some(refusal(own(&keys::REORDER), &reorder.to_string(), why, "leave it out"));
    }
    if loss > 0.0 && loss / loss_burst < RAREST_LOSS {
        let help = format!("at least {RAREST_LOSS} times {}", own(&keys::LOSS_BURST));
        return Some(refusal(own(&keys::LOSS), &loss.to_string(), "which has 32 bits for a chance", &help));
    }
    let value = size_text(bandwidth? as u64);
    if has_jitter {
        let value = format!("{value} and {}", own(&keys::JITTER));
        return Some(refusal(
            own(&keys::BANDWIDTH),
            &value,
            "where jitter holds up the line, too",
            "leave one of them out",
        ));
    }
    let why = "in which what is lost takes no time of its line, and is not told from what found its queue full";
    (loss > 0.0).then(|| {
        refusal(
            own(&keys::BANDWIDTH),
            &format!("{value} and {} {loss}", own(&keys::LOSS)),
            why,
            "leave one of them out",
        )
    })
}

fn refusal(key: &'static Key, value: &str, why: &str, help: &str) -> Conflict {
    Conflict {
        keys: [key, &keys::MOVER],
        message: format!("{key} {value} with {} \"{}\", {why}", keys::MOVER, Mover::Netem),
        help: format!("{help}, or use {} = \"{}\"", keys::MOVER, Mover::Tun),
    }
}

fn in_parts_of_a_microsecond(network: &Network) -> Option<Conflict> {
    let times = [
        (&keys::DELAY, network.usual.delay),
        (&keys::CLIENT_DELAY, network.client_delay),
        (&keys::JITTER, network.usual.jitter),
    ];
    let of_pair = || {
        let regions = network.round_trips.as_ref()?;
        let pairs = (0..regions.count()).flat_map(|a| (0..a).map(move |b| regions.round_trip(a, b)));
        let wrong = pairs.into_iter().find(|round_trip| !is_whole(*round_trip / 2))?;
        Some(shorter(&keys::ROUND_TRIPS, wrong))
    };
    parts_of_a_microsecond(times).or_else(of_pair)
}

fn parts_of_a_microsecond<const N: usize>(times: [(&'static Key, Duration); N]) -> Option<Conflict> {
    times.into_iter().find(|(_, time)| !is_whole(*time)).map(|(key, time)| shorter(key, time))
}

fn is_whole(time: Duration) -> bool {
    time.subsec_nanos().is_multiple_of(1000)
}

fn shorter(key: &'static Key, time: Duration) -> Conflict {
    refusal(key, &duration_text(time), "to which `tc` tells no time shorter than 1us", "use whole microseconds")
}
