//! Network namespaces, and TUN devices in them: what a node sends over its sockets comes out of the device as packets,
//! and packets that are written to the device arrive at its sockets.
//!
//! Nothing here has a name outside of this process: the kernel removes a namespace with the last thread, process or
//! descriptor that holds it, and a device with its descriptor, however they end.
//!
//! The calls that rustix has no safe form of are here and, but for those of the ring, nowhere else.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::thread;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, Updater};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace: devices, addresses, routes and ports of its own.
#[derive(Debug)]
pub struct Namespace(File);

/// The outer end of a TUN device. A read takes one packet, a write gives one, IP header first, and neither waits.
#[derive(Debug)]
pub struct Tun(File);

impl Namespace {
    /// A new one with nothing in it but its loopback, which is down.
    ///
    /// # Errors
    /// The machine's, saying what could not be done: it takes `CAP_SYS_ADMIN`.
    pub fn alone() -> io::Result<Self> {
        Self::with(|| Ok(())).map(|(namespace, ())| namespace)
    }

    /// A new one, and what `body` makes in it.
    fn with<T: Send>(body: impl FnOnce() -> io::Result<T> + Send) -> io::Result<(Self, T)> {
        // On a thread of its own, which ends in there.
        let body = move || {
            // SAFETY: of what threads share by themselves only the network is given up, and no descriptor.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|why| told("make a network namespace", why))?;
            let made = body()?;
            Ok((Self::current()?, made))
        };
        thread::scope(|scope| scope.spawn(body).join().expect("it does not panic"))
    }

    /// The one that this thread is in.
    pub fn current() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    /// Does `body` in this namespace: sockets that it opens, threads that it starts and processes that it spawns are
    /// of this namespace for good. This thread is back in its own before it goes on.
    ///
    /// # Errors
    /// The machine's, and `body` was not begun.
    ///
    /// # Panics
    /// If there is no way back.
    pub fn within<T>(&self, body: impl FnOnce() -> T) -> io::Result<T> {
        /// Goes back, also from a panic.
        struct Home(Namespace);
        impl Drop for Home {
            fn drop(&mut self) {
                self.0.enter().expect("a thread may go back to where it was");
            }
        }
        let home = Home(Self::current()?);
        self.enter()?;
        let done = body();
        drop(home);
        Ok(done)
    }

    fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Tun {
    /// A new namespace with nothing in it but its loopback and a device with `address`, to which the whole `/8` around
    /// it leads. Packets are of `mtu` bytes at most: the kernel cuts what is longer, also what it would have left to a
    /// network card to cut, so that each packet is one on the wire. Up to `queue` of them wait to be
    /// read, if the kernel lets them.
    ///
    /// # Errors
    /// The machine's, saying what could not be done: it takes `CAP_SYS_ADMIN` to make a namespace, `CAP_NET_ADMIN` to
    /// make a device, and `/dev/net/tun`.
    pub fn alone(address: Ipv4Addr, mtu: u16, queue: u32) -> io::Result<(Namespace, Self)> {
        Namespace::with(|| {
            let tun = Self::open().map_err(|why| told("make a TUN device", why))?;
            configure(address, mtu, queue).map_err(|why| told("set up a TUN device", why))?;
            Ok(tun)
        })
    }

    fn open() -> io::Result<Self> {
        let not_waiting = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).write(true).custom_flags(not_waiting).open("/dev/net/tun")?;
        request::<TUNSETIFF>(&file, DEVICE, &(IFF_TUN | IFF_NO_PI).to_ne_bytes())?;
        Ok(Self(file))
    }

    /// The next packet, into `buffer`: its length, or `None` if there is none by now.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            read => read.map(Some),
        }
    }

    /// Gives a packet to the kernel, which may refuse it.
    pub fn write(&self, packet: &[u8]) -> io::Result<()> {
        (&self.0).write(packet).map(drop)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Tun {
    /// Any descriptor whose reads and writes are packets, and that does not block.
    fn from(file: OwnedFd) -> Self {
        Self(file.into())
    }
}

fn told(what: &str, why: impl Into<io::Error>) -> io::Error {
    let why = why.into();
    io::Error::new(why.kind(), format!("cannot {what}: {why}"))
}

/// The name of each namespace's only device.
const DEVICE: &str = "link";

/// Sets up the device and the loopback of this thread's namespace.
fn configure(address: Ipv4Addr, mtu: u16, queue: u32) -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let inet = |address: Ipv4Addr| {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&AddressFamily::INET.as_raw().to_ne_bytes());
        bytes[4..8].copy_from_slice(&address.octets());
        bytes
    };
    request::<SIOCSIFMTU>(&socket, DEVICE, &i32::from(mtu).to_ne_bytes())?;
    // Who is root in a namespace of users only may not. Then fewer wait, 500 as a rule.
    let _ = request::<SIOCSIFTXQLEN>(&socket, DEVICE, &queue.to_ne_bytes());
    request::<SIOCSIFADDR>(&socket, DEVICE, &inet(address))?;
    request::<SIOCSIFNETMASK>(&socket, DEVICE, &inet(Ipv4Addr::new(255, 0, 0, 0)))?;
    request::<SIOCSIFFLAGS>(&socket, DEVICE, &IFF_UP.to_ne_bytes())?;
    request::<SIOCSIFFLAGS>(&socket, "lo", &IFF_UP.to_ne_bytes())
}

/// What `<linux/if_tun.h>` and `<linux/sockios.h>` name so.
const TUNSETIFF: Opcode = ioctl::opcode::write::<i32>(b'T', 202);
const SIOCSIFFLAGS: Opcode = 0x8914;
const SIOCSIFADDR: Opcode = 0x8916;
const SIOCSIFNETMASK: Opcode = 0x891c;
const SIOCSIFMTU: Opcode = 0x8922;
const SIOCSIFTXQLEN: Opcode = 0x8943;
const IFF_TUN: u16 = 1;
const IFF_NO_PI: u16 = 0x1000;
const IFF_UP: u16 = 1;

/// `struct ifreq` of `<linux/if.h>`: the name of a device, and a union.
const NAME: usize = 16;
const UNION: usize = 24;

/// Asks something about the device of that name. `REQUEST` is one of those above.
fn request<const REQUEST: Opcode>(file: impl AsFd, device: &str, value: &[u8]) -> io::Result<()> {
    let mut bytes = [0; NAME + UNION];
    bytes[..device.len()].copy_from_slice(device.as_bytes());
    bytes[NAME..][..value.len()].copy_from_slice(value);
    // SAFETY: each of the requests above reads and writes a `struct ifreq` and nothing else. That is as long as `bytes`
    // on 64-bit machines and shorter on others, may lie anywhere, and any bytes are one.
    let done = unsafe { ioctl::ioctl(file, Updater::<REQUEST, _>::new(&mut bytes)) };
    done.map_err(|error: Errno| error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::{Duration, Instant};

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const THERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    /// `None`, having said why, where there are no namespaces or devices to be had.
    fn alone(address: Ipv4Addr) -> Option<(Namespace, Tun)> {
        let made = Tun::alone(address, 1500, 100);
        made.inspect_err(|error| println!("skipped: {error}")).ok()
    }

    fn next(tun: &Tun) -> Vec<u8> {
        let (mut buffer, begin) = ([0; 2000], Instant::now());
        loop {
            match tun.read(&mut buffer).expect("packets") {
                // The kernel may have something to say for itself, in version 6.
                Some(length) if buffer[0] >> 4 == 4 => return buffer[..length].to_vec(),
                Some(_) => {}
                None => assert!(begin.elapsed() < Duration::from_secs(10), "nothing came"),
            }
        }
    }

    #[test]
    fn what_one_sends_is_a_packet_and_arrives_where_it_is_written() {
        let (Some((here, one)), Some((there, other))) = (alone(HERE), alone(THERE)) else { return };
        let sender = here.within(|| UdpSocket::bind((HERE, 0))).expect("a namespace").expect("its address");
        let receiver = there.within(|| UdpSocket::bind((THERE, 7))).expect("a namespace").expect("its address");
        assert!(UdpSocket::bind((HERE, 0)).is_err(), "this thread is where it was");
        sender.send_to(b"hello", (THERE, 7)).expect("sent");
        let packet = next(&one);
        assert_eq!((packet.len(), &packet[16..20], &packet[28..]), (33, &THERE.octets()[..], &b"hello"[..]));
        other.write(&packet).expect("a packet");
        let mut buffer = [0; 100];
        let (length, from) = receiver.recv_from(&mut buffer).expect("it arrives");
        assert_eq!((&buffer[..length], from), (&b"hello"[..], sender.local_addr().expect("an address")));
    }

    #[test]
    fn what_is_longer_than_a_packet_is_cut() {
        let Some((here, one)) = alone(HERE) else { return };
        let sender = here.within(|| UdpSocket::bind((HERE, 0))).expect("a namespace").expect("its address");
        sender.send_to(&[7; 3000], (THERE, 7)).expect("sent");
        let lengths: Vec<usize> = (0..3).map(|_| next(&one).len()).collect();
        assert_eq!(lengths, [1500, 1500, 3008 - 2 * 1480 + 20]);
    }
}
