//! A connection on which things go wrong, for tests.
//!
//! Belongs here: passing frames on, and what can happen to one. Does not belong here: when it happens.
//! Invariant: without a fault every byte passes, in order; whatever is under way ends with the stream that was handed out.

use std::{
    cell::Cell,
    fmt,
    future::pending,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::task::AbortHandle;

use crate::{ipc::Stream, task::WorkerInfo};

/// What happens to one frame, and perhaps to all behind it. For tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// So many of its bytes pass, then the connection breaks, both ways: what was on its way is lost, and the pool sees an
    /// error and no orderly end. 0: it breaks in front of the frame.
    Cut(usize),
    /// So many of its bytes pass, at least one, and the rest is lost; what comes behind it follows, and makes no sense. When the
    /// worker ends, the pool sees an error.
    Truncate(usize),
    /// It passes so much later, and so does what comes behind it.
    Delay(Duration),
    /// It passes twice.
    Duplicate,
    /// From here on so many bytes pass in a second. 0 is taken for 1.
    Throttle(u32),
    /// Nothing passes any more, this frame included, in this direction; the connection stays open. When the worker ends, the
    /// pool sees an error.
    Wedge,
}

/// One of a worker's two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connection {
    /// Tasks and results.
    Data,
    /// What passes beside them: cancelling, ending, asking.
    Control,
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the host.
    ToWorker,
    /// To the host.
    FromWorker,
}

/// A frame that is about to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassingFrame {
    /// Whose it is.
    pub worker: WorkerInfo,
    /// On which connection.
    pub connection: Connection,
    /// Which way.
    pub way: Way,
    /// Its number on this connection this way, counted from 1. On the data connection the first two of a worker are its
    /// offer and its being ready, and the first to it is the welcome.
    pub nth: u64,
    /// Its length, with the four bytes that say it.
    pub bytes: usize,
}

/// Says what happens to a frame.
pub(crate) type FaultPlan = Arc<dyn Fn(&PassingFrame) -> Option<Fault> + Send + Sync>;

/// How much is passed on at once.
const PIECE: usize = 64 * 1024;

/// How often a throttled connection lets something pass, in a second.
const PIECES_A_SECOND: u32 = 100;

/// The near end of a connection whose bytes pass through a task.
pub(crate) struct FaultyStream {
    pub(super) near: Box<Stream>,
    broken: Rc<Cell<bool>>,
    peer_pid: Option<u32>,
    carrying: AbortHandle,
}

impl FaultyStream {
    /// Has the frames of `far` pass by a plan.
    pub(crate) fn between(
        far: Stream,
        plan: &FaultPlan,
        worker: WorkerInfo,
        connection: Connection,
    ) -> Stream {
        let peer_pid = far.peer_pid();
        let (near, own) = Stream::memory();
        let ends = Rc::new((own, far));
        let course = |way| Course {
            plan: Arc::clone(plan),
            passing: PassingFrame {
                worker,
                connection,
                way,
                nth: 0,
                bytes: 0,
            },
            pace: None,
            lossy: false,
        };
        let (mut out, mut back) = (course(Way::ToWorker), course(Way::FromWorker));
        let broken = Rc::new(Cell::new(false));
        let breaks = Rc::clone(&broken);
        let carrying = tokio::task::spawn_local(async move {
            let (own, far) = &*ends;
            let out = async {
                match out.carry(own, far).await {
                    // Who takes nothing any more has perhaps ended, and what it had said before is still on its way.
                    Over::Ended => pending().await,
                    Over::Broken => Over::Broken,
                }
            };
            let over = tokio::select! {
                over = out => over,
                over = back.carry(far, own) => over,
            };
            // What has not come through was said: an end in order would have the pool believe that it had heard all.
            breaks.set(over == Over::Broken || back.lossy);
        });
        Stream::Faulty(Self {
            near: Box::new(near),
            broken,
            peer_pid,
            carrying: carrying.abort_handle(),
        })
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.near.poll_read(cx, buffer) {
            Poll::Ready(Ok(0)) if self.broken.get() => {
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            read => read,
        }
    }

    pub(super) fn peer_pid(&self) -> Option<u32> {
        self.peer_pid
    }
}

impl Drop for FaultyStream {
    fn drop(&mut self) {
        // The far end closes with it, also if it carries nothing any more.
        self.carrying.abort();
    }
}

impl fmt::Debug for FaultyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStream").finish_non_exhaustive()
    }
}

/// One direction of a connection.
struct Course {
    plan: FaultPlan,
    passing: PassingFrame,
    /// Bytes a second.
    pace: Option<u32>,
    /// Not all of what came has passed, or will.
    lossy: bool,
}

/// Why nothing more passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// One side has ended.
    Ended,
    /// As it was to.
    Broken,
}

impl Course {
    /// Passes frames on until either side ends.
    async fn carry(&mut self, from: &Stream, to: &Stream) -> Over {
        loop {
            if let Err(over) = self.frame(from, to).await {
                return over;
            }
        }
    }

    async fn frame(&mut self, from: &Stream, to: &Stream) -> Result<(), Over> {
        let mut prefix = [0; 4];
        (from.read_exact(&mut prefix).await).map_err(|_| Over::Ended)?;
        let length = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
        self.passing.nth += 1;
        self.passing.bytes = length.saturating_add(4);
        let fault = (self.plan)(&self.passing);
        let mut frame = Frame {
            prefix: Some(prefix),
            left: length,
        };
        match fault {
            None => {}
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Throttle(pace)) => self.pace = Some(pace.max(1)),
            Some(Fault::Wedge) => {
                self.lossy = true;
                pending().await
            }
            Some(Fault::Cut(most)) => {
                self.pass(&mut frame, from, to, most).await?;
                return Err(Over::Broken);
            }
            Some(Fault::Truncate(most)) => {
                self.lossy = true;
                self.pass(&mut frame, from, to, most.max(1)).await?;
                while !frame.next(from, PIECE).await?.is_empty() {}
                return Ok(());
            }
            Some(Fault::Duplicate) => {
                let mut copy = Vec::new();
                loop {
                    let piece = frame.next(from, PIECE).await?;
                    if piece.is_empty() {
                        break;
                    }
                    copy.extend(piece);
                }
                for _ in 0..2 {
                    self.write(&copy, to).await?;
                }
                return Ok(());
            }
        }
        self.pass(&mut frame, from, to, usize::MAX).await
    }

    /// Passes on what is left of a frame, or the first `most` bytes of that.
    async fn pass(
        &self,
        frame: &mut Frame,
        from: &Stream,
        to: &Stream,
        mut most: usize,
    ) -> Result<(), Over> {
        while most > 0 {
            let piece = frame.next(from, most.min(PIECE)).await?;
            if piece.is_empty() {
                break;
            }
            most -= piece.len();
            self.write(&piece, to).await?;
        }
        Ok(())
    }

    async fn write(&self, bytes: &[u8], to: &Stream) -> Result<(), Over> {
        let Some(pace) = self.pace else {
            return to.write_all(bytes).await.map_err(|_| Over::Ended);
        };
        let piece = (pace / PIECES_A_SECOND).max(1);
        for piece in bytes.chunks(usize::try_from(piece).unwrap_or(usize::MAX)) {
            let time = Duration::from_secs(1).mul_f64(piece.len() as f64 / f64::from(pace));
            tokio::time::sleep(time).await;
            to.write_all(piece).await.map_err(|_| Over::Ended)?;
        }
        Ok(())
    }
}

/// What has yet to be read of a frame.
struct Frame {
    prefix: Option<[u8; 4]>,
    left: usize,
}

impl Frame {
    /// The next bytes, as they come; none at its end.
    async fn next(&mut self, from: &Stream, most: usize) -> Result<Vec<u8>, Over> {
        if let Some(prefix) = self.prefix.take() {
            let piece = prefix.get(..most.min(4)).unwrap_or_default().to_vec();
            // Whoever wants less of it gets no more of the frame.
            return Ok(piece);
        }
        let mut piece = vec![0; self.left.min(most)];
        if piece.is_empty() {
            return Ok(piece);
        }
        let bytes = std::future::poll_fn(|cx| from.poll_read(cx, &mut piece)).await;
        match bytes {
            Ok(bytes) if bytes > 0 => {
                piece.truncate(bytes);
                self.left -= bytes;
                Ok(piece)
            }
            _ => Err(Over::Ended),
        }
    }
}
