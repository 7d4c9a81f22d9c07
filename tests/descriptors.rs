//! Hosts that may have few descriptors: a pool gets all that it takes, or says what it lacks.
#![cfg(target_os = "linux")]

mod process_support;

use actix_multiprocess::{
    ConfigError, Output, Pool, PoolBuilder, SlotState, StartError, Stdio, WorkerSpec, worker_entry,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use process_support::{Host, host, run, task};

task! {
    Answer {} -> u32, |_this, _cx| 42
}

worker_entry!(WorkerSpec::new().task::<Answer>());

const WORKERS: usize = 4;

fn open() -> u64 {
    // One is the look itself.
    std::fs::read_dir("/proc/self/fd").expect("a list").count() as u64 - 1
}

/// Allows so many descriptors to be opened beside those that are.
fn allow(more: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, open() + more, hard).expect("a limit");
}

/// As many as it can take: with both streams relayed.
fn builder() -> PoolBuilder {
    Pool::builder(workers())
        .processes(WORKERS)
        .stdio(Stdio::default().stdout(Output::Relay))
}

/// What as many workers lack.
async fn lacks() -> (u64, u64) {
    match builder().start().await {
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
    host(|_, _| {
        run(async {
            allow(5);
            let (needed, left) = lacks().await;
            // Just as many as it says are enough, for all of them at once; the look into /proc takes one for itself.
            let look = 5 - left;
            allow(needed + look);
            let pool = builder().wait_all().start().await.expect("a pool");
            let status = pool.status().await;
            assert!(
                (status.slots.iter())
                    .all(|slot| slot.state == SlotState::Ready && slot.restarts == 0),
                "{status:?}"
            );
            assert_eq!(pool.submit(Answer {}).await.expect("an answer"), 42);
            let refused = pool.resize(10 * WORKERS).await;
            assert!(
                matches!(refused, Err(ConfigError::TooFewDescriptors { .. })),
                "{refused:?}"
            );
            assert_eq!(pool.status().await.slots.len(), WORKERS);
            pool.stop().await;
            // One less is not.
            allow(needed + look - 1);
            assert_eq!(lacks().await, (needed, needed - 1));
        });
    });
}

#[test]
fn a_pool_gets_every_descriptor_it_takes_or_says_what_it_lacks() {
    Host::start("lacking").succeed();
}
