//! Many trials of one kind, on as many threads as there are cores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How often progress is told while no trial ends.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs `count` trials, and has `take` each of them, with its number, in the order in which they end. Whether all did:
/// not if `interrupted`.
///
/// `world` makes what each thread runs its trials in: given a trial's number, and whether it may go on, what that yields, and
/// nothing if it may not. `progress` hears every few milliseconds how many are finished, on the calling thread.
pub(crate) fn run<T: Send, W: FnMut(usize, &dyn Fn() -> bool) -> Option<T>>(
    count: usize,
    threads: usize,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(usize),
    world: &(dyn Fn() -> W + Sync),
    take: &mut dyn FnMut(usize, T),
) -> bool {
    let next = AtomicUsize::new(0);
    let go_on = || !interrupted.load(Ordering::Relaxed);
    let mut finished = 0;
    thread::scope(|scope| {
        let (sender, trials) = mpsc::sync_channel(64);
        for _ in 0..threads.clamp(1, count.max(1)) {
            let (sender, next, go_on) = (sender.clone(), &next, &go_on);
            scope.spawn(move || {
                let mut trial = world();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let Some(yielded) = trial(index, go_on) else { break };
                    if sender.send((index, yielded)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        loop {
            match trials.recv_timeout(PAUSE) {
                Ok((index, yielded)) => {
                    take(index, yielded);
                    finished += 1;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            progress(finished);
        }
    });
    finished == count
}
