//! From the decision to start a worker to one that is ready, and back when it does not become so.
//!
//! Belongs here: process, connections, handshake, their time limit. Does not belong here: what follows a failure.
//! Invariant: whatever was started is in the guard before anything is waited for.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use crate::{
    error::WorkerStartError,
    ipc::{Endpoint, PeerExpectation, Stream},
    observe::{ExitStatus, PoolEvent, SlotState},
    supervisor::{
        LaunchOrder, Launched, confines,
        control::Turn,
        core::Attached,
        handshake::{self, Connections},
        jitter,
        life::{Birth, Guard, READ_OUT},
        lines::Listeners,
        proxy::WorkerReady,
    },
    task::WorkerInfo,
    wire::{Place, StartConfig, TOKEN_BYTES, Token},
};

/// Launches, connects and greets. The turn is over when it has introduced itself, or could not.
pub(super) async fn start(
    birth: &Birth,
    guard: &mut Guard,
    stage: &mut &'static str,
    turn: Turn<'_>,
) -> Result<(handshake::Greeted, Stream), WorkerStartError> {
    let limit = birth.core.config.knobs.start_timeout;
    let looks = birth.core.control.looks_for_inherited(turn.asked);
    let (endpoint, token, mut launched) = launch(birth, looks.is_some())?;
    guard.endpoint = endpoint;
    let streams = launched.streams.take();
    let pid = launched.pid;
    let launched = guard.launched.insert(launched);
    let worker = WorkerInfo::new(birth.slot, birth.generation, pid);
    birth
        .core
        .control
        .life(birth.slot, birth.life, |record| record.pid = Some(pid));
    birth
        .core
        .control
        .emit(PoolEvent::WorkerStarting { worker });
    let core = &*birth.core;
    let expected = core.config.launcher.knows_pids().then_some(pid);
    let shake = async {
        // While the worker becomes one, and others are started that have been asked for.
        tokio::task::yield_now().await;
        core.oom_counters.prepare();
        let Connections { data, control } = match (streams, &guard.endpoint) {
            (Some((data, control)), _) => Connections { data, control },
            (None, Some(endpoint)) => {
                handshake::connect(core, endpoint, token, PeerExpectation { pid: expected }).await?
            }
            (None, None) => {
                return Err(WorkerStartError::Refused {
                    message: "there is nothing to connect to".to_owned(),
                });
            }
        };
        let (data, control) = core.config.launcher.connected(worker, data, control);
        // The socket goes with it: nobody can connect any more.
        guard.endpoint = None;
        *stage = "handshake";
        let greeted = handshake::greet(core, data, expected, stage, looks, &turn).await?;
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
    let late = tokio::time::Instant::now() + limit;
    let late = async {
        let _ = tokio::time::timeout_at(late, turn.run_out()).await;
        tokio::time::sleep_until(late).await;
    };
    let shaken = tokio::select! {
        // What the worker said before it ended says more than its end.
        biased;
        shaken = shake => Ok(shaken),
        exit = exited => Err(Some(exit)),
        () = late => Err(None),
    };
    match shaken {
        Ok(Ok((greeted, control))) => {
            launched.pid = greeted.pid;
            birth.core.control.life(birth.slot, birth.life, |record| {
                record.pid = Some(greeted.pid);
            });
            Ok((greeted, control))
        }
        Ok(Err(error)) => Err(error),
        Err(Some(exit)) => Err(WorkerStartError::ExitedEarly {
            status: exit.to_string(),
            stderr_tail: String::new(),
        }),
        Err(None) => Err(WorkerStartError::TimedOut {
            after: limit,
            stage,
            stderr_tail: String::new(),
        }),
    }
}

/// Opens the endpoint and starts the process.
fn launch(
    birth: &Birth,
    looks_for_inherited: bool,
) -> Result<(Option<Endpoint>, Token, Launched), WorkerStartError> {
    let (core, slot) = (&*birth.core, birth.slot);
    let lineage = core.config.lineage;
    let refused = |message: String| WorkerStartError::Refused { message };
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
        grace_ms: handshake::millis(core.config.knobs.grace),
        own_group: cfg!(unix),
        wrapped: !core.config.launcher.knows_pids(),
        confines: confines::of(&core.config.knobs.limits, slot),
        lineage: lineage.of_worker(u32::try_from(core.control.size()).unwrap_or(u32::MAX)),
        looks_for_inherited,
    };
    let launched = core.config.launcher.launch(LaunchOrder {
        config,
        stdio: core.config.knobs.stdio,
        listeners: Listeners {
            core: Arc::downgrade(&birth.core),
            slot,
            generation: birth.generation,
        },
        counted: lineage.counted,
    })?;
    Ok((endpoint, token, launched))
}

/// Ends a worker that is not ready. Returns how it ended.
pub(super) async fn end_unready(guard: &mut Guard) -> Option<ExitStatus> {
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
pub(super) async fn read_out(launched: &mut Launched) {
    for relay in [&mut launched.stdout, &mut launched.stderr]
        .into_iter()
        .flatten()
    {
        relay.take_left();
    }
    if cfg!(target_os = "linux") {
        // There is no more. What comes now is not the worker's.
        return;
    }
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

/// The worker takes tasks from here on.
pub(super) fn ready(birth: &Birth, worker: WorkerInfo, took: Duration) -> Attached {
    let (core, slot) = (&*birth.core, birth.slot);
    let lost_at = core.control.slot(slot, |record| {
        if let Some(record) = record.life_mut(birth.life) {
            record.state = SlotState::Ready;
        }
        record.lost_at.take()
    });
    let quota = core.config.knobs.max_tasks;
    let quota = quota.map(|most| jitter::tasks(most, core.config.knobs.jitter));
    let attached = core.up(slot, quota);
    let up = core.control.ready(slot, birth.life, took);
    if up.first || up.closed.is_some() {
        core.say_available();
    }
    if let Some((open_for, _)) = &up.closed {
        let after = *open_for;
        core.control.emit(PoolEvent::CircuitClosed { after });
    }
    if let Some(supervisor) = birth.supervisor.upgrade()
        && (up.closed.is_some() || up.leaves.is_some())
    {
        supervisor.do_send(WorkerReady { slot, up });
    }
    core.control.emit(PoolEvent::WorkerReady { worker, took });
    if let Some(lost_at) = lost_at.flatten() {
        core.control.emit(PoolEvent::WorkerRestarted {
            worker,
            after: lost_at.elapsed(),
        });
    }
    attached
}
