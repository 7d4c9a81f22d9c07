//! Where there are more workers than CPUs quick tasks wait for some of them, and for none that stands still.
#![cfg(target_os = "linux")]

use std::{collections::HashMap, time::Duration};

use crate::common::{self, signal};
use actix_multiprocess::{NoError, Pool, Task, TaskContext, WorkerSpec, worker_entry};
use futures_util::{StreamExt, stream::FuturesUnordered};
use nix::sys::signal::Signal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

worker_entry!(WorkerSpec::new().task::<Where>());

/// Who runs it.
#[derive(Debug, Serialize, Deserialize)]
struct Where;

impl Task for Where {
    const NAME: &'static str = "where";
    type Output = u32;
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<u32, NoError> {
        Ok(std::process::id())
    }
}

const WORKERS: usize = 3;

/// The default.
const CONCURRENCY: usize = 16;

/// For this thread, its pools and what those start there is one CPU from now on.
fn one_cpu() {
    let all = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap();
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).unwrap();
}

/// How many of so many tasks each worker has run.
async fn spread(pool: &Pool, tasks: usize) -> HashMap<u32, usize> {
    let mut found = HashMap::new();
    let mut tasks: FuturesUnordered<_> = (0..tasks).map(|_| pool.submit(Where)).collect();
    while let Some(pid) = tasks.next().await {
        *found.entry(pid.unwrap()).or_default() += 1;
    }
    found
}

#[test]
fn what_waits_for_a_worker_that_stands_still_goes_to_another() {
    one_cpu();
    common::run(async {
        let pool = Pool::builder(workers())
            .processes(WORKERS)
            .concurrency(CONCURRENCY);
        let pool = pool.wait_all().start().await.unwrap();
        // Each learns how long they take.
        assert_eq!(spread(&pool, 300).await.len(), WORKERS);
        for _ in 0..20 {
            spread(&pool, 100).await;
        }
        let found = spread(&pool, 100).await;
        let (crew, _) = found.into_iter().max_by_key(|(_, ran)| *ran).unwrap();
        signal(crew, Signal::SIGSTOP);
        let mut tasks: FuturesUnordered<_> = (0..100).map(|_| pool.submit(Where)).collect();
        // As many may be with it as it runs at once.
        for _ in CONCURRENCY..100 {
            let pid = tokio::time::timeout(Duration::from_secs(5), tasks.next());
            let pid = pid.await.expect("they wait for it").unwrap().unwrap();
            assert_ne!(pid, crew);
        }
        signal(crew, Signal::SIGCONT);
        while let Some(pid) = tasks.next().await {
            pid.unwrap();
        }
    });
}
