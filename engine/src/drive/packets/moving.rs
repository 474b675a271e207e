//! The mover, as the run sees it: a process that has the devices of all nodes.

use std::borrow::Cow;
use std::fs::read_to_string;
use std::io;
use std::process::Child;
use std::thread::{self, JoinHandle};

use quorumbench_transports::tun::{Namespace, Tun};

use super::super::DriveError;
use super::super::control::{Begun, Control};
use super::super::part::Ended;
use super::super::processes::{Inlet, Outlet, child};
use super::process::{self, Assignment, MoverReport, ToMover};
use super::{Effort, LinkCounts, LinkLine, PacketsReport, descriptors, failed, mover};
use crate::spec::{Mover, Point};

/// A process that takes packets from devices, and gives them to others.
#[derive(Debug)]
pub(super) struct Moving {
    process: Child,
    outlet: Outlet,
    /// Waits for what the mover has to say; `None` once it was heard.
    ear: Option<JoinHandle<io::Result<Option<MoverReport>>>>,
}

/// Packets that may wait for the mover at each device. It takes them as fast as it can, so that they wait elsewhere.
const QUEUE: u32 = 10_000;

/// Whether this machine and this user may have such devices.
pub(super) fn probe() -> io::Result<()> {
    Tun::alone(mover::address(0), 1500, QUEUE).map(drop)
}

impl Moving {
    /// The nodes' namespaces, and what moves packets between them.
    pub(super) fn lay(point: &Point, seed: u64, control: &Control) -> io::Result<(Vec<Namespace>, Self)> {
        let mtu = point.network.mtu as u16;
        let nodes = point.nodes();
        let made: Vec<_> =
            (0..nodes).map(|id| Tun::alone(mover::address(id), mtu, QUEUE)).collect::<io::Result<_>>()?;
        let (namespaces, devices): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let (process, stream) = child::start(process::SUBCOMMAND)?;
        let outlet = Outlet::new(stream.try_clone()?);
        let mut moving = Self { process, outlet, ear: None };
        descriptors::send(&stream, &devices)?;
        let epoch_ns = control.clock().epoch_ns();
        let assignment = Assignment { point: Cow::Borrowed(point), seed, epoch_ns };
        moving.outlet.send(&ToMover::Assignment(Box::new(assignment)))?;
        let mut inlet = Inlet::new(stream);
        moving.ear = Some(thread::Builder::new().name("ear for the mover".into()).spawn(move || inlet.receive())?);
        Ok((namespaces, moving))
    }

    /// Says when it is measured.
    pub(super) fn begin(&self, begun: Begun) {
        // One that is gone is found by its ear.
        let _ = self.outlet.send(&ToMover::Begin(begun));
    }

    /// # Errors
    /// It is gone.
    pub(super) fn check(&mut self) -> Result<(), DriveError> {
        let gone = self.ear.as_ref().is_some_and(JoinHandle::is_finished);
        if gone { self.wait().map(drop) } else { Ok(()) }
    }

    /// Ends it, and adds what it did.
    pub(super) fn end(mut self, namespaces: &[Namespace], ended: &mut Ended) -> Result<(), DriveError> {
        let overrun = overrun(namespaces).map_err(failed(Mover::Tun))?;
        let _ = self.outlet.send(&ToMover::Stop);
        let MoverReport { cpu_ns, late, counts } = self.wait()?;
        let nodes = namespaces.len() as u32;
        let line = |(index, counts)| LinkLine { from: index / nodes, to: index % nodes, counts };
        let passed = (0..).zip(counts).filter(|(_, counts): &(u32, LinkCounts)| counts.packets > 0);
        let effort = Some(Effort { cpu_ns, overrun });
        ended.packets = Some(PacketsReport { links: passed.map(line).collect(), effort });
        ended.timings.lateness.add(&late).expect("all have the same bounds");
        Ok(())
    }

    /// Waits until the mover has ended, and says what it said.
    fn wait(&mut self) -> Result<MoverReport, DriveError> {
        let heard = self.ear.take().map(|ear| ear.join().unwrap_or(Ok(None)));
        self.outlet.close();
        let status = self.process.wait().map_err(failed(Mover::Tun))?;
        match heard {
            Some(Ok(Some(report))) => Ok(report),
            _ => Err(DriveError::Died { node: "the mover of packets".into(), process: self.process.id(), status }),
        }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        // It has ended and was waited for, unless something failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.ear.take().map(JoinHandle::join);
    }
}

/// What the kernel dropped before it reached a device, because that had too much to say.
fn overrun(namespaces: &[Namespace]) -> io::Result<u64> {
    let read = |namespace: &Namespace| namespace.within(|| read_to_string("/proc/thread-self/net/dev"))?;
    namespaces.iter().map(|namespace| Ok(dropped_on_sending(&read(namespace)?))).sum()
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
