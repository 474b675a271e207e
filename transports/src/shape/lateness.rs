//! How late things were, counted.

/// Times and how often each came, to within an eighth.
#[derive(Clone)]
pub struct Lateness {
    /// Eight to each power of two.
    counts: Box<[u64; BUCKETS]>,
}

const BUCKETS: usize = 62 * 8;

impl Lateness {
    pub(super) fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
    }

    /// Each time in nanoseconds that came, ascending, rounded up, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counts = self.counts.iter().enumerate().filter(|&(_, &count)| count > 0);
        counts.map(|(bucket, &count)| (longest(bucket), count))
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time that this share of them did not exceed, in nanoseconds; `None` if nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        self.iter()
            .find(|&(_, count)| {
                seen += count;
                seen >= rank
            })
            .map(|(ns, _)| ns)
    }
}

impl Default for Lateness {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]) }
    }
}

impl std::fmt::Debug for Lateness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Below eight each has its own; then a power of two has eight.
fn bucket(ns: u64) -> usize {
    let power = (ns | 8).ilog2();
    ((power - 3) as usize * 8 + (ns >> (power - 3)) as usize).min(BUCKETS - 1)
}

fn longest(bucket: usize) -> u64 {
    let power = (bucket / 8).saturating_sub(1);
    let steps = (bucket - power * 8) as u64;
    ((steps + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_a_bucket_that_is_hardly_longer() {
        let times = (0..100).chain((0..58).flat_map(|power| [(1 << power) + 7, (9 << power) + 1, (15 << power) - 1]));
        let mut last = (0, 0);
        let mut times: Vec<u64> = times.collect();
        times.sort_unstable();
        for ns in times {
            let (at, longest) = (bucket(ns), longest(bucket(ns)));
            assert!(longest >= ns && longest - ns <= ns / 8, "{ns}: {longest}");
            assert!((at, longest) >= last);
            last = (at, longest);
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_are_of_all_that_was_counted() {
        let mut lateness = Lateness::default();
        assert_eq!((lateness.count(), lateness.quantile(0.5)), (0, None));
        (0..7).for_each(|ns| lateness.record(ns));
        lateness.record(1000);
        assert_eq!((lateness.count(), lateness.quantile(0.5), lateness.quantile(1.0)), (8, Some(3), Some(1023)));
        assert_eq!(lateness.iter().last(), Some((1023, 1)));
    }
}
