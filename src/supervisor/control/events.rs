//! Telling everybody what happens.
//!
//! Belongs here: subscribers. Does not belong here: what there is to tell.

use actix::Recipient;

use crate::{
    error::capture,
    observe::{PoolEvent, log},
    supervisor::control::Control,
};

impl Control {
    pub(crate) fn subscribe(&self, subscriber: Recipient<PoolEvent>) {
        self.subscribers.lock().push(subscriber);
    }

    /// Tells everybody. Neither a log subscriber that panics nor a dead actor harms the pool.
    pub(crate) fn emit(&self, event: PoolEvent) {
        log(|| event.trace());
        let subscribers = {
            let mut subscribers = self.subscribers.lock();
            subscribers.retain(Recipient::connected);
            subscribers.clone()
        };
        for subscriber in subscribers {
            let event = event.clone();
            let _ = capture::contained(|| subscriber.do_send(event));
        }
    }
}
