//! The words for a pool that did not start.
//!
//! Belongs here: one golden text for each variant of the three start errors.
//! Does not belong here: the causes they hold, which have texts of their own.
//! Invariant: no cause is lost on one line, none is said twice along the chain.

use std::error::Error as _;
use std::time::Duration;

use super::{codec, report, segfault};
use crate::error::{
    CodecValue, ConfigError, Crash, LossCause, RemoteError, StartError, Started, WorkerStartError,
};

#[track_caller]
fn check_config(error: ConfigError, text: &str) {
    assert_eq!(error.to_string(), text);
    assert_eq!(StartError::from(error).to_string(), text);
}

#[track_caller]
fn check_worker(error: WorkerStartError, text: &str) {
    assert_eq!(error.to_string(), text);
    assert_eq!(
        StartError::Worker(error).to_string(),
        format!("no worker became ready: {text}")
    );
}

#[test]
fn bad_settings_name_the_knob_and_the_way_out() {
    check_config(
        ConfigError::Zero { knob: "processes" },
        "`processes` is zero; set it to more, or leave it out for the default",
    );
    check_config(
        ConfigError::TooSmall {
            knob: "max_frame_bytes",
            value: "16 bytes".to_owned(),
            least: "4096 bytes".to_owned(),
        },
        "`max_frame_bytes` is 16 bytes; set it to at least 4096 bytes",
    );
    check_config(
        ConfigError::TooLarge {
            knob: "processes",
            value: "100000".to_owned(),
            most: "4096".to_owned(),
        },
        "`processes` is 100000; set it to at most 4096",
    );
    check_config(
        ConfigError::Contradiction {
            message: "`memory_soft` is over `memory_hard`; lower it".to_owned(),
        },
        "`memory_soft` is over `memory_hard`; lower it",
    );
    check_config(
        ConfigError::TooFewDescriptors {
            needed: 48,
            left: 20,
            limit: 64,
        },
        "the workers take 48 descriptors while they start, and 20 of 64 are left; \
         raise the limit (`ulimit -n`, `LimitNOFILE`) or lower `processes`",
    );
    check_config(
        ConfigError::TooDeep { levels: 2 },
        "this is a worker of a pool inside a worker, and pools may be 2 levels deep; \
         submit its tasks one level higher",
    );
    check_config(
        ConfigError::Unsupported {
            knob: "memory_hard",
            platform: "windows",
        },
        "`memory_hard` is not supported on windows; leave it out there",
    );
}

#[test]
fn pool_that_cannot_start_says_where_to_start_it() {
    assert_eq!(
        StartError::NoArbiter.to_string(),
        "`start()` needs the current thread to run an actix System or Arbiter; \
         use `start_on(..)`, or `own_arbiter()` from plain tokio"
    );
    let refused = StartError::System {
        message: "no thread for the pool: EAGAIN".to_owned(),
    };
    assert_eq!(
        refused.to_string(),
        "the operating system refused what the pool needs: no thread for the pool: EAGAIN"
    );
    let no_socket = StartError::NoSocket {
        message: "/run/user/1000: permission denied".to_owned(),
    };
    assert_eq!(
        no_socket.to_string(),
        "no place for the local sockets of the workers: /run/user/1000: permission denied; \
         name a writable directory with a short path, or set XDG_RUNTIME_DIR or TMPDIR to one"
    );
    assert_eq!(
        StartError::Closed.to_string(),
        "the pool's arbiter ended before a worker was ready; \
         keep its System or Arbiter running until `start()` is done"
    );
}

#[test]
fn worker_that_never_connects_is_asked_for_its_init() {
    check_worker(
        WorkerStartError::ExitedEarly {
            status: "exit status: 2".to_owned(),
            stderr_tail: "usage: prog\nunknown argument\n".to_owned(),
        },
        "the worker ended before it connected, with exit status: 2 \
         (is `init()` the first statement of main, and reached?); stderr: \"unknown argument\"",
    );
    let timed_out = |stage| WorkerStartError::TimedOut {
        after: Duration::new(30, 1_234),
        stage,
        stderr_tail: String::new(),
    };
    check_worker(
        timed_out("connecting"),
        "the worker was not ready within `start_timeout` (30s), its stage was: connecting \
         (is `init()` the first statement of main, and reached?)",
    );
    check_worker(
        timed_out("initializing its state"),
        "the worker was not ready within `start_timeout` (30s), its stage was: \
         initializing its state; make it faster or raise `start_timeout`",
    );
}

#[test]
fn start_error_shows_the_whole_stderr_when_asked() {
    let error = StartError::Worker(WorkerStartError::ExitedEarly {
        status: "exit status: 2".to_owned(),
        stderr_tail: "usage: prog\nunknown argument\n".to_owned(),
    });
    assert_eq!(
        format!("{error:#}"),
        "no worker became ready: the worker ended before it connected, with exit status: 2 \
         (is `init()` the first statement of main, and reached?); \
         stderr:\n  | usage: prog\n  | unknown argument"
    );
}

#[test]
fn worker_of_another_build_says_what_differs() {
    check_worker(
        WorkerStartError::Spawn {
            program: "/opt/worker".to_owned(),
            message: "no such file or directory (os error 2)".to_owned(),
        },
        "the program `/opt/worker` could not be started: no such file or directory (os error 2); \
         see that it is there and may be executed",
    );
    check_worker(
        WorkerStartError::OtherVersion { host: 1, worker: 2 },
        "the host speaks protocol version 1 and the worker 2; \
         build both with the same version of actix-multiprocess",
    );
    check_worker(
        WorkerStartError::MissingTask {
            name: "resize".to_owned(),
            near: vec!["resized".to_owned()],
        },
        "the worker's program lacks task `resize`; call `.task::<..>()` with its type there, \
         or build both from the same source; did you mean `resized`?",
    );
    check_worker(
        WorkerStartError::TaskVersion {
            name: "resize".to_owned(),
            host: 1,
            worker: 0,
        },
        "task `resize` has version 1 in the host and 0 in the worker; \
         build both from the same source",
    );
    check_worker(
        WorkerStartError::Refused {
            message: "the token is wrong".to_owned(),
        },
        "the handshake failed: the token is wrong; \
         see that both sides are the same program, or built from the same source",
    );
}

#[test]
fn failed_state_keeps_its_chain_below_the_message() {
    let cause = std::io::Error::other("disk on fire");
    let error = WorkerStartError::State(RemoteError::from(cause));
    assert!(error.source().is_none());
    check_worker(error, "the worker's state initializer failed: disk on fire");
    check_worker(
        WorkerStartError::InitArgs(codec(CodecValue::InitArgs)),
        "the arguments of the state initializer did not get through: \
         cannot decode the init arguments of type `my::Type` at the worker: why",
    );
}

#[test]
fn worker_lost_at_its_start_says_nothing_of_a_task() {
    let crash = Crash {
        cause: LossCause::Init,
        signal: None,
        code: Some(1),
        stderr_tail: "no codecs\n".to_owned(),
        ..segfault()
    };
    check_worker(
        WorkerStartError::Lost(report(crash, Started::No, 0)),
        "worker 0.3 (pid 4711) was lost: failed before it was ready (code 1) after 1.2s; \
         stderr: \"no codecs\"",
    );
}
