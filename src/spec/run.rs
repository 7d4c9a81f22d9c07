//! From a task to the bytes of what it came to.
//!
//! Belongs here: running one task of a known type. Does not belong here: when it is polled, and where its bytes go.
//! Invariant: no outcome is larger than the host takes.

use std::{
    any::{Any, type_name},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{CodecError, CodecSide, CodecStep, CodecValue, RemoteError, capture},
    task::{Scope, Task, TaskContext},
    wire::{Payload, codec, run},
    worker::{Admitted, Batch, Ended},
};

/// Runs a task and encodes what it returns.
pub(super) async fn run<T: Task>(task: T, context: TaskContext<T::State>) -> Ended {
    let scope = context.share();
    let returned = task.run(context).await;
    ended::<T>(returned, &scope)
}

/// How a task has ended that has returned this.
fn ended<T: Task>(returned: Result<T::Output, T::Error>, scope: &Scope) -> Ended {
    let max_bytes = scope.env.max_bytes;
    match returned {
        Ok(output) => done(encode(&output, CodecValue::Output, max_bytes)),
        Err(mut error) => {
            // Made by `?`, it does not know.
            if let Some(error) = (&mut error as &mut dyn Any).downcast_mut::<RemoteError>() {
                error.happened_at(scope.env.worker, scope.id);
            }
            let transient = T::is_transient(&error);
            match encode(&error, CodecValue::Error, max_bytes) {
                Ok(payload) => Ended::Failed(payload, Box::new(error), transient),
                Err(error) => Ended::Codec(error),
            }
        }
    }
}

fn done(encoded: Result<Payload, CodecError>) -> Ended {
    match encoded {
        Ok(payload) => Ended::Done(payload),
        Err(error) => Ended::Codec(error),
    }
}

/// Runs tasks that came together, each to its first await.
pub(super) fn each<T: Task>(batch: &mut Batch<'_>, state: impl Fn() -> T::State) {
    each_by::<T, _>(batch, state, T::run);
}

/// What has become of a task that was polled. Small, for the same reason as what `codec` returns.
enum Polled {
    Done,
    /// What is to be reported of it is elsewhere.
    Ended,
    Waits,
}

fn each_by<T: Task, F>(
    batch: &mut Batch<'_>,
    state: impl Fn() -> T::State,
    start: impl Fn(T, TaskContext<T::State>) -> F,
) where
    F: Future<Output = Result<T::Output, T::Error>> + 'static,
{
    let inputs = batch.input();
    // One place for all of them. A task that is pending keeps it.
    let mut place = Box::pin(None);
    for input in run::each(&inputs) {
        match batch.admit(input) {
            Admitted::Run => {}
            Admitted::Skip => continue,
            Admitted::Stop => break,
        }
        let mut end = None;
        let polled = capture::caught(|| {
            match codec::decode_bytes_checked(input, CodecValue::Input, CodecSide::Worker) {
                Ok(task) => {
                    let context = TaskContext::new(Rc::clone(batch.scope()), state());
                    place.set(Some(start(task, context)));
                }
                Err(error) => {
                    end = Some(Ended::Codec(*error));
                    return Polled::Ended;
                }
            }
            // If it is pending it is polled again at once, with a waker that works.
            match Held(place.as_mut()).poll_once() {
                Poll::Ready(Ok(output)) => {
                    end = done_in(batch, &output);
                    if end.is_none() {
                        return Polled::Done;
                    }
                }
                Poll::Ready(failed) => end = Some(ended::<T>(failed, batch.scope())),
                Poll::Pending => return Polled::Waits,
            }
            Polled::Ended
        });
        match polled {
            Ok(Polled::Done) => {}
            Ok(Polled::Ended) => {
                if let Some(end) = end {
                    batch.ended(end);
                }
            }
            Ok(Polled::Waits) => {
                let held = Held(std::mem::replace(&mut place, Box::pin(None)));
                let scope = Rc::clone(batch.scope());
                batch.pending(Box::pin(async move { ended::<T>(held.await, &scope) }));
            }
            Err(panic) => batch.panicked(panic),
        }
    }
}

/// A task has ended well with this output. Returns what is not yet reported of it.
#[inline]
fn done_in<O>(batch: &Batch<'_>, output: &O) -> Option<Ended>
where
    O: Serialize + DeserializeOwned + 'static,
{
    let (what, side) = (CodecValue::Output, CodecSide::Worker);
    match batch.done(|to, attach| codec::append_checked(output, what, side, to, attach)) {
        Ok(None) => None,
        Ok(Some(alone)) => {
            let max_bytes = batch.scope().env.max_bytes;
            Some(done(fitting::<O>(*alone, what, max_bytes)))
        }
        Err(error) => Some(Ended::Codec(*error)),
    }
}

/// A future in a place that others have had before.
struct Held<P>(P);

impl<F: Future> Held<Pin<&mut Option<F>>> {
    fn poll_once(self) -> Poll<F::Output> {
        let cx = &mut Context::from_waker(Waker::noop());
        self.0
            .as_pin_mut()
            .map_or(Poll::Pending, |future| future.poll(cx))
    }
}

impl<F: Future> Future for Held<Pin<Box<Option<F>>>> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.0.as_mut().as_pin_mut();
        future.map_or(Poll::Pending, |future| future.poll(cx))
    }
}

/// Encodes what a task has returned. The host would take a worker that sends more than the limit for a hostile one.
fn encode<T>(value: &T, what: CodecValue, max_bytes: usize) -> Result<Payload, CodecError>
where
    T: Serialize + DeserializeOwned + 'static,
{
    let payload = codec::encode_checked(value, what, CodecSide::Worker)?;
    fitting::<T>(payload, what, max_bytes)
}

fn fitting<T>(payload: Payload, what: CodecValue, max_bytes: usize) -> Result<Payload, CodecError> {
    let bytes = payload.len();
    if bytes > max_bytes {
        return Err(CodecError::new(
            what,
            CodecSide::Worker,
            CodecStep::Encode,
            type_name::<T>(),
            format!("it takes {bytes} bytes, over the {max_bytes} of `max_frame_bytes`"),
        ));
    }
    Ok(payload)
}
