//! From the order in which files finish to the order in which they were found.

use std::collections::BTreeMap;

/// Holds back what finished before its turn.
#[derive(Debug, Default)]
pub(crate) struct Order {
    next: u64,
    early: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

impl Order {
    /// About how many bytes are held back.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in what belongs at `index`: nothing at all for a file that has no line.
    pub(crate) fn finish(&mut self, index: u64, line: Vec<u8>) {
        self.bytes += cost(&line);
        self.early.insert(index, line);
    }

    /// Gives out the line whose turn it is, if it has come in.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let line = self.early.remove(&self.next)?;
        self.next += 1;
        self.bytes -= cost(&line);
        Some(line)
    }
}

/// What the map needs for an entry is not nothing beside a short line.
fn cost(line: &Vec<u8>) -> usize {
    line.capacity() + 64
}
