//! Tasks that have come and have not started.
//!
//! Belongs here: their order, and taking one from those that came together. Does not belong here: when one starts.
//! Invariant: they are in the order in which they came, each once.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};

use crate::{
    task::TaskId,
    wire::{Payload, run},
    worker::limits::Limits,
};

/// A task as it came off the wire.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) ticket: u64,
    pub(crate) id: TaskId,
    pub(crate) attempt: u32,
    pub(crate) name: u16,
    pub(crate) payload: Payload,
    pub(crate) limits: Option<Limits>,
    /// Its start is announced, whatever its name.
    pub(crate) announced: bool,
    /// When it came, where that counts.
    pub(crate) came: Option<Instant>,
}

/// Tasks in a row that came together. Ticket and id are those of the first.
#[derive(Debug)]
pub(super) struct Several {
    pub(super) ticket: u64,
    pub(super) id: u64,
    pub(super) attempt: u32,
    pub(super) name: u16,
    pub(super) came: Option<Instant>,
    pub(super) tasks: u32,
    /// How long each may run.
    pub(super) run: Option<Duration>,
    /// A run of their input.
    pub(super) input: Bytes,
}

impl Several {
    /// The first of them has left, whose input had so many bytes.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.input.advance((2 + bytes).min(self.input.len()));
        self.ticket = self.ticket.saturating_add(1);
        self.id = self.id.saturating_add(1);
        self.tasks = self.tasks.saturating_sub(1);
    }

    fn take(&mut self) -> Incoming {
        let input = run::first(&self.input).map_or(&[][..], |(input, _)| input);
        let (bytes, payload) = (input.len(), Payload::copied(input));
        let first = Incoming {
            ticket: self.ticket,
            id: TaskId::new(self.id),
            attempt: self.attempt,
            name: self.name,
            payload,
            limits: self.run.map(|run| Limits {
                until: None,
                run: Some(run),
            }),
            announced: false,
            came: self.came,
        };
        self.skip(bytes);
        first
    }
}

#[derive(Debug)]
enum Place {
    One(Incoming),
    Several(Several),
}

/// What is to be known of the next task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) ticket: u64,
    pub(super) name: u16,
    pub(super) limits: Option<Limits>,
    pub(super) announced: bool,
}

/// The tasks that wait in a worker.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    places: VecDeque<Place>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn push(&mut self, task: Incoming) {
        self.places.push_back(Place::One(task));
    }

    /// At least one.
    pub(super) fn push_several(&mut self, tasks: Several) {
        self.places.push_back(Place::Several(tasks));
    }

    pub(super) fn contains(&self, ticket: u64) -> bool {
        self.places.iter().any(|place| match place {
            Place::One(task) => task.ticket == ticket,
            Place::Several(tasks) => {
                let all = tasks.ticket..tasks.ticket.saturating_add(u64::from(tasks.tasks));
                all.contains(&ticket)
            }
        })
    }

    pub(super) fn next(&self) -> Option<Next> {
        self.places.front().map(|place| match place {
            Place::One(task) => Next {
                ticket: task.ticket,
                name: task.name,
                limits: task.limits,
                announced: task.announced,
            },
            Place::Several(tasks) => Next {
                ticket: tasks.ticket,
                name: tasks.name,
                limits: None,
                announced: false,
            },
        })
    }

    /// Those that are next, if they came together.
    pub(super) fn several(&mut self) -> Option<&mut Several> {
        match self.places.front_mut() {
            Some(Place::Several(tasks)) => Some(tasks),
            _ => None,
        }
    }

    /// Those that came together have all left.
    pub(super) fn tidy(&mut self) {
        if matches!(self.places.front(), Some(Place::Several(tasks)) if tasks.tasks == 0) {
            self.places.pop_front();
        }
    }

    pub(super) fn take(&mut self) -> Option<Incoming> {
        let task = match self.places.pop_front()? {
            Place::One(task) => task,
            Place::Several(mut tasks) => {
                let task = tasks.take();
                if tasks.tasks > 0 {
                    self.places.push_front(Place::Several(tasks));
                }
                task
            }
        };
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Run;

    #[test]
    fn those_that_came_together_leave_one_by_one() {
        let mut run = Run::default();
        for value in [&b"a"[..], b"", b"bcd"] {
            run.push(|| (), value);
        }
        let input = run
            .seal(|(), _, bytes| Bytes::copy_from_slice(bytes))
            .unwrap();
        let one = |ticket| Incoming {
            ticket,
            id: TaskId::new(ticket + 100),
            attempt: 1,
            name: 0,
            payload: Payload::copied(b"one"),
            limits: None,
            announced: false,
            came: None,
        };
        let mut waiting = Waiting::default();
        waiting.push(one(4));
        waiting.push_several(Several {
            ticket: 5,
            id: 50,
            attempt: 2,
            name: 3,
            came: None,
            tasks: 3,
            run: None,
            input,
        });
        waiting.push(one(8));
        for ticket in 0..12 {
            assert_eq!(waiting.contains(ticket), (4..=8).contains(&ticket));
        }
        assert!(waiting.several().is_none());
        let mut found = Vec::new();
        while let Some(next) = waiting.next() {
            let task = waiting.take().unwrap();
            assert_eq!((next.ticket, next.name), (task.ticket, task.name));
            assert!(!waiting.contains(task.ticket));
            found.push((task.ticket, task.id.get(), task.payload.body().to_vec()));
        }
        let expected = [
            (4, 104, &b"one"[..]),
            (5, 50, b"a"),
            (6, 51, b""),
            (7, 52, b"bcd"),
            (8, 108, b"one"),
        ];
        assert_eq!(
            found,
            expected.map(|(ticket, id, body)| (ticket, id, body.to_vec()))
        );
        assert!(waiting.is_empty());
    }
}
