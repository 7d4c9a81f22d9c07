//! All outputs of a map.
//!
//! Belongs here: putting them in the order of their input. Does not belong here: where they come from.
//! Invariant: those at the front that are there are in their place; no more than what comes before its turn is kept twice.

use std::collections::VecDeque;

/// So much room is made beforehand for as many outputs as the input says that it has, in bytes: it may say what it likes.
const ROOM: usize = 16 * 1024 * 1024;

/// Outputs in the order of their input, whatever the order in which they come.
#[derive(Debug)]
pub(super) struct Gathered<O> {
    outputs: Vec<O>,
    /// Those behind the first that is missing.
    early: VecDeque<Option<O>>,
}

impl<O> Gathered<O> {
    /// For probably so many.
    pub(super) fn new(probably: usize) -> Self {
        let most = ROOM / size_of::<O>().max(1);
        Self {
            outputs: Vec::with_capacity(probably.min(most)),
            early: VecDeque::new(),
        }
    }

    /// Each index comes once.
    #[inline]
    pub(super) fn put(&mut self, index: u64, output: O) {
        if index == self.outputs.len() as u64 && self.early.is_empty() {
            self.outputs.push(output);
        } else {
            self.put_early(index, output);
        }
    }

    fn put_early(&mut self, index: u64, output: O) {
        let place = index.saturating_sub(self.outputs.len() as u64);
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if self.early.len() <= place {
            self.early.resize_with(place + 1, || None);
        }
        if let Some(early) = self.early.get_mut(place) {
            *early = Some(output);
        }
        while let Some(output) = self.early.front_mut().and_then(Option::take) {
            self.early.pop_front();
            self.outputs.push(output);
        }
    }

    pub(super) fn into_vec(self) -> Vec<O> {
        self.outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_in_the_order_of_their_input() {
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 0, 4, 2, 3]] {
            let mut gathered = Gathered::new(usize::MAX);
            for index in order {
                gathered.put(index, index * 10);
            }
            assert_eq!(gathered.early.len(), 0, "{order:?}");
            assert_eq!(gathered.into_vec(), [0, 10, 20, 30, 40], "{order:?}");
        }
        let gathered = Gathered::<[u8; 1024]>::new(usize::MAX);
        assert!(gathered.outputs.capacity() * 1024 <= ROOM);
    }
}
