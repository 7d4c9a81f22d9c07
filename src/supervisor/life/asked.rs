//! What a life is told before its worker serves.
//!
//! Belongs here: which commands end the wait for a start, or the start. Does not belong here: how it ends then.

use std::{pin::pin, time::Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    supervisor::{
        control::{Control, Turn},
        session::Command,
    },
    task::Slot,
};

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

/// Waits for the turn of a worker that was to start at `asked`. Returns none if it is to start no more.
pub(super) async fn turn<'a>(
    control: &'a Control,
    slot: Slot,
    asked: Instant,
    commands: &mut UnboundedReceiver<Command>,
) -> Option<Turn<'a>> {
    let mut turn = pin!(control.turn(slot, asked));
    loop {
        tokio::select! {
            // What it is told before it has its turn it is told while it is being started, if it need not wait.
            biased;
            turn = &mut turn => return Some(turn),
            starts = told(commands) => if !starts {
                return None;
            },
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
    use std::task::{Context, Poll, Waker};

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::observe::RetireReason;

    const SLOT: Slot = Slot::new(0);

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

    /// Or to end a pool of many would take as long as to start them.
    #[test]
    fn who_waits_for_a_turn_ends_at_once() {
        let control = Control::any(3, 2);
        let mut context = Context::from_waker(Waker::noop());
        let (commands, mut receiver) = unbounded_channel();
        let mut turns = Vec::new();
        for _ in 0..2 {
            let mut turn = pin!(turn(&control, SLOT, Instant::now(), &mut receiver));
            match turn.as_mut().poll(&mut context) {
                Poll::Ready(Some(turn)) => turns.push(turn),
                other => panic!("{other:?}"),
            }
        }
        let mut turn = pin!(turn(&control, SLOT, Instant::now(), &mut receiver));
        for command in [
            Command::Begin,
            Command::Fail,
            Command::Kill { at_once: true },
        ] {
            commands.send(command).unwrap();
            assert!(turn.as_mut().poll(&mut context).is_pending());
        }
        commands
            .send(Command::Retire(RetireReason::Resize))
            .unwrap();
        assert!(matches!(turn.poll(&mut context), Poll::Ready(None)));
    }
}
