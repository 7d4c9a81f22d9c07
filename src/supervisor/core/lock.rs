//! The one lock of the data plane.
//!
//! Belongs here: waiting for it. Does not belong here: what is done under it.
//! Invariant: nobody who routes waits for it, and nobody computes for longer than a wake-up takes to get it.

use std::{
    hint,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;

use crate::{
    sched::routes,
    supervisor::{PoolCore, core::State},
};

/// For so long whoever waits for the lock computes before it sleeps: about as long as being woken takes, which costs at
/// most twice what the best choice would. (Karlin, Li, Manasse and Owicki: Empirical Studies of Competitive Spinning for a
/// Shared-Memory Multiprocessor, SOSP 1991.) It is held for some microseconds most of the time.
const SPIN: Duration = Duration::from_micros(50);

/// How often the lock is looked at between two looks at the clock.
const LOOKS: u32 = 32;

/// Whoever has the lock goes on while others wait for it.
static BESIDE_OTHERS: LazyLock<bool> =
    LazyLock::new(|| thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1));

impl PoolCore {
    /// Every look at the tasks begins here.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        if routes() {
            // The lock is this thread's already: without this it would wait for itself. The routing ends, and is contained.
            std::panic::resume_unwind(Box::new("a routing has used a pool"));
        }
        if let Some(guard) = self.state.try_lock() {
            return guard;
        }
        self.spin().unwrap_or_else(|| self.state.lock())
    }

    /// Waits for the lock without sleeping.
    #[cold]
    fn spin(&self) -> Option<MutexGuard<'_, State>> {
        if !*BESIDE_OTHERS {
            return None;
        }
        let began = Instant::now();
        while began.elapsed() < SPIN {
            for _ in 0..LOOKS {
                hint::spin_loop();
                // A try would take the line of the lock from whoever is about to give it back.
                if !self.state.is_locked()
                    && let Some(guard) = self.state.try_lock()
                {
                    return Some(guard);
                }
            }
        }
        None
    }
}
