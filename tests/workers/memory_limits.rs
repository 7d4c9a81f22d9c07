//! What workers may have in memory: one that has too much is replaced, or killed with that cause.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::common::{self, event, events, has, put, seen};
use actix_multiprocess::{
    CrashReport, Launcher, LossCause, NoError, Pool, PoolBuilder, PoolEvent, Restart, RetireReason,
    Retry, Started, Submit, Task, TaskContext, TaskError, WorkerSpec, worker_entry,
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

worker_entry!(
    WorkerSpec::new()
        .task::<Grow>()
        .task::<Leak>()
        .task::<Keep>()
);

const MS: Duration = Duration::from_millis(1);
const MIB: u64 = 1 << 20;
const MIBS: usize = 1 << 20;

/// What a process has in memory, in bytes.
fn resident(pid: &str) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn own_resident() -> u64 {
    resident("self").expect("/proc")
}

/// So many MiB that are really there.
fn block(mib: usize) -> Vec<u8> {
    std::hint::black_box(vec![1; mib << 20])
}

/// Takes so many MiB a second until it has so many, and says in a file what its worker has.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Grow {
    dir: PathBuf,
    per_second: u64,
    most: u64,
}

impl Task for Grow {
    const NAME: &'static str = "grow";
    type Output = u32;
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<u32, NoError> {
        put(&self.dir, &format!("run {}", cx.attempt()), "started");
        let mut said = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("resident"))
            .expect("a file");
        let (began, mut blocks) = (Instant::now(), Vec::new());
        while (blocks.len() as u64) < self.most {
            let due = began.elapsed().as_millis() as u64 * self.per_second / 1000;
            while (blocks.len() as u64) < due.min(self.most) {
                blocks.push(block(1));
                // Killed in the middle of it, it has written the lines before.
                let line = format!("{}\n", own_resident());
                said.write_all(line.as_bytes()).expect("a file");
            }
            tokio::time::sleep(MS).await;
        }
        Ok(cx.attempt())
    }
}

/// Loses so many MiB, and returns what its worker has then.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Leak(usize);

impl Task for Leak {
    const NAME: &'static str = "leak";
    type Output = u64;
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<u64, NoError> {
        block(self.0).leak();
        Ok(own_resident())
    }
}

/// Has so many MiB until it is told to go. Returns which attempt it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Keep {
    dir: PathBuf,
    name: String,
    mib: usize,
}

impl Keep {
    fn new(dir: &Path, name: &str, mib: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
            mib,
        }
    }
}

impl Task for Keep {
    const NAME: &'static str = "keep";
    type Output = u32;
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<u32, NoError> {
        let kept = block(self.mib);
        put(&self.dir, &self.name, "started");
        while !has(&self.dir, &self.name, "go") {
            tokio::time::sleep(MS).await;
        }
        drop(kept);
        Ok(cx.attempt())
    }
}

fn builder(processes: usize) -> PoolBuilder {
    Pool::builder(workers())
        .processes(processes)
        .concurrency(1)
        .restart(Restart::default().budget(None).backoff(MS, 20 * MS))
        .retry(Retry::default().backoff(MS, 20 * MS))
}

#[track_caller]
fn lost<T: std::fmt::Debug>(settled: Result<T, TaskError<NoError>>) -> CrashReport {
    match settled {
        Err(TaskError::WorkerLost(report)) => report,
        other => panic!("not lost: {other:?}"),
    }
}

#[test]
fn a_task_that_grows_by_200_mib_a_second_dies_before_it_has_100_more_than_it_may() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(1).memory_hard(100 * MIBS).start().await.unwrap();
        let grow = Grow {
            dir: dir.path().to_owned(),
            per_second: 200,
            most: 1000,
        };
        let report = lost(pool.submit(grow).await);
        assert_eq!(report.cause(), &LossCause::Memory);
        assert_eq!((report.started(), report.suspects()), (Started::Yes, 1));
        let detail = report.detail().unwrap();
        assert!(
            detail.contains("over `memory_hard` (100.0 MiB)"),
            "{detail}"
        );
        assert!(report.rss().unwrap() >= 100 * MIBS, "{report}");
        assert!(report.cpu_time().unwrap() > Duration::ZERO);
        let said = fs::read_to_string(dir.path().join("resident")).unwrap();
        let (lines, _) = said.rsplit_once('\n').unwrap();
        let most: u64 = lines.lines().last().unwrap().parse().unwrap();
        assert!((100 * MIB..200 * MIB).contains(&most), "{}", most / MIB);
        // The next worker starts with nothing.
        assert!(pool.submit(Leak(1)).await.unwrap() < 50 * MIB);
    });
}

/// What these processes have together, at most, until it is told to stop. Other tests have some, too.
fn watch(
    pids: Arc<Mutex<Vec<u32>>>,
    over: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            let pids = pids.lock().expect("no panic").clone();
            let residents = pids.iter().filter_map(|pid| resident(&pid.to_string()));
            most.fetch_max(residents.sum(), Ordering::Relaxed);
            std::thread::sleep(MS);
        }
    })
}

#[test]
fn a_leak_of_1_mib_a_task_keeps_the_pool_under_its_limit_and_one_task() {
    common::run(async {
        const SOFT: u64 = 64 * MIB;
        // What an allocator and a page more or less may come to.
        const SLACK: u64 = 2 * MIB;
        let pool = builder(1).memory_soft(64 * MIBS).start().await.unwrap();
        let mut events = events(&pool).await;
        pool.submit(Leak(0)).await.unwrap();
        let (over, total) = (Arc::default(), Arc::default());
        let first = pool.status().await.slots[0].pid.unwrap();
        let pids = Arc::new(Mutex::new(vec![first]));
        let watching = watch(Arc::clone(&pids), Arc::clone(&over), Arc::clone(&total));
        let (mut most, mut tasks, mut replaced) = (0, 0, 0);
        let mut happened = |event| match event {
            PoolEvent::WorkerStarting { worker } => pids.lock().unwrap().push(worker.pid),
            PoolEvent::WorkerRetired { reason, worker, .. } => {
                assert_eq!(reason, RetireReason::Memory);
                pids.lock().unwrap().retain(|pid| *pid != worker.pid);
                replaced += 1;
            }
            PoolEvent::WorkerLost { report, .. } => panic!("{report}"),
            _ => {}
        };
        let mut leaks = pool.map((0..10_000).map(|_| Leak(1)));
        while let Some(leak) = leaks.next().await {
            most = most.max(leak.unwrap());
            tasks += 1;
            while let Ok(event) = events.try_recv() {
                happened(event);
            }
        }
        over.store(true, Ordering::Relaxed);
        watching.join().unwrap();
        let total = total.load(Ordering::Relaxed);
        assert_eq!(tasks, 10_000);
        assert!(most > SOFT, "never there: {}", most / MIB);
        assert!(most < SOFT + MIB + SLACK, "{}", most / MIB);
        // The next one comes when it has gone.
        assert!(total < SOFT + MIB + SLACK, "{}", total / MIB);
        assert!(replaced >= 10_000 / 64, "{replaced}");
        assert_eq!(pool.status().await.counts.done, 10_001);
    });
}

#[test]
fn a_worker_without_tasks_is_replaced_and_not_killed() {
    common::run(async {
        let pool = builder(1).memory_hard(40 * MIBS).start().await.unwrap();
        let mut events = events(&pool).await;
        // Over before anybody has looked.
        assert!(pool.submit(Leak(60)).await.unwrap() > 60 * MIB);
        let reason = event(&mut events, |event| match event {
            PoolEvent::WorkerLost { report, .. } => panic!("{report}"),
            PoolEvent::WorkerRetired { reason, .. } => Some(*reason),
            _ => None,
        });
        assert_eq!(reason.await, RetireReason::Memory);
        assert!(pool.submit(Leak(1)).await.unwrap() < 40 * MIB);
    });
}

#[test]
fn a_task_that_takes_too_much_each_time_runs_twice_and_other_losses_are_counted_apart() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(1)
            .memory_hard(60 * MIBS)
            .max_attempts(1)
            .start()
            .await
            .unwrap();
        let grow = Grow {
            dir: dir.path().to_owned(),
            per_second: 1000,
            most: 1000,
        };
        let report = lost(pool.submit(Submit::new(grow.clone()).idempotent()).await);
        assert_eq!(report.cause(), &LossCause::Memory);
        assert!(report.poisoned(), "{report}");
        assert_eq!(report.suspects(), 1);
        assert!(has(dir.path(), "run 2", "started"));
        assert!(!has(dir.path(), "run 3", "started"));
        drop(pool);
        // The one attempt for memory is what ends it here.
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(1)
            .memory_hard(60 * MIBS)
            .retry(Retry::default().memory_attempts(1))
            .start()
            .await
            .unwrap();
        let grow = Grow {
            dir: dir.path().to_owned(),
            ..grow
        };
        let report = lost(pool.submit(Submit::new(grow).idempotent()).await);
        assert!(!report.poisoned(), "{report}");
        assert!(!has(dir.path(), "run 2", "started"));
    });
}

#[test]
fn of_all_workers_the_newest_whose_tasks_run_again_ends_first() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let pool = builder(3)
            .memory_total(270 * MIBS)
            // Time for the others to end, or it would be too much again.
            .retry(Retry::default().backoff(1000 * MS, 1000 * MS))
            .start()
            .await
            .unwrap();
        let mut events = events(&pool).await;
        let old = pool.submit(Submit::new(Keep::new(dir, "old", 80)).idempotent());
        seen(dir, "old", "started").await;
        let new = pool.submit(Submit::new(Keep::new(dir, "new", 80)).idempotent());
        seen(dir, "new", "started").await;
        let once = pool.submit(Keep::new(dir, "once", 110));
        let (report, gone) = event(&mut events, |event| match event {
            PoolEvent::WorkerLost {
                report, requeued, ..
            } => Some((report.clone(), *requeued)),
            _ => None,
        })
        .await;
        assert_eq!((report.cause(), gone), (&LossCause::Memory, 1));
        let detail = report.detail().unwrap();
        assert!(
            detail.contains("over `memory_total` (270.0 MiB)"),
            "{detail}"
        );
        for name in ["old", "once"] {
            put(dir, name, "go");
        }
        assert_eq!((old.await.unwrap(), once.await.unwrap()), (1, 1));
        put(dir, "new", "go");
        assert_eq!(new.await.unwrap(), 2);
        // Once there is room nobody else ends.
        while let Ok(event) = events.try_recv() {
            assert!(!matches!(event, PoolEvent::WorkerLost { .. }), "{event:?}");
        }
    });
}

#[test]
fn whoever_is_idle_ends_before_whoever_works() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let pool = builder(3).concurrency(2).memory_total(220 * MIBS);
        let pool = pool.wait_all().start().await.unwrap();
        let mut events = events(&pool).await;
        let keep = |name: &str, mib, key: u64| {
            pool.submit(Submit::new(Keep::new(dir, name, mib)).key(key))
        };
        let mut kept = vec![keep("a", 1, 1), keep("b", 1, 2)];
        for name in ["a", "b"] {
            seen(dir, name, "started").await;
        }
        // In the third worker, and there to stay.
        pool.submit(Leak(110)).await.unwrap();
        // Beside their like, and too much together.
        kept.extend([keep("c", 70, 1), keep("d", 70, 2)]);
        let reason = event(&mut events, |event| match event {
            PoolEvent::WorkerLost { report, .. } => panic!("{report}"),
            PoolEvent::WorkerRetired { reason, .. } => Some(*reason),
            _ => None,
        });
        assert_eq!(reason.await, RetireReason::Memory);
        for name in ["a", "b", "c", "d"] {
            put(dir, name, "go");
        }
        for keep in kept {
            assert_eq!(keep.await.unwrap(), 1);
        }
        while let Ok(event) = events.try_recv() {
            assert!(!matches!(event, PoolEvent::WorkerLost { .. }), "{event:?}");
        }
    });
}

/// A control group with so many bytes, if one can be made here.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Option<Self> {
        let name = format!("actix-multiprocess-{}", std::process::id());
        let first = (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes");
        let second = (Path::new("/sys/fs/cgroup"), "memory.max");
        [first, second].into_iter().find_map(|(root, limit)| {
            let dir = root.join(&name);
            fs::create_dir(&dir).ok()?;
            let group = Self(dir);
            fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(10 * MS);
        }
    }
}

#[test]
fn an_end_by_the_kernels_hand_is_known_where_a_control_group_tells() {
    // In a group of version 2 that is in another the kernel counts in that, unless somebody has asked for the controller.
    for below in ["", "leaf"] {
        let Some(group) = Group::new(100 * MIB) else {
            println!("no control group can be made here");
            return;
        };
        let leaf = (!below.is_empty()).then(|| Group(group.0.join(below)));
        if let Some(leaf) = &leaf {
            fs::create_dir(&leaf.0).unwrap();
        }
        killed_by_the_kernel(&leaf.as_ref().unwrap_or(&group).0);
    }
}

/// Lets workers end for want of memory in a control group.
fn killed_by_the_kernel(group: &Path) {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let enter = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", group.display());
        let pool = builder(1)
            .launcher(Launcher::own_image().wrapper("sh", ["-c", &enter, "sh"]))
            .start()
            .await
            .unwrap();
        let grow = Grow {
            dir: dir.path().to_owned(),
            per_second: 500,
            most: 1000,
        };
        let report = lost(pool.submit(grow.clone()).await);
        assert_eq!(report.cause(), &LossCause::KernelOom, "{report}");
        assert_eq!(report.signal(), Some(9));
        let detail = report.detail().unwrap();
        assert!(
            detail.contains("oom_kill") && detail.contains("rose to 1"),
            "{detail}"
        );
        // Somebody else's SIGKILL is not.
        let keep = pool.submit(Keep::new(dir.path(), "keep", 1));
        seen(dir.path(), "keep", "started").await;
        let pid = pool.status().await.slots[0].pid.unwrap();
        common::signal(pid, nix::sys::signal::Signal::SIGKILL);
        assert_eq!(lost(keep.await).cause(), &LossCause::Signal);
        // One that may runs again after a while: alone here, so that it is poison in the end.
        let report = lost(pool.submit(Submit::new(grow).idempotent()).await);
        assert_eq!(report.cause(), &LossCause::KernelOom, "{report}");
        assert!(has(dir.path(), "run 2", "started"));
        pool.drain(Duration::from_secs(10)).await;
    });
}
