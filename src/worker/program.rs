//! What a worker runs, with the types erased.
//!
//! Belongs here: the table of tasks and hooks that a `WorkerSpec` becomes. Does not belong here: calling them.

use std::{any::Any, fmt, future::Future, pin::Pin, rc::Rc, sync::Arc};

use tokio::runtime::Runtime;

use crate::{
    error::{CodecError, RemoteError},
    task::{Failure, FailureInfo, Scope, WorkerInfo},
    wire::{Lineage, Payload},
    worker::Batch,
};

pub(crate) type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// How a task's `run` ended.
pub(crate) enum Ended {
    Done(Payload),
    /// The encoded error, the error itself for the failure hook, and whether it may go away by itself.
    Failed(Payload, Box<dyn Any>, bool),
    Codec(CodecError),
}

/// Why a worker has no state.
#[derive(Debug)]
pub(crate) enum InitFailure {
    State(RemoteError),
    Args(CodecError),
}

type Runner = Arc<dyn Fn(&Payload, Rc<Scope>, &Rc<dyn Any>) -> LocalFuture<Ended> + Send + Sync>;
type Each = Arc<dyn Fn(&mut Batch<'_>, &Rc<dyn Any>) + Send + Sync>;
type Init =
    Arc<dyn Fn(Option<Payload>) -> LocalFuture<Result<Rc<dyn Any>, InitFailure>> + Send + Sync>;

type Setup = Arc<dyn Fn(&WorkerInfo) + Send + Sync>;
type MakeRuntime = Arc<dyn Fn() -> Runtime + Send + Sync>;
type Shutdown = Arc<dyn Fn(Rc<dyn Any>) -> LocalFuture<()> + Send + Sync>;
type OnFailure = Arc<dyn Fn(&FailureInfo, Failure<'_>) + Send + Sync>;

/// Makes workers of the worker's own kind, for pools in it, from what its host has told it.
pub(crate) type MakeKin = Box<dyn FnOnce(Lineage, Option<Payload>) -> Rc<dyn Any> + Send>;

/// One registered task.
#[derive(Clone)]
pub(crate) struct TaskEntry {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) run: Runner,
    /// Runs several; without it they run one by one.
    pub(crate) each: Option<Each>,
}

/// Everything a `WorkerSpec` says.
pub(crate) struct Program {
    /// Distinguishes several in one executable.
    pub(crate) name: &'static str,
    /// Sorted by name; a frame's name index is a place in it.
    pub(crate) tasks: Vec<TaskEntry>,
    pub(crate) setup: Option<Setup>,
    pub(crate) runtime: Option<MakeRuntime>,
    pub(crate) init: Init,
    pub(crate) shutdown: Option<Shutdown>,
    pub(crate) on_failure: Option<OnFailure>,
}

impl Program {
    /// Names and versions, as the handshake carries them.
    pub(crate) fn table(&self) -> Vec<(String, u32)> {
        self.tasks
            .iter()
            .map(|task| (task.name.to_owned(), task.version))
            .collect()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("tasks", &self.table())
            .finish_non_exhaustive()
    }
}
