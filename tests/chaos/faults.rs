//! What goes wrong in a chaos run, each counted where it takes effect.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_multiprocess::{
    LossCause, Pool, PoolEvent, WorkerInfo,
    testing::{Fault, PassingFrame},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{common, random::Random, toil::life};

/// Of how many kinds faults are in one host.
pub(crate) const KINDS: [&str; 11] = [
    "cut",
    "delay",
    "descriptors",
    "duplicate",
    "init",
    "kill",
    "stderr",
    "stop",
    "throttle",
    "truncate",
    "wedge",
];

/// Whether faults of this kind are wanted: all, or those that the environment names.
pub(crate) fn is_wanted(kind: &str) -> bool {
    let only = std::env::var("ACTIX_MP_CHAOS_KINDS");
    only.map_or(true, |only| only.split(',').any(|wanted| wanted == kind))
}

/// How many faults of each kind have taken effect.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) over: AtomicBool,
    garbled: Mutex<HashSet<u64>>,
    /// What went wrong in each life, in words.
    notes: Mutex<HashMap<u64, Vec<String>>>,
}

impl Tally {
    pub(crate) fn add(&self, kind: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(kind).or_default() += 1;
    }

    /// Takes note of what went wrong with a worker.
    fn note(&self, life: u64, what: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.entry(life).or_default().push(what);
    }

    /// What went wrong in a life.
    pub(crate) fn notes(&self, life: u64) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.get(&life).cloned().unwrap_or_default()
    }

    /// From now on this worker and its host may take bytes for what they are not.
    fn garble(&self, worker: &WorkerInfo) {
        let mut garbled = self.garbled.lock().unwrap_or_else(PoisonError::into_inner);
        garbled.insert(life(worker));
    }

    /// Whether that may have happened in this life.
    pub(crate) fn is_garbled(&self, life: u64) -> bool {
        let garbled = self.garbled.lock().unwrap_or_else(PoisonError::into_inner);
        garbled.contains(&life)
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }

    pub(crate) fn of(&self, kind: &str) -> u64 {
        self.counts().get(kind).copied().unwrap_or(0)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether so many of this kind are enough, or none is wanted.
    fn enough(&self, kind: &str, most: u64) -> bool {
        self.is_over() || self.of(kind) >= most || !is_wanted(kind)
    }
}

/// Faults between the pool and its workers, `most` of each kind.
pub(crate) fn plan(
    tally: &Arc<Tally>,
    random: Random,
    most: u64,
) -> impl Fn(&PassingFrame) -> Option<Fault> + Send + Sync + 'static {
    let (tally, random) = (Arc::clone(tally), Mutex::new(random));
    move |frame| {
        let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
        if random.below(400) != 0 {
            return None;
        }
        let bytes = u64::try_from(frame.bytes).unwrap_or(u64::MAX).max(2);
        let part = usize::try_from(random.below(bytes)).unwrap_or(0);
        let (kind, fault) = match random.below(6) {
            0 => ("cut", Fault::Cut(part)),
            1 => ("truncate", Fault::Truncate(part.max(1))),
            2 => (
                "delay",
                Fault::Delay(Duration::from_millis(random.below(20))),
            ),
            3 => ("duplicate", Fault::Duplicate),
            4 => ("throttle", Fault::Throttle(20_000)),
            _ => ("wedge", Fault::Wedge),
        };
        if tally.enough(kind, most) {
            return None;
        }
        tally.add(kind);
        tally.note(life(&frame.worker), format!("{fault:?} of {frame:?}"));
        if kind == "truncate" {
            tally.garble(&frame.worker);
        }
        Some(fault)
    }
}

/// Takes note of what the pool says.
pub(crate) async fn listen(pool: Pool, tally: Arc<Tally>) {
    let mut events = common::events(&pool).await;
    drop(pool);
    while let Some(event) = events.recv().await {
        if let PoolEvent::WorkerLost { report, .. } = event {
            let life = u64::from(report.slot().index()) << 32 | u64::from(report.generation());
            tally.note(life, report.to_string());
            match report.cause() {
                LossCause::Signal if report.signal() == Some(9) => tally.add("kill"),
                LossCause::Init if report.detail().is_some_and(|why| why.contains("third")) => {
                    tally.add("init");
                }
                _ => {}
            }
        }
    }
}

/// One of the workers that are ready.
async fn some_worker(pool: &Pool, random: &mut Random) -> Option<Pid> {
    let pids: Vec<u32> = (pool.status().await.slots.iter())
        .filter_map(|slot| slot.pid)
        .collect();
    let count = u64::try_from(pids.len()).ok().filter(|count| *count > 0)?;
    let pid = pids.get(usize::try_from(random.below(count)).ok()?)?;
    Some(Pid::from_raw(i32::try_from(*pid).ok()?))
}

/// Kills workers.
pub(crate) async fn kills(pool: Pool, tally: Arc<Tally>, mut random: Random, most: u64) {
    while !tally.enough("kill", most) {
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
        if let Some(pid) = some_worker(&pool, &mut random).await {
            // It may have gone by itself.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// Stops workers for a while.
pub(crate) async fn stops(pool: Pool, tally: Arc<Tally>, mut random: Random, most: u64) {
    while !tally.enough("stop", most) {
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
        let Some(pid) = some_worker(&pool, &mut random).await else {
            continue;
        };
        let _ = kill(pid, Signal::SIGSTOP);
        tokio::time::sleep(Duration::from_millis(1 + random.below(80))).await;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        if stat.is_ok_and(|stat| stat.contains(") T ")) {
            tally.add("stop");
        }
        let _ = kill(pid, Signal::SIGCONT);
    }
}

/// Takes all descriptors that there are, for a while.
pub(crate) async fn descriptors(tally: Arc<Tally>, mut random: Random, most: u64) {
    while !tally.enough("descriptors", most) {
        tokio::time::sleep(Duration::from_millis(10 + random.below(100))).await;
        let mut taken: Vec<OwnedFd> = Vec::new();
        loop {
            match fs::File::open("/dev/null") {
                Ok(file) => taken.push(file.into()),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(24), "{error}");
                    tally.add("descriptors");
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(random.below(20))).await;
    }
}
