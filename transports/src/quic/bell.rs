//! How a node sleeps: until a datagram comes, the storage thread rings, or it is time.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Wake;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::Counters;

/// An event descriptor that is only written to while somebody sleeps.
#[derive(Debug)]
pub(super) struct Bell {
    descriptor: OwnedFd,
    asleep: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let descriptor = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Arc::new(Self { descriptor, asleep: AtomicBool::new(false) }))
    }

    /// Sleeps until `socket` is ready (to be written to as well, if it is `full`), the bell rings, or
    /// `patience_ns` have passed; not at all if `is_over` says so, which is asked when a ring would
    /// already be heard.
    ///
    /// # Errors
    /// The machine's.
    pub(super) fn sleep(
        &self,
        socket: BorrowedFd<'_>,
        full: bool,
        patience_ns: u64,
        is_over: impl FnOnce() -> bool,
        counters: &mut Counters,
    ) -> io::Result<()> {
        self.asleep.store(true, Ordering::SeqCst);
        // Pairs with the fence before the bell is rung: either who rings sees us asleep, or we see why.
        fence(Ordering::SeqCst);
        if !is_over() {
            let flags = if full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut ready = [PollFd::from_borrowed_fd(socket, flags), PollFd::new(&self.descriptor, PollFlags::IN)];
            let patience = Timespec {
                tv_sec: (patience_ns / 1_000_000_000).min(LONGEST_S).cast_signed(),
                tv_nsec: (patience_ns % 1_000_000_000).cast_signed(),
            };
            counters.syscalls += 1;
            match poll(&mut ready, Some(&patience)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !ready[1].revents().is_empty() {
                counters.syscalls += 1;
                let _ = rustix::io::read(&self.descriptor, &mut [0; 8]);
            }
        }
        self.asleep.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Who waits for longer is woken and looks again.
const LONGEST_S: u64 = 1 << 30;

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
        }
    }
}
