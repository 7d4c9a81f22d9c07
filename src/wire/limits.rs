//! How far decoding may go on this thread, and why it went no further.
//!
//! Belongs here: the counters and their bounds. Does not belong here: serde's traits, which `depth` counts for.
//! Invariant: what a decode counted is given back when it ends, also by a panic.
//!
//! The counters are per thread and not fields of a decoder, so that a `Deserialize` that starts a decoder of its own
//! in the middle (`Json<T>` does) counts on from where the outer one is, instead of having a fresh allowance.

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;

use serde::de;

use crate::error::cut;

/// How deep sequences, maps, tuples, structs, newtypes, enums and options in options may nest.
pub(super) const MAX_DEPTH: u32 = 128;
/// How many elements of sequences and maps there may be beyond one per byte: they are zero-sized, or a lie.
pub(super) const FREE_ELEMENTS: usize = 65_536;

pub(super) const TOO_DEEP: &str = "nested more than 128 levels deep";
pub(super) const TOO_MANY: &str = "more elements in its sequences and maps than its bytes can hold";

/// The longest reason kept, in bytes: nobody shows more of it.
const MAX_REASON: usize = 2048;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static ELEMENTS: Cell<usize> = const { Cell::new(usize::MAX) };
    static REASON: Cell<String> = const { Cell::new(String::new()) };
}

/// Runs `decode` with an allowance of elements for `bytes` bytes; the one in force before comes back afterwards.
#[inline]
pub(super) fn budgeted<R>(bytes: usize, decode: impl FnOnce() -> R) -> R {
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            ELEMENTS.with(|elements| elements.set(self.0));
        }
    }
    let _restore = Restore(ELEMENTS.replace(bytes.saturating_add(FREE_ELEMENTS)));
    decode()
}

/// Takes the words of this thread's last custom error, `None` when it had none.
pub(super) fn take_reason() -> Option<String> {
    REASON
        .try_with(Cell::take)
        .ok()
        .filter(|reason| !reason.is_empty())
}

/// Keeps the words of a custom error for [`take_reason`].
#[cold]
fn note(message: &dyn fmt::Display) {
    struct Capped(String);
    impl fmt::Write for Capped {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let kept = cut(text, MAX_REASON - self.0.len());
            self.0.push_str(kept);
            // An error ends the formatting of what would be dropped anyway.
            (kept.len() == text.len()).then_some(()).ok_or(fmt::Error)
        }
    }
    let mut reason = Capped(String::new());
    let _ = fmt::Write::write_fmt(&mut reason, format_args!("{message}"));
    let _ = REASON.try_with(|kept| kept.set(reason.0));
}

/// One level of nesting, left when dropped, also by a panic.
pub(super) struct Level(bool);

impl Level {
    #[inline]
    pub(super) fn enter<E: de::Error>(counted: bool) -> Result<Self, E> {
        if counted {
            let depth = DEPTH.get();
            if depth >= MAX_DEPTH {
                return Err(E::custom(TOO_DEEP));
            }
            DEPTH.with(|level| level.set(depth + 1));
        }
        Ok(Self(counted))
    }
}

impl Drop for Level {
    #[inline]
    fn drop(&mut self) {
        if self.0 {
            DEPTH.with(|depth| depth.set(depth.get().saturating_sub(1)));
        }
    }
}

/// Counts one element.
#[inline]
pub(super) fn charge_element<E: de::Error>() -> Result<(), E> {
    match ELEMENTS.get().checked_sub(1) {
        Some(left) => {
            ELEMENTS.with(|elements| elements.set(left));
            Ok(())
        }
        None => Err(E::custom(TOO_MANY)),
    }
}

/// Returns as much of a claimed number of elements as may still come.
#[inline]
pub(super) fn believe(hint: usize) -> usize {
    hint.min(ELEMENTS.get())
}

/// The format's own error; it differs in that the words of a custom one are kept for [`take_reason`].
///
/// postcard reduces every custom error to "Serde Deserialization Error".
#[derive(Debug)]
pub(super) struct Fault<E>(pub(super) E);

impl<E: fmt::Display> fmt::Display for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: StdError> StdError for Fault<E> {}

impl<E: de::Error> de::Error for Fault<E> {
    fn custom<T: fmt::Display>(message: T) -> Self {
        note(&message);
        Self(E::custom(message))
    }
}

impl<E> Fault<E> {
    #[inline]
    pub(super) fn into_inner(self) -> E {
        self.0
    }
}
