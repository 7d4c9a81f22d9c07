//! What `/proc` tells of a process, on Linux. Elsewhere the files are not there, and that is the error.

use std::{collections::BTreeMap, fs, io, path::Path};

use super::Outcome;

/// Whether there is anything to read.
pub(crate) const HERE: bool = cfg!(target_os = "linux");

/// The file of a process or thread.
fn read(process: impl AsRef<Path>, file: &str) -> io::Result<String> {
    fs::read_to_string(Path::new("/proc").join(process).join(file))
}

/// The number behind a name, in a file with one such pair on each line.
fn named(text: &str, name: &str) -> Outcome<f64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let value = lines.find(|(key, _)| *key == name).map(|(_, value)| value);
    let number = value.and_then(|value| value.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("no {name}"))?.parse()?)
}

/// Bytes in memory, of shared pages a share of each.
pub(crate) fn pss(pid: u32) -> Outcome<f64> {
    Ok(named(&read(pid.to_string(), "smaps_rollup")?, "Pss")? * 1024.0)
}

/// Bytes in memory of this process, counted page by page: the sum in `statm` may be behind.
pub(crate) fn own_rss() -> Outcome<f64> {
    Ok(named(&read("self", "smaps_rollup")?, "Rss")? * 1024.0)
}

/// Something of each thread of a process, by the thread's id.
fn each_thread<T>(
    pid: u32,
    file: &str,
    take: impl Fn(&str) -> Outcome<T>,
) -> Outcome<BTreeMap<String, T>> {
    let mut found = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        // It may have ended meanwhile.
        if let Ok(text) = read(&thread, file) {
            found.insert(thread.to_string_lossy().into_owned(), take(&text)?);
        }
    }
    Ok(found)
}

/// How often each thread of these processes has been switched away from.
pub(crate) fn switches(pids: &[u32]) -> Outcome<BTreeMap<String, f64>> {
    let mut found = BTreeMap::new();
    for pid in pids {
        found.extend(each_thread(*pid, "status", |text| {
            Ok(
                named(text, "voluntary_ctxt_switches")?
                    + named(text, "nonvoluntary_ctxt_switches")?,
            )
        })?);
    }
    Ok(found)
}

/// Clock ticks that these processes have computed for, their ended threads as well.
pub(crate) fn ticks(pids: &[u32]) -> Outcome<f64> {
    let mut sum = 0.0;
    for pid in pids {
        let text = read(pid.to_string(), "stat")?;
        // The name before it may contain anything.
        let (_, fields) = text.rsplit_once(')').ok_or("no name in stat")?;
        for field in fields.split_whitespace().skip(11).take(2) {
            sum += field.parse::<f64>()?;
        }
    }
    Ok(sum)
}

/// Seconds that the threads of these processes have computed for.
pub(crate) fn cpu_seconds(pids: &[u32]) -> Outcome<f64> {
    let mut sum = 0.0;
    for pid in pids {
        let nanos = each_thread(*pid, "schedstat", |text| {
            let first = text.split_whitespace().next();
            Ok(first.ok_or("an empty schedstat")?.parse::<f64>()?)
        })?;
        sum += nanos.values().sum::<f64>() / 1e9;
    }
    Ok(sum)
}
