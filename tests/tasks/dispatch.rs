//! Who gets which task, how many, and when.
#![cfg(target_os = "linux")]

use std::{future::poll_fn, pin::pin, time::Duration};

use crate::common::{self, Act, Beside, End, put, seen, status_is};
use actix_multiprocess::{
    Blob, GetStatus, Json, MapError, NoError, Pool, PoolEvent, PoolState, Rejected, Submit,
    Subscribe, Task, TaskContext, TaskError, WhenFull, WorkerSpec, testing::assert_clean,
    worker_entry,
};
use futures_core::Stream;
use serde::{Deserialize, Serialize};

worker_entry!(
    WorkerSpec::new()
        .task::<Act>()
        .task::<Beside>()
        .task::<Echo>()
        .task::<Delay>()
);

/// Gives back bytes and a value that only JSON carries.
#[derive(Serialize, Deserialize)]
struct Echo(Blob, Json<Flat>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, u32>,
}

impl Task for Echo {
    const NAME: &'static str = "echo";
    type Output = (Blob, Json<Flat>, usize);
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<Self::Output, NoError> {
        let length = self.0.len();
        Ok((self.0, self.1, length))
    }
}

/// Returns its number after so many milliseconds.
#[derive(Serialize, Deserialize)]
struct Delay(u64, u64);

impl Task for Delay {
    const NAME: &'static str = "delay";
    type Output = u64;
    type Error = String;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u64, String> {
        tokio::time::sleep(Duration::from_millis(self.1)).await;
        if self.0 == 13 {
            Err("unlucky".to_owned())
        } else {
            Ok(self.0)
        }
    }
}

#[test]
fn sixteen_tasks_on_two_idle_workers_run_eight_and_eight() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(2)
            .wait_all()
            .start()
            .await
            .unwrap();
        let handles: Vec<_> = (0..16)
            .map(|index| pool.submit(Act::new(dir.path(), format!("t{index}"), End::Ok).gated()))
            .collect();
        for index in 0..16 {
            seen(dir.path(), &format!("t{index}"), "started").await;
        }
        let status = pool.status().await;
        assert_eq!(
            status
                .slots
                .iter()
                .map(|slot| slot.in_flight)
                .collect::<Vec<_>>(),
            [8, 8]
        );
        for index in 0..16 {
            put(dir.path(), &format!("t{index}"), "go");
        }
        for handle in handles {
            handle.await.unwrap();
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn concurrency_is_never_exceeded() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(3)
            .start()
            .await
            .unwrap();
        let handles: Vec<_> = (0..9)
            .map(|index| pool.submit(Act::new(dir.path(), format!("t{index}"), End::Ok).gated()))
            .collect();
        for index in 0..3 {
            seen(dir.path(), &format!("t{index}"), "started").await;
        }
        let status = pool.addr().send(GetStatus).await.unwrap();
        assert_eq!(
            (status.state, status.queued, status.in_flight),
            (PoolState::Running, 6, 3)
        );
        for index in 0..9 {
            put(dir.path(), &format!("t{index}"), "go");
        }
        for handle in handles {
            handle.await.unwrap();
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn exclusive_task_runs_alone_and_is_not_starved() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(4)
            .start()
            .await
            .unwrap();
        let before = pool.submit(Act::new(dir.path(), "before", End::Ok).gated());
        seen(dir.path(), "before", "started").await;
        let alone =
            pool.submit(Submit::new(Act::new(dir.path(), "alone", End::Ok).gated()).exclusive());
        let behind = pool.submit(Act::new(dir.path(), "behind", End::Ok));
        // What came later waits behind it although there is room.
        status_is(&pool, "both wait", |status| status.queued == 2).await;
        put(dir.path(), "before", "go");
        before.await.unwrap();
        seen(dir.path(), "alone", "started").await;
        let status = pool.status().await;
        assert_eq!((status.queued, status.in_flight), (1, 1));
        put(dir.path(), "alone", "go");
        alone.await.unwrap();
        behind.await.unwrap();
        assert_clean(&pool);
        pool.stop().await;
    });
}

struct Events(tokio::sync::mpsc::UnboundedSender<PoolEvent>);

impl actix::Actor for Events {
    type Context = actix::Context<Self>;
}

impl actix::Handler<PoolEvent> for Events {
    type Result = ();
    fn handle(&mut self, event: PoolEvent, _: &mut Self::Context) {
        let _ = self.0.send(event);
    }
}

#[test]
fn full_queue_rejects_and_says_so_once() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(1)
            .queue_limit(2)
            .start()
            .await
            .unwrap();
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let observer = actix::Actor::start(Events(sender));
        pool.addr()
            .send(Subscribe(observer.recipient()))
            .await
            .unwrap();
        let running = pool.submit(Act::new(dir.path(), "r", End::Ok).gated());
        seen(dir.path(), "r", "started").await;
        let waiting =
            [0, 1].map(|index| pool.submit(Act::new(dir.path(), format!("w{index}"), End::Ok)));
        for _ in 0..3 {
            match pool.submit(Act::new(dir.path(), "x", End::Ok)).await {
                Err(TaskError::Rejected(Rejected::QueueFull {
                    waiting: 2,
                    limit: 2,
                    ..
                })) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(
            events.recv().await,
            Some(PoolEvent::QueueFull { waiting: 2, .. })
        ));
        put(dir.path(), "r", "go");
        running.await.unwrap();
        for handle in waiting {
            handle.await.unwrap();
        }
        assert!(events.try_recv().is_err(), "said more than once");
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn full_queue_makes_callers_wait_where_asked_to() {
    common::run(async {
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(1)
            .queue_limit(1)
            .when_full(WhenFull::Wait)
            .start()
            .await
            .unwrap();
        let handles: Vec<_> = (0..10)
            .map(|number| pool.submit(Delay(number, 1)))
            .collect();
        for (number, handle) in (0..).zip(handles) {
            assert_eq!(handle.await.unwrap(), number);
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn map_waits_for_room_instead_of_failing() {
    common::run(async {
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(1)
            .queue_limit(1)
            .start()
            .await
            .unwrap();
        let all = pool
            .map((100..200).map(|number| Delay(number, 0)))
            .window(50)
            .await
            .unwrap();
        assert_eq!(all, (100..200).collect::<Vec<_>>());
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn map_fills_all_workers_through_a_queue_with_room_for_one() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(2)
            .concurrency(4)
            .queue_limit(1)
            .wait_all()
            .start()
            .await
            .unwrap();
        // None ends before all have started.
        let acts = (0..8).map(|n| Act::new(dir.path(), format!("t{n}"), End::Ok).gated());
        let all = actix::spawn(pool.map(acts.collect::<Vec<_>>()).into_future());
        for n in 0..8 {
            seen(dir.path(), &format!("t{n}"), "started").await;
        }
        for n in 0..8 {
            put(dir.path(), &format!("t{n}"), "go");
        }
        assert_eq!(all.await.unwrap().unwrap().len(), 8);
        pool.stop().await;
    });
}

#[test]
fn map_yields_in_input_order_and_unordered_as_they_come() {
    common::run(async {
        let pool = Pool::builder(workers()).processes(2).start().await.unwrap();
        let tasks = || (0..12).map(|number| Delay(number, if number == 0 { 100 } else { 1 }));
        let mut ordered = pin!(pool.map(tasks()));
        let mut numbers = Vec::new();
        while let Some(result) = poll_fn(|cx| ordered.as_mut().poll_next(cx)).await {
            numbers.push(result.unwrap());
        }
        assert_eq!(numbers, (0..12).collect::<Vec<_>>());
        let mut unordered = pin!(pool.map(tasks()).unordered());
        let mut last = None;
        let mut count = 0;
        while let Some((index, result)) = poll_fn(|cx| unordered.as_mut().poll_next(cx)).await {
            assert_eq!(result.unwrap(), index as u64);
            last = Some(index);
            count += 1;
        }
        assert_eq!((count, last), (12, Some(0)));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn whole_map_names_its_first_failure_and_cancels_the_rest() {
    common::run(async {
        let pool = Pool::builder(workers()).processes(2).start().await.unwrap();
        let error = pool
            .map((0..).map(|number| Delay(number, u64::from(number != 13) * 5)))
            .await
            .unwrap_err();
        let MapError { index, error, .. } = error;
        assert_eq!(index, 13);
        assert!(
            matches!(error, TaskError::Failed(ref text) if text == "unlucky"),
            "{error:?}"
        );
        status_is(&pool, "cancelled", |s| {
            s.counts.settled() == s.counts.accepted
        })
        .await;
        status_is(&pool, "free", |s| {
            s.slots.iter().all(|slot| slot.in_flight == 0)
        })
        .await;
        assert_clean(&pool);
        pool.stop().await;
    });
}

/// A stream of numbers that is ready every other time.
struct Halting(u64, bool);

impl Stream for Halting {
    type Item = Delay;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Delay>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        self.0 += 1;
        std::task::Poll::Ready((self.0 <= 40).then(|| Delay(self.0 + 100, 1)))
    }
}

#[test]
fn map_takes_a_stream() {
    common::run(async {
        let pool = Pool::builder(workers()).processes(2).start().await.unwrap();
        let all = pool.map_stream(Halting(0, false)).await.unwrap();
        assert_eq!(all, (101..=140).collect::<Vec<_>>());
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn map_pulls_no_further_than_its_window() {
    common::run(async {
        let pool = Pool::builder(workers()).processes(2).start().await.unwrap();
        let pulled = std::rc::Rc::new(std::cell::Cell::new(0));
        let counter = std::rc::Rc::clone(&pulled);
        let mut map = pin!(
            pool.map((100..).map(move |number| {
                counter.set(counter.get() + 1);
                Delay(number, 0)
            }))
            .window(7)
        );
        for taken in 0..50 {
            assert!(pulled.get() <= taken + 7, "{} after {taken}", pulled.get());
            poll_fn(|cx| map.as_mut().poll_next(cx))
                .await
                .unwrap()
                .unwrap();
        }
        pool.stop().await;
    });
}

#[test]
fn large_values_travel_whole_and_let_others_pass() {
    common::run(async {
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let flat = Json(Flat {
            name: "x".to_owned(),
            rest: [("a".to_owned(), 1)].into(),
        });
        for size in [
            0,
            1,
            1023,
            1024,
            4096,
            256 * 1024,
            256 * 1024 + 1,
            20_000_000,
        ] {
            let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            let large = pool.submit(Echo(Blob::from(bytes.clone()), flat.clone()));
            let small = pool.submit(Delay(1, 0));
            assert_eq!(small.await.unwrap(), 1);
            let (blob, json, length) = large.await.unwrap();
            assert_eq!((&blob[..], length), (&bytes[..], size));
            assert_eq!(json.0, flat.0);
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}
