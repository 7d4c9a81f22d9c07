//! Hosts that are processes of their own: what their workers share with them and what they leave behind.
//!
//! One binary, since each more costs a link and its size on disk; a test that counts what its whole process has is a file
//! of its own beside this folder.
#![cfg(unix)]

#[path = "../process_support/mod.rs"]
mod process_support;

mod drain;
mod host_end;
mod launch;
mod launcher;
mod not_shared;
mod sandbox;
mod scarce;
mod signals;
mod stdin;
mod stdio;
