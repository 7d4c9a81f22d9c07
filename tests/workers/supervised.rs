//! Pools that give up when their workers cannot be kept alive, and what begins them anew.
#![cfg(target_os = "linux")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::common::{self, Act, End, event, events, put, seen, status_is};
use actix::{Recipient, Supervisor};
use actix_multiprocess::{
    CloseReason, LossCause, OnExhausted, Pool, PoolBuilder, PoolEvent, PoolState, Rejected,
    RemoteError, Restart, SlotState, StartError, Status, Submit, TaskError, WorkerSpec,
    WorkerStartError, testing::assert_clean, worker_entry,
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
    let (short, long) = (Duration::from_millis(5), Duration::from_millis(20));
    Pool::builder(workers())
        .init_args(dir.to_owned())
        .processes(2)
        .restart(Restart::default().budget(4).backoff(short, long))
        .on_exhausted(OnExhausted::Escalate)
}

fn make_sick(dir: &Path) {
    std::fs::write(dir.join("sick"), b"").unwrap();
}

fn heal(dir: &Path) {
    std::fs::remove_file(dir.join("sick")).unwrap();
}

fn no_workers(status: &Status) -> bool {
    status.slots.iter().all(|slot| slot.pid.is_none())
}

async fn kill_all(pool: &Pool) {
    for slot in pool.status().await.slots {
        pool.kill(slot.slot).await;
    }
}

#[test]
fn a_pool_of_its_own_settles_what_it_has_and_ends() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).wait_all().start().await.unwrap();
        let mut events = events(&pool).await;
        pool.pause();
        let waits = pool.submit(Act::new(dir.path(), "waits", End::Ok));
        make_sick(dir.path());
        kill_all(&pool).await;
        event(&mut events, |event| match event {
            PoolEvent::CircuitOpened { .. } => panic!("it was to escalate"),
            PoolEvent::Escalated => Some(()),
            _ => None,
        })
        .await;
        assert!(matches!(
            waits.await,
            Err(TaskError::Rejected(Rejected::Closed))
        ));
        let reason = event(&mut events, |event| match event {
            PoolEvent::Closed { reason } => Some(*reason),
            _ => None,
        });
        assert_eq!(reason.await, CloseReason::Escalated);
        status_is(&pool, "it ends", |status| {
            status.state == PoolState::Stopped && no_workers(status)
        })
        .await;
        let late = pool.submit(Act::new(dir.path(), "late", End::Ok)).await;
        assert!(matches!(late, Err(TaskError::Rejected(Rejected::Closed))));
        assert_clean(&pool);
    });
}

#[test]
fn what_runs_in_a_worker_that_leaves_is_lost_with_the_pool() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).processes(1).start().await.unwrap();
        let runs = pool.submit(Act::new(dir.path(), "runs", End::Wait));
        seen(dir.path(), "runs", "started").await;
        pool.recycle();
        status_is(&pool, "its worker leaves", |status| {
            status.slots[0].retiring.len() == 1
        })
        .await;
        make_sick(dir.path());
        kill_all(&pool).await;
        let Err(TaskError::WorkerLost(report)) = runs.await else {
            panic!("not lost");
        };
        assert_eq!(*report.cause(), LossCause::PoolGone);
        pool.stop().await;
    });
}

#[test]
fn a_supervised_pool_begins_anew_behind_what_was_taken_before() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let actor = builder(dir.path()).into_supervised().unwrap();
        let addr = Supervisor::start(|_| actor);
        let pool = Pool::from_addr(&addr).await.unwrap();
        let tasks: Recipient<Submit<Act>> = addr.clone().recipient();
        let act = |name: &str| Act::new(dir.path(), name, End::Ok);
        // Its start is not waited for, and neither does a task have to.
        pool.submit(act("first")).await.unwrap();

        let mut events = events(&pool).await;
        for round in 0..3 {
            pool.pause();
            let waits = pool.submit(act("waits"));
            make_sick(dir.path());
            kill_all(&pool).await;
            event(&mut events, |event| {
                matches!(event, PoolEvent::Escalated).then_some(())
            })
            .await;
            assert!(matches!(
                waits.await,
                Err(TaskError::Rejected(Rejected::Closed))
            ));
            let between = tasks.send(act("between").into()).await.unwrap();
            assert!(
                matches!(
                    between,
                    Err(TaskError::Rejected(Rejected::Unavailable { .. }))
                ),
                "{between:?}"
            );
            heal(dir.path());
            status_is(&pool, "it serves", |status| {
                status.state == PoolState::Running
                    && status
                        .slots
                        .iter()
                        .all(|slot| slot.state == SlotState::Ready)
            })
            .await;
            assert!(!pool.status().await.paused, "it begins anew");
            pool.submit(act(&format!("handle{round}"))).await.unwrap();
            let answer = addr.send(Submit::new(act(&format!("addr{round}")))).await;
            answer.unwrap().unwrap();
            let answer = tasks.send(act(&format!("recipient{round}")).into()).await;
            answer.unwrap().unwrap();
        }
        assert_clean(&pool);
        let report = pool.stop().await;
        assert_eq!(report.counts.settled(), report.outstanding);
        let late = tasks.send(act("late").into()).await.unwrap();
        assert!(matches!(late, Err(TaskError::Rejected(Rejected::Closed))));
        assert!(no_workers(&pool.status().await));
        let weak = addr.downgrade();
        drop((pool, tasks, addr));
        // Its supervisor lets it go with its last address.
        common::eventually("it has gone", || async { weak.upgrade().is_none() }).await;
    });
}

#[test]
fn a_supervised_pool_that_was_stopped_while_it_gave_up_stays_so() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let actor = builder(dir.path()).into_supervised().unwrap();
        let addr = Supervisor::start(|_| actor);
        let pool = Pool::from_addr(&addr).await.unwrap();
        pool.submit(Act::new(dir.path(), "first", End::Ok))
            .await
            .unwrap();
        let mut events = events(&pool).await;
        make_sick(dir.path());
        kill_all(&pool).await;
        event(&mut events, |event| {
            matches!(event, PoolEvent::Escalated).then_some(())
        })
        .await;
        pool.stop().await;
        heal(dir.path());
        let status = pool.status().await;
        assert_eq!(status.state, PoolState::Stopped);
        assert!(no_workers(&status));
        let late = pool.submit(Act::new(dir.path(), "late", End::Ok)).await;
        assert!(matches!(late, Err(TaskError::Rejected(Rejected::Closed))));
    });
}

#[test]
fn a_supervised_pool_without_an_address_drains_and_goes() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let actor = builder(dir.path()).into_supervised().unwrap();
        let addr = Supervisor::start(|_| actor);
        let pool = Pool::from_addr(&addr).await.unwrap();
        let runs = pool.submit(Act::new(dir.path(), "runs", End::Ok).gated());
        seen(dir.path(), "runs", "started").await;
        let weak = addr.downgrade();
        drop((addr, pool));
        put(dir.path(), "runs", "go");
        runs.await.unwrap();
        common::eventually("it has gone", || async { weak.upgrade().is_none() }).await;
    });
}

#[test]
fn a_start_that_fails_says_why_also_when_the_budget_is_smaller_than_the_pool() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        make_sick(dir.path());
        for budget in [0, 10] {
            let restart = Restart::default().budget(budget);
            match builder(dir.path()).restart(restart).start().await {
                Err(StartError::Worker(WorkerStartError::State(error))) => {
                    assert_eq!(error.message(), "the state cannot be made");
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_supervised_pool_that_cannot_start_begins_anew_less_and_less_often() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        make_sick(dir.path());
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(3600));
        let actor = builder(dir.path())
            .processes(1)
            .restart(Restart::default().budget(0).backoff(short, long))
            .into_supervised()
            .unwrap();
        let addr = Supervisor::start(|_| actor);
        let pool = Pool::from_addr(&addr).await.unwrap();
        let mut events = events(&pool).await;
        let began = std::time::Instant::now();
        // Without a pause this takes no time; with one that doubles it takes 50 + 100 + 200 + 400 ms.
        for _ in 0..5 {
            event(&mut events, |event| {
                matches!(event, PoolEvent::Escalated).then_some(())
            })
            .await;
        }
        assert!(began.elapsed() > Duration::from_millis(700));
        let between = pool.submit(Act::new(dir.path(), "t", End::Ok)).await;
        let Err(TaskError::Rejected(Rejected::Unavailable { retry_after })) = between else {
            panic!("{between:?}");
        };
        assert!(retry_after > Duration::from_millis(400), "{retry_after:?}");
        pool.stop().await;
    });
}
