//! Where a panic happened, which only a panic hook is told.
//!
//! Belongs here: the hook and the value it leaves for whoever catches the panic on the same thread.
//! Does not belong here: what follows from a panic.
//! Invariant: the hook that was there before still runs.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use crate::error::RemoteError;

/// What the hook saw of a panic.
#[derive(Debug, Default, Clone)]
pub(crate) struct Captured {
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    static LAST: RefCell<Option<Captured>> = const { RefCell::new(None) };
}

/// Makes panics of this process remember where they happened. Does so once.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let backtrace = Backtrace::capture();
            let captured = Captured {
                location: info.location().map(ToString::to_string),
                backtrace: (backtrace.status() == BacktraceStatus::Captured)
                    .then(|| backtrace.to_string()),
            };
            // A panic while a thread ends finds no storage; then only the location is lost.
            let _ = LAST.try_with(|last| *last.borrow_mut() = Some(captured));
            before(info);
        }));
    });
}

/// Takes what the last panic of this thread left.
pub(crate) fn take() -> Option<Captured> {
    LAST.with(|last| last.borrow_mut().take())
}

/// Hands over what another thread took, for a panic that goes on in this one.
pub(crate) fn put(captured: Option<Captured>) {
    LAST.with(|last| *last.borrow_mut() = captured);
}

/// Runs somebody else's code. `None` when it panicked. What it panicked with is never dropped: that may panic, too.
pub(crate) fn contained<R>(code: impl FnOnce() -> R) -> Option<R> {
    caught(code).ok()
}

/// The same with a description of the panic.
pub(crate) fn caught<R>(code: impl FnOnce() -> R) -> Result<R, RemoteError> {
    panic::catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
        let error = describe(payload.as_ref());
        std::mem::forget(payload);
        error
    })
}

/// Describes a panic that was caught on this thread.
pub(crate) fn describe(payload: &(dyn Any + Send)) -> RemoteError {
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic whose payload is not text".to_owned());
    let captured = take().unwrap_or_default();
    RemoteError::panic(message, captured.location, captured.backtrace)
}
