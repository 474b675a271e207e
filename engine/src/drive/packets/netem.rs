//! Links that the kernel makes worse than they are: a `veth` pair between any two nodes, with a `netem` queueing discipline
//! at either end for what leaves there.
//!
//! What it does otherwise than the keys of `[network]` say is no point of any experiment: see `spec::netem`.

use std::io;

use quorumbench_protocols::Prng;
use quorumbench_transports::shape::{Distribution, LinkModel};
use quorumbench_transports::tun::Namespace;
use serde::Deserialize;

use super::super::links;
use super::{LinkCounts, LinkLine, mesh};
use crate::spec::Point;

/// Whether this machine and this user may have such links.
pub(super) fn probe() -> io::Result<()> {
    let namespaces = mesh::lay(2, 1500)?;
    let line = added(1, "limit 1");
    namespaces[0].within(|| mesh::batch("tc", &line))?.map_err(|why| {
        if why.to_string().contains(UNKNOWN) {
            let hint = "this kernel has no `netem`: try `modprobe sch_netem` outside of any container";
            return io::Error::new(io::ErrorKind::Unsupported, hint);
        }
        why
    })
}

/// What `tc` says of a queueing discipline that it knows and the kernel does not.
const UNKNOWN: &str = "qdisc kind is unknown";

/// The nodes' namespaces, and the links of `point` between them. The dice are the kernel's own, but from `seed` where `tc`
/// (6.6) and the kernel (6.5) let anyone choose.
pub(super) fn lay(point: &Point, seed: u64) -> io::Result<Vec<Namespace>> {
    let (nodes, mtu) = (point.nodes(), point.network.mtu);
    let namespaces = mesh::lay(nodes, mtu)?;
    let dice = takes_seeds()?.then(|| Prng::new(seed));
    for (from, namespace) in namespaces.iter().enumerate() {
        let line = |to: usize| {
            let seed = dice.as_ref().map(|dice| dice.fork(from as u64).fork(to as u64).next_u64());
            added(to, &arguments(&links::model(point, from, to), mtu, seed))
        };
        let lines: String = (0..nodes).filter(|&to| to != from).map(line).collect();
        namespace.within(|| mesh::batch("tc", &lines))??;
    }
    Ok(namespaces)
}

/// Whether this `tc` does: an older one stumbles over the word.
fn takes_seeds() -> io::Result<bool> {
    let tried = Namespace::alone()?.within(|| mesh::batch("tc", "qdisc add dev lo root netem limit 1 seed 1\n"))?;
    Ok(!tried.is_err_and(|why| why.to_string().contains("seed")))
}

fn added(to: usize, arguments: &str) -> String {
    format!("qdisc add dev {} root netem {arguments}\n", mesh::device(to))
}

/// What makes a `netem` of a model, for `tc` (`man tc-netem`).
///
/// # Panics
/// If it cannot be what the model is.
fn arguments(model: &LinkModel, mtu: usize, seed: Option<u64>) -> String {
    let LinkModel { delay, jitter, distribution, rate, queue, loss, loss_burst, reorder, .. } = *model;
    let has_jitter = !jitter.is_zero();
    assert!(reorder <= 0.0 && (!has_jitter || distribution == Distribution::Uniform), "{model:?}");
    // What waits is what has not arrived: what waits for its turn, and what is on its way.
    let under_way = |rate: u64| (u128::from(rate) * delay.as_nanos() / 1_000_000_000) as u64;
    let limit = rate.zip(queue).map(|(rate, queue)| (queue + under_way(rate)).div_ceil(mtu as u64).min(MOST_PACKETS));
    let mut arguments = vec![format!("limit {}", limit.unwrap_or(NO_LIMIT))];
    match (delay.as_micros(), jitter.as_micros()) {
        (0, 0) => {}
        (delay, 0) => arguments.push(format!("delay {delay}us")),
        // From its mean as much either way: from nothing to twice the mean on top.
        (delay, jitter) => arguments.push(format!("delay {}us {jitter}us", delay + jitter)),
    }
    if loss > 0.0 && loss_burst > 1.0 {
        // Gilbert's chances to go from the good state to the bad one, where everything is lost, and back.
        let [into, out_of] = [loss, 1.0 - loss].map(|share| 100.0 * share / loss_burst);
        arguments.push(format!("loss gemodel {into}% {out_of}%"));
    } else if loss > 0.0 {
        arguments.push(format!("loss random {}%", 100.0 * loss));
    }
    // A line keeps the order, also one on which nothing takes any time; jitter alone would not.
    if let Some(rate) = rate.or(has_jitter.then_some(NO_TIME)) {
        arguments.push(format!("rate {rate}bps -{ETHERNET}"));
    }
    arguments.extend(seed.map(|seed| format!("seed {seed}")));
    arguments.join(" ")
}

/// As many as there can be, so that all that is dropped is lost.
const NO_LIMIT: u64 = i32::MAX as u64;
/// Where there is a rate, no more than [`mover`](mod@super::mover) lets be under way.
const MOST_PACKETS: u64 = 1 << 16;
/// Bytes a second at which the longest packet takes less than a nanosecond.
const NO_TIME: u64 = 1_000_000_000_000_000;
/// Bytes of the header of each packet, which no link is asked for.
const ETHERNET: u64 = 14;

/// What became of the packets on each link that any took, from its first moment on.
pub(super) fn counted(namespaces: &[Namespace]) -> io::Result<Vec<LinkLine>> {
    let mut lines = Vec::new();
    for (from, namespace) in namespaces.iter().enumerate() {
        let said = namespace.within(|| mesh::run("tc", &["-s", "-j", "qdisc", "show"], ""))?.map_err(|why| {
            // Not of the run's beginning: what it measured is not to blame.
            io::Error::new(why.kind(), format!("cannot count what became of packets: {why}"))
        })?;
        let disciplines: Vec<Discipline> = serde_json::from_slice(&said)?;
        lines.extend(disciplines.iter().filter_map(|discipline| discipline.line(from)));
    }
    lines.sort_unstable_by_key(|line| (line.from, line.to));
    Ok(lines)
}

/// As `tc` describes one.
#[derive(Deserialize)]
struct Discipline {
    dev: String,
    /// That have left it, with [`bytes`](Self::bytes).
    packets: u64,
    bytes: u64,
    /// That are still in it, with [`backlog`](Self::backlog).
    qlen: u64,
    backlog: u64,
    drops: u64,
    options: Options,
}

#[derive(Deserialize)]
struct Options {
    limit: Option<u64>,
}

impl Discipline {
    fn line(&self, from: usize) -> Option<LinkLine> {
        let taken = self.packets + self.qlen;
        let endless = self.options.limit == Some(NO_LIMIT);
        let counts = LinkCounts {
            packets: taken + self.drops,
            bytes: (self.bytes + self.backlog).saturating_sub(ETHERNET * taken),
            lost: if endless { self.drops } else { 0 },
            dropped: if endless { 0 } else { self.drops },
            reordered: 0,
        };
        let to = mesh::peer(&self.dev)? as u32;
        (counts.packets > 0).then_some(LinkLine { from: from as u32, to, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::super::mover::address;

    const MS: Duration = Duration::from_millis(1);

    /// Links of all kinds that there can be, and what makes them.
    fn links() -> Vec<(LinkModel, Option<u64>, &'static str)> {
        let late = LinkModel::late(10 * MS);
        let jittery = LinkModel { jitter: MS / 4, distribution: Distribution::Uniform, ..late };
        let narrow = LinkModel { rate: Some(1 << 20), queue: Some(104_857), ..late };
        vec![
            (LinkModel::late(Duration::ZERO), None, "limit 2147483647"),
            (late, None, "limit 2147483647 delay 10000us"),
            (late, Some(u64::MAX), "limit 2147483647 delay 10000us seed 18446744073709551615"),
            (LinkModel::late(60_000 * MS), None, "limit 2147483647 delay 60000000us"),
            (jittery, None, "limit 2147483647 delay 10250us 250us rate 1000000000000000bps -14"),
            (
                LinkModel { delay: Duration::ZERO, ..jittery },
                None,
                "limit 2147483647 delay 250us 250us rate 1000000000000000bps -14",
            ),
            (LinkModel { loss: 0.015_625, ..late }, None, "limit 2147483647 delay 10000us loss random 1.5625%"),
            (
                LinkModel { loss: 0.5_f64.powi(20), ..LinkModel::late(Duration::ZERO) },
                None,
                "limit 2147483647 loss random 0.000095367431640625%",
            ),
            (
                LinkModel { loss: 0.125, loss_burst: 4.0, ..late },
                None,
                "limit 2147483647 delay 10000us loss gemodel 3.125% 21.875%",
            ),
            // 104,857 B that wait and 10,485 on their way.
            (narrow, None, "limit 77 delay 10000us rate 1048576bps -14"),
            (
                LinkModel { rate: Some(1 << 50), queue: Some(1 << 47), ..late },
                None,
                "limit 65536 delay 10000us rate 1125899906842624bps -14",
            ),
            (
                LinkModel { rate: Some(1), queue: Some(65_536), ..LinkModel::late(Duration::ZERO) },
                None,
                "limit 44 rate 1bps -14",
            ),
        ]
    }

    #[test]
    fn each_model_has_its_arguments() {
        for (model, seed, expected) in links() {
            assert_eq!(arguments(&model, 1500, seed), expected, "{model:?}");
        }
    }

    #[test]
    fn tc_understands_all_of_them() {
        let tried = |arguments: &str| {
            Namespace::alone()?.within(|| mesh::batch("tc", &format!("qdisc add dev lo root netem {arguments}\n")))?
        };
        let (plain, seeds) = (tried("limit 1"), takes_seeds());
        let Ok(seeds) = seeds else { return println!("skipped: {seeds:?}") };
        // Either the kernel has it or it has not, and that is all that can be wrong with an argument.
        let there = match plain {
            Ok(()) => true,
            Err(why) if why.to_string().contains(UNKNOWN) => false,
            Err(why) => return println!("skipped: {why}"),
        };
        for (_, seed, arguments) in links() {
            let taken = tried(arguments).map_err(|why| why.to_string());
            let understood = if there { taken.is_ok() } else { taken.as_ref().is_err_and(|why| why.contains(UNKNOWN)) };
            assert_eq!(understood, seeds || seed.is_none(), "{arguments}: {taken:?}");
        }
        let wrong = tried("limit 1 delay 1us loss gemodel 1% what 2%").expect_err("no such word").to_string();
        assert!(wrong.contains("What is \"what\"?"), "{wrong}");
    }

    /// With another discipline in its place, as a kernel may have none.
    #[test]
    fn what_left_is_counted_by_link() {
        let namespaces = match mesh::lay(3, 1500) {
            Ok(namespaces) => namespaces,
            Err(why) => return println!("skipped: {why}"),
        };
        let lines: String = [0, 2].map(|to| format!("qdisc add dev {} root pfifo\n", mesh::device(to))).concat();
        namespaces[1].within(|| mesh::batch("tc", &lines)).expect("a namespace").expect("every kernel has it");
        let sender =
            namespaces[1].within(|| UdpSocket::bind((address(1), 0))).expect("a namespace").expect("its address");
        for (to, length) in [(2, 100), (0, 7), (2, 50), (2, 3000)] {
            sender.send_to(&[0; 3000][..length], (address(to), 9)).expect("sent");
        }
        let counts = |packets, bytes| LinkCounts { packets, bytes, ..LinkCounts::default() };
        let expected = [
            LinkLine { from: 1, to: 0, counts: counts(1, 7 + 28) },
            // The longest is three packets, each with a header of IP.
            LinkLine { from: 1, to: 2, counts: counts(5, 128 + 78 + 3008 + 3 * 20) },
        ];
        assert_eq!(counted(&namespaces).expect("what `tc` says"), expected);
    }

    #[test]
    fn what_was_dropped_had_no_room_only_where_there_is_an_end_of_it() {
        let discipline = |limit| Discipline {
            dev: mesh::device(4),
            packets: 90,
            bytes: 90 * 114,
            qlen: 3,
            backlog: 3 * 114,
            drops: 7,
            options: Options { limit },
        };
        let counts = |lost, dropped| LinkCounts { packets: 100, bytes: 9300, lost, dropped, reordered: 0 };
        for (limit, counts) in [(NO_LIMIT, counts(7, 0)), (77, counts(0, 7))] {
            assert_eq!(discipline(Some(limit)).line(1), Some(LinkLine { from: 1, to: 4, counts }));
        }
        assert_eq!(Discipline { dev: "lo".into(), ..discipline(None) }.line(1), None);
    }
}
