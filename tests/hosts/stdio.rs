//! What workers write goes where the pool says, whatever they write and whoever reads it.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::Stdio as ProcessStdio,
    thread,
    time::{Duration, Instant},
};

use actix::System;
use actix_multiprocess::{Output, Pool, SlotState, Stdio, TaskError, WorkerSpec, worker_entry};

use crate::process_support::{
    Host, Possessions, WATCHDOG, has, host, put, say, sleeps, soon, status_is, task,
};

/// More lines than a pipe holds, and less than two pipes and what a host keeps in between.
const LATE: u32 = 8_000;

task! {
    /// Writes so many numbered lines to standard error.
    Lines { from: u32, to: u32 } -> (), |this, _cx| write_lines(this.from, this.to)
}

task! {
    /// Does the same and is gone.
    LastWords { from: u32, to: u32 } -> (), |this, _cx| {
        write_lines(this.from, this.to);
        std::process::exit(3)
    }
}

task! {
    /// Writes so many bytes to standard error.
    Flood { bytes: usize } -> (), |this, _cx| {
        let line = [b'x'; 1024];
        let mut out = std::io::stderr().lock();
        for _ in 0..this.bytes / line.len() {
            out.write_all(&line).expect("an output");
        }
    }
}

task! {
    /// Says one word on standard output.
    Print { word: String } -> (), |this, _cx| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n@{} printed", this.word).and_then(|()| out.flush()).expect("an output")
    }
}

task! {
    Whoami {} -> u32, |_this, cx| cx.worker().pid
}

fn write_lines(from: u32, to: u32) {
    let mut text = String::new();
    for number in from..to {
        text += &format!("line {number} of a worker\n");
    }
    std::io::stderr()
        .write_all(text.as_bytes())
        .expect("an output");
}

worker_entry!(
    WorkerSpec::new()
        .task::<Lines>()
        .task::<LastWords>()
        .task::<Flood>()
        .task::<Print>()
        .task::<Whoami>()
);

async fn start(base: &Path, stdio: Stdio) -> Pool {
    Pool::builder(workers())
        .processes(1)
        .grace(Duration::from_millis(500))
        .cancel_grace(Duration::from_millis(500))
        .stdio(stdio)
        .socket_dir(base)
        .start()
        .await
        .expect("a pool")
}

/// Workers that write much in pieces, and die of the last one.
async fn relays(base: &Path) {
    let pool = start(base, Stdio::default()).await;
    for round in 0..4_u32 {
        let first = round * 10_000;
        let lines = pool.submit(Lines {
            from: first,
            to: first + 5_000,
        });
        lines.await.expect("written lines");
        let last = pool.submit(LastWords {
            from: first + 5_000,
            to: first + 10_000,
        });
        let lost = last.await;
        assert!(matches!(lost, Err(TaskError::WorkerLost(_))), "{lost:?}");
    }
    pool.stop().await;
}

/// A worker whose last words are asked for.
async fn reports(base: &Path) {
    let pool = start(base, Stdio::default()).await;
    let lost = pool.submit(LastWords { from: 0, to: 2_000 }).await;
    let Err(TaskError::WorkerLost(report)) = lost else {
        panic!("{lost:?}");
    };
    let tail = report.stderr_tail();
    assert!(tail.ends_with("line 1999 of a worker\n"), "{tail}");
    assert!((8_000..=8 * 1024).contains(&tail.len()), "{}", tail.len());
    pool.stop().await;
    // What does not come through the host is not kept.
    let pool = start(base, Stdio::default().stderr(Output::Null)).await;
    let lost = pool.submit(LastWords { from: 0, to: 10 }).await;
    let Err(TaskError::WorkerLost(report)) = lost else {
        panic!("{lost:?}");
    };
    assert_eq!(report.stderr_tail(), "");
    pool.stop().await;
}

/// A worker that writes more than the host could keep.
async fn is_flooded(base: &Path) {
    let pool = start(base, Stdio::default()).await;
    pool.submit(Flood { bytes: 1024 * 1024 })
        .await
        .expect("a warm-up");
    let before = resident();
    let flood = pool.submit(Flood {
        bytes: 100 * 1024 * 1024,
    });
    let other = start(base, Stdio::default()).await;
    let mut flood = std::pin::pin!(flood);
    let mut answers = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut flood => break done.expect("an end of the flood"),
            answer = other.submit(Whoami {}) => {
                answer.expect("an answer");
                answers += 1;
            }
        }
    }
    assert!(answers > 10, "the arbiter had time for {answers} others");
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 * 1024, "the host has grown by {grown} KiB");
    pool.stop().await;
    other.stop().await;
}

/// The most memory that this process ever had, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().split(' ').next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// A host whose own standard error is a pipe that nobody reads.
fn is_not_read(base: &Path) {
    System::new().block_on(async {
        start(base, Stdio::default()).await.stop().await;
    });
    let before = Possessions::now();
    let system = System::new();
    system.block_on(async {
        let pool = start(base, Stdio::default()).await;
        let worker = pool.submit(Whoami {}).await.expect("an answer");
        let other = start(base, Stdio::default()).await;
        let had = resident();
        let flood = pool.submit(Flood {
            bytes: 64 * 1024 * 1024,
        });
        let mut asleep = 0;
        soon(WATCHDOG, "the worker is held back", || {
            asleep = if sleeps(worker) { asleep + 1 } else { 0 };
            asleep > 50
        })
        .await;
        let grown = resident().saturating_sub(had);
        assert!(grown < 16 * 1024, "the host has grown by {grown} KiB");
        for _ in 0..100 {
            other.submit(Whoami {}).await.expect("an answer");
        }
        let began = Instant::now();
        drop(flood);
        pool.stop().await;
        other.stop().await;
        assert!(began.elapsed() < Duration::from_secs(5), "it hangs");
        say("stopped", "");
        System::current().stop();
    });
    let began = Instant::now();
    system.run().expect("a system that was stopped");
    assert!(began.elapsed() < Duration::from_secs(2), "it hangs");
    say("ended", "");
    // What still writes is left alone with it, and goes when it can.
    before.are_all(WATCHDOG);
}

/// A worker that dies while nobody reads what it has written.
async fn is_read_late(base: &Path) {
    let pool = start(base, Stdio::default()).await;
    let lost = pool.submit(LastWords { from: 0, to: LATE }).await;
    let Err(TaskError::WorkerLost(report)) = lost else {
        panic!("{lost:?}");
    };
    let last = format!("line {} of a worker\n", LATE - 1);
    assert!(report.stderr_tail().ends_with(&last), "{report:?}");
    // Nothing of the dead worker is left here by then.
    status_is(&pool, "it was replaced", |status| {
        status.slots[0].generation == 1 && status.slots[0].state == SlotState::Ready
    })
    .await;
    say("lost", "");
    soon(WATCHDOG, "a reader", || has(base, "read")).await;
    pool.stop().await;
}

/// Workers whose standard output goes elsewhere each time.
async fn prints(base: &Path) {
    for (word, output) in [
        ("null", Some(Output::Null)),
        ("inherit", Some(Output::Inherit)),
        ("default", None),
        ("relay", Some(Output::Relay)),
    ] {
        let stdio = match output {
            Some(output) => Stdio::default().stdout(output),
            None => Stdio::default(),
        };
        let pool = start(base, stdio).await;
        let print = Print {
            word: word.to_owned(),
        };
        pool.submit(print).await.expect("a printed word");
        pool.stop().await;
    }
    say("printed", "all");
}

#[test]
fn host_process() {
    host(|scenario, base| match scenario {
        "is_not_read" => is_not_read(base),
        "is_flooded" => System::new().block_on(is_flooded(base)),
        "is_read_late" => System::new().block_on(is_read_late(base)),
        "relays" => System::new().block_on(relays(base)),
        "reports" => System::new().block_on(reports(base)),
        "prints" => System::new().block_on(prints(base)),
        _ => panic!("no scenario: {scenario}"),
    });
}

/// The numbers of the lines that came through a host's standard error.
fn numbers(text: &str) -> Vec<u32> {
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("line ")?
                .strip_suffix(" of a worker")?
                .parse()
                .ok()
        })
        .collect()
}

#[test]
fn standard_error_is_relayed_to_the_last_word() {
    let mut host = Host::start_with("relays", &[], |command| {
        command.stderr(ProcessStdio::piped());
    });
    let mut stderr = host.child.stderr.take().expect("a pipe");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    host.succeed();
    let text = reader.join().expect("a thread").expect("text");
    let expected: Vec<u32> = (0..40_000).collect();
    assert!(numbers(&text) == expected, "{text}");
}

#[test]
fn last_words_wait_for_a_host_whose_standard_error_is_stuck() {
    let mut host = Host::start_with("is_read_late", &[], |command| {
        command.stderr(ProcessStdio::piped());
    });
    host.expect("lost");
    let mut stderr = BufReader::new(host.child.stderr.take().expect("a pipe"));
    let mut text = String::new();
    for _ in 0..LATE {
        stderr.read_line(&mut text).expect("a line");
    }
    let expected: Vec<u32> = (0..LATE).collect();
    assert!(numbers(&text) == expected, "{text}");
    put(host.directory.path(), "read");
    host.succeed();
}

#[test]
fn last_of_standard_error_is_in_the_report() {
    let mut host = Host::start_with("reports", &[], |command| {
        command.stderr(File::create("/dev/null").expect("a file"));
    });
    host.succeed();
}

#[test]
fn worker_that_floods_standard_error_neither_blocks_nor_grows_its_host() {
    let mut host = Host::start_with("is_flooded", &[], |command| {
        command.stderr(File::create("/dev/null").expect("a file"));
    });
    host.succeed();
}

#[test]
fn standard_error_that_nobody_reads_neither_blocks_a_stop_nor_the_end_of_a_system() {
    let mut host = Host::start_with("is_not_read", &[], |command| {
        command.stderr(ProcessStdio::piped());
    });
    host.expect("stopped");
    host.expect("ended");
    // Only now does somebody read.
    let mut stderr = host.child.stderr.take().expect("a pipe");
    thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    host.succeed();
}

#[test]
fn standard_output_goes_where_the_pool_says() {
    let mut host = Host::start("prints");
    let all = host.everything();
    let printed: Vec<_> = all
        .iter()
        .filter_map(|line| line.strip_prefix('@')?.strip_suffix(" printed"))
        .collect();
    // In a test binary the default is to have none.
    assert_eq!(printed, ["inherit", "relay"], "{all:?}");
    assert!(host.wait().success());
}
