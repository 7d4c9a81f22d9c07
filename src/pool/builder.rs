//! Configuring and starting a pool.
//!
//! Belongs here: every knob with its unit and default, checking them, and where a pool runs. Does not belong here:
//! defaults of anything else.
//! Invariant: a bad value is refused by `start`, with its name; nothing panics.

use std::{marker::PhantomData, path::PathBuf, sync::Arc, time::Duration};

use actix::{Actor, Addr};
use actix_rt::{Arbiter, ArbiterHandle, System};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use crate::{
    error::{CodecError, CodecSide, CodecValue, ConfigError, StartError, WorkerStartError},
    ipc::SocketPlace,
    pool::Pool,
    spec::Workers,
    supervisor::{Config, PoolCore, PoolSupervisor, Restart, Stdio, WhenFull, actor::Home},
    wire::{Payload, codec},
    worker::SENTINEL,
};

const MIB: usize = 1024 * 1024;

/// The smallest limit of a value: an error with all its texts at their own limits fits.
const MIN_FRAME_BYTES: usize = 256 * 1024;

/// Configures a pool. Made by [`Pool::builder`]; ended by [`start`](PoolBuilder::start).
///
/// `A` is what the workers' initializer takes; a pool of workers that take something starts only after
/// [`init_args`](PoolBuilder::init_args).
#[must_use = "a pool starts with `.start()`"]
pub struct PoolBuilder<A = ()> {
    workers: Workers<()>,
    args: Option<Result<Payload, CodecError>>,
    processes: Option<usize>,
    concurrency: usize,
    queue_limit: Option<usize>,
    queue_bytes: usize,
    result_bytes: usize,
    when_full: WhenFull,
    restart: Restart,
    max_attempts: u32,
    start_timeout: Duration,
    max_frame_bytes: usize,
    cancel_grace: Duration,
    grace: Duration,
    stdio: Stdio,
    socket_dir: Option<PathBuf>,
    wait_all: bool,
    own_arbiter: bool,
    needs: PhantomData<fn(A)>,
}

impl<A> PoolBuilder<A> {
    pub(super) fn new(workers: Workers<A>) -> Self {
        Self {
            workers: workers.erased(),
            args: None,
            processes: None,
            concurrency: 16,
            queue_limit: None,
            queue_bytes: 256 * MIB,
            result_bytes: 256 * MIB,
            when_full: WhenFull::default(),
            restart: Restart::default(),
            max_attempts: 3,
            start_timeout: Duration::from_secs(30),
            max_frame_bytes: 64 * MIB,
            cancel_grace: Duration::from_secs(1),
            grace: Duration::from_secs(3),
            stdio: Stdio::default(),
            socket_dir: None,
            wait_all: false,
            own_arbiter: false,
            needs: PhantomData,
        }
    }

    /// Sets how many worker processes there are. Default: the CPUs this process may use.
    pub fn processes(mut self, count: usize) -> Self {
        self.processes = Some(count);
        self
    }

    /// Sets how many tasks one worker runs at once. Default: 16, which suits tasks that wait; 1 suits tasks that compute.
    pub fn concurrency(mut self, tasks: usize) -> Self {
        self.concurrency = tasks;
        self
    }

    /// Sets how many tasks may wait for a worker. Default: 1024 for each process.
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.queue_limit = Some(tasks);
        self
    }

    /// Sets how many encoded bytes all unsettled tasks may have together. Default: 256 MiB.
    ///
    /// One task larger than that is taken when it is the only one.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Sets how many bytes of results may be settled and not taken. Default: 256 MiB.
    ///
    /// Above it only tasks that somebody is waiting for right now are sent to workers, and maps pull no more input. What
    /// is with a worker already is read and settled in any case.
    pub fn result_bytes(mut self, bytes: usize) -> Self {
        self.result_bytes = bytes;
        self
    }

    /// Sets what a submit meets when the queue is full. Default: [`WhenFull::Reject`]. Maps always wait.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets how lost workers are replaced. Default: [`Restart::default`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how often an idempotent task may start whose workers are lost. Default: 3. At least 1.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets how long a worker may take from its start until it is ready. Default: 30 s.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// Sets how large one encoded input or result may be. Default: 64 MiB. At least 256 KiB.
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// Sets how long a cancelled task may take to end before its caller is told so. Default: 1 s.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.cancel_grace = grace;
        self
    }

    /// Sets the time between asking a worker to end and killing it, and between the loss of its host and its end.
    /// Default: 3 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets where the output streams of workers go. Default: [`Stdio::default`].
    pub fn stdio(mut self, stdio: Stdio) -> Self {
        self.stdio = stdio;
        self
    }

    /// Sets the directory below which a private directory for sockets is made.
    ///
    /// Default: `$XDG_RUNTIME_DIR`, else the temp directory, else (Linux) no directory but an abstract name. Not on
    /// Windows, where workers connect by named pipes.
    pub fn socket_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.socket_dir = Some(directory.into());
        self
    }

    /// Makes [`start`](PoolBuilder::start) wait until every worker is ready. Default: until the first is.
    pub fn wait_all(mut self) -> Self {
        self.wait_all = true;
        self
    }

    /// Runs the pool on a thread of its own: an arbiter of the current `System`, or, from plain tokio, a `System` of its
    /// own. The thread ends with the pool. Default: on the current arbiter.
    pub fn own_arbiter(mut self) -> Self {
        self.own_arbiter = true;
        self
    }

    /// Gives the workers' initializer its argument, for workers with
    /// [`state_with`](crate::WorkerSpec::state_with).
    pub fn init_args(self, args: A) -> PoolBuilder<()>
    where
        A: Serialize + DeserializeOwned + 'static,
    {
        PoolBuilder {
            args: Some(codec::encode_checked(
                &args,
                CodecValue::InitArgs,
                CodecSide::Host,
            )),
            workers: self.workers,
            processes: self.processes,
            concurrency: self.concurrency,
            queue_limit: self.queue_limit,
            queue_bytes: self.queue_bytes,
            result_bytes: self.result_bytes,
            when_full: self.when_full,
            restart: self.restart,
            max_attempts: self.max_attempts,
            start_timeout: self.start_timeout,
            max_frame_bytes: self.max_frame_bytes,
            cancel_grace: self.cancel_grace,
            grace: self.grace,
            stdio: self.stdio,
            socket_dir: self.socket_dir,
            wait_all: self.wait_all,
            own_arbiter: self.own_arbiter,
            needs: PhantomData,
        }
    }
}

impl<A> PoolBuilder<A> {
    /// Starts the pool on the current arbiter, or on its own with [`own_arbiter`](Self::own_arbiter), and waits until
    /// the first worker is ready, or all are with [`wait_all`](Self::wait_all).
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] names a bad value; [`StartError::NoArbiter`] says that the thread runs no actix `System`;
    /// [`StartError::Worker`] is the cause when the first attempt of every slot has failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends what was started.
    pub async fn start(self) -> Result<Pool, StartError>
    where
        A: HasInitArgs,
    {
        if self.own_arbiter {
            return self.start_apart().await;
        }
        if Arbiter::try_current().is_none() {
            return Err(StartError::NoArbiter);
        }
        let mut prepared = self.prepare()?;
        let addr = prepared.actor(Home::Shared).start();
        prepared.started(addr).await
    }

    /// Starts the pool on another arbiter, and waits as [`start`](Self::start) does. Works from any thread and runtime.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); [`StartError::Closed`] when that arbiter has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends what was started.
    pub async fn start_on(self, arbiter: &ArbiterHandle) -> Result<Pool, StartError>
    where
        A: HasInitArgs,
    {
        self.prepare()?.start_on(arbiter, Home::Shared).await
    }

    async fn start_apart(self) -> Result<Pool, StartError> {
        let mut prepared = self.prepare()?;
        if System::try_current().is_some() {
            let arbiter = Arbiter::new();
            return prepared.start_on(&arbiter.handle(), Home::OwnArbiter).await;
        }
        let (sender, receiver) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        let actor = prepared.actor(Home::OwnSystem(ended_sender));
        std::thread::Builder::new()
            .name("pool".to_owned())
            .spawn(move || {
                System::new().block_on(async move {
                    // Nobody to tell when `start` was dropped; the address goes, and with it the pool.
                    let _ = sender.send(actor.start());
                    // Ends with an error: the sender is dropped with the actor.
                    let _ = ended.await;
                });
            })
            .map_err(|error| StartError::NoSocket {
                message: format!("no thread for the pool: {error}"),
            })?;
        let addr = receiver.await.map_err(|_| StartError::Closed)?;
        prepared.started(addr).await
    }

    fn prepare(self) -> Result<Prepared, StartError> {
        let worker = std::env::args_os().any(|argument| {
            argument
                .to_str()
                .is_some_and(|argument| argument.starts_with(SENTINEL))
        });
        if worker && self.workers.connects() {
            return Err(ConfigError::Contradiction {
                message: "this process was started as a worker, but no WorkerSpec of that name was initialised before a pool was started; call `init()` first in main".to_owned(),
            }
            .into());
        }
        let socket_dir = self.socket_dir.clone();
        let wait_all = self.wait_all;
        let config = self.check()?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| StartError::NoSocket {
            message: format!("no random name: {error}"),
        })?;
        let random = format!("{:016x}", u64::from_le_bytes(random));
        let place = SocketPlace::find(socket_dir.as_deref(), &random).map_err(|error| {
            StartError::NoSocket {
                message: error.to_string(),
            }
        })?;
        let core = PoolCore::new(config);
        let (waiter, started) = oneshot::channel();
        core.control.await_start(wait_all, waiter);
        Ok(Prepared {
            place: Some(place),
            core,
            started,
        })
    }

    fn check(self) -> Result<Config, StartError> {
        if let Some(problem) = self.workers.problem() {
            return Err(problem.clone().into());
        }
        let processes = match self.processes {
            Some(count) => count,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let processes = count("processes", processes, 4096)?;
        let concurrency = count("concurrency", self.concurrency, 1 << 20)?;
        let queue_limit = self.queue_limit.unwrap_or(1024 * processes as usize);
        for (knob, value) in [
            ("queue_limit", queue_limit),
            ("queue_bytes", self.queue_bytes),
            ("result_bytes", self.result_bytes),
            ("max_attempts", self.max_attempts as usize),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { knob }.into());
            }
        }
        if self.start_timeout.is_zero() {
            return Err(ConfigError::Zero {
                knob: "start_timeout",
            }
            .into());
        }
        if self.max_frame_bytes < MIN_FRAME_BYTES {
            return Err(ConfigError::TooSmall {
                knob: "max_frame_bytes",
                value: self.max_frame_bytes.to_string(),
                least: MIN_FRAME_BYTES.to_string(),
            }
            .into());
        }
        if u32::try_from(self.max_frame_bytes).is_err() {
            return Err(ConfigError::TooLarge {
                knob: "max_frame_bytes",
                value: self.max_frame_bytes.to_string(),
                most: u32::MAX.to_string(),
            }
            .into());
        }
        if cfg!(not(unix)) && self.socket_dir.is_some() {
            return Err(ConfigError::Unsupported {
                knob: "socket_dir",
                platform: std::env::consts::OS,
            }
            .into());
        }
        if self.restart.backoff_min > self.restart.backoff_max {
            return Err(ConfigError::Contradiction {
                message: format!(
                    "the back-off begins with {:?}, above its maximum of {:?}",
                    self.restart.backoff_min, self.restart.backoff_max
                ),
            }
            .into());
        }
        let init_args = self
            .args
            .transpose()
            .map_err(|error| StartError::Worker(WorkerStartError::InitArgs(error)))?;
        Ok(Config {
            table: self.workers.table(),
            launcher: self.workers.launcher(),
            processes,
            concurrency,
            queue_limit,
            queue_bytes: self.queue_bytes,
            result_bytes: self.result_bytes,
            when_full: self.when_full,
            rules: self.restart.rules(processes),
            max_attempts: self.max_attempts,
            start_timeout: self.start_timeout,
            max_frame_bytes: self.max_frame_bytes,
            cancel_grace: self.cancel_grace,
            grace: self.grace,
            stdio: self.stdio,
            init_args,
        })
    }
}

fn count(knob: &'static str, value: usize, most: u32) -> Result<u32, ConfigError> {
    match u32::try_from(value) {
        Ok(0) => Err(ConfigError::Zero { knob }),
        Ok(value) if value <= most => Ok(value),
        _ => Err(ConfigError::TooLarge {
            knob,
            value: value.to_string(),
            most: most.to_string(),
        }),
    }
}

/// Says that a pool was given what the initializer of its workers takes. Implemented by this crate only.
#[diagnostic::on_unimplemented(
    message = "the initializer of these workers takes `{Self}`, which the pool was not given",
    label = "started without it",
    note = "call `.init_args(..)` with it first"
)]
pub trait HasInitArgs: sealed::Sealed {}

impl HasInitArgs for () {}

mod sealed {
    #[expect(
        unnameable_types,
        reason = "what cannot be named cannot be implemented"
    )]
    pub trait Sealed {}

    impl Sealed for () {}
}

/// A pool whose actor has yet to be started.
struct Prepared {
    place: Option<SocketPlace>,
    core: Arc<PoolCore>,
    started: oneshot::Receiver<Result<(), StartError>>,
}

impl Prepared {
    fn actor(&mut self, home: Home) -> PoolSupervisor {
        let place = self
            .place
            .take()
            .unwrap_or_else(|| SocketPlace::Namespace(String::new()));
        PoolSupervisor::new(Arc::clone(&self.core), place, home)
    }

    async fn start_on(mut self, arbiter: &ArbiterHandle, home: Home) -> Result<Pool, StartError> {
        let (sender, receiver) = oneshot::channel();
        let actor = self.actor(home);
        arbiter.spawn(async move {
            // Nobody to tell when `start` was dropped; the address goes, and with it the pool.
            let _ = sender.send(actor.start());
        });
        let addr = receiver.await.map_err(|_| StartError::Closed)?;
        self.started(addr).await
    }

    async fn started(self, addr: Addr<PoolSupervisor>) -> Result<Pool, StartError> {
        let pool = Pool {
            addr,
            core: self.core,
        };
        match self.started.await {
            Ok(Ok(())) => Ok(pool),
            Ok(Err(error)) => {
                // Nothing is left behind when the caller hears of it.
                pool.stop().await;
                Err(error)
            }
            Err(_) => Err(StartError::Closed),
        }
    }
}

impl<A> std::fmt::Debug for PoolBuilder<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Every knob, so that a log line shows what a pool was started with; arguments may be large or secret.
        f.debug_struct("PoolBuilder")
            .field("workers", &self.workers)
            .field("processes", &self.processes)
            .field("concurrency", &self.concurrency)
            .field("queue_limit", &self.queue_limit)
            .field("queue_bytes", &self.queue_bytes)
            .field("result_bytes", &self.result_bytes)
            .field("when_full", &self.when_full)
            .field("restart", &self.restart)
            .field("max_attempts", &self.max_attempts)
            .field("start_timeout", &self.start_timeout)
            .field("max_frame_bytes", &self.max_frame_bytes)
            .field("cancel_grace", &self.cancel_grace)
            .field("grace", &self.grace)
            .field("stdio", &self.stdio)
            .field("socket_dir", &self.socket_dir)
            .field("wait_all", &self.wait_all)
            .field("own_arbiter", &self.own_arbiter)
            .field("has_init_args", &self.args.is_some())
            .finish()
    }
}
