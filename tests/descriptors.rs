//! Hosts that may have few descriptors: a pool gets all that it takes, or says what it lacks.
#![cfg(target_os = "linux")]

mod process_support;

use actix_multiprocess::{
    ConfigError, Output, Pool, PoolBuilder, SlotState, StartError, Stdio, WorkerSpec, worker_entry,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use process_support::{Host, WATCHDOG, host, run, soon, status_is, task};

task! {
    Answer {} -> u32, |_this, _cx| 42
}

worker_entry!(WorkerSpec::new().task::<Answer>());

const WORKERS: usize = 4;

fn open() -> u64 {
    // One is the look itself.
    std::fs::read_dir("/proc/self/fd").expect("a list").count() as u64 - 1
}

/// How many threads this process has.
fn running() -> usize {
    std::fs::read_dir("/proc/self/task")
        .expect("a list")
        .count()
}

/// Allows so many descriptors to be opened beside those that are.
fn allow(more: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, open() + more, hard).expect("a limit");
}

/// As many as it can take: with both streams relayed.
fn builder(threads: usize) -> PoolBuilder {
    Pool::builder(workers())
        .processes(WORKERS)
        .io_arbiters(threads)
        .stdio(Stdio::default().stdout(Output::Relay))
}

/// What as many workers lack.
async fn lacks(threads: usize) -> (u64, u64) {
    match builder(threads).start().await {
        Err(StartError::Config(ConfigError::TooFewDescriptors {
            needed,
            left,
            limit,
        })) => {
            assert!(left < needed && left < limit, "{left} {needed} {limit}");
            (needed, left)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn host_process() {
    host(|scenario, _| {
        let threads: usize = scenario.parse().expect("a number");
        run(async {
            allow(5);
            let (needed, left) = lacks(threads).await;
            // An event loop takes four, and what starts on each of them starts at once.
            let besides = 12 * threads.min(WORKERS) as u64;
            assert_eq!(needed, lacks(0).await.0 + besides);
            let alone = running();
            // Just as many as it says are enough, for all of them at once; the look into /proc takes one for itself.
            let look = 5 - left;
            allow(needed + look);
            let pool = builder(threads).wait_all().start().await.expect("a pool");
            let status = pool.status().await;
            assert!(
                (status.slots.iter())
                    .all(|slot| slot.state == SlotState::Ready && slot.restarts == 0),
                "{status:?}"
            );
            assert_eq!(pool.submit(Answer {}).await.expect("an answer"), 42);
            // Those that are replaced are there until the others are ready.
            pool.recycle();
            status_is(&pool, "all are replaced", |status| {
                let mut slots = status.slots.iter();
                slots.all(|slot| slot.generation == 1 && slot.state == SlotState::Ready)
            })
            .await;
            let status = pool.status().await;
            assert!(
                status.slots.iter().all(|slot| slot.restarts == 0),
                "{status:?}"
            );
            let refused = pool.resize(10 * WORKERS).await;
            assert!(
                matches!(refused, Err(ConfigError::TooFewDescriptors { .. })),
                "{refused:?}"
            );
            assert_eq!(pool.status().await.slots.len(), WORKERS);
            pool.stop().await;
            soon(WATCHDOG, "its threads have gone", || running() == alone).await;
            // One less is not.
            allow(needed + look - 1);
            assert_eq!(lacks(threads).await, (needed, needed - 1));
        });
    });
}

#[test]
fn a_pool_gets_every_descriptor_it_takes_or_says_what_it_lacks() {
    Host::start("0").succeed();
}

#[test]
fn so_does_one_with_threads_for_its_sockets() {
    Host::start("2").succeed();
    // No more than there are workers.
    Host::start("100").succeed();
}
