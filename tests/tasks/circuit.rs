//! Workers that cannot be kept alive.
#![cfg(target_os = "linux")]

use std::{path::PathBuf, time::Duration};

use crate::common::{self, Act, End, put, seen, signal, status_is};
use actix::{Actor, Context, Handler};
use actix_multiprocess::{
    LossCause, Pool, PoolBuilder, PoolEvent, PoolState, Rejected, RemoteError, Restart, StartError,
    Subscribe, TaskError, WorkerSpec, WorkerStartError, testing::assert_clean, worker_entry,
};
use nix::sys::signal::Signal;

worker_entry!(
    WorkerSpec::new()
        .state_with(|dir: PathBuf| async move {
            while dir.join("slow").exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Fails as long as the test says so.
            if dir.join("sick").exists() {
                Err(RemoteError::new("sick", "the state cannot be made"))
            } else {
                Ok(())
            }
        })
        .task::<Act>(),
    PathBuf
);

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

fn pool(dir: &std::path::Path) -> PoolBuilder {
    Pool::builder(workers())
        .init_args(dir.to_owned())
        .processes(2)
        .restart(
            Restart::default()
                .budget(3)
                .backoff(Duration::from_millis(10), Duration::from_millis(50)),
        )
}

#[test]
fn failing_initializer_is_a_typed_start_error() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        match pool(dir.path()).start().await {
            Err(StartError::Worker(WorkerStartError::State(error))) => {
                assert_eq!(
                    (error.kind(), error.message()),
                    ("sick", "the state cannot be made")
                );
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn circuit_opens_refuses_keeps_what_was_accepted_and_heals() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path())
            .concurrency(1)
            .wait_all()
            .start()
            .await
            .unwrap();
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let observer = Events(sender).start();
        pool.addr()
            .send(Subscribe(observer.recipient()))
            .await
            .unwrap();
        let held: Vec<_> = (0..2)
            .map(|index| pool.submit(Act::new(dir.path(), format!("h{index}"), End::Wait)))
            .collect();
        for index in 0..2 {
            seen(dir.path(), &format!("h{index}"), "started").await;
        }
        let queued = pool.submit(Act::new(dir.path(), "queued", End::Ok));
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        for slot in pool.status().await.slots {
            signal(slot.pid.unwrap(), Signal::SIGKILL);
        }
        for handle in held {
            assert!(matches!(handle.await, Err(TaskError::WorkerLost(_))));
        }
        let mut lost_in_init = 0;
        let retry_after = loop {
            match events.recv().await.unwrap() {
                PoolEvent::CircuitOpened { retry_after } => break retry_after,
                PoolEvent::WorkerLost { report, .. } if *report.cause() == LossCause::Init => {
                    lost_in_init += 1;
                }
                _ => {}
            }
        };
        assert!(retry_after <= Duration::from_millis(50), "{retry_after:?}");
        assert!(lost_in_init >= 1);
        assert_eq!(pool.status().await.state, PoolState::CircuitOpen);
        match pool.submit(Act::new(dir.path(), "refused", End::Ok)).await {
            Err(TaskError::Rejected(Rejected::Unavailable { .. })) => {}
            other => panic!("{other:?}"),
        }
        std::fs::remove_file(dir.path().join("sick")).unwrap();
        // Accepted before, and it stays so.
        queued.await.unwrap();
        assert_eq!(pool.status().await.state, PoolState::Running);
        loop {
            if let PoolEvent::CircuitClosed { .. } = events.recv().await.unwrap() {
                break;
            }
        }
        status_is(&pool, "all slots are back", |status| {
            status
                .slots
                .iter()
                .all(|slot| slot.state == actix_multiprocess::SlotState::Ready)
        })
        .await;
        pool.submit(Act::new(dir.path(), "after", End::Ok))
            .await
            .unwrap();
        assert_clean(&pool);
        pool.stop().await;
    });
}

/// Makes all workers sick and kills them, until the circuit opens.
async fn open(pool: &Pool, dir: &std::path::Path) {
    std::fs::write(dir.join("sick"), b"").unwrap();
    for slot in pool.status().await.slots {
        signal(slot.pid.unwrap(), Signal::SIGKILL);
    }
    status_is(pool, "the circuit is open", |status| {
        status.state == PoolState::CircuitOpen
    })
    .await;
}

#[test]
fn circuit_is_half_open_while_a_worker_is_tried() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path()).wait_all().start().await.unwrap();
        let mut events = common::events(&pool).await;
        open(&pool, dir.path()).await;
        let file = |name: &str| dir.path().join(name);
        let half_open =
            |status: &actix_multiprocess::Status| status.state == PoolState::CircuitHalfOpen;
        std::fs::write(file("slow"), b"").unwrap();
        status_is(&pool, "a worker is tried", half_open).await;
        // What the event says, the status did before.
        let opened = |event: &PoolEvent| match event {
            PoolEvent::CircuitOpened { .. } => Some("open"),
            PoolEvent::CircuitHalfOpen { .. } => Some("half-open"),
            PoolEvent::CircuitClosed { .. } => Some("closed"),
            _ => None,
        };
        std::fs::remove_file(file("slow")).unwrap();
        // It fails, and others after it.
        let mut said = Vec::new();
        while said.len() < 6 {
            said.push(common::event(&mut events, opened).await);
        }
        assert_eq!(said, ["open", "half-open"].repeat(3));
        std::fs::remove_file(file("sick")).unwrap();
        let last = loop {
            match common::event(&mut events, opened).await {
                "closed" => break said.last().copied(),
                word => {
                    assert_ne!(said.last(), Some(&word), "in turn");
                    said.push(word);
                }
            }
        };
        assert_eq!(last, Some("half-open"));
        assert_eq!(pool.status().await.state, PoolState::Running);
        pool.stop().await;
    });
}

#[test]
fn who_comes_again_when_he_was_told_to_is_not_sent_away_for_long() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let restart = Restart::default()
            .budget(3)
            .backoff(Duration::from_millis(100), Duration::from_millis(400));
        let pool = pool(dir.path())
            .restart(restart)
            .wait_all()
            .start()
            .await
            .unwrap();
        open(&pool, dir.path()).await;
        std::fs::remove_file(dir.path().join("sick")).unwrap();
        let mut refused = 0;
        loop {
            match pool.submit(Act::new(dir.path(), "a", End::Ok)).await {
                Err(TaskError::Rejected(Rejected::Unavailable { retry_after })) => {
                    refused += 1;
                    assert!(retry_after >= Duration::from_millis(10), "{retry_after:?}");
                    assert!(retry_after <= Duration::from_millis(400), "{retry_after:?}");
                    tokio::time::sleep(retry_after).await;
                }
                settled => break assert!(settled.is_ok(), "{settled:?}"),
            }
        }
        // Once until the worker is tried, and once or twice until it is ready.
        assert!((1..=8).contains(&refused), "refused {refused} times");
        pool.stop().await;
    });
}

#[test]
fn lost_worker_is_reported_and_replaced() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path()).processes(1).start().await.unwrap();
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let observer = Events(sender).start();
        pool.addr()
            .send(Subscribe(observer.recipient()))
            .await
            .unwrap();
        let before = pool.status().await.slots[0].clone();
        let handle = pool.submit(Act::new(dir.path(), "exit", End::Exit).gated());
        seen(dir.path(), "exit", "started").await;
        put(dir.path(), "exit", "go");
        assert!(handle.await.is_err());
        match events.recv().await.unwrap() {
            PoolEvent::WorkerLost {
                report,
                lost: 1,
                requeued: 0,
            } => {
                assert_eq!((report.pid(), report.code()), (before.pid, Some(3)));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            events.recv().await,
            Some(PoolEvent::WorkerStarting { .. })
        ));
        assert!(
            matches!(events.recv().await, Some(PoolEvent::WorkerReady { worker, .. }) if worker.generation == 1)
        );
        assert!(matches!(
            events.recv().await,
            Some(PoolEvent::WorkerRestarted { .. })
        ));
        pool.stop().await;
    });
}

#[test]
fn draining_with_an_open_circuit_ends() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path()).wait_all().start().await.unwrap();
        std::fs::write(dir.path().join("sick"), b"").unwrap();
        for slot in pool.status().await.slots {
            signal(slot.pid.unwrap(), Signal::SIGKILL);
        }
        status_is(&pool, "open", |status| {
            status.state == PoolState::CircuitOpen
        })
        .await;
        let report = pool.drain(Duration::from_secs(30)).await;
        assert_eq!(report.outstanding, 0);
        assert!(report.took < Duration::from_secs(5), "{report:?}");
    });
}
