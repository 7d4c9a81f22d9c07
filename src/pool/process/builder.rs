//! What a single process may be told before it starts.
//!
//! Belongs here: those settings of a pool that mean something for one process. Does not belong here: their checks.

use std::{ffi::OsStr, fmt, marker::PhantomData, path::PathBuf, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    config::{Launcher, Stdio},
    error::StartError,
    pool::{HasInitArgs, PoolBuilder, Process, Submit},
    spec::Workers,
    task::Task,
};

/// Configures a [`Process`]. `T` is its task, `A` what the initializer of the workers takes. Made by [`Process::builder`]; ended by [`spawn`](ProcessBuilder::spawn).
#[must_use = "a process starts with `.spawn(task)`"]
pub struct ProcessBuilder<T, A = ()> {
    pool: PoolBuilder<A>,
    launcher: Launcher,
    name: Option<String>,
    task: PhantomData<fn(T)>,
}

impl<T: Task, A> ProcessBuilder<T, A> {
    pub(super) fn new(workers: &Workers<A>) -> Self {
        let mut pool = PoolBuilder::new(workers.clone())
            .processes(1)
            .concurrency(1)
            .queue_limit(1);
        pool.one_life = true;
        Self {
            pool,
            launcher: Launcher::own_image(),
            name: None,
            task: PhantomData,
        }
    }

    fn with(mut self, change: impl FnOnce(PoolBuilder<A>) -> PoolBuilder<A>) -> Self {
        self.pool = change(self.pool);
        self
    }

    /// Names the process, for [`Process::name`] and, on Unix, for the system's list of processes. Default: `process-1` and
    /// so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.launcher = self.launcher.env(name, value);
        self
    }

    /// Sets how it is started, and forgets what [`env`](Self::env) has set before. Default: [`Launcher::own_image`].
    pub fn launcher(mut self, launcher: Launcher) -> Self {
        self.launcher = launcher;
        self
    }

    /// Gives the initializer its argument, for workers with [`state_with`](crate::WorkerSpec::state_with).
    pub fn init_args(self, args: A) -> ProcessBuilder<T>
    where
        A: Serialize + DeserializeOwned + 'static,
    {
        ProcessBuilder {
            pool: self.pool.init_args(args),
            launcher: self.launcher,
            name: self.name,
            task: PhantomData,
        }
    }

    /// Sets how long it may take from its start until it is ready for its task. Default: 30 s.
    pub fn start_timeout(self, limit: Duration) -> Self {
        self.with(|pool| pool.start_timeout(limit))
    }

    /// Sets how large the encoded task or its result may be. Default: 64 MiB. At least 256 KiB.
    pub fn max_frame_bytes(self, bytes: usize) -> Self {
        self.with(|pool| pool.max_frame_bytes(bytes))
    }

    /// Sets the time between asking it to end and killing it, and between the loss of its host and its end. Default: 3 s.
    pub fn grace(self, grace: Duration) -> Self {
        self.with(|pool| pool.grace(grace))
    }

    /// Sets where its output streams go. Default: [`Stdio::default`].
    pub fn stdio(self, stdio: Stdio) -> Self {
        self.with(|pool| pool.stdio(stdio))
    }

    /// Sets the directory for its socket, as [`PoolBuilder::socket_dir`](crate::PoolBuilder::socket_dir) does.
    pub fn socket_dir(self, directory: impl Into<PathBuf>) -> Self {
        self.with(|pool| pool.socket_dir(directory))
    }

    /// Starts the process on the current arbiter, for this task.
    ///
    /// # Errors
    ///
    /// [`StartError`] for what is known to be wrong at once: a bad setting, no arbiter. What goes wrong later, also that the
    /// program cannot be started or its initializer fails, is the process's outcome.
    pub fn spawn(self, task: impl Into<Submit<T>>) -> Result<Process<T>, StartError>
    where
        A: HasInitArgs,
    {
        Process::spawn(self.pool, self.launcher, self.name, task.into())
    }
}

impl<T, A> fmt::Debug for ProcessBuilder<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("name", &self.name)
            .field("launcher", &self.launcher)
            .field("pool", &self.pool)
            .finish()
    }
}
