//! File writes on a thread of their own, for a transport that has no ring.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{Begun, FileWrite, FileWritten, Groups, LEAVING_NS, MOST_RUNS};
use crate::Counters;

/// One node's writes. Its thread starts with the first of them and ends with it.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    running: Option<(Arc<Shared>, JoinHandle<()>)>,
}

/// What the node and its thread share.
#[derive(Debug, Default)]
struct Shared {
    orders: Mutex<Orders>,
    /// New orders, or the thread's end.
    news: Condvar,
    over: Mutex<Vec<FileWritten>>,
    any_over: AtomicBool,
    /// Who is waiting for something to be over.
    waker: Mutex<Option<Waker>>,
    spent: Spent,
}

#[derive(Debug, Default)]
struct Orders {
    writes: Vec<FileWrite>,
    thread: State,
    /// No more writes will come.
    leaving: bool,
    /// Nobody waits for those that are left.
    abandoned: bool,
}

/// What the thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Works,
    /// It must be woken.
    Sleeps,
    Ended,
}

/// As in [`Counters`].
#[derive(Debug, Default)]
struct Spent {
    syscalls: AtomicU64,
    writes: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    cpu_ns: AtomicU64,
}

impl Writer {
    /// Hands a write to the thread.
    ///
    /// # Errors
    /// The machine's, if there can be no thread.
    pub(crate) fn write(&mut self, write: FileWrite) -> io::Result<()> {
        if self.running.is_none() {
            let shared = Arc::<Shared>::default();
            let theirs = shared.clone();
            let handle = thread::Builder::new().name("storage".into()).spawn(move || theirs.run())?;
            self.running = Some((shared, handle));
        }
        let Some((shared, _)) = &self.running else { return Ok(()) };
        let mut orders = lock(&shared.orders);
        orders.writes.push(write);
        if orders.thread == State::Sleeps {
            orders.thread = State::Works;
            shared.spent.syscalls.fetch_add(1, Ordering::Relaxed);
            shared.news.notify_all();
        }
        Ok(())
    }

    /// Whether a write is over and was not yet taken.
    pub(crate) fn any_over(&self) -> bool {
        self.running.as_ref().is_some_and(|(shared, _)| shared.any_over.load(Ordering::SeqCst))
    }

    /// Takes what is over.
    pub(crate) fn written(&mut self, done: &mut Vec<FileWritten>) {
        if self.any_over()
            && let Some((shared, _)) = &self.running
        {
            let mut over = lock(&shared.over);
            shared.any_over.store(false, Ordering::SeqCst);
            done.append(&mut over);
        }
    }

    /// Wakes `waker` when a write is over from now on; look at [`any_over`](Self::any_over) after this.
    pub(crate) fn listen(&self, waker: &Waker) {
        if let Some((shared, _)) = &self.running {
            let mut known = lock(&shared.waker);
            if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *known = Some(waker.clone());
            }
        }
    }

    /// `counters`, and what the thread has cost.
    pub(crate) fn add_to(&self, counters: Counters) -> Counters {
        let Some((shared, _)) = &self.running else { return counters };
        let Spent { syscalls, writes, bytes, syncs, cpu_ns } = &shared.spent;
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let thread = Counters {
            syscalls: load(syscalls),
            file_writes: load(writes),
            file_bytes: load(bytes),
            file_syncs: load(syncs),
            storage_cpu_ns: load(cpu_ns),
            ..Counters::default()
        };
        counters.plus(thread)
    }
}

impl Drop for Writer {
    /// Lets the thread finish what was begun, for a while. A disk that does not answer keeps only it.
    fn drop(&mut self) {
        let Some((shared, handle)) = self.running.take() else { return };
        let mut orders = lock(&shared.orders);
        orders.leaving = true;
        shared.news.notify_all();
        let limit = Duration::from_nanos(LEAVING_NS);
        let waited = shared.news.wait_timeout_while(orders, limit, |orders| orders.thread != State::Ended);
        let (mut orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        orders.abandoned = true;
        if orders.thread == State::Ended {
            drop(orders);
            let _ = handle.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let (mut writes, mut groups, mut over) = (Vec::new(), Groups::default(), Vec::new());
        while self.take_orders(&mut writes) {
            for write in writes.drain(..) {
                self.write(Begun::new(write), &mut groups, &mut over);
                if lock(&self.orders).abandoned {
                    return;
                }
            }
            // Who asked for no sync does not wait for others'.
            self.report(&mut over);
            while let Some((place, file)) = groups.start() {
                let result = rustix::fs::fdatasync(file);
                self.spent.syscalls.fetch_add(1, Ordering::Relaxed);
                self.spent.syncs.fetch_add(1, Ordering::Relaxed);
                groups.synced(place, result, &mut over);
                self.report(&mut over);
            }
        }
        lock(&self.orders).thread = State::Ended;
        self.news.notify_all();
    }

    /// Waits for writes and takes all; false when there will be none.
    fn take_orders(&self, writes: &mut Vec<FileWrite>) -> bool {
        let mut orders = lock(&self.orders);
        while orders.writes.is_empty() && !orders.leaving {
            orders.thread = State::Sleeps;
            self.spent.syscalls.fetch_add(1, Ordering::Relaxed);
            orders = self.news.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
        orders.thread = State::Works;
        std::mem::swap(&mut orders.writes, writes);
        !writes.is_empty()
    }

    /// Brings a write to its end, but for the sync.
    fn write(&self, mut begun: Begun, groups: &mut Groups, over: &mut Vec<FileWritten>) {
        if begun.is_whole() {
            return begun.end(Ok(()), groups, over);
        }
        let result = loop {
            let mut slices = [IoSlice::new(&[]); MOST_RUNS];
            let mut filled = 0;
            for (slice, run) in slices.iter_mut().zip(begun.rest()) {
                *slice = IoSlice::new(run);
                filled += 1;
            }
            let took = rustix::io::pwritev2(begun.file(), &slices[..filled], begun.offset(), begun.flags());
            self.spent.syscalls.fetch_add(1, Ordering::Relaxed);
            self.spent.bytes.fetch_add(took.unwrap_or(0) as u64, Ordering::Relaxed);
            if let Some(result) = begun.took(took) {
                break result;
            }
        };
        self.spent.writes.fetch_add(1, Ordering::Relaxed);
        self.spent.syncs.fetch_add(u64::from(begun.syncs_itself() && result.is_ok()), Ordering::Relaxed);
        begun.end(result, groups, over);
    }

    /// Tells the node what is over.
    fn report(&self, over: &mut Vec<FileWritten>) {
        if over.is_empty() {
            return;
        }
        let cpu: Duration = clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default();
        self.spent.cpu_ns.store(cpu.as_nanos() as u64, Ordering::Relaxed);
        {
            let mut told = lock(&self.over);
            told.append(over);
            self.any_over.store(true, Ordering::SeqCst);
        }
        if let Some(waker) = &*lock(&self.waker) {
            waker.wake_by_ref();
        }
    }
}

/// The lock, also after a panic: nothing in here is left half done by one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
