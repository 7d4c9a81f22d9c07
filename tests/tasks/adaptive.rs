//! A pool that is not told how many tasks suit its workers finds out.
#![cfg(target_os = "linux")]

use std::{
    iter::repeat,
    time::{Duration, Instant},
};

use crate::common::{self, burn};
use actix_multiprocess::{
    Concurrency, NoError, Pool, PoolBuilder, Task, TaskContext, WorkerSpec, worker_entry,
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

worker_entry!(WorkerSpec::new().task::<Work>());

/// Computes for so many milliseconds, then waits for so many.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Work {
    computes: u64,
    waits: u64,
}

impl Task for Work {
    const NAME: &'static str = "work";
    type Output = ();
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        if self.computes > 0 {
            burn(Duration::from_millis(self.computes));
        }
        if self.waits > 0 {
            tokio::time::sleep(Duration::from_millis(self.waits)).await;
        }
        Ok(())
    }
}

fn builder(max: usize) -> PoolBuilder {
    Pool::builder(workers())
        .processes(1)
        .concurrency(Concurrency::Adaptive { max })
}

/// Has the pool work for so long; returns how many tasks its worker might have, as they were looked at meanwhile.
async fn limits(
    pool: &Pool,
    work: impl Iterator<Item = Work> + Unpin + 'static,
    time: Duration,
) -> Vec<(Duration, usize)> {
    let began = Instant::now();
    let mut map = pool.map(work).unordered();
    let mut seen = Vec::new();
    while began.elapsed() < time {
        if let Ok(Some((_, done))) =
            tokio::time::timeout(Duration::from_millis(20), map.next()).await
        {
            done.unwrap();
        }
        let limit = pool.status().await.slots[0].concurrency;
        if seen.last().is_none_or(|(_, last)| *last != limit) {
            seen.push((began.elapsed(), limit));
        }
    }
    seen
}

/// Those after a time, the one that was in force then among them.
fn after(seen: &[(Duration, usize)], time: Duration) -> Vec<usize> {
    let first = seen.iter().rposition(|(at, _)| *at <= time).unwrap_or(0);
    seen[first..].iter().map(|(_, limit)| *limit).collect()
}

#[test]
fn it_begins_with_one_and_goes_where_tasks_wait_as_far_as_it_may() {
    common::run(async {
        let pool = builder(16).start().await.unwrap();
        assert_eq!(pool.status().await.slots[0].concurrency, 1);
        let waits = Work {
            computes: 0,
            waits: 20,
        };
        let seen = limits(&pool, repeat(waits), Duration::from_secs(3)).await;
        // Twice as long as it takes, for a machine that is busy.
        assert!(seen.iter().any(|(_, limit)| *limit == 16), "{seen:?}");
        assert!(seen.iter().all(|(_, limit)| *limit <= 16), "{seen:?}");
    });
}

#[test]
fn where_tasks_compute_it_stays_low_and_it_follows_them() {
    common::run(async {
        let pool = builder(16).start().await.unwrap();
        let computes = Work {
            computes: 60,
            waits: 0,
        };
        let waits = Work {
            computes: 0,
            waits: 20,
        };
        for _ in 0..2 {
            let seen = limits(&pool, repeat(computes), Duration::from_secs(5)).await;
            let settled = after(&seen, Duration::from_secs(4));
            assert!(settled.iter().all(|limit| *limit <= 2), "{seen:?}");
            let seen = limits(&pool, repeat(waits), Duration::from_secs(4)).await;
            assert!(seen.iter().any(|(_, limit)| *limit >= 8), "{seen:?}");
        }
    });
}

/// Fewer tasks would not make it shorter, and leave the worker without anything to do while those wait.
#[test]
fn a_long_computation_among_tasks_that_wait_keeps_no_others_out() {
    common::run(async {
        let pool = builder(16).start().await.unwrap();
        let mix = (0..).map(|nth| match nth % 10 {
            0 => Work {
                computes: 100,
                waits: 0,
            },
            _ => Work {
                computes: 0,
                waits: 20,
            },
        });
        let seen = limits(&pool, mix, Duration::from_secs(8)).await;
        let settled = after(&seen, Duration::from_secs(4));
        assert!(settled.iter().any(|limit| *limit >= 8), "{seen:?}");
    });
}

#[test]
fn a_worker_of_a_fixed_number_has_that() {
    common::run(async {
        let pool = builder(16).concurrency(3).start().await.unwrap();
        assert_eq!(pool.status().await.slots[0].concurrency, 3);
        let computes = Work {
            computes: 60,
            waits: 0,
        };
        let seen = limits(&pool, repeat(computes), Duration::from_secs(1)).await;
        assert!(seen.iter().all(|(_, limit)| *limit == 3), "{seen:?}");
    });
}
