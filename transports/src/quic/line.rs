//! A connection, and what goes over it.

use std::time::Instant;

use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Endpoint, Event, ReadError, SendDatagramError, StreamEvent, VarInt,
};
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload};

use super::outgoing::Stage;
use super::port::Port;
use super::streams::Lanes;
use super::{Scratch, tls};
use crate::framing::Framer;
use crate::hello::{Greeting, Hello};
use crate::peers::{self, End, HELLO_PATIENCE_NS, Origin, Peers};
use crate::pool::Pool;
use crate::{Counters, MOST_LOOKS, Options};

/// Frames in both directions, once both ends have said hello.
pub(super) struct Line {
    quinn: Connection,
    handle: ConnectionHandle,
    origin: Origin,
    /// Whose it is, when that is known.
    peer: Option<Hello>,
    /// Until when that must be.
    until: Nanos,
    greeting: Greeting,
    lanes: Lanes,
    /// What a datagram's frame is put together in.
    stage: Stage,
    max_body: usize,
    /// Bytes that were pushed since something was sent, and how often the node has looked since.
    fresh_bytes: usize,
    looks: u32,
    /// Something has happened that quinn may have a packet for.
    stirred: bool,
    /// There may be something to read.
    readable: bool,
    /// When quinn wants to be asked again.
    due: Option<Instant>,
    /// The endpoint has forgotten it.
    forgotten: bool,
}

/// What a node sends that only looks waits for company until it fills what the kernel takes at once: a
/// system call and a datagram cost as much as a hundred frames.
const FULL_BYTES: usize = 60_000;

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
            greeting: Greeting::default(),
            lanes: Lanes::new(max_body),
            stage: Stage::default(),
            max_body,
            fresh_bytes: 0,
            looks: 0,
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

    /// The other end has said `theirs`, and this one says `ours` if it has not yet.
    pub(super) fn welcome(&mut self, theirs: Hello, ours: &Head) {
        self.peer = Some(theirs);
        if self.origin == Origin::Accepted {
            self.open(ours);
        }
        // Frames may have come right behind its hello.
        self.lanes.read_again();
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
        let queued = if options.quic.datagrams && self.fits_a_datagram(body) {
            self.push_datagram(head, body, rooms, counters)
        } else {
            self.lanes.push(head, body, options, rooms, counters)
        };
        if queued {
            self.fresh_bytes += Head::BYTES + body.len();
            self.stirred = true;
        }
    }

    /// Whether a frame can go by itself, as far as is known of the path now.
    fn fits_a_datagram(&mut self, body: &Payload) -> bool {
        self.quinn.datagrams().max_size().is_some_and(|most| Head::BYTES + body.len() <= most)
    }

    /// Queues a frame to go by itself (RFC 9221), or drops and counts it if too much waits.
    fn push_datagram(&mut self, head: &Head, body: &Payload, rooms: &mut Pool, counters: &mut Counters) -> bool {
        let frame = self.stage.frame(head, body, rooms);
        let bytes = frame.len() as u64;
        let sent = self.quinn.datagrams().send(frame, false);
        debug_assert!(matches!(sent, Ok(()) | Err(SendDatagramError::Blocked(_))), "it fits: {sent:?}");
        counters.copied_bytes += body.len() as u64;
        if sent.is_err() {
            counters.dropped_frames += 1;
            return false;
        }
        counters.copied_bytes += body.len() as u64;
        counters.sent_frames += 1;
        counters.sent_bytes += bytes;
        true
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

    /// Whether what was pushed waits for more: the node looks once more, and will soon look again.
    pub(super) fn waits(&mut self) -> bool {
        let waits = self.fresh_bytes > 0 && self.fresh_bytes < FULL_BYTES && self.looks + 1 < MOST_LOOKS;
        self.looks += u32::from(waits);
        waits
    }

    /// Sends what there is to send, as far as the kernel takes it. Whether it took nothing.
    pub(super) fn flush(
        &mut self,
        now: Instant,
        port: &mut Port,
        packets: &mut Vec<u8>,
        counters: &mut Counters,
    ) -> bool {
        if !self.stirred {
            return false;
        }
        let mut left_out = true;
        (self.fresh_bytes, self.looks) = (0, 0);
        self.lanes.write(&mut self.quinn);
        let most = port.most_datagrams(self.quinn.current_mtu());
        while port.flush(counters) {
            packets.clear();
            left_out = false;
            let Some(transmit) = self.quinn.poll_transmit(now, most, packets) else {
                self.stirred = false;
                break;
            };
            port.send(transmit, packets, counters);
        }
        self.due = self.quinn.poll_timeout();
        left_out
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
        let lost = self.lanes.frames();
        self.lanes.close(&mut scratch.rooms);
        self.stage.close(&mut scratch.rooms);
        self.stirred = true;
        self.flush(now, port, &mut scratch.packets, counters);
        if !self.forgotten {
            // What still comes is answered as what comes to nobody is: with a reset, which needs no state.
            endpoint.handle_event(self.handle, quinn_proto::EndpointEvent::drained());
        }
        lost
    }

    pub(super) fn peer(&self) -> Option<NodeId> {
        self.peer.map(|peer| peer.id)
    }

    pub(super) fn is_client(&self) -> bool {
        self.peer.is_some_and(Hello::is_client)
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
                Event::Stream(StreamEvent::Opened { .. }) => {
                    self.lanes.stirred(&mut self.quinn, None);
                    self.readable = true;
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    self.lanes.stirred(&mut self.quinn, Some(id));
                    self.readable = true;
                }
                Event::DatagramReceived => self.readable = true,
                Event::ConnectionLost { reason } => lost = Some(reason),
                _ => {}
            }
        }
        lost
    }

    fn open(&mut self, hello: &Head) {
        self.lanes.open(&mut self.quinn, hello);
        self.stirred = true;
    }

    /// Reads the other end's hello.
    fn greet(&mut self, peers: &Peers) -> Progress {
        let Some(from) = self.lanes.first() else {
            self.readable = false;
            return Progress::Going;
        };
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
        let Some(peer) = self.peer() else { return Progress::Going };
        let first = inbox.len();
        let outcome = self.lanes.read(&mut self.quinn, inbox, counters);
        let outcome =
            outcome.map(|stirred| self.stirred |= stirred).and_then(|()| self.read_datagrams(inbox, counters));
        let admitted = peers::admit(peer, inbox, first, counters);
        admitted.and(outcome).map_or_else(Progress::Over, |()| Progress::Going)
    }

    /// Takes the datagrams, each of which is a frame.
    fn read_datagrams(&mut self, inbox: &mut Vec<Frame>, counters: &mut Counters) -> Result<(), End> {
        while let Some(mut bytes) = self.quinn.datagrams().recv() {
            counters.received_bytes += bytes.len() as u64;
            let before = inbox.len();
            Framer::new(self.max_body).frames(&mut bytes, inbox)?;
            if !bytes.is_empty() || inbox.len() != before + 1 {
                inbox.truncate(before);
                return Err(End::Malformed);
            }
        }
        Ok(())
    }
}
