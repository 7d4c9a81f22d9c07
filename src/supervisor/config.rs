//! The knobs of a pool as the host's side uses them.
//!
//! Belongs here: what is derived from the settings once. Does not belong here: checking them, which is the builder's.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::{Affinity, PoolConfig},
    error::near_names,
    sched::{IN_ONE_PIECE, ReadAhead, RestartRules, RetryRules},
    supervisor::{Captures, Launch},
    task::TimeLimits,
    wire::{Lineage, PART_BYTES, Payload, UNREPORTED},
};

/// How long a pool that nobody holds any more goes on with what it has accepted.
pub(super) const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// Names and versions of the registered tasks, in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct TaskTable {
    tasks: Vec<(&'static str, u32)>,
}

impl TaskTable {
    /// `tasks` is sorted and without duplicates.
    pub(crate) fn new(tasks: Vec<(&'static str, u32)>) -> Self {
        Self { tasks }
    }

    /// Every submit comes by here: a few comparisons are less than hashing a name.
    pub(crate) fn index(&self, name: &str) -> Option<u16> {
        let found = self.tasks.binary_search_by(|(known, _)| (*known).cmp(name));
        found.ok().and_then(|index| u16::try_from(index).ok())
    }

    pub(crate) fn name(&self, index: u16) -> &'static str {
        self.tasks
            .get(usize::from(index))
            .map_or("", |(name, _)| name)
    }

    pub(crate) fn version(&self, index: u16) -> u32 {
        self.tasks
            .get(usize::from(index))
            .map_or(0, |(_, version)| *version)
    }

    pub(crate) fn len(&self) -> u16 {
        u16::try_from(self.tasks.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.tasks.iter().copied()
    }

    pub(crate) fn near(&self, name: &str) -> Vec<String> {
        near_names(name, self.tasks.iter().map(|(known, _)| *known))
    }
}

/// How many tasks may wait for each process, unless something else is said.
const QUEUE_PER_PROCESS: usize = 1024;

/// Every knob, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) table: Arc<TaskTable>,
    pub(crate) launcher: Arc<dyn Launch>,
    /// With what was made of the automatic ones.
    pub(crate) knobs: PoolConfig,
    pub(crate) processes: u32,
    pub(crate) concurrency: u32,
    /// For each process, if nothing else was said.
    pub(crate) queue_limit: Option<usize>,
    pub(crate) rules: RestartRules,
    pub(crate) retry: RetryRules,
    /// There is one worker and none after it: what it does not end is lost with it, so that the drain, which is under way
    /// from the start, is over then.
    pub(crate) one_life: bool,
    pub(crate) init_args: Option<Payload>,
    /// Where the inputs of suspects are kept.
    pub(crate) captures: Option<Arc<Captures>>,
    /// By the numbers of names.
    pub(crate) limits: Vec<TimeLimits>,
    /// That of the process the pool is in.
    pub(crate) lineage: Lineage,
    /// When all tasks have to have ended: that of a pool in a worker, whose task has to have ended then.
    pub(crate) until: Option<Instant>,
}

/// So much work may wait in a worker: some wake-ups of a process, and too little to be noticed.
const AHEAD: Duration = Duration::from_micros(200);

/// In so many bytes: a socket's buffer, about.
const AHEAD_BYTES: usize = 256 * 1024;

/// Workers that may have so many tasks for each CPU are awake before others are woken for quick tasks. With that many, the default
/// concurrency, being woken costs each of them about as much as it takes; with fewer the others are rather woken.
const ROOM: usize = 16;

// What was cut into parts may start behind what was sent later.
const _: () = assert!(IN_ONE_PIECE <= PART_BYTES);

impl Config {
    /// How far tasks are sent ahead of what a worker runs at once, if they are.
    pub(crate) fn read_ahead(&self) -> Option<ReadAhead> {
        // Where memory is limited a worker is looked at before each task that it gets; a process for one task gets one.
        let not = self.weighs_memory() || self.one_life;
        // Where workers are bound to CPUs of their own, those that are awake may all be bound to one.
        let bound = self.knobs.limits.affinity != Affinity::Inherit;
        (!not).then(|| ReadAhead {
            time: AHEAD,
            bytes: AHEAD_BYTES,
            started: self.concurrency as usize + UNREPORTED,
            cpus: if bound {
                usize::MAX
            } else {
                self.lineage.cpus as usize
            },
            room: ROOM,
        })
    }

    /// Whether it matters what workers have in memory.
    pub(crate) fn weighs_memory(&self) -> bool {
        let PoolConfig {
            memory_soft,
            memory_hard,
            memory_total,
            ..
        } = &self.knobs;
        memory_soft.is_some() || memory_hard.is_some() || memory_total.is_some()
    }

    /// The names of the tasks, each with how many of it may run at once.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'static str, Option<u32>)> + '_ {
        self.table.iter().map(|(name, _)| {
            let options = self.knobs.tasks.get(name);
            (name, options.and_then(|options| options.max_running))
        })
    }

    /// How long a task of a name may take that has these limits of its own.
    pub(crate) fn limits(&self, name: u16, own: TimeLimits) -> TimeLimits {
        let of_name = self.limits.get(usize::from(name)).copied();
        let limits = own.or(of_name.unwrap_or_default());
        match self.until {
            None => limits,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                let total = limits.total.map_or(left, |total| total.min(left));
                TimeLimits {
                    total: Some(total),
                    ..limits
                }
            }
        }
    }

    /// How many tasks may wait in a pool of so many processes.
    pub(crate) fn queue_limit(&self, processes: usize) -> usize {
        self.queue_limit
            .unwrap_or_else(|| QUEUE_PER_PROCESS.saturating_mul(processes))
    }
}
