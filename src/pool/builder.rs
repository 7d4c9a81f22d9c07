//! What a pool may be told before it starts.
//!
//! Belongs here: a method for each setting, with its unit and default. Does not belong here: checking them, starting.
//! Invariant: nothing panics, and nothing is looked at before `start`.

use std::{
    any::{Any as _, TypeId, type_name},
    marker::PhantomData,
    path::PathBuf,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    config::{
        Concurrency, Launcher, OnExhausted, PoolConfig, Restart, Stdio, TaskOptions, WhenFull,
    },
    error::{CodecError, CodecSide, CodecValue},
    pool::Capture,
    sched::{LeastLoaded, Routing},
    spec::Workers,
    task::Task,
    wire::{Payload, codec},
};

/// Configures a pool. Made by [`Pool::builder`](crate::Pool::builder); ended by [`start`](PoolBuilder::start).
///
/// `A` is what the workers' initializer takes; a pool of workers that take something starts only after
/// [`init_args`](PoolBuilder::init_args).
#[must_use = "a pool starts with `.start()`"]
pub struct PoolBuilder<A = ()> {
    pub(super) workers: Workers<()>,
    /// What the initializer takes, encoded, and the name of its type.
    pub(super) args: Option<Result<(Payload, &'static str), CodecError>>,
    pub(super) config: PoolConfig,
    pub(super) launcher: Option<Launcher>,
    pub(super) capture: Option<Capture>,
    pub(super) routing: Option<Box<dyn Routing>>,
    pub(super) wait_all: bool,
    pub(super) own_arbiter: bool,
    /// It is one process, which is not replaced.
    pub(super) one_life: bool,
    pub(super) needs: PhantomData<fn(A)>,
}

impl<A> PoolBuilder<A> {
    pub(super) fn new(workers: Workers<A>) -> Self {
        Self {
            workers: workers.erased(),
            args: None,
            config: PoolConfig::default(),
            launcher: None,
            capture: None,
            routing: None,
            wait_all: false,
            own_arbiter: false,
            one_life: false,
            needs: PhantomData,
        }
    }

    /// Sets every knob at once: what a file or the environment says. Whatever is set after it wins.
    pub fn config(mut self, config: PoolConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets how many worker processes there are. Default: the CPUs this process may use.
    pub fn processes(mut self, count: usize) -> Self {
        self.config.processes = Some(count);
        self
    }

    /// Sets how many tasks one worker runs at once. Default: 16, which suits tasks that wait; 1 suits tasks that compute.
    ///
    /// Where tasks of both kinds come, or it is not known what they do: [`Concurrency::Adaptive`].
    pub fn concurrency(mut self, tasks: impl Into<Concurrency>) -> Self {
        self.config.concurrency = tasks.into();
        self
    }

    /// Sets how many tasks may wait for a worker. Default: 1024 for each process.
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.config.queue_limit = Some(tasks);
        self
    }

    /// Sets how many encoded bytes all unsettled tasks may have together. Default: 256 MiB.
    ///
    /// One task larger than that is taken when it is the only one.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.config.queue_bytes = bytes;
        self
    }

    /// Sets how many bytes of results may be settled and not taken. Default: 256 MiB.
    ///
    /// Above it only tasks that somebody is waiting for right now are sent to workers, and maps pull no more input. What
    /// is with a worker already is read and settled in any case.
    pub fn result_bytes(mut self, bytes: usize) -> Self {
        self.config.result_bytes = bytes;
        self
    }

    /// Sets what a submit meets when the queue is full. Default: [`WhenFull::Reject`]. Maps always wait.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.config.when_full = when_full;
        self
    }

    /// Sets how lost workers are replaced. Default: [`Restart::default`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.config.restart = restart;
        self
    }

    /// Sets what the pool does when the restart budget is spent and no worker is ready. Default:
    /// [`OnExhausted::OpenCircuit`].
    pub fn on_exhausted(mut self, what: OnExhausted) -> Self {
        self.config.on_exhausted = what;
        self
    }

    /// Sets how many tasks a worker starts before another takes its place. Default: no limit. At least 1.
    ///
    /// Each worker draws its number once, from the range that [`jitter`](Self::jitter) leaves below this one, and starts
    /// exactly that many; then it ends what it has, while its replacement takes over. (One fewer for each task that was
    /// cancelled after it had been sent the last, and before its own start.)
    pub fn max_tasks(mut self, tasks: u32) -> Self {
        self.config.max_tasks = Some(tasks);
        self
    }

    /// Sets how long a worker serves before another takes its place, less [`jitter`](Self::jitter). Default: no limit.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.config.max_age = Some(age);
        self
    }

    /// Sets by how many percent [`max_tasks`](Self::max_tasks) and [`max_age`](Self::max_age) are less at most, at random,
    /// so that workers that were started together do not leave together. Default: 10. At most 100.
    pub fn jitter(mut self, percent: u8) -> Self {
        self.config.jitter = percent;
        self
    }

    /// Sets how long a worker that is to be replaced, or that a [`Resize`](crate::Resize) has made one too many, may go on
    /// with the tasks it has. Default: 60 s.
    ///
    /// After that it is ended: idempotent tasks run again, no attempt spent; the others settle as
    /// [`WorkerLost`](crate::TaskError::WorkerLost) with [`LossCause::Retired`](crate::LossCause::Retired).
    pub fn retire_timeout(mut self, limit: Duration) -> Self {
        self.config.retire_timeout = limit;
        self
    }

    /// Sets how long a worker may take from its start until it is ready. Default: 30 s.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.config.start_timeout = limit;
        self
    }

    /// Sets how large one encoded input or result may be. Default: 64 MiB. At least 256 KiB.
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.config.max_frame_bytes = bytes;
        self
    }

    /// Sets how many threads the sockets of workers have of their own, each of them an arbiter. Default: 0, the pool's own thread
    /// serves them. At most 1,024; no more are started than there are workers at once. Where the system has none to give, that
    /// slot's socket stays with the pool's thread, and an error is logged.
    ///
    /// One thread passes more than a million tasks a second that are sent ahead or belong to a map, so this is for very many single
    /// tasks that are not, for a pool whose arbiter has other things to do, and for machines with dozens of cores. Measured with four
    /// workers and two CPUs, 1,024 such tasks outstanding: 0.7 million a second without, 1.1 million with two threads. A single
    /// task passes from one thread to another and back, which takes as long as waking both.
    pub fn io_arbiters(mut self, threads: usize) -> Self {
        self.config.io_arbiters = threads;
        self
    }

    /// Sets how long a cancelled task may take to end before its caller is told so. Default: 1 s.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.config.cancel_grace = grace;
        self
    }

    /// Sets the time between asking a worker to end and killing it, and between the loss of its host and its end.
    /// Default: 3 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    /// Sets where the output streams of workers go. Default: [`Stdio::default`].
    pub fn stdio(mut self, stdio: Stdio) -> Self {
        self.config.stdio = stdio;
        self
    }

    /// Sets what is different for the tasks of one name. Default: nothing. Options for a task that the workers do not have
    /// are refused.
    pub fn task_options<T: Task>(mut self, options: TaskOptions) -> Self {
        self.config.tasks.insert(T::NAME.to_owned(), options);
        self
    }

    /// Sets who decides which worker gets a task. Default: [`LeastLoaded`](crate::LeastLoaded).
    ///
    /// By default tasks that take 50 µs or less, as far as their workers know, are kept together, because waking a worker costs more
    /// than they do. One worker gets them until it has enough for 50 µs. And where there are more workers than CPUs, as many as there
    /// are CPUs get them (more if those run fewer than 16 at once), and the others sleep: a task that finds all of those with as many
    /// as they run waits for one of them, for a fraction of a millisecond as a rule, and for two or three if they say nothing any more.
    /// This is not so where workers have [CPUs of their own](crate::ProcessLimits::affinity), and nothing of it where another
    /// routing is set, which is asked about each task.
    ///
    /// Tasks with a [`key`](crate::Submit::key) go where that is at home.
    pub fn routing(mut self, routing: impl Routing) -> Self {
        // What the pool does by itself, without asking.
        let is_default = TypeId::of::<LeastLoaded>() == routing.type_id();
        self.routing = (!is_default).then(|| Box::new(routing) as Box<dyn Routing>);
        self
    }

    /// Sets the directory below which a private directory for sockets is made.
    ///
    /// Default: `$XDG_RUNTIME_DIR`, else the temp directory, else (Linux) no directory but an abstract name. On Linux
    /// `/dev/shm`, which waits for no disk, comes before the temp directory, unless `TMPDIR` is set or workers have a
    /// [`wrapper`](Launcher::wrapper). Not on Windows, where workers connect by named pipes.
    pub fn socket_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.config.socket_dir = Some(directory.into());
        self
    }

    /// Sets how workers are started. Default: [`Launcher::own_image`].
    ///
    /// Only for workers that are processes; those of `testing::in_process` refuse it.
    pub fn launcher(mut self, launcher: Launcher) -> Self {
        self.launcher = Some(launcher);
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
    /// [`state_with`](crate::WorkerSpec::state_with). It takes `max_frame_bytes` encoded at most.
    pub fn init_args(self, args: A) -> PoolBuilder<()>
    where
        A: Serialize + DeserializeOwned + 'static,
    {
        PoolBuilder {
            args: Some(
                codec::encode_checked(&args, CodecValue::InitArgs, CodecSide::Host)
                    .map(|payload| (payload, type_name::<A>())),
            ),
            workers: self.workers,
            config: self.config,
            launcher: self.launcher,
            capture: self.capture,
            routing: self.routing,
            wait_all: self.wait_all,
            own_arbiter: self.own_arbiter,
            one_life: self.one_life,
            needs: PhantomData,
        }
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

impl<A> std::fmt::Debug for PoolBuilder<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Every knob, so that a log line shows what a pool was started with; arguments may be large or secret.
        f.debug_struct("PoolBuilder")
            .field("workers", &self.workers)
            .field("config", &self.config)
            .field("launcher", &self.launcher)
            .field("has_routing", &self.routing.is_some())
            .field("wait_all", &self.wait_all)
            .field("own_arbiter", &self.own_arbiter)
            .field("has_init_args", &self.args.is_some())
            .finish()
    }
}
