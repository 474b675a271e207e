//! A connection, and the stream that each end has opened on it.

use std::time::Instant;

use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Dir, Endpoint, Event, ReadError, StreamEvent, StreamId, VarInt,
};
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload};

use super::outgoing::Outgoing;
use super::port::Port;
use super::{Scratch, tls};
use crate::framing::Framer;
use crate::hello::{Greeting, Hello};
use crate::peers::{self, End, HELLO_PATIENCE_NS, Origin, Peers};
use crate::pool::Pool;
use crate::{Counters, Options};

/// Frames in both directions, once both ends have said hello.
pub(super) struct Line {
    quinn: Connection,
    handle: ConnectionHandle,
    origin: Origin,
    /// Whose it is, when that is known.
    peer: Option<NodeId>,
    /// Until when that must be.
    until: Nanos,
    to: Option<StreamId>,
    from: Option<StreamId>,
    greeting: Greeting,
    framer: Framer,
    outgoing: Outgoing,
    /// Something has happened that quinn may have a packet for.
    stirred: bool,
    /// There may be something to read.
    readable: bool,
    /// When quinn wants to be asked again.
    due: Option<Instant>,
    /// The endpoint has forgotten it.
    forgotten: bool,
}

/// How far a line has got.
#[derive(Debug)]
pub(super) enum Progress {
    /// As far as there is something to go on with.
    Going,
    /// The other end has said who it is.
    Known(Hello),
    /// The other end is none of this run.
    Stranger,
    /// It is over.
    Over(End),
}

impl Line {
    pub(super) fn new(
        handle: ConnectionHandle,
        quinn: Connection,
        origin: Origin,
        now: Nanos,
        max_body: usize,
    ) -> Self {
        Self {
            quinn,
            handle,
            origin,
            peer: None,
            until: now + HELLO_PATIENCE_NS,
            to: None,
            from: None,
            greeting: Greeting::default(),
            framer: Framer::new(max_body),
            outgoing: Outgoing::default(),
            stirred: true,
            readable: false,
            due: None,
            forgotten: false,
        }
    }

    /// A datagram has come for it.
    pub(super) fn handle(&mut self, event: quinn_proto::ConnectionEvent) {
        self.quinn.handle_event(event);
        self.stirred = true;
    }

    /// The other end is `peer`, and this one says hello if it has not yet.
    pub(super) fn welcome(&mut self, peer: NodeId, hello: &Head) {
        self.peer = Some(peer);
        if self.origin == Origin::Accepted {
            self.open(hello);
        }
        // Frames may have come right behind its hello.
        self.readable = true;
    }

    /// Queues a frame, or drops and counts it.
    pub(super) fn push(
        &mut self,
        head: &Head,
        body: &Payload,
        options: &Options,
        rooms: &mut Pool,
        counters: &mut Counters,
    ) {
        self.outgoing.push(head, body, options, rooms, counters);
        self.stirred = true;
    }

    /// Goes on as far as what has come allows. Streams are only read if the node can keep what is `read`:
    /// what waits in them holds back their senders. Frames that came before an end are in `inbox`.
    pub(super) fn go_on(
        &mut self,
        endpoint: &mut Endpoint,
        peers: &Peers,
        read: bool,
        inbox: &mut Vec<Frame>,
        counters: &mut Counters,
    ) -> Progress {
        let lost = self.events(endpoint, peers);
        if self.readable && (read || lost.is_some()) {
            let progress = if self.peer.is_some() { self.read(inbox, counters) } else { self.greet(peers) };
            if !matches!(progress, Progress::Going) {
                return progress;
            }
        }
        match lost {
            None => Progress::Going,
            Some(ConnectionError::TransportError(_) | ConnectionError::VersionMismatch) if self.peer.is_none() => {
                Progress::Stranger
            }
            Some(_) => Progress::Over(End::Lost),
        }
    }

    /// Sends what there is to send, as far as the kernel takes it.
    pub(super) fn flush(&mut self, now: Instant, port: &mut Port, packets: &mut Vec<u8>, counters: &mut Counters) {
        if !self.stirred {
            return;
        }
        self.write();
        let most = port.most_datagrams(self.quinn.current_mtu());
        while port.flush(counters) {
            packets.clear();
            let Some(transmit) = self.quinn.poll_transmit(now, most, packets) else {
                self.stirred = false;
                break;
            };
            port.send(transmit, packets, counters);
        }
        self.due = self.quinn.poll_timeout();
    }

    /// Lets quinn do what is due.
    pub(super) fn pass_time(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.quinn.handle_timeout(now);
            self.due = self.quinn.poll_timeout();
            self.stirred = true;
        }
    }

    /// Tells the other end that it is over, and says how many frames were not sent.
    pub(super) fn close(
        mut self,
        endpoint: &mut Endpoint,
        port: &mut Port,
        scratch: &mut Scratch,
        counters: &mut Counters,
    ) -> usize {
        let now = Instant::now();
        if !self.quinn.is_closed() {
            self.quinn.close(now, VarInt::from_u32(0), bytes::Bytes::new());
        }
        let lost = self.outgoing.frames();
        self.outgoing.close(&mut scratch.rooms);
        self.stirred = true;
        self.flush(now, port, &mut scratch.packets, counters);
        if !self.forgotten {
            // What still comes is answered as what comes to nobody is: with a reset, which needs no state.
            endpoint.handle_event(self.handle, quinn_proto::EndpointEvent::drained());
        }
        lost
    }

    pub(super) fn peer(&self) -> Option<NodeId> {
        self.peer
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// When it must be known who the other end is, unless that is.
    pub(super) fn until(&self) -> Option<Nanos> {
        self.peer.is_none().then_some(self.until)
    }

    /// When quinn has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether [`go_on`](Self::go_on) and [`flush`](Self::flush) have something to do.
    pub(super) fn is_stirred(&self) -> bool {
        self.stirred || self.readable
    }

    /// Takes what quinn has to tell, and says why the connection is over if so.
    fn events(&mut self, endpoint: &mut Endpoint, peers: &Peers) -> Option<ConnectionError> {
        while let Some(event) = self.quinn.poll_endpoint_events() {
            self.forgotten |= event.is_drained();
            if let Some(event) = endpoint.handle_event(self.handle, event) {
                self.quinn.handle_event(event);
            }
        }
        let mut lost = None;
        while let Some(event) = self.quinn.poll() {
            match event {
                Event::Connected if self.origin != Origin::Accepted => self.open(peers.hello()),
                Event::Stream(StreamEvent::Opened { .. } | StreamEvent::Readable { .. }) => self.readable = true,
                Event::ConnectionLost { reason } => lost = Some(reason),
                _ => {}
            }
        }
        lost
    }

    /// Opens this end's stream with its hello.
    fn open(&mut self, hello: &Head) {
        self.to = self.quinn.streams().open(Dir::Uni);
        self.outgoing.open(hello);
        self.stirred = true;
    }

    /// Gives the stream what it takes.
    fn write(&mut self) {
        let Some(to) = self.to else { return };
        let mut stream = self.quinn.send_stream(to);
        while let Some(block) = self.outgoing.next() {
            match stream.write_chunks(std::slice::from_mut(block)) {
                Ok(written) => self.outgoing.took(written.bytes),
                // Until something is acknowledged; or the end of the stream, which comes as an event.
                Err(_) => break,
            }
        }
    }

    /// Reads the other end's hello.
    fn greet(&mut self, peers: &Peers) -> Progress {
        let Some(from) = self.from.or_else(|| self.quinn.streams().accept(Dir::Uni)) else {
            self.readable = false;
            return Progress::Going;
        };
        self.from = Some(from);
        let mut stream = self.quinn.recv_stream(from);
        let Ok(mut chunks) = stream.read(true) else { return Progress::Over(End::Lost) };
        let ended = loop {
            if self.greeting.missing() == 0 {
                break false;
            }
            match chunks.next(self.greeting.missing()) {
                Ok(Some(chunk)) => {
                    self.greeting.room()[..chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                    self.greeting.took(chunk.bytes.len());
                }
                Err(ReadError::Blocked) => break false,
                Ok(None) | Err(ReadError::Reset(_)) => break true,
            }
        };
        self.stirred |= chunks.finalize().should_transmit();
        let Some(first) = self.greeting.head() else {
            self.readable = false;
            return if ended { Progress::Over(End::Lost) } else { Progress::Going };
        };
        match peers.identify(first, self.origin) {
            // Who belongs to the run could still take another's name.
            Some(hello) if tls::is(hello.id, self.quinn.crypto_session().peer_identity()) => Progress::Known(hello),
            _ => Progress::Stranger,
        }
    }

    /// Reads all that has come.
    fn read(&mut self, inbox: &mut Vec<Frame>, counters: &mut Counters) -> Progress {
        self.readable = false;
        let Some((from, peer)) = self.from.zip(self.peer) else { return Progress::Going };
        let mut stream = self.quinn.recv_stream(from);
        let Ok(mut chunks) = stream.read(true) else { return Progress::Over(End::Lost) };
        let first = inbox.len();
        let end = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    let mut bytes = chunk.bytes;
                    counters.received_bytes += bytes.len() as u64;
                    let framed = self.framer.frames(&mut bytes, inbox).and_then(|()| self.framer.turn_over(bytes));
                    if framed.is_err() {
                        break Some(End::Malformed);
                    }
                }
                Err(ReadError::Blocked) => break None,
                Ok(None) | Err(ReadError::Reset(_)) => break Some(End::Lost),
            }
        };
        self.stirred |= chunks.finalize().should_transmit();
        let admitted = peers::admit(peer, inbox, first, counters);
        admitted.err().or(end).map_or(Progress::Going, Progress::Over)
    }
}
