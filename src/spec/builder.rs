//! Describing a worker.
//!
//! Belongs here: registering tasks and hooks, with their types. Does not belong here: when they are called.

use std::{any::Any, fmt, future::Future, marker::PhantomData, rc::Rc, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{CodecError, CodecSide, CodecStep, CodecValue, RemoteError},
    spec::{
        Workers,
        run::{each, run},
    },
    task::{Failure, FailureInfo, FromState, Task, TaskContext, WorkerInfo},
    wire::{Payload, codec},
    worker::{Ended, InitFailure, LocalFuture, Program, TaskEntry},
};

/// What a worker process does: its hooks, its state, its tasks.
///
/// `S` is the state that its tasks share, `A` what the state is made from.
///
/// # Examples
///
/// ```no_run
/// # use actix_multiprocess::{NoError, Task, TaskContext, WorkerSpec};
/// # use serde::{Deserialize, Serialize};
/// # use std::rc::Rc;
/// struct Codecs(u32);
///
/// #[derive(Serialize, Deserialize)]
/// struct Resize(u32);
///
/// impl Task for Resize {
///     const NAME: &'static str = "resize";
///     type Output = u32;
///     type Error = NoError;
///     type State = Rc<Codecs>;
///     async fn run(self, cx: TaskContext<Rc<Codecs>>) -> Result<u32, NoError> {
///         Ok(self.0 * cx.state().0)
///     }
/// }
///
/// fn main() {
///     let workers = WorkerSpec::new()
///         .state(|| async { Ok(Codecs(2)) })
///         .task::<Resize>()
///         .init();
///     // Only the host comes here.
/// }
/// ```
#[must_use = "a worker is described for nothing without `.init()`"]
pub struct WorkerSpec<S = (), A = ()> {
    program: Program,
    types: PhantomData<fn(A) -> S>,
}

impl WorkerSpec {
    /// Begins to describe the only kind of worker of this program.
    pub fn new() -> Self {
        Self::named("default")
    }

    /// Begins to describe one of several kinds of worker; the name tells them apart.
    pub fn named(name: &'static str) -> Self {
        Self {
            program: Program {
                name,
                tasks: Vec::new(),
                setup: None,
                runtime: None,
                init: Arc::new(|_| Box::pin(async { Ok(Rc::new(()) as Rc<dyn Any>) })),
                shutdown: None,
                on_failure: None,
            },
            types: PhantomData,
        }
    }

    /// Makes the state that the tasks of a worker share, once per worker, before its first task.
    ///
    /// A failure ends the worker: at the start of a pool it is
    /// [`WorkerStartError::State`](crate::WorkerStartError::State), later it counts against the restart budget.
    pub fn state<S, F, R>(self, init: F) -> WorkerSpec<S>
    where
        S: 'static,
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<S, RemoteError>> + 'static,
    {
        let init = Arc::new(init);
        self.with_init(move |_| {
            let init = Arc::clone(&init);
            Box::pin(async move { init().await.map(shared).map_err(InitFailure::State) })
        })
    }

    /// Makes the state from an argument that the host gives by
    /// [`PoolBuilder::init_args`](crate::PoolBuilder::init_args).
    pub fn state_with<S, A, F, R>(self, init: F) -> WorkerSpec<S, A>
    where
        S: 'static,
        A: Serialize + DeserializeOwned + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<S, RemoteError>> + 'static,
    {
        let init = Arc::new(init);
        self.with_init(move |args: Option<Payload>| {
            let init = Arc::clone(&init);
            Box::pin(async move {
                let args = codec::decode_checked(
                    &args.unwrap_or_default(),
                    CodecValue::InitArgs,
                    CodecSide::Worker,
                )
                .map_err(InitFailure::Args)?;
                init(args).await.map(shared).map_err(InitFailure::State)
            })
        })
    }

    fn with_init<S, A>(
        self,
        init: impl Fn(Option<Payload>) -> LocalFuture<Result<Rc<dyn Any>, InitFailure>>
        + Send
        + Sync
        + 'static,
    ) -> WorkerSpec<S, A> {
        WorkerSpec {
            program: Program {
                init: Arc::new(init),
                ..self.program
            },
            types: PhantomData,
        }
    }
}

fn shared<S: 'static>(state: S) -> Rc<dyn Any> {
    Rc::new(state)
}

/// The state as a task registered for it gets it. A task registered before `.state(..)` knows of none.
fn state_of<S: 'static>(state: &Rc<dyn Any>) -> Option<Rc<S>> {
    Rc::clone(state)
        .downcast()
        .or_else(|_| (Rc::new(()) as Rc<dyn Any>).downcast())
        .ok()
}

impl<S: 'static, A> WorkerSpec<S, A> {
    /// Runs first thing in a worker, before anything else of it: set up logging and a panic hook here.
    ///
    /// Workers share neither with their host. A panic in it is a failed start.
    pub fn setup(mut self, setup: impl Fn(&WorkerInfo) + Send + Sync + 'static) -> Self {
        self.program.setup = Some(Arc::new(setup));
        self
    }

    /// Makes the runtime of a worker. Default: that of [`actix_rt::System::new`](actix::System::new), on one thread.
    ///
    /// It has to have I/O and time enabled. Tasks run on the thread that starts it, whatever it is; with a runtime of several
    /// threads `tokio::spawn` has the others. A panic in it is a failed start. Workers of `testing::in_process` run on the
    /// host's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_multiprocess::WorkerSpec;
    /// let spec = WorkerSpec::new().runtime(|| {
    ///     tokio::runtime::Builder::new_current_thread()
    ///         .enable_all()
    ///         .max_blocking_threads(4)
    ///         .build()
    ///         .expect("a runtime")
    /// });
    /// ```
    pub fn runtime(
        mut self,
        make: impl Fn() -> tokio::runtime::Runtime + Send + Sync + 'static,
    ) -> Self {
        self.program.runtime = Some(Arc::new(make));
        self
    }

    /// Runs when a worker ends in good order, inside the pool's `grace`.
    ///
    /// It does not run when the worker is killed or ends by itself.
    pub fn shutdown<F, R>(mut self, shutdown: F) -> Self
    where
        F: Fn(Rc<S>) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + 'static,
    {
        let shutdown = Arc::new(shutdown);
        self.program.shutdown = Some(Arc::new(move |state: Rc<dyn Any>| -> LocalFuture<()> {
            let shutdown = Arc::clone(&shutdown);
            Box::pin(async move {
                if let Some(state) = state_of(&state) {
                    shutdown(state).await;
                }
            })
        }));
        self
    }

    /// Runs in the worker after a task has failed there and its outcome was sent. What it does cannot harm tasks, but while
    /// it runs the worker's event loop waits.
    ///
    /// It is told of errors that tasks return, typed, of panics, and of values that cannot be encoded or decoded; not of
    /// tasks that were cancelled, nor of those that are lost with their worker, which the host hears of
    /// ([`PoolEvent::WorkerLost`](crate::PoolEvent::WorkerLost)).
    ///
    /// # Examples
    ///
    /// Reporting to a service such as Sentry. A worker does not share its host's client, so it makes one of its own; and it
    /// ends without running destructors, so what is buffered is flushed by hand.
    ///
    /// ```
    /// # mod sentry {
    /// #     // As far as this example goes, the names of the crate `sentry`.
    /// #     use std::{error::Error, fmt::Display, time::Duration};
    /// #     pub struct Scope;
    /// #     impl Scope { pub fn set_tag(&mut self, _: &str, _: impl Display) {} }
    /// #     pub enum Level { Error }
    /// #     pub struct Guard;
    /// #     pub fn init(_: &str) -> Guard { Guard }
    /// #     pub struct Client;
    /// #     impl Client { pub fn flush(&self, _: Option<Duration>) -> bool { true } }
    /// #     pub struct Hub;
    /// #     impl Hub {
    /// #         pub fn current() -> Self { Self }
    /// #         pub fn client(&self) -> Option<Client> { Some(Client) }
    /// #     }
    /// #     pub fn with_scope<R>(scope: impl FnOnce(&mut Scope), report: impl FnOnce() -> R) -> R {
    /// #         scope(&mut Scope);
    /// #         report()
    /// #     }
    /// #     pub fn capture_error(_: &(impl Error + ?Sized)) {}
    /// #     pub fn capture_message(_: &str, _: Level) {}
    /// # }
    /// # #[derive(Debug)]
    /// # struct BadImage;
    /// # impl std::fmt::Display for BadImage {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("bad image") }
    /// # }
    /// # impl std::error::Error for BadImage {}
    /// use std::time::Duration;
    ///
    /// use actix_multiprocess::{Failure, RemoteError, WorkerSpec};
    ///
    /// # const DSN: &str = "";
    /// let spec = WorkerSpec::new()
    ///     .setup(|_| std::mem::forget(sentry::init(DSN)))
    ///     .on_failure(|info, failure| {
    ///         let tags = |scope: &mut sentry::Scope| {
    ///             scope.set_tag("task", info.name);
    ///             scope.set_tag("task.id", info.id);
    ///             scope.set_tag("task.attempt", info.attempt);
    ///             scope.set_tag("worker", info.worker);
    ///         };
    ///         sentry::with_scope(tags, || match failure {
    ///             Failure::Panicked(panic) => sentry::capture_error(&**panic),
    ///             Failure::Codec(error) => sentry::capture_error(error),
    ///             // The task's own error, as the type that it is.
    ///             failure => match failure.downcast_ref::<BadImage>() {
    ///                 Some(error) => sentry::capture_error(error),
    ///                 None => match failure.downcast_ref::<RemoteError>() {
    ///                     Some(error) => sentry::capture_error(&**error),
    ///                     None => sentry::capture_message("a task failed", sentry::Level::Error),
    ///                 },
    ///             },
    ///         });
    ///     })
    ///     .shutdown(|_| async {
    ///         if let Some(client) = sentry::Hub::current().client() {
    ///             client.flush(Some(Duration::from_secs(2)));
    ///         }
    ///     });
    /// ```
    pub fn on_failure(
        mut self,
        hook: impl Fn(&FailureInfo, Failure<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.program.on_failure = Some(Arc::new(hook));
        self
    }

    /// Registers a task. One that asks for a state which the worker lacks does not compile.
    pub fn task<T: Task>(mut self) -> Self
    where
        T::State: FromState<S>,
    {
        self.program.tasks.push(TaskEntry {
            name: T::NAME,
            version: T::VERSION,
            run: Arc::new(|payload, scope, state| -> LocalFuture<Ended> {
                let task: Result<T, _> =
                    codec::decode_checked(payload, CodecValue::Input, CodecSide::Worker);
                match (task, state_of::<S>(state)) {
                    (Ok(task), Some(state)) => {
                        let context = TaskContext::new(scope, T::State::from_state(&state));
                        Box::pin(run(task, context))
                    }
                    (Err(error), _) => Box::pin(async { Ended::Codec(error) }),
                    // `.state(..)` is there for specs without state only, so the types agree.
                    (Ok(_), None) => {
                        let message = "its worker has no state of its type".to_owned();
                        let (value, side) = (CodecValue::Input, CodecSide::Worker);
                        let error =
                            CodecError::new(value, side, CodecStep::Decode, T::NAME, message);
                        Box::pin(async { Ended::Codec(error) })
                    }
                }
            }),
            each: Some(Arc::new(|batch, state| {
                if let Some(state) = state_of::<S>(state) {
                    each::<T>(batch, || T::State::from_state(&state));
                }
            })),
        });
        self
    }

    /// Becomes a worker if this process was started as one, and never returns then; else returns the proof that
    /// [`Pool::builder`](crate::Pool::builder) asks for.
    ///
    /// Call it first thing in `main`: what is before it runs in workers, too. It works under `fn main`, where workers
    /// start soonest, as they make no runtime but their own, `#[actix::main]`, `#[actix_web::main]` and `#[tokio::main]`.
    pub fn init(self) -> Workers<A> {
        Workers::enter_or(self.into_program())
    }

    pub(crate) fn into_program(self) -> Program {
        let mut program = self.program;
        program.tasks.sort_by_key(|task| task.name);
        program
    }
}

impl Default for WorkerSpec {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, A> fmt::Debug for WorkerSpec<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.fmt(f)
    }
}
