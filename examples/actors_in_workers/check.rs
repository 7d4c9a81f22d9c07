//! What the answers of the workers' caches have to show.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) key: u64,
    pub(crate) value: u64,
    /// It was not in the worker's cache.
    pub(crate) looked_up: bool,
    pub(crate) pid: u32,
}

/// Whether every worker has looked up once each key that it was asked for, and no worker knew what another had looked up.
pub(crate) fn check(answers: &[Answer]) -> Result<String, String> {
    if let Some(wrong) = answers
        .iter()
        .find(|answer| answer.value != answer.key.pow(2))
    {
        return Err(format!("a wrong value: {wrong:?}"));
    }
    let pids: BTreeSet<u32> = answers.iter().map(|answer| answer.pid).collect();
    let asked: BTreeSet<(u32, u64)> = answers.iter().map(|a| (a.pid, a.key)).collect();
    for &(pid, key) in &asked {
        let of_it = answers.iter().filter(|a| (a.pid, a.key) == (pid, key));
        let times = of_it.filter(|answer| answer.looked_up).count();
        if times != 1 {
            return Err(format!(
                "process {pid} looked {key} up {times} times, not once"
            ));
        }
    }
    if pids.len() < 2 {
        return Err("one worker shows nothing: with two, each has a cache of its own".to_owned());
    }
    if asked.len() == answers.len() {
        return Err(
            "no worker was asked twice for a key, so nothing shows that it lives on".into(),
        );
    }
    let (tasks, looked_up, workers) = (answers.len(), asked.len(), pids.len());
    Ok(format!(
        "{tasks} tasks, {looked_up} values looked up by the caches of {workers} workers"
    ))
}
