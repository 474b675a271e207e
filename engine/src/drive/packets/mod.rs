//! Links that carry real packets, and lose, delay and reorder them: `network.emulation = "packets"`.
//!
//! Each node is in a network namespace of its own, in which there is nothing but a TUN device. Whatever its sockets
//! send comes out of that as packets, and one process, the [`mover`], takes them to the devices of those that they
//! are for, when and if the dice of the link between the two say so. So TCP and QUIC meet the same network, and the
//! kernel's own TCP deals with it.
//!
//! A namespace has no name, and goes with the last that is in it or holds it; the mover goes with this process, and the
//! devices with the mover. So nothing stays, whoever dies.

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::fs::read_to_string;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Child;
use std::thread::{self, JoinHandle};

use quorumbench_protocols::NodeId;
use quorumbench_transports::tun::{Namespace, Tun};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DriveError;
use super::control::{Begun, Control};
use super::part::Ended;
use super::processes::{Inlet, Outlet, child};
use crate::spec::{Emulation, Point};

mod descriptors;
mod mover;
mod process;

pub use process::mover;
use process::{Assignment, MoverReport, ToMover};

/// What links did with packets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PacketsReport {
    /// Each link that something passed in the window.
    pub links: Vec<LinkLine>,
    /// What the mover used of its core in the window.
    pub cpu_ns: u64,
    /// Packets that were gone before the mover could take them, because too many waited; in the whole point.
    pub overrun: u64,
}

/// What became of the packets from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkLine {
    /// From whom.
    pub from: u32,
    /// To whom.
    pub to: u32,
    /// What became of them.
    #[serde(flatten)]
    pub counts: LinkCounts,
}

/// What became of some packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkCounts {
    /// How many there were.
    pub packets: u64,
    /// How long they were together, their IP headers included.
    pub bytes: u64,
    /// How many were lost by the dice.
    pub lost: u64,
    /// How many found a queue full.
    pub dropped: u64,
    /// How many were held back past later ones.
    pub reordered: u64,
}

impl PacketsReport {
    /// The share of the window that the mover worked.
    pub fn busy(&self, window_ns: u64) -> f64 {
        self.cpu_ns as f64 / window_ns as f64
    }

    /// What became of the packets of all links.
    pub fn together(&self) -> LinkCounts {
        self.links.iter().fold(LinkCounts::default(), |sum, line| sum.plus(line.counts))
    }
}

impl LinkCounts {
    /// The sum over links.
    #[must_use]
    fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
            lost: self.lost + other.lost,
            dropped: self.dropped + other.dropped,
            reordered: self.reordered + other.reordered,
        }
    }
}

/// The network that nodes are in: the host's, or one of their own.
#[derive(Debug)]
pub(super) struct Network(Option<Links>);

#[derive(Debug)]
struct Links {
    /// Each node's, by its id.
    namespaces: Vec<Namespace>,
    process: Child,
    outlet: Outlet,
    /// Waits for what the mover has to say; `None` once it was heard.
    ear: Option<JoinHandle<io::Result<Option<MoverReport>>>>,
}

/// Packets that may wait for the mover at each device. It takes them as fast as it can, so that they wait elsewhere.
const QUEUE: u32 = 10_000;

/// Whether this machine and this user may have such links.
///
/// # Errors
/// [`DriveError::Links`] says why not.
pub fn probe_packets() -> Result<(), DriveError> {
    Tun::alone(mover::address(0), 1500, QUEUE).map(drop).map_err(|source| DriveError::Links { source })
}

/// Says what it takes, besides what is wrong.
pub(super) fn explain(source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let packets = format!("`network.emulation` \"{}\"", Emulation::Packets);
    write!(f, "{packets}: {source}; ")?;
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            let program = env::current_exe().unwrap_or_else(|_| env!("CARGO_PKG_NAME").into());
            write!(
                f,
                "it takes CAP_SYS_ADMIN, CAP_NET_ADMIN and /dev/net/tun: use sudo, or type once `sudo setcap \
                 cap_sys_admin,cap_net_admin=ep {}`; ",
                program.display()
            )?;
        }
        io::ErrorKind::NotFound => write!(f, "it takes /dev/net/tun: try `modprobe tun` outside of any container; ")?,
        _ => {}
    }
    write!(f, "\"{}\" needs nothing, and loses nothing", Emulation::Shape)
}

impl Network {
    /// What `point` asks for, with all dice from `seed`. This thread must outlive it.
    pub(super) fn of(point: &Point, seed: u64, control: &Control) -> Result<Self, DriveError> {
        if point.network.emulation != Emulation::Packets {
            return Ok(Self(None));
        }
        Links::lay(point, seed, control).map(|links| Self(Some(links))).map_err(|source| DriveError::Links { source })
    }

    /// The address that a node is to listen on; port 0 is for the system to choose.
    pub(super) fn address(&self, point: &Point, id: NodeId) -> SocketAddr {
        let base = point.cluster.base_port;
        let host = if self.0.is_some() { IpAddr::V4(mover::address(id.0 as usize)) } else { point.cluster.bind };
        SocketAddr::new(host, if base == 0 { 0 } else { base + id.0 as u16 })
    }

    /// Does `body` where the node is: see [`Namespace::within`].
    pub(super) fn at<T>(&self, id: NodeId, body: impl FnOnce() -> T) -> io::Result<T> {
        match &self.0 {
            None => Ok(body()),
            Some(links) => links.namespaces[id.0 as usize].within(body),
        }
    }

    /// Says when it is measured.
    pub(super) fn begin(&self, begun: Begun) {
        // One that is gone is found by its ear.
        self.0.iter().for_each(|links| drop(links.outlet.send(&ToMover::Begin(begun))));
    }

    /// # Errors
    /// The mover is gone.
    pub(super) fn check(&mut self) -> Result<(), DriveError> {
        match &mut self.0 {
            Some(links) if links.ear.as_ref().is_some_and(JoinHandle::is_finished) => links.wait().map(drop),
            _ => Ok(()),
        }
    }

    /// Ends it, and adds what it did. To be called when nobody uses it any more.
    pub(super) fn end(&mut self, ended: &mut Ended) -> Result<(), DriveError> {
        let Some(mut links) = self.0.take() else { return Ok(()) };
        let overrun = links.overrun().map_err(|source| DriveError::Links { source })?;
        let _ = links.outlet.send(&ToMover::Stop);
        let MoverReport { cpu_ns, late, counts } = links.wait()?;
        let nodes = links.namespaces.len() as u32;
        let line = |(index, counts)| LinkLine { from: index / nodes, to: index % nodes, counts };
        let passed = (0..).zip(counts).filter(|(_, counts): &(u32, LinkCounts)| counts.packets > 0);
        ended.packets = Some(PacketsReport { links: passed.map(line).collect(), cpu_ns, overrun });
        ended.timings.lateness.add(&late).expect("all have the same bounds");
        Ok(())
    }
}

impl Links {
    fn lay(point: &Point, seed: u64, control: &Control) -> io::Result<Self> {
        let mtu = point.network.mtu as u16;
        let nodes = point.nodes();
        let made: Vec<_> =
            (0..nodes).map(|id| Tun::alone(mover::address(id), mtu, QUEUE)).collect::<io::Result<_>>()?;
        let (namespaces, devices): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let (process, stream) = child::start(process::SUBCOMMAND)?;
        let outlet = Outlet::new(stream.try_clone()?);
        let mut links = Self { namespaces, process, outlet, ear: None };
        descriptors::send(&stream, &devices)?;
        let epoch_ns = control.clock().epoch_ns();
        let assignment = Assignment { point: Cow::Borrowed(point), seed, epoch_ns };
        links.outlet.send(&ToMover::Assignment(Box::new(assignment)))?;
        let mut inlet = Inlet::new(stream);
        links.ear = Some(thread::Builder::new().name("ear for the mover".into()).spawn(move || inlet.receive())?);
        Ok(links)
    }

    /// Waits until the mover has ended, and says what it said.
    fn wait(&mut self) -> Result<MoverReport, DriveError> {
        let heard = self.ear.take().map(|ear| ear.join().unwrap_or(Ok(None)));
        self.outlet.close();
        let status = self.process.wait().map_err(|source| DriveError::Links { source })?;
        match heard {
            Some(Ok(Some(report))) => Ok(report),
            _ => Err(DriveError::Died { node: "the mover of packets".into(), process: self.process.id(), status }),
        }
    }

    /// What the kernel dropped before it reached a device, because that had too much to say.
    fn overrun(&self) -> io::Result<u64> {
        let read = |namespace: &Namespace| namespace.within(|| read_to_string("/proc/thread-self/net/dev"))?;
        self.namespaces.iter().map(|namespace| Ok(dropped_on_sending(&read(namespace)?))).sum()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // It has ended and was waited for, unless something failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.ear.take().map(JoinHandle::join);
    }
}

/// Of all devices in the kernel's table: a line each, eight figures of what came after its name, and then of what went.
fn dropped_on_sending(table: &str) -> u64 {
    let figure = |line: &str| line.split_once(':')?.1.split_whitespace().nth(8 + 3)?.parse::<u64>().ok();
    table.lines().filter_map(figure).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_on_sending_is_in_its_column() {
        let table = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1       2    3    4    5     6          7         8      9       10   11    0   13    14      15         16
  link:    1       2    3    4    5     6          7         8      9       10   11   12   13    14      15         16
";
        assert_eq!(dropped_on_sending(table), 12);
    }
}
