//! Workers without processes: the same supervisor, proxies, sessions and codec over an in-memory pipe.
//!
//! Belongs here: a launcher that spawns a worker's session as a task. Does not belong here: anything a real worker needs.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::task::{AbortHandle, JoinHandle};

use crate::{
    config::Launcher,
    error::{WorkerStartError, capture},
    ipc::Stream,
    observe::ExitStatus,
    spec::{WorkerSpec, Workers},
    supervisor::{Launch, LaunchOrder, Launched, WorkerProcess},
    task::{Board, Slot, WorkerInfo},
    wire::{FrameReader, frame_bytes, parse},
    worker::{self, Origin, Program, ServeEnd},
};

/// Workers that run as tasks on the pool's own arbiter instead of in processes.
///
/// Everything but the processes is as in production: queue, proxies, frames, codec, executor. What only a process can do
/// - survive an abort, be killed in a loop, have its own globals - it cannot, and a task that blocks blocks the pool.
pub fn in_process<S: 'static, A>(spec: WorkerSpec<S, A>) -> Workers<A> {
    let program = Arc::new(spec.into_program());
    Workers::with_launcher(&program, Arc::new(InProcess(Arc::clone(&program))))
}

struct InProcess(Arc<Program>);

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Launch for InProcess {
    fn connects(&self) -> bool {
        false
    }

    fn with(&self, _: Launcher) -> Option<Arc<dyn Launch>> {
        None
    }

    fn launch(&self, order: LaunchOrder) -> Result<Launched, WorkerStartError> {
        // Numbers that no process has, so that nothing could ever be sent a signal by one.
        static NEXT_PID: AtomicU32 = AtomicU32::new(1 << 30);
        let pid = NEXT_PID.fetch_add(1, Ordering::Relaxed);
        let worker = WorkerInfo::new(Slot::new(order.config.slot), order.config.generation, pid);
        capture::install();
        let (data, worker_data) = Stream::memory();
        let (control, worker_control) = Stream::memory();
        let board = Arc::new(Board::new(Instant::now()));
        let answering = tokio::task::spawn_local(answer(worker_control, Arc::clone(&board)));
        let setup = Ok(());
        if let Some(setup) = &self.0.setup {
            setup(&worker);
        }
        let program = Arc::clone(&self.0);
        let kin: Workers = Workers::with_launcher(&program, Arc::new(Self(Arc::clone(&program))));
        let origin = Origin {
            worker,
            lineage: order.config.lineage,
            kin: kin.into_kin(),
            inherited: Vec::new(),
            setup,
        };
        let serving = tokio::task::spawn_local(async move {
            let end = worker::serve(program, worker_data, board, origin).await;
            match end {
                ServeEnd::Exit => ExitStatus {
                    code: Some(0),
                    signal: None,
                },
                _ => ExitStatus {
                    code: Some(1),
                    signal: None,
                },
            }
        });
        let process = LocalWorker {
            pid,
            serving,
            answering: answering.abort_handle(),
            exited: None,
        };
        Ok(Launched {
            pid: process.pid(),
            process: Box::new(process),
            stdout: None,
            stderr: None,
            streams: Some((data, control)),
        })
    }
}

/// What the control thread does in a process.
async fn answer(control: Stream, board: Arc<Board>) {
    let mut reader = FrameReader::new();
    let mut out = BytesMut::new();
    loop {
        let read = std::future::poll_fn(|cx| control.poll_read(cx, reader.space())).await;
        match read {
            Ok(bytes) if bytes > 0 => reader.filled(bytes),
            _ => break,
        }
        while let Ok(Some(frame)) = reader.next() {
            let Ok((frame, _)) = parse(frame) else { break };
            if let Some(answer) = worker::answer(&board, &frame, Instant::now())
                && frame_bytes(&answer, &[], &mut out).is_err()
            {
                break;
            }
        }
        if control.write_all(&out).await.is_err() {
            break;
        }
        out.clear();
    }
    board.ask(|requests| requests.orphaned = true);
}

struct LocalWorker {
    pid: u32,
    serving: JoinHandle<ExitStatus>,
    answering: AbortHandle,
    exited: Option<ExitStatus>,
}

impl WorkerProcess for LocalWorker {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<ExitStatus> {
        if let Some(exit) = self.exited {
            return Poll::Ready(exit);
        }
        let exit = std::task::ready!(Pin::new(&mut self.serving).poll(cx));
        let exit = exit.unwrap_or(ExitStatus {
            code: None,
            signal: Some(9),
        });
        self.exited = Some(exit);
        Poll::Ready(exit)
    }

    fn terminate(&mut self) {}

    fn kill(&mut self) {
        self.serving.abort();
        self.answering.abort();
    }

    fn kill_now(&mut self, _: Duration) {
        self.kill();
    }
}
