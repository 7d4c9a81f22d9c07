//! What a worker process is given by its host, and what it has of its own.
#![cfg(target_os = "linux")]

use std::{collections::BTreeMap, env, path::Path};

use actix::System;
use actix_multiprocess::{Pool, WorkerSpec, worker_entry};
use nix::unistd::{getpgrp, getpid, getppid, getsid};

use crate::process_support::{Host, host, run, task};

const VARIABLES: [&str; 9] = [
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
];

fn variables() -> BTreeMap<String, Option<String>> {
    VARIABLES
        .into_iter()
        .map(|name| (name.to_owned(), env::var(name).ok()))
        .collect()
}

task! {
    Variables {} -> BTreeMap<String, Option<String>>, |_this, _cx| variables()
}

task! {
    /// Process, parent, group, session.
    Identity {} -> (i32, i32, i32, i32), |_this, _cx| (
        getpid().as_raw(),
        getppid().as_raw(),
        getpgrp().as_raw(),
        getsid(None).expect("a session").as_raw(),
    )
}

worker_entry!(WorkerSpec::new().task::<Variables>().task::<Identity>());

async fn start(base: &Path, processes: usize) -> Pool {
    Pool::builder(workers())
        .processes(processes)
        .socket_dir(base)
        .start()
        .await
        .expect("a pool")
}

/// A host whose user has set one of the variables.
async fn shares_its_cpus(base: &Path) {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let before = variables();
    for processes in [1, 2, cpus, 3 * cpus] {
        let pool = start(base, processes).await;
        let share = (cpus / processes).max(1).to_string();
        let given = pool.submit(Variables {}).await.expect("a list");
        for (name, value) in given {
            let expected = match name.as_str() {
                "OMP_NUM_THREADS" => "7",
                "MKL_NUM_THREADS" => "",
                _ => &share,
            };
            assert_eq!(value.as_deref(), Some(expected), "{name} of {processes}");
        }
        pool.stop().await;
    }
    // The host's own are what they were.
    assert_eq!(variables(), before);
}

#[test]
fn host_process() {
    host(|_, base| System::new().block_on(shares_its_cpus(base)));
}

#[test]
fn thread_counts_are_the_cpu_share_unless_the_user_has_set_them() {
    let mut host = Host::start_with("shares_its_cpus", &[], |command| {
        for name in VARIABLES {
            command.env_remove(name);
        }
        // Set is set, also to nothing.
        command
            .env("OMP_NUM_THREADS", "7")
            .env("MKL_NUM_THREADS", "");
    });
    host.succeed();
}

#[test]
fn every_worker_leads_a_process_group_of_its_own() {
    run(async {
        let base = tempfile::tempdir().expect("a directory");
        for _ in 0..3 {
            let pool = start(base.path(), 1).await;
            let (process, parent, group, session) =
                pool.submit(Identity {}).await.expect("an answer");
            assert_eq!(group, process);
            assert_eq!(parent, getpid().as_raw());
            // No session of its own: a terminal's hang-up reaches it.
            assert_eq!(session, getsid(None).expect("a session").as_raw());
            pool.stop().await;
        }
    });
}
