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

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use actix::WeakAddr;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    error::{Crash, CrashReport, LossCause, Started, WorkerStartError},
    ipc::{PeerExpectation, SocketPlace},
    observe::{PoolEvent, PoolState, SlotState},
    supervisor::{
        Exit, LaunchOrder, Launched, PoolCore, PoolSupervisor,
        core::End,
        handshake::{self, Connections},
        proxy::Unpark,
        relay::Relay,
        session::{self, Command, Ended, Session, Why},
    },
    task::{Slot, WorkerInfo},
    wire::{Place, StartConfig, TOKEN_BYTES},
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
    launched: Option<Launched>,
    disarmed: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(launched) = &mut self.launched {
            launched.process.kill_now(Duration::from_secs(1));
        }
        if !self.disarmed {
            // Only the end of the arbiter drops a life, and it takes the whole pool.
            self.core.end(End::Gone);
            self.core.control.start_closed();
        }
    }
}

/// Lives one life.
pub(super) async fn live(birth: Birth, mut commands: UnboundedReceiver<Command>) -> LifeEnded {
    let (core, slot) = (Arc::clone(&birth.core), birth.slot);
    let mut guard = Guard {
        core: Arc::clone(&core),
        launched: None,
        disarmed: false,
    };
    let began = Instant::now();
    let ended = {
        let mut body = pin!(run(&birth, &mut guard, &mut commands));
        // A bug here must not cost the waiters of its tasks more than this worker.
        poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx))) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err(crate::error::capture::describe(panic.as_ref()))),
            },
        )
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
                guard.launched.as_mut(),
                None,
                began,
                LossCause::Protocol,
                Some(format!("the host's session panicked: {panic}")),
                false,
            );
            LifeEnded::Abnormally
        }
    };
    if let Some(launched) = &mut guard.launched {
        // Dead already, but for what hangs in the kernel and what panicked.
        let exited = poll_fn(|cx| launched.process.poll_exit(cx));
        let _ = tokio::time::timeout(Duration::from_secs(1), exited).await;
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
    let after = if core.control.is_ending() {
        SlotState::Down
    } else {
        SlotState::Waiting
    };
    core.control.slot(slot, |record| {
        record.state = after;
        record.pid = None;
    });
    ended
}

async fn run(
    birth: &Birth,
    guard: &mut Guard,
    commands: &mut UnboundedReceiver<Command>,
) -> LifeEnded {
    let (core, slot) = (&*birth.core, birth.slot);
    if !birth.delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(birth.delay) => {}
            _ = commands.recv() => return LifeEnded::Asked,
        }
    }
    if !core.control.may_start(slot) {
        return LifeEnded::Held;
    }
    let decided = Instant::now();
    core.control.slot(slot, |record| {
        record.state = SlotState::Starting;
        record.generation = birth.generation;
    });
    let mut stage = CONNECTING;
    let started = tokio::select! {
        started = start(birth, guard, &mut stage) => started,
        _ = commands.recv() => Err(None),
    };
    let (greeted, control) = match started {
        Ok(started) => started,
        Err(None) => {
            // Asked to end before it was ready: it has nothing to lose.
            end_unready(guard).await;
            return LifeEnded::Asked;
        }
        Err(Some(error)) => {
            let exit = end_unready(guard).await;
            let error = match error {
                // It had come as far as to connect, so `init()` is not to blame.
                WorkerStartError::ExitedEarly { .. } if stage != CONNECTING => {
                    let launched = guard.launched.as_mut();
                    let crash = crash(birth, launched, exit, decided, ended_itself(exit), None);
                    WorkerStartError::Lost(CrashReport::new(crash, Started::No, 0))
                }
                error => with_stderr(error, guard),
            };
            report(
                birth,
                guard.launched.as_mut(),
                exit,
                decided,
                LossCause::Init,
                Some(error.to_string()),
                false,
            );
            core.control.start_failed(slot, error);
            return LifeEnded::Abnormally;
        }
    };
    let Some(launched) = &mut guard.launched else {
        return LifeEnded::Abnormally;
    };
    let worker = WorkerInfo::new(slot, birth.generation, launched.process.pid());
    ready(birth, worker, decided.elapsed());
    let Launched {
        process,
        stdout,
        stderr,
        ..
    } = launched;
    let ended = session::serve(Session {
        core,
        slot,
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

/// Launches, connects and greets. `Err(Some(..))` says why it failed.
async fn start(
    birth: &Birth,
    guard: &mut Guard,
    stage: &mut &'static str,
) -> Result<(handshake::Greeted, crate::ipc::Stream), Option<WorkerStartError>> {
    let limit = birth.core.config.start_timeout;
    let launched = launch(birth)?;
    let (endpoint, token, mut launched) = launched;
    let streams = launched.streams.take();
    let pid = launched.process.pid();
    let launched = guard.launched.insert(launched);
    let worker = WorkerInfo::new(birth.slot, birth.generation, pid);
    birth
        .core
        .control
        .slot(birth.slot, |record| record.pid = Some(pid));
    birth
        .core
        .control
        .emit(PoolEvent::WorkerStarting { worker });
    let core = &*birth.core;
    let shake = async {
        let Connections { data, control } = match (streams, endpoint) {
            (Some((data, control)), _) => Connections { data, control },
            (None, Some(endpoint)) => {
                handshake::connect(core, endpoint, token, PeerExpectation { pid }).await?
            }
            (None, None) => {
                return Err(WorkerStartError::Refused {
                    message: "there is nothing to connect to".to_owned(),
                });
            }
        };
        *stage = "handshake";
        let greeted = handshake::greet(core, data, pid, stage).await?;
        Ok((greeted, control))
    };
    let exited = poll_fn(|cx| {
        for relay in [&mut launched.stdout, &mut launched.stderr]
            .into_iter()
            .flatten()
        {
            relay.poll(cx);
        }
        launched.process.poll_exit(cx)
    });
    let shaken = tokio::select! {
        // What the worker said before it ended says more than its end.
        biased;
        shaken = shake => Ok(shaken),
        exit = exited => Err(Some(exit)),
        () = tokio::time::sleep(limit) => Err(None),
    };
    match shaken {
        Ok(shaken) => shaken.map_err(Some),
        Err(Some(exit)) => Err(Some(WorkerStartError::ExitedEarly {
            status: exit.to_string(),
            stderr_tail: String::new(),
        })),
        Err(None) => Err(Some(WorkerStartError::TimedOut {
            after: limit,
            stage,
            stderr_tail: String::new(),
        })),
    }
}

type Started3 = (Option<crate::ipc::Endpoint>, [u8; TOKEN_BYTES], Launched);

/// Opens the endpoint and starts the process.
fn launch(birth: &Birth) -> Result<Started3, Option<WorkerStartError>> {
    let (core, slot) = (&*birth.core, birth.slot);
    let refused = |message: String| Some(WorkerStartError::Refused { message });
    let mut token = [0; TOKEN_BYTES];
    getrandom::fill(&mut token).map_err(|error| refused(format!("no random token: {error}")))?;
    let endpoint = if core.config.launcher.connects() {
        let endpoint = birth
            .place
            .listen(slot.index(), birth.generation)
            .map_err(|error| refused(format!("listening on a local socket failed: {error}")))?;
        Some(endpoint)
    } else {
        None
    };
    let config = StartConfig {
        token,
        place: endpoint
            .as_ref()
            .map_or(Place::Name(String::new()), |endpoint| {
                endpoint.place().clone()
            }),
        slot: slot.index(),
        generation: birth.generation,
        grace_ms: handshake::millis(core.config.grace),
        own_group: cfg!(unix),
    };
    let launched = core
        .config
        .launcher
        .launch(LaunchOrder {
            config,
            stdio: core.config.stdio,
            processes: core.config.processes,
        })
        .map_err(Some)?;
    Ok((endpoint, token, launched))
}

/// Ends a worker that is not ready. Returns how it ended.
async fn end_unready(guard: &mut Guard) -> Option<Exit> {
    let launched = guard.launched.as_mut()?;
    launched.process.kill();
    let exited = poll_fn(|cx| launched.process.poll_exit(cx));
    let exit = tokio::time::timeout(Duration::from_secs(1), exited)
        .await
        .ok();
    read_out(launched).await;
    exit
}

/// Reads what a dead worker wrote. What it started outside its group may hold the pipe open, so not for long.
async fn read_out(launched: &mut Launched) {
    let ended = poll_fn(|cx| {
        let stdout = launched.stdout.as_mut().map(|relay| relay.poll_end(cx));
        let stderr = launched.stderr.as_mut().map(|relay| relay.poll_end(cx));
        if [stdout, stderr].contains(&Some(Poll::Pending)) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    });
    let _ = tokio::time::timeout(READ_OUT, ended).await;
}

/// Adds what the worker wrote to its standard error to the errors that show it.
fn with_stderr(mut error: WorkerStartError, guard: &Guard) -> WorkerStartError {
    let tail = stderr_tail(guard.launched.as_ref());
    match &mut error {
        WorkerStartError::ExitedEarly { stderr_tail, .. }
        | WorkerStartError::TimedOut { stderr_tail, .. } => *stderr_tail = tail,
        _ => {}
    }
    error
}

fn stderr_tail(launched: Option<&Launched>) -> String {
    launched
        .and_then(|launched| launched.stderr.as_ref())
        .map(Relay::tail)
        .unwrap_or_default()
}

/// The worker takes tasks from here on.
fn ready(birth: &Birth, worker: WorkerInfo, took: Duration) {
    let (core, slot) = (&*birth.core, birth.slot);
    let lost_at = core
        .control
        .slot(slot, |record| {
            record.state = SlotState::Ready;
            record.lost_at.take()
        })
        .flatten();
    core.up(slot);
    if let Some((parked, open_for)) = core.control.ready(slot) {
        core.set_available(None);
        core.control
            .emit(PoolEvent::CircuitClosed { after: open_for });
        if let Some(supervisor) = birth.supervisor.upgrade() {
            supervisor.do_send(Unpark(parked));
        }
    }
    core.control.emit(PoolEvent::WorkerReady { worker, took });
    if let Some(lost_at) = lost_at {
        core.control.emit(PoolEvent::WorkerRestarted {
            worker,
            after: lost_at.elapsed(),
        });
    }
}

/// Settles what the worker had and says how it ended.
fn ended_as(birth: &Birth, guard: &mut Guard, ended: Ended, born: Instant) -> LifeEnded {
    let exit = ended.exit;
    let (cause, detail, innocent, outcome) = match ended.why {
        Why::Itself => (ended_itself(exit), None, false, LifeEnded::Abnormally),
        Why::Asked => (LossCause::Exited, None, true, LifeEnded::Asked),
        Why::Killed => (LossCause::Killed, None, true, LifeEnded::Asked),
        Why::Failed => (
            LossCause::Killed,
            Some("the host's proxy of this worker panicked".to_owned()),
            true,
            LifeEnded::Sacrificed,
        ),
        Why::Stuck(detail) => (LossCause::Killed, Some(detail), true, LifeEnded::Sacrificed),
        Why::Violation(detail) => (
            LossCause::Protocol,
            Some(detail),
            false,
            LifeEnded::Abnormally,
        ),
    };
    let planned = outcome == LifeEnded::Asked;
    if planned {
        // Nothing is lost with a worker that was asked to end; what it still had is settled by whoever asked.
        let crash = crash(birth, guard.launched.as_mut(), exit, born, cause, detail);
        birth.core.lost(birth.slot, &crash, innocent);
    } else {
        report(
            birth,
            guard.launched.as_mut(),
            exit,
            born,
            cause,
            detail,
            innocent,
        );
    }
    outcome
}

/// The cause of an end that the pool had no part in.
fn ended_itself(exit: Option<Exit>) -> LossCause {
    if exit.is_some_and(|exit| exit.signal.is_some()) {
        LossCause::Signal
    } else {
        LossCause::Exited
    }
}

fn crash(
    birth: &Birth,
    launched: Option<&mut Launched>,
    exit: Option<Exit>,
    born: Instant,
    cause: LossCause,
    detail: Option<String>,
) -> Arc<Crash> {
    let launched = launched.map(|launched| &*launched);
    Arc::new(Crash {
        slot: birth.slot,
        generation: birth.generation,
        pid: launched.map(|launched| launched.process.pid()),
        code: exit.and_then(|exit| exit.code),
        signal: exit.and_then(|exit| exit.signal),
        cause,
        detail,
        rss: None,
        uptime: born.elapsed(),
        stderr_tail: stderr_tail(launched),
    })
}

/// Settles the tasks of a worker that was lost, and tells everybody.
fn report(
    birth: &Birth,
    launched: Option<&mut Launched>,
    exit: Option<Exit>,
    born: Instant,
    cause: LossCause,
    detail: Option<String>,
    innocent: bool,
) {
    let crash = crash(birth, launched, exit, born, cause, detail);
    let (lost, requeued) = birth.core.lost(birth.slot, &crash, innocent);
    if matches!(
        birth.core.control.phase(),
        PoolState::Stopping | PoolState::Stopped
    ) {
        // A pool that ends what it has loses no worker, however that one ends.
        return;
    }
    birth.core.control.slot(birth.slot, |record| {
        record.restarts += 1;
        record.lost_at = Some(Instant::now());
    });
    birth.core.control.emit(PoolEvent::WorkerLost {
        report: CrashReport::new(crash, Started::Unknown, 0),
        lost,
        requeued,
    });
}
