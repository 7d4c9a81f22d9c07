//! The memory of all workers together.
//!
//! Belongs here: what each has, and who ends when that is too much. Does not belong here: measuring, ending.
//! Invariant: one at a time: until a worker that was picked has gone, no other is.

use crate::{
    sched::{Burden, Seat},
    supervisor::PoolCore,
};

impl PoolCore {
    /// A worker has so many bytes in memory. If that makes too many in all, another one, or itself, is told to end.
    pub(crate) fn weigh(&self, seat: Seat, bytes: usize) {
        let most = self.config.knobs.memory_total;
        let mut state = self.lock();
        if let Some(lane) = state.lanes.get_mut(seat.index()) {
            lane.resident = bytes;
        }
        let Some(most) = most else { return };
        let total: usize = state.lanes.iter().map(|lane| lane.resident).sum();
        if total < most || state.lanes.iter().any(|lane| lane.too_much.is_some()) {
            return;
        }
        let count = state.lanes.iter().filter(|lane| lane.resident > 0).count();
        // Of those who have half of their share of it at least: the end of a small one would be of little help.
        let large = (0..).zip(&state.lanes);
        let large = large.filter(|(_, lane)| lane.resident.saturating_mul(2 * count) >= total);
        let seats = large.map(|(index, _)| Seat::new(index));
        let burdens = seats.filter_map(|seat| Some((state.ledger.burden(seat)?, seat)));
        let Some((_, seat)) = burdens.max_by_key(|(burden, _)| rank(*burden)) else {
            return;
        };
        if let Some(lane) = state.lanes.get_mut(seat.index()) {
            lane.too_much = Some(total);
        }
        state.raise(seat);
    }

    /// How many bytes all workers had when this one was picked to end for that.
    pub(crate) fn too_much(&self, seat: Seat) -> Option<usize> {
        self.lock().lanes.get(seat.index())?.too_much
    }
}

/// Who ends first has the most: idle ones, then those whose tasks all run again, then the others; and of these the newest.
fn rank(burden: Burden) -> (bool, bool, u64) {
    let oldest = burden.oldest.map_or(0, |id| id.get());
    (burden.oldest.is_none(), burden.runs_again, oldest)
}
