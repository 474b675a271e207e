//! Many trials of one kind, on as many threads as there are cores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How often progress is told while no trial ends.
const PAUSE: Duration = Duration::from_millis(20);

/// A trial, by its number, that asks now and then whether it may go on; `None` if it may not.
pub(crate) type Trial<'a, T> = dyn Fn(usize, &dyn Fn() -> bool) -> Option<T> + Sync + 'a;

/// Runs `count` trials: what each yields, in the order of their numbers. `None` if `interrupted`.
///
/// `progress` hears every few milliseconds how many are finished, on the calling thread.
pub(crate) fn run<T: Send>(
    count: usize,
    threads: usize,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(usize),
    trial: &Trial<'_, T>,
) -> Option<Vec<T>> {
    let next = AtomicUsize::new(0);
    let go_on = || !interrupted.load(Ordering::Relaxed);
    let mut all: Vec<Option<T>> = (0..count).map(|_| None).collect();
    let mut finished = 0;
    thread::scope(|scope| {
        let (sender, trials) = mpsc::sync_channel(64);
        for _ in 0..threads.clamp(1, count.max(1)) {
            let (sender, next, go_on) = (sender.clone(), &next, &go_on);
            scope.spawn(move || {
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
                    all[index] = Some(yielded);
                    finished += 1;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            progress(finished);
        }
    });
    all.into_iter().collect()
}
