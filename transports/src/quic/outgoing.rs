//! What waits for a stream to take it, or for a datagram.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use quorumbench_protocols::{Head, Payload};
use zerocopy::IntoBytes;

use crate::Counters;
use crate::pool::Pool;

/// Frames for one peer, in few long blocks: quinn walks through all that are not acknowledged for each
/// packet that it builds.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Heads and small payloads, with nothing behind them yet.
    stage: Stage,
    staged_frames: usize,
    blocks: VecDeque<Block>,
    /// Of the blocks.
    bytes: usize,
}

/// What heads and small payloads are put into, side by side.
#[derive(Debug, Default)]
pub(super) struct Stage(BytesMut);

#[derive(Debug)]
struct Block {
    bytes: Bytes,
    /// How many frames end in it.
    frames: usize,
}

/// Shorter pieces are copied next to their heads, whatever the threshold: a walk past thousands of blocks
/// for each packet costs more. (At 1 KiB a payload, 2068 ns a frame for both ends by handle.)
const LEAST_BLOCK: usize = 16 << 10;
/// The size of the chunks that heads and small payloads are staged in.
const ROOM_BYTES: usize = 64 << 10;

/// What heads and small payloads are staged in. What links may hold is what bounds it.
pub(super) fn rooms() -> Pool {
    Pool::new(ROOM_BYTES, usize::MAX)
}

impl Outgoing {
    /// Queues this node's hello. It is nobody's frame: no counter sees it.
    pub(super) fn open(&mut self, hello: &Head) {
        debug_assert!(self.is_empty(), "a hello comes first");
        self.block(Bytes::copy_from_slice(hello.as_bytes()), 0);
    }

    /// Queues a frame. Each byte of a payload is copied once by quinn, into its packet, and once more if
    /// the payload is small.
    pub(super) fn push(
        &mut self,
        head: &Head,
        body: &Payload,
        gather_threshold: usize,
        rooms: &mut Pool,
        counters: &mut Counters,
    ) {
        self.append(head.as_bytes(), rooms);
        if !body.is_empty() {
            counters.copied_bytes += body.len() as u64;
            for piece in body.pieces() {
                if piece.len() < gather_threshold.clamp(LEAST_BLOCK, ROOM_BYTES) {
                    counters.copied_bytes += piece.len() as u64;
                    self.append(piece, rooms);
                } else {
                    self.seal();
                    self.block(piece.clone(), 0);
                }
            }
        }
        match self.blocks.back_mut().filter(|_| self.stage.is_empty()) {
            Some(last) => last.frames += 1,
            None => self.staged_frames += 1,
        }
        counters.sent_frames += 1;
        counters.sent_bytes += (Head::BYTES + body.len()) as u64;
    }

    /// What is to go out next, if anything waits.
    pub(super) fn next(&mut self) -> Option<&mut Bytes> {
        if self.blocks.is_empty() {
            self.seal();
        }
        self.blocks.front_mut().map(|block| &mut block.bytes)
    }

    /// The stream took `bytes` from the front of [`next`](Self::next).
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if self.blocks.front().is_some_and(|block| block.bytes.is_empty()) {
            self.blocks.pop_front();
        }
    }

    /// How many frames are lost if the connection is; what quinn has taken nobody can know.
    pub(super) fn frames(&self) -> usize {
        self.blocks.iter().map(|block| block.frames).sum::<usize>() + self.staged_frames
    }

    fn append(&mut self, bytes: &[u8], rooms: &mut Pool) {
        if !self.stage.fits(bytes.len()) {
            self.seal();
        }
        self.stage.append(bytes, rooms);
    }

    /// Gives back what is staged into, which may be a room of the pool.
    pub(super) fn close(&mut self, rooms: &mut Pool) {
        self.stage.close(rooms);
        *self = Self::default();
    }

    /// Makes a block of what is staged.
    fn seal(&mut self) {
        if !self.stage.is_empty() {
            let bytes = self.stage.take();
            let frames = std::mem::take(&mut self.staged_frames);
            self.block(bytes, frames);
        }
    }

    fn block(&mut self, bytes: Bytes, frames: usize) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.blocks.push_back(Block { bytes, frames });
        }
    }

    /// Bytes that the stream has not taken.
    pub(super) fn queued_bytes(&self) -> usize {
        self.bytes + self.stage.0.len()
    }

    /// Whether it has taken all.
    pub(super) fn is_empty(&self) -> bool {
        self.queued_bytes() == 0
    }
}

impl Stage {
    /// Whether `len` bytes more fit where the others are.
    fn fits(&self, len: usize) -> bool {
        self.0.capacity() - self.0.len() >= len
    }

    /// Adds `bytes`, of which a room holds as many; what is staged must have been taken if they do not fit.
    pub(super) fn append(&mut self, bytes: &[u8], rooms: &mut Pool) {
        if !self.fits(bytes.len()) {
            debug_assert!(self.is_empty(), "it would be lost");
            self.close(rooms);
            self.0 = rooms.take().expect("a pool without a limit");
        }
        self.0.extend_from_slice(bytes);
    }

    /// A frame by itself, for a datagram.
    pub(super) fn frame(&mut self, head: &Head, body: &Payload, rooms: &mut Pool) -> Bytes {
        if !self.fits(Head::BYTES + body.len()) {
            self.close(rooms);
        }
        self.append(head.as_bytes(), rooms);
        if !body.is_empty() {
            body.pieces().iter().for_each(|piece| self.append(piece, rooms));
        }
        self.take()
    }

    /// What is staged; more may come behind it.
    fn take(&mut self) -> Bytes {
        self.0.split().freeze()
    }

    /// Gives its room back.
    pub(super) fn close(&mut self, rooms: &mut Pool) {
        if self.0.capacity() > 0 {
            rooms.give(std::mem::take(&mut self.0));
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes a frame with `len` bytes of payload.
    fn push(outgoing: &mut Outgoing, len: usize, rooms: &mut Pool, counters: &mut Counters) {
        let body = Bytes::from(vec![len as u8; len]).into();
        outgoing.push(&Head::default(), &body, 1024, rooms, counters);
    }

    #[test]
    fn frames_go_in_order_in_few_blocks() {
        let (mut outgoing, mut rooms, mut counters) = (Outgoing::default(), rooms(), Counters::default());
        let lengths = [0, 5, 1000, LEAST_BLOCK - 1, LEAST_BLOCK, 70, 70_000];
        for len in lengths {
            push(&mut outgoing, len, &mut rooms, &mut counters);
        }
        let (mut taken, mut blocks) = (Vec::new(), 0);
        while let Some(block) = outgoing.next() {
            // As a stream does whose window is nearly full.
            let part = block.len().min(9000);
            taken.extend_from_slice(&block.split_to(part));
            blocks += usize::from(block.is_empty());
            outgoing.took(part);
        }
        let expected = lengths.iter().flat_map(|&len| [vec![0; Head::BYTES], vec![len as u8; len]].concat());
        assert_eq!(taken, expected.collect::<Vec<u8>>());
        assert!(blocks <= 5, "two by handle, and what is between them: {blocks}");
        let small: usize = lengths.iter().filter(|&&len| len < LEAST_BLOCK).sum();
        assert_eq!(counters.copied_bytes as usize, lengths.iter().sum::<usize>() + small);
        assert!(outgoing.is_empty() && outgoing.frames() == 0);
    }

    #[test]
    fn what_was_not_taken_is_lost() {
        let (mut outgoing, mut rooms, mut counters) = (Outgoing::default(), rooms(), Counters::default());
        for len in [90_000, 90_000, 90_000] {
            push(&mut outgoing, len, &mut rooms, &mut counters);
        }
        assert_eq!((counters.sent_frames, outgoing.frames()), (3, 3));
        let head = outgoing.next().expect("three frames wait");
        let len = head.split_to(Head::BYTES).len();
        outgoing.took(len);
        assert_eq!(outgoing.frames(), 3, "a frame is gone with its last byte");
        let body = outgoing.next().expect("its payload");
        let len = body.split_to(90_000).len();
        outgoing.took(len);
        outgoing.close(&mut rooms);
        assert!(outgoing.is_empty());
        assert_eq!(rooms.home(), 1, "the room comes back");
    }
}
