//! How much a worker may say of its own accord.
//!
//! Belongs here: counting what an honest worker says at most. Does not belong here: what it says about tickets, which the
//! ledger knows.
//! Invariant: a worker that floods its host is found out after a bounded number of frames.

use std::time::Duration;

use crate::wire::{ControlToWorker, SLOW_POLLS};

/// Frames about signals over the life of a worker: they come at the pace of a person or a service manager.
const SIGNALS: u64 = 10_000;

/// What one worker may still say.
#[derive(Debug)]
pub(super) struct Allowance {
    quiet: u64,
    paces: u64,
    slow: u64,
    pongs: u64,
    revoked: u64,
    signals: u64,
    last_words: u64,
    lags: u64,
}

impl Allowance {
    pub(super) fn new(names: u16) -> Self {
        Self {
            quiet: 64 + 2 * u64::from(names),
            paces: 64,
            slow: u64::from(SLOW_POLLS) * u64::from(names),
            pongs: 0,
            revoked: 0,
            signals: SIGNALS,
            last_words: 1,
            lags: 0,
        }
    }

    /// With each task that ends its name may turn quiet, and once more loud, and quicker or slower.
    pub(super) fn finished(&mut self, tasks: u32) {
        let tasks = u64::from(tasks);
        self.quiet = self.quiet.saturating_add(2 * tasks);
        self.paces = self.paces.saturating_add(tasks);
    }

    /// The host asks something.
    pub(super) fn asked(&mut self, frame: &ControlToWorker) {
        // Apart, because the answer to a Ping may lead to several Revokes: it must not pay for as many more.
        match frame {
            ControlToWorker::Ping { .. } => self.pongs += 1,
            ControlToWorker::Revoke { .. } => self.revoked += 1,
            ControlToWorker::Cancel { .. } | ControlToWorker::Exit => {}
        }
    }

    pub(super) fn quiet(&mut self) -> Result<(), String> {
        spend(&mut self.quiet, "names turned quiet and loud")
    }

    pub(super) fn pace(&mut self) -> Result<(), String> {
        spend(&mut self.paces, "how long tasks take")
    }

    pub(super) fn slow_poll(&mut self) -> Result<(), String> {
        spend(&mut self.slow, "slow polls")
    }

    pub(super) fn pong(&mut self) -> Result<(), String> {
        spend(&mut self.pongs, "answers to what was not asked")
    }

    pub(super) fn revoked(&mut self) -> Result<(), String> {
        spend(&mut self.revoked, "answers to what was not asked")
    }

    /// Ten times a second, and somewhat oftener for one that comes late.
    pub(super) fn lag(&mut self, served: Duration) -> Result<(), String> {
        self.lags += 1;
        if self.lags > 64 + 20 * served.as_secs() {
            return Err("a flood of reports of its event loop".to_owned());
        }
        Ok(())
    }

    pub(super) fn last_words(&mut self) -> Result<(), String> {
        spend(&mut self.last_words, "last words")
    }

    pub(super) fn signal(&mut self) -> Result<(), String> {
        spend(&mut self.signals, "reports of signals")
    }
}

fn spend(left: &mut u64, what: &str) -> Result<(), String> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| format!("a flood of {what}"))?;
    Ok(())
}
