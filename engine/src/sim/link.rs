//! The network: one link for each ordered pair of nodes, each with its own state and one set of
//! options for all.

use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Prng};

use super::fault::{Fault, Injected};

/// How links behave. Chances are in parts of 65,536.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// The shortest one-way delay.
    pub delay_min_ns: u64,
    /// Delays are uniform from the shortest to this much more.
    pub delay_spread_ns: u64,
    /// Chance of a delay from the tail of the distribution.
    pub tail_chance: u16,
    /// How much longer a delay from the tail can be.
    pub tail_ns: u64,
    /// Chance that a frame is lost.
    pub loss: u16,
    /// Chance that a frame comes twice.
    pub duplication: u16,
    /// Chance that a frame may be overtaken. All others come in order.
    pub reordering: u16,
    /// Time to send 1024 bytes; zero for no bound.
    pub ns_per_kib: u64,
    /// How long a frame may queue for its turn. Beyond it is dropped.
    pub backlog_ns: u64,
}

impl LinkOptions {
    /// Links that delay and do nothing else.
    pub const fn calm(delay_min_ns: u64, delay_spread_ns: u64) -> Self {
        Self {
            delay_min_ns,
            delay_spread_ns,
            tail_chance: 0,
            tail_ns: 0,
            loss: 0,
            duplication: 0,
            reordering: 0,
            ns_per_kib: 0,
            backlog_ns: 0,
        }
    }
}

/// One direction between two nodes.
#[derive(Debug, Default)]
struct Link {
    /// Nothing gets through: two nodes are parted.
    cut: bool,
    /// What arrives is held.
    clogged: bool,
    held: Vec<Frame>,
    /// When the last byte so far has left.
    free_at: u64,
    /// When the last frame so far arrives: the next comes later, unless it may be overtaken.
    last_arrival: u64,
}

/// Links between all nodes: replicas and clients.
#[derive(Debug)]
pub(super) struct Network {
    options: LinkOptions,
    nodes: usize,
    /// By sender, then by receiver.
    links: Vec<Link>,
    prng: Prng,
}

/// When a frame arrives, and when it arrives again: [`LOST`] for never.
pub(super) type Arrivals = [u64; 2];
/// It does not.
pub(super) const LOST: u64 = u64::MAX;

impl Network {
    pub(super) fn new(options: LinkOptions, nodes: usize, prng: Prng) -> Self {
        Self { options, nodes, links: (0..nodes * nodes).map(|_| Link::default()).collect(), prng }
    }

    /// A frame of `bytes` goes from one node to another.
    pub(super) fn send(
        &mut self,
        now: Nanos,
        from: NodeId,
        to: NodeId,
        bytes: usize,
        injected: &mut Injected,
    ) -> Arrivals {
        let options = &self.options;
        let link = &mut self.links[from.0 as usize * self.nodes + to.0 as usize];
        // One draw decides all chances; delays have one of their own.
        let draw = self.prng.next_u64();
        let chance = |at: u32, odds: u16| ((draw >> at) as u16) < odds;
        if link.cut {
            return [LOST; 2];
        }
        if chance(0, options.loss) {
            injected[Fault::Loss] += 1;
            return [LOST; 2];
        }
        let mut departs = now.0;
        if options.ns_per_kib > 0 {
            if link.free_at > now.0 {
                injected[Fault::Bandwidth] += 1;
                departs = link.free_at;
                if departs - now.0 > options.backlog_ns {
                    return [LOST; 2];
                }
            }
            departs += (bytes + Head::BYTES) as u64 * options.ns_per_kib / 1024;
            link.free_at = departs;
        }
        let delay = |prng: &mut Prng| options.delay_min_ns + prng.below(options.delay_spread_ns + 1);
        let mut arrives = departs + delay(&mut self.prng);
        if chance(16, options.tail_chance) {
            injected[Fault::Delay] += 1;
            arrives += self.prng.below(options.tail_ns + 1);
        }
        if chance(32, options.reordering) {
            injected[Fault::Reordering] += 1;
            arrives += 3 * delay(&mut self.prng);
        } else {
            arrives = arrives.max(link.last_arrival);
            link.last_arrival = arrives;
        }
        let again = if chance(48, options.duplication) {
            injected[Fault::Duplication] += 1;
            arrives + 2 * delay(&mut self.prng)
        } else {
            LOST
        };
        [arrives, again]
    }

    /// A frame that was under way is there: it is handed out, or held, or gone if the nodes were
    /// parted meanwhile.
    pub(super) fn arrive(&mut self, to: NodeId, frame: Frame) -> Option<Frame> {
        let link = self.link(frame.head.from, to);
        if link.cut {
            return None;
        }
        if link.clogged {
            link.held.push(frame);
            return None;
        }
        Some(frame)
    }

    fn link(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        &mut self.links[from.0 as usize * self.nodes + to.0 as usize]
    }

    /// Nothing gets from one to the other any more.
    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.link(from, to).cut = true;
    }

    /// Everything gets through again, but for what clogs hold.
    pub(super) fn join_all(&mut self) {
        self.links.iter_mut().for_each(|link| link.cut = false);
    }

    /// The link holds what arrives.
    pub(super) fn clog(&mut self, from: NodeId, to: NodeId) {
        self.link(from, to).clogged = true;
    }

    /// The link lets go of what it holds, in order.
    pub(super) fn unclog(&mut self, from: NodeId, to: NodeId) -> Vec<Frame> {
        let link = self.link(from, to);
        link.clogged = false;
        std::mem::take(&mut link.held)
    }

    /// From now on links delay, as they did, and do nothing else.
    pub(super) fn calm_down(&mut self) {
        self.options = LinkOptions::calm(self.options.delay_min_ns, self.options.delay_spread_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorumbench_protocols::Payload;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn frame() -> Frame {
        Frame { head: Head { from: A, ..Head::default() }, body: Payload::EMPTY }
    }

    fn arrivals(options: LinkOptions) -> (Vec<Arrivals>, Injected) {
        let (mut network, mut injected) = (Network::new(options, 2, Prng::new(1)), Injected::default());
        let arrivals = (0..1000).map(|at| network.send(Nanos(at * 10), A, B, 960, &mut injected)).collect();
        (arrivals, injected)
    }

    #[test]
    fn calm_links_keep_order() {
        let (arrivals, injected) = arrivals(LinkOptions::calm(100, 1000));
        assert!(arrivals.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] == LOST));
        assert!((0..).zip(&arrivals).all(|(at, arrival)| arrival[0] >= at * 10 + 100));
        assert_eq!(injected, Injected::default());
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let calm = LinkOptions::calm(100, 1000);
        let half = 1 << 15;
        let (lossy, injected) = arrivals(LinkOptions { loss: half, ..calm.clone() });
        let lost = lossy.iter().filter(|arrival| arrival[0] == LOST).count() as u64;
        assert!(lost == injected[Fault::Loss] && (400..600).contains(&lost));
        let (twice, injected) = arrivals(LinkOptions { duplication: half, ..calm.clone() });
        assert_eq!(twice.iter().filter(|arrival| arrival[1] != LOST).count() as u64, injected[Fault::Duplication]);
        let (shuffled, _) = arrivals(LinkOptions { reordering: half, ..calm.clone() });
        assert!(shuffled.windows(2).any(|pair| pair[0][0] > pair[1][0]));
        let (narrow, injected) = arrivals(LinkOptions { ns_per_kib: 100, backlog_ns: 1000, ..calm });
        assert!(narrow.iter().any(|arrival| arrival[0] == LOST) && injected[Fault::Bandwidth] > 0);
    }

    #[test]
    fn clogs_hold_and_cuts_drop() {
        let mut network = Network::new(LinkOptions::calm(1, 1), 2, Prng::new(1));
        network.clog(A, B);
        assert!(network.arrive(B, frame()).is_none());
        assert_eq!(network.unclog(A, B).len(), 1);
        assert!(network.arrive(B, frame()).is_some());
        network.cut(A, B);
        assert!(network.arrive(B, frame()).is_none());
        assert_eq!(network.send(Nanos(1), A, B, 0, &mut Injected::default()), [LOST; 2]);
        network.join_all();
        assert!(network.arrive(B, frame()).is_some());
    }
}
