//! Who is whose neighbour.

use std::collections::BTreeSet;

use quorumbench_protocols::Prng;

use crate::spec::{Crdt, Topology};

/// The links between so many replicas: a graph in which there is a way from each to each.
pub(super) fn links(crdt: &Crdt, nodes: usize, prng: &mut Prng) -> Vec<(usize, usize)> {
    match crdt.topology {
        Topology::Full => everybody(nodes),
        Topology::Tree => (1..nodes).map(|node| ((node - 1) / 2, node)).collect(),
        Topology::Ring => circle(nodes, 1).into_iter().collect(),
        Topology::Mesh => circle(nodes, crdt.degree / 2).into_iter().collect(),
        Topology::Random => {
            let mut links = circle(nodes, 1);
            while links.len() < nodes * crdt.degree / 2 {
                let [one, other] = [(); 2].map(|()| prng.below(nodes as u64) as usize);
                if one != other {
                    links.insert((one.min(other), one.max(other)));
                }
            }
            links.into_iter().collect()
        }
    }
}

/// Everybody with everybody.
pub(super) fn everybody(nodes: usize) -> Vec<(usize, usize)> {
    (0..nodes).flat_map(|one| (one + 1..nodes).map(move |other| (one, other))).collect()
}

/// Whom somebody knows who joins so many: as many as others know, by chance; in a tree it is a leaf.
pub(super) fn links_of_a_newcomer(crdt: &Crdt, nodes: usize, prng: &mut Prng) -> Vec<usize> {
    let count = match crdt.topology {
        Topology::Full => nodes,
        Topology::Tree => 1,
        Topology::Ring => 2,
        Topology::Mesh | Topology::Random => crdt.degree,
    };
    let mut all: Vec<_> = (0..nodes).collect();
    for index in 0..count.min(nodes) {
        all.swap(index, index + prng.below((nodes - index) as u64) as usize);
    }
    all.truncate(count);
    all
}

/// A ring in which each knows so many to each side.
fn circle(nodes: usize, reach: usize) -> BTreeSet<(usize, usize)> {
    let link = |one: usize, other: usize| (one.min(other), one.max(other));
    (0..nodes).flat_map(|node| (1..=reach).map(move |far| link(node, (node + far) % nodes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    #[test]
    fn everybody_is_reached_and_degrees_are_kept() {
        for (topology, nodes, expected) in
            [("ring", 9, 9), ("ring", 2, 1), ("tree", 10, 9), ("mesh", 15, 30), ("random", 15, 30), ("full", 6, 15)]
        {
            let text = format!(
                "name = 'x'\ncluster = {{ protocol = 'crdt', transport = 'sim', nodes = {nodes} }}\n\
                 crdt = {{ topology = '{topology}' }}"
            );
            let spec = Spec::parse(&text, "x", &[]).unwrap_or_else(|error| panic!("{error}"));
            let links = links(&spec.points()[0].crdt, nodes, &mut Prng::new(3));
            assert_eq!(links.len(), expected, "{topology}");
            assert!(links.iter().all(|(one, other)| one < other && *other < nodes));
            let mut reached = BTreeSet::from([0]);
            while links.iter().any(|(one, other)| reached.contains(one) != reached.contains(other)) {
                let news = links.iter().filter(|(one, other)| reached.contains(one) != reached.contains(other));
                let news: Vec<_> = news.flat_map(|&(one, other)| [one, other]).collect();
                reached.extend(news);
            }
            assert_eq!(reached.len(), nodes, "{topology}");
        }
    }
}
