//! Ending tasks that nobody wants any more.
#![cfg(target_os = "linux")]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::common::{self, Act, Beside, End, has, put, seen, status_is};
use actix_multiprocess::{
    Cancel, NoError, Pool, SlotState, Task, TaskContext, TaskError, WorkerSpec,
    testing::assert_clean, worker_entry,
};
use serde::{Deserialize, Serialize};

worker_entry!(
    WorkerSpec::new()
        .task::<Act>()
        .task::<Beside>()
        .task::<Listens>()
        .task::<Asks>()
);

/// Ends by itself when it is cancelled.
#[derive(Serialize, Deserialize)]
struct Listens(PathBuf);

impl Task for Listens {
    const NAME: &'static str = "listens";
    type Output = String;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<String, NoError> {
        put(&self.0, "listens", "started");
        cx.cancelled().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        put(&self.0, "listens", "cleaned");
        Ok("cleaned up".to_owned())
    }
}

/// Asks in a loop that never awaits.
#[derive(Serialize, Deserialize)]
struct Asks(PathBuf);

impl Task for Asks {
    const NAME: &'static str = "asks";
    type Output = String;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<String, NoError> {
        put(&self.0, "asks", "started");
        while !cx.is_cancelled() {
            std::hint::spin_loop();
        }
        put(&self.0, "asks", "noticed");
        Ok("noticed".to_owned())
    }
}

#[test]
fn cancelled_task_is_dropped_at_its_next_await() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let handle = pool.submit(Act::new(dir.path(), "t", End::Wait));
        seen(dir.path(), "t", "started").await;
        pool.addr()
            .send(Cancel(handle.id().unwrap()))
            .await
            .unwrap();
        assert!(matches!(
            handle.await,
            Err(TaskError::Cancelled { started: true })
        ));
        assert!(has(dir.path(), "t", "dropped"));
        let pid = pool.status().await.slots[0].pid;
        pool.submit(Act::new(dir.path(), "after", End::Ok))
            .await
            .unwrap();
        assert_eq!(
            pool.status().await.slots[0].pid,
            pid,
            "nobody was killed for it"
        );
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn cancelled_queued_task_never_runs() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(1)
            .start()
            .await
            .unwrap();
        let first = pool.submit(Act::new(dir.path(), "first", End::Ok).gated());
        seen(dir.path(), "first", "started").await;
        let second = pool.submit(Act::new(dir.path(), "second", End::Ok));
        second.cancel();
        assert!(matches!(
            second.await,
            Err(TaskError::Cancelled { started: false })
        ));
        put(dir.path(), "first", "go");
        first.await.unwrap();
        assert!(!has(dir.path(), "second", "started"));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn task_that_listens_ends_by_itself_within_the_grace() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .cancel_grace(Duration::from_secs(10))
            .start()
            .await
            .unwrap();
        let handle = pool.submit(Listens(dir.path().to_owned()));
        seen(dir.path(), "listens", "started").await;
        handle.cancel();
        // What it returns is its result: cancelling asks, it does not decide.
        assert_eq!(handle.await.unwrap(), "cleaned up");
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn dropped_handle_reaches_a_loop_that_never_awaits() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let pid = pool.status().await.slots[0].pid;
        let handle = pool.submit(Asks(dir.path().to_owned()));
        seen(dir.path(), "asks", "started").await;
        drop(handle);
        seen(dir.path(), "asks", "noticed").await;
        pool.submit(Act::new(dir.path(), "after", End::Ok))
            .await
            .unwrap();
        assert_eq!(
            pool.status().await.slots[0].pid,
            pid,
            "nobody was killed for it"
        );
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn dropped_loop_that_never_awaits_is_killed_when_alone() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .cancel_grace(Duration::from_secs(10))
            .start()
            .await
            .unwrap();
        let pid = pool.status().await.slots[0].pid;
        let handle = pool.submit(Act::new(dir.path(), "spin", End::Spin));
        seen(dir.path(), "spin", "started").await;
        let began = Instant::now();
        drop(handle);
        pool.submit(Act::new(dir.path(), "after", End::Ok))
            .await
            .unwrap();
        // 100 ms until the loop counts as held, long before the grace.
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        assert_ne!(pool.status().await.slots[0].pid, pid);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn neighbours_behind_a_held_loop_are_given_back_before_it_is_killed() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(8)
            .start()
            .await
            .unwrap();
        let spin = pool.submit(Act::new(dir.path(), "spin", End::Spin));
        seen(dir.path(), "spin", "started").await;
        let behind: Vec<_> = (0..4)
            .map(|index| pool.submit(Beside(Act::new(dir.path(), format!("b{index}"), End::Ok))))
            .collect();
        status_is(&pool, "sent", |status| status.slots[0].in_flight == 5).await;
        drop(spin);
        for handle in behind {
            handle.await.unwrap();
        }
        for index in 0..4 {
            assert!(!has(dir.path(), &format!("b{index}"), "start2"));
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn loop_with_an_innocent_started_neighbour_is_not_killed() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(2)
            .cancel_grace(Duration::from_millis(100))
            .start()
            .await
            .unwrap();
        let pid = pool.status().await.slots[0].pid;
        let neighbour = pool.submit(Beside(Act::new(dir.path(), "n", End::Ok).gated()));
        seen(dir.path(), "n", "started").await;
        let burning = pool.submit(Act::new(dir.path(), "burn", End::Burn(600)));
        seen(dir.path(), "burn", "started").await;
        let began = Instant::now();
        burning.cancel();
        // Its caller is told within the grace although the worker is busy with it.
        assert!(matches!(
            burning.await,
            Err(TaskError::Cancelled { started: true })
        ));
        assert!(
            began.elapsed() < Duration::from_millis(500),
            "{:?}",
            began.elapsed()
        );
        put(dir.path(), "n", "go");
        neighbour.await.unwrap();
        assert_eq!(pool.status().await.slots[0].pid, pid);
        pool.stop().await;
    });
}

#[test]
fn stuck_blocking_code_ends_with_its_worker_when_alone() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .cancel_grace(Duration::from_millis(100))
            .start()
            .await
            .unwrap();
        let pid = pool.status().await.slots[0].pid;
        let handle = pool.submit(Act::new(dir.path(), "block", End::Block));
        seen(dir.path(), "block", "started").await;
        handle.cancel();
        assert!(matches!(
            handle.await,
            Err(TaskError::Cancelled { started: true })
        ));
        // Its hook and what it started in its group have the pool's grace.
        status_is(&pool, "ending", |status| {
            status.slots[0].state == SlotState::Ending || status.slots[0].pid != pid
        })
        .await;
        pool.submit(Act::new(dir.path(), "after", End::Ok))
            .await
            .unwrap();
        status_is(&pool, "replaced", |status| status.slots[0].pid != pid).await;
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn blocking_code_that_ends_in_time_keeps_its_worker() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .cancel_grace(Duration::from_secs(10))
            .start()
            .await
            .unwrap();
        let pid = pool.status().await.slots[0].pid;
        let handle = pool.submit(Act::new(dir.path(), "block", End::Block));
        seen(dir.path(), "block", "started").await;
        drop(handle);
        seen(dir.path(), "block", "dropped").await;
        // The credit stays taken while the code runs.
        assert_eq!(pool.status().await.slots[0].in_flight, 1);
        put(dir.path(), "block", "unblock");
        status_is(&pool, "reported", |status| status.slots[0].in_flight == 0).await;
        assert_eq!(pool.status().await.slots[0].pid, pid);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn dropped_map_cancels_what_it_pulled() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(2)
            .concurrency(2)
            .start()
            .await
            .unwrap();
        let path = dir.path().to_owned();
        let mut map = Box::pin(
            pool.map((0..100).map(move |index| Act::new(&path, format!("m{index}"), End::Wait)))
                .window(50),
        );
        let pending = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(futures_core::Stream::poll_next(map.as_mut(), cx).is_pending())
        });
        assert!(pending.await);
        status_is(&pool, "pulled", |status| status.counts.accepted == 50).await;
        for index in 0..4 {
            seen(dir.path(), &format!("m{index}"), "started").await;
        }
        drop(map);
        status_is(&pool, "cancelled", |status| status.counts.cancelled == 50).await;
        for index in 0..4 {
            seen(dir.path(), &format!("m{index}"), "dropped").await;
        }
        status_is(&pool, "free", |status| {
            status.slots.iter().all(|slot| slot.in_flight == 0)
        })
        .await;
        assert_clean(&pool);
        pool.stop().await;
    });
}
