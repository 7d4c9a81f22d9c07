//! Workers with a runtime of their user's.
#![cfg(target_os = "linux")]

use actix_multiprocess::{
    Launcher, Pool, StartError, WorkerSpec, WorkerStartError, Workers, testing::assert_clean,
    worker_entry,
};
use tokio::runtime::{Builder, Runtime};

use crate::process_support::{run, task};

task! {
    /// The names of a blocking thread, of the task's own, and of one of a spawned future.
    Threads {} -> [Option<String>; 3], |_this, cx| {
        let name = || std::thread::current().name().map(str::to_owned);
        let own = name();
        let spawned = tokio::spawn(async move { name() }).await.expect("an answer");
        [cx.block(name).await, own, spawned]
    }
}

fn small() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().thread_name("painter").build();
    runtime.expect("a runtime")
}

worker_entry!(WorkerSpec::new().runtime(small).task::<Threads>());

mod several {
    use super::*;

    fn large() -> Runtime {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(1)
            .thread_name("helper")
            .enable_all()
            .build();
        runtime.expect("a runtime")
    }

    worker_entry!(
        WorkerSpec::named("several")
            .runtime(large)
            .task::<Threads>()
    );

    pub(super) fn of_several() -> Workers {
        workers()
    }
}

mod none {
    use super::*;

    worker_entry!(WorkerSpec::named("none").runtime(|| panic!("no room for a runtime")));

    pub(super) fn without() -> Workers {
        workers()
    }
}

mod still {
    use super::*;

    fn useless() -> Runtime {
        let mut builder = Builder::new_current_thread();
        let runtime = match std::env::var("HAS").as_deref() {
            Ok("io") => builder.enable_io().build(),
            Ok("time") => builder.enable_time().build(),
            _ => builder.build(),
        };
        runtime.expect("a runtime")
    }

    worker_entry!(WorkerSpec::named("still").runtime(useless));

    pub(super) fn useless_ones() -> Workers {
        workers()
    }
}

async fn threads(workers: Workers) -> [Option<String>; 3] {
    let pool = Pool::builder(workers)
        .processes(1)
        .start()
        .await
        .expect("a pool");
    let threads = pool.submit(Threads {}).await.expect("an answer");
    assert_clean(&pool);
    pool.stop().await;
    threads
}

#[test]
fn tasks_run_on_the_runtime_that_the_spec_makes() {
    run(async {
        let [blocking, own, spawned] = threads(workers()).await;
        assert_eq!(blocking.as_deref(), Some("painter"));
        assert_ne!(own.as_deref(), Some("painter"));
        assert_eq!(own, spawned);
    });
}

#[test]
fn tasks_stay_on_one_thread_of_a_runtime_that_has_several() {
    run(async {
        let [blocking, own, spawned] = threads(several::of_several()).await;
        assert_eq!(blocking.as_deref(), Some("helper"));
        assert_ne!(own.as_deref(), Some("helper"));
        assert_eq!(spawned.as_deref(), Some("helper"));
    });
}

#[test]
fn a_runtime_that_cannot_be_made_is_a_failed_start() {
    run(async {
        let started = Pool::builder(none::without()).processes(1).start().await;
        let Err(StartError::Worker(WorkerStartError::State(error))) = started else {
            panic!("{started:?}");
        };
        assert_eq!(error.message(), "no room for a runtime");
    });
}

#[test]
fn a_runtime_without_io_or_time_is_a_failed_start_that_says_so() {
    run(async {
        for (has, lacks) in [
            ("io", "enable_time"),
            ("time", "enable_io"),
            ("none", "enable_"),
        ] {
            let started = Pool::builder(still::useless_ones())
                .processes(1)
                .launcher(Launcher::own_image().env("HAS", has))
                .start()
                .await;
            let Err(StartError::Worker(WorkerStartError::State(error))) = started else {
                panic!("{started:?}");
            };
            assert!(error.message().contains(lacks), "{error}");
        }
    });
}
