//! What goes wrong in a chaos run, each counted where it takes effect.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_multiprocess::{
    LossCause, Pool, PoolEvent,
    testing::{Fault, PassingFrame},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{common, random::Random};

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
}

impl Tally {
    pub(crate) fn add(&self, kind: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(kind).or_default() += 1;
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
        Some(fault)
    }
}

/// Takes note of what the pool says.
pub(crate) async fn listen(pool: Pool, tally: Arc<Tally>) {
    let mut events = common::events(&pool).await;
    drop(pool);
    while let Some(event) = events.recv().await {
        if let PoolEvent::WorkerLost { report, .. } = event {
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
