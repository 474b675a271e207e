//! The streams of a connection, in both directions, and which frames go by which.

use bytes::Bytes;
use quinn_proto::{Connection, Dir, ReadError, StreamId};
use quorumbench_protocols::{Frame, Head, Payload};

use super::options::Streams;
use super::outgoing::Outgoing;
use crate::framing::Framer;
use crate::peers::End;
use crate::pool::Pool;
use crate::{Counters, Options};

/// What goes out by each stream, and what came by each.
#[derive(Debug)]
pub(super) struct Lanes {
    outward: Vec<Outward>,
    /// As the other end has opened them, which is how quinn numbers them.
    inward: Vec<Inward>,
    /// Of all streams, not taken yet.
    queued_bytes: usize,
    /// Which is written to first: who was last for the others.
    turn: usize,
    max_body: usize,
}

#[derive(Debug, Default)]
struct Outward {
    /// Once it is open.
    id: Option<StreamId>,
    outgoing: Outgoing,
}

#[derive(Debug)]
struct Inward {
    id: StreamId,
    framer: Framer,
    /// There may be something to read.
    readable: bool,
}

/// Streams that a peer may open. Groups that are more share some.
pub(super) const MOST_STREAMS: u16 = 1024;

impl Lanes {
    pub(super) fn new(max_body: usize) -> Self {
        let outward = vec![Outward::default()];
        Self { outward, inward: Vec::new(), queued_bytes: 0, turn: 0, max_body }
    }

    /// Opens the first stream with this node's hello, which the other end reads before anything else.
    pub(super) fn open(&mut self, quinn: &mut Connection, hello: &Head) {
        self.outward[0].id = quinn.streams().open(Dir::Uni);
        self.outward[0].outgoing.open(hello);
        self.queued_bytes += Head::BYTES;
    }

    /// Queues a frame, or drops and counts it if too much waits. Says whether it is queued.
    pub(super) fn push(
        &mut self,
        head: &Head,
        body: &Payload,
        options: &Options,
        rooms: &mut Pool,
        counters: &mut Counters,
    ) -> bool {
        let bytes = Head::BYTES + body.len();
        if self.queued_bytes > 0 && self.queued_bytes + bytes > options.link_bytes {
            counters.dropped_frames += 1;
            return false;
        }
        let lane = match options.quic.streams {
            Streams::Peer => 0,
            Streams::Group => usize::from(head.group % MOST_STREAMS),
        };
        if self.outward.len() <= lane {
            self.outward.resize_with(lane + 1, Outward::default);
        }
        self.outward[lane].outgoing.push(head, body, options.gather_threshold, rooms, counters);
        self.queued_bytes += bytes;
        true
    }

    /// Gives the streams what they take.
    pub(super) fn write(&mut self, quinn: &mut Connection) {
        // Nothing goes ahead of the hello.
        if self.queued_bytes == 0 || self.outward[0].id.is_none() {
            return;
        }
        let count = self.outward.len();
        self.turn = (self.turn + 1) % count;
        for at in 0..count {
            let Outward { id, outgoing } = &mut self.outward[(self.turn + at) % count];
            if outgoing.is_empty() {
                continue;
            }
            *id = id.or_else(|| quinn.streams().open(Dir::Uni));
            let Some(id) = *id else { continue };
            let mut stream = quinn.send_stream(id);
            while let Some(block) = outgoing.next() {
                // Else it waits until something is acknowledged; or the stream is over, which is an event.
                let Ok(written) = stream.write_chunks(std::slice::from_mut(block)) else { break };
                outgoing.took(written.bytes);
                self.queued_bytes -= written.bytes;
            }
        }
    }

    /// Something has come by stream `id`, or it has been opened.
    pub(super) fn stirred(&mut self, quinn: &mut Connection, id: Option<StreamId>) {
        while let Some(id) = quinn.streams().accept(Dir::Uni) {
            self.inward.push(Inward { id, framer: Framer::new(self.max_body), readable: true });
        }
        if let Some(inward) = id.and_then(|id| self.inward.get_mut(id.index() as usize)) {
            inward.readable = true;
        }
    }

    /// The stream that the other end opened first.
    pub(super) fn first(&self) -> Option<StreamId> {
        self.inward.first().map(|inward| inward.id)
    }

    /// All may have something to read.
    pub(super) fn read_again(&mut self) {
        self.inward.iter_mut().for_each(|inward| inward.readable = true);
    }

    /// Appends all frames that have come. Says whether quinn has something to tell the other end of it.
    ///
    /// # Errors
    /// That a stream is over, which ends the connection, or that it carries what are no frames. What came
    /// before that is in `inbox`.
    pub(super) fn read(
        &mut self,
        quinn: &mut Connection,
        inbox: &mut Vec<Frame>,
        counters: &mut Counters,
    ) -> Result<bool, End> {
        let mut stirred = false;
        for inward in self.inward.iter_mut().filter(|inward| inward.readable) {
            inward.readable = false;
            let mut stream = quinn.recv_stream(inward.id);
            let Ok(mut chunks) = stream.read(true) else { return Err(End::Lost) };
            let end = loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(chunk)) => {
                        counters.received_bytes += chunk.bytes.len() as u64;
                        if inward.frames(chunk.bytes, inbox).is_err() {
                            break Err(End::Malformed);
                        }
                    }
                    Err(ReadError::Blocked) => break Ok(()),
                    Ok(None) | Err(ReadError::Reset(_)) => break Err(End::Lost),
                }
            };
            stirred |= chunks.finalize().should_transmit();
            end?;
        }
        Ok(stirred)
    }

    /// Frames that no stream has taken whole.
    pub(super) fn frames(&self) -> usize {
        self.outward.iter().map(|outward| outward.outgoing.frames()).sum()
    }

    /// Gives back what is staged into.
    pub(super) fn close(&mut self, rooms: &mut Pool) {
        self.outward.iter_mut().for_each(|outward| outward.outgoing.close(rooms));
        self.queued_bytes = 0;
    }
}

impl Inward {
    fn frames(&mut self, mut bytes: Bytes, inbox: &mut Vec<Frame>) -> Result<(), crate::framing::TooLong> {
        self.framer.frames(&mut bytes, inbox)?;
        self.framer.turn_over(bytes)
    }
}
