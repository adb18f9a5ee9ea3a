//! Threads that share the tasks of one call, and stay awake a little for the next.
//!
//! Decoding a small model is a hundred calls of a few microseconds each in a token: a thread that sleeps between them
//! takes longer to wake than to work. So workers spin for `SPINS` turns before they sleep. Tasks are claimed one by
//! one and the caller claims too: a worker that comes late, or not at all, delays nobody.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Turns of waiting before a worker sleeps, and before a caller lets other programs run: some 50 microseconds.
const SPINS: u32 = 4000;

/// Floats of which a pass is worth more than calling the team.
const WORTH: usize = 1 << 16;

/// `State`: a call is open for workers to enter.
const OPEN: u64 = 1;
/// `State`: one worker is in.
const ONE_IN: u64 = 2;
/// `State`: workers that are in.
const IN: u64 = 0xfffe;
/// `State`: one more call; the number of the call stands above.
const CALL: u64 = 1 << 16;
/// `State`: the team is being dropped.
const STOP: u64 = u64::MAX;

/// Some threads, the caller's included.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Workers besides the caller.
    workers: usize,
    /// [`OPEN`], [`IN`] and the call's number.
    state: AtomicU64,
    /// The next task to claim.
    next: AtomicUsize,
    /// Written by the caller while no call is open and no worker in.
    call: UnsafeCell<Call>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleeping: AtomicUsize,
    bed: (Mutex<()>, Condvar),
}

// SAFETY: `call` is written only while no worker is in, and read by those who are in; the rest is synchronised.
unsafe impl Sync for Shared {}
// SAFETY: what `call` points to is `Sync`.
unsafe impl Send for Shared {}

/// What a participant runs, and how many tasks there are.
#[derive(Clone, Copy)]
struct Call {
    work: *const (dyn Fn(&Claims<'_>) + Sync),
    n: usize,
}

/// Hands out tasks.
pub struct Claims<'a> {
    next: &'a AtomicUsize,
    n: usize,
}

impl Iterator for &Claims<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let i = self.next.fetch_add(1, Ordering::Relaxed);
        (i < self.n).then_some(i)
    }
}

thread_local! {
    /// The team that calls of this thread use: null for none.
    static CURRENT: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}

/// Restores what was current.
struct Restore(*const Shared);

impl Restore {
    fn set(to: *const Shared) -> Self {
        Self(CURRENT.replace(to))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

impl Team {
    /// `threads` threads with the caller; 0: one a core.
    ///
    /// # Errors
    /// The system refuses to start threads.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if threads == 0 { cores() } else { threads } - 1;
        let nothing: *const (dyn Fn(&Claims<'_>) + Sync) = &|_: &Claims<'_>| ();
        let mut team = Self {
            shared: Arc::new(Shared {
                workers,
                state: AtomicU64::new(0),
                next: AtomicUsize::new(0),
                call: UnsafeCell::new(Call {
                    work: nothing,
                    n: 0,
                }),
                panic: Mutex::default(),
                sleeping: AtomicUsize::new(0),
                bed: Default::default(),
            }),
            workers: Vec::new(),
        };
        for i in 0..workers {
            let shared = team.shared.clone();
            let thread = std::thread::Builder::new().name(format!("kernels {}", i + 1));
            team.workers.push(thread.spawn(move || shared.serve())?);
        }
        Ok(team)
    }

    /// Runs `f` on this thread; the kernels that it calls share their work with the team.
    pub fn install<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let _restore = Restore::set(&raw const *self.shared);
        f()
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.state.store(STOP, Ordering::SeqCst);
        self.shared.wake();
        for worker in self.workers.drain(..) {
            // Its panics were the caller's already.
            let _ = worker.join();
        }
    }
}

/// Threads of the current team; 1 where there is none.
pub fn threads() -> usize {
    match CURRENT.get() {
        shared if shared.is_null() => 1,
        // SAFETY: `install` holds the team as long as it is current.
        shared => unsafe { (*shared).workers + 1 },
    }
}

/// Runs `f` for every number below `n`, on the threads of the current team.
pub fn for_each(n: usize, f: impl Fn(usize) + Sync) {
    share(n, &|claims| claims.for_each(&f));
}

/// Runs `f` on parts of x, [n, width], each with the number of its first row: on the threads of the current team where
/// that is worth it.
pub fn for_rows(x: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if threads() == 1 || x.len() < WORTH {
        return f(0, x);
    }
    let rows = (x.len() / width).div_ceil(2 * threads());
    let parts: Vec<_> = x.chunks_mut(rows * width).map(Mutex::new).collect();
    for_each(parts.len(), |i| f(i * rows, &mut lock(&parts[i])));
}

/// The results of `f` for every number below `n`, in order.
pub fn map<T: Send>(n: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let all = Mutex::new(Vec::with_capacity(n));
    share(n, &|claims| {
        let part: Vec<_> = claims.map(|i| (i, f(i))).collect();
        lock(&all).extend(part);
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable_by_key(|(i, _)| *i);
    all.into_iter().map(|(_, result)| result).collect()
}

/// Has every thread that takes part run `work`, which claims the tasks.
fn share(n: usize, work: &(dyn Fn(&Claims<'_>) + Sync)) {
    let shared = CURRENT.get();
    // Calls inside of a task are that task's own.
    let _restore = Restore::set(std::ptr::null());
    if n < 2 || shared.is_null() {
        let next = AtomicUsize::new(0);
        return work(&Claims { next: &next, n });
    }
    // SAFETY: `install` holds the team as long as it is current, on its only calling thread.
    unsafe { (*shared).call(n, work) }
}

impl Shared {
    /// Opens a call, takes part in it and waits for the workers that do.
    fn call(&self, n: usize, work: &(dyn Fn(&Claims<'_>) + Sync)) {
        /// Closes the call, also when the caller's own part panics.
        struct Close<'a>(&'a Shared);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                let state = &self.0.state;
                state.fetch_and(!OPEN, Ordering::AcqRel);
                let mut turns = 0;
                while state.load(Ordering::Acquire) & IN != 0 {
                    wait(&mut turns);
                }
            }
        }
        // SAFETY: no call is open and no worker in: the last call's `Close` saw to it. The lifetime is forgotten, but
        // `Close` keeps workers from `work` after this function.
        unsafe {
            let work = std::mem::transmute::<
                *const (dyn Fn(&Claims<'_>) + Sync),
                *const (dyn Fn(&Claims<'_>) + Sync),
            >(work);
            *self.call.get() = Call { work, n };
        }
        self.next.store(0, Ordering::Relaxed);
        self.state.fetch_add(CALL | OPEN, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
        let close = Close(self);
        work(&Claims {
            next: &self.next,
            n,
        });
        drop(close);
        let panic = lock(&self.panic).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// A worker's life.
    fn serve(&self) {
        let mut last = 0;
        while let Some(state) = self.next_call(last) {
            let entered = state + ONE_IN;
            if (self.state)
                .compare_exchange(state, entered, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            last = state / CALL;
            // SAFETY: this worker is in, so the caller waits and `call` stays.
            let (call, work) = unsafe {
                let call = *self.call.get();
                (call, &*call.work)
            };
            let claims = Claims {
                next: &self.next,
                n: call.n,
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(&claims))) {
                *lock(&self.panic) = Some(panic);
            }
            self.state.fetch_sub(ONE_IN, Ordering::Release);
        }
    }

    /// Waits for a call other than `last`; `None` when the team is dropped.
    fn next_call(&self, last: u64) -> Option<u64> {
        let open = || match self.state.load(Ordering::SeqCst) {
            STOP => Some(None),
            state if state & OPEN != 0 && state / CALL != last => Some(Some(state)),
            _ => None,
        };
        for _ in 0..SPINS {
            if let Some(state) = open() {
                return state;
            }
            std::hint::spin_loop();
        }
        let mut bed = lock(&self.bed.0);
        // A caller that does not see this sleeper opened its call before: `open` sees that.
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let state = loop {
            if let Some(state) = open() {
                break state;
            }
            let woken = self.bed.1.wait(bed);
            bed = woken.unwrap_or_else(PoisonError::into_inner);
        };
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        state
    }

    fn wake(&self) {
        let _bed = lock(&self.bed.0);
        self.bed.1.notify_all();
    }
}

/// One turn of waiting for a thread that is at work.
fn wait(turns: &mut u32) {
    *turns += 1;
    if *turns < SPINS {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_task_runs_once_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let mut team = Team::new(threads).unwrap();
            for n in [0, 1, 2, 3, 100, 1000] {
                let done: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                team.install(|| {
                    assert_eq!(super::threads(), threads);
                    for_each(n, |i| {
                        done[i].fetch_add(1, Ordering::Relaxed);
                    });
                });
                assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1));
                let squares = team.install(|| map(n, |i| i * i));
                assert_eq!(squares, (0..n).map(|i| i * i).collect::<Vec<_>>());
            }
            for rows in [0, 1, 7, WORTH / 3 + 1] {
                let mut x = vec![0.0; rows * 3];
                team.install(|| {
                    for_rows(&mut x, 3, |first, part| {
                        for (i, row) in part.chunks_exact_mut(3).enumerate() {
                            row[1] += (first + i) as f32;
                        }
                    });
                });
                let expected = (0..rows).flat_map(|i| [0.0, i as f32, 0.0]);
                assert!(x.into_iter().eq(expected));
            }
        }
    }

    /// Two tasks that wait for each other need two threads; after a long pause the worker sleeps and is woken.
    #[test]
    fn workers_take_part_awake_and_asleep() {
        let mut team = Team::new(2).unwrap();
        for pause in [0, 0, 20, 0, 20] {
            std::thread::sleep(std::time::Duration::from_millis(pause));
            let barrier = std::sync::Barrier::new(2);
            let ids = Mutex::new(HashSet::new());
            team.install(|| {
                for_each(2, |_| {
                    barrier.wait();
                    lock(&ids).insert(std::thread::current().id());
                });
            });
            assert_eq!(lock(&ids).len(), 2);
        }
    }

    #[test]
    fn calls_inside_of_tasks_are_serial_and_panics_come_through() {
        let mut team = Team::new(3).unwrap();
        team.install(|| for_each(8, |_| assert_eq!(super::threads(), 1)));
        let run = || team.install(|| for_each(8, |i| assert_ne!(i, 5, "task five")));
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert!(
            panic
                .downcast_ref::<String>()
                .unwrap()
                .contains("task five")
        );
        // The team is as before.
        assert_eq!(team.install(|| map(3, |i| i)), [0, 1, 2]);
    }
}
