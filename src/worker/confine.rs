//! What a worker may take of its machine, set by itself.
//!
//! Belongs here: saying it to the operating system. Does not belong here: what may be asked for.
//! Invariant: what cannot be set is an error that names it; nothing of the program's runs without it.

use crate::{error::RemoteError, wire::Confines};

/// Where the error comes from, as a person reads it.
#[cfg(unix)]
const LIMITS: &str = "actix_multiprocess::ProcessLimits";

/// Sets everything that its host wants. Counts for this thread and what it starts.
#[cfg(unix)]
pub(super) fn confine(confines: &Confines) -> Result<(), RemoteError> {
    if confines.modesty > 0 {
        // One that may not is as good a worker.
        let _ = rustix::process::nice(confines.modesty.into());
    }
    let wrong = |what: String, error: &dyn std::fmt::Display| {
        Err(RemoteError::new(
            LIMITS,
            format!("a worker cannot set {what}: {error}"),
        ))
    };
    if confines.nice != 0
        && let Err(error) = rustix::process::nice(confines.nice.into())
    {
        return wrong(format!("its niceness {} further", confines.nice), &error);
    }
    #[cfg(target_os = "linux")]
    if !confines.cpus.is_empty()
        && let Err(error) = bind(&confines.cpus)
    {
        return wrong(format!("its affinity to CPUs {:?}", confines.cpus), &error);
    }
    #[cfg(target_os = "linux")]
    if let Some(score) = confines.oom_score_adj
        && let Err(error) = std::fs::write("/proc/self/oom_score_adj", score.to_string())
    {
        return wrong(format!("its oom_score_adj to {score}"), &error);
    }
    for (resource, most) in &confines.limits {
        let limit = rustix::process::Rlimit {
            current: Some(*most),
            maximum: Some(*most),
        };
        if let Err(error) = rustix::process::setrlimit(named(*resource), limit) {
            return wrong(format!("its limit on {resource:?} to {most}"), &error);
        }
    }
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn confine(_: &Confines) -> Result<(), RemoteError> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn bind(cpus: &[u16]) -> rustix::io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    for cpu in cpus {
        if usize::from(*cpu) < CpuSet::MAX_CPU {
            set.set((*cpu).into());
        }
    }
    sched_setaffinity(None, &set)
}

#[cfg(unix)]
fn named(resource: crate::wire::Resource) -> rustix::process::Resource {
    use rustix::process::Resource as System;

    use crate::wire::Resource;
    match resource {
        Resource::AddressSpace => System::As,
        Resource::CoreFile => System::Core,
        Resource::CpuTime => System::Cpu,
        Resource::FileSize => System::Fsize,
        Resource::OpenFiles => System::Nofile,
        Resource::Processes => System::Nproc,
    }
}
