//! Standard input of a worker is at its end, whoever reads it and whoever closes it.
#![cfg(target_os = "linux")]

use std::{
    io::Read,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use actix::System;
use actix_multiprocess::{Pool, WorkerSpec, worker_entry};
use nix::sys::signal::Signal;

use crate::process_support::{
    Host, WATCHDOG, directory, eventually, has, host, put, run, say, soon, task,
};

const GRACE: Duration = Duration::from_millis(500);

task! {
    /// Reads standard input to its end.
    ReadToEnd {} -> Vec<u8>, |_this, _cx| {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).expect("an input");
        bytes
    }
}

task! {
    /// Starts a process that copies the input it inherits until that ends.
    Cat {} -> (Vec<u8>, Option<i32>), |_this, _cx| {
        let output = Command::new("cat")
            .stdin(Stdio::inherit())
            .output()
            .expect("a process");
        (output.stdout, output.status.code())
    }
}

task! {
    /// Closes standard input, and what comes to be descriptor 0 in its place.
    Close {} -> bool, |_this, _cx| {
        nix::unistd::close(0).expect("an open input");
        let file = std::fs::File::open("/dev/null").expect("a file");
        let taken = std::os::fd::AsRawFd::as_raw_fd(&file) == 0;
        drop(file);
        taken
    }
}

task! {
    Whoami {} -> u32, |_this, cx| cx.worker().pid
}

task! {
    /// What standard input is.
    Input {} -> std::path::PathBuf, |_this, _cx| {
        std::fs::read_link("/proc/self/fd/0").expect("an open input")
    }
}

task! {
    /// Lets a blocking thread of the worker wait for its input.
    ReadAside {} -> usize, |_this, cx| {
        cx.block(|| std::io::stdin().read_to_end(&mut Vec::new()).expect("an input")).await
    }
}

task! {
    /// Never lets go of the event loop, so that nothing but the life line can end the worker.
    Spin {} -> (), |_this, _cx| {
        put(&directory(), "spinning");
        loop {
            std::hint::spin_loop();
        }
    }
}

worker_entry!(
    WorkerSpec::new()
        .task::<ReadToEnd>()
        .task::<ReadAside>()
        .task::<Cat>()
        .task::<Close>()
        .task::<Whoami>()
        .task::<Spin>()
        .task::<Input>()
);

async fn start(base: &std::path::Path) -> Pool {
    Pool::builder(workers())
        .processes(1)
        .grace(GRACE)
        .socket_dir(base)
        .start()
        .await
        .expect("a pool")
}

/// Reads, lends and closes standard input. The worker is none the worse for it.
async fn use_it(pool: &Pool) -> u32 {
    let worker = pool.submit(Whoami {}).await.expect("an answer");
    let input = pool.submit(Input {}).await.expect("an answer");
    assert_eq!(input, std::path::Path::new("/dev/null"));
    let began = Instant::now();
    let read = pool.submit(ReadToEnd {}).await.expect("the input's end");
    assert_eq!(read, b"");
    assert_eq!(pool.submit(ReadAside {}).await.expect("the end"), 0);
    let (copied, code) = pool.submit(Cat {}).await.expect("the process's end");
    assert_eq!((copied.as_slice(), code), (&b""[..], Some(0)));
    assert!(began.elapsed() < Duration::from_secs(5), "not at once");
    assert!(pool.submit(Close {}).await.expect("a closed input"));
    // Nothing that the worker lives by was there.
    assert_eq!(pool.submit(Whoami {}).await.expect("an answer"), worker);
    worker
}

#[test]
fn input_is_at_its_end_and_may_be_closed() {
    run(async {
        let base = tempfile::tempdir().expect("a directory");
        let pool = start(base.path()).await;
        use_it(&pool).await;
        let report = pool.stop().await;
        assert_eq!(report.killed, 0, "an orderly end: {report:?}");
    });
}

#[test]
fn host_process() {
    host(|_, _| {
        System::new().block_on(async {
            let pool = start(&directory()).await;
            let worker = use_it(&pool).await;
            pool.submit(Spin {}).detach();
            soon(WATCHDOG, "a loop", || has(&directory(), "spinning")).await;
            say("used", worker);
            loop {
                thread::sleep(WATCHDOG);
            }
        });
    });
}

fn life_line_holds(input: Stdio) {
    let mut host = Host::start_with("uses_stdin", &[], |command| {
        command.stdin(input);
    });
    host.expect("used");
    assert_eq!(host.processes().len(), 2, "the host and its worker");
    host.signal(Signal::SIGKILL);
    host.wait();
    eventually(GRACE + Duration::from_secs(2), "the worker ends", || {
        host.processes().is_empty()
    });
}

#[test]
fn worker_that_closed_its_input_ends_with_its_host() {
    life_line_holds(Stdio::null());
}

#[test]
fn input_that_the_host_never_ends_is_not_the_workers() {
    // A pipe whose other end this test holds, and says nothing on.
    life_line_holds(Stdio::piped());
}
