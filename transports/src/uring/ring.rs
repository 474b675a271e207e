//! The boundary to the kernel: the ring, and the memory that is lent to it.
//!
//! This is the only file of the transports with `unsafe` in it. It knows no peer and no protocol. What makes the rest
//! of the transport safe:
//!
//! - Memory that the kernel may use is owned by a [`Lent`], which leaks it rather than free it while
//!   it is out: a [`Flight`] (what is written), a
//!   [`FileFlight`] (the same, to a file), a [`Greeting`] (a hello being read) and [`Buffers`]
//!   (chunks to receive into). None of them gives out anything that could move or free that memory.
//! - It comes back only by a [`Completion`], which only [`Ring::next`] makes, each is used once, and
//!   each names the operation and the connection it belongs to.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::BytesMut;
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, FsyncFlags, IOU_PBUF_RING_INC, SubmitArgs};
use io_uring::{IoUring, Submitter, cqueue, opcode, squeue};
use quorumbench_protocols::{Frame, Head, Payload};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::capabilities::Capabilities;
use super::operation::{self, Op, Patience, Tag};
use crate::framing::{Framer, TooLong};
use crate::link::Link;
use crate::storage::{Begun, MOST_RUNS};
use crate::{Counters, Options, hello};

/// The ring of one thread. Not `Send`: only the thread that made it may use it.
pub(super) struct Ring {
    /// Borrows `*inner`, and is gone before it.
    submitter: Submitter<'static>,
    inner: NonNull<IoUring>,
    /// Writes queued since the last enter that complete while they are submitted, whatever happens:
    /// a wait for something else has to wait for that many more.
    inline_writes: usize,
    /// Times that the kernel was entered.
    pub(super) syscalls: u64,
}

/// What the kernel says of an operation.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) op: Op,
    pub(super) tag: Tag,
    result: i32,
    flags: u32,
}

/// Few operations wait between two enters; when the queue is full it is submitted early.
const SUBMISSIONS: u32 = 256;
/// Receives of many connections may complete in one enter. Beyond this the kernel keeps them back.
const COMPLETIONS: u32 = 4096;

impl Ring {
    /// A ring for the calling thread.
    pub(super) fn new() -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_taskrun_flag();
        builder.setup_submit_all().setup_clamp().setup_cqsize(COMPLETIONS).dontfork();
        let inner = NonNull::from(Box::leak(Box::new(builder.build(SUBMISSIONS)?)));
        // SAFETY: `inner` was leaked just now, is freed only by `drop` below, after the last use of
        // `submitter`, and from here on is only ever borrowed shared.
        let mut submitter = unsafe { inner.as_ref() }.submitter();
        // Saves looking the descriptor up at each enter; a kernel without it works as well.
        let _ = submitter.register_ring_fd();
        Ok(Self { submitter, inner, inline_writes: 0, syscalls: 0 })
    }

    /// What this kernel can do beyond what every supported one can.
    pub(super) fn capabilities(&mut self) -> io::Result<Capabilities> {
        let mut probe = io_uring::Probe::new();
        self.submitter.register_probe(&mut probe)?;
        let zero_copy = [opcode::SendZc::CODE, opcode::SendMsgZc::CODE].iter().all(|&code| probe.is_supported(code));
        let tag = Tag { slot: u16::MAX, generation: 0 };
        let incremental = match Buffers::register(self, tag, true) {
            Ok(buffers) => {
                buffers.unregister(self);
                true
            }
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => false,
            Err(error) => return Err(error),
        };
        Ok(Capabilities { incremental, zero_copy })
    }

    /// Submits what is queued, and waits for something to happen other than writes that are over at once.
    pub(super) fn enter(&mut self, patience: Patience) -> io::Result<()> {
        let inline = std::mem::take(&mut self.inline_writes);
        let wait = patience != Patience::None && !self.has_completions();
        let completions = if wait { inline + 1 } else { 0 };
        let (timespec, mut args) = (patience.timespec(), SubmitArgs::new());
        if let Some(timespec) = timespec.as_ref().filter(|_| wait) {
            args = args.timespec(timespec);
        }
        self.syscalls += 1;
        match self.submitter.submit_with_args(completions, &args) {
            Ok(_) => Ok(()),
            // The time is over, a signal came, or completions have to be taken first: the caller looks again.
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether an enter would do anything: something is queued, or the kernel has work for this thread.
    pub(super) fn has_work(&self) -> bool {
        // SAFETY: no other view of the submission queue exists; each lives for one statement or block.
        let queue = unsafe { self.inner.as_ref().submission_shared() };
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// Whether `next` would give something.
    pub(super) fn has_completions(&self) -> bool {
        // SAFETY: no other view of the completion queue exists; each lives for one statement or block.
        !unsafe { self.inner.as_ref().completion_shared() }.is_empty()
    }

    /// The next completion.
    pub(super) fn next(&mut self) -> Option<Completion> {
        // SAFETY: as in `has_completions`.
        let entry = unsafe { self.inner.as_ref().completion_shared() }.next()?;
        let (op, tag) = operation::decode(entry.user_data());
        Some(Completion { op, tag, result: entry.result(), flags: entry.flags() })
    }

    /// Accepts connections until an error ends it.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>, tag: Tag) -> io::Result<()> {
        let flags = rustix::net::SocketFlags::CLOEXEC.bits().cast_signed();
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(flags).build();
        // SAFETY: the operation points to no memory.
        unsafe { self.push(entry, Op::Accept, tag) }
    }

    /// Completes when a connection that is being made is there, or has failed.
    pub(super) fn connected(&mut self, socket: BorrowedFd<'_>, tag: Tag) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), u32::from(PollFlags::OUT.bits())).build();
        // SAFETY: the operation points to no memory.
        unsafe { self.push(entry, Op::Connect, tag) }
    }

    /// Makes durable what was written to a file, which the caller keeps open meanwhile.
    pub(super) fn sync_file(&mut self, file: BorrowedFd<'_>, tag: Tag) -> io::Result<()> {
        let entry = opcode::Fsync::new(Fd(file.as_raw_fd())).flags(FsyncFlags::DATASYNC).build();
        // SAFETY: the operation points to no memory.
        unsafe { self.push(entry, Op::SyncFile, tag) }
    }

    /// Ends an operation early; it still completes.
    pub(super) fn cancel(&mut self, op: Op, tag: Tag) -> io::Result<()> {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(operation::encode(op, tag)).all()).build();
        // SAFETY: the operation points to no memory.
        unsafe { self.push(entry, Op::Cancel, tag) }
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// The memory that `entry` points to must be valid until the operation completes.
    unsafe fn push(&mut self, entry: squeue::Entry, op: Op, tag: Tag) -> io::Result<()> {
        let entry = entry.user_data(operation::encode(op, tag));
        for attempt in 0.. {
            // SAFETY: no other view of the submission queue exists, and the memory is the caller's promise.
            if unsafe { self.inner.as_ref().submission_shared().push(&entry) }.is_ok() {
                break;
            }
            if attempt == 2 {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the submission queue does not drain"));
            }
            self.enter(Patience::None)?;
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The registration would keep the ring alive for as long as the thread is.
        let _ = self.submitter.unregister_ring_fd();
        // SAFETY: made from a box in `new`, freed only here; `submitter` is not used again, and
        // dropping it does nothing.
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("syscalls", &self.syscalls).finish_non_exhaustive()
    }
}

impl Completion {
    /// What it came to.
    pub(super) fn result(&self) -> Result<u32, Errno> {
        u32::try_from(self.result).map_err(|_| Errno::from_raw_os_error(-self.result))
    }

    /// Whether the operation goes on.
    pub(super) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The connection that an accept took.
    pub(super) fn accepted(self) -> Result<OwnedFd, Errno> {
        assert_eq!(self.op, Op::Accept);
        let fd = self.result()?;
        // SAFETY: the kernel made this descriptor for the accept; a completion is used once, so
        // nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) })
    }
}

/// What the kernel may hold pointers into. While it is out, it is leaked rather than dropped.
#[derive(Debug)]
struct Lent<T> {
    value: ManuallyDrop<T>,
    out: bool,
}

impl<T> Lent<T> {
    fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), out: false }
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if !self.out {
            // SAFETY: dropped once, here, and nobody else points to it any more.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

/// The other side's first head, on its way in. Read by itself: a stranger is worth no chunk.
#[derive(Debug)]
pub(super) struct Greeting {
    tag: Tag,
    /// In a box, because the kernel writes it until the read completes.
    hello: Lent<Box<hello::Greeting>>,
}

impl Greeting {
    pub(super) fn new(tag: Tag) -> Self {
        Self { tag, hello: Lent::new(Box::default()) }
    }

    /// Starts to read, or goes on after a part has come.
    pub(super) fn start(&mut self, ring: &mut Ring, socket: BorrowedFd<'_>) -> io::Result<()> {
        assert!(!self.hello.out, "one read at a time");
        let room = self.hello.value.room();
        let entry = opcode::Recv::new(Fd(socket.as_raw_fd()), room.as_mut_ptr(), room.len() as u32).build();
        // SAFETY: the room is in `self.hello`'s box, which is neither changed nor freed while it is out.
        unsafe { ring.push(entry, Op::Greet, self.tag) }?;
        self.hello.out = true;
        Ok(())
    }

    /// Takes what was read: the whole head, or nothing yet.
    pub(super) fn landed(&mut self, completion: &Completion) -> Result<Option<&Head>, Errno> {
        assert_eq!((completion.op, completion.tag), (Op::Greet, self.tag));
        self.hello.out = false;
        let bytes = completion.result()? as usize;
        if bytes == 0 {
            return Err(Errno::CONNRESET);
        }
        self.hello.value.took(bytes);
        Ok(self.hello.value.head())
    }

    pub(super) fn is_reading(&self) -> bool {
        self.hello.out
    }
}

/// What is on its way to one peer: the link, and the gather list of the write under way.
pub(super) struct Flight {
    tag: Tag,
    load: Lent<Load>,
    /// Bytes that the write under way is to take.
    asked: usize,
    /// What it took, while a zero-copy write's memory is still in use.
    took: Result<u32, Errno>,
    /// The socket is full: the next write may wait until it is not.
    patient: bool,
}

struct Load {
    link: Link,
    /// In a box, because the kernel may read it until the write completes.
    message: Box<libc::msghdr>,
    runs: Vec<libc::iovec>,
}

impl Flight {
    pub(super) fn new(tag: Tag) -> Self {
        // SAFETY: a message header is integers and pointers, and zero is a value of each.
        let message = Box::new(unsafe { std::mem::zeroed() });
        let load = Lent::new(Load { link: Link::default(), message, runs: Vec::new() });
        Self { tag, load, asked: 0, took: Ok(0), patient: false }
    }

    /// Queues this node's hello.
    pub(super) fn open(&mut self, hello: &Head) {
        self.load.value.link.open(hello);
    }

    /// Queues a frame. What flies is not touched by that.
    pub(super) fn push(&mut self, head: &Head, body: &Payload, options: &Options, counters: &mut Counters) {
        self.load.value.link.push(head, body, options, counters);
    }

    /// Starts a write of all that is queued, if none is under way; zero-copy from `zero_copy` bytes on.
    ///
    /// A write does not wait for room in the socket: then it is over as soon as it is submitted. Only
    /// one that goes on after a socket was full does.
    pub(super) fn take_off(&mut self, ring: &mut Ring, socket: BorrowedFd<'_>, zero_copy: usize) -> io::Result<()> {
        if self.load.out {
            return Ok(());
        }
        let Load { link, message, runs } = &mut *self.load.value;
        runs.clear();
        runs.extend(
            link.to_write()
                .take(MOST_RUNS)
                .map(|run| libc::iovec { iov_base: run.as_ptr().cast_mut().cast(), iov_len: run.len() }),
        );
        let Some(first) = runs.first() else { return Ok(()) };
        self.asked = runs.iter().map(|run| run.iov_len).sum();
        let patience =
            if self.patient { SendFlags::from_bits_retain(libc::MSG_WAITALL as u32) } else { SendFlags::DONTWAIT };
        let flags = (SendFlags::NOSIGNAL | patience).bits();
        let (fd, zero_copy) = (Fd(socket.as_raw_fd()), self.asked >= zero_copy);
        let entry = if runs.len() == 1 && u32::try_from(first.iov_len).is_ok() {
            let (from, len) = (first.iov_base.cast_const().cast(), first.iov_len as u32);
            let flags = flags.cast_signed();
            if zero_copy {
                opcode::SendZc::new(fd, from, len).flags(flags).build()
            } else {
                opcode::Send::new(fd, from, len).flags(flags).build()
            }
        } else {
            (message.msg_iov, message.msg_iovlen) = (runs.as_mut_ptr(), runs.len() as _);
            if zero_copy {
                opcode::SendMsgZc::new(fd, &raw const **message).flags(flags).build()
            } else {
                opcode::SendMsg::new(fd, &raw const **message).flags(flags).build()
            }
        };
        // SAFETY: the header and the list are in `self.load`, as are the runs: the link neither changes
        // nor frees what `to_write` gave until `wrote` or `reset`, which are called only in `landed`,
        // when the write is complete, and in `abandon`, when none is under way.
        unsafe { ring.push(entry, Op::Write, self.tag) }?;
        self.load.out = true;
        ring.inline_writes += usize::from(!self.patient);
        Ok(())
    }

    /// Takes what the kernel says of a write. `Ok(true)` if it is over and more is queued.
    pub(super) fn landed(&mut self, completion: &Completion) -> Result<bool, Errno> {
        assert_eq!((completion.op, completion.tag), (Op::Write, self.tag));
        if !cqueue::notif(completion.flags) {
            self.took = completion.result();
        }
        if completion.more() {
            return Ok(false);
        }
        self.load.out = false;
        let took = match std::mem::replace(&mut self.took, Ok(0)) {
            Err(Errno::AGAIN) => 0,
            took => took? as usize,
        };
        assert!(took <= self.asked, "the kernel takes no more than it was given");
        self.patient = took < self.asked;
        let link = &mut self.load.value.link;
        link.wrote(took);
        Ok(!link.is_empty())
    }

    /// Gives up what is queued, when nothing is under way, and says how many frames that were.
    pub(super) fn abandon(&mut self) -> usize {
        assert!(!self.load.out, "the kernel has it");
        self.load.value.link.reset()
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.load.out
    }
}

/// What is on its way to a file.
pub(super) struct FileFlight {
    tag: Tag,
    load: Lent<FileLoad>,
}

struct FileLoad {
    /// None when nothing is on its way.
    begun: Option<Begun>,
    /// Kept from one write to the next.
    runs: Vec<libc::iovec>,
}

impl FileFlight {
    pub(super) fn new(tag: Tag) -> Self {
        Self { tag, load: Lent::new(FileLoad { begun: None, runs: Vec::new() }) }
    }

    /// Takes a write, to [take off](Self::take_off) with.
    pub(super) fn begin(&mut self, begun: Begun) {
        assert!(self.load.value.begun.is_none(), "one write at a time");
        self.load.value.begun = Some(begun);
    }

    /// Writes what is not yet in the file, or as much as one operation may.
    pub(super) fn take_off(&mut self, ring: &mut Ring) -> io::Result<()> {
        assert!(!self.load.out, "one operation at a time");
        let FileLoad { begun, runs } = &mut *self.load.value;
        let begun = begun.as_ref().expect("a write has begun");
        runs.clear();
        let iovec = |run: &[u8]| libc::iovec { iov_base: run.as_ptr().cast_mut().cast(), iov_len: run.len() };
        runs.extend(begun.rest().take(MOST_RUNS).map(iovec));
        let (fd, offset) = (Fd(begun.file().as_raw_fd()), begun.offset());
        let entry = opcode::Writev::new(fd, runs.as_ptr(), runs.len() as u32)
            .offset(offset)
            .rw_flags(begun.flags().bits().cast_signed())
            .build();
        // SAFETY: the list is in `self.load`, and so are the runs: nothing changes or frees them, or
        // closes the file, until `landed`, when the operation is complete.
        unsafe { ring.push(entry, Op::WriteFile, self.tag) }?;
        self.load.out = true;
        Ok(())
    }

    /// Takes what the kernel says of the write: how it ended, unless it goes on with the rest.
    pub(super) fn landed(&mut self, completion: &Completion, ring: &mut Ring) -> io::Result<Option<FileEnd>> {
        assert_eq!((completion.op, completion.tag), (Op::WriteFile, self.tag));
        self.load.out = false;
        let begun = self.load.value.begun.as_mut().expect("a write has begun");
        match begun.took(completion.result().map(|bytes| bytes as usize)) {
            None => self.take_off(ring).map(|()| None),
            Some(result) => Ok(self.load.value.begun.take().map(|begun| (begun, result))),
        }
    }
}

/// A write, and how it ended but for its sync.
pub(super) type FileEnd = (Begun, io::Result<()>);

/// Chunks that one connection receives into, in order: a ring shared with the kernel.
pub(super) struct Buffers {
    tag: Tag,
    incremental: bool,
    /// Out while a receive is under way.
    provided: Lent<Provided>,
    offered: u16,
    tail: u16,
}

struct Provided {
    entries: NonNull<BufRingEntry>,
    /// By position in the ring.
    chunks: [Option<BytesMut>; Buffers::MOST],
}

/// What a completed receive came to.
pub(super) enum Received {
    /// So many bytes in a chunk that the kernel goes on with; its whole frames were taken.
    Part(usize, Result<(), TooLong>),
    /// So many bytes at the end of a chunk that the kernel is done with.
    Rest(usize, BytesMut),
    /// There was no buffer.
    Starved,
}

impl Buffers {
    /// How many chunks can be offered at once.
    pub(super) const MOST: usize = 16;
    /// The kernel wants whole pages; this is the largest there is.
    const LAYOUT: Layout = match Layout::from_size_align(Self::MOST * size_of::<BufRingEntry>(), 64 << 10) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    };

    /// An empty ring of buffers, known to the kernel by `tag`'s slot.
    pub(super) fn register(ring: &mut Ring, tag: Tag, incremental: bool) -> io::Result<Self> {
        // SAFETY: the layout is not empty.
        let entries = NonNull::new(unsafe { alloc_zeroed(Self::LAYOUT) }.cast());
        let entries = entries.unwrap_or_else(|| handle_alloc_error(Self::LAYOUT));
        let provided = Lent::new(Provided { entries, chunks: [const { None }; Self::MOST] });
        let flags = if incremental { IOU_PBUF_RING_INC as u16 } else { 0 };
        let address = entries.as_ptr() as u64;
        // SAFETY: the memory is `provided`'s. It is freed after `unregister`, or with a ring that no
        // receive uses: only `receive` starts one, and while it is under way the memory is out.
        unsafe { ring.submitter.register_buf_ring_with_flags(address, Self::MOST as u16, tag.slot, flags) }?;
        Ok(Self { tag, incremental, provided, offered: 0, tail: 0 })
    }

    /// Takes the ring away from the kernel and gives back the chunks. No receive may be under way.
    pub(super) fn unregister(mut self, ring: &mut Ring) -> [Option<BytesMut>; Self::MOST] {
        assert!(!self.provided.out, "a receive is under way");
        // It fails only if it is not registered.
        let _ = ring.submitter.unregister_buf_ring(self.tag.slot);
        std::mem::replace(&mut self.provided.value.chunks, [const { None }; Self::MOST])
    }

    /// Offers a chunk's spare capacity to the kernel; at most [`MOST`](Self::MOST) at a time.
    pub(super) fn offer(&mut self, mut chunk: BytesMut) {
        let position = self.tail as usize % Self::MOST;
        let Provided { entries, chunks } = &mut *self.provided.value;
        assert!(chunks[position].is_none(), "the ring of buffers is full");
        let spare = chunk.spare_capacity_mut();
        // SAFETY: within the allocation. The kernel reads an entry only after the tail has passed it,
        // and it has given this one back.
        let entry = unsafe { entries.add(position).as_mut() };
        entry.set_addr(spare.as_mut_ptr() as u64);
        entry.set_len(spare.len() as u32);
        entry.set_bid(position as u16);
        chunks[position] = Some(chunk);
        self.tail = self.tail.wrapping_add(1);
        self.offered += 1;
        // SAFETY: the tail lies in the first entry, aligned, and is written by nobody else.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Starts a receive that goes on until there is no buffer.
    pub(super) fn receive(&mut self, ring: &mut Ring, socket: BorrowedFd<'_>) -> io::Result<()> {
        assert!(!self.provided.out, "one receive at a time");
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), self.tag.slot).build();
        // SAFETY: the kernel takes its memory from the ring of buffers, which is in `self.provided`.
        // Chunks in it are touched only in `received`, in front of what the kernel writes.
        unsafe { ring.push(entry, Op::Receive, self.tag) }?;
        self.provided.out = true;
        Ok(())
    }

    /// Takes what was received. Frames that are whole go to `inbox` unless the kernel is done with
    /// the chunk: then they are the caller's to take.
    ///
    /// # Errors
    /// What ended the connection; its end is `CONNRESET`.
    pub(super) fn received(
        &mut self,
        completion: &Completion,
        framer: &mut Framer,
        inbox: &mut Vec<Frame>,
    ) -> Result<Received, Errno> {
        assert_eq!((completion.op, completion.tag), (Op::Receive, self.tag));
        self.provided.out &= completion.more();
        let bytes = match completion.result() {
            Err(Errno::NOBUFS) => return Ok(Received::Starved),
            result => result? as usize,
        };
        let position = cqueue::buffer_select(completion.flags).filter(|_| bytes > 0).ok_or(Errno::CONNRESET)?;
        let slot = &mut self.provided.value.chunks[usize::from(position)];
        let chunk = slot.as_mut().expect("the kernel uses only what it was offered");
        assert!(bytes <= chunk.capacity() - chunk.len(), "the kernel stays within what it was offered");
        // SAFETY: the kernel has written that many bytes after the ones that were there.
        unsafe { chunk.set_len(chunk.len() + bytes) };
        if self.incremental && cqueue::buffer_more(completion.flags) {
            // The framer takes bytes off the front. It does not move or free the chunk, and the kernel
            // writes behind its end.
            return Ok(Received::Part(bytes, framer.frames(chunk, inbox)));
        }
        self.offered -= 1;
        Ok(Received::Rest(bytes, slot.take().expect("it is there")))
    }

    /// Chunks that the kernel still has.
    pub(super) fn offered(&self) -> usize {
        usize::from(self.offered)
    }

    pub(super) fn is_receiving(&self) -> bool {
        self.provided.out
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with this layout, and freed once.
        unsafe { dealloc(self.entries.as_ptr().cast(), Buffers::LAYOUT) }
    }
}
