//! What a worker does before its first task and after its last, and where a pool can live.
#![cfg(target_os = "linux")]

use std::{
    cell::Cell,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::common::{self, Act, End, has};
use actix_multiprocess::{
    NoError, Pool, StartError, Task, TaskContext, TaskError, WorkerSpec, Workers,
    testing::{assert_clean, in_process},
    worker_entry,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Args {
    dir: PathBuf,
    start: u64,
}

struct Counter {
    dir: PathBuf,
    count: Cell<u64>,
}

/// Counts in the state of its worker.
#[derive(Serialize, Deserialize)]
struct Count;

impl Task for Count {
    const NAME: &'static str = "count";
    type Output = (u64, bool);
    type Error = NoError;
    type State = Rc<Counter>;
    async fn run(self, cx: TaskContext<Rc<Counter>>) -> Result<(u64, bool), NoError> {
        let state = cx.state();
        state.count.set(state.count.get() + 1);
        // Setup came before everything else.
        Ok((state.count.get(), has(&state.dir, "any", "setup")))
    }
}

fn spec() -> WorkerSpec<Counter, Args> {
    WorkerSpec::new()
        .state_with(|args: Args| async move {
            std::fs::write(args.dir.join("any.setup"), b"")?;
            Ok(Counter {
                dir: args.dir,
                count: Cell::new(args.start),
            })
        })
        .setup(|info| assert_eq!(info.pid, std::process::id()))
        .shutdown(|state: Rc<Counter>| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let _ = std::fs::write(
                state.dir.join("any.shutdown"),
                state.count.get().to_string(),
            );
        })
        .on_failure(|info, failure| {
            let text = match failure {
                actix_multiprocess::Failure::Panicked(error) => error.message().to_owned(),
                failure => match failure.downcast_ref::<actix_multiprocess::RemoteError>() {
                    Some(error) => error.kind().to_owned(),
                    None => "other".to_owned(),
                },
            };
            let dir = std::env::temp_dir();
            let _ = std::fs::write(
                dir.join(format!("actix-mp-failure-{}-{text}", info.worker.pid)),
                b"",
            );
            panic!("a hook that panics");
        })
        .task::<Count>()
        .task::<Act>()
}

worker_entry!(spec(), Args);

mod second {
    use super::*;
    worker_entry!(WorkerSpec::named("second").task::<Act>());
    pub(super) fn its_workers() -> Workers {
        workers()
    }
}

#[test]
fn state_is_made_from_the_arguments_and_shut_down_at_the_end() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let args = Args {
            dir: dir.path().to_owned(),
            start: 40,
        };
        let pool = Pool::builder(workers())
            .init_args(args)
            .processes(1)
            .start()
            .await
            .unwrap();
        assert_eq!(pool.submit(Count).await.unwrap(), (41, true));
        assert_eq!(pool.submit(Count).await.unwrap(), (42, true));
        assert_clean(&pool);
        pool.drain(Duration::from_secs(5)).await;
        let left = std::fs::read_to_string(dir.path().join("any.shutdown")).unwrap();
        assert_eq!(left, "42");
    });
}

#[test]
fn failure_hook_hears_of_failures_and_its_panic_harms_nobody() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let args = Args {
            dir: dir.path().to_owned(),
            start: 0,
        };
        let pool = Pool::builder(workers())
            .init_args(args)
            .processes(1)
            .start()
            .await
            .unwrap();
        let pid = pool.status().await.slots[0].pid.unwrap();
        let failed = pool.submit(Act::new(dir.path(), "e", End::Error)).await;
        assert!(matches!(failed, Err(TaskError::Failed(_))));
        let panicked = pool.submit(Act::new(dir.path(), "p", End::Panic)).await;
        assert!(matches!(panicked, Err(TaskError::Panicked(_))));
        pool.submit(Count).await.unwrap();
        for text in ["test", "as told"] {
            let file = std::env::temp_dir().join(format!("actix-mp-failure-{pid}-{text}"));
            assert!(file.exists(), "the hook did not hear of {text}");
            std::fs::remove_file(file).unwrap();
        }
        assert_eq!(pool.status().await.slots[0].pid, Some(pid));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn one_program_has_several_kinds_of_worker() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let args = Args {
            dir: dir.path().to_owned(),
            start: 0,
        };
        let counting = Pool::builder(workers())
            .init_args(args)
            .processes(1)
            .start()
            .await
            .unwrap();
        let acting = Pool::builder(second::its_workers())
            .processes(1)
            .start()
            .await
            .unwrap();
        assert_eq!(counting.submit(Count).await.unwrap().0, 1);
        acting
            .submit(Act::new(dir.path(), "a", End::Ok))
            .await
            .unwrap();
        let unknown = acting.submit(Count).await;
        assert!(
            matches!(unknown, Err(TaskError::Rejected(_))),
            "{unknown:?}"
        );
        counting.stop().await;
        acting.stop().await;
    });
}

#[test]
fn workers_in_memory_behave_like_workers_in_processes() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let args = Args {
            dir: dir.path().to_owned(),
            start: 1,
        };
        let spec = WorkerSpec::new()
            .state_with(|args: Args| async move {
                std::fs::write(args.dir.join("any.setup"), b"")?;
                Ok(Counter {
                    dir: args.dir,
                    count: Cell::new(args.start),
                })
            })
            .task::<Count>()
            .task::<Act>();
        let pool = Pool::builder(in_process(spec))
            .init_args(args)
            .processes(2)
            .start()
            .await
            .unwrap();
        let counts = pool.map((0..100).map(|_| Count)).await.unwrap();
        assert_eq!(counts.len(), 100);
        assert!(matches!(
            pool.submit(Act::new(dir.path(), "p", End::Panic)).await,
            Err(TaskError::Panicked(_))
        ));
        let waiting = pool.submit(Act::new(dir.path(), "w", End::Wait));
        common::seen(dir.path(), "w", "started").await;
        drop(waiting);
        common::seen(dir.path(), "w", "dropped").await;
        common::status_is(&pool, "free", |s| {
            s.slots.iter().all(|slot| slot.in_flight == 0)
        })
        .await;
        assert_clean(&pool);
        pool.drain(Duration::from_secs(1)).await;
    });
}

/// Never ends.
#[derive(Serialize, Deserialize)]
struct Hang;

impl Task for Hang {
    const NAME: &'static str = "hang";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        std::future::pending().await
    }
}

/// To start a process takes a thread about a millisecond, in which nobody on it hears of anything.
#[test]
fn whoever_waits_for_a_task_hears_of_its_loss_before_the_next_worker_is_started() {
    common::run(async {
        let log = Arc::new(Mutex::new(Vec::new()));
        let starts = Arc::clone(&log);
        let spec = WorkerSpec::new()
            .setup(move |_| starts.lock().unwrap().push("a worker starts"))
            .task::<Hang>();
        let pool = Pool::builder(in_process(spec)).processes(1);
        let pool = pool.start().await.unwrap();
        for _ in 0..10 {
            log.lock().unwrap().clear();
            let hangs = pool.submit(Hang);
            common::status_is(&pool, "it runs", |status| status.in_flight == 1).await;
            assert!(pool.kill(pool.status().await.slots[0].slot).await);
            assert!(matches!(hangs.await, Err(TaskError::WorkerLost(_))));
            log.lock().unwrap().push("it is known");
            common::status_is(&pool, "there is another", |status| {
                status.slots[0].pid.is_some() && log.lock().unwrap().len() == 2
            })
            .await;
            assert_eq!(*log.lock().unwrap(), ["it is known", "a worker starts"]);
        }
        pool.stop().await;
    });
}

#[test]
fn pool_lives_on_another_arbiter() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let arbiter = actix::Arbiter::new();
        let pool = Pool::builder(second::its_workers())
            .processes(1)
            .start_on(&arbiter.handle())
            .await
            .unwrap();
        pool.submit(Act::new(dir.path(), "a", End::Ok))
            .await
            .unwrap();
        pool.stop().await;
        arbiter.stop();
        let pool = Pool::builder(second::its_workers())
            .processes(1)
            .own_arbiter()
            .start()
            .await
            .unwrap();
        pool.submit(Act::new(dir.path(), "b", End::Ok))
            .await
            .unwrap();
        pool.stop().await;
    });
}

#[test]
fn pool_serves_plain_tokio_from_a_thread_of_its_own() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let refused = Pool::builder(second::its_workers())
            .processes(1)
            .start()
            .await;
        assert!(matches!(refused, Err(StartError::NoArbiter)), "{refused:?}");
        let pool = Pool::builder(second::its_workers())
            .processes(1)
            .own_arbiter()
            .start()
            .await
            .unwrap();
        pool.submit(Act::new(dir.path(), "a", End::Ok))
            .await
            .unwrap();
        pool.stop().await;
    });
}

#[test]
fn last_drop_drains_and_handles_still_get_their_results() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(second::its_workers())
            .processes(1)
            .start()
            .await
            .unwrap();
        let pid = pool.status().await.slots[0].pid.unwrap();
        let handle = pool.submit(Act::new(dir.path(), "slow", End::Slow));
        drop(pool);
        handle.await.unwrap();
        common::eventually("the worker is gone", || async {
            !std::path::Path::new(&format!("/proc/{pid}")).exists()
        })
        .await;
    });
}
