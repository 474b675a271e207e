//! Takes packets from devices and gives them to others, when and if their links say so.
//!
//! No packet is copied, and nothing is allocated for one: it is read into a slot, waits there in the order in which
//! packets leave, and is written from there.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use hdrhistogram::Histogram;
use quorumbench_protocols::Nanos;
use quorumbench_transports::Clock;
use quorumbench_transports::shape::{Fate, LinkState};
use quorumbench_transports::tun::Tun;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::LinkCounts;
use crate::measure::histogram;

/// All devices, the links between them, and what is under way.
pub(super) struct Mover<'a> {
    clock: Clock,
    /// Each node's, by its id.
    devices: &'a [Tun],
    polls: Vec<PollFd<'a>>,
    /// From each to each: `from * devices + to`.
    links: Vec<Link>,
    leaving: BinaryHeap<Reverse<Leaving>>,
    /// How many packets have ever been under way: those that leave at one moment leave in this order.
    order: u64,
    slots: Slots,
    /// Whether what passes counts.
    counting: bool,
    late: Histogram<u64>,
}

struct Link {
    state: LinkState,
    counts: LinkCounts,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Leaving {
    at: Nanos,
    order: u64,
    link: u32,
    slot: u32,
    bytes: usize,
}

/// What one device may say before the next one, and what has to leave meanwhile, have their turn.
const TURN: usize = 64;

impl<'a> Mover<'a> {
    /// Packets are of `mtu` bytes at most. `links` are from each device to each, in order.
    pub(super) fn new(devices: &'a [Tun], links: Vec<LinkState>, mtu: usize, clock: Clock) -> Self {
        assert_eq!(links.len(), devices.len() * devices.len(), "a link from each to each");
        let slots = Slots::new(mtu);
        Self {
            clock,
            devices,
            polls: devices.iter().map(|device| PollFd::from_borrowed_fd(device.as_fd(), PollFlags::IN)).collect(),
            links: links.into_iter().map(|state| Link { state, counts: LinkCounts::default() }).collect(),
            leaving: BinaryHeap::with_capacity(slots.free.len()),
            order: 0,
            slots,
            counting: false,
            late: histogram(),
        }
    }

    /// Whether what passes from now on counts.
    pub(super) fn count(&mut self, counting: bool) {
        self.counting = counting;
    }

    /// What passed each link, and how much later than it should have what left did so.
    pub(super) fn counted(self) -> (Vec<LinkCounts>, Histogram<u64>) {
        (self.links.into_iter().map(|link| link.counts).collect(), self.late)
    }

    /// Moves what is there and what is due, having waited for either, but not beyond `deadline`.
    pub(super) fn turn(&mut self, deadline: Nanos) -> io::Result<()> {
        let deadline = self.leaving.peek().map_or(deadline, |Reverse(next)| deadline.min(next.at));
        let wait_ns = deadline.saturating_since(self.clock.now()).cast_signed();
        let wait = Timespec { tv_sec: wait_ns / 1_000_000_000, tv_nsec: wait_ns % 1_000_000_000 };
        match poll(&mut self.polls, Some(&wait)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.give();
        for from in 0..self.devices.len() {
            if !self.polls[from].revents().is_empty() {
                self.take(from)?;
                self.give();
            }
        }
        Ok(())
    }

    /// Takes what a device has, and finds out what becomes of it.
    fn take(&mut self, from: usize) -> io::Result<()> {
        for _ in 0..TURN {
            let slot = self.slots.last();
            let Some(bytes) = self.devices[from].read(self.slots.bytes(slot))? else { break };
            let now = self.clock.now();
            let Some(to) = destination(&self.slots.bytes(slot)[..bytes], self.devices.len()) else { continue };
            let index = from * self.devices.len() + to;
            let link = &mut self.links[index];
            let fate = link.state.pass(now, bytes);
            let at = match fate {
                Fate::Arrives(at) | Fate::HeldBack(at) if self.slots.take() => Some(at),
                _ => None,
            };
            if self.counting {
                link.counts.packets += 1;
                link.counts.bytes += bytes as u64;
                link.counts.lost += u64::from(fate == Fate::Lost);
                link.counts.dropped += u64::from(fate != Fate::Lost && at.is_none());
                link.counts.reordered += u64::from(matches!(fate, Fate::HeldBack(_)));
            }
            if let Some(at) = at {
                self.order += 1;
                self.leaving.push(Reverse(Leaving { at, order: self.order, link: index as u32, slot, bytes }));
            }
        }
        Ok(())
    }

    /// Gives out all that is due.
    fn give(&mut self) {
        while let Some(Reverse(next)) = self.leaving.peek() {
            let now = self.clock.now();
            if next.at > now {
                break;
            }
            let Some(Reverse(Leaving { at, link, slot, bytes, .. })) = self.leaving.pop() else { break };
            let to = link as usize % self.devices.len();
            let given = self.devices[to].write(&self.slots.bytes(slot)[..bytes]);
            self.slots.put_back(slot);
            if self.counting {
                self.late.saturating_record(now.saturating_since(at).max(1));
                self.links[link as usize].counts.dropped += u64::from(given.is_err());
            }
        }
    }
}

/// The address of a node.
pub(super) fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST.to_bits() + node as u32)
}

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Whom a packet is for, if for one of the nodes. The kernel also says a word of its own now and then, to groups.
fn destination(packet: &[u8], nodes: usize) -> Option<usize> {
    let is_ipv4 = packet.first()? >> 4 == 4;
    let to = u32::from_be_bytes(packet.get(16..20)?.try_into().ok()?);
    let node = to.wrapping_sub(FIRST.to_bits()) as usize;
    (is_ipv4 && node < nodes).then_some(node)
}

/// Room for packets under way. Memory that was never used is never the machine's.
struct Slots {
    each: usize,
    memory: Vec<u8>,
    /// The last one is read into, so there is always one.
    free: Vec<u32>,
}

/// As many packets may be under way, if they are of no more bytes together than [`MOST_BYTES`] as long as they can be.
const MOST_PACKETS: usize = 1 << 16;
const MOST_BYTES: usize = 256 << 20;

impl Slots {
    fn new(mtu: usize) -> Self {
        let count = MOST_PACKETS.min(MOST_BYTES / mtu);
        // Those used last, which a cache knows, are used next.
        Self { each: mtu, memory: vec![0; count * mtu], free: (0..count as u32).rev().collect() }
    }

    /// One that is free.
    fn last(&self) -> u32 {
        *self.free.last().expect("one is always free")
    }

    /// Takes that one, unless it is the only one.
    fn take(&mut self) -> bool {
        let more = self.free.len() > 1;
        if more {
            self.free.pop();
        }
        more
    }

    fn put_back(&mut self, slot: u32) {
        self.free.push(slot);
    }

    fn bytes(&mut self, slot: u32) -> &mut [u8] {
        &mut self.memory[slot as usize * self.each..][..self.each]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use quorumbench_transports::shape::LinkModel;

    const MTU: usize = 1500;

    /// Datagrams play the part of packets, so that it takes no privileges.
    fn devices(count: usize) -> (Vec<UnixDatagram>, Vec<Tun>) {
        let device = |_| {
            let (one, other) = UnixDatagram::pair().expect("sockets");
            [&one, &other].into_iter().for_each(|end| end.set_nonblocking(true).expect("it does not block"));
            (one, Tun::from(std::os::fd::OwnedFd::from(other)))
        };
        (0..count).map(device).unzip()
    }

    fn links(devices: usize, model: &LinkModel) -> Vec<LinkState> {
        (0..devices * devices).map(|index| LinkState::new(model, index as u64)).collect()
    }

    fn packet(to: usize, number: u32) -> Vec<u8> {
        let mut packet = vec![0x45; 20];
        packet[16..20].copy_from_slice(&address(to).octets());
        packet.extend(number.to_le_bytes());
        packet
    }

    /// The numbers of the packets that have arrived.
    fn arrived(at: &UnixDatagram) -> Vec<u32> {
        let mut buffer = [0; MTU];
        let next = || {
            at.recv(&mut buffer).ok()?;
            Some(u32::from_le_bytes(buffer[20..24].try_into().expect("four bytes")))
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn packets_go_where_they_are_for_and_not_before_their_time() {
        let (ends, devices) = devices(3);
        let clock = Clock::start();
        let delay = Duration::from_millis(20);
        let mut mover = Mover::new(&devices, links(3, &LinkModel::late(delay)), MTU, clock);
        mover.count(true);
        let sent = clock.now();
        for (number, (from, to)) in (0..).zip([(0, 1), (0, 2), (2, 1), (0, 1)]) {
            ends[from].send(&packet(to, number)).expect("sent");
        }
        // To nobody, and in no version that is known.
        ends[0].send(&packet(3, 9)).expect("sent");
        ends[0].send(&[0x60; 40]).expect("sent");
        ends[0].send(&[]).expect("sent");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        while first.len() + second.len() < 4 {
            mover.turn(clock.now() + 1_000_000).expect("moved");
            let early = clock.now() < sent + 20_000_000;
            first.extend(arrived(&ends[1]));
            second.extend(arrived(&ends[2]));
            assert!(!early || first.is_empty() && second.is_empty());
        }
        assert!(first.iter().filter(|&&number| number != 2).eq(&[0, 3]), "in order: {first:?}");
        assert_eq!((first.len(), second), (3, vec![1]));
        let (counts, late) = mover.counted();
        let packets: Vec<u64> = counts.iter().map(|counts| counts.packets).collect();
        assert_eq!(packets, [0, 2, 1, 0, 0, 0, 0, 1, 0]);
        assert_eq!((counts[1].bytes, late.len()), (48, 4));
    }

    #[test]
    fn what_is_lost_is_counted_and_what_waits_is_bounded() {
        let (ends, devices) = devices(2);
        let clock = Clock::start();
        let model = LinkModel { loss: 0.5, ..LinkModel::late(Duration::ZERO) };
        let mut mover = Mover::new(&devices, links(2, &model), MTU, clock);
        mover.count(true);
        let mut all = 0;
        for number in 0..2000 {
            ends[0].send(&packet(1, number)).expect("sent");
            mover.turn(clock.now()).expect("moved");
            all += arrived(&ends[1]).len() as u64;
        }
        let (counts, _) = mover.counted();
        assert_eq!((counts[1].packets, counts[1].dropped, 2000 - counts[1].lost), (2000, 0, all));
        assert!((900..1100).contains(&all), "{all}");

        let far = links(2, &LinkModel::late(Duration::from_secs(3600)));
        // So long that few fit.
        let mut mover = Mover::new(&devices, far, MOST_BYTES / 4, clock);
        mover.count(true);
        for number in 0..10 {
            ends[0].send(&packet(1, number)).expect("sent");
            mover.turn(clock.now()).expect("moved");
        }
        assert_eq!(mover.leaving.len(), 3, "and the last one is read into");
        assert_eq!((mover.counted().0)[1].dropped, 7);
    }
}
