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
        Self(task::spawn_local(sweep(Closes(spares.clone()))).abort_handle())
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What stays behind would stay as long as anybody holds the pool: buffers, and a waker with its runtime and its descriptors.
struct Closes(Spares);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn sweep(spares: Closes) {
    loop {
        poll_fn(|cx| spares.0.poll_open(cx)).await;
        time::sleep(REST).await;
        spares.0.sweep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 1024 * 1024;

    fn come_and_go(spares: &Spares) {
        let buffer = spares.take(LARGE);
        drop(spares.lend(buffer, 0));
    }

    #[actix::test]
    async fn what_is_kept_goes_in_time_and_with_whoever_sweeps() {
        let spares = Spares::default();
        let sweeper = Sweeper::start(&spares);
        task::yield_now().await;
        for _ in 0..2 {
            come_and_go(&spares);
            assert_eq!(spares.kept(), LARGE);
            while spares.kept() > 0 {
                task::yield_now().await;
            }
            // It has yet to find out that nothing was taken.
            time::sleep(3 * REST).await;
        }
        come_and_go(&spares);
        assert_eq!(spares.kept(), LARGE);
        drop(sweeper);
        task::yield_now().await;
        assert_eq!(spares.kept(), 0);
        come_and_go(&spares);
        assert_eq!(spares.kept(), 0);
    }
}
