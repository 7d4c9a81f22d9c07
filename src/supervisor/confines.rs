//! What each worker is told to take of its machine at most.
//!
//! Belongs here: from the pool's limits to those of one worker. Does not belong here: setting them, which the worker does.

use crate::{
    config::{Affinity, ProcessLimits},
    task::Slot,
    wire::{Confines, Resource},
};

/// By how much a worker for suspects gives way: they are to keep nobody up. A process of niceness 5 gets a third of what one of
/// niceness 0 gets, where both want all.
const MODESTY: u8 = 5;

/// Those of the worker in this slot.
pub(super) fn of(limits: &ProcessLimits, slot: Slot) -> Confines {
    let modesty = if slot.is_quarantine() { MODESTY } else { 0 };
    let cpus = match &limits.affinity {
        Affinity::Inherit => Vec::new(),
        Affinity::Cpus(cpus) => cpus.clone(),
        Affinity::Spread => one_of(&own_cpus(), slot),
    };
    let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let seconds = |time: std::time::Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let limits_of = [
        (Resource::AddressSpace, limits.address_space.map(bytes)),
        (Resource::CoreFile, limits.core_file.map(bytes)),
        (Resource::CpuTime, limits.cpu_time.map(seconds)),
        (Resource::FileSize, limits.file_size.map(bytes)),
        (Resource::OpenFiles, limits.open_files.map(u64::from)),
        (Resource::Processes, limits.processes.map(u64::from)),
    ];
    let set = limits_of.into_iter();
    Confines {
        modesty,
        nice: limits.nice,
        cpus,
        oom_score_adj: limits.oom_score_adj,
        limits: set
            .filter_map(|(resource, most)| Some((resource, most?)))
            .collect(),
    }
}

/// The one whose turn it is. Suspects have all: theirs may be the one that is busiest.
fn one_of(cpus: &[u16], slot: Slot) -> Vec<u16> {
    if slot.is_quarantine() || cpus.is_empty() {
        return Vec::new();
    }
    let turn = slot.index() as usize % cpus.len();
    cpus.get(turn).copied().into_iter().collect()
}

/// The CPUs that this thread may use.
#[cfg(target_os = "linux")]
fn own_cpus() -> Vec<u16> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let Ok(set) = sched_getaffinity(None) else {
        return Vec::new();
    };
    let all = 0..u16::try_from(CpuSet::MAX_CPU).unwrap_or(u16::MAX);
    all.filter(|cpu| set.is_set((*cpu).into())).collect()
}

#[cfg(not(target_os = "linux"))]
fn own_cpus() -> Vec<u16> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn slots_take_turns_at_the_cpus() {
        let turns = |slot| one_of(&[2, 3, 8], Slot::new(slot));
        assert_eq!(
            [turns(0), turns(1), turns(2), turns(3)],
            [[2], [3], [8], [2]]
        );
        assert_eq!(one_of(&[2, 3], Slot::QUARANTINE), [0; 0]);
        assert_eq!(one_of(&[], Slot::new(1)), [0; 0]);
    }

    #[test]
    fn what_is_left_out_stays_as_it_is() {
        let none = of(&ProcessLimits::default(), Slot::new(1));
        assert_eq!(none, Confines::default());
        let limits = ProcessLimits::default()
            .cpu_time(Duration::from_millis(1001))
            .open_files(64);
        let told = of(&limits, Slot::QUARANTINE);
        assert_eq!(
            told.limits,
            [(Resource::CpuTime, 2), (Resource::OpenFiles, 64)]
        );
        assert_eq!(told.modesty, MODESTY);
    }
}
