//! Workers of a worker.
//!
//! Belongs here: what a pool in a worker takes from the task that has it. Does not belong here: what it does with that.
//! Invariant: nothing outlives its task's time by being handed down.

use std::{rc::Rc, time::Instant};

use crate::{
    error::ConfigError,
    spec::Workers,
    task::TaskContext,
    wire::{Lineage, Payload},
    worker::MakeKin,
};

/// How many pools may be one inside the other.
const LEVELS: u8 = 2;

/// What a pool in a worker takes from the task that has it.
#[derive(Debug, Clone)]
pub(crate) struct Nested {
    pub(crate) lineage: Lineage,
    /// What the worker's own state was made from.
    pub(crate) args: Option<Payload>,
    /// When the task has to have ended.
    pub(crate) until: Option<Instant>,
}

impl Nested {
    pub(super) fn problem(&self) -> Option<ConfigError> {
        (self.lineage.level >= LEVELS).then_some(ConfigError::TooDeep {
            levels: u32::from(LEVELS),
        })
    }
}

impl Workers {
    /// For the worker of this kind that this process is.
    pub(crate) fn into_kin(self) -> MakeKin {
        Box::new(|lineage, args| {
            let until = None;
            Rc::new(self.nested(Nested {
                lineage,
                args,
                until,
            }))
        })
    }
}

impl<S> TaskContext<S> {
    /// Returns the workers of this worker's own kind, for a pool inside it: `Pool::builder(cx.workers())`.
    ///
    /// They are started as this one was, and make their state from the same arguments, of which every worker keeps the
    /// encoded bytes for this. By default there are as many as this worker has CPUs to itself, and they share those.
    ///
    /// What is submitted to such a pool has the time that this task has: [`remaining`](Self::remaining) at most, so a pool that
    /// is kept for other tasks should be made by one without limits. A pool that is dropped with its task cancels what its
    /// handles waited for, and ends. If this worker is killed, its own end within their `grace`.
    ///
    /// Pools may be two levels deep: in a worker of such a pool, a pool's start is
    /// [`ConfigError::TooDeep`](crate::ConfigError::TooDeep).
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_multiprocess::{NoError, Pool, RemoteError, Task, TaskContext};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Page(u32);
    /// # impl Task for Page {
    /// #     const NAME: &'static str = "page";
    /// #     type Output = u64;
    /// #     type Error = NoError;
    /// #     type State = ();
    /// #     async fn run(self, _: TaskContext<()>) -> Result<u64, NoError> { Ok(self.0.into()) }
    /// # }
    /// /// Adds up pages that each may crash a worker of its own.
    /// #[derive(Serialize, Deserialize)]
    /// struct Book(u32);
    ///
    /// impl Task for Book {
    ///     const NAME: &'static str = "book";
    ///     type Output = u64;
    ///     type Error = RemoteError;
    ///     type State = ();
    ///     async fn run(self, cx: TaskContext<()>) -> Result<u64, RemoteError> {
    ///         let pool = Pool::builder(cx.workers()).start().await?;
    ///         let pages = pool.map((0..self.0).map(Page)).await?;
    ///         Ok(pages.iter().sum())
    ///     }
    /// }
    /// ```
    pub fn workers(&self) -> Workers {
        let scope = self.scope();
        // Every worker that is started knows them.
        let kin = scope.env.kin.downcast_ref::<Workers>().cloned();
        kin.unwrap_or_else(Workers::unknown).until(scope.until)
    }
}
