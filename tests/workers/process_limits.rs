//! What worker processes may take of their machine: set before anything of the program's runs, or named when it cannot be.
#![cfg(target_os = "linux")]

use crate::common;

use std::{fs, time::Duration};

use actix_multiprocess::{
    Affinity, Launcher, LossCause, NoError, Pool, PoolBuilder, ProcessLimits, StartError, Task,
    TaskContext, TaskError, WorkerSpec, WorkerStartError, worker_entry,
};
use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

worker_entry!(WorkerSpec::new().task::<Look>().task::<Hog>());

/// What a worker finds of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Look;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    nice: i64,
    cpus: String,
    parallelism: usize,
    oom_score_adj: i64,
    /// Of addresses, core files, CPU seconds, files, descriptors, processes: now and at most.
    limits: Vec<(u64, u64)>,
    /// Niceness of all its threads but the first, which is the test harness's here.
    threads: Vec<i64>,
}

/// The 19th number of a `stat` file.
fn nice(stat: &str) -> i64 {
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let nice = rest.split_whitespace().nth(16).expect("a niceness");
    nice.parse().expect("a number")
}

impl Task for Look {
    const NAME: &'static str = "look";
    type Output = Seen;
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<Seen, NoError> {
        let read = |path: &str| fs::read_to_string(path).expect(path);
        let status = read("/proc/thread-self/status");
        let cpus = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let threads = fs::read_dir("/proc/self/task").expect("threads").flatten();
        let limits = [
            Resource::RLIMIT_AS,
            Resource::RLIMIT_CORE,
            Resource::RLIMIT_CPU,
            Resource::RLIMIT_FSIZE,
            Resource::RLIMIT_NOFILE,
            Resource::RLIMIT_NPROC,
        ];
        Ok(Seen {
            nice: nice(&read("/proc/thread-self/stat")),
            cpus: cpus.expect("CPUs").trim().to_owned(),
            parallelism: std::thread::available_parallelism().expect("CPUs").get(),
            oom_score_adj: read("/proc/self/oom_score_adj")
                .trim()
                .parse()
                .expect("a number"),
            limits: limits
                .map(|resource| getrlimit(resource).expect("a limit"))
                .to_vec(),
            threads: threads
                .filter(|thread| *thread.file_name() != *std::process::id().to_string())
                .map(|thread| nice(&fs::read_to_string(thread.path().join("stat")).expect("stat")))
                .collect(),
        })
    }
}

/// Takes so many bytes at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hog(usize);

impl Task for Hog {
    const NAME: &'static str = "hog";
    type Output = usize;
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<usize, NoError> {
        Ok(std::hint::black_box(vec![1_u8; self.0]).len())
    }
}

fn builder(limits: ProcessLimits) -> PoolBuilder {
    Pool::builder(workers()).processes(1).limits(limits)
}

async fn look(limits: ProcessLimits) -> Seen {
    let pool = builder(limits).start().await.unwrap();
    pool.submit(Look).await.unwrap()
}

#[test]
fn workers_take_no_more_than_they_may() {
    common::run(async {
        let before = look(ProcessLimits::default()).await;
        let limits = ProcessLimits::default()
            .nice(3)
            .affinity(Affinity::Spread)
            .oom_score_adj(321)
            .address_space(6 << 30)
            .core_file(0)
            .cpu_time(Duration::from_millis(59_001))
            .file_size(1 << 20)
            .open_files(100)
            .processes(5000);
        let seen = look(limits).await;
        assert_eq!(seen.nice, before.nice + 3);
        assert!(
            seen.threads.iter().all(|nice| *nice == seen.nice),
            "{seen:?}"
        );
        assert_eq!(seen.oom_score_adj, 321);
        let limits = [6 << 30, 0, 60, 1 << 20, 100, 5000];
        assert_eq!(seen.limits, limits.map(|limit| (limit, limit)));
        assert_eq!(seen.parallelism, 1, "{seen:?}");
        assert!(seen.cpus.parse::<u16>().is_ok(), "{seen:?}");
        let last = before.cpus.rsplit([',', '-']).next().unwrap();
        let bound = ProcessLimits::default().affinity(Affinity::Cpus(vec![last.parse().unwrap()]));
        assert_eq!(look(bound).await.cpus, last);
        // Whoever is told nothing has what its host has.
        assert_eq!(look(ProcessLimits::default()).await, before);
    });
}

#[test]
fn workers_of_two_slots_have_a_cpu_each() {
    common::run(async {
        let pool = builder(ProcessLimits::default().affinity(Affinity::Spread)).processes(2);
        let pool = pool.concurrency(1).wait_all().start().await.unwrap();
        let both = [(); 2].map(|()| pool.submit(Look));
        let [one, two] = both;
        let (one, two) = (one.await.unwrap(), two.await.unwrap());
        if std::thread::available_parallelism().unwrap().get() > 1 {
            assert_ne!(one.cpus, two.cpus);
        }
    });
}

#[test]
fn a_limit_that_cannot_be_set_fails_the_start_and_is_named() {
    common::run(async {
        let none = ProcessLimits::default().affinity(Affinity::Cpus(vec![1023]));
        let error = builder(none).start().await.unwrap_err();
        assert!(
            matches!(error, StartError::Worker(WorkerStartError::State(_))),
            "{error:?}"
        );
        let text = format!("{error:#}");
        assert!(text.contains("affinity to CPUs [1023]"), "{text}");
        assert!(text.contains("Invalid argument"), "{text}");
    });
}

#[test]
fn a_task_that_wants_more_addresses_than_its_worker_may_have_ends_that_alone() {
    common::run(async {
        let limits = ProcessLimits::default().address_space(2 << 30).core_file(0);
        // Or its end would be all there is room for.
        let launcher = Launcher::own_image().env_remove("RUST_BACKTRACE");
        let pool = builder(limits).launcher(launcher).start().await.unwrap();
        assert_eq!(pool.submit(Hog(10 << 20)).await.unwrap(), 10 << 20);
        match pool.submit(Hog(3 << 30)).await {
            Err(TaskError::WorkerLost(report)) => {
                assert_eq!(report.cause(), &LossCause::Signal);
                assert_eq!(
                    (report.signal_name(), report.suspects()),
                    (Some("SIGABRT"), 1)
                );
                let said = report.stderr_tail();
                assert!(
                    said.contains("allocation of 3221225472 bytes failed"),
                    "{said}"
                );
                assert_eq!(report.tasks_done(), 1);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.submit(Hog(10 << 20)).await.unwrap(), 10 << 20);
    });
}
