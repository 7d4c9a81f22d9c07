//! What is kept of the memory of large values: little, not for long, and nothing where a worker's memory counts.
#![cfg(target_os = "linux")]

mod common;

use std::fs;

use actix_multiprocess::{
    Blob, NoError, Pool, PoolBuilder, Task, TaskContext, WorkerSpec, worker_entry,
};
use common::{eventually, run};
use serde::{Deserialize, Serialize};

worker_entry!(WorkerSpec::new().task::<Echo>().task::<Resident>());

const MIB: usize = 1 << 20;

/// The allocator gives a piece of this size back to the system as soon as it is free.
const LARGE: usize = 33 * MIB;

/// What a process may have more than before for other reasons.
const SLACK: usize = 8 * MIB;

#[derive(Serialize, Deserialize)]
struct Echo(Blob);

impl Task for Echo {
    const NAME: &'static str = "echo";
    type Output = Blob;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<Blob, NoError> {
        Ok(self.0)
    }
}

/// Returns what its worker has in memory.
#[derive(Serialize, Deserialize)]
struct Resident;

impl Task for Resident {
    const NAME: &'static str = "resident";
    type Output = usize;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<usize, NoError> {
        Ok(resident(std::process::id()))
    }
}

/// What a process has in memory, in bytes.
fn resident(pid: u32) -> usize {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).expect("a process");
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

async fn start(set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> (Pool, u32) {
    let builder = Pool::builder(workers()).processes(1);
    let pool = set(builder).start().await.expect("a pool");
    pool.submit(Resident).await.expect("the worker's memory");
    let pid = pool.status().await.slots[0].pid.expect("a process");
    (pool, pid)
}

async fn echo(pool: &Pool) {
    let blob = pool.submit(Echo(vec![7; LARGE].into())).await;
    assert_eq!(blob.expect("a blob").len(), LARGE);
}

#[test]
fn the_memory_of_large_values_goes_back_soon() {
    run(async {
        let (pool, pid) = start(|builder| builder).await;
        let before = [std::process::id(), pid].map(resident);
        for _ in 0..3 {
            echo(&pool).await;
        }
        let is_back = || {
            let now = [std::process::id(), pid].map(resident);
            (now.iter().zip(before)).all(|(now, before)| *now < before + SLACK)
        };
        eventually("both have given it back", || async { is_back() }).await;
        // And again, after the rest.
        echo(&pool).await;
        eventually("both have given it back", || async { is_back() }).await;
        pool.stop().await;
    });
}

#[test]
fn a_worker_whose_memory_is_limited_keeps_none_of_it() {
    run(async {
        let (pool, pid) = start(|builder| builder.memory_soft(4096 * MIB)).await;
        let before = resident(pid);
        for _ in 0..3 {
            echo(&pool).await;
            let after = pool.submit(Resident).await.expect("the worker's memory");
            assert!(after < before + SLACK, "{before} before, {after} after");
        }
        pool.stop().await;
    });
}
