//! How much one worker may be sent.
//!
//! Belongs here: the arithmetic of credits and of the exclusive claim. Does not belong here: which worker is picked.
//! Invariant: nothing but what is sent ahead is sent while `used >= limit`, which may have become less than what is used; and
//! while an exclusive task is in flight nothing else is.

/// The credits of one worker connection.
#[derive(Debug)]
pub(crate) struct Credits {
    limit: u32,
    used: u32,
    exclusive: bool,
}

impl Credits {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            used: 0,
            exclusive: false,
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// It may be sent more from now on, or less.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit.max(1);
    }

    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Whether what it has runs alone.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Whether a task of this kind may be sent now.
    pub(crate) fn admits(&self, exclusive: bool) -> bool {
        !self.exclusive
            && if exclusive {
                self.used == 0
            } else {
                self.used < self.limit
            }
    }

    pub(crate) fn take(&mut self, exclusive: bool, tasks: u32) {
        debug_assert!(!(self.exclusive || exclusive && self.used > 0));
        self.used += tasks;
        self.exclusive = exclusive;
    }

    pub(crate) fn give_back(&mut self, tasks: u32) {
        debug_assert!(self.used >= tasks);
        self.used = self.used.saturating_sub(tasks);
        // An exclusive task was alone, so whatever ended was that task.
        self.exclusive = false;
    }
}
