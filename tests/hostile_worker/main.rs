//! A worker that does everything wrong that a worker can do ends alone: its host neither panics, hangs nor grows, its
//! tasks settle, and its neighbour serves on.
//!
//! This binary is three things. Run by the pool it is a worker: the first one of a case is the hostile one, all others
//! are honest. Run with [`CASE`] it is the host of one case, so that its memory is that of one case. Otherwise it
//! is the harness that runs the cases, as `cargo test` and `cargo nextest` expect it.

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
#[path = "../common_hostile/mod.rs"]
mod common_hostile;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(target_os = "linux")]
mod tasks;
#[cfg(target_os = "linux")]
mod wire;

/// The variable with the name of the case that a host or worker process is in.
#[cfg(target_os = "linux")]
const CASE: &str = "HOSTILE_WORKER_CASE";

/// The variable with the directory of that case.
#[cfg(target_os = "linux")]
const DIR: &str = "HOSTILE_WORKER_DIR";

// Memory is read from /proc.
#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Ok(name) = std::env::var(CASE) else {
        return harness::run(&args);
    };
    let case = cases::named(&name).expect("a case");
    let dir = std::path::PathBuf::from(std::env::var_os(DIR).expect("the directory of the case"));
    let worker = args
        .iter()
        .any(|arg| arg.starts_with("actix-multiprocess-worker:"));
    // Standard input must stay unread for `init`, so something else has to say who is hostile.
    if worker && std::fs::File::create_new(dir.join("hostile")).is_ok() {
        hostile::enter(&case, &dir);
    }
    host::play(&case, &dir, tasks::spec().init());
    std::process::ExitCode::SUCCESS
}
