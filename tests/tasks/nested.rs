//! A pool inside a worker.
#![cfg(target_os = "linux")]

use std::{
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::common::{self, Act, End, has, put, seen};
use actix_multiprocess::{
    ConfigError, Launcher, NoError, Pool, PoolBuilder, Process, RemoteError, StartError, Submit,
    Task, TaskContext, TaskError, TimeoutEnd, TimeoutStage, WorkerSpec,
    testing::{assert_clean, in_process},
    worker_entry,
};
use serde::{Deserialize, Serialize};

fn spec() -> WorkerSpec<String, String> {
    WorkerSpec::new()
        .state_with(|made_from: String| async { Ok(made_from) })
        .task::<Act>()
        .task::<Who>()
        .task::<Inside>()
        .task::<Sizes>()
        .task::<Deeper>()
        .task::<Left>()
        .task::<Spawns>()
}

worker_entry!(spec(), String);

const MS: Duration = Duration::from_millis(1);

fn one_worker() -> PoolBuilder {
    Pool::builder(workers())
        .init_args("leaf".to_owned())
        .processes(1)
}

/// What a worker knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    pid: u32,
    parent: u32,
    state: String,
    threads: Option<String>,
    user_set: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Who;

impl Task for Who {
    const NAME: &'static str = "who";
    type Output = Known;
    type Error = NoError;
    type State = Rc<String>;
    async fn run(self, cx: TaskContext<Rc<String>>) -> Result<Known, NoError> {
        Ok(Known {
            pid: std::process::id(),
            parent: std::os::unix::process::parent_id(),
            state: String::clone(cx.state()),
            threads: std::env::var("VECLIB_MAXIMUM_THREADS").ok(),
            user_set: std::env::var("OMP_NUM_THREADS").ok(),
        })
    }
}

/// Asks a worker of a pool of its own; returns that one's answer and how many workers that pool had.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sizes(Option<usize>);

impl Task for Sizes {
    const NAME: &'static str = "sizes";
    type Output = (Known, usize);
    type Error = RemoteError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<(Known, usize), RemoteError> {
        let mut pool = Pool::builder(cx.workers());
        if let Some(processes) = self.0 {
            pool = pool.processes(processes);
        }
        let pool = pool.start().await?;
        let known = pool.submit(Who).await?;
        let workers = pool.status().await.slots.len();
        pool.stop().await;
        Ok((known, workers))
    }
}

/// Runs a task in a pool of its own, with its own limit; returns how that ended, in words.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Inside(Act, Option<Duration>);

impl Task for Inside {
    const NAME: &'static str = "inside";
    type Output = String;
    type Error = RemoteError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<String, RemoteError> {
        let pool = Pool::builder(cx.workers()).processes(1).start().await?;
        let pid = pool.status().await.slots[0].pid.unwrap_or_default();
        std::fs::write(self.0.dir.join("pid"), pid.to_string())?;
        let mut submit = Submit::new(self.0);
        if let Some(limit) = self.1 {
            submit = submit.timeout(limit);
        }
        match pool.submit(submit).await {
            Ok(said) => Ok(said),
            Err(TaskError::TimedOut(over)) => {
                let (stage, ended) = (over.stage, over.ended);
                // The task itself is about to be ended for the same reason.
                let ended = ended != TimeoutEnd::NeverStarted;
                Ok(format!("{} {ended}", stage == TimeoutStage::Deadline))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a task of its own pool has left of its time, which may have a limit of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Left(Option<Duration>, bool);

impl Task for Left {
    const NAME: &'static str = "left";
    type Output = Option<Duration>;
    type Error = RemoteError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<Option<Duration>, RemoteError> {
        if !self.1 {
            return Ok(cx.remaining());
        }
        let pool = Pool::builder(cx.workers()).processes(1).start().await?;
        let submit = Submit::new(Left(None, false));
        let submit = match self.0 {
            Some(own) => submit.timeout(own),
            None => submit,
        };
        Ok(pool.submit(submit).await?)
    }
}

/// Starts a pool in a worker of a pool in a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Deeper(bool);

impl Task for Deeper {
    const NAME: &'static str = "deeper";
    type Output = u32;
    type Error = RemoteError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<u32, RemoteError> {
        let started = Pool::builder(cx.workers()).processes(1).start().await;
        match started {
            Ok(pool) if self.0 => Ok(pool.submit(Deeper(false)).await?),
            Err(StartError::Config(ConfigError::TooDeep { levels })) => Ok(levels),
            other => Err(RemoteError::new("other", format!("{other:?}"))),
        }
    }
}

/// Runs a task in a process of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Spawns;

impl Task for Spawns {
    const NAME: &'static str = "spawns";
    type Output = Known;
    type Error = RemoteError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<Known, RemoteError> {
        Ok(Process::builder(&cx.workers()).spawn(Who)?.await?)
    }
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// The worker that a task `Inside` has started.
fn inner(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("pid")).expect("its process id")
}

#[test]
fn a_task_has_a_pool_of_its_own_of_its_own_kind() {
    common::run(async {
        let pool = one_worker().start().await.expect("a pool");
        let outer = pool.submit(Who).await.expect("an answer");
        let (inner, workers) = pool.submit(Sizes(Some(3))).await.expect("an answer");
        assert_eq!((inner.parent, workers), (outer.pid, 3));
        assert_ne!(inner.pid, outer.pid);
        // Its state was made in the same way, from the same arguments.
        assert_eq!(inner.state, "leaf");
        let alone = pool.submit(Spawns).await.expect("an answer");
        assert_eq!((alone.parent, alone.state.as_str()), (outer.pid, "leaf"));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn pools_are_two_levels_deep_and_no_more() {
    common::run(async {
        let pool = one_worker().start().await.expect("a pool");
        assert_eq!(pool.submit(Deeper(true)).await.expect("an answer"), 2);
        pool.stop().await;
    });
}

#[test]
fn cpus_of_a_worker_are_shared_out_among_its_own() {
    common::run(async {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        for outer in [1, 2, cpus] {
            let share = (cpus / outer).max(1);
            let launcher = Launcher::own_image().env("OMP_NUM_THREADS", "7");
            let pool = one_worker()
                .processes(outer)
                .launcher(launcher)
                .start()
                .await
                .expect("a pool");
            let known = pool.submit(Who).await.expect("an answer");
            assert_eq!(known.threads, Some(share.to_string()));
            // By default as many as there are CPUs for them.
            let (known, workers) = pool.submit(Sizes(None)).await.expect("an answer");
            assert_eq!((known.threads.as_deref(), workers), (Some("1"), share));
            let (known, _) = pool.submit(Sizes(Some(1))).await.expect("an answer");
            assert_eq!(known.threads, Some(share.to_string()));
            // The user's own word goes down as it is.
            assert_eq!(known.user_set.as_deref(), Some("7"));
            pool.stop().await;
        }
    });
}

#[test]
fn what_is_submitted_in_a_worker_has_the_time_of_its_task() {
    common::run(async {
        let pool = one_worker().start().await.expect("a pool");
        let left = async |submit: Submit<Left>| pool.submit(submit).await.expect("an answer");
        let (short, long) = (Duration::from_secs(50), Duration::from_secs(500));
        let of = |own| Submit::new(Left(own, true));
        let is = |left: Option<Duration>, limit: Duration| {
            assert!(
                left.is_some_and(|left| left <= limit && left > limit / 2),
                "{left:?}"
            );
        };
        assert_eq!(left(of(None)).await, None);
        is(left(of(None).timeout(short)).await, short);
        is(left(of(Some(long)).timeout(short)).await, short);
        is(left(of(Some(Duration::MAX)).timeout(short)).await, short);
        is(left(of(Some(short)).timeout(long)).await, short);
        // The time to run counts as well, for whichever ends first.
        is(left(of(None).run_timeout(short)).await, short);
        is(left(of(None).run_timeout(short).timeout(long)).await, short);
        pool.stop().await;
    });
}

#[test]
fn what_runs_in_a_worker_ends_with_its_task() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        // A task that does not end by itself, with a longer limit of its own and with none.
        for (name, limit) in [("none", None), ("longer", Some(Duration::MAX))] {
            let inside = Inside(Act::new(dir.path(), name, End::Wait), limit);
            let settled = pool.submit(Submit::new(inside).timeout(1500 * MS)).await;
            // Both times end at one moment: it may be told of the inner one just before its own.
            match settled {
                Ok(said) => assert_eq!(said, "true true"),
                Err(TaskError::TimedOut(over)) => assert_eq!(over.stage, TimeoutStage::Deadline),
                Err(error) => panic!("{error:?}"),
            }
            seen(dir.path(), name, "dropped").await;
        }
        let inside = Inside(Act::new(dir.path(), "run", End::Spin), None);
        let settled = pool
            .submit(Submit::new(inside).run_timeout(1000 * MS))
            .await;
        // It has what is left of its grace to say what it heard.
        match settled {
            Ok(said) => assert_eq!(said, "true true"),
            Err(TaskError::TimedOut(over)) => assert_eq!(over.stage, TimeoutStage::Running),
            Err(error) => panic!("{error:?}"),
        }
        // A shorter one of its own is its own.
        let inside = Inside(Act::new(dir.path(), "own", End::Wait), Some(100 * MS));
        let inside = Submit::new(inside).timeout(Duration::from_secs(30));
        assert_eq!(pool.submit(inside).await.expect("an answer"), "true true");
        pool.stop().await;
    });
}

#[test]
fn a_task_that_is_cancelled_ends_what_it_has_submitted_and_its_pool() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let inside = pool.submit(Inside(Act::new(dir.path(), "a", End::Wait), None));
        seen(dir.path(), "a", "started").await;
        let pid = inner(dir.path());
        assert!(is_alive(&pid));
        drop(inside);
        seen(dir.path(), "a", "dropped").await;
        common::eventually("its worker has gone", || async { !is_alive(&pid) }).await;
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn workers_of_a_worker_that_dies_go_within_their_grace() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let inside = pool.submit(Inside(Act::new(dir.path(), "a", End::Spin), None));
        seen(dir.path(), "a", "started").await;
        let pid = inner(dir.path());
        let slot = pool.status().await.slots[0].slot;
        pool.kill(slot).await;
        assert!(inside.await.is_err());
        let began = Instant::now();
        common::eventually("its worker has gone", || async { !is_alive(&pid) }).await;
        // The default grace of 3 s.
        assert!(began.elapsed() < 5000 * MS, "{:?}", began.elapsed());
        pool.stop().await;
    });
}

#[test]
fn a_worker_without_a_process_has_workers_without_processes() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = Pool::builder(in_process(spec()))
            .init_args("local".to_owned())
            .processes(1)
            .start()
            .await
            .expect("a pool");
        let (inner, workers) = pool.submit(Sizes(Some(2))).await.expect("an answer");
        assert_eq!((inner.state.as_str(), workers), ("local", 2));
        assert_eq!(inner.pid, std::process::id());
        assert_eq!(pool.submit(Deeper(true)).await.expect("an answer"), 2);
        let act = Act::new(dir.path(), "a", End::Ok);
        put(dir.path(), "a", "go");
        let said = pool.submit(Inside(act, None)).await;
        assert!(said.is_ok() && has(dir.path(), "a", "started"), "{said:?}");
        pool.stop().await;
    });
}
