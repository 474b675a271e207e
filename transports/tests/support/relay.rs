//! A UDP path between one node that dials and one that listens: it loses, holds back and alters what it
//! is told to, and nothing else, and moves only when it is pumped.

#![allow(dead_code, reason = "nobody has a use for all of it")]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From who dials to who listens.
    There,
    /// Back to who dials.
    Back,
}

/// What becomes of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Pass,
    /// It is lost.
    Drop,
    /// It goes on with the so many-th pump after this one: what came behind it overtakes it.
    Hold(u64),
    /// These go on in its place.
    Replaced(Vec<Vec<u8>>),
}

/// The path. Whoever dials dials [`at`](Self::at).
#[derive(Debug)]
pub(crate) struct Relay {
    near: Socket,
    far: Socket,
    /// Who listens.
    to: SocketAddr,
    /// Who dials, as soon as it has.
    from: Option<SocketAddr>,
    held: Vec<(u64, Way, Vec<u8>)>,
    pumps: u64,
    /// Datagrams that went on.
    pub(crate) passed: u64,
    /// Datagrams that were lost.
    pub(crate) dropped: u64,
    /// Datagrams that were held back.
    pub(crate) held_back: u64,
}

/// With the port of its number in TCP, which others go by when they look for a free one.
#[derive(Debug)]
struct Socket {
    udp: UdpSocket,
    _held: TcpListener,
}

/// The longest datagram that there is.
const MOST_BYTES: usize = 1 << 16;

impl Relay {
    /// A path to `to`.
    pub(crate) fn new(to: SocketAddr) -> Self {
        let (near, far) = (Socket::new(), Socket::new());
        Self { near, far, to, from: None, held: Vec::new(), pumps: 0, passed: 0, dropped: 0, held_back: 0 }
    }

    /// Where to dial.
    pub(crate) fn at(&self) -> SocketAddr {
        self.near.udp.local_addr().expect("it is bound")
    }

    /// From here on who listens sees another address, as behind a router that has forgotten.
    pub(crate) fn rebind(&mut self) {
        self.far = Socket::new();
    }

    /// From here on another listens, at `to`, where who dials still sees the same address.
    pub(crate) fn redirect(&mut self, to: SocketAddr) {
        self.to = to;
    }

    /// Moves all that has come, as `fate` has it, and whatever was held back until now.
    pub(crate) fn pump(&mut self, mut fate: impl FnMut(Way, &[u8]) -> Fate) {
        self.pumps += 1;
        let mut room = vec![0; MOST_BYTES];
        while let Some((len, from)) = self.near.receive(&mut room) {
            self.from = Some(from);
            let fate = fate(Way::There, &room[..len]);
            self.meet(Way::There, &room[..len], fate);
        }
        while let Some((len, from)) = self.far.receive(&mut room) {
            if from == self.to {
                let fate = fate(Way::Back, &room[..len]);
                self.meet(Way::Back, &room[..len], fate);
            }
        }
        let pumps = self.pumps;
        for (_, way, datagram) in self.held.extract_if(.., |held| held.0 <= pumps).collect::<Vec<_>>() {
            self.pass(way, &datagram);
        }
    }

    fn meet(&mut self, way: Way, datagram: &[u8], fate: Fate) {
        match fate {
            Fate::Pass => self.pass(way, datagram),
            Fate::Drop => self.dropped += 1,
            Fate::Hold(pumps) => {
                self.held_back += 1;
                self.held.push((self.pumps + pumps, way, datagram.to_vec()));
            }
            Fate::Replaced(others) => others.iter().for_each(|other| self.pass(way, other)),
        }
    }

    fn pass(&mut self, way: Way, datagram: &[u8]) {
        self.passed += 1;
        // What the machine does not take is lost, as on any path.
        let _ = match (way, self.from) {
            (Way::There, _) => self.far.udp.send_to(datagram, self.to),
            (Way::Back, Some(from)) => self.near.udp.send_to(datagram, from),
            (Way::Back, None) => Ok(0),
        };
    }
}

impl Socket {
    fn new() -> Self {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let udp = UdpSocket::bind(held.local_addr().expect("it is bound")).expect("a free port");
        udp.set_nonblocking(true).expect("an option");
        Self { udp, _held: held }
    }

    fn receive(&self, room: &mut [u8]) -> Option<(usize, SocketAddr)> {
        match self.udp.recv_from(room) {
            Ok(came) => Some(came),
            // Nobody is there any more; that is for who waits for an answer to find out.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("a relay's socket: {error}"),
        }
    }
}
