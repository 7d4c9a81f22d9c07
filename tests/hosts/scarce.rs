//! A host that has no room for another thread: a pool does without.
#![cfg(target_os = "linux")]

use actix::System;
use actix_multiprocess::{Launcher, Pool, Resize, WorkerSpec, worker_entry};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::process_support::{Host, WATCHDOG, Warnings, host, soon, task};

task! {
    /// The worker's process id.
    Whoami {} -> u32, |_this, _cx| std::process::id()
}

worker_entry!(WorkerSpec::new().task::<Whoami>());

/// The threads of the pool's proxies that this process has.
fn arbiters() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("threads");
    let names = threads
        .flatten()
        .map(|thread| std::fs::read_to_string(thread.path().join("comm")));
    names
        .flatten()
        .filter(|name| name.starts_with("actix-rt|"))
        .count()
}

/// Takes all room for stacks, and says how to give it back.
fn no_more_room() -> impl FnOnce() {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("its size");
    let pages: u64 = pages
        .split(' ')
        .next()
        .expect("a size")
        .parse()
        .expect("pages");
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).expect("a limit");
    // Less than a stack takes; what a pool puts on the heap has room.
    setrlimit(Resource::RLIMIT_AS, pages * 4096 + (1 << 20), hard).expect("a limit");
    move || setrlimit(Resource::RLIMIT_AS, soft, hard).expect("a limit")
}

async fn has_no_thread(lines: &std::sync::Mutex<Vec<String>>) {
    let give_back = no_more_room();
    let pool = Pool::builder(workers())
        .processes(2)
        .io_arbiters(2)
        .wait_all()
        // What is none of the workers' business.
        .launcher(Launcher::own_image().wrapper("prlimit", ["--as=unlimited"]))
        .start()
        .await
        .expect("a pool");
    assert_eq!(arbiters(), 0);
    let without = |line: &&String| line.contains("no arbiter for its proxy");
    assert_eq!(
        lines.lock().expect("a lock").iter().filter(without).count(),
        2
    );
    pool.submit(Whoami {}).await.expect("a result");
    give_back();
    // Whoever comes next has its thread.
    pool.addr()
        .send(Resize(3))
        .await
        .expect("a pool")
        .expect("a size");
    assert_eq!(arbiters(), 1);
    pool.submit(Whoami {}).await.expect("a result");
    pool.stop().await;
    soon(WATCHDOG, "none is left", || arbiters() == 0).await;
}

#[test]
fn host_process() {
    host(|_, _| {
        let warnings = Warnings::default();
        let lines = warnings.lines();
        tracing::subscriber::with_default(warnings, || {
            System::new().block_on(has_no_thread(&lines));
        });
    });
}

#[test]
fn proxies_that_no_thread_can_be_had_for_live_with_the_pool() {
    Host::start("has_no_thread").succeed();
}
