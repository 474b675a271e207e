//! A batch as it lies in memory, on the wire and in every log: a head and length-prefixed commands.
//!
//! A protocol never looks in here. Clients write batches, state machines read them, and both ends
//! of a batch's life are the same bytes.

use bytes::{BufMut, Bytes, BytesMut};
use quorumbench_protocols::Payload;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a batch says of itself: whose it is, which, and what its client no longer waits for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BatchHead {
    /// The client's node id. With `sequence` it names the batch, and a command's place in the batch
    /// names the command: that is what "at most once" is judged by.
    pub client: u32,
    /// How many commands follow.
    pub commands: u32,
    /// Counts a client's batches from 0.
    pub sequence: u64,
    /// How many batches back the client's first unanswered one is, itself if 0: nobody need remember those before.
    pub unsettled: u32,
    /// How many batches back the one is that its client wants ordered before it: the last before it that goes
    /// through the log; 0 if there is none, or that is answered.
    pub after: u32,
}

impl BatchHead {
    /// Bytes before the first command.
    pub const BYTES: usize = size_of::<Self>();
    /// Bytes before each command: its length.
    pub const PREFIX: usize = 4;
    /// How far a client's newest batch may be ahead of its oldest unanswered one.
    pub const MAX_AHEAD: u64 = 1 << 20;

    /// The head of a batch that its client asks for now: every batch below `settled` is answered, and `previous` is
    /// the last that went through the log.
    ///
    /// # Panics
    /// If it is [`MAX_AHEAD`](Self::MAX_AHEAD) or more ahead of what is settled.
    pub fn next(client: u32, sequence: u64, settled: u64, previous: Option<u64>) -> Self {
        assert!(sequence - settled < Self::MAX_AHEAD, "batch {sequence} is too far ahead of {settled}");
        let back = |to: u64| (sequence - to) as u32;
        let after = previous.filter(|&previous| previous >= settled).map_or(0, back);
        Self { client, commands: 0, sequence, unsettled: back(settled), after }
    }

    /// The client has an answer to every batch below this.
    pub const fn settled(&self) -> u64 {
        self.sequence - self.unsettled as u64
    }

    /// The batch that its client wants ordered before this one.
    pub fn predecessor(&self) -> Option<u64> {
        (self.after > 0).then(|| self.sequence - u64::from(self.after))
    }

    /// Reads the head of `body`; `None` if `body` cannot be a batch: too short, a promise of more
    /// commands than its bytes could hold, too far ahead of what is settled, or after what is.
    pub fn read(body: &Payload) -> Option<Self> {
        let mut head = Self::default();
        let mut reader = Reader::new(body);
        let read = reader
            .read(Self::BYTES, |from, bytes| head.as_mut_bytes()[from..from + bytes.len()].copy_from_slice(bytes));
        let most = (body.len().checked_sub(Self::BYTES)?) / Self::PREFIX;
        let ahead = u64::from(head.unsettled);
        let back = ahead < Self::MAX_AHEAD && ahead <= head.sequence && head.after <= head.unsettled;
        (read && head.commands as usize <= most && back).then_some(head)
    }
}

/// Writes one batch into a chunk.
#[derive(Debug)]
pub struct Writer<'a> {
    chunk: &'a mut BytesMut,
    head: BatchHead,
}

impl<'a> Writer<'a> {
    /// Begins a batch at the end of the empty `chunk`.
    pub fn new(chunk: &'a mut BytesMut, head: BatchHead) -> Self {
        debug_assert!(chunk.is_empty(), "a chunk's earlier batches were split off");
        chunk.put_bytes(0, BatchHead::BYTES);
        Self { chunk, head: BatchHead { commands: 0, ..head } }
    }

    /// Adds a command: `write` appends its bytes.
    pub fn command(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let at = self.chunk.len();
        self.chunk.put_u32_le(0);
        write(self.chunk);
        let len = (self.chunk.len() - at - BatchHead::PREFIX) as u32;
        self.chunk[at..at + BatchHead::PREFIX].copy_from_slice(&len.to_le_bytes());
        self.head.commands += 1;
    }

    /// Commands so far.
    pub fn commands(&self) -> u32 {
        self.head.commands
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.chunk.len()
    }

    /// The batch; the chunk keeps its spare capacity.
    pub fn finish(self) -> Bytes {
        self.chunk[..BatchHead::BYTES].copy_from_slice(self.head.as_bytes());
        self.chunk.split().freeze()
    }
}

/// Reads a batch's commands in place. A command that straddles two receive buffers is joined in a
/// scratch buffer: the only copy, and only for machines that look at commands at all.
#[derive(Debug)]
pub struct Commands<'a> {
    reader: Reader<'a>,
    left: u32,
    scratch: Vec<u8>,
}

impl<'a> Commands<'a> {
    /// The commands of `body`, whose head was read.
    pub fn new(head: &BatchHead, body: &'a Payload) -> Self {
        let mut reader = Reader::new(body);
        reader.read(BatchHead::BYTES, |_, _| ());
        Self { reader, left: head.commands, scratch: Vec::new() }
    }

    /// The next command; `None` after the last, or where the bytes end before the batch says so.
    pub fn next_command(&mut self) -> Option<&[u8]> {
        self.left = self.left.checked_sub(1)?;
        let mut prefix = [0; BatchHead::PREFIX];
        let whole =
            self.reader.read(BatchHead::PREFIX, |from, bytes| prefix[from..from + bytes.len()].copy_from_slice(bytes));
        let len = u32::from_le_bytes(prefix) as usize;
        if !whole || len > self.reader.left() {
            self.left = 0;
            return None;
        }
        if let Some(command) = self.reader.contiguous(len) {
            return Some(command);
        }
        self.scratch.clear();
        let scratch = &mut self.scratch;
        self.reader.read(len, |_, bytes| scratch.extend_from_slice(bytes));
        Some(&self.scratch)
    }
}

/// Walks a payload's bytes over its pieces.
#[derive(Debug)]
struct Reader<'a> {
    piece: &'a [u8],
    rest: &'a [Bytes],
}

impl<'a> Reader<'a> {
    fn new(body: &'a Payload) -> Self {
        Self { piece: &[], rest: body.pieces() }
    }

    fn left(&self) -> usize {
        self.piece.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    /// The next `len` bytes, if they lie in one piece.
    fn contiguous(&mut self, len: usize) -> Option<&'a [u8]> {
        self.turn_over();
        let (taken, piece) = self.piece.split_at_checked(len)?;
        self.piece = piece;
        Some(taken)
    }

    /// Shows the next `len` bytes to `sink`, run by run with the offset of each; false if there are fewer.
    fn read(&mut self, len: usize, mut sink: impl FnMut(usize, &[u8])) -> bool {
        let mut from = 0;
        while from < len {
            self.turn_over();
            if self.piece.is_empty() {
                return false;
            }
            let (taken, piece) = self.piece.split_at(self.piece.len().min(len - from));
            sink(from, taken);
            (from, self.piece) = (from + taken.len(), piece);
        }
        true
    }

    fn turn_over(&mut self) {
        while self.piece.is_empty()
            && let Some((first, rest)) = self.rest.split_first()
        {
            (self.piece, self.rest) = (first, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(commands: &[&[u8]]) -> (BatchHead, Bytes) {
        let mut chunk = BytesMut::with_capacity(4096);
        let head = BatchHead { commands: commands.len() as u32, ..BatchHead::next(7, 9, 3, Some(5)) };
        let mut writer = Writer::new(&mut chunk, head);
        commands.iter().for_each(|command| writer.command(|chunk| chunk.put_slice(command)));
        (head, writer.finish())
    }

    #[test]
    fn a_batch_says_which_one_goes_before_it() {
        let said = |head: BatchHead| (head.settled(), head.predecessor());
        assert_eq!(said(BatchHead::next(7, 9, 3, Some(5))), (3, Some(5)));
        assert_eq!(said(BatchHead::next(7, 9, 6, Some(5))), (6, None), "that one is answered");
        assert_eq!(said(BatchHead::next(7, 0, 0, None)), (0, None));
    }

    fn read(body: &Payload) -> Vec<Vec<u8>> {
        let head = BatchHead::read(body).expect("a batch");
        let mut commands = Commands::new(&head, body);
        std::iter::from_fn(|| commands.next_command().map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn what_was_written_is_read_however_it_is_cut() {
        let commands: [&[u8]; 4] = [b"one", b"", b"three", b"a longer command than the others"];
        let (head, bytes) = written(&commands);
        assert_eq!(BatchHead::read(&bytes.clone().into()), Some(head));
        for cut in 0..=bytes.len() {
            let pieces = Payload::Pieces([bytes.slice(..cut), bytes.slice(cut..)].into());
            assert_eq!(BatchHead::read(&pieces), Some(head));
            assert_eq!(read(&pieces), commands);
        }
    }

    #[test]
    fn bytes_that_are_no_batch_are_refused() {
        let (head, bytes) = written(&[b"one"]);
        assert_eq!(BatchHead::read(&bytes.slice(..BatchHead::BYTES - 1).into()), None, "too short");
        for wrong in [
            BatchHead { commands: 3, ..head },
            BatchHead { unsettled: 10, ..head },
            BatchHead { after: 7, ..head },
            BatchHead { sequence: u64::MAX, unsettled: BatchHead::MAX_AHEAD as u32, ..head },
        ] {
            let mut lie = BytesMut::from(&bytes[..]);
            lie[..BatchHead::BYTES].copy_from_slice(wrong.as_bytes());
            assert_eq!(BatchHead::read(&lie.freeze().into()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_command_that_claims_more_than_there_is_ends_the_batch() {
        let (_, bytes) = written(&[b"one", b"two"]);
        let mut lie = BytesMut::from(&bytes[..]);
        let second = BatchHead::BYTES + BatchHead::PREFIX + 3;
        lie[second..second + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&lie.freeze().into()), [b"one"]);
    }
}
