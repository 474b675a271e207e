//! How far nodes are from each other, wherever they live: what a host's nodes have said, and nobody has heard yet.
//!
//! Each directed pair of nodes has a link of its own. Of thousands there would be millions, so a link is there only while
//! something is under way over it: one that is new does the same as one at rest.

use hdrhistogram::Histogram;
use quorumbench_protocols::gossip::message::Message;
use quorumbench_protocols::{Frame, Head, Nanos, Prng};
use quorumbench_transports::shape::{Fate, LinkModel, LinkState};
use rustc_hash::FxHashMap;

use super::super::links::model;
use crate::measure::histogram;
use crate::sim::queue::Queue;
use crate::spec::{Emulation, Point};

/// The links from a host's nodes to all.
#[derive(Debug)]
pub(super) struct Links {
    /// From each region to each, of so many.
    models: Vec<LinkModel>,
    regions: usize,
    /// By both ends, from whom first.
    open: FxHashMap<(u32, u32), LinkState>,
    /// So many may be open before it is looked which are at rest.
    most_open: usize,
    held: Queue<Frame>,
    held_frames: usize,
    held_bytes: usize,
    /// Of each link that is opened.
    dice: Prng,
    passed: Passed,
    lateness: Histogram<u64>,
}

/// What became of frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    /// That were sent.
    pub(super) frames: u64,
    /// That were lost, as the models say.
    pub(super) lost: u64,
    /// For which there was no room.
    pub(super) full: u64,
}

/// Most frames that a host holds, and most bytes of them. Beyond that they are dropped.
const MOST_FRAMES: usize = 1 << 20;
const MOST_BYTES: usize = 256 << 20;

/// With fewer links than that it is not worth while to look.
const FEW_LINKS: usize = 1 << 10;

impl Links {
    /// Those of a host, with all their randomness from `seed`; `None` where links are what they are.
    pub(super) fn of(point: &Point, seed: u64) -> Option<Self> {
        let regions = point.regions();
        // Two nodes in each region have all ways between them, that to their own one, too.
        let between = |(from, to)| model(point, from, regions + to);
        let pairs = (0..regions).flat_map(|from| (0..regions).map(move |to| (from, to)));
        (point.network.emulation == Emulation::Shape).then(|| Self {
            models: pairs.map(between).collect(),
            regions,
            open: FxHashMap::default(),
            most_open: FEW_LINKS,
            held: Queue::new(),
            held_frames: 0,
            held_bytes: 0,
            dice: Prng::new(seed),
            passed: Passed::default(),
            lateness: histogram(),
        })
    }

    /// Sends a frame on its way. Whether it will arrive.
    pub(super) fn take(&mut self, now: Nanos, frame: Frame) -> bool {
        let bytes = bytes(&frame);
        self.passed.frames += 1;
        if self.held_frames >= MOST_FRAMES || self.held_bytes + bytes > MOST_BYTES {
            self.passed.full += 1;
            return false;
        }
        match self.link(now, &frame.head).pass(now, bytes) {
            Fate::Arrives(at) | Fate::HeldBack(at) => {
                self.held_frames += 1;
                self.held_bytes += bytes;
                self.held.push(at, frame);
                return true;
            }
            Fate::Lost => self.passed.lost += 1,
            Fate::Full => self.passed.full += 1,
        }
        false
    }

    fn link(&mut self, now: Nanos, head: &Head) -> &mut LinkState {
        if self.open.len() >= self.most_open {
            self.open.retain(|_, link| !link.is_at_rest(now));
            self.most_open = FEW_LINKS.max(2 * self.open.len());
        }
        let (from, to) = (Message::sender(head).0, Message::recipient(head).0);
        let region = |node: u32| node as usize % self.regions;
        let model = &self.models[region(from) * self.regions + region(to)];
        self.open.entry((from, to)).or_insert_with(|| LinkState::new(model, self.dice.next_u64()))
    }

    /// When the next frame arrives.
    pub(super) fn next_at(&self) -> Nanos {
        self.held.next_at().unwrap_or(Nanos::NEVER)
    }

    /// The next one that has arrived by `until`, seen `now`.
    pub(super) fn arrived(&mut self, until: Nanos, now: Nanos) -> Option<Frame> {
        if self.next_at() > until {
            return None;
        }
        let (at, frame) = self.held.pop()?;
        self.held_frames -= 1;
        self.held_bytes -= bytes(&frame);
        self.lateness.saturating_record(now.saturating_since(at));
        Some(frame)
    }

    /// Forgets what is under way. Says what became of frames since it last did.
    pub(super) fn clear(&mut self) -> Passed {
        self.open.clear();
        self.held = Queue::new();
        (self.held_frames, self.held_bytes) = (0, 0);
        std::mem::take(&mut self.passed)
    }

    /// How much later than it should have each frame arrived.
    pub(super) fn into_lateness(self) -> Histogram<u64> {
        self.lateness
    }
}

fn bytes(frame: &Frame) -> usize {
    Head::BYTES + frame.body.len()
}

impl Passed {
    /// Both.
    pub(super) fn plus(self, other: Self) -> Self {
        Self { frames: self.frames + other.frames, lost: self.lost + other.lost, full: self.full + other.full }
    }
}

#[cfg(test)]
mod tests {
    use quorumbench_protocols::{NodeId, Payload};

    use super::*;
    use crate::spec::Spec;

    fn links(network: &str) -> Links {
        let text = format!(
            "name = 'x'\ncluster = {{ protocol = 'gossip', transport = 'mem' }}\n\
             network = {{ emulation = 'shape', {network} }}\ngossip = {{ interval = '50ms', trials = 1 }}"
        );
        Links::of(&Spec::parse(&text, "x", &[]).expect("a config").points()[0], 1).expect("shaped links")
    }

    fn frame(from: u32, to: u32) -> Frame {
        Frame { head: Message::Ask.head(NodeId(from), NodeId(to)), body: Payload::EMPTY }
    }

    fn ms(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    #[test]
    fn each_two_are_as_far_apart_as_their_regions() {
        let mut links = links("delay = '1ms', round_trips = 'a-b 20ms, a-c 40ms, b-c 60ms'");
        for (from, to, way) in [(0, 3, 1), (3, 1, 10), (1, 999, 10), (2, 6, 20), (4, 5, 30), (5, 7, 30)] {
            assert!(links.take(ms(100), frame(from, to)));
            assert_eq!(links.next_at(), ms(100 + way), "{from} to {to}");
            assert!(links.arrived(ms(99 + way), ms(200)).is_none(), "{from} to {to}");
            let frame = links.arrived(ms(100 + way), ms(100 + way)).expect("it has arrived");
            assert_eq!((Message::sender(&frame.head).0, Message::recipient(&frame.head).0), (from, to));
        }
        assert_eq!((links.next_at(), links.into_lateness().max()), (Nanos::NEVER, 0));
    }

    #[test]
    fn a_rate_is_that_of_two_and_not_of_all() {
        // A head is 64 bytes, which take it a millisecond.
        let mut links = links("delay = '0ms', bandwidth = '64KB'");
        for (from, to) in [(0, 1), (0, 1), (1, 0), (0, 2), (0, 1)] {
            assert!(links.take(ms(5), frame(from, to)));
        }
        let mut arrive = |at| std::iter::from_fn(|| links.arrived(ms(at), ms(at))).count();
        assert_eq!([5, 6, 7, 8].map(&mut arrive), [0, 3, 1, 1]);
    }

    #[test]
    fn links_at_rest_are_closed() {
        let mut links = links("delay = '1ms'");
        for number in 0..200_000 {
            links.take(Nanos(u64::from(number) * 10_000), frame(number, number + 1));
            while links.arrived(Nanos(u64::from(number) * 10_000), Nanos::ZERO).is_some() {}
        }
        assert!(links.open.len() <= FEW_LINKS && links.held_frames <= 101, "{}", links.open.len());
    }

    #[test]
    fn what_a_host_holds_has_an_end() {
        let mut links = links("delay = '1s'");
        let mebibyte = || Frame { body: bytes::Bytes::from(vec![0; 1 << 20]).into(), ..frame(0, 1) };
        let one = mebibyte();
        let taken = (0..300).filter(|_| links.take(ms(0), one.clone())).count();
        assert_eq!(taken, 255, "each has a head, too");
        let passed = links.clear();
        assert_eq!((passed.frames, passed.lost, passed.full), (300, 0, 45));
        assert!(links.take(ms(0), mebibyte()) && links.next_at() == ms(1000), "there is room again");
    }
}
