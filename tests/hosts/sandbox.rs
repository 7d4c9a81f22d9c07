//! A process is no sandbox: what a worker can do to its host all the same, and that a wrapper can take something from it.
#![cfg(target_os = "linux")]

use std::{fs, path::Path};

use actix::System;
use actix_multiprocess::{Launcher, Pool, WorkerSpec, worker_entry};
use nix::{sys::signal::kill, unistd::getppid};

use crate::process_support::{Host, host, run, task};

task! {
    /// What a variable of the worker's host is, as the kernel tells whoever is of the same user.
    Spy { name: String } -> Option<String>, |this, _cx| {
        let environment = fs::read(format!("/proc/{}/environ", getppid()))?;
        let prefix = format!("{}=", this.name);
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find_map(|variable| {
            String::from_utf8_lossy(variable).strip_prefix(&prefix).map(str::to_owned)
        })
    }
}

task! {
    /// Whether it may send signals to its host, and remove a file of its.
    Harm { file: String } -> (bool, bool), |this, _cx| {
        (kill(getppid(), None).is_ok(), fs::remove_file(this.file).is_ok())
    }
}

task! {
    /// A line of what the kernel says of the worker.
    Line { file: String, name: String } -> Option<String>, |this, _cx| {
        let text = fs::read_to_string(format!("/proc/self/{}", this.file))?;
        text.lines().find(|line| line.starts_with(&this.name)).map(str::to_owned)
    }
}

worker_entry!(
    WorkerSpec::new()
        .task::<Spy>()
        .task::<Harm>()
        .task::<Line>()
);

async fn start(launcher: Launcher) -> Pool {
    let pool = Pool::builder(workers()).processes(1).launcher(launcher);
    pool.start().await.expect("a pool")
}

async fn has_a_secret(base: &Path) {
    let pool = start(Launcher::own_image().env_clear()).await;
    let name = "SECRET".to_owned();
    let secret = pool.submit(Spy { name }).await.expect("an answer");
    assert_eq!(secret.as_deref(), Some("for the host alone"));
    let file = base.join("file");
    fs::write(&file, b"").expect("a file");
    let file = file.display().to_string();
    let harm = pool.submit(Harm { file }).await.expect("an answer");
    assert_eq!(harm, (true, true));
    pool.stop().await;
}

#[test]
fn host_process() {
    host(|_, base| System::new().block_on(has_a_secret(base)));
}

#[test]
fn a_worker_reaches_what_its_host_has_though_its_environment_is_cleared() {
    let mut host = Host::start_with("has_a_secret", &[], |command| {
        command.env("SECRET", "for the host alone");
    });
    host.succeed();
}

#[test]
fn a_wrapper_takes_privileges_and_resources_from_a_worker() {
    run(async {
        // One wrapper may start the next.
        let words = ["--nofile=64:64", "setpriv", "--no-new-privs"];
        let pool = start(Launcher::own_image().wrapper("prlimit", words)).await;
        let line = async |file: &str, name: &str| {
            let (file, name) = (file.to_owned(), name.to_owned());
            let line = pool.submit(Line { file, name }).await.expect("an answer");
            let line = line.expect("a line");
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("status", "NoNewPrivs").await, "NoNewPrivs: 1");
        let files = line("limits", "Max open files").await;
        assert_eq!(files, "Max open files 64 64 files");
        pool.stop().await;
    });
}
