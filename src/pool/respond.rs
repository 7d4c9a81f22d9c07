//! From an encoded outcome to the typed one, for handles, maps and the callers of actors.
//!
//! Belongs here: decoding, and noticing that a caller has gone. Does not belong here: which outcome.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Wake, Waker},
};

use actix::dev::{MessageResponse, OneshotSender};
use parking_lot::Mutex;

use crate::{
    error::{CodecSide, CodecValue, TaskError},
    pool::Submit,
    supervisor::{
        PoolCore, PoolSupervisor, SubmitTask,
        reply::{ActorReply, Reply, Settled},
    },
    task::{Task, TaskId},
    wire::codec,
};

pub(super) type TaskResult<T> = Result<<T as Task>::Output, TaskError<<T as Task>::Error>>;

/// Decodes an outcome.
pub(super) fn typed<T: Task>(settled: Settled) -> TaskResult<T> {
    match settled {
        Settled::Done(payload) => {
            codec::decode_checked(&payload, CodecValue::Output, CodecSide::Host)
                .map_err(TaskError::Codec)
        }
        Settled::Failed(payload) => {
            match codec::decode_checked(&payload, CodecValue::Error, CodecSide::Host) {
                Ok(error) => Err(TaskError::Failed(error)),
                Err(error) => Err(TaskError::Codec(error)),
            }
        }
        Settled::Panicked(error) => Err(TaskError::Panicked(error)),
        Settled::Cancelled { started } => Err(TaskError::Cancelled { started }),
        Settled::TimedOut(timed_out) => Err(TaskError::TimedOut(*timed_out)),
        Settled::WorkerLost(report) => Err(TaskError::WorkerLost(report)),
        Settled::Rejected(rejected) => Err(TaskError::Rejected(*rejected)),
        Settled::Codec(error) => Err(TaskError::Codec(*error)),
    }
}

/// Decodes the output of a task that has ended well, of which there is nothing but bytes.
#[inline]
pub(super) fn output<T: Task>(bytes: &[u8]) -> TaskResult<T> {
    codec::decode_bytes_checked(bytes, CodecValue::Output, CodecSide::Host)
        .map_err(|error| TaskError::Codec(*error))
}

/// The answer to `addr().send(Submit)`: no future, no task of its own.
#[derive(Debug)]
#[expect(
    unnameable_types,
    reason = "public as the result of a handler, and of no use to anybody but actix"
)]
pub struct Deferred {
    pub(super) core: Arc<PoolCore>,
    /// `None` when the handler panicked: dropping the sender tells the caller.
    pub(super) task: Option<SubmitTask>,
}

impl<T: Task> MessageResponse<PoolSupervisor, Submit<T>> for Deferred {
    fn handle(
        self,
        _: &mut actix::Context<PoolSupervisor>,
        sender: Option<OneshotSender<TaskResult<T>>>,
    ) {
        let Some(task) = self.task else { return };
        let Some(sender) = sender else {
            self.core.submit(task, Reply::Nobody);
            return;
        };
        let answer = Arc::new(Answer::<T> {
            sender: Mutex::new(Some(sender)),
            id: AtomicU64::new(0),
            core: Arc::downgrade(&self.core),
        });
        if let Some(id) = self
            .core
            .submit(task, Reply::Actor(Arc::clone(&answer) as _))
        {
            answer.id.store(id.get(), Ordering::Release);
            answer.watch();
        }
    }
}

/// The caller of `addr().send(..)`. Wakes, being its own waker, when the caller drops its request.
struct Answer<T: Task> {
    sender: Mutex<Option<OneshotSender<TaskResult<T>>>>,
    id: AtomicU64,
    core: Weak<PoolCore>,
}

impl<T: Task> Answer<T> {
    /// Cancels the task if the caller has gone; else asks to be woken when it goes.
    fn watch(self: &Arc<Self>) {
        let gone = {
            let mut sender = self.sender.lock();
            let Some(sender) = &mut *sender else { return };
            let waker = Waker::from(Arc::clone(self));
            // Unconstrained, for it must be registered: a task budget that is used up would refuse.
            let closed = tokio::task::unconstrained(poll_fn(|cx| sender.poll_closed(cx)));
            pin!(closed)
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        };
        if gone && let Some(core) = self.core.upgrade() {
            core.cancel(TaskId::new(self.id.load(Ordering::Acquire)), true);
        }
    }
}

impl<T: Task> Wake for Answer<T> {
    fn wake(self: Arc<Self>) {
        self.watch();
    }
}

impl<T: Task> ActorReply for Answer<T> {
    fn settle(&self, settled: Settled) {
        let sender = self.sender.lock().take();
        if let Some(sender) = sender
            && !sender.is_closed()
        {
            // A caller that goes just now does not want it.
            let _ = sender.send(typed::<T>(settled));
        }
    }
}
