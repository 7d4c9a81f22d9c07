//! Where the streams of a worker's process go.
//!
//! Belongs here: what each choice means for a process and for its host. Does not belong here: starting it, reading.

use std::{io, process::Stdio as ProcessStdio};

use crate::{
    config::Output,
    observe::OutputStream,
    supervisor::{
        lines::Listeners,
        relay::{Relay, Source},
    },
};

/// What the process gets.
pub(super) fn stdio(output: Output) -> ProcessStdio {
    match output {
        Output::Inherit => ProcessStdio::inherit(),
        Output::Null => ProcessStdio::null(),
        Output::Relay | Output::Lines => ProcessStdio::piped(),
    }
}

/// Where the streams of a process go that come through the host.
pub(super) struct Streams {
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) listeners: Listeners,
}

impl Streams {
    pub(super) fn stdout(&self, from: impl Source + Unpin + 'static, pid: u32) -> Relay {
        match self.stdout {
            Output::Lines => Relay::new(from, self.listeners.of(pid, OutputStream::Stdout)),
            _ => Relay::new(from, io::stdout()),
        }
    }

    pub(super) fn stderr(&self, from: impl Source + Unpin + 'static, pid: u32) -> Relay {
        match self.stderr {
            Output::Lines => Relay::new(from, self.listeners.of(pid, OutputStream::Stderr)),
            _ => Relay::new(from, io::stderr()),
        }
    }
}
