//! What a worker's control thread and its event loop tell each other.
//!
//! Belongs here: requests about tickets, and what the loop is doing right now. Does not belong here: frames, sockets.
//!
//! Two threads share a [`Board`]: *control* answers the host even while the *loop* computes.
//!
//! Revoke against start. Control, under the lock: adds the ticket to `revoked` and counts it in `revocations`, then reads
//! `next_to_start`; if the ticket is below it, the start may have happened: it takes the ticket out again and says no.
//! Loop: publishes `next_to_start`, then reads `revocations`; if there are any, it looks into `revoked` under the lock and
//! skips the ticket. Both orders are sequentially consistent, so at least one of the two sees the other; when both do,
//! control has withdrawn the request under the lock before the loop can look. Hence a ticket is given back or started,
//! never both and never neither, however long the loop takes to come to it.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::Waker,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::task::keep;

/// What the host has asked for and the loop has not yet taken note of.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) cancelled: HashSet<u64>,
    pub(crate) revoked: HashSet<u64>,
    pub(crate) exit: bool,
    /// The host has gone.
    pub(crate) orphaned: bool,
}

/// Nobody has looked when a poll began.
const UNKNOWN: u64 = u64::MAX;

/// Shared by the two threads of one worker.
#[derive(Debug)]
pub(crate) struct Board {
    epoch: AtomicU64,
    /// No ticket from this one on has started.
    next_to_start: AtomicU64,
    /// How many tickets are in `revoked`, so that a start need not lock to find out that it is none.
    revocations: AtomicU64,
    /// Whether anything else is asked for: the same for cancellations.
    asked: AtomicBool,
    /// The ticket whose poll is under way, 0 for none; tickets count from 1.
    running: AtomicU64,
    /// When that poll began, in microseconds since `base`, or [`UNKNOWN`].
    since: AtomicU64,
    base: Instant,
    /// Which ticket it was when control looked last, and when that was seen first.
    looked: Mutex<Option<(u64, Instant)>>,
    requests: Mutex<Requests>,
    waker: Mutex<Option<Waker>>,
}

impl Requests {
    fn is_asked(&self) -> bool {
        self.exit || self.orphaned || !self.cancelled.is_empty()
    }
}

impl Board {
    pub(crate) fn new(base: Instant) -> Self {
        Self {
            epoch: AtomicU64::new(0),
            next_to_start: AtomicU64::new(1),
            revocations: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            running: AtomicU64::new(0),
            since: AtomicU64::new(0),
            base,
            looked: Mutex::new(None),
            requests: Mutex::new(Requests::default()),
            waker: Mutex::new(None),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// The loop gives up to `inspect` what has been asked.
    pub(crate) fn requests<R>(&self, inspect: impl FnOnce(&mut Requests) -> R) -> R {
        let mut requests = self.requests.lock();
        let answer = inspect(&mut requests);
        self.asked.store(requests.is_asked(), Ordering::SeqCst);
        answer
    }

    /// Whether nothing is asked for, revocations excepted.
    pub(crate) fn is_calm(&self) -> bool {
        !self.asked.load(Ordering::SeqCst)
    }

    /// Control asks the loop for something and wakes it.
    pub(crate) fn ask<R>(&self, change: impl FnOnce(&mut Requests) -> R) -> R {
        let answer = {
            let mut requests = self.requests.lock();
            let answer = change(&mut requests);
            self.asked.store(requests.is_asked(), Ordering::SeqCst);
            self.epoch.fetch_add(1, Ordering::SeqCst);
            answer
        };
        self.wake();
        answer
    }

    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The loop can be woken through this from now on.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let old = keep(&mut self.waker.lock(), waker);
        drop(old);
    }

    /// Control asks for a task back. Returns whether it has it now; if it was asked before, the answer to that stands.
    pub(crate) fn revoke(&self, ticket: u64) -> bool {
        // The loop need not hear of it: it looks when it comes to the ticket.
        let mut requests = self.requests.lock();
        if !requests.revoked.insert(ticket) {
            return false;
        }
        self.revocations.fetch_add(1, Ordering::SeqCst);
        let given_back = ticket >= self.next_to_start.load(Ordering::SeqCst);
        if !given_back {
            requests.revoked.remove(&ticket);
            self.revocations.fetch_sub(1, Ordering::SeqCst);
        }
        given_back
    }

    /// The loop comes to this ticket. Returns whether it may go on with it; if not, it was given back and is forgotten.
    ///
    /// Before the host can hear of a start: what was announced must not be given back.
    pub(crate) fn start(&self, ticket: u64) -> bool {
        // Nobody else writes it. A large task whose parts came late starts after higher tickets.
        if ticket >= self.next_to_start.load(Ordering::Relaxed) {
            self.next_to_start.store(ticket + 1, Ordering::SeqCst);
        }
        if self.revocations.load(Ordering::SeqCst) == 0 {
            return true;
        }
        self.requests(|requests| {
            let given_back = requests.revoked.remove(&ticket);
            if given_back {
                self.revocations.fetch_sub(1, Ordering::SeqCst);
                // It may have been cancelled afterwards; the host has settled it without us.
                requests.cancelled.remove(&ticket);
            }
            !given_back
        })
    }

    /// Whether this ticket is being cancelled. Cheap as long as nothing is.
    pub(crate) fn is_cancelled(&self, ticket: u64) -> bool {
        !self.is_calm()
            && self.requests(|requests| {
                requests.orphaned || requests.exit || requests.cancelled.contains(&ticket)
            })
    }

    pub(crate) fn poll_begins(&self, ticket: u64, now: Instant) {
        let since = now.saturating_duration_since(self.base).as_micros();
        let since = u64::try_from(since).unwrap_or(UNKNOWN);
        self.polls(ticket, since);
    }

    /// The poll of another task begins, right behind one of which nobody has looked when it ended.
    pub(crate) fn poll_goes_on(&self, ticket: u64) {
        self.polls(ticket, UNKNOWN);
    }

    fn polls(&self, ticket: u64, since: u64) {
        self.since.store(since, Ordering::Relaxed);
        // Behind it: whoever sees the ticket must not take the time of another one for its own.
        self.running.store(ticket, Ordering::Release);
    }

    pub(crate) fn poll_ends(&self) {
        self.running.store(0, Ordering::Relaxed);
    }

    /// The poll under way and how long it has lasted, or less: if when it began is not known, since it was looked at first.
    pub(crate) fn running(&self, now: Instant) -> Option<(u64, Duration)> {
        let ticket = self.running.load(Ordering::Acquire);
        let since = self.since.load(Ordering::Relaxed);
        let mut looked = self.looked.lock();
        let first = looked.filter(|(before, _)| *before == ticket);
        let (_, first) = *looked.insert(first.unwrap_or((ticket, now)));
        let lasted = match since {
            UNKNOWN => now.saturating_duration_since(first),
            since => (now.saturating_duration_since(self.base))
                .saturating_sub(Duration::from_micros(since)),
        };
        (ticket != 0).then_some((ticket, lasted))
    }
}
