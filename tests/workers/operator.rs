//! What an operator may do to a pool that runs: pause and resume it, and kill one of its workers.
#![cfg(target_os = "linux")]

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use crate::common::{self, Act, End, event, events, has, put, seen, signal, status_is};
use actix::{Actor, Context, Handler};
use actix_multiprocess::{
    Kill, LossCause, Pause, Pool, PoolBuilder, PoolEvent, PoolState, Restart, Resume, Slot,
    SlotState, Started, Submit, Subscribe, TaskError, WorkerSpec,
    testing::{PanicIn, assert_clean, panic_once},
    worker_entry,
};
use nix::sys::signal::Signal;

worker_entry!(
    WorkerSpec::new()
        .state_with(|dir: PathBuf| async move {
            // As long as the test says so.
            while dir.join("wait").exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        })
        .task::<Act>(),
    PathBuf
);

const GRACE: Duration = Duration::from_millis(200);

fn builder(dir: &Path) -> PoolBuilder {
    Pool::builder(workers())
        .init_args(dir.to_owned())
        .processes(1)
        .grace(GRACE)
}

async fn first(pool: &Pool) -> Slot {
    pool.status().await.slots[0].slot
}

struct Events(tokio::sync::mpsc::UnboundedSender<PoolEvent>);

impl Actor for Events {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Events {
    type Result = ();
    fn handle(&mut self, event: PoolEvent, _: &mut Context<Self>) {
        let _ = self.0.send(event);
    }
}

#[test]
fn a_paused_pool_sends_nothing_until_it_is_resumed() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let subscriber = Events(sender).start().recipient();
        pool.addr().send(Subscribe(subscriber)).await.unwrap();

        let before = pool.submit(Act::new(dir.path(), "before", End::Ok).gated());
        seen(dir.path(), "before", "started").await;
        pool.addr().send(Pause).await.unwrap();
        assert!(matches!(events.recv().await, Some(PoolEvent::Paused)));
        let mut after = pool.submit(Act::new(dir.path(), "after", End::Ok));
        // What runs goes on, and its place is given to nobody.
        put(dir.path(), "before", "go");
        before.await.unwrap();
        let status = pool.status().await;
        assert_eq!(
            (status.paused, status.queued, status.in_flight),
            (true, 1, 0)
        );
        assert_eq!(status.state, PoolState::Running);
        // Nor to what is awaited or comes back.
        let pending =
            std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut after).poll(cx).is_pending()));
        assert!(pending.await);
        signal(status.slots[0].pid.unwrap(), Signal::SIGKILL);
        status_is(&pool, "another worker", |status| {
            status.slots[0].generation == 1 && status.slots[0].state == SlotState::Ready
        })
        .await;
        assert_eq!(pool.status().await.queued, 1);
        assert!(!has(dir.path(), "after", "started"));

        // Twice is once.
        pool.pause();
        pool.addr().send(Resume).await.unwrap();
        pool.resume();
        after.await.unwrap();
        assert!(!pool.status().await.paused);
        let mut said = Vec::new();
        while let Ok(event) = events.try_recv() {
            match event {
                PoolEvent::Paused => said.push("paused"),
                PoolEvent::Resumed => said.push("resumed"),
                _ => {}
            }
        }
        assert_eq!(said, ["resumed"]);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_paused_pool_takes_as_much_as_its_queue_holds() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).queue_limit(2).start().await.unwrap();
        pool.pause();
        let waiting = ["a", "b"].map(|name| pool.submit(Act::new(dir.path(), name, End::Ok)));
        let refused = pool.submit(Act::new(dir.path(), "c", End::Ok)).await;
        assert!(
            matches!(refused, Err(TaskError::Rejected(_))),
            "{refused:?}"
        );
        pool.resume();
        for handle in waiting {
            handle.await.unwrap();
        }
        pool.stop().await;
    });
}

#[test]
fn a_drain_lifts_a_pause_and_no_pause_stops_a_drain() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).concurrency(1).start().await.unwrap();
        pool.pause();
        let handles =
            ["a", "b", "c"].map(|name| pool.submit(Act::new(dir.path(), name, End::Ok).gated()));
        let drain = pool.drain(Duration::from_secs(30));
        seen(dir.path(), "a", "started").await;
        pool.pause();
        assert!(!pool.status().await.paused);
        for name in ["a", "b", "c"] {
            put(dir.path(), name, "go");
        }
        let report = drain.await;
        assert_eq!((report.outstanding, report.counts.done), (3, 3));
        for handle in handles {
            handle.await.unwrap();
        }
    });
}

#[test]
fn a_killed_slot_loses_what_cannot_run_again_and_nothing_else() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).concurrency(4).start().await.unwrap();
        let done = pool.submit(Act::new(dir.path(), "done", End::Ok));
        let lost = pool.submit(Act::new(dir.path(), "lost", End::Wait));
        let again =
            pool.submit(Submit::new(Act::new(dir.path(), "again", End::Ok).gated()).idempotent());
        seen(dir.path(), "lost", "started").await;
        seen(dir.path(), "again", "started").await;
        assert!(pool.kill(first(&pool).await).await);
        done.await.unwrap();
        let Err(TaskError::WorkerLost(report)) = lost.await else {
            panic!("not lost");
        };
        assert_eq!(report.cause(), &LossCause::Operator);
        assert_eq!((report.started(), report.suspects()), (Started::Yes, 0));
        put(dir.path(), "again", "go");
        again.await.unwrap();
        assert!(has(dir.path(), "again", "start2"));
        let status = pool.status().await;
        assert_eq!(
            (status.slots[0].generation, status.slots[0].restarts),
            (1, 1)
        );
        assert_clean(&pool);
        pool.stop().await;
    });
}

/// The budget is for what nobody wanted.
#[test]
fn no_number_of_kills_opens_the_circuit_or_delays_a_restart() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let minute = Duration::from_secs(60);
        let pool = builder(dir.path())
            .max_attempts(1)
            .restart(Restart::default().budget(1).backoff(minute, minute))
            .start()
            .await
            .unwrap();
        let waits =
            pool.submit(Submit::new(Act::new(dir.path(), "waits", End::Ok).gated()).idempotent());
        for kill in 1..=8 {
            let start = format!("start{kill}");
            seen(dir.path(), "waits", &start).await;
            assert!(pool.addr().send(Kill(first(&pool).await)).await.unwrap());
        }
        seen(dir.path(), "waits", "start9").await;
        put(dir.path(), "waits", "go");
        // No attempt was spent.
        waits.await.unwrap();
        assert_eq!(pool.status().await.state, PoolState::Running);
        pool.stop().await;
    });
}

#[test]
fn a_loop_and_a_stopped_worker_are_killed_within_the_grace() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        for (name, end) in [("loop", End::Spin), ("stopped", End::Wait)] {
            let task = pool.submit(Act::new(dir.path(), name, end));
            seen(dir.path(), name, "started").await;
            let status = pool.status().await;
            if end == End::Wait {
                signal(status.slots[0].pid.unwrap(), Signal::SIGSTOP);
            }
            let began = Instant::now();
            assert!(pool.kill(status.slots[0].slot).await);
            assert!(matches!(task.await, Err(TaskError::WorkerLost(_))));
            let took = began.elapsed();
            assert!(
                took < GRACE + Duration::from_secs(1),
                "{name} took {took:?}"
            );
            let generation = status.slots[0].generation + 1;
            status_is(&pool, "another worker", |status| {
                status.slots[0].generation == generation
                    && status.slots[0].state == SlotState::Ready
            })
            .await;
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_worker_that_starts_can_be_killed_and_is_replaced() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        let wait = dir.path().join("wait");
        std::fs::write(&wait, b"").unwrap();
        for generation in 1..=8 {
            assert!(pool.kill(first(&pool).await).await);
            status_is(&pool, "another one starts", |status| {
                let slot = &status.slots[0];
                (slot.generation, slot.state) == (generation, SlotState::Starting)
                    && slot.pid.is_some()
            })
            .await;
        }
        std::fs::remove_file(wait).unwrap();
        pool.submit(Act::new(dir.path(), "t", End::Ok))
            .await
            .unwrap();
        let status = pool.status().await;
        assert_eq!(
            (status.slots[0].generation, status.state),
            (8, PoolState::Running)
        );
        pool.stop().await;
    });
}

#[test]
fn where_there_is_no_worker_none_is_killed() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        let other = Pool::builder(workers())
            .init_args(dir.path().to_owned())
            .processes(2)
            .wait_all()
            .start()
            .await
            .unwrap();
        let second = other.status().await.slots[1].slot;
        assert!(!pool.kill(second).await);
        pool.stop().await;
        assert!(!pool.kill(other.status().await.slots[0].slot).await);
        other.stop().await;
    });
}

#[test]
fn a_worker_retires_though_the_word_of_it_meets_a_panic() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(dir.path()).start().await.unwrap();
        let mut events = events(&pool).await;
        for generation in 0..2 {
            std::fs::write(dir.path().join("wait"), b"").unwrap();
            pool.recycle();
            event(&mut events, |event| {
                matches!(event, PoolEvent::WorkerStarting { .. }).then_some(())
            })
            .await;
            // What its proxy hears next is that the old one is to leave.
            panic_once(&pool, PanicIn::ProxyHandler);
            std::fs::remove_file(dir.path().join("wait")).unwrap();
            let retired = event(&mut events, |event| match event {
                PoolEvent::WorkerRetired { worker, .. } => Some(worker.generation),
                PoolEvent::WorkerLost { .. } => panic!("{event:?}"),
                _ => None,
            });
            assert_eq!(retired.await, generation);
        }
        pool.stop().await;
    });
}

#[test]
fn a_stop_ends_a_slot_that_waits_though_the_word_of_it_meets_a_panic() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let never = Duration::from_secs(3600);
        let pool = builder(dir.path())
            .restart(Restart::default().backoff(never, never))
            .start()
            .await
            .unwrap();
        for generation in 0..2 {
            status_is(&pool, "it is ready", |status| {
                let slot = &status.slots[0];
                slot.generation == generation && slot.state == SlotState::Ready
            })
            .await;
            signal(pool.status().await.slots[0].pid.unwrap(), Signal::SIGKILL);
        }
        status_is(&pool, "it waits", |status| {
            status.slots[0].state == SlotState::Waiting && status.slots[0].restarts == 2
        })
        .await;
        panic_once(&pool, PanicIn::ProxyHandler);
        pool.stop().await;
    });
}
