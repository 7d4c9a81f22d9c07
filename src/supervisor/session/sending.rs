//! What a ready worker is sent on its data connection: tasks.
//!
//! Belongs here: frames that go, and writing them. Does not belong here: which tasks; what comes back.
//! Invariant: tasks go in the order of their tickets.

use std::{
    io::IoSlice,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    sched::{Dispatch, Ticket},
    supervisor::session::Running,
    wire::{FrameWriter, HostFrame, Payload, Run, TimeLeft, run},
};

/// The first of tasks that share a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct TaskRun {
    ticket: Ticket,
    id: u64,
    attempt: u32,
    name: u16,
}

impl TaskRun {
    /// What a task would share a frame by, if it may.
    fn of(task: &Dispatch<&Payload>, name: u16) -> Option<Self> {
        let alone = task.left.is_some()
            || !task.payload.attachments().is_empty()
            || !Run::<Self>::takes(task.payload.len());
        (!alone).then(|| Self {
            ticket: task.ticket,
            id: task.id.get(),
            attempt: task.attempt,
            name,
        })
    }

    /// Whether another one is the next behind so many.
    fn goes_on(&self, next: &Self, tasks: u32) -> bool {
        let tasks = u64::from(tasks);
        next.ticket == self.ticket + tasks
            && next.id == self.id + tasks
            && next.attempt == self.attempt
            && next.name == self.name
    }
}

/// Queues what has been collected.
fn seal(tasks: &mut Run<TaskRun>, writer: &mut FrameWriter<HostFrame>) -> Result<(), String> {
    let sealed = tasks.seal(|head, tasks, bytes| {
        let TaskRun {
            ticket,
            id,
            attempt,
            name,
        } = head;
        if tasks > 1 {
            let header = HostFrame::Tasks {
                ticket,
                id,
                attempt,
                name,
                tasks,
                run: None,
            };
            return writer.frame_with(&header, bytes);
        }
        let header = HostFrame::Task {
            ticket,
            id,
            attempt,
            name,
            attachments: Vec::new(),
            rest: 0,
            left: None,
        };
        let body = run::first(bytes).map(|(body, _)| body);
        writer.frame_with(&header, body.unwrap_or_default())
    });
    sealed.unwrap_or(Ok(()))
}

impl Running<'_> {
    pub(super) fn take_outgoing(&mut self) {
        let (session, writer, run) = (&self.session, &mut self.writer, &mut self.run);
        let (mut broken, mut sent) = (false, 0);
        self.work = session
            .core
            .take_outgoing(session.attached.seat, &mut self.outgoing, |task| {
                let index = session.indexes.get(usize::from(task.name)).copied();
                let name = index.unwrap_or(u16::MAX);
                sent += task.count as usize;
                let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                if task.count > 1 {
                    broken |= seal(run, writer).is_err();
                    let header = HostFrame::Tasks {
                        ticket: task.ticket,
                        id: task.id.get(),
                        attempt: task.attempt,
                        name,
                        tasks: task.count,
                        run: task.left.and_then(|(_, run)| run).map(micros),
                    };
                    broken |= writer.frame_with(&header, task.payload.body()).is_err();
                    return;
                }
                if let Some(head) = TaskRun::of(&task, name) {
                    let bytes = task.payload.len();
                    let goes_on = |(first, tasks): (&TaskRun, u32)| first.goes_on(&head, tasks);
                    if !(run.has_room(bytes) && run.head().is_none_or(goes_on)) {
                        broken |= seal(run, writer).is_err();
                    }
                    run.push(|| head, task.payload.body());
                    return;
                }
                broken |= seal(run, writer).is_err();
                let attachments = lengths(task.payload);
                let ticket = task.ticket;
                let left = task.left.map(|(total, run)| TimeLeft {
                    total: total.map(micros),
                    run: run.map(micros),
                });
                let queued = writer.value(
                    |rest| HostFrame::Task {
                        ticket,
                        id: task.id.get(),
                        attempt: task.attempt,
                        name,
                        attachments,
                        rest,
                        left,
                    },
                    HostFrame::Part { ticket },
                    task.payload,
                );
                broken |= queued.is_err();
            });
        broken |= seal(run, writer).is_err();
        self.data_broken |= broken;
        let now = Instant::now();
        if sent > 0 {
            self.with_worker += sent;
            self.pulse.beats(now);
            self.memory.works(now);
        }
        for ending in self.outgoing.cancels.drain(..) {
            let ticket = ending.ticket;
            // It may have ended between the two.
            if self
                .session
                .core
                .ending(self.session.attached.seat, ticket)
                .is_some()
            {
                self.ladder.begin(ending, now);
            }
        }
        let control = std::mem::take(&mut self.outgoing.control);
        for frame in &control {
            self.say(frame);
        }
    }

    pub(super) fn write(&mut self, cx: &mut Context<'_>) {
        while !self.data_broken && !self.writer.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            let Ok(filled) = self.writer.slices(&mut slices) else {
                self.data_broken = true;
                return;
            };
            let slices = slices.get(..filled).unwrap_or_default();
            match self.session.data.poll_write(cx, slices) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.writer.advance(bytes),
                // Its end is seen by reading, after what it has written.
                Poll::Ready(_) => self.data_broken = true,
                Poll::Pending => return,
            }
        }
    }
}

/// Lengths of attachments, as frames carry them.
fn lengths(payload: &Payload) -> Vec<u32> {
    payload
        .attachments()
        .iter()
        .map(|attachment| u32::try_from(attachment.len()).unwrap_or(u32::MAX))
        .collect()
}
