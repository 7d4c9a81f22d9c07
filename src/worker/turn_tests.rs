//! When a worker that has tasks goes on to the next, and when it does not.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    wire::{Payload, UNREPORTED, WorkerFrame},
    worker::{
        Ended,
        session_tests::{noting, now, said, said_after, said_at_once},
    },
};

/// Its end is written at once, and nothing else would have the session look.
#[test]
fn what_waits_starts_when_one_has_ended_that_had_the_loop_for_long() {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let mut program = noting(&ran);
    let note = Arc::clone(&program.tasks[0].run);
    program.tasks[0].run = Arc::new(move |payload, scope, state| {
        let noted = note(payload, scope, state);
        Box::pin(async {
            tokio::task::yield_now().await;
            let until = Instant::now() + Duration::from_millis(1);
            while Instant::now() < until {}
            noted.await
        })
    });
    actix_rt::System::new().block_on(said(program, Arc::new(now()), 20));
    assert_eq!(*ran.lock().unwrap(), Vec::from_iter(1..=20));
}

/// Otherwise it would wait for all of those.
#[test]
fn what_waits_starts_before_all_that_are_ready_have_had_the_loop() {
    const AT_ONCE: u64 = 20;
    let ran = Arc::new(Mutex::new(Vec::new()));
    let mut program = noting(&ran);
    let note = Arc::clone(&program.tasks[0].run);
    let ends = Arc::clone(&ran);
    program.tasks[0].run = Arc::new(move |payload, scope, state| {
        let (ticket, ends) = (scope.ticket, Arc::clone(&ends));
        let noted = note(payload, scope, state);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let until = Instant::now() + Duration::from_millis(2);
            while Instant::now() < until {}
            ends.lock().unwrap().push(100 + ticket);
            noted.await
        })
    });
    let left = vec![None; AT_ONCE as usize + 4];
    actix_rt::System::new().block_on(said_at_once(
        AT_ONCE as u32,
        program,
        Arc::new(now()),
        &left,
        async || {},
    ));
    let ran = ran.lock().unwrap();
    for nth in 1..=4 {
        let started = ran.iter().position(|what| *what == AT_ONCE + nth).unwrap();
        let ended = ran.iter().filter(|what| **what > 100);
        let before = ran.iter().take(started).filter(|what| **what > 100).count() as u64;
        assert!(
            before <= nth + 3,
            "{nth}: behind {before} of {}: {ran:?}",
            ended.count()
        );
    }
}

/// Their host learns from their ends that they have started, and is woken once for both.
#[test]
fn who_is_ready_again_at_once_is_told_of_by_its_end_alone() {
    let mut program = noting(&Arc::default());
    program.tasks[0].run = Arc::new(|_, scope, _| {
        let waits = scope.ticket > 100;
        Box::pin(async move {
            if waits {
                tokio::time::sleep(Duration::from_millis(5)).await;
            } else {
                tokio::task::yield_now().await;
            }
            Ended::Done(Payload::default())
        })
    });
    let left = [None; 200];
    let said = said_at_once(16, program, Arc::new(now()), &left, async || {});
    let frames = actix_rt::System::new().block_on(said);
    let at = |what: &dyn Fn(&WorkerFrame) -> bool| frames.iter().position(what);
    let mut untold = 0;
    for nth in 1..=200 {
        let start = at(&|frame| *frame == WorkerFrame::Started { ticket: nth });
        let end =
            at(&|frame| matches!(frame, WorkerFrame::Result { ticket, .. } if *ticket == nth));
        assert!(start < end, "{nth}: {start:?} {end:?}");
        assert!(start.is_some() || nth <= 100, "{nth} waited");
        untold += usize::from(start.is_none());
    }
    // Until the name is known to be quick, and whenever it is not for once, they are told of all the same.
    assert!(untold > 50, "{untold}");
}

/// So its host knows of the others that they have not, when it dies.
#[test]
fn only_so_many_start_of_which_the_end_was_not_written() {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let mut program = noting(&ran);
    let note = Arc::clone(&program.tasks[0].run);
    // Sixteen of them are all that the connection takes. One for all, or the polls would take as long as the memory for them.
    let long = Payload::new(vec![0; 64 * 1024].into(), Vec::new());
    program.tasks[0].run = Arc::new(move |payload, scope, state| {
        let noted = note(payload, scope, state);
        let long = long.clone();
        Box::pin(async {
            noted.await;
            Ended::Done(long)
        })
    });
    let count = || ran.lock().unwrap().len();
    let mut started = 0;
    let frames = actix_rt::System::new().block_on(said_after(
        program,
        Arc::new(now()),
        &[None; 300],
        async || {
            for _ in 0..10_000 {
                tokio::task::yield_now().await;
            }
            started = count();
        },
    ));
    assert!(started < UNREPORTED + 20, "{started}");
    // A name that is loud, for a task that was held up, is announced; nobody hears that.
    let loud = frames
        .iter()
        .any(|frame| matches!(frame, WorkerFrame::Quiet { quiet: false, .. }));
    assert!(loud || started >= UNREPORTED, "{started}");
    let result = |frame: &&WorkerFrame| matches!(frame, WorkerFrame::Result { .. });
    assert_eq!(frames.iter().filter(result).count(), 300);
    assert_eq!(*ran.lock().unwrap(), Vec::from_iter(1..=300));
}
