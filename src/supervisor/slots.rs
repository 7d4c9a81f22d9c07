//! What is known of each slot and of the workers in it.
//!
//! Belongs here: which lives a slot has, and what each has come to. Does not belong here: deciding by it.
//! Invariant: a life is in its slot from the decision to start it until its end was heard of; life numbers are never
//! given twice in a slot, generations never to two processes.

use std::time::Instant;

use crate::{
    observe::{ExitStatus, RetireReason, SlotState},
    task::Slot,
};

/// One worker, from the decision to start it.
#[derive(Debug, Clone)]
pub(crate) struct LifeRecord {
    pub(crate) life: u32,
    pub(crate) generation: u32,
    /// Its process was about to be started, at least.
    pub(crate) begun: bool,
    pub(crate) state: SlotState,
    pub(crate) pid: Option<u32>,
    /// Why it is to be replaced.
    pub(crate) reason: Option<RetireReason>,
    /// It takes no more tasks, and nobody follows it for its end.
    pub(crate) leaving: bool,
}

/// One slot as the host sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlotRecord {
    /// In the order of their beginning.
    pub(crate) lives: Vec<LifeRecord>,
    next_life: u32,
    next_generation: u32,
    pub(crate) restarts: u64,
    /// How the last worker ended, while there is none after it.
    pub(crate) exit: Option<ExitStatus>,
    /// When the worker before this one was lost.
    pub(crate) lost_at: Option<Instant>,
}

impl SlotRecord {
    /// Another life is to begin. Returns its number.
    pub(crate) fn launch(&mut self) -> u32 {
        let life = self.next_life;
        self.next_life += 1;
        self.lives.push(LifeRecord {
            life,
            generation: self.next_generation,
            begun: false,
            state: SlotState::Waiting,
            pid: None,
            reason: None,
            leaving: false,
        });
        life
    }

    /// A life starts its process. Returns the generation that this is.
    pub(crate) fn begin(&mut self, life: u32) -> u32 {
        let generation = self.next_generation;
        self.next_generation += 1;
        self.exit = None;
        if let Some(record) = self.life_mut(life) {
            record.generation = generation;
            record.begun = true;
            record.state = SlotState::Starting;
        }
        generation
    }

    pub(crate) fn life(&self, life: u32) -> Option<&LifeRecord> {
        self.lives.iter().find(|record| record.life == life)
    }

    pub(crate) fn life_mut(&mut self, life: u32) -> Option<&mut LifeRecord> {
        self.lives.iter_mut().find(|record| record.life == life)
    }

    /// A life has ended and been heard of.
    pub(crate) fn end(&mut self, life: u32) {
        self.lives.retain(|record| record.life != life);
    }

    /// Whether one of its workers takes tasks. One that has started all it may does not, though it waits for its successor.
    pub(crate) fn is_ready(&self) -> bool {
        self.lives.iter().any(|record| {
            record.state == SlotState::Ready && record.reason != Some(RetireReason::MaxTasks)
        })
    }

    /// The worker that the slot is known by: the one that takes tasks, else the youngest that there is a process of, else
    /// the one that is to come.
    pub(crate) fn present(&self) -> Option<&LifeRecord> {
        let youngest =
            |wanted: fn(&LifeRecord) -> bool| self.lives.iter().rev().find(|record| wanted(record));
        youngest(|record| record.state == SlotState::Ready)
            .or_else(|| youngest(|record| record.pid.is_some()))
            .or_else(|| self.lives.last())
    }

    /// How many processes were in the slot before its present or next one.
    pub(crate) fn generation(&self) -> u32 {
        self.present()
            .map_or(self.next_generation, |record| record.generation)
    }

    /// The processes that finish what they have beside the present one.
    pub(crate) fn retiring(&self) -> Vec<u32> {
        let present = self.present().map(|record| record.life);
        self.lives
            .iter()
            .filter(|record| Some(record.life) != present)
            .filter(|record| matches!(record.state, SlotState::Retiring | SlotState::Ending))
            .filter_map(|record| record.pid)
            .collect()
    }
}

/// The slots with an index from one on, to another's.
pub(crate) fn slots(from: usize, to: usize) -> impl Iterator<Item = Slot> {
    (from..to).filter_map(|index| u32::try_from(index).ok().map(Slot::new))
}
