//! What becomes of worker processes: their starts, their ends, their limits, and those who rule them.
//!
//! One binary, since each more costs a link and its size on disk; a test that counts what its whole process has is a file
//! of its own beside this folder.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../process_support/mod.rs"]
mod process_support;

mod capture;
mod memory_limits;
mod operator;
mod process_limits;
mod recycle;
mod resize;
mod runtime;
mod starting;
mod supervised;
mod worker_life;
mod worker_loss;
