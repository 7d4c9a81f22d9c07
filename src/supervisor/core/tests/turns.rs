//! When the turn of a worker that starts is over.

use std::{
    future::poll_fn,
    io::IoSlice,
    pin::pin,
    task::{Context, Waker},
    time::Instant,
};

use bytes::BytesMut;

use super::{SLOT, core};
use crate::{
    ipc::Stream,
    supervisor::handshake,
    wire::{Offer, PROTOCOL, WorkerFrame, frame_bytes},
};

/// Its initializer may wait for the same thing as those of all others.
#[actix::test]
async fn it_is_when_the_worker_has_introduced_itself() {
    let core = core(1000);
    let turn = async || core.control.turn(SLOT, Instant::now()).await;
    let (one, _other) = (turn().await, turn().await);
    let mut next = pin!(turn());
    let mut context = Context::from_waker(Waker::noop());
    assert!(next.as_mut().poll(&mut context).is_pending());

    let (host, worker) = Stream::memory();
    let mut stage = "connecting";
    let mut greeted = pin!(handshake::greet(&core, host, None, &mut stage, None, &one));
    assert!(greeted.as_mut().poll(&mut context).is_pending());
    assert!(next.as_mut().poll(&mut context).is_pending());

    let mut offer = BytesMut::new();
    let tasks = vec![("task".to_owned(), 0)];
    let frame = WorkerFrame::Offer(Offer {
        protocol: PROTOCOL,
        pid: 1,
        tasks,
        inherited: Vec::new(),
    });
    frame_bytes(&frame, &[], &mut offer).unwrap();
    let written = poll_fn(|cx| worker.poll_write(cx, &[IoSlice::new(&offer)])).await;
    assert_eq!(written.unwrap(), offer.len());
    assert!(greeted.as_mut().poll(&mut context).is_pending());
    assert!(next.as_mut().poll(&mut context).is_ready());
}
