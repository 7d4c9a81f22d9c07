//! Quick tasks wait in workers, beyond those that run there, and lose nothing by that.
#![cfg(unix)]

use std::time::Duration;

use crate::common::{self, event, events, signal, status_is};
use actix_multiprocess::{
    NoError, Pool, PoolBuilder, PoolEvent, Restart, Retry, Submit, Task, TaskContext, WorkerSpec,
    worker_entry,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

worker_entry!(WorkerSpec::new().task::<Quick>().task::<Waits>());

const MS: Duration = Duration::from_millis(1);

/// Tells which run of it this is.
#[derive(Debug, Serialize, Deserialize)]
struct Quick(u64);

impl Task for Quick {
    const NAME: &'static str = "quick";
    type Output = (u64, u32);
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<(u64, u32), NoError> {
        Ok((self.0, cx.attempt()))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Waits;

impl Task for Waits {
    const NAME: &'static str = "waits";
    const IDEMPOTENT: bool = true;
    type Output = ();
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        tokio::time::sleep(2 * MS).await;
        Ok(())
    }
}

/// One task at once, so that whatever else is with a worker was sent ahead.
fn builder(processes: usize) -> PoolBuilder {
    Pool::builder(workers())
        .processes(processes)
        .concurrency(1)
        .wait_all()
        .restart(Restart::default().budget(None).backoff(MS, 20 * MS))
        .retry(Retry::default().backoff(MS, 20 * MS))
}

/// Has every worker learn how long such tasks take.
async fn warm(pool: &Pool) {
    let all = pool.map((0..2000).map(Quick)).await.unwrap();
    assert_eq!(all.len(), 2000);
}

#[test]
fn what_was_sent_ahead_has_its_result_from_another_when_its_worker_is_killed() {
    common::run(async {
        let pool = builder(2).start().await.unwrap();
        let mut events = events(&pool).await;
        let pids: Vec<u32> = (pool.status().await.slots.iter())
            .filter_map(|slot| slot.pid)
            .collect();
        // A worker that has just been kept waiting by the machine does not take its tasks for quick.
        let tasks = loop {
            warm(&pool).await;
            for pid in &pids {
                signal(*pid, Signal::SIGSTOP);
            }
            let tasks: Vec<_> = (0..1000)
                .map(|nth| pool.submit(Submit::new(Quick(nth)).idempotent()))
                .collect();
            let slots = pool.status().await.slots;
            if slots.iter().all(|slot| slot.in_flight > 1) {
                break tasks;
            }
            for pid in &pids {
                signal(*pid, Signal::SIGCONT);
            }
            for task in tasks {
                task.await.unwrap();
            }
        };
        let waits = pool.status().await.slots[0].in_flight;
        signal(pids[0], Signal::SIGKILL);
        let requeued = event(&mut events, |event| match event {
            PoolEvent::WorkerLost { requeued, lost, .. } => Some((*requeued, *lost)),
            _ => None,
        });
        assert_eq!(requeued.await, (waits, 0));
        signal(pids[1], Signal::SIGCONT);
        let mut again = 0;
        for (nth, task) in (0..).zip(tasks) {
            let (number, attempt) = task.await.unwrap();
            assert_eq!(number, nth);
            again += usize::from(attempt > 1);
        }
        // It had started none; how far it might have come is all that can be held against them.
        assert!(again <= 65, "{again}");
        assert_eq!(pool.status().await.counts.lost, 0);
    });
}

#[test]
fn only_what_is_quick_and_may_run_again_or_says_so_is_sent_ahead() {
    common::run(async {
        let pool = builder(1).start().await.unwrap();
        warm(&pool).await;
        for _ in 0..20 {
            pool.submit(Waits).await.unwrap();
        }
        let pid = pool.status().await.slots[0].pid.unwrap();
        let ahead = async |what: Vec<Submit<Quick>>| {
            signal(pid, Signal::SIGSTOP);
            let tasks: Vec<_> = what.into_iter().map(|task| pool.submit(task)).collect();
            status_is(&pool, "tasks there", |status| {
                status.in_flight + status.queued == tasks.len()
            })
            .await;
            let has = pool.status().await.slots[0].in_flight;
            signal(pid, Signal::SIGCONT);
            for task in tasks {
                task.await.unwrap();
            }
            has
        };
        let many = |of: fn(Submit<Quick>) -> Submit<Quick>| {
            let tasks = (0..100).map(|nth| of(Submit::new(Quick(nth))));
            tasks.collect::<Vec<_>>()
        };
        assert_eq!(ahead(many(|task| task)).await, 1);
        // As above; each try measures it anew.
        while ahead(many(Submit::idempotent)).await == 1 {}
        while ahead(many(|task| task.read_ahead(true))).await == 1 {}
        assert_eq!(
            ahead(many(|task| task.idempotent().read_ahead(false))).await,
            1
        );
        signal(pid, Signal::SIGSTOP);
        let tasks: Vec<_> = (0..10).map(|_| pool.submit(Waits)).collect();
        status_is(&pool, "tasks there", |status| {
            status.in_flight + status.queued == tasks.len()
        })
        .await;
        let has = pool.status().await.slots[0].in_flight;
        signal(pid, Signal::SIGCONT);
        assert_eq!(has, 1);
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn where_memory_is_limited_a_worker_has_no_more_than_it_runs() {
    common::run(async {
        let pool = builder(1).memory_soft(1 << 30).start().await.unwrap();
        warm(&pool).await;
        let pid = pool.status().await.slots[0].pid.unwrap();
        signal(pid, Signal::SIGSTOP);
        let tasks: Vec<_> = (0..100)
            .map(|nth| pool.submit(Submit::new(Quick(nth)).idempotent()))
            .collect();
        assert_eq!(pool.status().await.slots[0].in_flight, 1);
        signal(pid, Signal::SIGCONT);
        for task in tasks {
            task.await.unwrap();
        }
    });
}
