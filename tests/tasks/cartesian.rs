//! Every way in which a task can end × every place in which it can be × every way in which its caller can leave.
#![cfg(target_os = "linux")]

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use crate::common::{self, Act, Beside, End, has, put, seen, signal, status_is};
use actix::Recipient;
use actix_multiprocess::{
    Pool, Started, Status, Submit, TaskError, WorkerSpec, testing::assert_clean, worker_entry,
};
use futures_core::Stream;
use nix::sys::signal::Signal;

worker_entry!(WorkerSpec::new().task::<Act>().task::<Beside>());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Own(End),
    /// SIGKILL from outside.
    Killed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Sent,
    Started,
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Awaits,
    DropsHandle,
    DropsSend,
    DropsRecipientSend,
    DropsMap,
}

const FATES: [Fate; 7] = [
    Fate::Own(End::Ok),
    Fate::Own(End::Error),
    Fate::Own(End::Panic),
    Fate::Own(End::Slow),
    Fate::Own(End::Exit),
    Fate::Own(End::Abort),
    Fate::Killed,
];

const CALLERS: [Caller; 5] = [
    Caller::Awaits,
    Caller::DropsHandle,
    Caller::DropsSend,
    Caller::DropsRecipientSend,
    Caller::DropsMap,
];

type Outcome = Result<String, TaskError<actix_multiprocess::RemoteError>>;

/// A caller, until it leaves.
enum Waiting {
    Handle(actix_multiprocess::TaskHandle<Act>),
    #[expect(dead_code, reason = "held, and dropped when the caller leaves")]
    Send(Pin<Box<dyn Future<Output = ()>>>),
    #[expect(dead_code, reason = "held, and dropped when the caller leaves")]
    Map(Pin<Box<dyn Stream<Item = Outcome>>>),
}

async fn call(pool: &Pool, task: Act, caller: Caller) -> Waiting {
    let before = pool.status().await.counts.accepted;
    let waiting = match caller {
        Caller::Awaits | Caller::DropsHandle => Waiting::Handle(pool.submit(task)),
        Caller::DropsSend => {
            let request = pool.addr().send(Submit::new(task));
            Waiting::Send(Box::pin(async move {
                let _ = request.await;
            }))
        }
        Caller::DropsRecipientSend => {
            let recipient: Recipient<Submit<Act>> = pool.addr().clone().recipient();
            let request = recipient.send(Submit::new(task));
            Waiting::Send(Box::pin(async move {
                let _ = request.await;
            }))
        }
        Caller::DropsMap => {
            let mut map: Pin<Box<dyn Stream<Item = Outcome>>> = Box::pin(pool.map([task]));
            poll_fn(|cx| {
                assert!(map.as_mut().poll_next(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            Waiting::Map(map)
        }
    };
    status_is(pool, "accepted", |status| status.counts.accepted > before).await;
    waiting
}

fn only_pid(status: &Status) -> u32 {
    status.slots[0].pid.unwrap()
}

async fn check(fate: Fate, state: State, caller: Caller) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let workers = workers();
    // With concurrency 1 what comes behind a running task is queued; with 2 it is sent.
    let concurrency = if state == State::Queued { 1 } else { 2 };
    let pool = Pool::builder(workers)
        .processes(1)
        .concurrency(concurrency)
        .grace(Duration::from_millis(500))
        .start()
        .await
        .unwrap();
    let pid = only_pid(&pool.status().await);
    let end = match fate {
        Fate::Own(end) => end,
        Fate::Killed => End::Ok,
    };
    let victim = Act::new(dir, "victim", end);
    let victim = if state == State::Started {
        victim.gated()
    } else {
        victim
    };
    let blocker = match state {
        State::Queued => Some(pool.submit(Beside(Act::new(dir, "blocker", End::Ok).gated()))),
        // Holds the event loop, so that what is sent is not even read.
        State::Sent => Some(pool.submit(Beside(Act::new(dir, "blocker", End::Hold)))),
        _ => None,
    };
    if blocker.is_some() {
        seen(dir, "blocker", "started").await;
    }
    let waiting = call(&pool, victim, caller).await;
    match state {
        State::Queued => status_is(&pool, "queued", |status| status.queued == 1).await,
        State::Sent => {
            status_is(&pool, "sent", |status| status.slots[0].in_flight == 2).await;
            assert!(!has(dir, "victim", "started"));
        }
        State::Started => seen(dir, "victim", "started").await,
        State::Settled => {
            status_is(&pool, "settled", |status| status.counts.settled() == 1).await;
        }
    }
    if fate == Fate::Killed {
        signal(pid, Signal::SIGKILL);
        if state == State::Settled {
            status_is(&pool, "restarted", |status| status.slots[0].restarts == 1).await;
        }
    }
    let never_ran = match waiting {
        Waiting::Handle(handle) if caller == Caller::Awaits => {
            put(dir, "blocker", "go");
            put(dir, "victim", "go");
            expect(fate, state, handle.await);
            false
        }
        waiting => {
            drop(waiting);
            // Released only once the caller's leaving has arrived, which for a message is at the pool's next turn.
            if state != State::Settled {
                let lost_first = fate == Fate::Killed && state == State::Started;
                status_is(&pool, "left", |status| {
                    status.counts.cancelled == 1 || lost_first && status.counts.lost >= 1
                })
                .await;
            }
            if state == State::Sent {
                // The host's session has its turn before these answers are here, and says Cancel in it. The thread of
                // the worker that reads it needs one, too, and nothing tells when it had it.
                for _ in 0..3 {
                    pool.status().await;
                }
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            put(dir, "blocker", "go");
            matches!(state, State::Queued | State::Sent)
        }
    };
    if let Some(blocker) = blocker {
        match blocker.await {
            Ok(_) => assert!(
                fate != Fate::Killed || state == State::Sent,
                "the blocker outlived SIGKILL"
            ),
            Err(TaskError::WorkerLost(report)) => {
                // Killed, or beside a victim that ended the process.
                assert_eq!(report.started(), Started::Yes);
            }
            Err(other) => panic!("the blocker: {other}"),
        }
    }
    status_is(&pool, "everything settled", |status| {
        status.counts.settled() == status.counts.accepted && status.slots[0].in_flight == 0
    })
    .await;
    if never_ran {
        assert!(
            !has(dir, "victim", "started"),
            "a task that nobody wanted ran"
        );
    }
    assert!(!has(dir, "victim", "start2"), "it ran twice");
    assert_clean(&pool);
    // The pool serves on, whatever died.
    put(dir, "after", "go");
    let after = pool.submit(Act::new(dir, "after", End::Ok)).await;
    assert_eq!(after.unwrap(), "after in slot 0");
    pool.stop().await;
}

fn expect(fate: Fate, state: State, outcome: Outcome) {
    match (fate, outcome) {
        (Fate::Own(End::Ok | End::Slow), Ok(text)) => assert_eq!(text, "victim in slot 0"),
        (Fate::Own(End::Error), Err(TaskError::Failed(error))) => {
            assert_eq!((error.kind(), error.message()), ("test", "as told"));
        }
        (Fate::Own(End::Panic), Err(TaskError::Panicked(error))) => {
            assert_eq!(error.message(), "as told");
            assert!(error.location().unwrap().contains("common/mod.rs"));
        }
        (Fate::Own(End::Exit), Err(TaskError::WorkerLost(report))) => {
            assert_eq!((report.code(), report.started()), (Some(3), Started::Yes));
        }
        (Fate::Own(End::Abort), Err(TaskError::WorkerLost(report))) => {
            assert_eq!(report.signal(), Some(Signal::SIGABRT as i32));
            assert_eq!(report.started(), Started::Yes);
        }
        (Fate::Killed, Err(TaskError::WorkerLost(report))) if state == State::Started => {
            assert_eq!(report.signal(), Some(Signal::SIGKILL as i32));
            assert_eq!((report.started(), report.suspects()), (Started::Yes, 1));
        }
        // It had not started, or it had settled: another worker's end is none of its business.
        (Fate::Killed, Ok(text)) if state != State::Started => {
            assert_eq!(text, "victim in slot 0");
        }
        (_, outcome) => panic!("{fate:?} {state:?}: {outcome:?}"),
    }
}

fn all_of(state: State) {
    common::run(async {
        for fate in FATES {
            for caller in CALLERS {
                let case = format!("{fate:?} × {state:?} × {caller:?}");
                eprintln!("{case}");
                tokio::time::timeout(Duration::from_secs(15), check(fate, state, caller))
                    .await
                    .unwrap_or_else(|_| panic!("hangs: {case}"));
            }
        }
    });
}

#[test]
fn queued_tasks_settle_once_with_the_right_reason() {
    all_of(State::Queued);
}

#[test]
fn sent_tasks_settle_once_with_the_right_reason() {
    all_of(State::Sent);
}

#[test]
fn started_tasks_settle_once_with_the_right_reason() {
    all_of(State::Started);
}

#[test]
fn settled_tasks_stay_settled() {
    all_of(State::Settled);
}
