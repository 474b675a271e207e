//! Links that are longer than they are, over any transport.

use std::marker::PhantomData;
use std::time::Duration;

use quorumbench_transports::shape::{LinkModel, LinkState, Shape};
use quorumbench_transports::{Clock, Options};

use crate::harness::{Cluster, Subject, payload, transmit, until};

/// Any subject, on such links, which are not always equally long.
pub(crate) struct Shaped<S>(PhantomData<S>);

const DELAY: Duration = Duration::from_micros(100);

impl<S: Subject> Subject for Shaped<S> {
    type Node = Shape<S::Node>;
    type Seat = (u64, S::Seat, Clock, Options);
    const SOCKETS: bool = S::SOCKETS;
    const COPIES: u64 = S::COPIES;
    const LEAST_CHUNK_BYTES: usize = S::LEAST_CHUNK_BYTES;

    fn seats(nodes: usize, clock: Clock, options: &Options) -> Vec<Self::Seat> {
        let seats = S::seats(nodes, clock, options);
        (0..).zip(seats).map(|(id, seat)| (id, seat, clock, options.clone())).collect()
    }

    fn sit((id, seat, clock, options): Self::Seat) -> Self::Node {
        let model = LinkModel { jitter: DELAY / 2, rate: Some(1 << 30), ..LinkModel::late(DELAY) };
        // Some peers of these tests are not there, and have a link all the same.
        let links = (0..16).map(|to| LinkState::new(&model, id << 32 | to));
        Shape::new(S::sit(seat), clock, links, options.link_bytes)
    }
}

/// Both ways, small frames and large ones; and in the order sent.
pub(crate) fn nothing_is_early<S: Subject>() {
    const EACH: usize = 500;
    let mut cluster = Cluster::new::<Shaped<S>>(2, &Options::default());
    let (mut sent, mut come) = ([const { Vec::new() }; 2], [0; 2]);
    until("all has come", || {
        for (from, sent) in sent.iter_mut().enumerate() {
            let number = sent.len();
            if number < EACH {
                sent.push(cluster.clock.now());
                let body = payload(number as u64, number * 7);
                cluster.send(from, [transmit(from as u32, 1 - from as u32, number as u64, body)]);
            }
        }
        cluster.pump();
        let now = cluster.clock.now();
        for at in 0..2 {
            for frame in cluster.inboxes[at].drain(..) {
                assert_eq!(frame.head.words[0], come[at] as u64, "in the order sent");
                let under_way = now.saturating_since(sent[1 - at][come[at]]);
                assert!(u128::from(under_way) >= DELAY.as_nanos(), "{under_way} ns");
                come[at] += 1;
            }
        }
        come == [EACH; 2]
    });
    let late: u64 = cluster.nodes.iter().map(|node| node.lateness().len()).sum();
    assert!(late >= 2 * EACH as u64, "each was held: {late}");
}
