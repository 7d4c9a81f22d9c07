//! What the benchmarks share: arguments, the bare other side, and the table of figures.
//!
//! Belongs here: nothing that a measurement depends on but the socket. Does not belong here: what is measured.
//! Invariant: product and bare baseline take turns within one run, and what is compared comes from the same round.

#![allow(dead_code, unused_imports, reason = "each benchmark uses a part of it")]

mod args;
mod link;
pub(crate) mod proc;
mod report;

use std::{error::Error, io};

pub(crate) use args::{Args, reexecute_on_one_cpu};
pub(crate) use link::{Link, Socket, bare_child, command};
pub(crate) use report::{Bar, Table, Unit, percentile};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The runtime of the bare baseline, on both sides; the product's is an actix `System`, which has the same inside.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
