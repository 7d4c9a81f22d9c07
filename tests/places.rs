//! Where the sockets of a pool are, when there is hardly a place for them, and that nothing piles up there.
#![cfg(target_os = "linux")]

mod process_support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use actix_multiprocess::{Launcher, Pool, PoolBuilder, StartError, WorkerSpec, worker_entry};
use nix::sys::signal::Signal;
use process_support::{Host, WATCHDOG, eventually, host, run, say, task};

task! {
    Answer {} -> u32, |_this, _cx| 42
}

worker_entry!(WorkerSpec::new().task::<Answer>());

fn builder() -> PoolBuilder {
    Pool::builder(workers()).processes(2)
}

#[test]
fn host_process() {
    host(|scenario, directory| {
        run(async {
            let pool = match scenario {
                "too long" => {
                    let long = directory.join("x".repeat(200));
                    fs::create_dir(&long).expect("a directory");
                    match builder().socket_dir(&long).start().await {
                        Err(StartError::NoSocket { message }) => {
                            assert!(message.contains("xxx"), "{message}");
                            return;
                        }
                        other => panic!("{other:?}"),
                    }
                }
                "wrapped" => {
                    let launcher = Launcher::own_image().wrapper("nice", ["-n", "1"]);
                    let builder = builder().launcher(launcher);
                    builder.wait_all().start().await.expect("a pool")
                }
                _ => builder().wait_all().start().await.expect("a pool"),
            };
            assert_eq!(pool.submit(Answer {}).await.expect("an answer"), 42);
            if let Some(lock) = lock() {
                say("place", lock.display());
            }
            if scenario == "stays" {
                say("serves", "");
                std::future::pending::<()>().await;
            }
            pool.stop().await;
        });
    });
}

/// A host whose directories for what is temporary are these.
fn with_places(scenario: &str, temp: &Path, runtime: Option<&Path>) -> Host {
    Host::start_with(scenario, &[], |command| {
        command.env("TMPDIR", temp);
        match runtime {
            Some(runtime) => command.env("XDG_RUNTIME_DIR", runtime),
            None => command.env_remove("XDG_RUNTIME_DIR"),
        };
    })
}

/// Where the lock of this process's pool is.
fn lock() -> Option<PathBuf> {
    let open = fs::read_dir("/proc/self/fd").expect("its descriptors");
    let mut files = open.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    files.find(|file| file.ends_with("lock"))
}

/// Where a host has the sockets of its pool when nobody says where.
fn unasked(scenario: &str) -> PathBuf {
    let mut host = Host::start_with(scenario, &[], |command| {
        command.env_remove("TMPDIR").env_remove("XDG_RUNTIME_DIR");
    });
    let lock = PathBuf::from(host.expect("place"));
    host.succeed();
    assert!(!lock.exists());
    lock
}

#[test]
fn sockets_are_in_memory_unless_somebody_says_where() {
    // Where there is such a place: not every container has one that can be written.
    let memory = tempfile::tempdir_in("/dev/shm").is_ok();
    let place = if memory { "/dev/shm" } else { "/tmp" };
    assert!(unasked("serves").starts_with(place));
}

#[test]
fn sockets_of_workers_under_a_wrapper_are_where_sandboxes_look() {
    assert!(unasked("wrapped").starts_with("/tmp"));
}

fn is_empty(place: &Path) -> bool {
    fs::read_dir(place).expect("a directory").next().is_none()
}

#[test]
fn a_pool_needs_no_place_that_can_be_written() {
    // Not even by root.
    let place = Path::new("/proc");
    with_places("serves", place, Some(place)).succeed();
}

#[test]
fn a_temp_directory_with_a_path_too_long_for_a_socket_does_no_harm() {
    let base = tempfile::tempdir().expect("a directory");
    let long = base.path().join("t".repeat(200));
    fs::create_dir(&long).expect("a directory");
    with_places("serves", &long, None).succeed();
    assert!(is_empty(&long));
}

#[test]
fn a_place_that_somebody_asks_for_and_is_too_long_is_refused() {
    Host::start("too long").succeed();
}

#[test]
fn a_hundred_killed_hosts_leave_nothing_after_the_next_start() {
    let temp = tempfile::tempdir().expect("a directory");
    let killed: Vec<Host> = (0..100)
        .map(|_| {
            let mut host = with_places("stays", temp.path(), None);
            host.expect("serves");
            host.signal(Signal::SIGKILL);
            host.wait();
            host
        })
        .collect();
    assert!(!is_empty(temp.path()), "nobody could tidy up");
    with_places("serves", temp.path(), None).succeed();
    assert!(is_empty(temp.path()));
    for host in &killed {
        eventually(WATCHDOG, "their workers end", || {
            host.processes().is_empty()
        });
    }
}
