//! A task that was given back is none of this worker's any more: it neither runs nor is heard of.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use crate::{
    ipc::Stream,
    task::{Board, Slot, TaskId, WorkerEnv, WorkerInfo},
    wire::{
        FrameReader, HostFrame, Lineage, Outcome, Payload, TimeLeft, Welcome, WorkerFrame,
        frame_bytes, parse, run,
    },
    worker::{
        Ended, Origin, Program, ServeEnd, TaskEntry, executor::Executor, outbox::Outbox, serve,
        waiting::Incoming,
    },
};

pub(super) const LINEAGE: Lineage = Lineage {
    level: 1,
    cpus: 1,
    counted: 0,
};

/// A program with one task that does nothing but take note of its ticket.
pub(super) fn noting(ran: &Arc<Mutex<Vec<u64>>>) -> Program {
    let ran = Arc::clone(ran);
    Program {
        name: "",
        tasks: vec![TaskEntry {
            name: "note",
            version: 0,
            run: Arc::new(move |_, scope, _| {
                ran.lock().unwrap().push(scope.ticket);
                Box::pin(async { Ended::Done(Payload::default()) })
            }),
            each: None,
        }],
        setup: None,
        runtime: None,
        init: Arc::new(|_| Box::pin(async { Ok(Rc::new(()) as Rc<dyn std::any::Any>) })),
        shutdown: None,
        on_failure: None,
    }
}

pub(super) async fn read(host: &Stream, reader: &mut FrameReader) -> Vec<WorkerFrame> {
    let bytes = poll_fn(|cx| host.poll_read(cx, reader.space()))
        .await
        .unwrap();
    assert!(bytes > 0, "the worker has gone");
    reader.filled(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        let (header, tail) = parse(frame).unwrap();
        match header {
            // As if each had come alone.
            WorkerFrame::Results { ticket, results } => {
                let each = run::values(tail, results).unwrap();
                let tickets = (ticket..).zip(each).map(|(ticket, _)| ticket);
                frames.extend(tickets.map(|ticket| WorkerFrame::Result {
                    ticket,
                    outcome: Outcome::Done,
                    attachments: Vec::new(),
                    rest: 0,
                }));
            }
            frame => frames.push(frame),
        }
    }
    frames
}

/// Sends so many tasks to a worker of this program with this board; returns all that it says, to the last result.
pub(super) async fn said(program: Program, board: Arc<Board>, tasks: u64) -> Vec<WorkerFrame> {
    let left = vec![None; usize::try_from(tasks).unwrap()];
    said_of(program, board, &left).await
}

/// The same with tasks that have so much time left.
async fn said_of(
    program: Program,
    board: Arc<Board>,
    left: &[Option<TimeLeft>],
) -> Vec<WorkerFrame> {
    said_after(program, board, left, async || {}).await
}

/// The same, when that has ended what it does while nobody listens.
pub(super) async fn said_after(
    program: Program,
    board: Arc<Board>,
    left: &[Option<TimeLeft>],
    unheard: impl AsyncFnOnce(),
) -> Vec<WorkerFrame> {
    said_at_once(1, program, board, left, unheard).await
}

/// The same of so many at once.
pub(super) async fn said_at_once(
    concurrency: u32,
    program: Program,
    board: Arc<Board>,
    left: &[Option<TimeLeft>],
    unheard: impl AsyncFnOnce(),
) -> Vec<WorkerFrame> {
    let tasks = left.len() as u64;
    let (host, worker) = Stream::memory();
    let serving = tokio::task::spawn_local(serve(
        Arc::new(program),
        worker,
        Arc::clone(&board),
        Origin {
            worker: WorkerInfo::new(Slot::new(0), 0, 1),
            lineage: LINEAGE,
            kin: Box::new(|_, _| Rc::new(())),
            inherited: Vec::new(),
            setup: Ok(()),
        },
    ));
    let mut out = BytesMut::new();
    let welcome = HostFrame::Welcome(Welcome {
        concurrency,
        max_frame_bytes: 1 << 24,
        cancel_grace_ms: 10_000,
        rest: 0,
        has_args: false,
        attachments: Vec::new(),
        lag: false,
        spares: true,
    });
    frame_bytes(&welcome, &[], &mut out).unwrap();
    host.write_all(&out.split()).await.unwrap();
    let mut reader = FrameReader::new();
    let mut ready = false;
    while !ready {
        for frame in read(&host, &mut reader).await {
            ready |= frame == WorkerFrame::Ready;
        }
    }
    for (ticket, left) in (1..).zip(left) {
        let task = HostFrame::Task {
            ticket,
            id: ticket,
            attempt: 1,
            name: 0,
            attachments: Vec::new(),
            rest: 0,
            left: *left,
        };
        frame_bytes(&task, &[], &mut out).unwrap();
    }
    host.write_all(&out).await.unwrap();
    unheard().await;
    let mut frames = Vec::new();
    let last = |frame: &WorkerFrame| matches!(frame, WorkerFrame::Result { ticket, .. } if *ticket == tasks);
    while !frames.iter().any(last) {
        frames.extend(read(&host, &mut reader).await);
    }
    board.ask(|requests| requests.exit = true);
    while poll_fn(|cx| host.poll_read(cx, reader.space()))
        .await
        .is_ok_and(|bytes| bytes > 0)
    {}
    assert_eq!(serving.await.unwrap(), ServeEnd::Exit);
    frames
}

/// Sends three tasks to a worker with this board; returns what ran, and the tickets of all that was reported.
async fn three_tasks(board: Board) -> (Vec<u64>, Vec<u64>) {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let mut heard: Vec<u64> = said(noting(&ran), Arc::new(board), 3)
        .await
        .iter()
        .filter_map(|frame| match frame {
            WorkerFrame::Started { ticket } | WorkerFrame::Result { ticket, .. } => Some(*ticket),
            _ => None,
        })
        .collect();
    // Whether a start is announced depends on how long those before it took.
    heard.dedup();
    let ran = ran.lock().unwrap().clone();
    (ran, heard)
}

pub(super) fn now() -> Board {
    Board::new(Instant::now())
}

#[test]
fn what_is_not_asked_for_runs_in_its_order() {
    let (ran, heard) = actix_rt::System::new().block_on(three_tasks(now()));
    assert_eq!(ran, [1, 2, 3]);
    assert_eq!(heard, [1, 2, 3]);
}

#[test]
fn given_back_while_it_waited_it_does_not_run() {
    let board = now();
    assert!(board.revoke(2));
    let (ran, heard) = actix_rt::System::new().block_on(three_tasks(board));
    assert_eq!(ran, [1, 3]);
    assert_eq!(heard, [1, 3]);
}

#[test]
fn cancelled_after_it_was_given_back_it_is_not_reported() {
    let board = now();
    assert!(board.revoke(2));
    board.ask(|requests| requests.cancelled.insert(2));
    let (ran, heard) = actix_rt::System::new().block_on(three_tasks(board));
    assert_eq!(ran, [1, 3]);
    assert_eq!(heard, [1, 3]);
}

#[test]
fn what_has_no_time_left_is_not_started() {
    let left = |total, run| Some(TimeLeft { total, run });
    let tasks = [
        left(Some(0), None),
        // A time to run begins with the start, so it cannot be over before.
        left(None, Some(0)),
        left(Some(60_000_000), None),
        left(Some(0), Some(60_000_000)),
        None,
    ];
    let ran = Arc::new(Mutex::new(Vec::new()));
    let frames = actix_rt::System::new().block_on(said_of(noting(&ran), Arc::new(now()), &tasks));
    assert_eq!(*ran.lock().unwrap(), [2, 3, 5]);
    let expired = |frame: &WorkerFrame| match frame {
        WorkerFrame::Result {
            ticket,
            outcome: Outcome::Expired,
            ..
        } => Some(*ticket),
        _ => None,
    };
    let expired: Vec<u64> = frames.iter().filter_map(expired).collect();
    assert_eq!(expired, [1, 4]);
    for ticket in expired {
        assert!(!frames.contains(&WorkerFrame::Started { ticket }));
    }
}

/// Else a worker that dies in between has not started the task, as far as its host can know.
#[test]
fn start_is_said_before_its_name_gets_loud() {
    let mut program = noting(&Arc::default());
    // Its first poll takes long and is not its last.
    program.tasks[0].run = Arc::new(|_, _, _| {
        Box::pin(async move {
            let until = Instant::now() + Duration::from_millis(5);
            while Instant::now() < until {}
            std::future::pending().await
        })
    });
    let frames = actix_rt::System::new().block_on(async {
        let (host, worker) = Stream::memory();
        let executor = Executor::new(
            Outbox::new(worker),
            Arc::new(program),
            Rc::new(()),
            Rc::new(WorkerEnv {
                worker: WorkerInfo::new(Slot::new(0), 0, 1),
                max_bytes: 1024,
                board: Arc::new(now()),
                kin: Rc::new(()),
            }),
            Duration::ZERO,
        );
        executor.hush(0);
        let task = Incoming {
            came: None,
            ticket: 1,
            id: TaskId::new(1),
            attempt: 1,
            name: 0,
            payload: Payload::default(),
            limits: None,
            announced: false,
        };
        executor.start(task, false, Instant::now());
        poll_fn(|cx| executor.out.poll_flush(cx)).await.unwrap();
        read(&host, &mut FrameReader::new()).await
    });
    let quiet = WorkerFrame::Quiet {
        name: 0,
        quiet: false,
    };
    assert_eq!(frames, [WorkerFrame::Started { ticket: 1 }, quiet]);
}

/// A worker that is asked to end while the report of a failure is on its way.
#[test]
fn failure_hook_hears_of_what_left_with_the_worker() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let board = Arc::new(now());
    let mut program = noting(&Arc::default());
    let asked = Arc::clone(&board);
    program.tasks[0].run = Arc::new(move |_, _, _| {
        asked.ask(|requests| requests.exit = true);
        // More than the connection takes at once.
        let why = Payload::new(vec![0; 4 << 20].into(), Vec::new());
        Box::pin(async { Ended::Failed(why, Box::new("why"), false) })
    });
    let hook = Arc::clone(&heard);
    program.on_failure = Some(Arc::new(move |_, _| hook.lock().unwrap().push("failure")));
    actix_rt::System::new().block_on(said(program, board, 1));
    assert_eq!(*heard.lock().unwrap(), ["failure"]);
}
