//! A sleep's end, to the microsecond: tokio's own timers tick in milliseconds.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use quorumbench_protocols::Nanos;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer that wakes the node like a socket does.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    set_to: Nanos,
}

/// Who waits longer is woken and looks again.
const LONGEST_NS: u64 = 1 << 62;

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe, for types whose descriptor may change; an OwnedFd's cannot"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer, set_to: Nanos::ZERO })
    }

    /// Wakes the node at `until`, or at once if that has passed, or once before. Whether that took a
    /// system call: deadlines move ahead with every turn, so a timer that is set is left to ring, for
    /// nothing if it was early, and only then set again. (To set it each time doubled the time of a
    /// round trip, from 15 to 28 us: a virtual machine's timer is its host's affair.)
    pub(super) fn set(&mut self, cx: &mut Context<'_>, now: Nanos, until: Nanos) -> io::Result<bool> {
        if until <= now {
            cx.waker().wake_by_ref();
            return Ok(false);
        }
        // What rang before has been heard.
        while let Poll::Ready(rang) = self.timer.poll_read_ready(cx)? {
            let mut rang = rang;
            rang.clear_ready();
        }
        if until == Nanos::NEVER || (now < self.set_to && self.set_to <= until) {
            return Ok(false);
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait_ns = until.saturating_since(now).min(LONGEST_NS).cast_signed();
        let it_value = Timespec { tv_sec: wait_ns / 1_000_000_000, tv_nsec: wait_ns % 1_000_000_000 };
        let once = Itimerspec { it_interval: zero, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.set_to = until;
        Ok(true)
    }
}
