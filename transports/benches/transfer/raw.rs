//! The raw loop: what a ring and a socket do with nothing on top. Bytes go out of one buffer and come
//! in by a multishot receive; nobody looks at them.
#![allow(unsafe_code)]

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd, IOU_PBUF_RING_INC};
use io_uring::{IoUring, cqueue, opcode, squeue};

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS: usize = 4;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

/// One end of a connection, on a ring of its own.
pub(super) struct End {
    ring: IoUring,
    stream: TcpStream,
    /// Never touched but by the kernel.
    chunks: Vec<Vec<u8>>,
    entries: Box<Entries>,
    tail: u16,
    receiving: bool,
}

#[repr(C, align(4096))]
struct Entries([u128; CHUNKS]);

const _: () = assert!(size_of::<u128>() == size_of::<BufRingEntry>());

impl End {
    pub(super) fn new(stream: TcpStream) -> Self {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
        let ring = builder.build(64).expect("a ring");
        let mut entries = Box::new(Entries([0; _]));
        let address = entries.0.as_mut_ptr() as u64;
        // SAFETY: the entries and the chunks live as long as the ring, which is dropped first.
        unsafe {
            let register = ring.submitter();
            register
                .register_buf_ring_with_flags(address, CHUNKS as u16, 0, IOU_PBUF_RING_INC as u16)
                .expect("incremental buffers");
        }
        let chunks = vec![vec![0; CHUNK_BYTES]; CHUNKS];
        let mut end = Self { ring, stream, chunks, entries, tail: 0, receiving: false };
        (0..CHUNKS).for_each(|chunk| end.offer(chunk));
        end
    }

    fn offer(&mut self, chunk: usize) {
        let base = self.entries.0.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: within the entries, which nobody else writes between two enters.
        unsafe {
            let entry = &mut *base.add(usize::from(self.tail) % CHUNKS);
            entry.set_addr(self.chunks[chunk].as_mut_ptr() as u64);
            entry.set_len(CHUNK_BYTES as u32);
            entry.set_bid(chunk as u16);
            self.tail = self.tail.wrapping_add(1);
            AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()).store(self.tail, Ordering::Release);
        }
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what is sent from outlives the call of `send`, which waits; the chunks outlive the ring.
        unsafe { self.ring.submission().push(entry) }.expect("room");
    }

    fn start_send(&mut self, bytes: &[u8], flags: i32) {
        let send = opcode::Send::new(Fd(self.stream.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32);
        self.push(&send.flags(flags).build().user_data(SEND));
    }

    fn next(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Sends all of `bytes`.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.start_send(bytes, libc::MSG_WAITALL);
        self.ring.submit_and_wait(1).expect("an enter");
        let completion = self.next().expect("it was waited for");
        assert_eq!((completion.user_data(), completion.result() as usize), (SEND, bytes.len()));
    }

    /// Waits for bytes, and says how many came.
    pub(super) fn receive(&mut self) -> usize {
        if !std::mem::replace(&mut self.receiving, true) {
            let receive = opcode::RecvMulti::new(Fd(self.stream.as_raw_fd()), 0).build();
            self.push(&receive.user_data(RECEIVE));
        }
        self.ring.submit_and_wait(1).expect("an enter");
        let mut bytes = 0;
        while let Some(completion) = self.next() {
            let flags = completion.flags();
            self.receiving &= cqueue::more(flags);
            bytes += completion.result().max(0) as usize;
            if let Some(chunk) = cqueue::buffer_select(flags).filter(|_| !cqueue::buffer_more(flags)) {
                self.offer(usize::from(chunk));
            }
        }
        bytes
    }

    /// Sends and receives in one enter: `bytes` out, as many in.
    pub(super) fn exchange(&mut self, bytes: &[u8]) {
        self.start_send(bytes, libc::MSG_DONTWAIT);
        self.ring.submit_and_wait(2).expect("an enter");
        let mut both = 0;
        while let Some(completion) = self.next() {
            both += completion.result();
            let flags = completion.flags();
            if let Some(chunk) = cqueue::buffer_select(flags).filter(|_| !cqueue::buffer_more(flags)) {
                self.offer(usize::from(chunk));
            }
        }
        assert_eq!(both as usize, 2 * bytes.len());
    }
}
