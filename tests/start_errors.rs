//! What a user reads who has made one of the usual mistakes: whole texts, from real processes.
//!
//! Each module is a program of its own as far as workers go: its test `worker_entry` is what runs in the process that a
//! pool starts. Process ids and times are replaced, nothing else is.
#![cfg(unix)]

mod common;

use std::{error::Error, fmt::Display, future::pending, time::Duration};

use actix_multiprocess::{
    Blob, NoError, Pool, PoolBuilder, RemoteError, StartError, Task, TaskContext, TaskError,
    WorkerSpec, WorkerStartError, Workers, worker_entry,
};
use common::run;
use serde::{Deserialize, Serialize};

/// Whether this process is one that a pool has started.
fn is_worker() -> bool {
    std::env::args().any(|argument| argument.starts_with("actix-multiprocess-worker:"))
}

fn start(workers: Workers) -> StartError {
    start_with(workers, |builder| builder)
}

fn start_with(workers: Workers, knobs: impl FnOnce(PoolBuilder) -> PoolBuilder) -> StartError {
    let builder = knobs(Pool::builder(workers).processes(1));
    run(builder.start()).expect_err("it must not start")
}

/// Replaces what differs from run to run: process ids and measured times.
fn normal(text: &str) -> String {
    let mut normal = String::new();
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            normal.push(' ');
        }
        let before = normal.trim_end().rsplit(' ').next();
        let end = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = end.len() < word.len();
        match before {
            Some("(pid") if number => normal.push_str(&format!("PID{end}")),
            Some("after") if number => {
                let end = end.trim_start_matches(|c: char| c.is_alphabetic());
                normal.push_str(&format!("TIME{end}"));
            }
            _ => normal.push_str(word),
        }
    }
    normal
}

#[track_caller]
fn says(error: &impl Display, expected: &str) {
    assert_eq!(normal(&error.to_string()), expected);
}

macro_rules! task {
    ($name:ident $fields:tt, $wire:literal, $version:literal) => {
        #[derive(Clone, Serialize, Deserialize)]
        struct $name $fields

        impl Task for $name {
            const NAME: &'static str = $wire;
            const VERSION: u32 = $version;
            type Output = ();
            type Error = NoError;
            type State = ();

            async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
                pending().await
            }
        }
    };
}

task!(Resize {}, "thumbs.resize", 0);
task!(ResizeAsItWas {}, "thumbs.resize", 3);
task!(Resized {}, "thumbs.resized", 0);

mod init_is_not_reached {
    use super::{Duration, WorkerSpec, is_worker, says, start, start_with};

    /// A program that reads its settings first, and has none in the place where workers start.
    #[test]
    fn worker_entry() {
        if is_worker() {
            eprintln!("Error: no file `settings.toml`");
            std::process::exit(1);
        }
    }

    fn workers() -> super::Workers {
        actix_multiprocess::testing::enter(WorkerSpec::new(), module_path!())
    }

    #[test]
    fn because_the_program_ends_before() {
        let error = start(workers());
        says(
            &error,
            "no worker became ready: the worker ended before it connected, with exit status 1 \
             (is `init()` the first statement of main, and reached?); \
             stderr: \"Error: no file `settings.toml`\"",
        );
        assert_eq!(
            format!("{error:#}"),
            "no worker became ready: the worker ended before it connected, with exit status 1 \
             (is `init()` the first statement of main, and reached?); stderr:\n  \
             | Error: no file `settings.toml`"
        );
    }

    mod because_the_program_goes_on {
        use super::*;

        #[test]
        fn worker_entry() {
            if is_worker() {
                eprintln!("listening on port 8080");
                std::thread::sleep(Duration::from_secs(30));
            }
        }

        #[test]
        fn and_never_calls_it() {
            let workers = actix_multiprocess::testing::enter(WorkerSpec::new(), module_path!());
            let limit = Duration::from_millis(1500);
            says(
                &start_with(workers, |pool| pool.start_timeout(limit)),
                "no worker became ready: the worker was not ready within `start_timeout` (1.5s), \
                 its stage was: connecting (is `init()` the first statement of main, and reached?); \
                 stderr: \"listening on port 8080\"",
            );
        }
    }

    mod because_a_pool_is_started_before_it {
        use super::super::{Pool, run};
        use super::*;

        #[test]
        fn worker_entry() {
            if is_worker() {
                let others = WorkerSpec::named("thumbs").init();
                let error = run(Pool::builder(others).start()).expect_err("a worker");
                eprintln!("Error: {error}");
                std::process::exit(1);
            }
        }

        #[test]
        fn in_a_worker() {
            let workers = actix_multiprocess::testing::enter(WorkerSpec::new(), module_path!());
            says(
                &start(workers),
                "no worker became ready: the worker ended before it connected, with exit status 1 \
                 (is `init()` the first statement of main, and reached?); stderr: \
                 \"Error: this process was started as a worker, but no WorkerSpec of that name was initialised \
                 before a pool was started; call `init()` first in main\"",
            );
        }
    }
}

mod the_state {
    use super::{
        Duration, Error, RemoteError, StartError, WorkerSpec, WorkerStartError, says, start,
        start_with, worker_entry,
    };

    mod fails {
        use super::*;

        worker_entry!(WorkerSpec::new().state(|| async {
            let cause = std::io::Error::other("connection refused");
            Err::<(), _>(RemoteError::from(Database(cause)))
        }));

        #[derive(Debug)]
        struct Database(std::io::Error);

        impl std::fmt::Display for Database {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("no database at `db:5432`")
            }
        }

        impl Error for Database {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }

        #[test]
        fn with_its_typed_cause() {
            let error = start(workers());
            says(
                &error,
                "no worker became ready: the worker's state initializer failed: no database at `db:5432`",
            );
            assert_eq!(
                format!("{error:#}"),
                "no worker became ready: the worker's state initializer failed: \
                 no database at `db:5432`: connection refused"
            );
            assert_eq!(
                error.source().map(ToString::to_string).as_deref(),
                Some("connection refused")
            );
            let StartError::Worker(WorkerStartError::State(remote)) = error else {
                panic!("another error: {error}");
            };
            assert_eq!(remote.kind(), "start_errors::the_state::fails::Database");
            let place = remote.location().expect("a place");
            assert!(place.contains("start_errors.rs:"), "{place}");
        }
    }

    mod panics {
        use super::*;

        worker_entry!(WorkerSpec::new().state(|| async {
            if true {
                panic!("no codecs");
            }
            Ok(())
        }));

        #[test]
        fn and_that_is_a_failure() {
            let error = start(workers());
            says(
                &error,
                "no worker became ready: the worker's state initializer failed: no codecs",
            );
            let StartError::Worker(WorkerStartError::State(remote)) = error else {
                panic!("another error: {error}");
            };
            assert_eq!(remote.kind(), "panic");
        }
    }

    mod takes_too_long {
        use super::*;

        worker_entry!(WorkerSpec::new().state(|| async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(())
        }));

        #[test]
        fn and_the_stage_is_named() {
            says(
                &start_with(workers(), |pool| pool.start_timeout(Duration::from_secs(2))),
                "no worker became ready: the worker was not ready within `start_timeout` (2s), \
                 its stage was: initializing its state; make it faster or raise `start_timeout`",
            );
        }
    }

    mod ends_the_worker {
        use super::*;

        worker_entry!(WorkerSpec::new().state(|| async {
            eprintln!("codecs.c:12: assertion failed");
            if true {
                std::process::abort();
            }
            Ok(())
        }));

        #[test]
        fn and_init_is_not_to_blame() {
            says(
                &start(workers()),
                "no worker became ready: worker 0.0 (pid PID) was lost: killed by SIGABRT (an abort: \
                 a failed assertion in C, a panic while panicking, or `panic = \"abort\"`) after TIME; \
                 stderr: \"codecs.c:12: assertion failed\"",
            );
        }
    }
}

mod the_worker_is_another_program {
    use super::{Resize, ResizeAsItWas, Resized, WorkerSpec, is_worker, says, start, worker_entry};

    mod with_another_version_of_a_task {
        use super::*;

        worker_entry!(if is_worker() {
            WorkerSpec::new().task::<ResizeAsItWas>()
        } else {
            WorkerSpec::new().task::<Resize>()
        });

        #[test]
        fn which_is_named() {
            says(
                &start(workers()),
                "no worker became ready: task `thumbs.resize` has version 0 in the host and 3 in the worker; \
                 build both from the same source",
            );
        }
    }

    mod without_a_task {
        use super::*;

        worker_entry!(if is_worker() {
            WorkerSpec::new().task::<Resized>()
        } else {
            WorkerSpec::new().task::<Resize>().task::<Resized>()
        });

        #[test]
        fn which_is_named() {
            says(
                &start(workers()),
                "no worker became ready: the worker's program lacks task `thumbs.resize`; \
                 call `.task::<..>()` with its type there, or build both from the same source; \
                 did you mean `thumbs.resized`?",
            );
        }
    }

    mod with_more_tasks {
        use super::super::{Pool, run};
        use super::*;

        worker_entry!(if is_worker() {
            WorkerSpec::new().task::<Resize>().task::<Resized>()
        } else {
            WorkerSpec::new().task::<Resized>()
        });

        #[test]
        fn is_good_enough() {
            run(async {
                let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
                pool.stop().await;
            });
        }
    }
}

#[test]
fn without_an_arbiter_start_names_the_alternatives() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let started = runtime.block_on(Pool::builder(WorkerSpec::new().init()).start());
    says(
        &started.expect_err("there is no arbiter"),
        "`start()` needs the current thread to run an actix System or Arbiter; \
         use `start_on(..)`, or `own_arbiter()` from plain tokio",
    );
}

#[test]
fn a_place_for_sockets_that_is_not_there_is_named() {
    says(
        &start_with(WorkerSpec::new().init(), |pool| {
            pool.socket_dir("/nonexistent")
        }),
        "no place for the local sockets of the workers: below /nonexistent: No such file or directory (os error 2); \
         name a writable directory with a short path, or set XDG_RUNTIME_DIR or TMPDIR to one",
    );
}

#[test]
fn arguments_of_the_initializer_that_are_too_large_are_told_the_limit() {
    let spec = WorkerSpec::new().state_with(|_: Vec<u8>| async { Ok::<_, RemoteError>(()) });
    let pool = Pool::builder(spec.init())
        .max_frame_bytes(256 * 1024)
        .init_args(vec![7; 300_000]);
    says(
        &run(pool.start()).expect_err("it must not start"),
        "no worker became ready: the arguments of the state initializer did not get through: cannot encode the init \
         arguments of type `alloc::vec::Vec<u8>` at the host: it takes 300003 bytes, over the 262144 of `max_frame_bytes`",
    );
}

/// Mistakes that only show when a task is submitted.
mod a_task {
    use super::{
        Blob, Deserialize, Display, Pool, PoolBuilder, RemoteError, Resize, Resized, Serialize,
        Task, TaskContext, TaskError, WorkerSpec, normal, run, worker_entry,
    };

    /// `flatten` makes a map of it whose length nobody knows.
    #[derive(Serialize, Deserialize)]
    struct Flat {
        width: u32,
        #[serde(flatten)]
        rest: Rest,
    }

    #[derive(Serialize, Deserialize)]
    struct Rest {
        height: u32,
    }

    /// Leaves a field out, which only its reader notices.
    #[derive(Debug, Serialize, Deserialize)]
    struct Skipped {
        #[serde(skip_serializing_if = "Option::is_none")]
        width: Option<u32>,
    }

    impl Task for Flat {
        const NAME: &'static str = "flat";
        type Output = Skipped;
        type Error = RemoteError;
        type State = ();

        async fn run(self, _: TaskContext<()>) -> Result<Skipped, RemoteError> {
            Ok(Skipped { width: None })
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Make(usize);

    impl Task for Make {
        const NAME: &'static str = "make";
        type Output = Blob;
        type Error = RemoteError;
        type State = ();

        async fn run(self, _: TaskContext<()>) -> Result<Blob, RemoteError> {
            Ok(vec![0; self.0].into())
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Skip;

    impl Task for Skip {
        const NAME: &'static str = "skip";
        type Output = Skipped;
        type Error = RemoteError;
        type State = ();

        async fn run(self, _: TaskContext<()>) -> Result<Skipped, RemoteError> {
            Ok(Skipped { width: None })
        }
    }

    worker_entry!(
        WorkerSpec::new()
            .task::<Resize>()
            .task::<Flat>()
            .task::<Skip>()
            .task::<Make>()
    );

    fn with_pool<E: Display>(
        knobs: impl FnOnce(PoolBuilder) -> PoolBuilder,
        fails: impl AsyncFnOnce(&Pool) -> TaskError<E>,
    ) -> (bool, String)
    where
        TaskError<E>: Display,
    {
        run(async {
            let builder = knobs(Pool::builder(workers()).processes(1));
            let pool = builder.start().await.expect("a pool");
            let error = fails(&pool).await;
            pool.stop().await;
            (error.never_ran(), normal(&error.to_string()))
        })
    }

    #[test]
    fn that_is_not_registered_is_told_from_its_neighbours() {
        let (never_ran, text) = with_pool(
            |pool| pool,
            async |pool| pool.submit(Resized {}).await.expect_err("unknown"),
        );
        assert_eq!(
            text,
            "task `thumbs.resized` is not registered in the `WorkerSpec`; \
             call `.task::<..>()` with its type before `.init()`; did you mean `thumbs.resize`?"
        );
        assert!(never_ran);
    }

    #[test]
    fn that_finds_the_queue_full_is_told_the_limit() {
        let (never_ran, text) = with_pool(
            |pool| pool.concurrency(1).queue_limit(2),
            async |pool| {
                let _waiting = [(); 3].map(|()| pool.submit(Resize {}));
                pool.submit(Resize {}).await.expect_err("full")
            },
        );
        assert_eq!(
            text,
            "the queue is full: 2 of 2 tasks wait; submit later, set `when_full` to wait, or raise `queue_limit`"
        );
        assert!(never_ran);
    }

    #[test]
    fn that_is_too_large_is_told_the_limit() {
        let (never_ran, text) = with_pool(
            |pool| pool.max_frame_bytes(256 * 1024),
            async |pool| {
                #[derive(Serialize, Deserialize)]
                struct Large(Blob);

                impl Task for Large {
                    const NAME: &'static str = "make";
                    type Output = ();
                    type Error = RemoteError;
                    type State = ();

                    async fn run(self, _: TaskContext<()>) -> Result<(), RemoteError> {
                        Ok(())
                    }
                }

                let large = Large(vec![0; 256 * 1024].into());
                pool.submit(large).await.expect_err("too large")
            },
        );
        assert_eq!(
            text,
            "the task takes 262146 bytes, over the 262144 of `max_frame_bytes`; \
             pass a large file as its path, or raise `max_frame_bytes`"
        );
        assert!(never_ran);
    }

    #[test]
    fn whose_output_is_too_large_fails_alone() {
        let (never_ran, text) = with_pool(
            |pool| pool.max_frame_bytes(256 * 1024),
            async |pool| pool.submit(Make(256 * 1024)).await.expect_err("too large"),
        );
        assert_eq!(
            text,
            "cannot encode the output of type `actix_multiprocess::wire::blob::Blob` at the worker: \
             it takes 262146 bytes, over the 262144 of `max_frame_bytes`"
        );
        assert!(!never_ran);
    }

    #[test]
    fn with_an_attribute_that_postcard_cannot_carry_is_told_which() {
        let (never_ran, text) = with_pool(
            |pool| pool,
            async |pool| {
                let flat = Flat {
                    width: 1,
                    rest: Rest { height: 2 },
                };
                pool.submit(flat).await.expect_err("no length")
            },
        );
        assert_eq!(
            text,
            "cannot encode the input of type `start_errors::a_task::Flat` at the host: \
             it serializes a map or sequence of unknown length; postcard is not self-describing: \
             #[serde(flatten)], #[serde(untagged)], #[serde(tag = ..)], #[serde(skip_serializing_if = ..)] and \
             serde_json::Value do not work, wrap the value in Json<T>"
        );
        assert!(never_ran);
    }

    #[test]
    #[cfg(debug_assertions)]
    fn whose_output_leaves_a_field_out_is_told_so_where_it_was_made() {
        let (never_ran, text) = with_pool(
            |pool| pool,
            async |pool| pool.submit(Skip).await.expect_err("a field is missing"),
        );
        assert_eq!(
            text,
            "cannot encode the output of type `start_errors::a_task::Skipped` at the worker: \
             its bytes do not decode again: the bytes end too early; postcard is not self-describing: \
             #[serde(flatten)], #[serde(untagged)], #[serde(tag = ..)], #[serde(skip_serializing_if = ..)] and \
             serde_json::Value do not work, wrap the value in Json<T>"
        );
        assert!(!never_ran);
    }
}
