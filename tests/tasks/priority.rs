//! Who goes first among tasks that wait, who is let in when there are many, and who is held back for others of its name.
#![cfg(target_os = "linux")]

use std::{
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use crate::common::{self, Act, Beside, End, has, put, seen, status_is};
use actix_multiprocess::{
    ConfigError, NoError, Pause, Pool, PoolBuilder, PoolConfig, Priority, Rejected, Resume,
    StartError, Submit, Task, TaskContext, TaskError, TaskHandle, TaskOptions, WorkerSpec,
    testing::assert_clean, worker_entry,
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

/// Counts how many tasks its worker has run before it.
#[derive(Clone, Serialize, Deserialize)]
struct Count;

impl Task for Count {
    const NAME: &'static str = "count";
    type Output = u32;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u32, NoError> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        Ok(COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

worker_entry!(
    WorkerSpec::new()
        .task::<Act>()
        .task::<Beside>()
        .task::<Count>()
);

fn builder() -> PoolBuilder {
    Pool::builder(workers()).processes(1).concurrency(1)
}

fn counted(pool: &Pool, priority: Priority) -> TaskHandle<Count> {
    pool.submit(Submit::new(Count).priority(priority))
}

/// What a future has come to, if it has.
async fn now<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn classes_are_served_in_their_order_and_each_in_that_of_submission() {
    use Priority::{High, Low, Normal};

    common::run(async {
        let pool = builder().start().await.unwrap();
        pool.addr().send(Pause).await.unwrap();
        let submitted = [Low, Normal, High, High, Normal, Low, Normal, Low, High];
        let handles = submitted.map(|priority| counted(&pool, priority));
        pool.addr().send(Resume).await.unwrap();
        let mut places = Vec::new();
        for handle in handles {
            places.push(handle.await.unwrap());
        }
        assert_eq!(places, [6, 3, 0, 1, 4, 7, 5, 8, 2]);
        pool.stop().await;
        assert_clean(&pool);
    });
}

/// Every other wait is for a task of the class above.
#[test]
fn a_flood_of_a_higher_class_does_not_starve_a_lower_one() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().start().await.unwrap();
        let burn = || {
            let task = Act::new(dir.path(), "flood", End::Burn(5));
            pool.submit(Submit::new(task).priority(Priority::High))
        };
        let mut flood: VecDeque<_> = (0..20).map(|_| burn()).collect();
        let began = Instant::now();
        let mut lower = [Priority::Normal, Priority::Low].map(|priority| {
            let handle = counted(&pool, priority);
            Box::pin(async move { handle.await.map(|_| began.elapsed()) })
        });
        let mut waited = [None, None];
        while waited.contains(&None) {
            for (lower, waited) in lower.iter_mut().zip(&mut waited) {
                if waited.is_none()
                    && let Some(time) = now(lower.as_mut()).await
                {
                    *waited = Some(time.unwrap());
                }
            }
            flood.push_back(burn());
            flood.pop_front().unwrap().await.unwrap();
        }
        let [normal, low] = waited.map(Option::unwrap);
        let seconds = Duration::from_secs;
        // With slack below for tenths of seconds, and above for a machine that is busy.
        assert!((seconds(4)..seconds(8)).contains(&normal), "{normal:?}");
        assert!((seconds(9)..seconds(14)).contains(&low), "{low:?}");
        drop(flood);
        pool.stop().await;
        assert_clean(&pool);
    });
}

#[test]
fn each_class_has_its_share_of_the_queue() {
    common::run(async {
        let pool = builder().queue_limit(8).start().await.unwrap();
        pool.addr().send(Pause).await.unwrap();
        let mut accepted = Vec::new();
        for _ in 0..8 {
            accepted.push(counted(&pool, Priority::High));
        }
        for priority in [Priority::Low, Priority::Normal] {
            for _ in 0..2 {
                accepted.push(counted(&pool, priority));
            }
        }
        // A quarter each, whatever the others have, and not more.
        for (priority, waiting) in [
            (Priority::High, 12),
            (Priority::Normal, 12),
            (Priority::Low, 12),
        ] {
            let refused = counted(&pool, priority).await;
            let Err(TaskError::Rejected(Rejected::QueueFull {
                waiting: found,
                limit: 8,
                ..
            })) = refused
            else {
                panic!("{refused:?}");
            };
            assert_eq!(found, waiting);
        }
        // A map has one task in any case, and waits for room in its own class for more: there is some as soon as two of
        // its class have gone, whatever the others have.
        let items = (0..20).map(|_| Submit::new(Count).priority(Priority::Low));
        let map = pool.map(items).window(20).collect::<Vec<_>>();
        let map = actix_rt::spawn(map);
        let accepted_are = |count| {
            status_is(&pool, "so many", move |status| {
                status.counts.accepted == count
            })
        };
        accepted_are(13).await;
        drop(accepted.drain(8..10));
        accepted_are(14).await;
        pool.addr().send(Resume).await.unwrap();
        for result in map.await.unwrap() {
            result.unwrap();
        }
        for handle in accepted {
            handle.await.unwrap();
        }
        pool.stop().await;
        assert_clean(&pool);
    });
}

#[test]
fn as_many_of_a_name_run_as_may_and_others_pass_them() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(2)
            .concurrency(4)
            .task_options::<Beside>(TaskOptions::default().max_running(2))
            .wait_all()
            .start()
            .await
            .unwrap();
        let names = ["a", "b", "c", "d", "e"];
        let limited = names.map(|name| {
            let act = Act::new(dir.path(), name, End::Ok).gated();
            pool.submit(Beside(act))
        });
        // It came last, and there is room for it.
        pool.submit(Act::new(dir.path(), "other", End::Ok))
            .await
            .unwrap();
        for started in 2..=5 {
            for name in &names[..started] {
                seen(dir.path(), name, "started").await;
            }
            pool.submit(Act::new(dir.path(), "another", End::Ok))
                .await
                .unwrap();
            for name in &names[started..] {
                assert!(
                    !has(dir.path(), name, "started"),
                    "{name} runs beside {started}"
                );
            }
            put(dir.path(), names[started - 2], "go");
        }
        put(dir.path(), "e", "go");
        for handle in limited {
            handle.await.unwrap();
        }
        pool.stop().await;
        assert_clean(&pool);
    });
}

/// A worker that is lost, a caller that goes away and a task that is sent again: each gives its place back.
#[test]
fn places_of_a_name_come_back_whatever_became_of_the_task() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder()
            .task_options::<Beside>(TaskOptions::default().max_running(1))
            .start()
            .await
            .unwrap();
        for round in 0..3 {
            let lost = Beside(Act::new(dir.path(), format!("lost{round}"), End::Abort));
            assert!(matches!(
                pool.submit(lost).await,
                Err(TaskError::WorkerLost(_))
            ));
            let name = format!("left{round}");
            let left = pool.submit(Beside(Act::new(dir.path(), &*name, End::Wait)));
            seen(dir.path(), &name, "started").await;
            drop(left);
            let done = Beside(Act::new(dir.path(), format!("done{round}"), End::Ok));
            pool.submit(Submit::new(done).idempotent()).await.unwrap();
        }
        pool.stop().await;
        assert_clean(&pool);
    });
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    common::run(async {
        let tasks = BTreeMap::from([("beeside", TaskOptions::default().max_running(1))]);
        let config = serde_json::json!({ "tasks": tasks });
        let config: PoolConfig = serde_json::from_value(config).unwrap();
        let refused = builder().config(config).start().await;
        let Err(StartError::Config(error)) = refused else {
            panic!("{refused:?}");
        };
        let expected = ConfigError::UnknownTask {
            name: "beeside".to_owned(),
            near: vec!["beside".to_owned()],
        };
        assert_eq!(error, expected);
        assert_eq!(
            error.to_string(),
            "there are options for a task `beeside`, which the workers do not have; did you mean `beside`?"
        );
        let none = TaskOptions::default().max_running(0);
        let refused = builder().task_options::<Act>(none).start().await;
        assert!(
            matches!(
                refused,
                Err(StartError::Config(ConfigError::Zero {
                    knob: "max_running"
                }))
            ),
            "{refused:?}"
        );
    });
}
