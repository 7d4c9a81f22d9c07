//! From the host's welcome to a state, or to the word that there is none.
//!
//! Belongs here: the host's welcome, the state initializer. Does not belong here: tasks.
//! Invariant: the host, or its end, may end the worker in each step.

use std::{
    any::Any,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    error::{RemoteError, capture},
    task::Board,
    wire::{Assembly, FrameReader, HostFrame, Payload, Spares, Welcome, WorkerFrame, codec},
    worker::{InitFailure, Program, ServeEnd, outbox::Outbox},
};

/// Waits for the host's first frame and the initializer's arguments.
pub(super) async fn welcome(
    out: &Outbox,
    reader: &mut FrameReader,
    board: &Board,
) -> Result<(Welcome, Option<Payload>), ServeEnd> {
    // Without a limit: a worker trusts its host, which has encoded them itself.
    let mut assembly = Assembly::new(usize::MAX, &Spares::default());
    poll_fn(|cx| {
        if is_over(board, cx) {
            return Poll::Ready(Err(ended_by(board)));
        }
        if out.poll_flush(cx).is_ready_and_err() {
            return Poll::Ready(Err(ServeEnd::Orphaned));
        }
        loop {
            while let Some(frame) = reader.next().map_err(|_| ServeEnd::Protocol)? {
                let (header, tail) = crate::wire::parse(frame).map_err(|_| ServeEnd::Protocol)?;
                let whole = match header {
                    HostFrame::Welcome(welcome) => {
                        let (attachments, rest) = (welcome.attachments.clone(), welcome.rest);
                        assembly.first(0, welcome, attachments, rest, tail)
                    }
                    HostFrame::Part { ticket: 0 } => assembly.part(0, tail),
                    _ => return Poll::Ready(Err(ServeEnd::Protocol)),
                };
                if let Some((welcome, args)) = whole.map_err(|_| ServeEnd::Protocol)? {
                    let args = welcome.has_args.then_some(args);
                    return Poll::Ready(Ok((welcome, args)));
                }
            }
            match out.stream().poll_read(cx, reader.space()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(ServeEnd::Orphaned)),
                Poll::Ready(Ok(bytes)) => reader.filled(bytes),
            }
        }
    })
    .await
}

/// Runs the state initializer, unless the host ends the worker first.
pub(super) async fn initialize(
    program: &Program,
    args: Option<Payload>,
    board: &Board,
) -> Option<Result<Rc<dyn Any>, InitFailure>> {
    let mut init = pin!(catch(async { (program.init)(args).await }));
    poll_fn(|cx| {
        if is_over(board, cx) {
            return Poll::Ready(None);
        }
        init.as_mut()
            .poll(cx)
            .map(|state| Some(state.unwrap_or_else(|panic| Err(InitFailure::State(panic)))))
    })
    .await
}

/// Tells the host why this worker cannot serve, if there still is one.
pub(super) async fn fail(out: &Outbox, failure: InitFailure, board: &Board) -> ServeEnd {
    match failure {
        InitFailure::State(error) => {
            let payload = codec::encode(&error).unwrap_or_default();
            out.value(0, |_| WorkerFrame::Failed { init_args: None }, &payload);
        }
        InitFailure::Args(error) => out.frame(&WorkerFrame::Failed {
            init_args: Some(error),
        }),
    }
    // The host ends the connection when it has read this.
    poll_fn(|cx| {
        if out.poll_flush(cx).is_ready_and_err() {
            return Poll::Ready(ServeEnd::Orphaned);
        }
        if is_over(board, cx) {
            return Poll::Ready(match ended_by(board) {
                ServeEnd::Exit => ServeEnd::Failed,
                end => end,
            });
        }
        Poll::Pending
    })
    .await
}

fn is_over(board: &Board, cx: &Context<'_>) -> bool {
    board.set_waker(cx.waker());
    board.epoch() != 0 && board.requests(|requests| requests.exit || requests.orphaned)
}

pub(super) fn ended_by(board: &Board) -> ServeEnd {
    if board.requests(|requests| requests.orphaned) {
        ServeEnd::Orphaned
    } else {
        ServeEnd::Exit
    }
}

/// Runs a future and catches its panic.
pub(super) async fn catch<T>(future: impl Future<Output = T>) -> Result<T, RemoteError> {
    let mut future = pin!(future);
    poll_fn(|cx| match capture::caught(|| future.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

trait ReadyErr {
    fn is_ready_and_err(&self) -> bool;
}

impl<T, E> ReadyErr for Poll<Result<T, E>> {
    fn is_ready_and_err(&self) -> bool {
        matches!(self, Poll::Ready(Err(_)))
    }
}
