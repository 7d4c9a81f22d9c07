//! Values by ids that are counted up.
//!
//! Belongs here: where values lie. Does not belong here: what they are.
//! Invariants: no value is moved while it is here, so no insertion takes longer than others; a page is here as long as
//! one of its values is.
//!
//! One hash table of whole tasks would be moved each time that it grows, for hundreds of milliseconds from a million
//! tasks on and under the lock of the core, and would never give its memory back.

use std::fmt;

use crate::task::IdMap;

/// How many ids in a row share a page. A task that stays while its neighbours leave keeps the page.
const PAGE: u64 = 16;

/// Room for so many pages is never given back.
const KEPT: usize = 1024;

type Page<T> = Vec<Option<T>>;

/// A table of values by ids, in pages.
pub(super) struct Table<T> {
    pages: IdMap<u64, Numbered<T>>,
    len: usize,
    /// The last page that became empty: most are filled and emptied at the same pace.
    spare: Option<Page<T>>,
}

struct Numbered<T> {
    values: Page<T>,
    live: u64,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self {
            pages: IdMap::default(),
            len: 0,
            spare: None,
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn insert(&mut self, id: u64, value: T) {
        let page = self.pages.entry(id / PAGE).or_insert_with(|| Numbered {
            values: (self.spare.take()).unwrap_or_else(|| (0..PAGE).map(|_| None).collect()),
            live: 0,
        });
        if let Some(place) = page.values.get_mut(place(id))
            && place.replace(value).is_none()
        {
            page.live += 1;
            self.len += 1;
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&T> {
        let page = self.pages.get(&(id / PAGE))?;
        page.values.get(place(id))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let page = self.pages.get_mut(&(id / PAGE))?;
        page.values.get_mut(place(id))?.as_mut()
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let number = id / PAGE;
        let page = self.pages.get_mut(&number)?;
        let value = page.values.get_mut(place(id))?.take()?;
        page.live -= 1;
        self.len -= 1;
        if page.live == 0 {
            self.spare = self.pages.remove(&number).map(|page| page.values);
            // What a flood has grown would keep its size for good. Halving twice leaves room to grow again.
            let room = self.pages.capacity();
            if room > KEPT && self.pages.len() < room / 8 {
                self.pages.shrink_to(room / 4);
            }
        }
        Some(value)
    }
}

/// The place of an id in its page.
fn place(id: u64) -> usize {
    // Below the length of a page, which fits.
    (id % PAGE) as usize
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.len)
            .field("pages", &self.pages.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_where_they_were_put_and_pages_go_with_their_last_value() {
        let mut table = Table::new();
        for id in 1..=1000 {
            table.insert(id, id * 2);
        }
        assert_eq!(table.len(), 1000);
        for id in (1..=1000).filter(|id| id % 100 != 0) {
            assert_eq!(table.remove(id), Some(id * 2));
            assert_eq!(table.remove(id), None);
        }
        assert_eq!((table.len(), table.pages.len()), (10, 10));
        *table.get_mut(500).unwrap() += 1;
        assert_eq!((table.get(500), table.get(501)), (Some(&1001), None));
        for id in (100..=1000).step_by(100) {
            table.remove(id);
        }
        assert!(table.is_empty() && table.pages.is_empty());
        for id in 0..1_000_000 {
            table.insert(id, id);
        }
        for id in 0..1_000_000 {
            table.remove(id);
        }
        assert!(table.pages.is_empty() && table.pages.capacity() < 2 * KEPT);
        // A page that was used before is as good as a new one.
        table.insert(5000, 1);
        assert_eq!((table.get(5001), table.get(5000)), (None, Some(&1)));
    }
}
