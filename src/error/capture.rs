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
    sync::{Once, OnceLock},
};

use crate::error::RemoteError;

/// What the hook saw of a panic.
#[derive(Debug, Default, Clone)]
pub(crate) struct Captured {
    message: String,
    location: Option<String>,
    backtrace: Option<String>,
}

/// Hears of a panic that ends this process.
type LastWords = Box<dyn Fn(RemoteError) + Send + Sync>;

static LAST_WORDS: OnceLock<LastWords> = OnceLock::new();

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
                message: message(info.payload()),
                location: info.location().map(ToString::to_string),
                backtrace: (backtrace.status() == BacktraceStatus::Captured)
                    .then(|| backtrace.to_string()),
            };
            if let Some(tell) = LAST_WORDS.get()
                && let Some(last) = last_words(&captured)
            {
                tell(last);
            }
            // A panic while a thread ends finds no storage; then only the location is lost.
            let _ = LAST.try_with(|last| *last.borrow_mut() = Some(captured));
            before(info);
        }));
    });
}

/// Has somebody told of a panic that ends this process, before it does. Who was asked first is.
pub(crate) fn tell_last_words(tell: LastWords) {
    let _ = LAST_WORDS.set(tell);
}

/// What there is to say, if this panic ends the process: each does where panics abort; elsewhere one that has met code which
/// cannot unwind, of which std says so in a panic of its own, behind the one that is meant.
fn last_words(captured: &Captured) -> Option<RemoteError> {
    const CANNOT_UNWIND: [&str; 2] = [
        "panic in a function that cannot unwind",
        "panic in a destructor during cleanup",
    ];
    let meant = if CANNOT_UNWIND.contains(&captured.message.as_str()) {
        let before = LAST.try_with(|last| last.borrow().clone());
        before.ok().flatten().unwrap_or_else(|| captured.clone())
    } else if cfg!(panic = "abort") {
        captured.clone()
    } else {
        return None;
    };
    let Captured {
        message,
        location,
        backtrace,
    } = meant;
    Some(RemoteError::panic(message, location, backtrace))
}

/// What it says, if that is text.
fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic whose payload is not text".to_owned())
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
    let captured = take().unwrap_or_default();
    RemoteError::panic(message(payload), captured.location, captured.backtrace)
}
