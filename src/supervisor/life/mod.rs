//! One worker process from the decision to start it to its last report.
//!
//! Belongs here: the order of starting, serving and ending, and the report. Does not belong here: what follows it.
//! Invariants: whatever happens in between, a life ends with the tasks of its worker settled or requeued, its process
//! dead and reaped, and one [`LifeEnded`]; when it is dropped on the way, because the arbiter ends, likewise without one.
//!
//! ```text
//!  waiting ─▶ launching ─▶ connecting ─▶ greeting ─▶ ready (session) ─▶ ended
//!     │            │            │            │                            ▲
//!     └────────────┴────────────┴────────────┴── asked, failed, timed out ┘
//! ```

mod asked;
mod report;
mod starting;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use actix::WeakAddr;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    error::{CrashReport, LossCause, Started, Vitals, WorkerStartError, capture},
    ipc::{Endpoint, SocketPlace},
    observe::{ExitStatus, PoolEvent, SlotState},
    sched::Seat,
    supervisor::{
        Launched, PoolCore, PoolSupervisor,
        actor::Gone,
        core::{End, Guilt},
        life::{
            asked::{ended, told},
            report::{Loss, crash, ended_as, ended_itself, report, with_stderr},
            starting::{end_unready, read_out, ready, start},
        },
        session::{self, Command, Ended, Session, Why},
    },
    task::{Slot, WorkerInfo},
};

/// How long what a dead worker wrote to its streams is waited for, and then for the host's to take it.
const READ_OUT: Duration = Duration::from_millis(20);

/// The stage of a worker that has not said anything yet.
const CONNECTING: &str = "connecting";

/// What a life needs.
#[derive(Debug, Clone)]
pub(super) struct Birth {
    pub(super) core: Arc<PoolCore>,
    pub(super) place: Arc<SocketPlace>,
    pub(super) slot: Slot,
    pub(super) life: u32,
    /// Known once it begins.
    pub(super) generation: u32,
    pub(super) delay: Duration,
    pub(super) supervisor: WeakAddr<PoolSupervisor>,
}

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LifeEnded {
    /// Nobody asked for it.
    Abnormally,
    /// The pool ended it for a task's sake: the slot is not to blame.
    Sacrificed,
    /// It was asked to end.
    Asked,
    /// It did not begin, because the circuit is open: the slot waits.
    Held,
}

/// Ends what a life holds when it is dropped half-way.
struct Guard {
    core: Arc<PoolCore>,
    supervisor: WeakAddr<PoolSupervisor>,
    launched: Option<Launched>,
    /// Its seat in the core, from ready until what it had is settled.
    seat: Option<Seat>,
    /// Where its worker connects, until it has. Goes after the worker was killed, or that would complain of it.
    endpoint: Option<Endpoint>,
    disarmed: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(launched) = &mut self.launched {
            launched.process.kill_now(Duration::from_secs(1));
        }
        if !self.disarmed {
            // Only the end of its arbiter drops a life, and it takes the whole pool.
            self.core.end(End::Gone);
            self.core.control.start_closed();
            // It may live on another, and would wait for the end of this life.
            if let Some(supervisor) = self.supervisor.upgrade() {
                supervisor.do_send(Gone);
            }
        }
    }
}

/// Lives one life.
pub(super) async fn live(mut birth: Birth, mut commands: UnboundedReceiver<Command>) -> LifeEnded {
    let (core, slot) = (Arc::clone(&birth.core), birth.slot);
    let mut guard = Guard {
        core: Arc::clone(&core),
        supervisor: birth.supervisor.clone(),
        launched: None,
        seat: None,
        endpoint: None,
        disarmed: false,
    };
    let began = Instant::now();
    let ended = {
        let mut body = pin!(run(&mut birth, &mut guard, &mut commands));
        // A bug here must not cost the waiters of its tasks more than this worker.
        poll_fn(|cx| match capture::caught(|| body.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        })
        .await
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(panic) => {
            crate::observe::log(
                || tracing::error!(slot = slot.index(), %panic, "a worker's session panicked"),
            );
            if let Some(launched) = &mut guard.launched {
                launched.process.kill();
            }
            report(
                &birth,
                &mut guard,
                None,
                began,
                Loss {
                    cause: LossCause::Protocol,
                    detail: Some(format!("the host's session panicked: {panic}")),
                    guilt: Guilt::Somebody,
                    read: false,
                    vitals: Vitals::default(),
                },
            );
            LifeEnded::Abnormally
        }
    };
    let mut exit = ExitStatus::default();
    if let Some(launched) = &mut guard.launched {
        // Dead already, but for what hangs in the kernel and what panicked.
        let exited = poll_fn(|cx| launched.process.poll_exit(cx));
        let exited = tokio::time::timeout(Duration::from_secs(1), exited).await;
        exit = exited.unwrap_or_default();
        // Who ends the host next may still want to read it; whoever does not read is not waited for.
        let written = poll_fn(|cx| {
            let relays = [&launched.stdout, &launched.stderr];
            if relays
                .into_iter()
                .flatten()
                .all(|relay| relay.poll_written(cx).is_ready())
            {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let _ = tokio::time::timeout(READ_OUT, written).await;
    }
    guard.disarmed = true;
    core.control.slot(slot, |record| {
        let Some(life) = record.life_mut(birth.life) else {
            return;
        };
        life.state = SlotState::Waiting;
        life.pid = None;
        if life.begun {
            record.exit = Some(exit);
        }
    });
    ended
}

/// Why a worker did not become ready.
enum Unready {
    Failed(WorkerStartError),
    /// Its end was asked for, if only by the end of its proxy.
    Asked(Option<Command>),
}

/// How a life ends that was asked to before its worker was ready.
fn unready_as(
    birth: &Birth,
    guard: &mut Guard,
    command: Option<Command>,
    exit: Option<ExitStatus>,
    born: Instant,
) -> LifeEnded {
    let why = match command {
        None | Some(Command::Begin | Command::End { .. } | Command::Retire(_)) => {
            return LifeEnded::Asked;
        }
        Some(Command::Kill { .. }) => Why::Operator,
        Some(Command::Fail) => Why::Failed,
    };
    let ended = Ended {
        exit,
        unread: false,
        why,
        vitals: Vitals::default(),
        retired: None,
    };
    ended_as(birth, guard, ended, born)
}

async fn run(
    birth: &mut Birth,
    guard: &mut Guard,
    commands: &mut UnboundedReceiver<Command>,
) -> LifeEnded {
    let slot = birth.slot;
    let mut asked = Instant::now();
    if birth.delay.is_zero() {
        // Whoever has been told of the end of the one before comes first: to start a process holds the loop for a millisecond.
        tokio::task::yield_now().await;
    } else {
        tokio::select! {
            // Whoever is to end does not begin.
            biased;
            starts = told(commands) => if !starts {
                return LifeEnded::Asked;
            },
            () = tokio::time::sleep(birth.delay) => {}
        }
        asked = Instant::now();
    }
    let core = Arc::clone(&birth.core);
    let control = &core.control;
    let Some(turn) = asked::turn(control, slot, asked, commands).await else {
        return LifeEnded::Asked;
    };
    if !control.may_start(slot) {
        control.start_held(slot);
        return LifeEnded::Held;
    }
    let decided = Instant::now();
    if control.tries(slot, decided) {
        birth.core.say_available();
        control.emit(PoolEvent::CircuitHalfOpen { slot });
    }
    let generation = control.slot(slot, |record| record.begin(birth.life));
    birth.generation = generation.unwrap_or(0);
    let (birth, core) = (&*birth, &*core);
    let mut stage = CONNECTING;
    let started = tokio::select! {
        // Nothing is started for a slot that was wanted for a moment only.
        biased;
        command = ended(commands) => Err(Unready::Asked(command)),
        started = start(birth, guard, &mut stage, turn) => started.map_err(Unready::Failed),
    };
    let (greeted, control) = match started {
        Ok(started) => started,
        Err(Unready::Asked(command)) => {
            // It has nothing to lose.
            let exit = end_unready(guard).await;
            return unready_as(birth, guard, command, exit, decided);
        }
        Err(Unready::Failed(error)) => {
            let exit = end_unready(guard).await;
            let error = match error {
                // It had come as far as to connect, so `init()` is not to blame.
                WorkerStartError::ExitedEarly { .. } if stage != CONNECTING => {
                    let launched = guard.launched.as_mut();
                    let crash = {
                        let cause = (ended_itself(exit), None);
                        crash(birth, launched, exit, decided, cause, Vitals::default())
                    };
                    WorkerStartError::Lost(CrashReport::new(crash, Started::No, 0))
                }
                error => with_stderr(error, guard),
            };
            report(
                birth,
                guard,
                exit,
                decided,
                Loss {
                    cause: LossCause::Init,
                    detail: Some(error.to_string()),
                    guilt: Guilt::Somebody,
                    read: true,
                    vitals: Vitals::default(),
                },
            );
            core.control.start_failed(slot, error);
            return LifeEnded::Abnormally;
        }
    };
    let Some(launched) = &mut guard.launched else {
        return LifeEnded::Abnormally;
    };
    let worker = WorkerInfo::new(slot, birth.generation, launched.pid);
    let attached = ready(birth, worker, decided.elapsed());
    guard.seat = Some(attached.seat);
    let Launched {
        process,
        stdout,
        stderr,
        ..
    } = launched;
    let ended = session::serve(Session {
        core,
        birth,
        worker,
        slot,
        attached,
        data: greeted.data,
        control,
        reader: greeted.reader,
        indexes: greeted.indexes,
        process: &mut **process,
        stdout,
        stderr,
        commands,
    })
    .await;
    read_out(launched).await;
    ended_as(birth, guard, ended, decided)
}
