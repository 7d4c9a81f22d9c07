//! Many tasks, many killed workers, nothing lost and nothing left.
//!
//! `ACTIX_MP_SOAK_SECONDS=120` in a release build is the long form; `ACTIX_MP_SOAK_SEED` repeats a run's choices.
#![cfg(target_os = "linux")]

mod common;
mod measure;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    NoError, Pool, Restart, Started, Submit, Task, TaskContext, TaskError, WhenFull, WorkerSpec,
    testing::assert_clean, worker_entry,
};
use common::{burn, eventually};
use measure::{alone, setting};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// Half of them compute for up to 1 ms, half wait for up to 20 ms.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Step {
    index: u64,
    micros: u64,
    computes: bool,
}

impl Step {
    fn new(index: u64, random: &mut Random) -> Self {
        let computes = random.below(2) == 0;
        Self {
            index,
            micros: random.below(if computes { 1_000 } else { 20_000 }),
            computes,
        }
    }

    /// The one right result.
    fn answer(&self) -> (u64, u64) {
        let mixed = self.index.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.micros;
        (self.index, mixed.rotate_left(17))
    }
}

impl Task for Step {
    const NAME: &'static str = "step";
    type Output = (u64, u64);
    type Error = NoError;
    type State = Rc<fs::File>;
    async fn run(self, cx: TaskContext<Rc<fs::File>>) -> Result<(u64, u64), NoError> {
        // One write at the end of the file is never torn or overwritten.
        (&**cx.state())
            .write_all(&self.index.to_le_bytes())
            .unwrap();
        let time = Duration::from_micros(self.micros);
        if self.computes {
            burn(time);
        } else {
            tokio::time::sleep(time).await;
        }
        Ok(self.answer())
    }
}

worker_entry!(
    WorkerSpec::new()
        .state_with(|starts: PathBuf| async move {
            Ok(fs::OpenOptions::new().append(true).open(starts)?)
        })
        .task::<Step>(),
    PathBuf
);

/// splitmix64: the same choices for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// What the process has: descriptors by what they are, threads, children.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: Vec<String>,
    threads: usize,
    children: Vec<String>,
}

fn holdings() -> Holdings {
    let mut descriptors: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        // The number of a socket says which one it is; that of the directory being read is new each time.
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| !target.starts_with("/proc/"))
        .collect();
    descriptors.sort();
    let tasks: Vec<_> = fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let children = tasks
        .iter()
        .flat_map(|task| {
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            let children: Vec<_> = children.split_whitespace().map(str::to_owned).collect();
            children
        })
        .collect();
    Holdings {
        descriptors,
        threads: tasks.len(),
        children,
    }
}

/// What has happened so far.
#[derive(Default)]
struct Tally {
    begun: Cell<u64>,
    right: Cell<u64>,
    lost: Cell<u64>,
    lost_unknown: Cell<u64>,
    /// Tasks that may start once only.
    once: RefCell<HashSet<u64>>,
    kills: Cell<u64>,
    busy_kills: Cell<u64>,
}

fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

impl Tally {
    /// Takes note of how one task ended, and says what is wrong with it.
    fn settled(
        &self,
        step: &Step,
        idempotent: bool,
        result: Result<(u64, u64), TaskError<NoError>>,
    ) -> Result<(), String> {
        match result {
            Ok(answer) if answer == step.answer() => add(&self.right, 1),
            Err(TaskError::WorkerLost(report)) if !idempotent => {
                add(&self.lost, 1);
                match report.started() {
                    Started::Yes => {}
                    Started::Unknown => add(&self.lost_unknown, 1),
                    other => return Err(format!("{step:?} is lost, started: {other:?}")),
                }
            }
            other => return Err(format!("{step:?}, idempotent {idempotent}: {other:?}")),
        }
        Ok(())
    }
}

/// How often each task has started, as the workers wrote it down.
fn starts(file: &Path) -> HashMap<u64, u32> {
    let mut starts = HashMap::new();
    for index in fs::read(file).unwrap().chunks_exact(8) {
        let index = u64::from_le_bytes(index.try_into().unwrap());
        *starts.entry(index).or_default() += 1;
    }
    starts
}

const PROCESSES: usize = 4;

/// Tasks that are not settled at once.
const CALLERS: usize = 192;

struct Soak {
    pool: Pool,
    tally: Tally,
    until: Instant,
    least: u64,
    wrong: RefCell<Vec<String>>,
}

impl Soak {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until && self.tally.begun.get() >= self.least
            || !self.wrong.borrow().is_empty()
    }

    /// Submits one task after the other, each by one of the ways there are.
    async fn call(&self, mut random: Random) {
        while !self.is_over() {
            let index = self.tally.begun.get();
            add(&self.tally.begun, 1);
            let step = Step::new(index, &mut random);
            let idempotent = random.below(2) == 0;
            let mut submit = Submit::new(step.clone());
            if idempotent {
                submit = submit.idempotent();
            } else {
                self.tally.once.borrow_mut().insert(index);
            }
            let result = if random.below(4) == 0 {
                self.pool.addr().send(submit).await.unwrap()
            } else {
                self.pool.submit(submit).await
            };
            if let Err(wrong) = self.tally.settled(&step, idempotent, result) {
                self.wrong.borrow_mut().push(wrong);
            }
        }
    }

    /// Kills ready workers, at a pace that reaches `kills` of them, `busy` of which with tasks.
    async fn kill_some(&self, mut random: Random, kills: u64, busy: u64, time: Duration) {
        let pace = time / u32::try_from(kills + kills / 4).unwrap();
        let mut ticks = tokio::time::interval(pace);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut killed = HashSet::new();
        let enough = || self.tally.kills.get() >= kills && self.tally.busy_kills.get() >= busy;
        while !self.is_over() || !enough() && self.wrong.borrow().is_empty() {
            ticks.tick().await;
            let status = self.pool.status().await;
            let alive: Vec<_> = status
                .slots
                .iter()
                .filter_map(|slot| Some((slot.pid?, slot.generation, slot.in_flight)))
                .filter(|(pid, generation, _)| !killed.contains(&(*pid, *generation)))
                .collect();
            if alive.is_empty() {
                continue;
            }
            let one = random.below(alive.len() as u64);
            let (pid, generation, in_flight) = alive[usize::try_from(one).unwrap()];
            killed.insert((pid, generation));
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
            add(&self.tally.kills, 1);
            add(&self.tally.busy_kills, u64::from(in_flight > 0));
        }
    }
}

#[test]
fn every_task_settles_once_however_many_workers_are_killed() {
    let seconds = setting("ACTIX_MP_SOAK_SECONDS", 8);
    let seed = setting("ACTIX_MP_SOAK_SEED", u64::from(std::process::id()));
    let time = Duration::from_secs(seconds);
    // What the long form has in two minutes, in proportion.
    let (least, kills, busy) = if cfg!(debug_assertions) {
        (0, 1000 * seconds / 120, 500 * seconds / 120)
    } else {
        let seconds = seconds.min(120);
        (
            200_000 * seconds / 120,
            1000 * seconds / 120,
            500 * seconds / 120,
        )
    };
    alone(
        "every_task_settles_once_however_many_workers_are_killed",
        3 * time + Duration::from_secs(60),
        async move {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("starts");
            fs::write(&file, b"").unwrap();
            let before = holdings();
            let pool = Pool::builder(workers())
                .processes(PROCESSES)
                .concurrency(16)
                .when_full(WhenFull::Wait)
                .restart(
                    Restart::default()
                        .budget(None)
                        .backoff(Duration::from_millis(1), Duration::from_millis(20)),
                )
                .max_attempts(u32::MAX)
                .init_args(file.clone())
                .wait_all()
                .start()
                .await
                .unwrap();
            let mut random = Random(seed);
            let soak = Rc::new(Soak {
                pool: pool.clone(),
                tally: Tally::default(),
                until: Instant::now() + time,
                least,
                wrong: RefCell::default(),
            });
            let began = Instant::now();
            let mut callers = Vec::new();
            for _ in 0..CALLERS {
                let (soak, random) = (Rc::clone(&soak), Random(random.next()));
                callers.push(actix::spawn(async move { soak.call(random).await }));
            }
            let killer = Random(random.next());
            soak.kill_some(killer, kills, busy, time).await;
            for caller in callers {
                caller.await.unwrap();
            }
            let took = began.elapsed();
            let (tally, status) = (&soak.tally, pool.status().await);
            let restarts: u64 = status.slots.iter().map(|slot| slot.restarts).sum();
            let starts = starts(&file);
            eprintln!(
                "seed {seed}, {took:?}: {} tasks, {} right, {} lost ({} with an unknown start), {} SIGKILLs ({} of busy \
                 workers), {restarts} restarts, at most {:?} starts of one task",
                tally.begun.get(),
                tally.right.get(),
                tally.lost.get(),
                tally.lost_unknown.get(),
                tally.kills.get(),
                tally.busy_kills.get(),
                starts.values().max(),
            );
            assert_eq!(*soak.wrong.borrow(), Vec::<String>::new(), "seed {seed}");
            assert!(tally.kills.get() >= kills && tally.busy_kills.get() >= busy);
            assert!(tally.begun.get() >= least);
            assert_eq!(tally.right.get() + tally.lost.get(), tally.begun.get());
            for (index, starts) in &starts {
                assert!(
                    *starts == 1 || !tally.once.borrow().contains(index),
                    "{index}: {starts}"
                );
            }
            assert!(starts.len() as u64 >= tally.right.get());
            assert_clean(&pool);
            assert_eq!(status.counts.accepted, tally.begun.get());
            assert_eq!(status.counts.done, tally.right.get());
            assert_eq!(status.counts.lost, tally.lost.get());
            // The last ones killed may not have been replaced yet.
            assert!(
                restarts + PROCESSES as u64 >= tally.kills.get(),
                "{restarts}"
            );
            pool.drain(Duration::from_secs(10)).await;
            drop((soak, pool));
            let same = eventually("it has what it had", || async { holdings() == before });
            if tokio::time::timeout(Duration::from_secs(15), same)
                .await
                .is_err()
            {
                assert_eq!(holdings(), before, "what the host has, and had before");
            }
        },
    );
}
