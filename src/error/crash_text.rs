//! The end of a worker in words.
//!
//! Belongs here: one line, and under `{:#}` what is for whoever looks into it. Does not belong here: what is known.

use std::fmt;

use super::{CrashReport, LossCause, Size, Started, text};

impl CrashReport {
    /// The report without its words on a task, for a worker that was lost before it had one.
    pub(super) fn without_task(&self) -> impl fmt::Display {
        struct WorkerOnly<'a>(&'a CrashReport);

        impl fmt::Display for WorkerOnly<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write_worker(f)?;
                self.0.write_vitals(f)?;
                text::write_stderr(f, self.0.stderr_tail())
            }
        }

        WorkerOnly(self)
    }

    fn write_worker(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot().write_worker(f)?;
        write!(f, ".{}", self.generation())?;
        if let Some(pid) = self.pid() {
            write!(f, " (pid {pid})")?;
        }
        f.write_str(" was lost: ")?;
        self.write_cause(f)?;
        write!(f, " after {:.1?}", self.uptime())?;
        match self.detail() {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }

    /// What is for whoever looks into it.
    fn write_vitals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return Ok(());
        }
        if let Some(bytes) = self.rss() {
            write!(f, "; {} in memory", Size(bytes))?;
        }
        // The system counts in ticks of 10 ms or so.
        if let Some(time) = self.cpu_time().filter(|time| !time.is_zero()) {
            write!(f, "; {time:.1?} on CPUs")?;
        }
        if self.tasks_done() > 0 {
            write!(f, "; {} tasks done", self.tasks_done())?;
        }
        for (nth, running) in self.running().iter().enumerate() {
            let before = if nth == 0 { "; it had " } else { ", " };
            let started = match running.started {
                Started::Yes => "",
                Started::No => ", not started",
                Started::Unknown => ", perhaps started",
            };
            let (task, id, age) = (running.task, running.id, running.age);
            write!(f, "{before}{task:?} ({id}, for {age:.1?}{started})")?;
        }
        Ok(())
    }

    fn write_cause(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause() {
            LossCause::Exited => {
                return match self.code() {
                    // What the standard library exits with after a panic in main.
                    Some(101) => f.write_str("exited with code 101 (as after a panic in main)"),
                    Some(code) => write!(f, "exited with code {code}"),
                    None => f.write_str("exited with an unknown code"),
                };
            }
            LossCause::Signal => {
                f.write_str("killed by ")?;
                self.write_signal(f)?;
                return f.write_str(match self.signal_name() {
                    Some("SIGKILL") => {
                        " (not by the pool: a usual sender is the kernel's out-of-memory killer)"
                    }
                    Some("SIGABRT") => {
                        " (an abort: a failed assertion in C, a panic while panicking, or `panic = \"abort\"`)"
                    }
                    _ => "",
                });
            }
            LossCause::Panicked => "aborted by a panic",
            LossCause::Killed => "killed by the pool",
            LossCause::Operator => "killed on request",
            LossCause::Retired => "replaced before it was empty",
            LossCause::Init => "failed before it was ready",
            LossCause::Stalled => "stalled and was killed by the pool",
            LossCause::Memory => "took too much memory and was killed by the pool",
            LossCause::KernelOom => "killed by the kernel for want of memory",
            LossCause::Protocol => "broke the protocol and was killed",
            LossCause::PoolGone => "the System or arbiter of its pool ended",
        })?;
        if self.signal().is_some() {
            f.write_str(" (")?;
            self.write_signal(f)?;
            f.write_str(")")
        } else if let Some(code) = self.code() {
            write!(f, " (code {code})")
        } else {
            Ok(())
        }
    }

    fn write_signal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal_name(), self.signal()) {
            (Some(name), _) => f.write_str(name),
            (None, Some(number)) => write!(f, "signal {number}"),
            (None, None) => f.write_str("an unknown signal"),
        }
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_worker(f)?;
        f.write_str(match self.started() {
            Started::Yes => "; the task had started",
            Started::No => "; the task had not started, so it is safe to submit again",
            Started::Unknown => "; the task may have started",
        })?;
        match (self.started(), self.suspects()) {
            // A task that did not start is never a suspect, so saying it adds nothing.
            (Started::No, _) => {}
            (_, 0) => f.write_str(" and is no suspect")?,
            (_, 1) if self.poisoned() => {
                f.write_str(", 1 suspect: it has killed two workers, this one alone")?;
            }
            (_, 1) => f.write_str(", 1 suspect")?,
            (_, suspects) => write!(f, ", {suspects} suspects")?,
        }
        self.write_vitals(f)?;
        if self.panic().is_some() && !f.alternate() {
            // It has said more than its last line there.
            return Ok(());
        }
        text::write_stderr(f, self.stderr_tail())
    }
}
