//! Which protocol was best, where there are several: the one that carried most, or, of those that carried as much, the one
//! that was soonest. What the repetitions do not tell apart is a tie, and so is what looks alike in print.

use super::material::{Point, median, range};
use crate::summary::{thousands, time_text};

/// One sentence, if the points are of several protocols.
pub(super) fn leader(points: &[&Point]) -> Option<String> {
    let points: Vec<&Point> = points.iter().copied().filter(|point| !point.is_floor()).collect();
    let mut all: Vec<&str> = Vec::new();
    let mut best: Vec<Best<'_>> = Vec::new();
    for point in points {
        let protocol = point.axis("protocol");
        if !all.contains(&protocol) {
            all.push(protocol);
        }
        let Some(this) = Best::of(point) else { continue };
        match best.iter_mut().find(|each| each.protocol == protocol) {
            Some(most) if this.is_before(most) => *most = this,
            Some(_) => {}
            None => best.push(this),
        }
    }
    let overloaded: Vec<&str> =
        all.iter().copied().filter(|name| best.iter().all(|each| each.protocol != *name)).collect();
    if all.len() > 1 { sentence(best, &overloaded) } else { None }
}

/// Where a protocol carried most without being overloaded: what each repetition had.
#[derive(Clone, Debug)]
struct Best<'a> {
    protocol: &'a str,
    /// What was offered, if all of it was carried.
    offered: Option<f64>,
    carried: Vec<f64>,
    p99_ns: Vec<f64>,
    doubtful: bool,
}

impl<'a> Best<'a> {
    fn of(point: &'a Point) -> Option<Self> {
        let (carried, p99_ns) = (point.each("/completed_per_s"), point.each("/response_ns/p99"));
        let overloaded = point.warnings().any(|warning| warning.starts_with("overloaded:"));
        (!overloaded && !carried.is_empty() && !p99_ns.is_empty()).then(|| Self {
            protocol: point.axis("protocol"),
            offered: carried_whole(point),
            carried,
            p99_ns,
            doubtful: !point.doubts().is_empty(),
        })
    }

    /// Commands a second. Where all that was offered was carried, arrivals at random make no difference.
    fn level(&self) -> f64 {
        self.offered.unwrap_or_else(|| middle(&self.carried))
    }

    fn is_before(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.level(), other.level());
        ours > theirs || ours.to_bits() == theirs.to_bits() && middle(&self.p99_ns) < middle(&other.p99_ns)
    }

    fn carries_as_much_as(&self, other: &Self) -> bool {
        thousands(self.level()) == thousands(other.level()) || overlap(&self.carried, &other.carried)
    }

    fn is_as_soon_as(&self, other: &Self) -> bool {
        self.time() == other.time() || overlap(&self.p99_ns, &other.p99_ns)
    }

    fn time(&self) -> String {
        time_text(middle(&self.p99_ns))
    }
}

/// The rate of an open loop, if at least [`WHOLE`] of what came of it was carried.
fn carried_whole(point: &Point) -> Option<f64> {
    let share = |run: &crate::results::PointResult| {
        let came = run.commands as f64 * 1e9 / run.window_ns as f64;
        Some(run.completed_per_s / came.min(run.offered_per_s?))
    };
    let shares: Vec<f64> = point.results.iter().filter_map(share).collect();
    let offered = point.results.first()?.offered_per_s;
    offered.filter(|_| median(&shares).is_some_and(|share| share >= WHOLE))
}

/// Who carries this part of what is offered carries all of it.
const WHOLE: f64 = 0.99;

fn sentence(mut best: Vec<Best<'_>>, overloaded: &[&str]) -> Option<String> {
    best.sort_by(|a, b| b.level().total_cmp(&a.level()));
    let most = best.first()?.clone();
    let doubtful = best.iter().any(|each| each.doubtful);
    let (mut level, behind): (Vec<_>, Vec<_>) = best.into_iter().partition(|each| each.carries_as_much_as(&most));
    level.sort_by(|a, b| middle(&a.p99_ns).total_cmp(&middle(&b.p99_ns)));
    let mut said = vec![among(&level, most.level())];
    let share = |each: &Best<'_>| {
        let share = each.level() / most.level() * 100.0;
        if share < 99.0 { format!("{share:.0} %") } else { format!("{share:.1} %") }
    };
    said.extend(
        behind.iter().map(|each| format!("{} carried {} of that, with {}", each.protocol, share(each), each.time())),
    );
    said.extend(overloaded.iter().map(|name| format!("{name} was overloaded throughout")));
    said.extend(doubtful.then(|| "some of these points are to be doubted".to_owned()));
    Some(said.join("; ") + ".")
}

/// Those that carried as much, the soonest first.
fn among(level: &[Best<'_>], most: f64) -> String {
    let first = &level[0];
    let rate = thousands(most);
    if level.len() == 1 {
        return format!("{} carried most, {rate} commands/s, with a p99 of {}", first.protocol, first.time());
    }
    let (soonest, others): (Vec<_>, Vec<_>) = level.iter().partition(|each| each.is_as_soon_as(first));
    let all = if level.iter().all(|each| each.offered.is_some()) { ", all that was offered," } else { "" };
    let found = if soonest.len() == 1 {
        format!("{} has the lowest p99, {}", first.protocol, first.time())
    } else {
        let tied: Vec<String> = soonest.iter().map(|each| format!("{} ({})", each.protocol, each.time())).collect();
        format!("{} tie for the lowest p99", and(&tied))
    };
    let others = others.iter().map(|each| format!("{} {}", each.protocol, each.time()));
    let found = [found].into_iter().chain(others).collect::<Vec<_>>();
    let [found, others @ ..] = &found[..] else { unreachable!("the first is there") };
    let others = if others.is_empty() { String::new() } else { format!("; {}", others.join(", ")) };
    format!("At {rate} commands/s{all} {found}{others}")
}

fn middle(values: &[f64]) -> f64 {
    median(values).unwrap_or_default()
}

/// Whether what repetitions had lies over what those of the other had. One repetition has no range.
fn overlap(a: &[f64], b: &[f64]) -> bool {
    range(a).zip(range(b)).is_some_and(|([low, high], [least, most])| low <= most && least <= high)
}

/// `raft, zab and echo`.
fn and(names: &[String]) -> String {
    match names {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was carried, and p99 in milliseconds, of each repetition.
    fn best<'a>(protocol: &'a str, offered: Option<f64>, carried: &[f64], p99_ms: &[f64]) -> Best<'a> {
        let p99_ns = p99_ms.iter().map(|ms| ms * 1e6).collect();
        Best { protocol, offered, carried: carried.to_vec(), p99_ns, doubtful: false }
    }

    fn said(best: &[Best<'_>]) -> String {
        sentence(best.to_vec(), &[]).expect("there are some")
    }

    #[test]
    fn who_carried_all_that_was_offered_is_not_behind() {
        let all = [
            best("multipaxos", Some(5000.0), &[4957.0], &[2.0]),
            best("raft", Some(5000.0), &[5110.0], &[3.0]),
            best("zab", None, &[4400.0], &[9.0]),
        ];
        let expected = "At 5,000 commands/s, all that was offered, multipaxos has the lowest p99, 2.00 ms; raft 3.00 ms; \
                        zab carried 88 % of that, with 9.00 ms.";
        assert_eq!(said(&all), expected);
    }

    #[test]
    fn what_nobody_can_tell_apart_is_a_tie() {
        let alike = [best("zab", Some(50.0), &[50.0], &[1001.2]), best("raft", Some(50.0), &[51.0], &[1000.9])];
        let expected = "At 50 commands/s, all that was offered, raft (1.00 s) and zab (1.00 s) tie for the lowest p99.";
        assert_eq!(said(&alike), expected);
        let overlapping = [
            best("raft", Some(50.0), &[50.0, 50.0], &[2.0, 4.0]),
            best("zab", Some(50.0), &[50.0, 50.0], &[3.5, 5.0]),
            best("vr", Some(50.0), &[50.0, 50.0], &[6.0, 7.0]),
        ];
        let expected = "At 50 commands/s, all that was offered, raft (3.00 ms) and zab (4.25 ms) tie for the lowest p99; \
                        vr 6.50 ms.";
        assert_eq!(said(&overlapping), expected);
        // In a closed loop, throughput as well.
        let closed = [best("raft", None, &[90.0, 100.0], &[3.0, 4.0]), best("zab", None, &[94.0, 97.0], &[1.0, 2.0])];
        assert_eq!(said(&closed), "At 96 commands/s zab has the lowest p99, 1.50 ms; raft 3.50 ms.");
        let apart = [best("raft", None, &[98.0, 100.0], &[3.0, 4.0]), best("zab", None, &[94.0, 97.0], &[1.0, 2.0])];
        assert_eq!(
            said(&apart),
            "raft carried most, 99 commands/s, with a p99 of 3.50 ms; zab carried 96 % of that, with 1.50 ms."
        );
    }
}
