//! From a worker's offer to its host to the end between them.
//!
//! Belongs here: what comes before the first task and after the last. Does not belong here: running tasks, signals, exiting.
//! Invariant: what has ended is reported if the host still reads, and the state is there until the last task was dropped.
//!
//! States: *offered* ─ Welcome ▶ *initializing* ─ state ▶ *serving* ─ Exit, or the host has gone ▶ *ended*. The host may
//! end a worker in each of them.

use std::{future::poll_fn, rc::Rc, sync::Arc, time::Duration};

use crate::{
    error::RemoteError,
    ipc::Sweeper,
    task::{Board, WorkerEnv, WorkerInfo},
    wire::{FrameReader, Lineage, Offer, PROTOCOL, Spares, WorkerFrame},
    worker::{
        InitFailure, MakeKin, Program,
        executor::Executor,
        greeting::{catch, ended_by, fail, initialize, welcome},
        lag::Lag,
        outbox::Outbox,
        session::Session,
    },
};

/// Why a worker stopped serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServeEnd {
    /// The host asked for it.
    Exit,
    /// The host has gone.
    Orphaned,
    /// It could not serve and has said why.
    Failed,
    /// The host's bytes made no sense.
    Protocol,
}

/// What a worker knows of itself before it speaks to its host.
pub(crate) struct Origin {
    pub(crate) worker: WorkerInfo,
    pub(crate) lineage: Lineage,
    pub(crate) kin: MakeKin,
    /// Descriptors that it was given by its host's lack of close-on-exec.
    pub(crate) inherited: Vec<String>,
    /// What came of the setup hook.
    pub(crate) setup: Result<(), RemoteError>,
}

/// Serves one host over one data connection until either ends, and runs the shutdown hook.
pub(crate) async fn serve(
    program: Arc<Program>,
    stream: crate::ipc::Stream,
    board: Arc<Board>,
    origin: Origin,
) -> ServeEnd {
    let Origin {
        worker,
        lineage,
        kin,
        inherited,
        setup,
    } = origin;
    let out = Outbox::new(stream);
    let mut reader = FrameReader::new();
    out.frame(&WorkerFrame::Offer(Offer {
        protocol: PROTOCOL,
        pid: worker.pid,
        tasks: program.table(),
        inherited,
    }));
    let (welcome, args) = match welcome(&out, &mut reader, &board).await {
        Ok(welcome) => welcome,
        Err(end) => return end,
    };
    let state = match setup {
        Ok(()) => initialize(&program, args.clone(), &board).await,
        Err(error) => Some(Err(InitFailure::State(error))),
    };
    let state = match state {
        None => return ended_by(&board),
        Some(Ok(state)) => state,
        Some(Err(failure)) => {
            return fail(&out, failure, &board).await;
        }
    };
    out.frame(&WorkerFrame::Ready);
    let max_bytes = usize::try_from(welcome.max_frame_bytes).unwrap_or(usize::MAX);
    let executor = Executor::new(
        out,
        Arc::clone(&program),
        Rc::clone(&state),
        Rc::new(WorkerEnv {
            worker,
            max_bytes,
            board,
            kin: kin(lineage, args),
        }),
        Duration::from_millis(welcome.cancel_grace_ms),
    );
    let concurrency = usize::try_from(welcome.concurrency).unwrap_or(usize::MAX);
    let spares = Spares::default();
    let _sweeper = welcome.spares.then(|| Sweeper::start(&spares));
    let mut session = {
        let lag = welcome.lag.then(Lag::new);
        Session::new(Rc::clone(&executor), reader, concurrency, lag, &spares)
    };
    let end = poll_fn(|cx| session.poll(cx)).await;
    // A host that does not read any more must not keep the worker.
    let limit = tokio::time::sleep(Duration::from_millis(welcome.cancel_grace_ms)).deadline();
    let flush = || {
        let flush = poll_fn(|cx| {
            let flushed = executor.out.poll_flush(cx);
            executor.flushed();
            flushed
        });
        tokio::time::timeout_at(limit, flush)
    };
    if end == ServeEnd::Protocol {
        // What has ended is known. That the rest is dropped now nobody has asked for: it is lost with the worker.
        let _ = flush().await;
        executor.out.close();
    }
    executor.abort_all();
    // Lets the aborted tasks drop while the state is there, and what they report leave.
    tokio::task::yield_now().await;
    let shut_down = async {
        if let Some(hook) = &program.shutdown
            && catch(hook(state)).await.is_err()
        {
            crate::observe::log(|| tracing::error!("the shutdown hook panicked"));
        }
    };
    let _ = tokio::join!(flush(), shut_down);
    // What was reported meanwhile.
    let _ = flush().await;
    end
}
