//! Workers that are replaced without having failed: after so many tasks, at an age, or because somebody wants it.
#![cfg(target_os = "linux")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::common::{self, Act, End, event, events, put, seen, signal, status_is};
use actix_multiprocess::{
    LossCause, NoError, Pool, PoolBuilder, PoolEvent, PoolState, Recycle, RemoteError, Restart,
    RetireReason, SlotState, Started, Status, Task, TaskContext, TaskError, WorkerInfo, WorkerSpec,
    testing::assert_clean, worker_entry,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// Says where it ran.
#[derive(Clone, Serialize, Deserialize)]
struct Where;

impl Task for Where {
    const NAME: &'static str = "where";
    type Output = WorkerInfo;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<WorkerInfo, NoError> {
        tokio::task::yield_now().await;
        Ok(cx.worker())
    }
}

worker_entry!(
    WorkerSpec::new()
        .state_with(|dir: PathBuf| async move {
            if dir.join("sick").exists() {
                Err(RemoteError::new("sick", "the state cannot be made"))
            } else {
                Ok(())
            }
        })
        .task::<Act>()
        .task::<Where>(),
    PathBuf
);

fn builder(dir: &Path) -> PoolBuilder {
    Pool::builder(workers())
        .init_args(dir.to_owned())
        .processes(1)
        .jitter(0)
}

/// The processes of a pool.
fn pids(status: &Status) -> Vec<u32> {
    let slots = status.slots.iter();
    slots
        .flat_map(|slot| slot.pid.into_iter().chain(slot.retiring.clone()))
        .collect()
}

fn ready(event: &PoolEvent) -> Option<WorkerInfo> {
    match event {
        PoolEvent::WorkerReady { worker, .. } => Some(*worker),
        _ => None,
    }
}

fn retired(event: &PoolEvent) -> Option<(WorkerInfo, RetireReason)> {
    match event {
        PoolEvent::WorkerRetired { worker, reason, .. } => Some((*worker, *reason)),
        _ => None,
    }
}

/// How many of so many tasks each process had.
async fn spread(pool: &Pool, tasks: usize) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for worker in pool.map(vec![Where; tasks]).await.expect("no loss") {
        *counts.entry(worker.generation).or_default() += 1;
    }
    counts
}

#[test]
fn a_worker_starts_exactly_as_many_tasks_as_it_may() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).max_tasks(7).start().await.unwrap();
        assert_eq!(
            spread(&pool, 23).await,
            BTreeMap::from([(0, 7), (1, 7), (2, 7), (3, 2)])
        );
        assert_clean(&pool);
        let report = pool.stop().await;
        assert_eq!((report.killed, report.counts.lost), (0, 0));
    });
}

#[test]
fn what_never_ran_leaves_its_place_to_another() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path())
            .max_tasks(3)
            .concurrency(2)
            .start()
            .await
            .unwrap();
        let holds = pool.submit(Act::new(dir.path(), "holds", End::Hold));
        seen(dir.path(), "holds", "started").await;
        // Sent, and cancelled before the loop has come to it.
        let sent = pool.submit(Where);
        status_is(&pool, "both sent", |status| status.in_flight == 2).await;
        pool.cancel(sent.id().expect("an accepted task"));
        put(dir.path(), "holds", "go");
        holds.await.unwrap();
        assert!(matches!(
            sent.await,
            Err(TaskError::Cancelled { started: false })
        ));
        // One of three has started.
        assert_eq!(spread(&pool, 3).await, BTreeMap::from([(0, 2), (1, 1)]));
        pool.stop().await;
    });
}

#[test]
fn each_generation_draws_its_number_within_the_jitter() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path())
            .max_tasks(10)
            .jitter(50)
            .start()
            .await
            .unwrap();
        let mut counts = spread(&pool, 200).await;
        counts.pop_last();
        assert!(counts.values().all(|count| (5..=10).contains(count)));
        let different: BTreeSet<usize> = counts.into_values().collect();
        assert!(different.len() > 1, "{different:?}");
        pool.stop().await;
    });
}

#[test]
fn the_replacement_is_ready_before_the_old_worker_takes_no_more() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        let mut events = events(&pool).await;
        let old = pool.submit(Where).await.unwrap();
        let long = pool.submit(Act::new(dir.path(), "long", End::Ok).gated());
        seen(dir.path(), "long", "started").await;
        pool.addr().send(Recycle).await.unwrap();
        let new = event(&mut events, ready).await;
        assert_eq!((new.slot, new.generation), (old.slot, 1));
        status_is(&pool, "the old one retires", |status| {
            status.slots[0].retiring == [old.pid]
        })
        .await;
        let slot = &pool.status().await.slots[0];
        assert_eq!((slot.state, slot.pid), (SlotState::Ready, Some(new.pid)));
        assert_eq!(pool.submit(Where).await.unwrap(), new);
        put(dir.path(), "long", "go");
        long.await.unwrap();
        let found = event(&mut events, retired).await;
        assert_eq!(found, (old, RetireReason::Recycle));
        assert_eq!(pids(&pool.status().await), [new.pid]);
        assert_eq!(pool.status().await.slots[0].restarts, 0);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn one_slot_at_a_time_is_recycled_and_each_in_its_turn() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path())
            .processes(4)
            .concurrency(1)
            .wait_all()
            .start()
            .await
            .unwrap();
        let mut events = events(&pool).await;
        let tasks: Vec<_> = (0..4)
            .map(|index| pool.submit(Act::new(dir.path(), format!("t{index}"), End::Ok).gated()))
            .collect();
        for index in 0..4 {
            seen(dir.path(), &format!("t{index}"), "started").await;
        }
        pool.recycle();
        pool.recycle();
        for index in 0..4_u32 {
            let new = event(&mut events, |event| {
                assert!(retired(event).is_none(), "before its replacement is ready");
                ready(event)
            })
            .await;
            assert_eq!((new.slot.index(), new.generation), (index, 1));
            let there = pids(&pool.status().await);
            assert_eq!(there.len(), 5, "{there:?}");
            for index in 0..4 {
                put(dir.path(), &format!("t{index}"), "go");
            }
            let (old, _) = event(&mut events, |event| {
                assert!(ready(event).is_none(), "beside one that retires");
                retired(event)
            })
            .await;
            assert_eq!((old.slot, old.generation), (new.slot, 0));
        }
        for task in tasks {
            task.await.unwrap();
        }
        // Twice in a row was once.
        assert!(events.try_recv().is_err());
        pool.stop().await;
    });
}

#[test]
fn an_endless_task_in_each_generation_piles_up_no_processes() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path())
            .processes(2)
            .max_tasks(2)
            .retire_timeout(Duration::from_millis(100))
            .wait_all()
            .start()
            .await
            .unwrap();
        let mut most = 0;
        let mut ended = 0;
        let mut endless: Vec<_> = (0..8)
            .map(|index| pool.submit(Act::new(dir.path(), format!("e{index}"), End::Wait)))
            .collect();
        for handle in &mut endless {
            let outcome = loop {
                tokio::select! {
                    outcome = &mut *handle => break outcome,
                    () = tokio::time::sleep(Duration::from_millis(1)) => {
                        most = most.max(pids(&pool.status().await).len());
                    }
                }
            };
            let Err(TaskError::WorkerLost(report)) = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(*report.cause(), LossCause::Retired);
            assert_eq!((report.suspects(), report.started()), (0, Started::Yes));
            ended += 1;
        }
        assert_eq!((ended, most), (8, 3));
        // What comes after them is served all the same.
        pool.submit(Where).await.unwrap();
        pool.stop().await;
    });
}

#[test]
fn a_drain_goes_on_over_any_number_of_generations() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).max_tasks(1).start().await.unwrap();
        let handles: Vec<_> = (0..6).map(|_| pool.submit(Where)).collect();
        let report = pool.drain(Duration::from_secs(30)).await;
        assert_eq!((report.outstanding, report.counts.done), (6, 6));
        let mut generations = BTreeSet::new();
        for handle in handles {
            generations.insert(handle.await.unwrap().generation);
        }
        assert_eq!(generations.len(), 6);
    });
}

#[test]
fn workers_are_recycled_while_a_pool_drains() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).concurrency(1).start().await.unwrap();
        let mut events = events(&pool).await;
        let act = |name: &str| Act::new(dir.path(), name, End::Ok).gated();
        let tasks = ["first", "second"].map(|name| pool.submit(act(name)));
        seen(dir.path(), "first", "started").await;
        let draining = pool.clone();
        let drain = actix_rt::spawn(async move { draining.drain(Duration::from_secs(30)).await });
        status_is(&pool, "it drains", |status| {
            status.state == PoolState::Draining
        })
        .await;
        pool.recycle();
        // The old one has its task still, and the new one takes what waits.
        seen(dir.path(), "second", "started").await;
        for name in ["first", "second"] {
            put(dir.path(), name, "go");
        }
        let (worker, reason) = event(&mut events, retired).await;
        assert_eq!((worker.generation, reason), (0, RetireReason::Recycle));
        for task in tasks {
            task.await.unwrap();
        }
        let report = drain.await.unwrap();
        assert_eq!((report.outstanding, report.counts.done), (2, 2));
        assert_eq!(report.killed, 0);
    });
}

#[test]
fn an_old_worker_is_replaced_though_it_does_nothing() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let age = Duration::from_millis(50);
        let pool = builder(dir.path()).max_age(age).start().await.unwrap();
        let mut events = events(&pool).await;
        for generation in 0..3 {
            let (worker, reason) = event(&mut events, retired).await;
            assert_eq!(
                (worker.generation, reason),
                (generation, RetireReason::MaxAge)
            );
        }
        pool.submit(Where).await.unwrap();
        pool.stop().await;
    });
}

#[test]
fn a_replacement_that_cannot_start_leaves_the_old_worker_serving() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let backoff = Duration::from_millis(5);
        let pool = builder(dir.path())
            .restart(Restart::default().budget(2).backoff(backoff, backoff))
            .start()
            .await
            .unwrap();
        let old = pool.submit(Where).await.unwrap();
        let mut events = events(&pool).await;
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        pool.recycle();
        // More than the budget.
        for _ in 0..5 {
            event(&mut events, |event| match event {
                PoolEvent::WorkerLost { report, .. } => {
                    assert_eq!(*report.cause(), LossCause::Init);
                    Some(())
                }
                PoolEvent::CircuitOpened { .. } => panic!("a worker is ready"),
                _ => None,
            })
            .await;
            assert_eq!(pool.submit(Where).await.unwrap(), old);
        }
        std::fs::remove_file(dir.path().join("sick")).unwrap();
        assert_eq!(
            event(&mut events, retired).await,
            (old, RetireReason::Recycle)
        );
        assert_ne!(pool.submit(Where).await.unwrap(), old);
        pool.stop().await;
    });
}

#[test]
fn a_worker_that_may_start_no_more_does_not_keep_the_circuit_closed() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let backoff = Duration::from_millis(5);
        let pool = builder(dir.path())
            .max_tasks(1)
            .restart(Restart::default().budget(2).backoff(backoff, backoff))
            .start()
            .await
            .unwrap();
        let mut events = events(&pool).await;
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        let last = pool.submit(Act::new(dir.path(), "last", End::Ok).gated());
        event(&mut events, |event| {
            matches!(event, PoolEvent::CircuitOpened { .. }).then_some(())
        })
        .await;
        // It goes on with what it has all the same.
        put(dir.path(), "last", "go");
        last.await.unwrap();
        std::fs::remove_file(dir.path().join("sick")).unwrap();
        event(&mut events, ready).await;
        pool.submit(Where).await.unwrap();
        pool.stop().await;
    });
}

#[test]
fn a_replacement_that_cannot_start_backs_off_however_well_the_old_worker_works() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let backoff = Duration::from_secs(1);
        let pool = builder(dir.path())
            .restart(Restart::default().backoff(backoff, backoff))
            .start()
            .await
            .unwrap();
        let mut events = events(&pool).await;
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        pool.recycle();
        let until = std::time::Instant::now() + backoff;
        while std::time::Instant::now() < until {
            pool.submit(Where).await.unwrap();
        }
        let mut losses = 0;
        while let Ok(event) = events.try_recv() {
            losses += u32::from(matches!(event, PoolEvent::WorkerLost { .. }));
        }
        // At once, once more at once, and then after a second each.
        assert!((1..=3).contains(&losses), "{losses}");
        pool.stop().await;
    });
}

#[test]
fn spent_workers_do_not_keep_the_circuit_closed_while_they_leave() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let backoff = Duration::from_millis(5);
        let pool = builder(dir.path())
            .processes(2)
            .concurrency(1)
            .max_tasks(1)
            .restart(Restart::default().budget(2).backoff(backoff, backoff))
            .wait_all()
            .start()
            .await
            .unwrap();
        let mut events = events(&pool).await;
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        let last = ["a", "b"].map(|name| pool.submit(Act::new(dir.path(), name, End::Ok).gated()));
        event(&mut events, |event| {
            matches!(event, PoolEvent::CircuitOpened { .. }).then_some(())
        })
        .await;
        for (name, task) in ["a", "b"].into_iter().zip(last) {
            put(dir.path(), name, "go");
            task.await.unwrap();
        }
        pool.stop().await;
    });
}

#[test]
fn a_worker_that_dies_while_its_replacement_backs_off_is_followed_at_once() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let backoff = Duration::from_secs(3600);
        let pool = builder(dir.path())
            .restart(Restart::default().budget(5).backoff(backoff, backoff))
            .start()
            .await
            .unwrap();
        let old = pool.submit(Where).await.unwrap();
        let mut events = events(&pool).await;
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        pool.recycle();
        for _ in 0..2 {
            event(&mut events, |event| {
                matches!(event, PoolEvent::WorkerLost { .. }).then_some(())
            })
            .await;
        }
        std::fs::remove_file(dir.path().join("sick")).unwrap();
        signal(old.pid, Signal::SIGKILL);
        let new = event(&mut events, ready).await;
        assert_eq!(pool.submit(Where).await.unwrap(), new);
        pool.stop().await;
    });
}

#[test]
fn a_worker_that_is_lost_while_it_leaves_has_no_successor() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        let old = pool.submit(Where).await.unwrap();
        let lost = pool.submit(Act::new(dir.path(), "lost", End::Wait));
        seen(dir.path(), "lost", "started").await;
        pool.recycle();
        status_is(&pool, "it leaves", |status| {
            status.slots[0].retiring == [old.pid]
        })
        .await;
        let mut events = events(&pool).await;
        signal(old.pid, Signal::SIGKILL);
        assert!(matches!(lost.await, Err(TaskError::WorkerLost(_))));
        pool.recycle();
        event(&mut events, |event| match event {
            PoolEvent::WorkerRestarted { .. } => panic!("nobody came for it: {event:?}"),
            _ => retired(event),
        })
        .await;
        pool.stop().await;
    });
}

#[test]
fn a_worker_that_dies_while_it_is_replaced_is_replaced_once() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        let old = pool.submit(Where).await.unwrap();
        let lost = pool.submit(Act::new(dir.path(), "lost", End::Ok).gated());
        seen(dir.path(), "lost", "started").await;
        pool.recycle();
        status_is(&pool, "it retires", |status| {
            status.slots[0].retiring == [old.pid]
        })
        .await;
        let new = pool.submit(Where).await.unwrap();
        signal(old.pid, Signal::SIGKILL);
        assert!(matches!(lost.await, Err(TaskError::WorkerLost(_))));
        assert_eq!(pool.submit(Where).await.unwrap(), new);
        let status = pool.status().await;
        assert_eq!(pids(&status), [new.pid]);
        assert_eq!(status.slots[0].restarts, 1);
        pool.stop().await;
    });
}
