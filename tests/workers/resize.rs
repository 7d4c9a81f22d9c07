//! A pool that is made larger and smaller while it works.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::common::{self, Act, End, event, events, put, seen, status_is};
use actix_multiprocess::{
    ConfigError, Pool, PoolBuilder, PoolEvent, PoolState, Rejected, RemoteError, Resize, Restart,
    RetireReason, SlotState, Status, TaskError, WorkerSpec, testing::assert_clean, worker_entry,
};

worker_entry!(
    WorkerSpec::new()
        .state_with(|dir: PathBuf| async move {
            if dir.join("sick").exists() {
                Err(RemoteError::new("sick", "the state cannot be made"))
            } else {
                Ok(())
            }
        })
        .task::<Act>(),
    PathBuf
);

fn builder(dir: &Path) -> PoolBuilder {
    Pool::builder(workers())
        .init_args(dir.to_owned())
        .processes(1)
        .concurrency(1)
}

fn all_ready(status: &Status, slots: usize) -> bool {
    status.slots.len() == slots
        && status
            .slots
            .iter()
            .all(|slot| slot.state == SlotState::Ready && slot.retiring.is_empty())
}

#[test]
fn more_workers_serve_at_once() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        let tasks: Vec<_> = (0..3)
            .map(|index| pool.submit(Act::new(dir.path(), format!("t{index}"), End::Ok).gated()))
            .collect();
        seen(dir.path(), "t0", "started").await;
        assert_eq!(pool.status().await.queued, 2);
        pool.addr().send(Resize(3)).await.unwrap().unwrap();
        // All before any ends, or one worker could do the work of two.
        for index in 0..3 {
            seen(dir.path(), &format!("t{index}"), "started").await;
        }
        for index in 0..3 {
            put(dir.path(), &format!("t{index}"), "go");
        }
        let mut slots = BTreeSet::new();
        for task in tasks {
            slots.insert(task.await.unwrap());
        }
        assert_eq!(slots.len(), 3);
        let status = pool.status().await;
        assert!(all_ready(&status, 3), "{status:?}");
        assert_eq!(
            (status.config.processes, status.config.queue_limit),
            (Some(3), Some(3 * 1024))
        );
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn fewer_workers_finish_what_they_have_and_get_nothing_new() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path())
            .processes(3)
            .queue_limit(7)
            .wait_all()
            .start()
            .await
            .unwrap();
        let mut events = events(&pool).await;
        let tasks: Vec<_> = (0..3)
            .map(|index| pool.submit(Act::new(dir.path(), format!("t{index}"), End::Ok).gated()))
            .collect();
        for index in 0..3 {
            seen(dir.path(), &format!("t{index}"), "started").await;
        }
        pool.resize(1).await.unwrap();
        assert!(matches!(
            events.recv().await,
            Some(PoolEvent::Resized { from: 3, to: 1 })
        ));
        status_is(&pool, "two retire", |status| {
            let states = status.slots.iter().map(|slot| slot.state);
            states.filter(|state| *state == SlotState::Retiring).count() == 2
        })
        .await;
        for index in 0..3 {
            put(dir.path(), &format!("t{index}"), "go");
        }
        for task in tasks {
            task.await.unwrap();
        }
        let mut left = BTreeSet::new();
        for _ in 0..2 {
            let slot = event(&mut events, |event| match event {
                PoolEvent::WorkerRetired { worker, reason, .. } => {
                    assert_eq!(*reason, RetireReason::Resize);
                    Some(worker.slot.index())
                }
                PoolEvent::WorkerLost { .. } | PoolEvent::WorkerStarting { .. } => {
                    panic!("{event:?}")
                }
                _ => None,
            })
            .await;
            left.insert(slot);
        }
        assert_eq!(left, BTreeSet::from([1, 2]));
        status_is(&pool, "one is left", |status| all_ready(status, 1)).await;
        let next = pool.submit(Act::new(dir.path(), "next", End::Ok)).await;
        assert_eq!(next.unwrap(), "next in slot 0");
        // Said by a person, it does not follow the number.
        assert_eq!(pool.status().await.config.queue_limit, Some(7));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_slot_that_is_wanted_again_starts_beside_the_worker_that_leaves_it() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path())
            .processes(2)
            .wait_all()
            .start()
            .await
            .unwrap();
        let mut events = events(&pool).await;
        let tasks: Vec<_> = (0..2)
            .map(|index| pool.submit(Act::new(dir.path(), format!("t{index}"), End::Ok).gated()))
            .collect();
        for index in 0..2 {
            seen(dir.path(), &format!("t{index}"), "started").await;
        }
        // At most one leaves a slot while another serves it; the third has to wait.
        for size in [1, 2, 1, 2, 1, 2] {
            pool.resize(size).await.unwrap();
        }
        status_is(&pool, "both serve", |status| {
            let slot = &status.slots[1];
            slot.state == SlotState::Ready && slot.retiring.len() == 1
        })
        .await;
        let next = pool.submit(Act::new(dir.path(), "next", End::Ok)).await;
        assert_eq!(next.unwrap(), "next in slot 1");
        for index in 0..2 {
            put(dir.path(), &format!("t{index}"), "go");
        }
        for task in tasks {
            task.await.unwrap();
        }
        status_is(&pool, "all is calm", |status| all_ready(status, 2)).await;
        let mut more = 0;
        while let Ok(event) = events.try_recv() {
            match event {
                PoolEvent::WorkerReady { .. } => more += 1,
                PoolEvent::WorkerRetired { .. } => more -= 1,
                PoolEvent::WorkerLost { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
        assert_eq!(more, 0, "for each that left one has come");
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_size_that_cannot_be_is_refused_and_changes_nothing() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        assert_eq!(
            pool.resize(0).await,
            Err(ConfigError::Zero { knob: "processes" })
        );
        assert!(matches!(
            pool.resize(1_000_000).await,
            Err(ConfigError::TooLarge {
                knob: "processes",
                ..
            })
        ));
        assert!(all_ready(&pool.status().await, 1));
        pool.stop().await;
        assert_eq!(pool.resize(2).await, Ok(()));
    });
}

#[test]
fn an_open_circuit_closes_though_the_slot_that_probed_is_none_any_more() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let (short, long) = (Duration::from_millis(5), Duration::from_millis(50));
        let pool = builder(dir.path())
            .processes(3)
            .restart(Restart::default().budget(3).backoff(short, long))
            .wait_all()
            .start()
            .await
            .unwrap();
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        for slot in pool.status().await.slots {
            assert!(pool.kill(slot.slot).await);
        }
        for size in [1, 3, 2, 1] {
            status_is(&pool, "the circuit opens", |status| {
                status.state == PoolState::CircuitOpen
            })
            .await;
            pool.resize(size).await.unwrap();
        }
        let refused = pool.submit(Act::new(dir.path(), "early", End::Ok)).await;
        assert!(matches!(
            refused,
            Err(TaskError::Rejected(Rejected::Unavailable { .. }))
        ));
        std::fs::remove_file(dir.path().join("sick")).unwrap();
        status_is(&pool, "one serves", |status| all_ready(status, 1)).await;
        assert_eq!(pool.status().await.state, PoolState::Running);
        pool.submit(Act::new(dir.path(), "next", End::Ok))
            .await
            .unwrap();
        pool.stop().await;
    });
}

#[test]
fn a_slot_that_is_wanted_for_a_moment_only_gets_no_worker_when_the_circuit_closes() {
    resized_while_the_circuit_is_open(&[2, 1, 3, 1]);
}

#[test]
fn a_slot_that_is_wanted_again_gets_one_worker_when_the_circuit_closes() {
    resized_while_the_circuit_is_open(&[2, 1, 2, 1, 2]);
    resized_while_the_circuit_is_open(&[2, 1, 2, 1, 3, 1, 3]);
}

#[test]
fn a_slot_that_is_wanted_for_a_moment_only_starts_no_process() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        let mut events = events(&pool).await;
        pool.addr().do_send(Resize(2));
        pool.addr().send(Resize(1)).await.unwrap().unwrap();
        status_is(&pool, "one is left", |status| all_ready(status, 1)).await;
        pool.stop().await;
        while let Ok(event) = events.try_recv() {
            assert!(
                !matches!(event, PoolEvent::WorkerStarting { .. }),
                "{event:?}"
            );
        }
    });
}

fn resized_while_the_circuit_is_open(sizes: &'static [usize]) {
    let last = *sizes.last().unwrap();
    common::run(async move {
        let dir = tempfile::tempdir().unwrap();
        let backoff = Duration::from_millis(20);
        let pool = builder(dir.path())
            .restart(Restart::default().budget(0).backoff(backoff, backoff))
            .start()
            .await
            .unwrap();
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        pool.kill(pool.status().await.slots[0].slot).await;
        status_is(&pool, "the circuit opens", |status| {
            status.state == PoolState::CircuitOpen
        })
        .await;
        let mut events = events(&pool).await;
        // In one turn of the actor: the slot is none any more before its worker has begun.
        for size in sizes {
            pool.addr().do_send(Resize(*size));
        }
        pool.addr().send(Resize(last)).await.unwrap().unwrap();
        std::fs::remove_file(dir.path().join("sick")).unwrap();
        event(&mut events, |event| {
            matches!(event, PoolEvent::CircuitClosed { .. }).then_some(())
        })
        .await;
        status_is(&pool, "they serve", |status| all_ready(status, last)).await;
        // Another would be on its way by now: the pool has been asked after it was to start.
        pool.resize(last).await.unwrap();
        let status = pool.status().await;
        assert_eq!(status.slots.len(), last, "{status:?}");
        let report = pool.stop().await;
        assert_eq!(report.killed, 0);
        // The one that probed has been seen already, but for its second attempts.
        let mut started = vec![0; last];
        while let Ok(event) = events.try_recv() {
            if let PoolEvent::WorkerStarting { worker } = event {
                started[worker.slot.index() as usize] += 1;
            }
        }
        assert!(started[1..].iter().all(|times| *times == 1), "{started:?}");
    });
}
