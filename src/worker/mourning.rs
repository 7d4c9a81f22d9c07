//! Telling the failure hook of a worker.
//!
//! Belongs here: what the hook hears of, and when. Does not belong here: how a failure travels to the host.
//! Invariants: the hook hears of a failure when what reports it was written, so that a hook which ends the process takes
//! no report with it; a panic of the hook, or of an error's drop, goes no further.

use std::{any::Any, cell::RefCell};

use crate::{
    error::{CodecError, RemoteError, capture},
    observe::log,
    task::{Failure, FailureInfo, Scope},
    worker::{Program, outbox::Outbox},
};

/// An end that the failure hook hears of once it was written.
pub(super) enum Mourned {
    Failed(Box<dyn Any>),
    Panicked(RemoteError),
    Codec(CodecError),
}

/// A failure whose report is on its way.
struct Kept {
    ticket: u64,
    /// The position behind the report, as far as it is queued.
    mark: u64,
    /// Parts of the report have yet to be queued.
    parts: bool,
    info: FailureInfo,
    failure: Mourned,
}

impl Kept {
    fn is_written(&mut self, out: &Outbox) -> bool {
        if self.parts && !out.has_parts(self.ticket) {
            self.parts = false;
            // Its last part is before this.
            self.mark = out.mark();
        }
        !self.parts && out.is_written(self.mark)
    }
}

/// What the failure hook is still to hear of.
#[derive(Default)]
pub(super) struct Mourning {
    waiting: RefCell<Vec<Kept>>,
}

impl Mourning {
    /// Keeps a failure, whose report was queued last, for the hook, if there is one.
    pub(super) fn take(
        &self,
        program: &Program,
        out: &Outbox,
        name: u16,
        scope: &Scope,
        failure: Mourned,
    ) {
        if program.on_failure.is_none() {
            if capture::contained(|| drop(failure)).is_none() {
                let task = scope.id.get();
                log(|| tracing::error!(task, "an error panicked while it was dropped"));
            }
            return;
        }
        if let Some(entry) = program.tasks.get(usize::from(name)) {
            let info = FailureInfo {
                name: entry.name,
                id: scope.id,
                attempt: scope.attempt,
                worker: scope.env.worker,
            };
            self.waiting.borrow_mut().push(Kept {
                ticket: scope.ticket,
                mark: out.mark(),
                parts: out.has_parts(scope.ticket),
                info,
                failure,
            });
        }
    }

    /// Tells of what was written.
    pub(super) fn tell(&self, program: &Program, out: &Outbox) {
        if self.waiting.borrow().is_empty() {
            return;
        }
        let Some(hook) = &program.on_failure else {
            return;
        };
        let ready: Vec<_> = self
            .waiting
            .borrow_mut()
            .extract_if(.., |kept| kept.is_written(out))
            .collect();
        for Kept { info, failure, .. } in ready {
            // The error goes in here, too: its drop is the task's own code.
            let told = capture::contained(|| {
                let failure = match &failure {
                    Mourned::Failed(error) => Failure::Failed(error.as_ref()),
                    Mourned::Panicked(error) => Failure::Panicked(error),
                    Mourned::Codec(error) => Failure::Codec(error),
                };
                hook(&info, failure);
            });
            let dropped = capture::contained(|| drop(failure));
            if told.and(dropped).is_none() {
                log(|| tracing::error!(task = info.id.get(), "the on_failure hook panicked"));
            }
        }
    }
}
