//! What becomes of a task: when and where it runs, and how it settles, whatever dies.
//!
//! One binary, since each more costs a link and its size on disk; a test that counts what its whole process has is a file
//! of its own beside this folder.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../process_support/mod.rs"]
mod process_support;

mod adaptive;
mod blame;
mod bundles;
mod cancel;
mod cancel_latency;
mod cartesian;
mod circuit;
mod codec_threads;
mod crew;
mod dispatch;
mod failure_hook;
mod faults;
mod last_words;
mod lines;
mod nested;
mod panics;
mod priority;
mod read_ahead;
mod results;
mod retries;
mod routing;
mod slow_poll;
mod stalls;
mod timeouts;
