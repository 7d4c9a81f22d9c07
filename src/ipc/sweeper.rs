//! Giving back the memory of what was read.
//!
//! Belongs here: when. Does not belong here: what is kept of it.
//! Invariant: no timer while nothing is kept; it keeps nothing alive.

use std::{future::poll_fn, time::Duration};

use tokio::{
    task::{self, AbortHandle},
    time,
};

use crate::wire::Spares;

/// A buffer goes back that was not taken for so long, and at the latest after twice that: some pauses between values of a stream,
/// and no time to somebody who looks at the memory.
const REST: Duration = Duration::from_millis(100);

/// Somebody who sweeps until this is dropped.
#[derive(Debug)]
pub(crate) struct Sweeper(AbortHandle);

impl Sweeper {
    /// On the current arbiter.
    pub(crate) fn start(spares: &Spares) -> Self {
        Self(task::spawn_local(sweep(Forgets(spares.clone()))).abort_handle())
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A waker that stays behind would keep its runtime, and that its descriptors, as long as anybody holds the pool.
struct Forgets(Spares);

impl Drop for Forgets {
    fn drop(&mut self) {
        self.0.forget_sweeper();
    }
}

async fn sweep(spares: Forgets) {
    loop {
        poll_fn(|cx| spares.0.poll_open(cx)).await;
        time::sleep(REST).await;
        spares.0.sweep();
    }
}
