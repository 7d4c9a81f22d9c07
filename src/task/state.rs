//! How a task gets the state of its worker.
//!
//! Belongs here: the check, while compiling, that a worker has the state its tasks ask for.
//! Does not belong here: making the state.

use std::rc::Rc;

/// Says that a task which asks for this state may run in a worker whose initializer returns `S`.
///
/// Every task may ask for `()`; a task that asks for `Rc<S>` shares the one `S` of its worker.
/// Implemented by this crate only.
#[diagnostic::on_unimplemented(
    message = "this task needs worker state `{Self}`, but the worker's state is `{S}`",
    label = "registered in a worker without that state",
    note = "call `.state(|| async {{ .. }})` with an initializer that returns it before registering the task",
    note = "a task's `State` is `()`, or `Rc<S>` for the `S` that the initializer returns"
)]
pub trait FromState<S>: Sized {
    #[doc(hidden)]
    fn from_state(state: &Rc<S>) -> Self;
}

impl<S> FromState<S> for () {
    fn from_state(_: &Rc<S>) -> Self {}
}

impl<S> FromState<S> for Rc<S> {
    fn from_state(state: &Rc<S>) -> Self {
        Rc::clone(state)
    }
}
