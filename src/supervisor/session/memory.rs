//! What a ready worker has in memory.
//!
//! Belongs here: when it is looked at, and what follows for this worker. Does not belong here: reading it; all workers together.
//! Invariants: before a worker that has ended a task is sent the next, it was looked at; one that is idle is replaced, never
//! killed.

use std::time::{Duration, Instant};

use crate::{
    error::Size,
    observe::RetireReason,
    supervisor::{
        core::Guilt,
        meter::Meter,
        oom::{OomCounters, OomWatch},
        session::{Running, Session, Why},
    },
};

/// How often a worker that has tasks is looked at where there are limits.
const INTERVAL: Duration = Duration::from_millis(250);

/// One worker's memory.
#[derive(Debug)]
pub(super) struct Memory {
    meter: Meter,
    watch: Option<OomWatch>,
    /// Its control group is known, not only supposed to be its host's.
    known: bool,
    /// There are limits.
    limited: bool,
    /// It has more than `memory_soft`, and is sent nothing more.
    over: bool,
    /// When it is looked at next.
    next: Option<Instant>,
    /// What it had when it was looked at last.
    pub(super) resident: Option<usize>,
}

impl Memory {
    pub(super) fn new(session: &Session<'_>) -> Self {
        let limited = session.core.config.weighs_memory();
        let pid = session.worker.pid;
        let meter = Meter::new(pid, limited);
        let (config, counters) = (&session.core.config, &session.core.oom_counters);
        // A command in front of it may have moved it. Otherwise it is looked at when it has run for a while: whoever has looked at
        // /proc/<pid> makes both that and the end of the process take longer, together a tenth of what a short life takes.
        let known = !config.launcher.knows_pids();
        let watch = if known {
            OomWatch::of(pid, counters)
        } else {
            OomWatch::of_child(counters)
        };
        Self {
            resident: if limited { meter.resident() } else { None },
            meter,
            watch,
            known,
            limited,
            over: false,
            next: None,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The worker has tasks.
    pub(super) fn works(&mut self, now: Instant) {
        if self.limited && self.next.is_none() {
            self.next = Some(now + INTERVAL);
        }
    }

    /// It has none.
    pub(super) fn rests(&mut self) {
        self.next = None;
    }

    /// It has given a sign of life, which is as often as it is looked at where there are no limits.
    fn lives(&mut self, pid: u32, counters: &OomCounters) {
        self.resident = self.meter.resident().or(self.resident);
        if !std::mem::replace(&mut self.known, true)
            && let Some(found) = OomWatch::of(pid, counters)
            && !self
                .watch
                .as_ref()
                .is_some_and(|watch| watch.is_same(&found))
        {
            self.watch = Some(found);
        } else if let Some(watch) = &mut self.watch {
            watch.lives();
        }
    }
}

impl Running<'_> {
    /// The worker has given a sign of life.
    pub(super) fn it_lives(&mut self) {
        let (pid, core) = (self.session.worker.pid, self.session.core);
        self.memory.lives(pid, &core.oom_counters);
    }

    /// Looks at the worker if it is time to.
    pub(super) fn weigh_if_due(&mut self, now: Instant) {
        if self.memory.next.take_if(|at| now >= *at).is_some() {
            self.memory.next = Some(now + INTERVAL);
            self.weigh();
            self.mind_the_limit();
        }
    }

    /// Looks at the worker, and sends it no more tasks if it has too much.
    pub(super) fn weigh(&mut self) {
        if !self.memory.limited {
            return;
        }
        let Some(resident) = self.memory.meter.resident() else {
            return;
        };
        self.memory.resident = Some(resident);
        let (core, seat) = (self.session.core, self.session.attached.seat);
        core.weigh(seat, resident);
        let soft = core.config.knobs.memory_soft;
        if soft.is_some_and(|most| resident >= most) && self.is_replaceable() {
            core.retire_seat(seat);
            self.memory.over = true;
        }
    }

    /// Ends or replaces a worker that has more than it may, by itself or together with the others.
    pub(super) fn mind_the_limit(&mut self) {
        if !self.memory.limited || self.is_killed() {
            return;
        }
        let (core, seat) = (self.session.core, self.session.attached.seat);
        let hard = core.config.knobs.memory_hard;
        let resident = self.memory.resident.unwrap_or(0);
        let (guilt, detail) = if let Some(most) = hard.filter(|most| resident >= *most) {
            let (resident, most) = (Size(resident), Size(most));
            let detail = format!("it had {resident} in memory, over `memory_hard` ({most})");
            (Guilt::Somebody, detail)
        } else if let Some(total) = core.too_much(seat) {
            let (resident, total) = (Size(resident), Size(total));
            let most = Size(core.config.knobs.memory_total.unwrap_or(0));
            let detail = format!(
                "all workers together had {total} in memory, over `memory_total` ({most}), this one {resident} of that"
            );
            (Guilt::Perhaps, detail)
        } else {
            if self.memory.over {
                self.replace_for_memory();
            }
            return;
        };
        if core.in_flight(seat) == 0 {
            self.replace_for_memory();
        } else {
            self.kill(Why::Memory { guilt, detail });
        }
    }

    /// The worker of one task ends with that; one for suspects ends with each.
    fn is_replaceable(&self) -> bool {
        let session = &self.session;
        self.why.is_none() && !session.core.config.one_life && !session.slot.is_quarantine()
    }

    /// Sends it no more tasks, and has another take its place: as long as it has tasks that comes beside it; without any it makes
    /// room first.
    fn replace_for_memory(&mut self) {
        if !self.is_replaceable() {
            return;
        }
        let (core, seat) = (self.session.core, self.session.attached.seat);
        core.retire_seat(seat);
        if core.in_flight(seat) == 0 {
            self.retire(RetireReason::Memory);
        } else if self.asked != Some(RetireReason::Memory) {
            self.ask_for_replacement(RetireReason::Memory);
        }
    }

    /// What shows that the kernel has killed the worker, if something does.
    pub(super) fn killed_by_kernel(&self) -> Option<String> {
        let by_signal = self.exit.and_then(|exit| exit.signal);
        if self.why.is_some() || by_signal != Some(crate::error::signal::KILL) {
            return None;
        }
        let watch = self.memory.watch.as_ref()?;
        watch.ended(&self.session.core.oom_counters)
    }
}
