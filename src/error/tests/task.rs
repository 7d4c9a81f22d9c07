//! What `TaskError` promises: its words, its traits, and what may be submitted again.
//!
//! Belongs here: one golden text for each variant, the two tables of `never_ran` and `is_transient`.
//! Does not belong here: the texts of what the variants hold.
//! Invariant: every variant is in the tables.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::{codec, report, segfault};
use crate::error::{
    CodecValue, Rejected, RemoteError, Started, TaskError, TimedOut, TimeoutEnd, TimeoutStage,
};
use crate::task::{Slot, TaskId, WorkerInfo};

fn panic(backtrace: Option<&str>) -> RemoteError {
    RemoteError::panic(
        "index out of range".to_owned(),
        Some("src/resize.rs:12:5".to_owned()),
        backtrace.map(str::to_owned),
    )
}

fn late(ended: TimeoutEnd) -> TimedOut {
    TimedOut {
        stage: TimeoutStage::Queued,
        limit: Duration::from_millis(1500),
        elapsed: Duration::from_micros(1_534_567),
        ended,
    }
}

#[test]
fn time_out_says_which_limit_and_what_became_of_the_task() {
    check(
        &TaskError::TimedOut(late(TimeoutEnd::NeverStarted)),
        "the task had not started after 1.5s, over its `queue_timeout` of 1.5s; \
         it never ran, so it is safe to submit again",
    );
    let stage = TimeoutStage::Running;
    let ran = late(TimeoutEnd::Dropped);
    check(
        &TaskError::TimedOut(TimedOut { stage, ..ran }),
        "the task had not ended 1.5s after its start, over its `run_timeout` of 1.5s; \
         its worker has dropped it at an await and goes on",
    );
    let ran = late(TimeoutEnd::WithWorker);
    check(
        &TaskError::TimedOut(TimedOut { stage, ..ran }),
        "the task had not ended 1.5s after its start, over its `run_timeout` of 1.5s; \
         it ended with its worker",
    );
    let ran = late(TimeoutEnd::BetweenRuns);
    check(
        &TaskError::TimedOut(TimedOut { stage, ..ran }),
        "the task had not ended 1.5s after its start, over its `run_timeout` of 1.5s; \
         it had run to no avail and waited to run again",
    );
    let stage = TimeoutStage::Deadline;
    let runs = late(TimeoutEnd::Unfinished);
    check(
        &TaskError::TimedOut(TimedOut { stage, ..runs }),
        "the task had not settled after 1.5s, over its `timeout` of 1.5s; \
         it may still run for a moment, until the pool has ended it",
    );
}

fn lost<E>(started: Started) -> TaskError<E> {
    TaskError::WorkerLost(report(segfault(), started, 1))
}

#[track_caller]
fn check(error: &TaskError<RemoteError>, text: &str) {
    assert_eq!(error.to_string(), text);
}

/// The task error of a user that says what it was caused by.
#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bad width")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn own_error_is_shown_as_it_is() -> Result<(), &'static str> {
    let cause = "ten".parse::<u32>().err().ok_or("parsed")?;
    let typed = TaskError::Failed(Outer(cause.clone()));
    assert_eq!(typed.to_string(), "bad width");
    let source = typed.source().ok_or("no source")?;
    assert_eq!(source.to_string(), "invalid digit found in string");

    let erased = TaskError::Failed(RemoteError::from(Outer(cause)));
    check(&erased, "bad width");
    assert_eq!(
        format!("{erased:#}"),
        "bad width: invalid digit found in string"
    );
    let source = erased.source().ok_or("no source")?;
    assert_eq!(source.to_string(), "invalid digit found in string");
    Ok(())
}

#[test]
fn panic_says_where_and_in_which_task_and_worker() {
    check(
        &TaskError::Panicked(panic(None)),
        "the task panicked at src/resize.rs:12:5: index out of range \
         (set `RUST_BACKTRACE=1` for a backtrace)",
    );
    let worker = WorkerInfo::new(Slot::new(0), 3, 4711);
    check(
        &TaskError::Panicked(panic(Some("0: main")).at(worker, TaskId::new(17))),
        "task 17 panicked at src/resize.rs:12:5 in worker 0.3 (pid 4711): index out of range \
         (its `report()` has the backtrace)",
    );
}

#[test]
fn cancelled_says_whether_it_is_safe_to_submit_again() {
    check(
        &TaskError::Cancelled { started: false },
        "the task was cancelled before it started, so it is safe to submit again",
    );
    check(
        &TaskError::Cancelled { started: true },
        "the task was cancelled when it had started or may have; \
         see what it did before you submit it again",
    );
}

#[test]
fn inner_errors_are_shown_as_they_are() {
    check(
        &lost(Started::Yes),
        "worker 0.3 (pid 4711) was lost: killed by SIGSEGV after 1.2s; the task had started, 1 suspect",
    );
    check(
        &TaskError::Rejected(Rejected::Closed),
        &Rejected::Closed.to_string(),
    );
    check(
        &TaskError::Codec(codec(CodecValue::Output)),
        "cannot encode the output of type `my::Type` at the worker: why",
    );
}

#[test]
fn submitting_again_is_safe_and_useful_where_the_tables_say() {
    let full = Rejected::QueueFull {
        waiting: 1,
        limit: 1,
        bytes: 0,
        bytes_limit: 1,
    };
    let unavailable = Rejected::Unavailable {
        retry_after: Duration::from_secs(1),
    };
    let too_large = Rejected::TooLarge { bytes: 2, limit: 1 };
    let unknown = Rejected::UnknownTask {
        name: "resize",
        near: Vec::new(),
    };
    let table: [(TaskError<()>, bool, bool); 20] = [
        (TaskError::Failed(()), false, false),
        (TaskError::Panicked(panic(None)), false, false),
        (
            TaskError::TimedOut(late(TimeoutEnd::NeverStarted)),
            true,
            true,
        ),
        (TaskError::TimedOut(late(TimeoutEnd::Dropped)), false, true),
        (
            TaskError::TimedOut(late(TimeoutEnd::BetweenRuns)),
            false,
            true,
        ),
        (
            TaskError::TimedOut(late(TimeoutEnd::WithWorker)),
            false,
            true,
        ),
        (
            TaskError::TimedOut(late(TimeoutEnd::Unfinished)),
            false,
            true,
        ),
        (TaskError::Cancelled { started: false }, true, false),
        (TaskError::Cancelled { started: true }, false, false),
        (lost(Started::Yes), false, true),
        (lost(Started::Unknown), false, true),
        (lost(Started::No), true, true),
        (TaskError::Rejected(full), true, true),
        (TaskError::Rejected(unavailable), true, true),
        (TaskError::Rejected(too_large), true, false),
        (TaskError::Rejected(Rejected::Closed), true, false),
        (TaskError::Rejected(unknown), true, false),
        (TaskError::Codec(codec(CodecValue::Input)), true, false),
        (TaskError::Codec(codec(CodecValue::Output)), false, false),
        (lost::<()>(Started::No).map_failed(|()| ()), true, true),
    ];
    for (error, never_ran, is_transient) in table {
        assert_eq!(error.never_ran(), never_ran, "{error:?}");
        assert_eq!(error.is_transient(), is_transient, "{error:?}");
    }
}

#[test]
fn only_the_own_error_is_mapped() {
    let mapped = TaskError::Failed(2_u8).map_failed(|code| format!("code {code}"));
    assert_eq!(mapped.to_string(), "code 2");
    let kept = TaskError::<u8>::Rejected(Rejected::Closed).map_failed(|_| "never asked");
    assert!(matches!(kept, TaskError::Rejected(Rejected::Closed)));
}

#[test]
fn task_errors_are_errors_that_cross_threads() {
    fn is<T: Error + Send + Sync + 'static>() {}
    fn crosses<T: Send + Sync>() {}

    is::<TaskError<RemoteError>>();
    is::<TaskError<std::io::Error>>();
    is::<TaskError<std::convert::Infallible>>();
    crosses::<TaskError<()>>();
    crosses::<RemoteError>();
}

#[test]
fn question_mark_takes_a_task_error_of_another_pool() {
    fn outer() -> Result<(), RemoteError> {
        Err(TaskError::<RemoteError>::Rejected(Rejected::Closed))?
    }
    let text = outer().err().map(|error| error.to_string());
    assert_eq!(text, Some(Rejected::Closed.to_string()));
}
