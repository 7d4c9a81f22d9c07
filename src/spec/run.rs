//! From a task to the bytes of what it came to.
//!
//! Belongs here: running one task of a known type. Does not belong here: when it is polled, and where its bytes go.
//! Invariant: no outcome is larger than the host takes.

use std::any::{Any, type_name};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{CodecError, CodecSide, CodecStep, CodecValue, RemoteError},
    task::{Task, TaskContext},
    wire::{Payload, codec},
    worker::Ended,
};

/// Runs a task and encodes what it returns.
pub(super) async fn run<T: Task>(
    task: T,
    context: TaskContext<T::State>,
    max_bytes: usize,
) -> Ended {
    let (worker, id) = (context.worker(), context.id());
    match task.run(context).await {
        Ok(output) => match encode(&output, CodecValue::Output, max_bytes) {
            Ok(payload) => Ended::Done(payload),
            Err(error) => Ended::Codec(error),
        },
        Err(mut error) => {
            // Made by `?`, it does not know.
            if let Some(error) = (&mut error as &mut dyn Any).downcast_mut::<RemoteError>() {
                error.happened_at(worker, id);
            }
            let transient = T::is_transient(&error);
            match encode(&error, CodecValue::Error, max_bytes) {
                Ok(payload) => Ended::Failed(payload, Box::new(error), transient),
                Err(error) => Ended::Codec(error),
            }
        }
    }
}

/// Encodes what a task has returned. The host would take a worker that sends more than the limit for a hostile one.
fn encode<T>(value: &T, what: CodecValue, max_bytes: usize) -> Result<Payload, CodecError>
where
    T: Serialize + DeserializeOwned + 'static,
{
    let payload = codec::encode_checked(value, what, CodecSide::Worker)?;
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
