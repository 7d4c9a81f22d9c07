//! A task that was given back is none of this worker's any more: it neither runs nor is heard of.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Instant,
};

use bytes::BytesMut;

use crate::{
    ipc::Stream,
    task::{Board, Slot, WorkerInfo},
    wire::{FrameReader, HostFrame, Payload, Welcome, WorkerFrame, frame_bytes, parse},
    worker::{Ended, Program, ServeEnd, TaskEntry, serve},
};

/// A program with one task that does nothing but take note of its ticket.
fn noting(ran: &Arc<Mutex<Vec<u64>>>) -> Program {
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
        }],
        setup: None,
        init: Arc::new(|_| Box::pin(async { Ok(Rc::new(()) as Rc<dyn std::any::Any>) })),
        shutdown: None,
        on_failure: None,
    }
}

async fn read(host: &Stream, reader: &mut FrameReader) -> Vec<WorkerFrame> {
    let bytes = poll_fn(|cx| host.poll_read(cx, reader.space()))
        .await
        .unwrap();
    assert!(bytes > 0, "the worker has gone");
    reader.filled(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        frames.push(parse(frame).unwrap().0);
    }
    frames
}

/// Sends three tasks to a worker with this board; returns what ran, and the tickets of all that was reported.
async fn three_tasks(board: Board) -> (Vec<u64>, Vec<u64>) {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let (host, worker) = Stream::memory();
    let board = Arc::new(board);
    let serving = tokio::task::spawn_local(serve(
        Arc::new(noting(&ran)),
        worker,
        Arc::clone(&board),
        WorkerInfo::new(Slot::new(0), 0, 1),
        Vec::new(),
        Ok(()),
    ));
    let mut out = BytesMut::new();
    let welcome = HostFrame::Welcome(Welcome {
        concurrency: 1,
        max_frame_bytes: 1024,
        cancel_grace_ms: 1000,
        rest: 0,
        has_args: false,
        attachments: Vec::new(),
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
    for ticket in 1..=3 {
        let task = HostFrame::Task {
            ticket,
            id: ticket,
            attempt: 1,
            name: 0,
            attachments: Vec::new(),
            rest: 0,
        };
        frame_bytes(&task, &[], &mut out).unwrap();
    }
    host.write_all(&out).await.unwrap();
    let (mut heard, mut last) = (Vec::new(), false);
    while !last {
        for frame in read(&host, &mut reader).await {
            match frame {
                WorkerFrame::Started { ticket } => heard.push(ticket),
                WorkerFrame::Result { ticket, .. } => {
                    heard.push(ticket);
                    last = ticket == 3;
                }
                _ => {}
            }
        }
    }
    // Whether a start is announced depends on how long those before it took.
    heard.dedup();
    board.ask(|requests| requests.exit = true);
    assert_eq!(serving.await.unwrap(), ServeEnd::Exit);
    let ran = ran.lock().unwrap().clone();
    (ran, heard)
}

fn now() -> Board {
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
