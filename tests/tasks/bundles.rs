//! Quick items of a map travel together, and each has its own outcome all the same.
#![cfg(unix)]

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use crate::common::{self, signal, status_is};
use actix_multiprocess::{
    Pool, PoolBuilder, Restart, Retry, Submit, Task, TaskContext, TaskError, TimeoutStage,
    WorkerSpec, worker_entry,
};
use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

worker_entry!(WorkerSpec::new().task::<Item>());

const MS: Duration = Duration::from_millis(1);

/// What an item does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Does {
    Nothing,
    Fails,
    Panics,
    Waits,
    /// For longer than anybody does for it.
    Hangs,
    /// The same without ever letting go of the loop.
    Spins,
    /// Says in which it is how long it may run.
    Tells,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Item(u64, Does);

impl Task for Item {
    const NAME: &'static str = "item";
    const IDEMPOTENT: bool = true;
    type Output = u64;
    type Error = u64;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<u64, u64> {
        match self.1 {
            Does::Nothing => Ok(self.0),
            Does::Fails => Err(self.0),
            Does::Panics => panic!("item {}", self.0),
            Does::Hangs => std::future::pending().await,
            Does::Spins => loop {
                std::hint::spin_loop();
            },
            Does::Tells => Ok(cx.remaining().map_or(0, |left| left.as_millis() as u64)),
            Does::Waits => {
                tokio::time::sleep(MS).await;
                Ok(self.0)
            }
        }
    }
}

fn nothing(number: u64) -> Item {
    Item(number, Does::Nothing)
}

fn builder(processes: usize) -> PoolBuilder {
    Pool::builder(workers())
        .processes(processes)
        .wait_all()
        .restart(Restart::default().budget(None).backoff(MS, 20 * MS))
        .retry(Retry::default().backoff(MS, 20 * MS))
}

#[test]
fn outputs_are_those_of_their_inputs_in_order_and_as_they_come() {
    common::run(async {
        let pool = builder(2).start().await.unwrap();
        let all = pool.map((0..20_000).map(nothing)).await.unwrap();
        assert_eq!(all, Vec::from_iter(0..20_000));
        let mut ordered = pool.map((0..20_000).map(nothing));
        for expected in 0..20_000 {
            assert_eq!(ordered.next().await.unwrap().unwrap(), expected);
        }
        assert!(ordered.next().await.is_none());
        let mut seen = HashSet::new();
        let mut unordered = pool.map((0..20_000).map(nothing)).unordered();
        while let Some((index, output)) = unordered.next().await {
            assert_eq!(output.unwrap(), index as u64);
            assert!(seen.insert(index));
        }
        assert_eq!(seen.len(), 20_000);
        let counts = pool.status().await.counts;
        assert_eq!((counts.accepted, counts.done), (60_000, 60_000));
    });
}

#[test]
fn one_that_fails_panics_or_waits_is_none_of_its_neighbours_business() {
    common::run(async {
        let pool = builder(2).start().await.unwrap();
        pool.map((0..5000).map(nothing)).await.unwrap();
        let does = |number: u64| match number % 1000 {
            100 => Does::Fails,
            200 if number > 10_000 => Does::Panics,
            300 => Does::Waits,
            _ => Does::Nothing,
        };
        let items = (0..20_000).map(move |number| Item(number, does(number)));
        let mut map = pool.map(items);
        for number in 0..20_000 {
            match (does(number), map.next().await.unwrap()) {
                (Does::Nothing | Does::Waits, Ok(output)) => assert_eq!(output, number),
                (Does::Fails, Err(TaskError::Failed(error))) => assert_eq!(error, number),
                (Does::Panics, Err(TaskError::Panicked(error))) => {
                    assert_eq!(error.message(), format!("item {number}"));
                }
                (does, found) => panic!("{number} {does:?}: {found:?}"),
            }
        }
        let counts = pool.status().await.counts;
        assert_eq!((counts.failed, counts.panicked), (20, 10));
        assert_eq!(counts.settled(), counts.accepted);
    });
}

#[test]
fn whatever_dies_each_item_has_one_result() {
    common::run(async {
        let pool = builder(2).start().await.unwrap();
        pool.map((0..5000).map(nothing)).await.unwrap();
        let mut map = pool.map((0..100_000).map(nothing)).unordered();
        let mut seen = vec![false; 100_000];
        let mut count = 0;
        while let Some((index, output)) = map.next().await {
            assert_eq!(output.unwrap(), index as u64);
            assert!(!std::mem::replace(&mut seen[index], true), "{index} twice");
            count += 1;
            if count % 20_000 == 10_000 {
                let slots = pool.status().await.slots;
                if let Some(pid) = slots[count / 20_000 % 2].pid {
                    signal(pid, Signal::SIGKILL);
                }
            }
        }
        assert_eq!(count, 100_000);
        let counts = pool.status().await.counts;
        assert_eq!((counts.done, counts.lost), (105_000, 0));
    });
}

#[test]
fn a_map_that_is_dropped_leaves_nothing_behind() {
    common::run(async {
        let pool = builder(2).start().await.unwrap();
        pool.map((0..5000).map(nothing)).await.unwrap();
        for taken in [0, 1, 700] {
            let mut map = pool.map((0..1_000_000).map(nothing)).unordered();
            for _ in 0..=taken {
                map.next().await.unwrap().1.unwrap();
            }
            drop(map);
            status_is(&pool, "nothing left", |status| {
                status.in_flight == 0
                    && status.queued == 0
                    && status.counts.settled() == status.counts.accepted
            })
            .await;
        }
        assert_eq!(pool.submit(nothing(7)).await.unwrap(), 7);
        assert_eq!(pool.status().await.bytes, 0);
    });
}

#[test]
fn one_that_hangs_among_others_ends_with_its_map() {
    common::run(async {
        let pool = builder(2).start().await.unwrap();
        pool.map((0..5000).map(nothing)).await.unwrap();
        let does = |number| {
            if number == 3000 {
                Does::Hangs
            } else {
                Does::Nothing
            }
        };
        let items = (0..5000).map(move |number| Item(number, does(number)));
        let mut map = pool.map(items).unordered();
        for _ in 0..4999 {
            map.next().await.unwrap().1.unwrap();
        }
        drop(map);
        status_is(&pool, "nothing left", |status| status.in_flight == 0).await;
        assert_eq!(pool.status().await.counts.cancelled, 1);
    });
}

#[test]
fn a_small_queue_and_few_results_hold_a_map_up_and_do_not_stop_it() {
    common::run(async {
        for (queue, results) in [(1, 1 << 20), (10, 1 << 20), (1000, 2000)] {
            let pool = builder(2).queue_limit(queue).result_bytes(results);
            let pool = pool.start().await.unwrap();
            let mut map = pool.map((0..5000).map(nothing));
            for expected in 0..5000 {
                if expected == 2000 {
                    // Whoever takes nothing for a while is sent no more than may be kept.
                    tokio::time::sleep(20 * MS).await;
                }
                assert_eq!(map.next().await.unwrap().unwrap(), expected);
            }
            assert!(map.next().await.is_none());
            pool.stop().await;
        }
    });
}

/// Whether or not it lets go of the loop.
#[test]
fn whoever_runs_for_too_long_is_ended_and_nobody_else() {
    common::run(async {
        let pool = builder(2).run_timeout(500 * MS).start().await.unwrap();
        let warm = pool.map((0..5000).map(nothing)).await.unwrap();
        assert_eq!(warm.len(), 5000);
        let began = Instant::now();
        let does = |number| match number {
            7000 => Does::Hangs,
            12_000 => Does::Spins,
            number if number % 1000 == 1 => Does::Fails,
            number if number % 1000 == 2 => Does::Tells,
            _ => Does::Nothing,
        };
        let mut results = pool.map((0..20_000).map(|number| Item(number, does(number))));
        for number in 0..20_000 {
            let result = results.next().await.unwrap();
            match (does(number), result) {
                (Does::Hangs | Does::Spins, Err(TaskError::TimedOut(timed_out))) => {
                    assert_eq!(timed_out.stage, TimeoutStage::Running);
                    assert!(timed_out.elapsed >= 500 * MS, "{timed_out:?}");
                }
                (Does::Fails, Err(TaskError::Failed(failed))) => assert_eq!(failed, number),
                (Does::Tells, Ok(left)) => assert!((1..=500).contains(&left), "{left}"),
                (Does::Nothing, Ok(output)) => assert_eq!(output, number),
                (does, result) => panic!("{does:?}: {result:?}"),
            }
        }
        // One after the other if they met: twice the limit, a quarter of it to notice, and a second to be cancelled.
        let took = began.elapsed();
        assert!(took < 6 * Duration::from_secs(1), "{took:?}");
        let counts = pool.status().await.counts;
        assert_eq!((counts.timed_out, counts.failed), (2, 20));
        pool.stop().await;
    });
}

#[test]
fn a_pool_that_ends_settles_every_item() {
    common::run(async {
        let pool = builder(2).start().await.unwrap();
        pool.map((0..5000).map(nothing)).await.unwrap();
        let mut map = pool.map((0..u64::MAX).map(nothing)).window(5000);
        for expected in 0..1000 {
            assert_eq!(map.next().await.unwrap().unwrap(), expected);
        }
        pool.stop().await;
        let mut refused = 0;
        for expected in 1000.. {
            match map.next().await.unwrap() {
                // One worker may have said what it did, and another one not.
                Ok(number) => assert_eq!(number, expected),
                Err(
                    TaskError::Rejected(_) | TaskError::Cancelled { .. } | TaskError::WorkerLost(_),
                ) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            if refused > 10_000 {
                break;
            }
        }
    });
}

#[test]
fn what_has_something_of_its_own_goes_alone() {
    common::run(async {
        let pool = builder(2).start().await.unwrap();
        pool.map((0..5000).map(nothing)).await.unwrap();
        let items = (0..5000).map(|number| {
            let item = Submit::new(nothing(number));
            match number % 5 {
                0 => item,
                1 => item.key(number % 7),
                2 => item.timeout(Duration::from_secs(60)),
                3 => item.read_ahead(false),
                _ => item.exclusive(),
            }
        });
        assert_eq!(pool.map(items).await.unwrap(), Vec::from_iter(0..5000));
    });
}
