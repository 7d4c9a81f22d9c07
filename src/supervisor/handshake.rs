//! From a started process to a worker that is ready.
//!
//! Belongs here: accepting and authenticating the two connections, comparing offers. Does not belong here: time limits
//! over the whole, which `life` keeps, and what a ready worker is sent.
//! Invariant: bytes of a connection are looked at only as far as its token allows; strangers never end the wait.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use tokio::task::JoinSet;

use crate::{
    error::{RemoteError, WorkerStartError, near_names},
    ipc::{Endpoint, PeerExpectation, Stream},
    observe::PoolEvent,
    supervisor::{
        PoolCore,
        control::{Looks, Turn},
    },
    wire::{
        Assembly, Channel, FrameReader, FrameWriter, Hello, HostFrame, Offer, PROTOCOL, Payload,
        Spares, Token, Welcome, WorkerFrame, codec, parse,
    },
};

/// How long a connection may take to say who it is.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// How many connections may be about to say so at once.
const MAX_STRANGERS: usize = 64;

/// The authenticated connections of one worker.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) data: Stream,
    pub(super) control: Stream,
}

/// Waits until both connections of a worker are there. Ends only with them, or with an error of the listener.
pub(super) async fn connect(
    core: &PoolCore,
    endpoint: &Endpoint,
    token: Token,
    peer: PeerExpectation,
) -> Result<Connections, WorkerStartError> {
    let mut introductions = JoinSet::new();
    let (mut data, mut control) = (None, None);
    let refuse = |reason: String| core.control.emit(PoolEvent::IntruderRefused { reason });
    loop {
        tokio::select! {
            accepted = endpoint.accept() => match accepted {
                Ok(stream) => match stream.check_peer(peer) {
                    // Here and not in a task of its own, or a crowd from elsewhere would take up all the places.
                    Err(reason) => refuse(reason),
                    Ok(()) if introductions.len() < MAX_STRANGERS => {
                        introductions.spawn_local(introduce(stream, token));
                    }
                    Ok(()) => refuse("too many connections at once".to_owned()),
                },
                // Out of descriptors, say: trying again at once would burn the CPU.
                Err(error) => return Err(WorkerStartError::Refused {
                    message: format!("accepting a connection failed: {error}"),
                }),
            },
            Some(introduced) = introductions.join_next() => match introduced {
                Ok(Ok((Channel::Data, stream))) if data.is_none() => data = Some(stream),
                Ok(Ok((Channel::Control, stream))) if control.is_none() => control = Some(stream),
                Ok(Ok(_)) => refuse("its token was used before".to_owned()),
                Ok(Err(reason)) => refuse(reason),
                Err(_) => refuse("its introduction panicked".to_owned()),
            },
        }
        if data.is_some() && control.is_some() {
            break;
        }
    }
    // Who was about to is late.
    for _ in 0..introductions.len() {
        refuse("it came after the worker".to_owned());
    }
    match (data, control) {
        (Some(data), Some(control)) => Ok(Connections { data, control }),
        _ => Err(WorkerStartError::Refused {
            message: "a connection was lost".to_owned(),
        }),
    }
}

/// Lets one connection say who it is.
async fn introduce(stream: Stream, token: Token) -> Result<(Channel, Stream), String> {
    let mut bytes = [0; Hello::BYTES];
    match tokio::time::timeout(HELLO_TIME, stream.read_exact(&mut bytes)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(format!("it did not say who it is: {error}")),
        Err(_) => return Err(format!("it did not say who it is within {HELLO_TIME:?}")),
    }
    let hello = Hello::from_bytes(&bytes).ok_or("it does not speak this protocol")?;
    if hello.has(&token) {
        Ok((hello.channel, stream))
    } else {
        Err("its token is wrong".to_owned())
    }
}

/// A worker that is ready, with what was read of its frames beyond that.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) data: Stream,
    pub(super) reader: FrameReader,
    /// The worker's process.
    pub(super) pid: u32,
    /// The worker's index of each of the host's tasks.
    pub(super) indexes: Vec<u16>,
}

/// Reads the offer, answers it, and waits until the worker is ready. `stage` tells how far it came. What it was given without
/// being meant to it has told by then, if it `looks`. Its `turn` ends when it has introduced itself.
pub(super) async fn greet(
    core: &PoolCore,
    data: Stream,
    pid: Option<u32>,
    stage: &mut &'static str,
    looks: Option<Looks<'_>>,
    turn: &Turn<'_>,
) -> Result<Greeted, WorkerStartError> {
    let mut link = Link {
        data,
        reader: FrameReader::new(),
        writer: FrameWriter::new(),
        assembly: Assembly::new(1024 * 1024, &Spares::default()),
    };
    let offer = match link.next().await? {
        (WorkerFrame::Offer(offer), _) => offer,
        _ => return Err(protocol("its first frame is not an offer")),
    };
    turn.end();
    let indexes = compare(core, &offer, pid)?;
    for inherited in &offer.inherited {
        if core.control.first_sight(inherited) {
            crate::observe::log(|| {
                tracing::warn!(
                    descriptor = inherited,
                    "workers inherit a descriptor of this process that is not close-on-exec"
                )
            });
        }
    }
    // Its initializer may take long, and somebody may start meanwhile who was given more.
    if let Some(looks) = looks {
        looks.told();
    }
    let args = core.config.init_args.clone();
    let welcome = Welcome {
        concurrency: core.config.concurrency,
        max_frame_bytes: core.config.knobs.max_frame_bytes as u64,
        cancel_grace_ms: millis(core.config.knobs.cancel_grace),
        rest: 0,
        has_args: args.is_some(),
        attachments: args
            .iter()
            .flat_map(|args| args.attachments())
            .map(|attachment| u32::try_from(attachment.len()).unwrap_or(u32::MAX))
            .collect(),
        lag: core.config.knobs.concurrency.is_adaptive(),
        // They would be taken for memory of its tasks.
        spares: !core.config.weighs_memory(),
    };
    link.writer
        .value(
            |rest| HostFrame::Welcome(Welcome { rest, ..welcome }),
            HostFrame::Part { ticket: 0 },
            &args.unwrap_or_default(),
        )
        .map_err(|error| protocol(&error))?;
    *stage = "initializing its state";
    match link.next().await? {
        (WorkerFrame::Ready, _) => Ok(Greeted {
            pid: link.data.peer_pid().unwrap_or(offer.pid),
            data: link.data,
            reader: link.reader,
            indexes,
        }),
        (
            WorkerFrame::Failed {
                init_args: Some(error),
            },
            _,
        ) => Err(WorkerStartError::InitArgs(error)),
        (WorkerFrame::Failed { init_args: None }, payload) => Err(WorkerStartError::State(
            codec::decode(&payload).unwrap_or_else(|error| {
                RemoteError::new(
                    "unreadable",
                    format!("the worker's error is unreadable: {error}"),
                )
            }),
        )),
        _ => Err(protocol("it neither got ready nor failed")),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn protocol(message: &str) -> WorkerStartError {
    WorkerStartError::Refused {
        message: message.to_owned(),
    }
}

/// Finds each of the host's tasks in a worker's offer; the worker may have more.
fn compare(core: &PoolCore, offer: &Offer, pid: Option<u32>) -> Result<Vec<u16>, WorkerStartError> {
    if offer.protocol != PROTOCOL {
        return Err(WorkerStartError::OtherVersion {
            host: PROTOCOL,
            worker: offer.protocol,
        });
    }
    if let Some(pid) = pid
        && offer.pid != pid
    {
        return Err(protocol(&format!(
            "process {} answered instead of worker {pid}",
            offer.pid
        )));
    }
    core.config
        .table
        .iter()
        .map(|(name, version)| {
            let found = offer
                .tasks
                .binary_search_by(|(offered, _)| offered.as_str().cmp(name))
                .ok()
                .and_then(|index| Some((index, offer.tasks.get(index)?.1)));
            match found {
                Some((index, offered)) if offered == version => {
                    u16::try_from(index).map_err(|_| protocol("it offers more than 65,536 tasks"))
                }
                Some((_, offered)) => Err(WorkerStartError::TaskVersion {
                    name: name.to_owned(),
                    host: version,
                    worker: offered,
                }),
                None => Err(WorkerStartError::MissingTask {
                    name: name.to_owned(),
                    near: near_names(name, offer.tasks.iter().map(|(name, _)| name.as_str())),
                }),
            }
        })
        .collect()
}

/// A data connection before it carries tasks.
struct Link {
    data: Stream,
    reader: FrameReader,
    writer: FrameWriter<HostFrame>,
    assembly: Assembly<WorkerFrame>,
}

impl Link {
    /// Writes what is queued and waits for the next frame.
    async fn next(&mut self) -> Result<(WorkerFrame, Payload), WorkerStartError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(WorkerFrame, Payload), WorkerStartError>> {
        while !self.writer.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 16];
            let filled = self
                .writer
                .slices(&mut slices)
                .map_err(|error| protocol(&error))?;
            match self
                .data
                .poll_write(cx, slices.get(..filled).unwrap_or_default())
            {
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.writer.advance(bytes),
                // The reading side, or the process's exit, says what has happened.
                Poll::Ready(_) => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        loop {
            if let Some(frame) = self
                .reader
                .next()
                .map_err(|error| protocol(&format!("it sent a frame of {} bytes", error.claimed)))?
            {
                let (header, tail) = parse::<WorkerFrame>(frame)
                    .map_err(|error| protocol(&format!("it sent an unreadable frame: {error}")))?;
                let whole = self
                    .assembly
                    .first(0, header, Vec::new(), 0, tail)
                    .map_err(|error| protocol(&format!("{error:?}")))?;
                if let Some(whole) = whole {
                    return Poll::Ready(Ok(whole));
                }
            }
            match self.data.poll_read(cx, self.reader.space()) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.reader.filled(bytes),
                // The end of the process follows and says more.
                Poll::Ready(_) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
