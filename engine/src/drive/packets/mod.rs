//! Links that carry real packets, and lose, delay and reorder them: `network.emulation = "packets"`.
//!
//! Each node is in a network namespace of its own. There is nothing in it but a TUN device, and one process, the
//! [`mover`](mod@mover), takes the packets that come out of it to the devices of those that they are for, when and if the
//! dice of the link between the two say so; or there is one end of a [pair of devices](mesh) for each other node, and the
//! kernel's [`netem`] is the link. So TCP and QUIC meet the same network, and the kernel's own TCP deals with it.
//!
//! A namespace has no name, and goes with the last that is in it or holds it; the mover goes with this process, TUN devices
//! with the mover, and pairs with the namespaces of their ends. So nothing stays, whoever dies.

use std::env;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use quorumbench_protocols::NodeId;
use quorumbench_transports::tun::Namespace;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DriveError;
use super::control::{Begun, Control};
use super::part::Ended;
use crate::spec::{Emulation, Mover, Point};

mod descriptors;
mod mesh;
mod mover;
mod moving;
mod netem;
mod process;

use moving::Moving;
pub use process::mover;

/// What links did with packets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PacketsReport {
    /// Each link that something passed: in the window, or, where the kernel moves packets, in the whole point.
    pub links: Vec<LinkLine>,
    /// What it took the mover; `None` where the kernel is it, whose work is its own.
    pub effort: Option<Effort>,
}

/// What a process did that moves packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// What it used of its core in the window.
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
    /// How long they were together, their IP headers included; the kernel leaves out those that it lost or dropped.
    pub bytes: u64,
    /// How many were lost by the dice.
    pub lost: u64,
    /// How many found a queue full.
    pub dropped: u64,
    /// How many were held back past later ones.
    pub reordered: u64,
}

impl Effort {
    /// The share of the window that it worked.
    pub fn busy(&self, window_ns: u64) -> f64 {
        self.cpu_ns as f64 / window_ns as f64
    }
}

impl PacketsReport {
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
    by: By,
}

/// What moves packets between namespaces.
#[derive(Debug)]
enum By {
    Tun(Moving),
    Netem,
}

/// Whether this machine and this user may have links that `mover` moves the packets of.
///
/// # Errors
/// [`DriveError::Links`] says why not.
pub fn probe_packets(mover: Mover) -> Result<(), DriveError> {
    match mover {
        Mover::Tun => moving::probe(),
        Mover::Netem => netem::probe(),
    }
    .map_err(failed(mover))
}

fn failed(mover: Mover) -> impl Fn(io::Error) -> DriveError {
    move |source| DriveError::Links { mover, source }
}

/// Says what it takes, besides what is wrong.
pub(super) fn explain(mover: Mover, source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let packets = format!("`network.emulation` \"{}\"", Emulation::Packets);
    write!(f, "{packets}: {source}; ")?;
    let device = if mover == Mover::Tun { " and /dev/net/tun" } else { "" };
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            let program = env::current_exe().unwrap_or_else(|_| env!("CARGO_PKG_NAME").into());
            write!(
                f,
                "it takes CAP_SYS_ADMIN, CAP_NET_ADMIN{device}: use sudo, or type once `sudo setcap \
                 cap_sys_admin,cap_net_admin=ep {}`; ",
                program.display()
            )?;
        }
        io::ErrorKind::NotFound if mover == Mover::Tun => {
            write!(f, "it takes /dev/net/tun: try `modprobe tun` outside of any container; ")?;
        }
        _ if mover == Mover::Netem => write!(f, "`network.mover` \"{}\" needs none of it; ", Mover::Tun)?,
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
        let mover = point.network.mover;
        let laid = match mover {
            Mover::Tun => Moving::lay(point, seed, control).map(|(namespaces, by)| (namespaces, By::Tun(by))),
            Mover::Netem => netem::lay(point, seed).map(|namespaces| (namespaces, By::Netem)),
        };
        laid.map(|(namespaces, by)| Self(Some(Links { namespaces, by }))).map_err(failed(mover))
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
        if let Some(Links { by: By::Tun(moving), .. }) = &self.0 {
            moving.begin(begun);
        }
    }

    /// # Errors
    /// The mover is gone.
    pub(super) fn check(&mut self) -> Result<(), DriveError> {
        match &mut self.0 {
            Some(Links { by: By::Tun(moving), .. }) => moving.check(),
            _ => Ok(()),
        }
    }

    /// Ends it, and adds what it did. To be called when nobody uses it any more.
    pub(super) fn end(&mut self, ended: &mut Ended) -> Result<(), DriveError> {
        match self.0.take() {
            None => Ok(()),
            Some(Links { namespaces, by: By::Tun(moving) }) => moving.end(&namespaces, ended),
            Some(Links { namespaces, by: By::Netem }) => {
                let links = netem::counted(&namespaces).map_err(failed(Mover::Netem))?;
                ended.packets = Some(PacketsReport { links, effort: None });
                Ok(())
            }
        }
    }
}
