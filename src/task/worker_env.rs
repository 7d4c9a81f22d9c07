//! What the tasks of a worker share.
//!
//! Belongs here: what the worker knows and its tasks may ask for. Does not belong here: the task's own.

use std::{any::Any, rc::Rc, sync::Arc};

use crate::task::{Board, WorkerInfo};

/// A worker as its tasks see it.
pub(crate) struct WorkerEnv {
    pub(crate) worker: WorkerInfo,
    /// The most bytes that an output, or an error, may have.
    pub(crate) max_bytes: usize,
    pub(crate) board: Arc<Board>,
    /// Workers of the same kind, for pools in this worker: whoever describes workers knows the type.
    pub(crate) kin: Rc<dyn Any>,
}
