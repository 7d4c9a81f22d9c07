//! All outputs of a map.
//!
//! Belongs here: putting them in the order of their input. Does not belong here: where they come from.
//! Invariant: those at the front that are there are in their place; no more than what comes before its turn is kept twice.

use std::collections::BTreeMap;

/// So much room is made beforehand for as many outputs as the input says that it has, in bytes: it may say what it likes.
const ROOM: usize = 16 * 1024 * 1024;

/// Outputs in the order of their input, whatever the order in which they come.
#[derive(Debug)]
pub(super) struct Gathered<O> {
    outputs: Vec<O>,
    /// Those behind the first that is missing: what is in a row, by the index of its first.
    early: BTreeMap<u64, Vec<O>>,
}

impl<O> Gathered<O> {
    /// For probably so many.
    pub(super) fn new(probably: usize) -> Self {
        let most = ROOM / size_of::<O>().max(1);
        Self {
            outputs: Vec::with_capacity(probably.min(most)),
            early: BTreeMap::new(),
        }
    }

    /// Each index comes once.
    pub(super) fn put(&mut self, index: u64, output: O) {
        self.place(index).push(output);
        self.join();
    }

    /// The same for several in a row, up to the first that there is an error for.
    pub(super) fn put_run<E>(
        &mut self,
        index: u64,
        run: impl Iterator<Item = Result<O, E>>,
    ) -> Result<(), (u64, E)> {
        let place = self.place(index);
        let before = place.len();
        for output in run {
            match output {
                Ok(output) => place.push(output),
                Err(error) => return Err((index + (place.len() - before) as u64, error)),
            }
        }
        self.join();
        Ok(())
    }

    /// Where the output of this index is put behind what is there.
    fn place(&mut self, index: u64) -> &mut Vec<O> {
        if index == self.outputs.len() as u64 {
            return &mut self.outputs;
        }
        let before = self.early.range(..index).next_back();
        let behind = before.filter(|(first, row)| *first + row.len() as u64 == index);
        let first = behind.map_or(index, |(first, _)| *first);
        self.early.entry(first).or_default()
    }

    /// Those whose turn has come.
    fn join(&mut self) {
        while let Some(first) = self.early.first_entry()
            && *first.key() == self.outputs.len() as u64
        {
            let mut row = first.remove();
            self.outputs.append(&mut row);
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
            assert!(gathered.early.is_empty(), "{order:?}");
            assert_eq!(gathered.into_vec(), [0, 10, 20, 30, 40], "{order:?}");
        }
        let mut gathered = Gathered::new(0);
        let run = |from: u64, to: u64| (from..to).map(Ok::<_, ()>);
        gathered.put_run(4, run(4, 7)).unwrap();
        gathered.put(7, 7);
        gathered.put_run(2, run(2, 4)).unwrap();
        gathered.put_run(8, run(8, 12)).unwrap();
        assert_eq!((gathered.outputs.len(), gathered.early.len()), (0, 2));
        gathered.put_run(0, run(0, 2)).unwrap();
        let bad = [Ok(12), Ok(13), Err("bad"), Ok(15)].into_iter();
        assert_eq!(gathered.put_run(12, bad), Err((14, "bad")));
        assert_eq!(gathered.into_vec(), Vec::from_iter(0..14));
        let gathered = Gathered::<[u8; 1024]>::new(usize::MAX);
        assert!(gathered.outputs.capacity() * 1024 <= ROOM);
    }
}
