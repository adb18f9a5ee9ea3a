//! The way to the engine's thread: a queue with an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use crate::serve::job::Job;

/// How much there is to do.
#[derive(Debug, Default)]
pub struct Load {
    /// Jobs that have not begun.
    pub waiting: AtomicUsize,
    /// Jobs under way.
    pub running: AtomicUsize,
    /// Sequences that are kept.
    pub kept: AtomicUsize,
    /// Tokens evaluated so far.
    pub tokens: AtomicU64,
    /// The server is being stopped: what runs is ended.
    pub stopping: AtomicBool,
}

/// Where jobs are handed in.
#[derive(Clone, Debug)]
pub struct Desk {
    jobs: Sender<Job>,
    /// What the thread says about itself.
    pub load: Arc<Load>,
    limit: usize,
}

impl Desk {
    /// A desk in front of the thread that has the other end of `jobs`.
    pub fn new(jobs: Sender<Job>, load: Arc<Load>, limit: usize) -> Self {
        Self { jobs, load, limit }
    }

    /// Hands in the jobs of a request, all or none of them; false when the queue is full.
    pub fn submit(&self, jobs: Vec<Job>) -> bool {
        let n = jobs.len();
        let waiting = self.load.waiting.fetch_add(n, Ordering::SeqCst);
        if waiting + n > self.limit {
            self.load.waiting.fetch_sub(n, Ordering::SeqCst);
            return false;
        }
        // A thread that has gone drops the jobs, and with them the senders of their events.
        jobs.into_iter().for_each(|job| drop(self.jobs.send(job)));
        true
    }
}
