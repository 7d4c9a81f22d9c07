//! What the core keeps apart and does not forget, without a worker or an arbiter.

mod circuit;
#[cfg(feature = "test-util")]
mod turns;

use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    config::{Launcher, PoolConfig},
    error::{Crash, LossCause, Rejected, Started, Vitals, WorkerStartError},
    sched::{RestartRules, RetryRules, Seat, Ticket},
    supervisor::{
        Config, Launch, LaunchOrder, Launched, PoolCore, SubmitTask, TaskTable,
        core::{End, Event, Guilt, Outgoing},
        reply::{Reply, ReplyCell, Settled},
    },
    task::{Slot, TaskId, Terms},
    wire::Payload,
};

const SLOT: Slot = Slot::new(0);
const A: Seat = Seat::new(0);

#[derive(Debug)]
struct Never;

impl Launch for Never {
    fn with(&self, _: Launcher) -> Option<Arc<dyn Launch>> {
        None
    }

    fn launch(&self, _: LaunchOrder) -> Result<Launched, WorkerStartError> {
        Err(WorkerStartError::Refused {
            message: "these tests need no worker".to_owned(),
        })
    }
}

/// A core with one slot, whose worker is ready, and room for so many bytes of results.
fn core(result_bytes: usize) -> Arc<PoolCore> {
    core_that_restarts(result_bytes, None)
}

/// Likewise; its circuit opens after so many ends of workers.
fn core_that_restarts(result_bytes: usize, budget: Option<u32>) -> Arc<PoolCore> {
    let core = PoolCore::new(
        Config {
            table: Arc::new(TaskTable::new(vec![("task", 0)])),
            launcher: Arc::new(Never),
            knobs: PoolConfig {
                queue_bytes: 1000,
                result_bytes,
                max_frame_bytes: 1000,
                ..PoolConfig::default()
            },
            limits: Vec::new(),
            processes: 1,
            concurrency: 4,
            queue_limit: Some(100),
            rules: RestartRules {
                budget,
                period: Duration::from_secs(5),
                backoff_min: Duration::ZERO,
                backoff_max: Duration::ZERO,
            },
            retry: RetryRules {
                lost: 3,
                memory: 3,
                failed: 3,
                backoff_min: Duration::ZERO,
                backoff_max: Duration::ZERO,
            },
            one_life: false,
            captures: None,
            init_args: None,
            lineage: crate::wire::Lineage {
                level: 0,
                cpus: 1,
                counted: 0,
            },
            until: None,
        },
        None,
    );
    core.up(SLOT, None);
    core
}

fn submit(core: &PoolCore) -> (TaskId, Arc<ReplyCell>) {
    let (id, cell) = offer(core);
    (id.unwrap(), cell)
}

/// A task that may be refused.
fn offer(core: &PoolCore) -> (Option<TaskId>, Arc<ReplyCell>) {
    let cell = Arc::new(ReplyCell::default());
    let task = SubmitTask {
        name: "task",
        payload: Ok(Payload::default()),
        terms: Terms::default(),
        tasks: 1,
        limits: crate::task::TimeLimits::default(),
    };
    let id = core.submit(task, Reply::Handle(Arc::clone(&cell)));
    (id, cell)
}

/// What the worker is told now: its tasks, and the rest.
fn told(core: &PoolCore) -> (Vec<(Ticket, TaskId)>, Outgoing) {
    let (mut tasks, mut rest) = (Vec::new(), Outgoing::default());
    core.take_outgoing(A, &mut rest, |task| tasks.push((task.ticket, task.id)));
    (tasks, rest)
}

fn lose(core: &PoolCore) {
    let crash = Crash {
        slot: SLOT,
        generation: 0,
        pid: None,
        code: None,
        signal: Some(9),
        cause: LossCause::Signal,
        detail: None,
        uptime: Duration::ZERO,
        vitals: Vitals::default(),
        stderr_tail: String::new(),
    };
    core.lost(A, &Arc::new(crash), Guilt::Somebody, true);
}

fn outcome(cell: &ReplyCell) -> Option<Settled> {
    let mut cx = Context::from_waker(Waker::noop());
    match cell.poll(&mut cx) {
        std::task::Poll::Ready(kept) => Some(kept.settled.clone()),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn what_was_to_be_said_to_a_lost_worker_is_not_said_to_the_next() {
    let core = core(1000);
    let (id, cell) = submit(&core);
    assert_eq!(told(&core).0, [(1, id)]);
    core.cancel(id, false);
    // Its session ends before it has taken the request.
    lose(&core);
    assert!(matches!(
        outcome(&cell),
        Some(Settled::Cancelled { started: false })
    ));
    core.up(SLOT, None);
    let (next, _cell) = submit(&core);
    let (tasks, rest) = told(&core);
    // The same ticket: a Cancel of the old one would end the new one.
    assert_eq!(tasks, [(1, next)]);
    assert!(rest.control.is_empty() && rest.cancels.is_empty());
}

#[test]
fn what_was_sent_may_have_started_when_its_pool_ends() {
    for end in [End::Gone, End::Asked] {
        let core = core(1000);
        let (_, sent) = submit(&core);
        assert_eq!(told(&core).0.len(), 1);
        let (_, unsent) = submit(&core);
        // The word of its start may be on the way, from a worker that lives.
        core.end(end);
        match (end, outcome(&sent).unwrap()) {
            (End::Gone, Settled::WorkerLost(report)) => {
                assert_eq!(report.started(), Started::Unknown);
            }
            (End::Asked, Settled::Cancelled { started: true }) => {}
            (_, other) => panic!("{end:?}: {other:?}"),
        }
        assert!(matches!(
            outcome(&unsent),
            Some(Settled::Rejected(rejected)) if matches!(*rejected, Rejected::Closed)
        ));
    }
}

#[test]
fn what_was_cancelled_in_the_outbox_is_not_asked_back() {
    let core = core(1000);
    let (first, _held) = submit(&core);
    assert_eq!(told(&core).0, [(1, first)]);
    let (_, _waits) = submit(&core);
    assert_eq!(core.revocable(A), [1]);
}

#[test]
fn what_a_lost_worker_still_says_is_not_taken_for_the_word_of_the_next() {
    let core = core(1000);
    let (id, _cell) = submit(&core);
    assert_eq!(told(&core).0, [(1, id)]);
    lose(&core);
    let done = || Event::Finished(1, Settled::Done(Payload::default()));
    assert!(core.apply((SLOT, A), &mut vec![done()]).is_err());
    core.up(SLOT, None);
    // Sent again under the same ticket, but not written yet.
    assert!(core.apply((SLOT, A), &mut vec![done()]).is_err());
    assert_eq!(told(&core).0, [(1, id)]);
    assert!(core.apply((SLOT, A), &mut vec![done()]).is_ok());
}

#[test]
fn an_awaited_task_that_comes_back_is_sent_beside_results_over_their_limit() {
    let core = core(100);
    let (_, untaken) = submit(&core);
    assert_eq!(told(&core).0.len(), 1);
    let large = Payload::new(Bytes::from(vec![0; 200]), Vec::new());
    let done = Event::Finished(1, Settled::Done(large));
    core.apply((SLOT, A), &mut vec![done]).unwrap();
    let (id, cell) = submit(&core);
    assert_eq!(told(&core).0, []);
    // Somebody awaits it, and says so once.
    assert!(outcome(&cell).is_none());
    core.expedite(id);
    assert_eq!(told(&core).0, [(2, id)]);
    lose(&core);
    core.up(SLOT, None);
    assert_eq!(told(&core).0, [(1, id)]);
    assert!(outcome(&untaken).is_some());
}

#[test]
fn how_much_a_worker_has_to_do_is_told_with_what_it_is_sent_and_with_what_it_says() {
    let core = core(1000);
    let mut sent = 0;
    let mut told = |core: &PoolCore| core.take_outgoing(A, &mut Outgoing::default(), |_| sent += 1);
    // Nobody knows how long such a task takes.
    let (_, _first) = submit(&core);
    assert_eq!(told(&core), u64::from(u32::MAX));
    let mut said = vec![
        Event::Pace(0, 3000),
        Event::Finished(1, Settled::Done(Payload::default())),
    ];
    assert_eq!(core.apply((SLOT, A), &mut said), Ok(0));
    let (_, _second) = submit(&core);
    assert_eq!(told(&core), 3000);
    assert_eq!(core.apply((SLOT, A), &mut said), Ok(3000));
    assert_eq!(sent, 2);
}

/// Looks, when it is woken, which of two tasks have settled.
struct Looks(Vec<Arc<ReplyCell>>, Mutex<Vec<usize>>);

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        let settled = self.0.iter().filter(|cell| cell.is_settled()).count();
        self.1.lock().push(settled);
    }
}

/// Woken for the first, its caller would come back to wait for the second.
#[test]
fn whoever_waits_is_woken_when_all_of_a_batch_have_settled() {
    let core = core(1000);
    let (first, second) = (submit(&core), submit(&core));
    let tickets: Vec<Ticket> = told(&core)
        .0
        .into_iter()
        .map(|(ticket, _)| ticket)
        .collect();
    let looks = Arc::new(Looks(vec![first.1, second.1], Mutex::default()));
    let waker = Waker::from(Arc::clone(&looks));
    for cell in &looks.0 {
        assert!(cell.poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let done = |ticket| Event::Finished(ticket, Settled::Done(Payload::default()));
    let mut events: Vec<Event> = tickets.into_iter().map(done).collect();
    core.apply((SLOT, A), &mut events).unwrap();
    assert_eq!(*looks.1.lock(), [2, 2]);
}

/// How long this thread has computed.
#[cfg(target_os = "linux")]
fn computed() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = text.split(' ').next().unwrap().parse();
    Duration::from_nanos(nanos.unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_waits_for_long_sleeps() {
    let core = core(1000);
    let (held, go) = (core.lock(), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let before = computed();
            go.wait();
            submit(&core);
            computed() - before
        });
        go.wait();
        std::thread::sleep(Duration::from_millis(300));
        assert!(!caller.is_finished());
        drop(held);
        let computed = caller.join().unwrap();
        assert!(computed < Duration::from_millis(100), "{computed:?}");
    });
}
