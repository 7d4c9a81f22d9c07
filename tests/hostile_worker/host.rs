//! The host of a case: a pool of two workers of which one is hostile.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    Blob, CrashReport, LossCause, Pool, PoolEvent, Rejected, RetireReason, Started, Status, Submit,
    TaskError, TaskHandle, Workers,
};

use crate::{
    cases::{Case, Right},
    common_hostile::{Events, block_until, eventually, put, refusal, within},
    hostile::HELD,
    tasks::{Echo, Hold, Load, Nest, Units},
};

/// What happens at once, with room for a machine that is busy.
const SOON: Duration = Duration::from_secs(8);

/// How long an incomplete frame is put up with.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much a hostile worker may make its host grow.
const GROWTH: u64 = 10 * 1024 * 1024;

const CANCEL_GRACE: Duration = Duration::from_millis(300);
const GRACE: Duration = Duration::from_millis(500);

/// The host's part in a case.
pub(crate) type Story = Pin<Box<dyn Future<Output = ()>>>;

/// Is the host of a case.
pub(crate) fn play(case: &Case, dir: &Path, workers: Workers) {
    let stage = Stage {
        dir: dir.to_owned(),
        workers,
        waits: case.waits,
    };
    let story: Story = match case.right {
        Right::Refuses(reason) => Box::pin(refuses(stage, reason)),
        Right::StartsAnother(reason) => Box::pin(starts_another(stage, reason)),
        Right::Ends(reason, settled) => Box::pin(ends(stage, reason, settled)),
        Right::Else(story) => story(stage),
    };
    actix::System::new().block_on(within(Duration::from_secs(50), "the case", story));
}

/// What a story begins with.
pub(crate) struct Stage {
    dir: PathBuf,
    workers: Workers,
    waits: bool,
}

/// A pool with a hostile worker in it.
struct Scene {
    pool: Pool,
    events: Events,
    dir: PathBuf,
    waits: bool,
    /// Where the hostile worker is.
    slot: u32,
    pid: u32,
}

impl Stage {
    /// Starts a pool that has both workers ready.
    async fn ready(self) -> Scene {
        self.start(true, Duration::from_secs(30)).await
    }

    /// Starts a pool whose hostile worker waits to be let go.
    async fn starting(self, start_timeout: Duration) -> Scene {
        self.start(false, start_timeout).await
    }

    async fn start(self, all: bool, start_timeout: Duration) -> Scene {
        let mut builder = Pool::builder(self.workers)
            .processes(2)
            .concurrency(HELD)
            .max_frame_bytes(1024 * 1024)
            .cancel_grace(CANCEL_GRACE)
            .grace(GRACE)
            .start_timeout(start_timeout)
            .socket_dir(&self.dir);
        if all {
            builder = builder.wait_all();
        }
        let pool = builder.start().await.expect("a pool");
        let events = Events::of(&pool).await;
        eventually("the hostile worker has started", || {
            self.dir.join("about").exists()
        })
        .await;
        let about = std::fs::read_to_string(self.dir.join("about")).expect("a file of the test");
        let (slot, pid) = about.split_once(' ').expect("slot and pid");
        Scene {
            pool,
            events,
            dir: self.dir,
            waits: self.waits,
            slot: slot.parse().expect("a slot"),
            pid: pid.parse().expect("a pid"),
        }
    }
}

/// What the pool says of a lost worker.
struct Loss {
    report: CrashReport,
    lost: usize,
    requeued: usize,
}

impl Scene {
    fn other(&self) -> usize {
        usize::from(self.slot == 0)
    }

    /// Has both workers do something, so that what is allocated once is there.
    async fn warm_up(&self) {
        let echoes = self.pool.map((0..200).map(Echo)).await.expect("echoes");
        assert_eq!(echoes, (0..200).collect::<Vec<_>>());
    }

    /// Fills the hostile worker, the other not, and waits until it is about to do wrong.
    ///
    /// Equals take turns, so that of each four tasks the third may run again.
    async fn hold(&self) -> Vec<TaskHandle<Hold>> {
        let holds = (0..8).map(|number| {
            let submit = Submit::new(Hold(number));
            self.pool.submit(if number / 2 == 2 {
                submit.idempotent()
            } else {
                submit
            })
        });
        let holds = holds.collect();
        self.waits().await;
        holds
    }

    async fn waits(&self) {
        eventually("the hostile worker is about to do wrong", || {
            self.dir.join("waits").exists()
        })
        .await;
    }

    fn go(&self) -> Instant {
        put(&self.dir, "go");
        Instant::now()
    }

    async fn status_is(&self, what: &str, mut check: impl FnMut(&Status) -> bool) {
        let limit = Instant::now() + SOON;
        loop {
            let status = self.pool.status().await;
            if check(&status) {
                return;
            }
            assert!(
                Instant::now() < limit,
                "never came true: {what}: {status:?}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for the end of the hostile worker.
    async fn loss(&mut self, limit: Duration) -> Loss {
        let lost = |event: &PoolEvent| match event {
            PoolEvent::WorkerLost {
                report,
                lost,
                requeued,
            } => Some(Loss {
                report: report.clone(),
                lost: *lost,
                requeued: *requeued,
            }),
            _ => None,
        };
        let loss = self.events.next(limit, "lost worker", lost).await;
        let report = &loss.report;
        assert_eq!(report.slot().index(), self.slot, "the neighbour: {report}");
        assert_eq!(report.generation(), 0);
        assert_eq!(report.pid(), Some(self.pid));
        loss
    }

    /// The same, for what it did.
    async fn loss_for(&mut self, limit: Duration, cause: LossCause, reason: &str) -> Loss {
        let loss = self.loss(limit).await;
        assert_eq!(loss.report.cause(), &cause, "{}", loss.report);
        let detail = loss.report.detail().unwrap_or_default();
        assert!(detail.contains(reason), "lost for another reason: {detail}");
        loss
    }

    /// Waits until a worker of this generation is ready in the hostile one's slot.
    async fn replaced(&mut self, generation: u32) {
        let slot = self.slot;
        let ready = |event: &PoolEvent| match event {
            PoolEvent::WorkerReady { worker, .. } if worker.slot.index() == slot => {
                Some(worker.generation)
            }
            _ => None,
        };
        let ready = self.events.next(SOON, "ready worker", ready).await;
        assert_eq!(ready, generation);
    }

    /// Both workers serve, nobody else was lost, and nothing is left of the pool once it is stopped.
    async fn end(mut self, killed: u32) {
        self.warm_up().await;
        let status = self.pool.status().await;
        let neighbour = &status.slots[self.other()];
        assert_eq!(
            (neighbour.generation, neighbour.restarts),
            (0, 0),
            "the neighbour was hurt: {status:?}"
        );
        assert_eq!(
            (status.queued, status.in_flight, status.bytes),
            (0, 0, 0),
            "something is left: {status:?}"
        );
        self.calm();
        let report = within(SOON, "the stop", self.pool.stop()).await;
        assert_eq!(report.killed, killed);
        self.nothing_is_left();
    }

    /// Nothing else has happened.
    fn calm(&mut self) {
        for event in self.events.take() {
            let excused = match &event {
                // Its death may be its tasks' doing: the one that may run again has, and was none.
                PoolEvent::Inquest {
                    report, poisoned, ..
                } => report.pid() == Some(self.pid) && poisoned.is_empty(),
                PoolEvent::WorkerRetired { reason, .. } => *reason == RetireReason::Quarantine,
                // What it says of its loop, and its silence, are told.
                PoolEvent::WorkerStalled { worker, .. } => worker.pid == self.pid,
                event => matches!(
                    event,
                    PoolEvent::WorkerStarting { .. }
                        | PoolEvent::WorkerReady { .. }
                        // Said once for each name, whatever is claimed.
                        | PoolEvent::SlowPoll { .. }
                        | PoolEvent::WorkerRestarted { .. }
                ),
            };
            assert!(excused, "this should not have happened: {event:?}");
        }
    }

    fn nothing_is_left(&self) {
        assert!(
            !Path::new(&format!("/proc/{}", self.pid)).exists(),
            "the hostile worker lives on, or nobody has waited for it"
        );
        let left: Vec<_> = std::fs::read_dir(&self.dir)
            .expect("the directory of the case")
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .collect();
        assert!(left.is_empty(), "left in the file system: {left:?}");
    }
}

/// Tasks one after the other, all the time, and how they fared.
struct Neighbour {
    over: Rc<Cell<bool>>,
    served: Rc<Cell<u64>>,
    slowest: Rc<Cell<Duration>>,
    failure: Rc<RefCell<Option<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Neighbour {
    fn serve(pool: &Pool) -> Self {
        let (over, served) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let slowest = Rc::new(Cell::new(Duration::ZERO));
        let failure = Rc::new(RefCell::new(None));
        let task = actix::spawn({
            let (over, served, slowest) = (over.clone(), served.clone(), slowest.clone());
            let (pool, failure) = (pool.clone(), failure.clone());
            async move {
                while !over.get() {
                    let number = served.get();
                    let began = Instant::now();
                    let echo = pool.submit(Echo(number)).await;
                    slowest.set(slowest.get().max(began.elapsed()));
                    if !matches!(echo, Ok(echo) if echo == number) {
                        *failure.borrow_mut() = Some(format!("{echo:?}"));
                        return;
                    }
                    served.set(number + 1);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        });
        Self {
            over,
            served,
            slowest,
            failure,
            task,
        }
    }

    /// Waits until it has served so many more.
    async fn serves(&self, more: u64) {
        let target = self.served.get() + more;
        eventually("the neighbour serves", || self.served.get() >= target).await;
    }

    async fn end(self) {
        self.over.set(true);
        within(SOON, "the neighbour's last task", self.task)
            .await
            .expect("no panic");
        let failure = self.failure.borrow_mut().take();
        assert!(failure.is_none(), "the neighbour failed: {failure:?}");
        let slowest = self.slowest.get();
        assert!(
            slowest < Duration::from_secs(3),
            "the neighbour was held up for {slowest:?}"
        );
    }
}

/// The memory of this process from here on.
struct Memory {
    before: u64,
}

impl Memory {
    fn mark() -> Self {
        // Makes the highest value the present one; where that is not allowed the check is only stricter.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self {
            before: Self::of("VmRSS:"),
        }
    }

    fn of(field: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .map(|kib| kib * 1024)
            .expect("a size in kB")
    }

    /// The highest it ever was, and now, are little more than before.
    fn has_not_grown(&self) {
        for field in ["VmHWM:", "VmRSS:"] {
            let grown = Self::of(field).saturating_sub(self.before);
            assert!(
                grown <= GROWTH,
                "{field} the host has grown by {} KiB",
                grown / 1024
            );
        }
    }
}

/// A connection is refused; the worker that made it gets ready all the same.
async fn refuses(stage: Stage, reason: &str) {
    let mut scene = stage.starting(Duration::from_secs(30)).await;
    scene.waits().await;
    scene.go();
    let found = scene.events.next(SOON, "refusal", refusal).await;
    assert!(
        found.contains(reason),
        "refused for another reason: {found}"
    );
    scene.replaced(0).await;
    // It does not listen to Exit.
    scene.end(1).await;
}

/// A worker that does not get ready is replaced.
async fn starts_another(stage: Stage, reason: &str) {
    let mut scene = stage.starting(Duration::from_secs(30)).await;
    scene.waits().await;
    let neighbour = Neighbour::serve(&scene.pool);
    neighbour.serves(50).await;
    let memory = Memory::mark();
    scene.go();
    let loss = scene.loss_for(SOON, LossCause::Init, reason).await;
    assert_eq!((loss.lost, loss.requeued), (0, 0));
    scene.replaced(1).await;
    memory.has_not_grown();
    neighbour.end().await;
    scene.end(0).await;
}

/// The worker ends by itself, for this reason, whatever it has said before.
pub(crate) async fn dies(stage: Stage, cause: LossCause) {
    let mut scene = stage.ready().await;
    scene.warm_up().await;
    let holds = scene.hold().await;
    let (neighbour, memory, _) = serve_and_go(&scene).await;
    let loss = scene.loss(SOON).await;
    assert_eq!(loss.report.cause(), &cause, "{}", loss.report);
    let panic = loss.report.panic().map(|panic| panic.message().len());
    assert_eq!(panic.is_some(), cause == LossCause::Panicked);
    assert!(panic.unwrap_or(0) <= 8 * 1024, "{panic:?}");
    assert_eq!(loss.lost + loss.requeued, 4);
    let mut lost = 0;
    for (number, hold) in (0..).zip(holds) {
        match within(SOON, "a task that was held", hold).await {
            Ok(value) => assert_eq!(value, number),
            Err(TaskError::WorkerLost(report)) => {
                assert_eq!(report.cause(), &cause);
                assert!(report.suspects() > 0, "{report}");
                lost += 1;
            }
            Err(other) => panic!("task {number}: {other}"),
        }
    }
    assert_eq!(lost, loss.lost);
    scene.replaced(1).await;
    memory.has_not_grown();
    neighbour.end().await;
    scene.end(0).await;
}

/// The worker ends, and only it.
async fn ends(stage: Stage, reason: &str, settled: usize) {
    let mut scene = stage.ready().await;
    scene.warm_up().await;
    let holds = scene.hold().await;
    let (neighbour, memory, since) = serve_and_go(&scene).await;
    let loss = ended(&mut scene, &neighbour, since, reason).await;
    assert_eq!(loss.lost + loss.requeued, 4 - settled);
    let read = [
        "control",
        "not asked",
        "signals",
        "last words",
        "closed its data",
        "not complete",
    ];
    if !read.iter().any(|why| reason.contains(why)) {
        // Words of starts may be among what could not be read: only what is idempotent runs again.
        assert!(loss.requeued <= 1, "{} ran again", loss.requeued);
    }
    assert_eq!(settled_holds(&scene, holds).await, (loss.lost, 0));
    scene.replaced(1).await;
    memory.has_not_grown();
    neighbour.end().await;
    scene.end(0).await;
}

/// Of the tasks of a worker that broke the protocol only that which may run again does: what it has not said, or was not
/// heard to say, of the others it may have done.
///
/// Returns how many are lost, and how many were cancelled or panicked.
async fn settled_holds(scene: &Scene, holds: Vec<TaskHandle<Hold>>) -> (usize, usize) {
    let (mut lost, mut ended) = (0, 0);
    for (number, hold) in (0..).zip(holds) {
        match within(SOON, "a task that was held", hold).await {
            Ok(value) => assert_eq!(value, number),
            Err(TaskError::WorkerLost(report)) => {
                // Of four the third, which is idempotent, has run again.
                assert_ne!(number / 2, 2, "task {number} should not be lost: {report}");
                assert_eq!(report.cause(), &LossCause::Protocol);
                // The first had said so.
                let started = if number < 2 {
                    Started::Yes
                } else {
                    Started::Unknown
                };
                assert_eq!(report.started(), started, "task {number}");
                assert_eq!(report.pid(), Some(scene.pid));
                lost += 1;
            }
            Err(TaskError::Cancelled { started: true } | TaskError::Panicked(_)) => ended += 1,
            Err(other) => panic!("task {number}: {other}"),
        }
    }
    (lost, ended)
}

/// Has the neighbour serve, takes note of the memory and lets the hostile worker go.
async fn serve_and_go(scene: &Scene) -> (Neighbour, Memory, Instant) {
    let neighbour = Neighbour::serve(&scene.pool);
    neighbour.serves(20).await;
    let last = std::fs::read_to_string(scene.dir.join("last")).expect("a file of the test");
    let last: u64 = last.parse().expect("a ticket");
    let other = scene.other();
    scene
        .status_is("the neighbour has had twenty more", |status| {
            status.slots[other].done >= last + 20
        })
        .await;
    let memory = Memory::mark();
    let since = scene.go();
    (neighbour, memory, since)
}

/// Waits for the end of the hostile worker, which breaks the protocol.
async fn ended(scene: &mut Scene, neighbour: &Neighbour, since: Instant, reason: &str) -> Loss {
    let served = neighbour.served.get();
    let patience = if scene.waits {
        PATIENCE
    } else {
        Duration::ZERO
    };
    let limit = patience + SOON;
    let loss = scene.loss_for(limit, LossCause::Protocol, reason).await;
    if scene.waits {
        let took = since.elapsed();
        assert!(
            took > PATIENCE - Duration::from_millis(500)
                && took < PATIENCE + Duration::from_secs(3),
            "it was put up with for {took:?}"
        );
        let served = neighbour.served.get() - served;
        assert!(served > 100, "the neighbour served only {served} meanwhile");
    }
    loss
}

pub(crate) fn keeps_little_of_the_offer(stage: Stage) -> Story {
    Box::pin(async {
        let mut scene = stage.starting(Duration::from_secs(30)).await;
        scene.waits().await;
        scene.pool.map((0..200).map(Echo)).await.expect("echoes");
        let memory = Memory::mark();
        scene.go();
        scene.replaced(0).await;
        memory.has_not_grown();
        scene.calm();
        let report = within(SOON, "the stop", scene.pool.stop()).await;
        assert_eq!(report.killed, 1);
        scene.nothing_is_left();
    })
}

pub(crate) fn has_a_time_limit_on_starts(stage: Stage) -> Story {
    Box::pin(async {
        let mut scene = stage.starting(Duration::from_secs(3)).await;
        scene.waits().await;
        scene.go();
        let reason = "handshake";
        scene.loss_for(SOON, LossCause::Init, reason).await;
        scene.replaced(1).await;
        scene.end(0).await;
    })
}

/// What a worker says after its Ready, in the same breath, is looked at without waiting for more.
pub(crate) fn ends_it_when_it_is_ready(stage: Stage) -> Story {
    Box::pin(async {
        let limit = if stage.waits {
            PATIENCE
        } else {
            Duration::ZERO
        } + SOON;
        let mut scene = stage.starting(Duration::from_secs(30)).await;
        scene.waits().await;
        scene.go();
        let loss = scene.loss(limit).await;
        assert_eq!(loss.report.cause(), &LossCause::Protocol, "{}", loss.report);
        assert_eq!((loss.lost, loss.requeued), (0, 0));
        scene.replaced(1).await;
        scene.end(0).await;
    })
}

pub(crate) fn ends_it_after_a_flood_of_starts(stage: Stage) -> Story {
    Box::pin(ends_it_after_a_flood(stage, "second start", 0))
}

pub(crate) fn ends_it_after_a_flood_of_panics(stage: Stage) -> Story {
    // The first is the end of its task.
    Box::pin(ends_it_after_a_flood(stage, "had ended", 1))
}

/// What comes in one read becomes no large multiple of itself.
async fn ends_it_after_a_flood(stage: Stage, reason: &str, settled: usize) {
    let mut scene = stage.ready().await;
    scene.warm_up().await;
    let holds = scene.hold().await;
    let (neighbour, memory, since) = serve_and_go(&scene).await;
    let dir = scene.dir.clone();
    eventually("it is prepared", || dir.join("prepared").exists()).await;
    neighbour.serves(5).await;
    put(&dir, "busy");
    // This thread is the pool's, so nothing is read meanwhile.
    block_until(|| dir.join("flooded").exists());
    let loss = ended(&mut scene, &neighbour, since, reason).await;
    assert_eq!(loss.lost + loss.requeued, 4 - settled);
    assert_eq!(settled_holds(&scene, holds).await, (loss.lost, settled));
    scene.replaced(1).await;
    memory.has_not_grown();
    neighbour.end().await;
    scene.end(0).await;
}

/// The worker says that a cancelled task holds its loop, and the host asks for those behind it back: once.
pub(crate) fn asks_no_more_than_it_is_answered(stage: Stage) -> Story {
    let reason = "answers to what was not asked";
    Box::pin(ends_with_a_cancelled_task(stage, reason, 0))
}

pub(crate) fn takes_no_task_back_that_has_a_value(stage: Stage) -> Story {
    let reason = "given back with a part of its value";
    Box::pin(ends_with_a_cancelled_task(stage, reason, 0))
}

pub(crate) fn takes_no_task_back_that_has_started(stage: Stage) -> Story {
    let reason = "given back, which had started";
    Box::pin(ends_with_a_cancelled_task(stage, reason, 0))
}

pub(crate) fn takes_no_result_of_a_task_given_back(stage: Stage) -> Story {
    Box::pin(ends_with_a_cancelled_task(stage, "had ended", 1))
}

/// The worker breaks the protocol when one of its tasks is cancelled and so many were given back.
async fn ends_with_a_cancelled_task(stage: Stage, reason: &str, given_back: usize) {
    let mut scene = stage.ready().await;
    scene.warm_up().await;
    let holds = scene.hold().await;
    let (neighbour, memory, since) = serve_and_go(&scene).await;
    let unsettled = |hold: &&TaskHandle<Hold>| !hold.is_settled();
    holds.iter().find(unsettled).expect("a task").cancel();
    let loss = ended(&mut scene, &neighbour, since, reason).await;
    assert_eq!(loss.lost + loss.requeued, 4 - given_back);
    // One of those that were settled with it is the one that was cancelled.
    assert_eq!(settled_holds(&scene, holds).await, (loss.lost - 1, 1));
    scene.replaced(1).await;
    memory.has_not_grown();
    neighbour.end().await;
    scene.end(0).await;
}

pub(crate) fn ends_it_when_it_takes_no_task(stage: Stage) -> Story {
    Box::pin(async {
        let mut scene = stage.ready().await;
        scene.warm_up().await;
        let holds = scene.hold().await;
        let (neighbour, memory, since) = serve_and_go(&scene).await;
        // Its turn comes with the first task or the second.
        let loss = ended(&mut scene, &neighbour, since, "for reading").await;
        assert_eq!((loss.lost, loss.requeued), (0, 1));
        assert_eq!(settled_holds(&scene, holds).await, (0, 0));
        scene.replaced(1).await;
        memory.has_not_grown();
        neighbour.end().await;
        scene.end(0).await;
    })
}

/// Control is missed at the latest when the worker has to end.
pub(crate) fn goes_on_without_control(stage: Stage) -> Story {
    Box::pin(async {
        let scene = stage.ready().await;
        scene.warm_up().await;
        let holds = scene.hold().await;
        let (neighbour, memory, _) = serve_and_go(&scene).await;
        for (number, hold) in (0..).zip(holds) {
            assert_eq!(within(SOON, "a held task", hold).await.unwrap(), number);
        }
        neighbour.serves(50).await;
        memory.has_not_grown();
        neighbour.end().await;
        scene.end(1).await;
    })
}

pub(crate) fn goes_on_with_a_flood_of_output(stage: Stage) -> Story {
    Box::pin(async {
        let scene = stage.ready().await;
        scene.warm_up().await;
        let holds = scene.hold().await;
        let (neighbour, memory, _) = serve_and_go(&scene).await;
        for (number, hold) in (0..).zip(holds) {
            assert_eq!(within(SOON, "a held task", hold).await.unwrap(), number);
        }
        neighbour.serves(200).await;
        memory.has_not_grown();
        neighbour.end().await;
        scene.end(1).await;
    })
}

/// Submits a task to each worker, by a handle and by message, and says how many of the two and two were refused
/// because their output is no such value.
///
/// Each wants a worker for itself: quick tasks that do not may all be sent to one.
macro_rules! outputs {
    ($scene:ident, $task:expr) => {{
        let mut refused = 0;
        let alone = || Submit::new($task).exclusive();
        let handles = [$scene.pool.submit(alone()), $scene.pool.submit(alone())];
        for handle in handles {
            refused += u32::from(is_refused(&within(SOON, "an output", handle).await));
        }
        let addr = $scene.pool.addr();
        let requests = [addr.send(alone()), addr.send(alone())];
        let requests = requests.map(|request| actix::spawn(request));
        for request in requests {
            let answer = within(SOON, "an output", request).await.unwrap().unwrap();
            refused += u32::from(is_refused(&answer));
        }
        refused
    }};
}

fn is_refused<T, E: std::fmt::Display>(result: &Result<T, TaskError<E>>) -> bool {
    match result {
        Ok(_) => false,
        Err(TaskError::Codec(_)) => true,
        Err(other) => panic!("{other}"),
    }
}

pub(crate) fn refuses_deep_outputs(stage: Stage) -> Story {
    Box::pin(async {
        let scene = stage.ready().await;
        scene.warm_up().await;
        let memory = Memory::mark();
        assert_eq!(outputs!(scene, Nest), 2);
        memory.has_not_grown();
        scene.end(1).await;
    })
}

pub(crate) fn refuses_long_outputs(stage: Stage) -> Story {
    Box::pin(async {
        let scene = stage.ready().await;
        scene.warm_up().await;
        let memory = Memory::mark();
        assert_eq!(outputs!(scene, Units), 2);
        memory.has_not_grown();
        scene.end(1).await;
    })
}

/// Fills the sockets of a worker that does not read. Returns what it keeps.
async fn load(scene: &Scene) -> Vec<TaskHandle<Load>> {
    let bytes = bytes_of_a_load();
    let mut loads: Vec<_> = (0..2 * HELD)
        .map(|_| scene.pool.submit(Load(Blob::from(bytes.clone()))))
        .collect();
    eventually("the honest worker has done its part", || {
        loads.iter().filter(|load| load.is_settled()).count() == HELD
    })
    .await;
    loads.retain(|load| !load.is_settled());
    loads
}

fn bytes_of_a_load() -> Vec<u8> {
    vec![7; 900 * 1024]
}

pub(crate) fn kills_it_for_its_cancelled_tasks(stage: Stage) -> Story {
    Box::pin(async {
        let mut scene = stage.ready().await;
        let loads = load(&scene).await;
        let neighbour = Neighbour::serve(&scene.pool);
        neighbour.serves(20).await;
        let memory = Memory::mark();
        neighbour.serves(100).await;
        let began = Instant::now();
        for load in &loads {
            load.cancel();
        }
        for load in loads {
            let ended = within(
                CANCEL_GRACE + Duration::from_secs(2),
                "a cancelled task",
                load,
            );
            assert!(matches!(ended.await, Err(TaskError::Cancelled { .. })));
        }
        let loss = scene.loss_for(SOON, LossCause::Killed, "cancelled").await;
        assert_eq!((loss.lost, loss.requeued), (0, 0));
        assert!(began.elapsed() < CANCEL_GRACE + GRACE + Duration::from_secs(3));
        scene.replaced(1).await;
        memory.has_not_grown();
        neighbour.end().await;
        scene.end(0).await;
    })
}

pub(crate) fn kills_it_when_the_pool_stops(stage: Stage) -> Story {
    Box::pin(async {
        let mut scene = stage.ready().await;
        let loads = load(&scene).await;
        let neighbour = Neighbour::serve(&scene.pool);
        neighbour.serves(50).await;
        neighbour.end().await;
        let memory = Memory::mark();
        let limit = CANCEL_GRACE + GRACE + Duration::from_secs(3);
        let report = within(limit, "the stop", scene.pool.stop()).await;
        assert_eq!(report.killed, 1);
        for load in loads {
            let ended = within(SOON, "a task of a stopped pool", load).await;
            assert!(
                matches!(
                    ended,
                    Err(TaskError::Cancelled { .. } | TaskError::Rejected(Rejected::Closed))
                ),
                "{ended:?}"
            );
        }
        memory.has_not_grown();
        for event in scene.events.take() {
            assert!(
                !matches!(&event, PoolEvent::WorkerLost { report, .. } if report.slot().index() != scene.slot),
                "the neighbour was lost: {event:?}"
            );
        }
        scene.nothing_is_left();
    })
}
