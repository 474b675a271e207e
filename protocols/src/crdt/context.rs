//! Which updates a replica has heard of.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::codec::{Encoded, Part, Reader, Writer, ascending};
use crate::wire::{LIMIT, NodeId, reject};

/// The name of an update: the `count`-th of a replica, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dot {
    /// Whose.
    pub node: NodeId,
    /// Which of its updates.
    pub count: u64,
}

impl Encoded for Dot {
    fn write(&self, to: &mut Writer) {
        to.node(Part::Metadata, self.node);
        to.number(Part::Metadata, self.count);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        Ok(Self { node: from.node()?, count: from.positive()? })
    }
}

/// A set of dots, as runs of each replica's.
///
/// A state's is a run from 1 for each replica: a version vector. A delta's may begin and end anywhere. (Almeida et al.
/// 2018, section 7.2, keep a vector and a cloud of single dots.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CausalContext {
    /// First and last of each run, in ascending order, with a gap between any two. No list is empty.
    runs: BTreeMap<NodeId, Vec<(u64, u64)>>,
}

impl CausalContext {
    /// Whether a dot is in it.
    pub fn contains(&self, dot: Dot) -> bool {
        self.runs.get(&dot.node).is_some_and(|runs| {
            let after = runs.partition_point(|run| run.0 <= dot.count);
            after > 0 && dot.count <= runs[after - 1].1
        })
    }

    /// The dot of a replica's next update.
    #[must_use]
    pub fn next(&self, node: NodeId) -> Dot {
        Dot { node, count: 1 + self.runs.get(&node).and_then(|runs| runs.last()).map_or(0, |run| run.1) }
    }

    /// Adds a dot.
    pub fn insert(&mut self, dot: Dot) {
        self.insert_run(dot.node, (dot.count, dot.count));
    }

    /// Adds all dots of another one.
    pub fn join(&mut self, other: &Self) {
        for (&node, runs) in &other.runs {
            runs.iter().for_each(|&run| self.insert_run(node, run));
        }
    }

    /// The dots that are in it, and not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for (&node, runs) in &self.runs {
            let holes = other.runs.get(&node).map_or(&[][..], Vec::as_slice);
            for &(mut first, last) in runs {
                for &(from, to) in &holes[holes.partition_point(|hole| hole.1 < first)..] {
                    if from > last {
                        break;
                    }
                    if first < from {
                        rest.insert_run(node, (first, from - 1));
                    }
                    first = to + 1;
                }
                if first <= last {
                    rest.insert_run(node, (first, last));
                }
            }
        }
        rest
    }

    /// Its runs, each as a range of dots.
    pub fn runs(&self) -> impl Iterator<Item = RangeInclusive<Dot>> {
        let dots = |node, (first, last)| Dot { node, count: first }..=Dot { node, count: last };
        self.runs.iter().flat_map(move |(&node, runs)| runs.iter().map(move |&run| dots(node, run)))
    }

    /// Its dots, one by one.
    pub fn dots(&self) -> impl Iterator<Item = Dot> {
        self.runs().flat_map(|run| {
            let node = run.start().node;
            (run.start().count..=run.end().count).map(move |count| Dot { node, count })
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds a run, and closes the gaps that it fills.
    fn insert_run(&mut self, node: NodeId, (mut first, mut last): (u64, u64)) {
        let runs = self.runs.entry(node).or_default();
        let from = runs.partition_point(|run| run.1 + 1 < first);
        let to = from + runs[from..].partition_point(|run| run.0 <= last + 1);
        for run in &runs[from..to] {
            (first, last) = (first.min(run.0), last.max(run.1));
        }
        runs.splice(from..to, [(first, last)]);
    }
}

impl FromIterator<Dot> for CausalContext {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut context = Self::default();
        dots.into_iter().for_each(|dot| context.insert(dot));
        context
    }
}

/// Each run as its distance from the one before, and its length.
impl Encoded for CausalContext {
    fn write(&self, to: &mut Writer) {
        to.count_of(Part::Metadata, self.runs.len());
        for (&node, runs) in &self.runs {
            to.node(Part::Metadata, node);
            to.count_of(Part::Metadata, runs.len());
            let mut end = 0;
            for &(first, last) in runs {
                to.number(Part::Metadata, first - end);
                to.number(Part::Metadata, last - first);
                end = last;
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, &'static str> {
        let mut runs = BTreeMap::new();
        for _ in 0..from.count()? {
            let node = from.node()?;
            ascending(runs.last_key_value().map(|(last, _)| last), &node)?;
            let count = from.count()?;
            reject(count == 0, "a replica without a run")?;
            let mut end = 0;
            let mut list = Vec::new();
            for index in 0..count {
                let first = end + from.positive()?;
                reject(index > 0 && first == end + 1, "two runs that are one")?;
                let last = first + from.number()?;
                reject(last >= LIMIT, "a number beyond reach")?;
                list.push((first, last));
                end = last;
            }
            runs.insert(node, list);
        }
        Ok(Self { runs })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::prng::Prng;

    /// Against a set of dots.
    #[test]
    fn is_a_set_of_dots() {
        let mut prng = Prng::new(1);
        for _ in 0..2000 {
            let mut draw = || -> BTreeSet<Dot> {
                let dot = |prng: &mut Prng| Dot { node: NodeId(prng.below(2) as u32), count: 1 + prng.below(12) };
                (0..prng.below(14)).map(|_| dot(&mut prng)).collect()
            };
            let (a, b) = (draw(), draw());
            let (left, right): (CausalContext, CausalContext) =
                (a.iter().copied().collect(), b.iter().copied().collect());
            assert_eq!(left.dots().collect::<BTreeSet<_>>(), a);
            let mut joined = left.clone();
            joined.join(&right);
            assert_eq!(joined, &a | &b);
            assert_eq!(left.minus(&right), &a - &b);
            assert!((&a | &b).iter().all(|&dot| left.contains(dot) == a.contains(&dot)));
            assert_eq!(CausalContext::decode(&left.encode()), Ok(left));
        }
    }

    impl PartialEq<BTreeSet<Dot>> for CausalContext {
        fn eq(&self, dots: &BTreeSet<Dot>) -> bool {
            *self == dots.iter().copied().collect::<Self>()
        }
    }
}
