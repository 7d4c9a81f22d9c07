//! What the loss of a worker costs, and what it does not.
#![cfg(target_os = "linux")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::common::{self, Act, Beside, End, has, put, seen, signal, status_is};
use actix_multiprocess::{
    Blob, LossCause, NoError, Pool, Restart, SlotState, SlotStatus, Started, Submit, Task,
    TaskContext, TaskError, WorkerSpec, testing::assert_clean, worker_entry,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

worker_entry!(
    WorkerSpec::new()
        .task::<Act>()
        .task::<Beside>()
        .task::<Large>()
        .task::<EndLast>()
);

/// Returns so many bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Large(usize);

impl Task for Large {
    const NAME: &'static str = "large";
    type Output = Blob;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<Blob, NoError> {
        Ok(Blob::from(vec![1; self.0]))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct EndLast;

impl Task for EndLast {
    const NAME: &'static str = "end last";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        tokio::time::sleep(Duration::from_millis(30)).await;
        std::process::abort()
    }
}

#[test]
fn finished_results_are_not_lost_with_a_neighbour() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let began = Instant::now();
        let mut handles = Vec::new();
        for index in 0..16 {
            let end = if index == 15 {
                End::Abort
            } else {
                End::Burn(20)
            };
            let act = Act::new(dir.path(), format!("t{index}"), end);
            // The last burns, too, before it aborts.
            let handle = if index == 15 {
                pool.submit(Act {
                    end: End::BurnAbort(20),
                    ..act
                })
            } else {
                pool.submit(act)
            };
            handles.push(actix::spawn(async move {
                let outcome = handle.await;
                (outcome, began.elapsed())
            }));
        }
        let mut outcomes = Vec::new();
        for handle in handles {
            outcomes.push(handle.await.unwrap());
        }
        let lost: Vec<_> = outcomes
            .iter()
            .filter_map(|(outcome, at)| match outcome {
                Err(TaskError::WorkerLost(report)) => Some((report.clone(), *at)),
                _ => None,
            })
            .collect();
        let done: Vec<Duration> = outcomes
            .iter()
            .filter(|(outcome, _)| outcome.is_ok())
            .map(|(_, at)| *at)
            .collect();
        assert_eq!((done.len(), lost.len()), (15, 1), "{outcomes:?}");
        let (report, lost_at) = &lost[0];
        assert_eq!(report.signal(), Some(Signal::SIGABRT as i32));
        assert_eq!((report.started(), report.suspects()), (Started::Yes, 1));
        let first = done.iter().min().unwrap();
        assert!(
            *lost_at - *first >= Duration::from_millis(150),
            "the first result came {:?} before the loss",
            *lost_at - *first
        );
        assert_clean(&pool);
        pool.stop().await;
    });
}

/// A host that hardly gets to read still gets all that a worker has written before its end.
#[test]
fn results_of_a_dead_worker_reach_a_host_that_has_other_things_to_do() {
    common::run(async {
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let pid = pool.status().await.slots[0].pid.unwrap();
        // What surely fits into the buffer of a socket, which the pool makes as large as it may, to 4 MiB.
        let room = std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap();
        let room: usize = room.trim().parse().unwrap();
        let bytes = room.min(4 * 1024 * 1024) / 8;
        for _ in 0..5 {
            let handles: Vec<_> = (0..6).map(|_| pool.submit(Large(bytes))).collect();
            // Others on the arbiter take longer for each turn than an end may take.
            let stop = Arc::new(AtomicBool::new(false));
            let busy = Arc::clone(&stop);
            actix::spawn(async move {
                while !busy.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(60));
                    tokio::task::yield_now().await;
                }
            });
            // The task that ends the worker gives the others time to write theirs.
            let end = pool.submit(EndLast);
            for handle in handles {
                assert_eq!(handle.await.unwrap().0.len(), bytes);
            }
            assert!(matches!(end.await, Err(TaskError::WorkerLost(_))));
            stop.store(true, Ordering::Relaxed);
        }
        assert_ne!(pool.status().await.slots[0].pid, Some(pid));
        pool.stop().await;
    });
}

/// Half a frame is no crime while a task keeps the loop from writing the rest.
#[test]
fn loop_that_computes_with_half_a_frame_written_is_not_killed() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let gate = pool.submit(Act::new(dir.path(), "gate", End::Hold));
        seen(dir.path(), "gate", "started").await;
        // More than fits into the socket, so that its last frames wait for the loop.
        let large = pool.submit(Large(32 * 1024 * 1024));
        let busy = pool.submit(Beside(Act::new(dir.path(), "busy", End::Burn(12_500))));
        put(dir.path(), "gate", "go");
        gate.await.unwrap();
        busy.await.unwrap();
        assert_eq!(large.await.unwrap().0.len(), 32 * 1024 * 1024);
        assert_eq!(pool.status().await.slots[0].restarts, 0);
        pool.stop().await;
    });
}

#[test]
fn worker_is_replaced_after_somebody_has_cleaned_up_its_directory() {
    common::run(async {
        let base = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(2)
            .socket_dir(base.path())
            .wait_all()
            .start()
            .await
            .unwrap();
        for entry in std::fs::read_dir(base.path()).unwrap() {
            std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        for slot in pool.status().await.slots {
            signal(slot.pid.unwrap(), Signal::SIGKILL);
        }
        status_is(&pool, "replaced", |status| {
            let replaced =
                |slot: &SlotStatus| slot.generation == 1 && slot.state == SlotState::Ready;
            status.slots.iter().all(replaced)
        })
        .await;
        pool.stop().await;
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    });
}

#[test]
fn times_without_end_are_no_times_to_panic_at() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .start_timeout(Duration::MAX)
            .cancel_grace(Duration::MAX)
            .grace(Duration::MAX)
            .restart(
                Restart::default()
                    .period(Duration::MAX)
                    .backoff(Duration::ZERO, Duration::MAX),
            )
            .start()
            .await
            .unwrap();
        let cancelled = pool.submit(Act::new(dir.path(), "cancelled", End::Wait));
        seen(dir.path(), "cancelled", "started").await;
        cancelled.cancel();
        let outcome = cancelled.await;
        assert!(matches!(
            outcome,
            Err(TaskError::Cancelled { started: true })
        ));
        assert_eq!(pool.status().await.slots[0].restarts, 0);
        let pid = pool.status().await.slots[0].pid.unwrap();
        signal(pid, Signal::SIGKILL);
        status_is(&pool, "replaced", |status| status.slots[0].generation == 1).await;
        pool.submit(Act::new(dir.path(), "after", End::Ok))
            .await
            .unwrap();
        pool.drain(Duration::MAX).await;
    });
}

#[test]
fn killed_worker_settles_its_started_tasks_and_gives_back_the_rest() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(4)
            .start()
            .await
            .unwrap();
        let pid = pool.status().await.slots[0].pid.unwrap();
        let mut started = Vec::new();
        for index in 0..3 {
            let name = format!("s{index}");
            started.push(pool.submit(Act::new(dir.path(), &name, End::Wait)));
            seen(dir.path(), &name, "started").await;
        }
        let spinning = pool.submit(Beside(Act::new(dir.path(), "spin", End::Spin)));
        seen(dir.path(), "spin", "started").await;
        let queued = pool.submit(Act::new(dir.path(), "queued", End::Ok));
        let killed = Instant::now();
        signal(pid, Signal::SIGKILL);
        for handle in started {
            match handle.await {
                Err(TaskError::WorkerLost(report)) => {
                    assert_eq!(report.cause(), &LossCause::Signal);
                    assert_eq!((report.started(), report.suspects()), (Started::Yes, 4));
                    assert_eq!(report.pid(), Some(pid));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(killed.elapsed() < Duration::from_secs(1));
        assert!(matches!(spinning.await, Err(TaskError::WorkerLost(_))));
        queued.await.unwrap();
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn idempotent_task_that_kills_its_worker_runs_again_once() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .max_attempts(3)
            .restart(
                Restart::default()
                    .budget(None)
                    .backoff(Duration::from_millis(1), Duration::from_millis(1)),
            )
            .start()
            .await
            .unwrap();
        let act = Act::new(dir.path(), "fatal", End::Exit);
        match pool.submit(Submit::new(act).idempotent()).await {
            Err(TaskError::WorkerLost(report)) => {
                assert_eq!(report.code(), Some(3));
                assert!(report.poisoned());
            }
            other => panic!("{other:?}"),
        }
        assert!(has(dir.path(), "fatal", "start2"));
        assert!(!has(dir.path(), "fatal", "start3"));
        // The worker of its last run took nobody with it who was not there.
        pool.submit(Act::new(dir.path(), "next", End::Ok))
            .await
            .unwrap();
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn idempotent_task_survives_the_loss_of_its_worker() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let pid = pool.status().await.slots[0].pid.unwrap();
        let act = Act::new(dir.path(), "t", End::Ok).gated();
        let handle = pool.submit(Submit::new(act).idempotent());
        seen(dir.path(), "t", "started").await;
        signal(pid, Signal::SIGKILL);
        seen(dir.path(), "t", "start2").await;
        put(dir.path(), "t", "go");
        handle.await.unwrap();
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn queued_tasks_survive_any_number_of_worker_deaths() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(1)
            .restart(
                Restart::default()
                    .budget(None)
                    .backoff(Duration::from_millis(1), Duration::from_millis(1)),
            )
            .start()
            .await
            .unwrap();
        let fatal: Vec<_> = (0..8)
            .map(|index| pool.submit(Act::new(dir.path(), format!("f{index}"), End::Exit)))
            .collect();
        let last = pool.submit(Act::new(dir.path(), "last", End::Ok));
        for handle in fatal {
            assert!(matches!(handle.await, Err(TaskError::WorkerLost(_))));
        }
        last.await.unwrap();
        status_is(&pool, "restarts", |status| status.slots[0].restarts == 8).await;
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn handles_settle_on_other_threads_and_runtimes() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = Arc::new(dir.path().to_owned());
        let pool = Pool::builder(workers()).processes(2).start().await.unwrap();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (pool, path) = (pool.clone(), Arc::clone(&path));
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .unwrap();
                    runtime.block_on(async {
                        for index in 0..50 {
                            let name = format!("{thread}-{index}");
                            pool.submit(Act::new(&path, name, End::Ok)).await.unwrap();
                        }
                    });
                })
            })
            .collect();
        status_is(&pool, "all done", |status| status.counts.done == 200).await;
        for thread in threads {
            thread.join().unwrap();
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}
