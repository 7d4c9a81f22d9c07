//! Workers whose sockets have threads of their own.
#![cfg(target_os = "linux")]

mod common;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix::Supervisor;
use actix_multiprocess::{
    CloseReason, OnExhausted, Pool, PoolBuilder, PoolEvent, PoolState, Rejected, RemoteError,
    Restart, Submit, Task, TaskContext, TaskError, WorkerSpec, testing::assert_clean, worker_entry,
};
use common::{event, events, eventually, signal, status_is};
use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

worker_entry!(
    WorkerSpec::new()
        .state_with(|sick: PathBuf| async move {
            if sick.exists() {
                Err(RemoteError::new("sick", "the state cannot be made"))
            } else {
                Ok(())
            }
        })
        .task::<Twice>(),
    PathBuf
);

/// Twice a number, at once or after a moment.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Twice(u64, bool);

impl Task for Twice {
    const NAME: &'static str = "twice";
    const IDEMPOTENT: bool = true;
    type Output = u64;
    type Error = RemoteError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<u64, RemoteError> {
        if self.1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(2 * self.0)
    }
}

fn builder(sick: PathBuf, processes: usize) -> PoolBuilder {
    let (short, long) = (Duration::from_millis(1), Duration::from_millis(20));
    Pool::builder(workers())
        .init_args(sick)
        .processes(processes)
        .wait_all()
        .restart(Restart::default().budget(None).backoff(short, long))
}

/// Threads are counted, so one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many arbiters this process has besides that of the test.
fn arbiters() -> usize {
    /// `PF_EXITING`: a thread that was joined may be there for another moment, with nothing left of what it had.
    const EXITS: u64 = 4;
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let lives = threads.flatten().filter(|thread| {
        // One that ends meanwhile has none.
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let Some((name, rest)) = stat.rsplit_once(')') else {
            return false;
        };
        let flags = rest.split_ascii_whitespace().nth(6).unwrap();
        name.contains("(actix-rt|") && flags.parse::<u64>().unwrap() & EXITS == 0
    });
    lives.count()
}

/// How many descriptors of event loops this process has.
fn event_loops() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter(|descriptor| {
        // That of the look itself has gone.
        let opened = std::fs::read_link(descriptor.path()).unwrap_or_default();
        opened == Path::new("anon_inode:[eventpoll]")
    })
    .count()
}

/// Whether a worker has ended and been reaped.
fn gone(pid: u32) -> bool {
    !PathBuf::from(format!("/proc/{pid}")).exists()
}

async fn pids(pool: &Pool) -> Vec<u32> {
    let status = pool.status().await;
    status.slots.iter().filter_map(|slot| slot.pid).collect()
}

async fn arbiters_are(count: usize) {
    eventually("so many threads", || async { arbiters() == count }).await;
}

#[test]
fn each_task_has_its_result_whoever_dies_on_whatever_thread() {
    let _alone = alone();
    for threads in [1, 2, 4] {
        common::run(async {
            let pool = builder(PathBuf::new(), 4)
                .io_arbiters(threads)
                .start()
                .await
                .unwrap();
            let pids = pids(&pool).await;
            assert_eq!(pids.len(), 4);
            let mut outputs = pool.map((0..40_000).map(|n| Twice(n, n % 100 == 0)));
            let mut next = 0;
            while let Some(output) = outputs.next().await {
                assert_eq!(output.unwrap(), 2 * next);
                if next % 10_000 == 5_000 {
                    signal(pids[next as usize / 10_000], Signal::SIGKILL);
                }
                next += 1;
            }
            assert_eq!(next, 40_000);
            // One at a time from several threads, with nothing else to wake anybody.
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let pool = pool.clone();
                    std::thread::spawn(move || {
                        let runtime = tokio::runtime::Builder::new_current_thread().build();
                        runtime.unwrap().block_on(async {
                            for n in 0..300 {
                                assert_eq!(pool.submit(Twice(n, false)).await.unwrap(), 2 * n);
                            }
                        });
                    })
                })
                .collect();
            eventually("all of them", || async {
                callers.iter().all(|caller| caller.is_finished())
            })
            .await;
            for caller in callers {
                caller.join().unwrap();
            }
            pool.stop().await;
            assert_clean(&pool);
            arbiters_are(0).await;
        });
    }
}

#[test]
fn there_are_no_more_threads_than_asked_for_nor_than_workers_and_they_go_with_the_pool() {
    let _alone = alone();
    common::run(async {
        for (threads, processes, then, all) in [(0, 3, 4, 0), (2, 3, 5, 2), (9, 1, 3, 3)] {
            let pool = builder(PathBuf::new(), processes)
                .io_arbiters(threads)
                .start()
                .await
                .unwrap();
            assert_eq!(arbiters(), threads.min(processes));
            pool.resize(then).await.unwrap();
            status_is(&pool, "it has grown", |status| {
                status
                    .slots
                    .iter()
                    .filter(|slot| slot.pid.is_some())
                    .count()
                    == then
            })
            .await;
            assert_eq!(arbiters(), all);
            pool.resize(1).await.unwrap();
            assert_eq!(pool.submit(Twice(4, true)).await.unwrap(), 8);
            pool.stop().await;
            // Also while somebody holds the pool.
            arbiters_are(0).await;
            drop(pool);
        }
    });
}

#[test]
fn a_pool_that_begins_anew_does_so_on_the_same_threads() {
    let _alone = alone();
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let sick = dir.path().join("sick");
        let before = event_loops();
        let actor = builder(sick.clone(), 4)
            .io_arbiters(2)
            .on_exhausted(OnExhausted::Escalate)
            .restart(Restart::default().budget(1))
            .into_supervised()
            .unwrap();
        let addr = Supervisor::start(|_| actor);
        let pool = Pool::from_addr(&addr).await.unwrap();
        let mut events = events(&pool).await;
        for _ in 0..2 {
            let twice = addr.send(Submit::new(Twice(1, true))).await.unwrap();
            assert_eq!(twice.unwrap(), 2);
            assert_eq!(arbiters(), 2);
            std::fs::write(&sick, b"").unwrap();
            for slot in pool.status().await.slots {
                pool.kill(slot.slot).await;
            }
            event(&mut events, |event| {
                matches!(event, PoolEvent::Escalated).then_some(())
            })
            .await;
            std::fs::remove_file(&sick).unwrap();
            eventually("it takes tasks again", || async {
                pool.submit(Twice(3, false)).await.is_ok()
            })
            .await;
        }
        assert_eq!(arbiters(), 2);
        pool.stop().await;
        arbiters_are(0).await;
        // It lives on for those who have its address, but not what its threads waited with.
        assert_eq!(event_loops(), before);
        assert!(addr.connected());
    });
}

#[test]
fn a_pool_that_ends_without_warning_takes_its_threads_and_its_workers_along() {
    let _alone = alone();
    let (pool, pids) = common::run(async {
        let builder = builder(PathBuf::new(), 3).io_arbiters(3);
        let pool = builder.start().await.unwrap();
        assert_eq!(arbiters(), 3);
        let pids = pids(&pool).await;
        // It cannot end by itself.
        signal(pids[1], Signal::SIGSTOP);
        (pool, pids)
    });
    // The System has ended, and with it whatever it had to wait for.
    for pid in pids {
        assert!(gone(pid), "worker {pid} is still there");
    }
    assert_eq!(arbiters(), 0);
    drop(pool);
}

#[test]
fn a_pool_that_is_asked_to_stop_when_its_system_already_does_answers() {
    let _alone = alone();
    for supervised in [false, true] {
        for drains in [false, true] {
            let pool = common::run(async {
                let builder = builder(PathBuf::new(), 3).io_arbiters(2);
                let pool = if supervised {
                    let actor = builder.into_supervised().unwrap();
                    let pool = Pool::from_addr(&Supervisor::start(|_| actor))
                        .await
                        .unwrap();
                    status_is(&pool, "all are ready", |status| {
                        status.slots.iter().all(|slot| slot.pid.is_some())
                    })
                    .await;
                    pool
                } else {
                    builder.start().await.unwrap()
                };
                let mut events = events(&pool).await;
                let pids = pids(&pool).await;
                assert_eq!(pids.len(), 3);
                actix::System::current().stop();
                let ends = async {
                    if drains {
                        pool.drain(Duration::from_secs(60)).await
                    } else {
                        pool.stop().await
                    }
                };
                tokio::time::timeout(Duration::from_secs(10), ends)
                    .await
                    .expect("nobody answers");
                for pid in pids {
                    eventually("its worker has gone", || async { gone(pid) }).await;
                }
                let late = pool.submit(Twice(1, false)).await;
                assert!(
                    matches!(late, Err(TaskError::Rejected(Rejected::Closed))),
                    "{late:?}"
                );
                assert_eq!(pool.status().await.state, PoolState::Stopped);
                let mut reasons = Vec::new();
                while let Ok(event) = events.try_recv() {
                    if let PoolEvent::Closed { reason } = event {
                        reasons.push(reason);
                    }
                }
                // Whichever it heard of first.
                assert_eq!(reasons.pop(), Some(CloseReason::Gone));
                assert!(reasons.len() < 2, "{reasons:?}");
                pool
            });
            assert_eq!(arbiters(), 0);
            drop(pool);
        }
    }
}
