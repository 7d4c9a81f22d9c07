//! Telling everybody what happens.
//!
//! Belongs here: subscribers. Does not belong here: what there is to tell.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Recipient, prelude::SendError};

use crate::{
    error::capture,
    observe::{PoolEvent, log},
    supervisor::control::Control,
};

/// How long a subscriber may keep what is of no further use to the pool.
const PATIENCE: Duration = Duration::from_millis(100);

/// Somebody who hears of what happens. Never cloned: each clone would bring a place of its own in the mailbox.
#[derive(Debug)]
pub(super) struct Subscriber {
    recipient: Recipient<PoolEvent>,
    /// It had no room for longer than it is waited for, and has had none since.
    late: AtomicBool,
}

impl Subscriber {
    /// Tells it if it has room, or gets some soon.
    fn tell_if_room(&self, event: &PoolEvent) {
        let began = Instant::now();
        loop {
            match self.recipient.try_send(event.clone()) {
                Err(SendError::Full(_)) => {}
                Ok(()) | Err(SendError::Closed(_)) => {
                    self.late.store(false, Ordering::Relaxed);
                    return;
                }
            }
            if self.late.load(Ordering::Relaxed) || began.elapsed() >= PATIENCE {
                self.late.store(true, Ordering::Relaxed);
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Control {
    pub(crate) fn subscribe(&self, recipient: Recipient<PoolEvent>) {
        let subscriber = Subscriber {
            recipient,
            late: AtomicBool::new(false),
        };
        self.subscribers.lock().push(Arc::new(subscriber));
    }

    /// Whoever has subscribed and lives.
    fn listening(&self) -> Vec<Arc<Subscriber>> {
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|subscriber| subscriber.recipient.connected());
        subscribers.clone()
    }

    /// Tells everybody. Neither a log subscriber that panics nor a dead actor harms the pool.
    pub(crate) fn emit(&self, event: PoolEvent) {
        log(|| event.trace());
        for subscriber in self.listening() {
            let event = event.clone();
            let _ = capture::contained(|| subscriber.recipient.do_send(event));
        }
    }

    /// The same, but for those who do not keep up. For a thread that may wait.
    pub(crate) fn emit_to_those_with_room(&self, event: &PoolEvent) {
        log(|| event.trace());
        for subscriber in self.listening() {
            let _ = capture::contained(|| subscriber.tell_if_room(event));
        }
    }
}
