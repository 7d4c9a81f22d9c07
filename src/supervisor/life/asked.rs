//! What a life is told before its worker serves.
//!
//! Belongs here: which commands end the wait for a start, or the start. Does not belong here: how it ends then.

use tokio::sync::mpsc::UnboundedReceiver;

use crate::supervisor::session::Command;

/// Waits until a worker that has yet to be started is to be none any more, or to wait no longer. Returns whether it is to
/// start.
pub(super) async fn told(commands: &mut UnboundedReceiver<Command>) -> bool {
    loop {
        match commands.recv().await {
            Some(Command::Begin) => return true,
            // There is nothing to kill, and nothing that a proxy's panic could have harmed.
            Some(Command::Kill { .. } | Command::Fail) => {}
            Some(Command::End { .. } | Command::Retire(_)) | None => return false,
        }
    }
}

/// Waits until a worker that is being started is to end.
pub(super) async fn ended(commands: &mut UnboundedReceiver<Command>) -> Option<Command> {
    loop {
        match commands.recv().await {
            Some(Command::Begin) => {}
            command => return command,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// Taken for the end that a pool wants, either would leave its slot without a worker for good.
    #[test]
    fn neither_a_kill_nor_a_panicked_proxy_ends_a_slot_that_waits() {
        let (commands, mut receiver) = unbounded_channel();
        let mut told = pin!(told(&mut receiver));
        let mut context = Context::from_waker(Waker::noop());
        for command in [Command::Fail, Command::Kill { at_once: true }] {
            commands.send(command).unwrap();
            assert!(told.as_mut().poll(&mut context).is_pending());
        }
        commands.send(Command::End { terminate: false }).unwrap();
        assert_eq!(told.as_mut().poll(&mut context), Poll::Ready(false));
    }
}
