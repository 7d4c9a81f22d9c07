//! The smaller examples do what their headers say, and say so when they do not.
//!
//! Run with `cargo test`, or after `cargo build --examples`: a test alone does not build the examples.
#![cfg(unix)]

use std::{
    env::{self, current_exe},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[path = "../examples/actors_in_workers/check.rs"]
mod check;

use check::{Answer, check};

/// Where cargo puts the examples, beside the tests.
fn path(name: &str) -> PathBuf {
    let test = current_exe().expect("this program");
    let target = test.ancestors().nth(2).expect("a target folder");
    target.join("examples").join(name)
}

fn example(name: &str) -> Command {
    let program = path(name);
    assert!(
        program.exists(),
        "{program:?} is missing: run `cargo build --examples` first"
    );
    let mut command = Command::new(program);
    command.env_remove("RUST_BACKTRACE");
    command
}

/// Whether it ended with status 0, and all that it printed.
#[track_caller]
fn run(command: &mut Command) -> (bool, String) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let (done, waiting) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let ended = waiting.recv_timeout(Duration::from_secs(60));
        ended == Err(mpsc::RecvTimeoutError::Timeout) && kill(pid, Signal::SIGKILL).is_ok()
    });
    let output = child.wait_with_output().expect("its output");
    drop(done);
    assert!(!watchdog.join().expect("a watchdog"), "the example hangs");
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let text = [stdout, stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(matches!(status.code(), Some(0 | 1)), "{status}: {text}");
    (status.success(), text)
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let (success, text) = run(command);
    assert!(success, "{text}");
    text
}

/// Fails, and says so in these words.
#[track_caller]
fn fails(command: &mut Command, words: &str) {
    let (success, text) = run(command);
    assert!(!success && text.contains(words), "{text}");
}

#[test]
fn actors_in_workers_shows_that_each_worker_has_one() {
    let text = succeeds(&mut example("actors_in_workers"));
    assert!(
        text.contains("looked up by the caches of 2 workers"),
        "{text}"
    );
    let text = succeeds(example("actors_in_workers").arg("3"));
    assert!(
        text.contains("looked up by the caches of 3 workers"),
        "{text}"
    );
}

#[test]
fn actors_in_workers_fails_where_one_worker_shows_nothing() {
    fails(
        example("actors_in_workers").arg("1"),
        "one worker shows nothing",
    );
}

#[test]
fn actors_in_workers_notices_answers_of_other_caches() {
    let answer = |pid, key, looked_up| Answer {
        key,
        value: key * key,
        looked_up,
        pid,
    };
    let right = [answer(1, 3, true), answer(1, 3, false), answer(2, 3, true)];
    assert!(check(&right).is_ok(), "{:?}", check(&right));
    let wrong = |at: usize, change: fn(&mut Answer)| {
        let mut answers = right.to_vec();
        change(&mut answers[at]);
        check(&answers).expect_err("it must be noticed")
    };
    // A cache that forgets, and one that workers share.
    let text = wrong(1, |answer| answer.looked_up = true);
    assert_eq!(text, "process 1 looked 3 up 2 times, not once");
    let text = wrong(2, |answer| answer.looked_up = false);
    assert_eq!(text, "process 2 looked 3 up 0 times, not once");
    assert!(wrong(0, |answer| answer.value = 8).contains("a wrong value"));
    assert!(wrong(2, |answer| answer.pid = 1).contains("2 times"));
    let nobody_again = check(&[right[0].clone(), right[2].clone()]);
    assert!(nobody_again.expect_err("no hit").contains("asked twice"));
}

#[test]
fn poison_finds_the_inputs_that_kill() {
    let text = succeeds(&mut example("poison"));
    for words in [
        "20: worker quarantine.",
        "1 suspect: it has killed two workers, this one alone",
        "3 of 64 files are poisoned",
        "served meanwhile: ",
    ] {
        assert!(text.contains(words), "not there: {words}: {text}");
    }
    let text = succeeds(example("poison").args(["0", "63"]));
    assert!(text.contains("2 of 64 files are poisoned"), "{text}");
}

#[test]
fn poison_fails_where_an_input_does_not_kill() {
    fails(example("poison").arg("64"), "found {} instead of {64}");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_shows_who_is_replaced_and_who_is_killed() {
    let text = succeeds(&mut example("memory"));
    for words in [
        "500 pages, 1 MiB leaked by each: no worker had more than 4",
        "took too much memory and was killed by the pool (SIGKILL)",
        "over `memory_hard` (100.0 MiB); the task had started, 1 suspect",
        "attempts Ok(1) and Ok(2)",
    ] {
        assert!(text.contains(words), "not there: {words}: {text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_fails_where_workers_take_more() {
    fails(example("memory").arg("200"), "a worker had too much");
}

#[test]
fn replay_runs_in_the_foreground_what_has_killed_a_worker() {
    let text = succeeds(&mut example("replay"));
    for words in [
        "x / 2 = 3",
        "kept: ",
        "it had \"evaluate\" (task 3, for",
        "formula: \"x / 0\"",
        "api_key: \"\"",
    ] {
        assert!(text.contains(words), "not there: {words}: {text}");
    }
    assert!(!text.contains("do not tell"), "{text}");
    fails(
        example("replay").arg("Cargo.toml"),
        "it is no capture of a task",
    );
}

#[test]
fn timeouts_shows_what_callers_are_told() {
    let text = succeeds(&mut example("timeouts"));
    for words in [
        "waiting: the task had not started after",
        "its worker has dropped it at an await",
        "it ended with its worker",
        "reading it up beside that: 3.1416",
        "computing in time: 3.14",
        "over its `timeout` of 150ms",
    ] {
        assert!(text.contains(words), "not there: {words}: {text}");
    }
}

#[test]
fn timeouts_fails_when_callers_wait_for_long() {
    fails(
        example("timeouts").arg("2500"),
        "not as it should be: all of them in",
    );
}

#[test]
fn errors_shows_every_error_as_expected() {
    let text = succeeds(&mut example("errors"));
    for words in [
        "draw at least 1 pixels",
        "the width is no number: invalid digit found in string",
        "panicked at examples/errors.rs:",
        "killed by SIGABRT",
        "over its `run_timeout` of 50ms",
        "exited with code 3",
        "the queue is full: 1 of 1 tasks wait",
        "cancelled before it started",
        "over the 262144 of `max_frame_bytes`",
        "did you mean `draw`?",
        "wrap the value in Json<T>",
        "the pool is draining, stopped or gone",
    ] {
        assert!(text.contains(words), "not there: {words}: {text}");
    }
}

#[test]
fn errors_fails_when_one_is_another_than_expected() {
    fails(
        example("errors").env("ERRORS_WHEN_FULL", "wait"),
        "the queue is full: that is not the expected error",
    );
}

#[test]
fn separate_worker_uses_the_program_beside_it() {
    let text = succeeds(&mut example("separate_worker"));
    let program = path("separate_worker_program");
    assert!(text.contains(&program.display().to_string()), "{text}");
    // From wherever it is called.
    let elsewhere = env::temp_dir();
    let named = succeeds(
        example("separate_worker")
            .arg(program)
            .current_dir(elsewhere),
    );
    assert_eq!(named, text);
}

#[test]
fn separate_worker_fails_with_a_program_that_is_none() {
    let mut host = example("separate_worker");
    fails(host.arg("/bin/false"), "ended before it connected");
    let mut host = example("separate_worker");
    fails(host.arg("/nowhere"), "run `cargo build --examples`");
    // It is a worker, but without what the other one has.
    let itself = path("separate_worker");
    fails(
        example("separate_worker").arg(itself),
        "only the worker program has an engine",
    );
    let alone = succeeds(&mut example("separate_worker_program"));
    assert!(alone.contains("a worker program"), "{alone}");
}

#[test]
fn recycle_bounds_what_a_process_leaks() {
    let text = succeeds(&mut example("recycle"));
    assert!(
        text.contains("none of which leaked more than 5120 KiB"),
        "{text}"
    );
}

#[test]
fn recycle_fails_with_workers_that_are_never_replaced() {
    fails(example("recycle").arg("0"), "a process leaked more than");
}

#[test]
fn supervision_tree_begins_the_one_pool_anew_and_leaves_the_other_alone() {
    let text = succeeds(&mut example("supervision_tree"));
    assert!(
        text.contains("has given up") && text.contains("is there again"),
        "{text}"
    );
}

#[test]
fn supervision_tree_fails_when_nothing_helps() {
    fails(
        example("supervision_tree").arg("incurable"),
        "the service has given up",
    );
}
