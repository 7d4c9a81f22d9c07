//! From `init()` to the end of a worker process.
//!
//! Belongs here: what a process does once because it is a worker. Does not belong here: frames, tasks.
//! Invariant: a worker process leaves only through `process::exit` or a signal, never by dropping a runtime that waits
//! for blocked threads.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use actix_rt::System;
use bytes::BytesMut;
use tokio::runtime::Runtime;

use crate::{
    error::{RemoteError, capture},
    ipc::{LastSend, Lifeline, Stream},
    task::{Board, Slot, WorkerInfo},
    wire::{Channel, ControlFromWorker, Hello, StartConfig, codec, frame_bytes},
    worker::{
        MakeKin, Origin, Program, ServeEnd,
        confine::confine,
        control::{self, Group, Signals},
        inherited, serve,
    },
};

/// The argument that makes a process a worker; the program's name follows it.
pub(crate) const SENTINEL: &str = "actix-multiprocess-worker:";

/// A start configuration is a path and some numbers; what claims more is no host.
pub(super) const MAX_START_BYTES: usize = 64 * 1024;

/// Exit codes of a worker that ends by itself.
const ENDED: i32 = 0;
const FAILED: i32 = 1;
const BAD_START: i32 = 2;

/// Serves the host that started this process. Never returns. `kin` makes workers of its own kind.
pub(crate) fn enter(program: Arc<Program>, kin: MakeKin) -> ! {
    let code = match start() {
        Ok(start) => {
            // Inside a runtime another cannot be run, so it gets a thread.
            if tokio::runtime::Handle::try_current().is_err() {
                run(program, kin, start)
            } else {
                thread::Builder::new()
                    .name("worker".to_owned())
                    .stack_size(8 * 1024 * 1024)
                    .spawn(move || run(program, kin, start))
                    .map_or(BAD_START, |running| running.join().unwrap_or(BAD_START))
            }
        }
        Err(error) => {
            complain(&format!(
                "this process was started as a worker, but what its host had to send it is missing: {error}"
            ));
            BAD_START
        }
    };
    std::process::exit(code)
}

/// Says what is wrong in one write: the streams of several workers may end in one terminal.
fn complain(message: &str) {
    use io::Write;
    // Nobody is left to hear that this failed too.
    let _ = io::stderr().write_all(format!("actix-multiprocess: {message}\n").as_bytes());
}

/// What a worker begins with.
struct Start {
    config: StartConfig,
    signals: Signals,
    /// Whether it takes no more of its machine than it may.
    confined: Result<(), RemoteError>,
}

/// Reads what the host has sent and takes the signals that are not this process's to handle.
fn start() -> io::Result<Start> {
    let signals = Signals::catch()?;
    #[cfg(unix)]
    let bytes = super::stdin::take()?;
    #[cfg(not(unix))]
    let bytes = {
        use std::io::Read;
        let mut stdin = io::stdin().lock();
        let mut prefix = [0; 4];
        stdin.read_exact(&mut prefix)?;
        let length = u32::from_le_bytes(prefix) as usize;
        if length > MAX_START_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        stdin.read_exact(&mut bytes)?;
        bytes
    };
    let (config, _): (StartConfig, _) = codec::decode_header(&bytes).map_err(io::Error::other)?;
    // A stopped worker goes on when its host dies, to find the life line cut and end.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT))?;
    let confined = confine(&config.confines);
    Ok(Start {
        config,
        signals,
        confined,
    })
}

fn run(program: Arc<Program>, kin: MakeKin, start: Start) -> i32 {
    let Start {
        config,
        signals,
        confined,
    } = start;
    let worker = WorkerInfo::new(
        Slot::new(config.slot),
        config.generation,
        std::process::id(),
    );
    let inherited = if config.looks_for_inherited {
        inherited::descriptors()
    } else {
        Vec::new()
    };
    let board = Arc::new(Board::new(Instant::now()));
    let connected = Lifeline::connect(&config.place).and_then(|mut lifeline| {
        lifeline.send(
            &Hello {
                channel: Channel::Control,
                token: config.token,
            }
            .to_bytes(),
        )?;
        Ok(lifeline)
    });
    let lifeline = match connected {
        Ok(lifeline) => lifeline,
        Err(error) => {
            complain(&format!("a worker cannot connect to its host: {error}"));
            return FAILED;
        }
    };
    let group = Group {
        own: config.own_group,
        wrapped: config.wrapped,
    };
    let grace = Duration::from_millis(config.grace_ms);
    if let Ok(last) = lifeline.last_send() {
        tell_last_words(last, Arc::clone(&board));
    }
    let watched = Arc::clone(&board);
    let control = thread::Builder::new()
        .name("worker-control".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || control::run(lifeline, &watched, &signals, grace, group));
    if control.is_err() {
        return FAILED;
    }
    let mut setup = confined.and_then(|()| set_up(&program, &worker));
    capture::install();
    let system = match program
        .runtime
        .as_ref()
        .map(|make| capture::caught(|| usable(make())))
    {
        None => System::new(),
        Some(Ok(runtime)) => System::with_tokio_rt(|| runtime),
        Some(Err(panic)) => {
            // Its host is to hear of it, for which any runtime will do.
            setup = setup.and(Err(panic));
            System::new()
        }
    };
    let end = system.block_on(async move {
        let stream = Stream::connect(&config.place).await?;
        let hello = Hello {
            channel: Channel::Data,
            token: config.token,
        };
        stream.write_all(&hello.to_bytes()).await?;
        let origin = Origin {
            worker,
            lineage: config.lineage,
            kin,
            inherited,
            setup,
        };
        Ok::<_, io::Error>(serve(program, stream, board, origin).await)
    });
    let code = match end {
        Ok(ServeEnd::Exit) => ENDED,
        // A connection that fails is a host that has gone, or has given this worker up.
        Ok(ServeEnd::Orphaned) | Err(_) => {
            // The host has gone without asking: what tasks started and left in the group goes too.
            group.kill();
            ENDED
        }
        Ok(ServeEnd::Failed) => FAILED,
        Ok(ServeEnd::Protocol) => {
            complain("a worker ends, because what its host sent it makes no sense");
            FAILED
        }
    };
    // Not by dropping the system: that would wait for threads that may be blocked for ever.
    std::process::exit(code)
}

/// Has the host told of a panic that ends this process. Tasks are polled on the present thread.
fn tell_last_words(send: LastSend, board: Arc<Board>) {
    let own = thread::current().id();
    capture::tell_last_words(Box::new(move |panic| {
        let polls = thread::current().id() == own;
        let running = board.running(Instant::now()).filter(|_| polls);
        let frame = ControlFromWorker::LastWords {
            ticket: running.map(|(ticket, _)| ticket),
            panic,
        };
        let mut bytes = BytesMut::new();
        if frame_bytes(&frame, &[], &mut bytes).is_ok() {
            send.send(&bytes);
        }
    }));
}

/// A runtime with I/O and time. Without either it panics here, where the host hears of it.
fn usable(runtime: Runtime) -> Runtime {
    runtime.block_on(async {
        drop(tokio::time::sleep(Duration::ZERO));
        #[cfg(unix)]
        drop(tokio::net::UnixDatagram::unbound());
    });
    runtime
}

fn set_up(program: &Program, worker: &WorkerInfo) -> Result<(), RemoteError> {
    match &program.setup {
        None => Ok(()),
        Some(setup) => capture::caught(|| setup(worker)),
    }
}
