//! The words for a lost worker.
//!
//! Belongs here: one golden text for each cause and each thing that may be known or not.
//! Does not belong here: how a task's error shows it (`task`).
//! Invariant: a report fits one line unless `{:#}` is asked for.

use std::time::Duration;

use super::{report, segfault};
use crate::{
    error::{Crash, LossCause, RemoteError, RunningTask, Started, Vitals},
    task::TaskId,
};

#[track_caller]
fn check(crash: Crash, started: Started, suspects: u32, text: &str) {
    assert_eq!(report(crash, started, suspects).to_string(), text);
}

/// Checks the words for the cause alone.
#[track_caller]
fn check_cause(cause: LossCause, code: Option<i32>, signal: Option<i32>, words: &str) {
    let crash = Crash {
        cause,
        code,
        signal,
        ..segfault()
    };
    check(
        crash,
        Started::Yes,
        1,
        &format!(
            "worker 0.3 (pid 4711) was lost: {words} after 1.2s; the task had started, 1 suspect"
        ),
    );
}

#[test]
fn segfault_is_told_on_one_line_with_the_last_of_stderr() {
    let crash = Crash {
        stderr_tail: "loading\n..last line..\n".to_owned(),
        ..segfault()
    };
    check(
        crash.clone(),
        Started::Yes,
        1,
        r#"worker 0.3 (pid 4711) was lost: killed by SIGSEGV after 1.2s; the task had started, 1 suspect; stderr: "..last line..""#,
    );
    assert_eq!(
        format!("{:#}", report(crash, Started::Yes, 1)),
        "worker 0.3 (pid 4711) was lost: killed by SIGSEGV after 1.2s; the task had started, 1 suspect; stderr:\n  | loading\n  | ..last line.."
    );
}

#[test]
fn each_cause_has_its_words() {
    check_cause(LossCause::Exited, Some(3), None, "exited with code 3");
    check_cause(
        LossCause::Exited,
        Some(101),
        None,
        "exited with code 101 (as after a panic in main)",
    );
    check_cause(LossCause::Exited, None, None, "exited with an unknown code");
    check_cause(
        LossCause::Signal,
        None,
        Some(9),
        "killed by SIGKILL (not by the pool: a usual sender is the kernel's out-of-memory killer)",
    );
    check_cause(
        LossCause::Signal,
        None,
        Some(6),
        "killed by SIGABRT (an abort: a failed assertion in C, a panic while panicking, or `panic = \"abort\"`)",
    );
    check_cause(LossCause::Signal, None, Some(64), "killed by signal 64");
    check_cause(LossCause::Signal, None, None, "killed by an unknown signal");
    check_cause(
        LossCause::Killed,
        None,
        Some(9),
        "killed by the pool (SIGKILL)",
    );
    check_cause(
        LossCause::Operator,
        Some(0),
        None,
        "killed on request (code 0)",
    );
    check_cause(
        LossCause::Retired,
        None,
        Some(9),
        "replaced before it was empty (SIGKILL)",
    );
    check_cause(
        LossCause::Init,
        Some(1),
        None,
        "failed before it was ready (code 1)",
    );
    check_cause(
        LossCause::Stalled,
        None,
        Some(9),
        "stalled and was killed by the pool (SIGKILL)",
    );
    check_cause(
        LossCause::Panicked,
        None,
        Some(6),
        "aborted by a panic (SIGABRT)",
    );
    check_cause(
        LossCause::Memory,
        None,
        Some(9),
        "took too much memory and was killed by the pool (SIGKILL)",
    );
    check_cause(
        LossCause::KernelOom,
        None,
        Some(9),
        "killed by the kernel for want of memory (SIGKILL)",
    );
    check_cause(
        LossCause::Protocol,
        None,
        None,
        "broke the protocol and was killed",
    );
    check_cause(
        LossCause::PoolGone,
        None,
        None,
        "the System or arbiter of its pool ended",
    );
}

#[test]
fn what_it_means_for_the_task_is_said() {
    let rest = |started, suspects| {
        let text = report(segfault(), started, suspects).to_string();
        text.split_once("; ").map(|(_, rest)| rest.to_owned())
    };
    assert_eq!(
        rest(Started::Yes, 0).as_deref(),
        Some("the task had started and is no suspect")
    );
    assert_eq!(
        rest(Started::Unknown, 3).as_deref(),
        Some("the task may have started, 3 suspects")
    );
    let poisoned = report(segfault(), Started::Yes, 1).poisoning();
    assert_eq!(
        poisoned.to_string().rsplit("; ").next(),
        Some("the task had started, 1 suspect: it has killed two workers, this one alone")
    );
    assert_eq!(
        rest(Started::No, 0).as_deref(),
        Some("the task had not started, so it is safe to submit again")
    );
}

#[test]
fn detail_follows_the_cause() {
    let crash = Crash {
        pid: None,
        cause: LossCause::Killed,
        signal: None,
        detail: Some("task 17 held its loop past its time-out".to_owned()),
        uptime: Duration::from_secs(90),
        ..segfault()
    };
    check(
        crash,
        Started::Yes,
        0,
        "worker 0.3 was lost: killed by the pool after 90.0s: \
         task 17 held its loop past its time-out; the task had started and is no suspect",
    );
}

#[test]
fn reports_are_equal_by_content() {
    let one = report(segfault(), Started::Yes, 1);
    assert_eq!(one, report(segfault(), Started::Yes, 1));
    assert_ne!(one, report(segfault(), Started::Unknown, 1));
    let other = Crash {
        pid: None,
        ..segfault()
    };
    assert_ne!(one, report(other, Started::Yes, 1));
}

#[test]
fn accessors_give_what_was_recorded() {
    let crash = Crash {
        code: Some(3),
        detail: Some("detail".to_owned()),
        stderr_tail: "tail".to_owned(),
        vitals: Vitals {
            resident: Some(4 << 20),
            cpu_time: Some(Duration::from_millis(70)),
            done: 12,
            running: vec![RunningTask {
                task: "resize",
                id: TaskId::new(17),
                age: Duration::from_millis(1150),
                started: Started::Yes,
            }],
            panic: Some(RemoteError::panic("boom".to_owned(), None, None)),
        },
        ..segfault()
    };
    let report = report(crash, Started::Unknown, 2);
    assert_eq!(report.slot().index(), 0);
    assert_eq!(report.generation(), 3);
    assert_eq!(report.pid(), Some(4711));
    assert_eq!(report.code(), Some(3));
    assert_eq!(report.signal(), Some(11));
    assert_eq!(report.signal_name(), Some("SIGSEGV"));
    assert_eq!(report.cause(), &LossCause::Signal);
    assert_eq!(report.detail(), Some("detail"));
    assert_eq!(report.uptime(), Duration::from_millis(1234));
    assert_eq!(report.rss(), Some(4 << 20));
    assert_eq!(report.cpu_time(), Some(Duration::from_millis(70)));
    assert_eq!(report.tasks_done(), 12);
    assert_eq!(report.running()[0].task, "resize");
    assert_eq!(report.panic().unwrap().message(), "boom");
    assert!(
        format!("{report:#}").contains(
            "; 4.0 MiB in memory; 70.0ms on CPUs; 12 tasks done; it had \"resize\" (task 17, for 1.2s); stderr:"
        ),
        "{report:#}"
    );
    assert_eq!(report.started(), Started::Unknown);
    assert_eq!(report.suspects(), 2);
    assert_eq!(report.stderr_tail(), "tail");
}

#[test]
fn less_time_than_the_system_counts_is_not_told_as_none() {
    let with = |cpu_time| Crash {
        vitals: Vitals {
            cpu_time: Some(cpu_time),
            ..Vitals::default()
        },
        ..segfault()
    };
    let text = |cpu_time| format!("{:#}", report(with(cpu_time), Started::No, 0));
    assert!(text(Duration::from_millis(10)).contains("; 10.0ms on CPUs"));
    assert!(!text(Duration::ZERO).contains("on CPUs"));
}
