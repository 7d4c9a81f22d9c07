//! The texts users read, word for word, and what the errors promise about themselves.
//!
//! Belongs here: golden texts of every message; caps and chains of `RemoteError`.
//! Does not belong here: helpers with a test at the end of their own file.
//! Invariant: each variant has its full text here, so that no wording changes by accident.

mod crash;
mod pool;
mod rejected;
mod remote;
mod task;

use std::sync::Arc;
use std::time::Duration;

use super::{
    CodecError, CodecSide, CodecStep, CodecValue, Crash, CrashReport, LossCause, Started, Vitals,
};
use crate::task::Slot;

/// A worker that ended with a segmentation fault.
fn segfault() -> Crash {
    Crash {
        slot: Slot::new(0),
        generation: 3,
        pid: Some(4711),
        code: None,
        signal: Some(11),
        cause: LossCause::Signal,
        detail: None,
        uptime: Duration::from_millis(1234),
        vitals: Vitals::default(),
        stderr_tail: String::new(),
    }
}

fn report(crash: Crash, started: Started, suspects: u32) -> CrashReport {
    CrashReport::new(Arc::new(crash), started, suspects)
}

/// An input that the worker could not decode, or an output that it could not encode.
fn codec(value: CodecValue) -> CodecError {
    let step = match value {
        CodecValue::Input | CodecValue::InitArgs => CodecStep::Decode,
        CodecValue::Output | CodecValue::Error => CodecStep::Encode,
    };
    CodecError::new(value, CodecSide::Worker, step, "my::Type", "why")
}
