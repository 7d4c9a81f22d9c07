//! Kills workers at random, to show that it does not matter.

use std::{cell::Cell, collections::HashMap, rc::Rc, time::Duration};

use actix_multiprocess::Pool;
use tokio::time::{MissedTickBehavior, interval};

use crate::platform;

/// Sends SIGKILL to a random worker that has work, once every `every`, and counts the workers hit so.
pub(crate) async fn busy_workers(pool: Pool, every: Duration, hits: Rc<Cell<u64>>) {
    // A killed process can still be listed as busy at the next tick; it is not hit twice.
    let mut last_hit = HashMap::new();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let status = pool.status().await;
        let busy: Vec<_> = status
            .slots
            .iter()
            .filter(|slot| slot.in_flight > 0)
            .filter_map(|slot| Some((slot.slot, slot.pid?)))
            .filter(|(slot, pid)| last_hit.get(slot) != Some(pid))
            .collect();
        let Ok(random) = getrandom::u32() else {
            continue;
        };
        let Some(&(slot, pid)) = busy.get(random as usize % busy.len().max(1)) else {
            continue;
        };
        match platform::kill_process(pid) {
            Ok(()) => {
                last_hit.insert(slot, pid);
                hits.set(hits.get() + 1);
            }
            Err(error) => eprintln!("checksum: cannot kill worker process {pid}: {error}"),
        }
    }
}
