//! Every public name, method and default, used as a crate outside would use it: this stops compiling, or fails, when a
//! release would break its users. `tests/tidy.rs` sees to it that nothing public is missing here.
#![allow(dead_code, reason = "a test, most of which need only compile")]

use std::{
    error::Error,
    fmt::{Debug, Display},
    future::{Future, IntoFuture},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use actix_multiprocess::{
    Affinity, Blob, Cancel, Capture, CapturedTask, CloseReason, CodecError, CodecSide, CodecStep,
    CodecValue, Concurrency, ConfigError, Counts, CrashReport, Drain, DrainReport, ExitStatus,
    Failure, FailureInfo, FromState, GetStatus, HasInitArgs, InitSpecs, Iter, Json, Kill,
    KillPolicy, Launcher, LeastLoaded, LossCause, Map, MapAll, MapError, NoError, OnExhausted,
    Output, OutputStream, Pause, Pool, PoolBuilder, PoolConfig, PoolEvent, PoolState,
    PoolSupervisor, Priority, Process, ProcessBuilder, ProcessLimits, Recycle, Rejected,
    RemoteError, ReplayError, Resize, Restart, Resume, RetireReason, Retry, RoundRobin, Routing,
    RunningTask, Slot, SlotState, SlotStatus, StartError, Started, Status, Stdio, Stop, Submit,
    Subscribe, Suspect, Task, TaskContext, TaskError, TaskHandle, TaskId, TaskMeta, TaskOptions,
    TimedOut, TimeoutEnd, TimeoutStage, Unordered, WhenFull, WorkerInfo, WorkerLoad, WorkerSpec,
    WorkerStartError, Workers,
};
use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

// --- tasks ------------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plain(u32);

impl Task for Plain {
    const NAME: &'static str = "plain";
    type Output = u32;
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<u32, NoError> {
        let () = cx.state();
        Ok(self.0)
    }
}

struct App {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Args {
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Refusal(String);

impl Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refusal {}

/// Everything that a task may say of itself, and all that its context knows.
#[derive(Serialize, Deserialize)]
struct Full {
    image: Blob,
    details: Json<serde_json::Value>,
}

impl Task for Full {
    const NAME: &'static str = "full";
    const VERSION: u32 = 2;
    const IDEMPOTENT: bool = true;
    const EXCLUSIVE: bool = true;
    type Output = Blob;
    type Error = Refusal;
    type State = Rc<App>;

    async fn run(self, cx: TaskContext<Rc<App>>) -> Result<Blob, Refusal> {
        // What is held over an await need not be `Send`.
        let state: Rc<App> = Rc::clone(cx.state());
        let _: (TaskId, u32, WorkerInfo) = (cx.id(), cx.attempt(), cx.worker());
        let _: Option<Duration> = cx.remaining();
        let _: Workers = cx.workers();
        if cx.is_cancelled() {
            cx.cancelled().await;
        }
        let sum: u64 = cx.block(|| (0..10_u64).sum()).await;
        if sum == 0 {
            return Err(Refusal(state.name.clone()));
        }
        Ok(self.image)
    }

    fn is_transient(error: &Refusal) -> bool {
        error.0.is_empty()
    }
}

/// Any error at all, by `?`.
#[derive(Serialize, Deserialize)]
struct Fallible(String);

impl Task for Fallible {
    const NAME: &'static str = "fallible";
    type Output = u32;
    type Error = RemoteError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<u32, RemoteError> {
        Ok(self.0.parse()?)
    }
}

// --- workers ----------------------------------------------------------------------------------------------------------

fn plain() -> Workers {
    WorkerSpec::new().task::<Plain>().init()
}

fn every_hook() -> Workers<Args> {
    WorkerSpec::named("full")
        .state_with(|args: Args| async move { Ok(App { name: args.name }) })
        .runtime(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
        })
        .setup(|info: &WorkerInfo| assert_eq!(info.pid, std::process::id()))
        .shutdown(|state: Rc<App>| async move { drop(state) })
        .on_failure(|info: &FailureInfo, failure: Failure<'_>| {
            let _: (&'static str, TaskId, u32, WorkerInfo) =
                (info.name, info.id, info.attempt, info.worker);
            let _: Option<&Refusal> = failure.downcast_ref();
            match failure {
                Failure::Failed(_) => {}
                Failure::Panicked(error) => drop(error.report()),
                Failure::Codec(error) => drop(error.to_string()),
                _ => {}
            }
        })
        .task::<Full>()
        .task::<Fallible>()
        .task::<Plain>()
        .init()
}

fn several() {
    let (a, b): (Workers, Workers<Args>) = Workers::init((
        WorkerSpec::default()
            .state(|| async {
                Ok(App {
                    name: String::new(),
                })
            })
            .task::<Full>(),
        WorkerSpec::named("b").state_with(|args: Args| async move { Ok(args.name) }),
    ));
    drop((a.clone(), b));
}

fn many<S: InitSpecs>(specs: S) -> S::Workers {
    Workers::init(specs)
}

fn any_state<T: Task, S: 'static>(spec: WorkerSpec<S>) -> WorkerSpec<S>
where
    T::State: FromState<S>,
{
    spec.task::<T>()
}

// --- pools ------------------------------------------------------------------------------------------------------------

fn every_knob(workers: Workers<Args>) -> PoolBuilder {
    let builder: PoolBuilder<Args> = Pool::builder(workers);
    builder
        .config(PoolConfig::default())
        .launcher(every_launcher())
        .processes(2)
        .concurrency(Concurrency::Adaptive { max: 4 })
        .concurrency(4)
        .queue_limit(100)
        .queue_bytes(1 << 20)
        .result_bytes(1 << 20)
        .when_full(WhenFull::Wait)
        .restart(
            Restart::default()
                .budget(3)
                .budget(None)
                .period(Duration::from_secs(1))
                .backoff(Duration::from_millis(1), Duration::from_secs(1)),
        )
        .on_exhausted(OnExhausted::Escalate)
        .timeout(Duration::from_secs(3))
        .queue_timeout(Duration::from_secs(1))
        .run_timeout(Duration::from_secs(2))
        .kill(KillPolicy::Never)
        .kill(KillPolicy::OnTimeout)
        .kill(KillPolicy::Always)
        .heartbeat(Duration::from_secs(1))
        .stalled_after(Duration::from_secs(5))
        .kill_stalled(true)
        .memory_soft(300 << 20)
        .memory_hard(1 << 30)
        .memory_total(3 << 30)
        .limits(every_limit())
        .max_attempts(2)
        .retry(
            Retry::default()
                .failed_attempts(2)
                .memory_attempts(2)
                .backoff(Duration::from_millis(1), Duration::from_secs(1)),
        )
        .max_tasks(1000)
        .max_age(Duration::from_secs(3600))
        .jitter(20)
        .retire_timeout(Duration::from_secs(5))
        .start_timeout(Duration::from_secs(1))
        .max_frame_bytes(1 << 20)
        .io_arbiters(2)
        .cancel_grace(Duration::from_millis(100))
        .grace(Duration::from_secs(1))
        .stdio(
            Stdio::default()
                .stdout(Output::Null)
                .stderr(Output::Inherit)
                .stderr(Output::Lines)
                .stderr(Output::Relay),
        )
        .socket_dir("/run/x")
        .socket_dir(PathBuf::from("/run/x"))
        .capture(every_capture())
        .wait_all()
        .own_arbiter()
        .init_args(Args {
            name: String::new(),
        })
}

fn every_capture() -> Capture {
    let _: Capture = Capture::new(PathBuf::from("/run/x"));
    Capture::new("/run/x")
        .keep(2)
        .max_bytes(1000)
        .redact(|_: &mut Plain| {})
        .skip::<Plain>()
}

async fn every_captured_task() -> Result<(), Box<dyn std::error::Error>> {
    let kept: CapturedTask = CapturedTask::read("/run/x")?;
    let _: (&str, u32, &str) = (kept.task(), kept.version(), kept.report());
    let _: (TaskId, u32, std::time::SystemTime) = (kept.id(), kept.attempt(), kept.taken_at());
    let _: Result<Plain, CodecError> = kept.decode();
    match WorkerSpec::new().replay::<Plain>(&kept, ()).await {
        Ok(Ok(_) | Err(_)) => {}
        Err(ReplayError::OtherTask { captured, wanted }) => {
            let _: ((String, u32), (&'static str, u32)) = (captured, wanted);
        }
        Err(ReplayError::Unregistered { task }) => is::<&'static str>(task),
        Err(ReplayError::State(error)) => is::<RemoteError>(error),
        Err(ReplayError::Codec(error)) => is::<CodecError>(error),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn every_limit() -> ProcessLimits {
    let _: [Affinity; 2] = [Affinity::Inherit, Affinity::Spread];
    ProcessLimits::default()
        .nice(5)
        .affinity(Affinity::Cpus(vec![0]))
        .oom_score_adj(500)
        .address_space(4 << 30)
        .cpu_time(Duration::from_secs(60))
        .core_file(0)
        .file_size(1 << 20)
        .open_files(256)
        .processes(1000)
}

fn every_launcher() -> Launcher {
    let _: Launcher = Launcher::program("worker");
    let _: Launcher = Launcher::default();
    Launcher::own_image()
        .arg("--quiet")
        .env_clear()
        .env("LANG", "C")
        .env_remove(String::from("HOME"))
        .current_dir("/")
        .wrapper("nice", ["-n", "5"])
}

fn every_knob_as_a_value() -> Result<PoolConfig, ConfigError> {
    let mut config = PoolConfig::default();
    config.processes = Some(2);
    config.concurrency = Concurrency::Adaptive { max: 4 };
    config.concurrency = Concurrency::Fixed(4);
    config.queue_limit = Some(100);
    config.queue_bytes = 1 << 20;
    config.result_bytes = 1 << 20;
    config.when_full = WhenFull::Wait;
    config.restart = Restart::default();
    config.on_exhausted = OnExhausted::Escalate;
    config.heartbeat = Duration::from_secs(1);
    config.stalled_after = Duration::from_secs(5);
    config.kill_stalled = true;
    config.memory_soft = Some(300 << 20);
    config.memory_hard = Some(1 << 30);
    config.memory_total = Some(3 << 30);
    config.limits = every_limit();
    config.max_attempts = 2;
    config.retry = Retry::default();
    config.max_tasks = Some(1000);
    config.max_age = Some(Duration::from_secs(3600));
    config.jitter = 20;
    config.retire_timeout = Duration::from_secs(5);
    config.start_timeout = Duration::from_secs(1);
    config.max_frame_bytes = 1 << 20;
    config.io_arbiters = 2;
    config.cancel_grace = Duration::from_millis(100);
    config.grace = Duration::from_secs(1);
    config.stdio = Stdio::default();
    config.socket_dir = Some(PathBuf::from("/run/x"));
    let _: String = config.to_string();
    PoolConfig::from_env("POOL")
}

async fn every_way_to_start(arbiter: actix::prelude::ArbiterHandle) -> Result<(), StartError> {
    let _: Pool = Pool::builder(plain()).start().await?;
    let supervised: PoolSupervisor = Pool::builder(plain()).into_supervised()?;
    let _: Addr<PoolSupervisor> = actix::Supervisor::start(|_| supervised);
    let _: Pool = Pool::builder(plain()).start_on(&arbiter).await?;
    Ok(())
}

/// A routing of a user's, and how it is tested.
struct Packed;

impl Routing for Packed {
    fn pick(&mut self, task: &TaskMeta, workers: &[WorkerLoad]) -> Option<Slot> {
        let _: (&'static str, TaskId, Priority) = (task.name, task.id, task.priority);
        let _: (bool, u32, usize) = (task.exclusive, task.attempt, task.bytes);
        let rooms = workers
            .iter()
            .map(|worker| worker.capacity - worker.running);
        assert!(rooms.min() > Some(0));
        workers.iter().map(|worker| worker.slot).min()
    }

    fn settled(&mut self, _: &TaskMeta, _: Slot) {}
}

fn routings(id: TaskId, slot: Slot) -> [Option<Slot>; 3] {
    let task = TaskMeta::new("plain", id);
    let workers = [WorkerLoad::new(slot, 0, 16)];
    [
        Packed.pick(&task, &workers),
        LeastLoaded.pick(&task, &workers),
        RoundRobin::default().pick(&task, &workers),
    ]
}

async fn scheduling(workers: Workers) -> Result<(), StartError> {
    let options = TaskOptions::default().max_running(2);
    let _: Option<u32> = options.max_running;
    let second = Duration::from_secs(1);
    let options = options
        .timeout(second)
        .queue_timeout(second)
        .run_timeout(second);
    let _: [Option<Duration>; 3] = [options.timeout, options.queue_timeout, options.run_timeout];
    Pool::builder(workers)
        .task_options::<Plain>(options)
        .routing(LeastLoaded)
        .routing(Packed)
        .start()
        .await?;
    Ok(())
}

async fn of_any_workers<A: HasInitArgs>(builder: PoolBuilder<A>) -> Result<Pool, StartError> {
    builder.start().await
}

async fn every_use(pool: Pool) -> Result<(), Box<dyn Error>> {
    let handle: TaskHandle<Plain> = pool.submit(Plain(1));
    let id: Option<TaskId> = handle.id();
    let _: bool = handle.is_settled();
    handle.cancel();
    let _: Result<u32, TaskError<NoError>> = handle.await;
    let timed = Submit::new(Plain(1)).timeout(Duration::from_secs(2));
    let timed = timed.queue_timeout(Duration::from_secs(1));
    pool.submit(timed.run_timeout(Duration::from_secs(1)))
        .detach();
    pool.submit(
        Submit::new(Plain(1))
            .idempotent()
            .exclusive()
            .read_ahead(false),
    )
    .detach();
    for priority in [Priority::High, Priority::Normal, Priority::Low] {
        let submit = Submit::new(Plain(1)).priority(priority).key("session 7");
        pool.submit(submit).await?;
    }
    let submit: Submit<Plain> = Plain(1).into();
    pool.submit(submit.clone()).await?;
    if let Some(id) = id {
        pool.cancel(id);
    }

    let _: Vec<u32> = pool.map((0..1000).map(Plain)).await?;
    let _: Vec<u32> = pool.map([submit.clone(), submit]).window(8).await?;
    let lazy: Map<Plain, Iter<_>> = pool.map((0..).map(Plain));
    yields::<Result<u32, TaskError<NoError>>>(&lazy);
    let unordered: Unordered<Plain, Iter<_>> = lazy.window(200).unordered();
    yields::<(usize, Result<u32, TaskError<NoError>>)>(&unordered);
    let whole: MapAll<Plain, Iter<_>> = pool.map([Plain(1)]).into_future();
    if let Err(MapError { index, error, .. }) = whole.await {
        let _: (usize, TaskError<NoError>) = (index, error);
    }
    let _: Vec<u32> = pool
        .map_stream(futures_util::stream::iter([Plain(1)]))
        .await?;

    pool.pause();
    pool.resume();
    let status: Status = pool.status().await;
    let _: bool = pool.kill(status.slots[0].slot).await;
    every_number(status);
    every_report(pool.drain(Duration::from_secs(1)).await);
    every_report(pool.stop().await);
    Ok(())
}

async fn every_use_of_a_process(workers: Workers<Args>) -> Result<(), Box<dyn Error>> {
    let builder: ProcessBuilder<Plain, Args> = Process::builder(&workers);
    let builder: ProcessBuilder<Plain> = builder
        .name("thumbs")
        .env("LANG", "C")
        .launcher(every_launcher())
        .start_timeout(Duration::from_secs(1))
        .max_frame_bytes(1 << 20)
        .grace(Duration::from_secs(1))
        .stdio(Stdio::default())
        .socket_dir("/run/x")
        .init_args(Args {
            name: String::new(),
        });
    let mut process: Process<Plain> = builder.spawn(Plain(1))?;
    let _: (u64, &str, Option<u32>, bool) = (
        process.id(),
        process.name(),
        process.pid(),
        process.is_alive(),
    );
    if let Some(ExitStatus { code, signal, .. }) = process.exit_status() {
        let _: (Option<i32>, Option<i32>) = (code, signal);
    }
    let _: bool = ExitStatus::default().success();
    let _: String = ExitStatus::default().to_string();
    let _: Option<Result<u32, TaskError<NoError>>> = process.try_result();
    let limit = Duration::from_secs(1);
    let _: Option<Result<u32, TaskError<NoError>>> = process.wait_timeout(limit).await;
    process.terminate();
    process.kill();
    let _: u32 = (&mut process).await?;
    process.detach();
    Ok(())
}

fn yields<I>(_: &impl Stream<Item = I>) {}

fn every_number(status: Status) {
    let Status {
        state,
        paused,
        queued,
        in_flight,
        quarantined,
        bytes,
        result_bytes,
        counts,
        slots,
        ..
    } = status;
    let _: usize = quarantined;
    let _: bool = paused;
    let _: usize = queued + in_flight + bytes + result_bytes;
    match state {
        PoolState::Starting
        | PoolState::Running
        | PoolState::CircuitOpen
        | PoolState::CircuitHalfOpen
        | PoolState::Draining
        | PoolState::Stopping
        | PoolState::Stopped => {}
        _ => {}
    }
    every_count(counts);
    for SlotStatus {
        slot,
        state,
        generation,
        pid,
        in_flight,
        done,
        restarts,
        retiring,
        concurrency,
        rss,
        ..
    } in slots
    {
        let _: (Slot, u32, bool) = (slot, slot.index(), slot.is_quarantine());
        let _: Vec<u32> = retiring;
        let _: (usize, Option<usize>) = (concurrency, rss);
        let _: (u32, Option<u32>, usize, u64, u64) = (generation, pid, in_flight, done, restarts);
        match state {
            SlotState::Waiting
            | SlotState::Starting
            | SlotState::Ready
            | SlotState::Retiring
            | SlotState::Ending
            | SlotState::Down => {}
            _ => {}
        }
    }
}

fn every_count(counts: Counts) {
    let Counts {
        accepted,
        done,
        failed,
        panicked,
        cancelled,
        timed_out,
        lost,
        rejected,
        codec,
        retried,
        ..
    } = counts;
    let _: u64 = retried;
    let settled = done + failed + panicked + cancelled + timed_out + lost + rejected + codec;
    assert!(settled == counts.settled() && settled <= accepted);
}

fn every_report(report: DrainReport) {
    let DrainReport {
        outstanding,
        counts,
        killed,
        took,
        ..
    } = report;
    let _: (u64, Counts, u32, Duration) = (outstanding, counts, killed, took);
}

// --- the actor --------------------------------------------------------------------------------------------------------

struct Watcher;

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: PoolEvent, _: &mut Context<Self>) {
        match event {
            PoolEvent::WorkerStarting { worker } => drop(worker.to_string()),
            PoolEvent::WorkerReady { worker, took } => {
                let WorkerInfo {
                    slot,
                    generation,
                    pid,
                    ..
                } = worker;
                let _: (Slot, u32, u32, Duration) = (slot, generation, pid, took);
            }
            PoolEvent::WorkerLost {
                report,
                lost,
                requeued,
            } => {
                let _: (CrashReport, usize, usize) = (report, lost, requeued);
            }
            PoolEvent::WorkerRestarted { worker, after } => {
                let _: (WorkerInfo, Duration) = (worker, after);
            }
            PoolEvent::WorkerRetired {
                worker,
                reason:
                    RetireReason::MaxTasks
                    | RetireReason::MaxAge
                    | RetireReason::Recycle
                    | RetireReason::Resize
                    | RetireReason::Stuck
                    | RetireReason::Memory
                    | RetireReason::Quarantine,
                uptime,
            } => {
                let _: (WorkerInfo, Duration) = (worker, uptime);
            }
            PoolEvent::Resized { from, to } => {
                let _: usize = from + to;
            }
            PoolEvent::Escalated => {}
            PoolEvent::CircuitHalfOpen { slot } => is::<Slot>(slot),
            PoolEvent::CircuitOpened { retry_after } => is::<Duration>(retry_after),
            PoolEvent::WorkerStalled {
                worker,
                task,
                id,
                lasted,
            } => {
                let _: (WorkerInfo, Option<&'static str>) = (worker, task);
                let _: (Option<TaskId>, Duration) = (id, lasted);
            }
            PoolEvent::SlowPoll {
                task,
                slot,
                took,
                waiting,
            } => {
                let _: (&'static str, Slot, Duration, usize) = (task, slot, took, waiting);
            }
            PoolEvent::Inquest {
                report,
                suspects,
                poisoned,
                runs,
            } => {
                let _: (CrashReport, u32) = (report, runs);
                let every: Vec<Suspect> = [suspects, poisoned].concat();
                for Suspect { task, id, .. } in every {
                    let _: (&'static str, TaskId) = (task, id);
                }
            }
            PoolEvent::Output {
                worker,
                stream: OutputStream::Stdout | OutputStream::Stderr,
                line,
            } => {
                let _: (WorkerInfo, String) = (worker, line);
            }
            PoolEvent::Captured { task, id, path } => {
                let _: (&'static str, TaskId, PathBuf) = (task, id, path);
            }
            PoolEvent::CaptureFailed { task, id, message } => {
                let _: (&'static str, TaskId, String) = (task, id, message);
            }
            PoolEvent::RoutingReplaced { reason } => is::<String>(reason),
            PoolEvent::CircuitClosed { after } => is::<Duration>(after),
            PoolEvent::Paused | PoolEvent::Resumed => {}
            PoolEvent::QueueFull { waiting, bytes } => {
                let _: usize = waiting + bytes;
            }
            PoolEvent::IntruderRefused { reason } => {
                let _: String = reason;
            }
            PoolEvent::Closed {
                reason:
                    CloseReason::Drain | CloseReason::Stop | CloseReason::Escalated | CloseReason::Gone,
            } => {}
            _ => {}
        }
    }
}

async fn the_actix_way(pool: Pool, watcher: Addr<Watcher>) -> Result<(), Box<dyn Error>> {
    let addr: &Addr<PoolSupervisor> = pool.addr();
    let _: u32 = addr.send(Submit::new(Plain(1))).await??;
    addr.do_send(Submit::new(Plain(1)));
    let tasks: Recipient<Submit<Plain>> = addr.clone().recipient();
    let _: Result<u32, TaskError<NoError>> = tasks.send(Plain(1).into()).await?;
    let _: Status = addr.send(GetStatus).await?;
    addr.send(Subscribe(watcher.recipient())).await?;
    if let Some(id) = pool.submit(Plain(1)).id() {
        addr.send(Cancel(id)).await?;
    }
    let _: DrainReport = addr
        .send(Drain {
            grace: Duration::from_secs(1),
        })
        .await?;
    let () = addr.send(Pause).await?;
    let () = addr.send(Resume).await?;
    let _: Pool = Pool::from_addr(addr).await?;
    let _: Result<(), ConfigError> = addr.send(Resize(2)).await?;
    let () = addr.send(Recycle).await?;
    let _: Result<(), ConfigError> = pool.resize(2).await;
    let () = pool.recycle();
    let _: DrainReport = addr.send(Stop).await?;
    Ok(())
}

// --- errors -----------------------------------------------------------------------------------------------------------

fn every_task_error(error: TaskError<Refusal>) {
    match error {
        TaskError::Failed(refusal) => drop(refusal),
        TaskError::Panicked(error) => every_remote_error(&error),
        TaskError::Cancelled { started } => is::<bool>(started),
        TaskError::TimedOut(timed_out) => every_time_out(timed_out),
        TaskError::WorkerLost(report) => every_crash_report(&report),
        TaskError::Rejected(rejected) => every_rejection(rejected),
        TaskError::Codec(error) => every_codec_error(&error),
        _ => {}
    }
}

fn every_remote_error(error: &RemoteError) {
    let _: (&str, &str, Vec<&str>) = (error.kind(), error.message(), error.chain().collect());
    let _: (Option<&str>, Option<&str>) = (error.location(), error.backtrace());
    let _: (Option<WorkerInfo>, Option<TaskId>) = (error.worker(), error.task());
    let _: String = error.report().to_string();
    let _: &(dyn Error + Send + Sync) = &**error;
}

fn every_time_out(timed_out: TimedOut) {
    let TimedOut {
        stage,
        limit,
        elapsed,
        ended,
        ..
    } = timed_out;
    let _: (Duration, Duration) = (limit, elapsed);
    match stage {
        TimeoutStage::Queued | TimeoutStage::Running | TimeoutStage::Deadline => {}
        _ => {}
    }
    match ended {
        TimeoutEnd::NeverStarted | TimeoutEnd::BetweenRuns | TimeoutEnd::Dropped => {}
        TimeoutEnd::WithWorker | TimeoutEnd::Unfinished => {}
        _ => {}
    }
    let _: bool = timed_out.never_ran();
}

fn every_crash_report(report: &CrashReport) {
    let _: (Slot, u32, Option<u32>) = (report.slot(), report.generation(), report.pid());
    let _: (Option<i32>, Option<i32>) = (report.code(), report.signal());
    let _: (Option<&'static str>, Option<&str>) = (report.signal_name(), report.detail());
    let _: (Duration, u32, bool) = (report.uptime(), report.suspects(), report.poisoned());
    let _: (Option<usize>, Option<Duration>, u64) =
        (report.rss(), report.cpu_time(), report.tasks_done());
    let _: Option<&RemoteError> = report.panic();
    let running: &[RunningTask] = report.running();
    for running in running {
        let _: (&'static str, TaskId) = (running.task, running.id);
        let _: (Duration, Started) = (running.age, running.started);
    }
    let _: &str = report.stderr_tail();
    match report.started() {
        Started::Yes | Started::No | Started::Unknown => {}
        _ => {}
    }
    match report.cause() {
        LossCause::Exited
        | LossCause::Signal
        | LossCause::Panicked
        | LossCause::Killed
        | LossCause::Operator
        | LossCause::Retired
        | LossCause::Init
        | LossCause::Stalled
        | LossCause::Memory
        | LossCause::KernelOom
        | LossCause::Protocol
        | LossCause::PoolGone => {}
        _ => {}
    }
}

fn every_rejection(rejected: Rejected) {
    match rejected {
        Rejected::QueueFull {
            waiting,
            limit,
            bytes,
            bytes_limit,
        } => {
            let _: usize = waiting + limit + bytes + bytes_limit;
        }
        Rejected::TooLarge { bytes, limit } => {
            let _: usize = bytes + limit;
        }
        Rejected::Closed => {}
        Rejected::Unavailable { retry_after } => is::<Duration>(retry_after),
        Rejected::UnknownTask { name, near } => {
            let _: (&'static str, Vec<String>) = (name, near);
        }
        _ => {}
    }
}

fn every_codec_error(error: &CodecError) {
    match error.value() {
        CodecValue::Input | CodecValue::Output | CodecValue::Error | CodecValue::InitArgs => {}
        _ => {}
    }
    match error.side() {
        CodecSide::Host | CodecSide::Worker => {}
        _ => {}
    }
    match error.step() {
        CodecStep::Encode | CodecStep::Decode => {}
        _ => {}
    }
    let _: (&str, &str, bool) = (error.type_name(), error.message(), error.never_ran());
}

fn every_start_error(error: StartError) {
    match error {
        StartError::Config(error) => match error {
            ConfigError::Zero { knob } => is::<&'static str>(knob),
            ConfigError::TooSmall { knob, value, least } => {
                let _: (&'static str, String, String) = (knob, value, least);
            }
            ConfigError::TooLarge { knob, value, most } => {
                let _: (&'static str, String, String) = (knob, value, most);
            }
            ConfigError::Contradiction { message } => is::<String>(message),
            ConfigError::UnknownTask { name, near } => {
                let _: (String, Vec<String>) = (name, near);
            }
            ConfigError::Environment { variable, message } => {
                let _: (String, String) = (variable, message);
            }
            ConfigError::TooFewDescriptors {
                needed,
                left,
                limit,
            } => {
                let _: u64 = needed + left + limit;
            }
            ConfigError::TooDeep { levels } => is::<u32>(levels),
            ConfigError::Unsupported { knob, platform } => {
                let _: (&'static str, &'static str) = (knob, platform);
            }
            _ => {}
        },
        StartError::NoArbiter | StartError::Closed => {}
        StartError::NoSocket { message } | StartError::System { message } => is::<String>(message),
        StartError::Worker(error) => match error {
            WorkerStartError::Spawn { program, message } => {
                let _: (String, String) = (program, message);
            }
            WorkerStartError::ExitedEarly {
                status,
                stderr_tail,
            } => {
                let _: (String, String) = (status, stderr_tail);
            }
            WorkerStartError::TimedOut {
                after,
                stage,
                stderr_tail,
            } => {
                let _: (Duration, &'static str, String) = (after, stage, stderr_tail);
            }
            WorkerStartError::OtherVersion { host, worker } => {
                let _: u16 = host + worker;
            }
            WorkerStartError::MissingTask { name, near } => {
                let _: (String, Vec<String>) = (name, near);
            }
            WorkerStartError::TaskVersion { name, host, worker } => {
                let _: (String, u32) = (name, host + worker);
            }
            WorkerStartError::State(error) => every_remote_error(&error),
            WorkerStartError::InitArgs(error) => every_codec_error(&error),
            WorkerStartError::Refused { message } => is::<String>(message),
            WorkerStartError::Lost(report) => every_crash_report(&report),
            _ => {}
        },
        _ => {}
    }
}

// --- values -----------------------------------------------------------------------------------------------------------

fn every_wrapper() {
    let blob: Blob = Bytes::new().into();
    let _: (Blob, Blob) = (vec![1_u8].into(), Blob::from(&b"x"[..]));
    let _: (&[u8], &[u8]) = (&blob, blob.as_ref());
    let _: Bytes = blob.clone().into_bytes();
    let Blob(_) = blob;
    let mut json = Json(1);
    *json += 1;
    let _: i32 = *json + json.into_inner() + Json::from(1).0;
}

#[allow(unused_imports, reason = "each name has to be there")]
mod prelude {
    use actix_multiprocess::prelude::{
        NoError, Pool, RemoteError, Submit, Task, TaskContext, TaskError, WorkerSpec, Workers,
    };
}

#[cfg(feature = "test-util")]
mod testing {
    use super::{Pool, Workers, plain_spec};
    use actix_multiprocess::testing::{
        Connection, Fault, PassingFrame, Way, assert_clean, faulty, in_process,
    };

    actix_multiprocess::worker_entry!(plain_spec());

    fn in_memory() -> Workers {
        in_process(plain_spec())
    }

    fn is_clean(pool: &Pool) {
        assert_clean(pool);
    }

    fn with_faults() -> Workers {
        faulty(in_memory(), |frame: &PassingFrame| {
            let _ = (frame.worker, frame.bytes);
            match (frame.connection, frame.way, frame.nth) {
                (Connection::Data, Way::ToWorker, 1) => Some(Fault::Cut(0)),
                (Connection::Data, Way::ToWorker, 2) => Some(Fault::Truncate(1)),
                (Connection::Data, Way::FromWorker, _) => Some(Fault::Duplicate),
                (Connection::Control, Way::ToWorker, _) => Some(Fault::Throttle(1)),
                (Connection::Control, ..) => Some(Fault::Wedge),
                _ => Some(Fault::Delay(std::time::Duration::ZERO)),
            }
        })
    }
}

#[cfg(feature = "actix-web")]
mod web {
    use super::{MapError, NoError, Pool, RemoteError, Submit, Task, TaskError};
    use actix_web::{ResponseError, Result};

    async fn handler<T: Task<Error: ResponseError>>(pool: Pool, task: T) -> Result<T::Output> {
        Ok(pool.submit(task).await?)
    }

    async fn many<T: Task<Error: ResponseError>>(
        pool: Pool,
        tasks: Vec<Submit<T>>,
    ) -> Result<Vec<T::Output>> {
        Ok(pool.map(tasks).await?)
    }

    fn answers<E: ResponseError>() {}

    fn own_errors_and_those_of_the_crate<E: ResponseError>() {
        answers::<TaskError<E>>();
        answers::<MapError<E>>();
        answers::<TaskError<RemoteError>>();
        answers::<TaskError<NoError>>();
    }
}

fn plain_spec() -> WorkerSpec {
    WorkerSpec::new().task::<Plain>()
}

// --- what the types promise -------------------------------------------------------------------------------------------

fn is<T>(_: T) {}
fn is_send<T: Send>() {}
fn is_sync<T: Sync>() {}
fn is_static<T: 'static>() {}
fn is_clone<T: Clone>() {}
fn is_debug<T: Debug>() {}
fn is_copy<T: Copy + Eq + std::hash::Hash>() {}
fn is_error<T: Error + Send + Sync + 'static>() {}
fn is_value<T: Serialize + DeserializeOwned>() {}
fn is_message<T: Message + Send>() {}
fn is_future<T: Future + Send + Unpin>(_: &T) {}

fn promises<T: Task, E: Error + Send + Sync + 'static>(handle: &TaskHandle<T>) {
    is_clone::<Pool>();
    is_send::<Pool>();
    is_send::<Process<T>>();
    is_sync::<Pool>();
    is_static::<Pool>();
    is_send::<TaskHandle<T>>();
    is_future(handle);
    is_clone::<Submit<T>>();
    is_send::<Submit<T>>();
    is_clone::<Workers<Args>>();
    is_send::<Workers<Args>>();
    is_sync::<Workers<Args>>();
    is_send::<PoolBuilder<Args>>();
    is_send::<Map<T, Iter<std::vec::IntoIter<T>>>>();
    is_send::<MapAll<T, Iter<std::vec::IntoIter<T>>>>();
    is_send::<Unordered<T, Iter<std::vec::IntoIter<T>>>>();

    is_error::<TaskError<E>>();
    is_error::<TaskError<RemoteError>>();
    is_error::<MapError<E>>();
    // Which is no `Error` itself.
    is_error::<MapError<RemoteError>>();
    is_error::<StartError>();
    is_error::<WorkerStartError>();
    is_error::<ConfigError>();
    is_error::<CodecError>();
    is_error::<CrashReport>();
    is_error::<Rejected>();
    is_error::<NoError>();
    is_send::<RemoteError>();
    is_sync::<RemoteError>();
    is_value::<RemoteError>();
    is_clone::<RemoteError>();
    is_clone::<TaskError<RemoteError>>();
    is_clone::<StartError>();
    is_clone::<CrashReport>();

    is_value::<NoError>();
    is_value::<Blob>();
    is_value::<Json<u8>>();
    is_copy::<TaskId>();
    is_copy::<Slot>();
    is_copy::<WorkerInfo>();
    is_value::<TaskId>();
    is_value::<Slot>();
    is_value::<WorkerInfo>();
    is_message::<Submit<T>>();
    is_message::<Cancel>();
    is_message::<GetStatus>();
    is_message::<Drain>();
    is_message::<Stop>();
    is_message::<Pause>();
    is_message::<Resume>();
    is_message::<Kill>();
    is_message::<Resize>();
    is_message::<Recycle>();
    is_message::<Subscribe>();
    is_message::<PoolEvent>();
    is_clone::<PoolEvent>();
    is_clone::<Status>();
    is_clone::<PoolConfig>();
    is_clone::<Launcher>();

    is_debug::<Pool>();
    is_debug::<Process<T>>();
    is_debug::<ProcessBuilder<T, Args>>();
    is_copy::<ExitStatus>();
    is_debug::<PoolBuilder<Args>>();
    is_debug::<WorkerSpec<App, Args>>();
    is_debug::<Workers<Args>>();
    is_debug::<TaskHandle<T>>();
    is_debug::<Submit<T>>();
    is_debug::<Map<T, Iter<std::vec::IntoIter<T>>>>();
    is_debug::<TaskContext<()>>();
    is_debug::<Blob>();
}

#[test]
fn task_consts_have_their_defaults() {
    assert_eq!(
        (Plain::VERSION, Plain::IDEMPOTENT, Plain::EXCLUSIVE),
        (0, false, false)
    );
}

#[test]
fn builder_has_the_defaults_of_its_docs() {
    let shown = format!("{:#?}", Pool::builder(plain()));
    let knobs = shown
        .split_once("    config:")
        .map(|(_, knobs)| format!("    config:{knobs}"));
    assert_eq!(
        knobs.as_deref(),
        Some(
            "    config: PoolConfig {
        processes: None,
        concurrency: Fixed(
            16,
        ),
        queue_limit: None,
        queue_bytes: 268435456,
        result_bytes: 268435456,
        when_full: Reject,
        restart: Restart {
            budget: None,
            period: 10s,
            backoff_min: 100ms,
            backoff_max: 30s,
        },
        on_exhausted: OpenCircuit,
        timeout: None,
        queue_timeout: None,
        run_timeout: None,
        kill: OnTimeout,
        heartbeat: 1s,
        stalled_after: 10s,
        kill_stalled: false,
        memory_soft: None,
        memory_hard: None,
        memory_total: None,
        limits: ProcessLimits {
            nice: 0,
            affinity: Inherit,
            oom_score_adj: None,
            address_space: None,
            cpu_time: None,
            core_file: None,
            file_size: None,
            open_files: None,
            processes: None,
        },
        max_attempts: 3,
        retry: Retry {
            failed_attempts: 3,
            memory_attempts: 3,
            backoff_min: 100ms,
            backoff_max: 10s,
        },
        max_tasks: None,
        max_age: None,
        jitter: 10,
        retire_timeout: 60s,
        start_timeout: 30s,
        max_frame_bytes: 67108864,
        io_arbiters: 0,
        cancel_grace: 1s,
        grace: 3s,
        stdio: Stdio {
            stdout: None,
            stderr: Relay,
        },
        tasks: {},
        socket_dir: None,
    },
    launcher: None,
    has_routing: false,
    wait_all: false,
    own_arbiter: false,
    has_init_args: false,
}"
        ),
        "{shown}"
    );
    assert_eq!(WhenFull::default(), WhenFull::Reject);
}

fn start(builder: PoolBuilder) -> StartError {
    let started = actix::System::new().block_on(builder.start());
    started.expect_err("it must not start")
}

#[track_caller]
fn refused(builder: PoolBuilder, expected: ConfigError) {
    match start(builder) {
        StartError::Config(error) => assert_eq!(error, expected),
        error => panic!("not refused as a setting: {error}"),
    }
}

fn builder() -> PoolBuilder {
    Pool::builder(plain())
}

#[test]
fn zero_is_refused_where_it_makes_no_sense() {
    let zero = |knob| ConfigError::Zero { knob };
    refused(builder().processes(0), zero("processes"));
    refused(builder().concurrency(0), zero("concurrency"));
    refused(builder().queue_limit(0), zero("queue_limit"));
    refused(builder().queue_bytes(0), zero("queue_bytes"));
    refused(builder().result_bytes(0), zero("result_bytes"));
    refused(builder().timeout(Duration::ZERO), zero("timeout"));
    let zero_wait = builder().queue_timeout(Duration::ZERO);
    refused(zero_wait, zero("queue_timeout"));
    refused(builder().run_timeout(Duration::ZERO), zero("run_timeout"));
    refused(
        builder().retry(Retry::default().failed_attempts(0)),
        zero("retry.failed_attempts"),
    );
    refused(builder().memory_soft(0), zero("memory_soft"));
    refused(builder().memory_hard(0), zero("memory_hard"));
    refused(builder().memory_total(0), zero("memory_total"));
    refused(
        builder().memory_soft(2 << 30).memory_hard(1 << 30),
        ConfigError::Contradiction {
            message: "`memory_soft` (2147483648 bytes) is above `memory_hard` (1073741824), so that nobody would live to see it"
                .to_owned(),
        },
    );
    let limits = ProcessLimits::default;
    for (limits, knob) in [
        (limits().address_space(0), "limits.address_space"),
        (limits().cpu_time(Duration::ZERO), "limits.cpu_time"),
        (limits().open_files(0), "limits.open_files"),
        (limits().processes(0), "limits.processes"),
        (limits().affinity(Affinity::Cpus(vec![])), "limits.affinity"),
    ] {
        refused(builder().limits(limits), zero(knob));
    }
    refused(
        builder().limits(limits().nice(20)),
        ConfigError::TooLarge {
            knob: "limits.nice",
            value: "20".to_owned(),
            most: "19".to_owned(),
        },
    );
    refused(
        builder().limits(limits().oom_score_adj(-1001)),
        ConfigError::TooSmall {
            knob: "limits.oom_score_adj",
            value: "-1001".to_owned(),
            least: "-1000".to_owned(),
        },
    );
    refused(builder().heartbeat(Duration::ZERO), zero("heartbeat"));
    let zero_stall = builder().stalled_after(Duration::ZERO);
    refused(zero_stall, zero("stalled_after"));
    refused(builder().max_attempts(0), zero("max_attempts"));
    refused(builder().max_tasks(0), zero("max_tasks"));
    refused(builder().max_age(Duration::ZERO), zero("max_age"));
    refused(
        builder().jitter(101),
        ConfigError::TooLarge {
            knob: "jitter",
            value: "101".to_owned(),
            most: "100".to_owned(),
        },
    );
    refused(
        builder().start_timeout(Duration::ZERO),
        zero("start_timeout"),
    );
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    let too_large = |knob, value: u64, most: u64| ConfigError::TooLarge {
        knob,
        value: value.to_string(),
        most: most.to_string(),
    };
    refused(
        builder().processes(5000),
        too_large("processes", 5000, 4096),
    );
    refused(
        builder().concurrency(1 << 21),
        too_large("concurrency", 1 << 21, 1 << 20),
    );
    refused(
        builder().max_frame_bytes(1000),
        ConfigError::TooSmall {
            knob: "max_frame_bytes",
            value: "1000".to_owned(),
            least: "262144".to_owned(),
        },
    );
    refused(
        builder().io_arbiters(1025),
        too_large("io_arbiters", 1025, 1024),
    );
    #[cfg(target_pointer_width = "64")]
    refused(
        builder().max_frame_bytes(1 << 32),
        too_large("max_frame_bytes", 1 << 32, (1 << 32) - 1),
    );
}

#[test]
fn contradictions_are_refused_in_words() {
    let contradiction = |message: &str| ConfigError::Contradiction {
        message: message.to_owned(),
    };
    refused(
        builder()
            .restart(Restart::default().backoff(Duration::from_secs(2), Duration::from_secs(1))),
        contradiction("the back-off of `restart` begins with 2s, above its maximum of 1s"),
    );
    refused(
        builder().retry(Retry::default().backoff(Duration::from_secs(2), Duration::from_secs(1))),
        contradiction("the back-off of `retry` begins with 2s, above its maximum of 1s"),
    );
    let twice = WorkerSpec::new().task::<Plain>().task::<Plain>().init();
    refused(
        Pool::builder(twice),
        contradiction(
            "two tasks of worker `default` are named `plain`; task names are unique in a worker",
        ),
    );
}

/// Cannot be written without its length, which is not known.
#[derive(Deserialize)]
struct Endless;

impl Serialize for Endless {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..9).filter(|number| number % 2 == 0))
    }
}

#[test]
fn arguments_that_cannot_be_encoded_are_refused_before_a_worker_is_started() {
    let workers = WorkerSpec::new()
        .state_with(|_: Endless| async { Ok(()) })
        .init();
    let error = match start(Pool::builder(workers).init_args(Endless)) {
        StartError::Worker(WorkerStartError::InitArgs(error)) => error,
        error => panic!("something else: {error}"),
    };
    assert_eq!(error.value(), CodecValue::InitArgs);
    assert_eq!(error.side(), CodecSide::Host);
    assert_eq!(error.step(), CodecStep::Encode);
    assert_eq!(error.type_name(), "contract::Endless");
    assert_eq!(
        error.message(),
        "it serializes a map or sequence of unknown length"
    );
    assert!(error.never_ran());
    let error = TaskError::<NoError>::Codec(error);
    assert!(error.never_ran() && !error.is_transient());
}

#[test]
fn without_an_arbiter_start_says_so() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let started = runtime.block_on(builder().start());
    assert!(matches!(started, Err(StartError::NoArbiter)));
    // Nor without any runtime at all.
    let started = futures_util::FutureExt::now_or_never(builder().start());
    assert!(matches!(started, Some(Err(StartError::NoArbiter))));
}

#[test]
fn errors_say_whether_the_task_ran_and_whether_to_try_again() {
    let second = Duration::from_secs(1);
    let full = Rejected::QueueFull {
        waiting: 1,
        limit: 1,
        bytes: 1,
        bytes_limit: 1,
    };
    let unknown = Rejected::UnknownTask {
        name: "x",
        near: Vec::new(),
    };
    type Failed = TaskError<Refusal>;
    // never ran, transient
    let table = [
        (Failed::Failed(Refusal("no".to_owned())), false, false),
        (Failed::Panicked(RemoteError::msg("boom")), false, false),
        (Failed::Cancelled { started: true }, false, false),
        (Failed::Cancelled { started: false }, true, false),
        (Failed::Rejected(full), true, true),
        (
            Failed::Rejected(Rejected::Unavailable {
                retry_after: second,
            }),
            true,
            true,
        ),
        (
            Failed::Rejected(Rejected::TooLarge { bytes: 2, limit: 1 }),
            true,
            false,
        ),
        (Failed::Rejected(Rejected::Closed), true, false),
        (Failed::Rejected(unknown), true, false),
    ];
    for (error, never_ran, transient) in table {
        assert_eq!(error.never_ran(), never_ran, "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
        let mapped = error.map_failed(|Refusal(text)| text.len());
        assert_eq!(
            (mapped.never_ran(), mapped.is_transient()),
            (never_ran, transient)
        );
    }
}

#[test]
fn remote_error_takes_any_error_and_is_shown_by_level() {
    let cause = "x".parse::<u32>().unwrap_err();
    let error = RemoteError::from(std::io::Error::other(cause));
    assert_eq!(error.kind(), "std::io::error::Error");
    assert_eq!(error.to_string(), "invalid digit found in string");
    assert!(
        error
            .location()
            .is_some_and(|at| at.contains("contract.rs"))
    );
    let made = RemoteError::new("disk", "full");
    assert_eq!((made.kind(), made.message()), ("disk", "full"));
    assert_eq!(RemoteError::msg("full").kind(), "error");
}

#[cfg(feature = "test-util")]
mod defaults {
    use super::{
        Blob, NoError, Pool, Rejected, Task, TaskContext, TaskError, WorkerSpec, every_count,
    };
    use actix_multiprocess::testing::in_process;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Wait(Blob);

    impl Task for Wait {
        const NAME: &'static str = "wait";
        type Output = ();
        type Error = NoError;
        type State = ();

        async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
            std::future::pending().await
        }
    }

    fn pool() -> actix_multiprocess::PoolBuilder {
        Pool::builder(in_process(WorkerSpec::new().task::<Wait>()))
    }

    fn run(test: impl Future<Output = ()>) {
        actix::System::new().block_on(async {
            tokio::time::timeout(std::time::Duration::from_secs(30), test)
                .await
                .expect("the watchdog: the test hangs");
        });
    }

    #[test]
    fn there_are_as_many_processes_as_cpus_by_default() {
        run(async {
            let pool = pool().start().await.unwrap();
            let cpus = std::thread::available_parallelism().unwrap();
            assert_eq!(pool.status().await.slots.len(), cpus.get());
        });
    }

    #[test]
    fn sixteen_run_and_1024_wait_for_each_process_by_default() {
        run(async {
            let pool = pool().processes(1).start().await.unwrap();
            let waiting: Vec<_> = (0..16 + 1024)
                .map(|_| pool.submit(Wait(Blob::default())))
                .collect();
            let status = pool.status().await;
            assert_eq!((status.in_flight, status.queued), (16, 1024));
            every_count(status.counts);
            match pool.submit(Wait(Blob::default())).await {
                Err(TaskError::Rejected(Rejected::QueueFull {
                    waiting,
                    limit,
                    bytes_limit,
                    ..
                })) => assert_eq!((waiting, limit, bytes_limit), (1024, 1024, 256 << 20)),
                other => panic!("not refused: {other:?}"),
            }
            drop(waiting);
        });
    }

    #[test]
    fn a_task_takes_64_mib_at_most_by_default() {
        run(async {
            let pool = pool().processes(1).start().await.unwrap();
            let large = Wait(Blob::from(vec![0; 64 << 20]));
            match pool.submit(large).await {
                Err(TaskError::Rejected(Rejected::TooLarge { bytes, limit })) => {
                    assert_eq!(limit, 64 << 20);
                    assert!(bytes > limit);
                }
                other => panic!("not refused: {other:?}"),
            }
        });
    }
}
