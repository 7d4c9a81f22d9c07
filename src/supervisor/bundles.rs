//! What stands for several tasks of a map, and how it is cut.
//!
//! Belongs here: their input and their reply as the ledger has them. Does not belong here: when they are cut.

use std::sync::Arc;

use crate::{
    sched::{Divide, Work},
    supervisor::reply::Reply,
    wire::Payload,
};

impl Divide for Payload {
    fn split_off(&mut self, at: u32) -> Self {
        self.split_run(at)
    }
}

impl Work for Payload {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Divide for Reply {
    fn split_off(&mut self, at: u32) -> Self {
        match self {
            Self::Map(mapped, index, tasks) => {
                let rest = tasks.saturating_sub(at);
                *tasks = at;
                Self::Map(Arc::clone(mapped), *index + u64::from(at), rest)
            }
            // Those are of one task each.
            Self::Handle(_) | Self::Actor(_) | Self::Nobody => Self::Nobody,
        }
    }
}
