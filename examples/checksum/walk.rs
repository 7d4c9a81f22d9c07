//! The paths of all regular files below some folders, in byte order.
//!
//! Memory is bounded by the depth of the tree and not by its size: of a folder at most `batch` names are held, and a
//! larger one is read as often as it takes. Nothing recurses.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    ffi::OsString,
    fs, io,
};

/// A path, or what cannot be read and why.
pub(crate) type Found = Result<OsString, (OsString, io::Error)>;

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: OsString,
    folder: bool,
}

impl Entry {
    /// A folder's name sorts as what its files begin with, slash included: `a.c` comes before `a/b`.
    fn key(&self) -> impl Iterator<Item = u8> {
        let slash = self.folder.then_some(b'/');
        self.name.as_encoded_bytes().iter().copied().chain(slash)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A folder that is being walked.
#[derive(Debug)]
struct Level {
    /// With a slash at its end.
    path: OsString,
    /// Names to leave out.
    skip: &'static [&'static str],
    /// The next names, the first one last.
    batch: Vec<Entry>,
    /// The greatest name of the batch, if there are more after it.
    more: Option<Entry>,
}

impl Level {
    /// Reads the first names of a folder.
    fn open(
        path: OsString,
        skip: &'static [&'static str],
        batch: usize,
    ) -> Result<Self, (OsString, io::Error)> {
        let mut level = Self {
            path,
            skip,
            batch: Vec::new(),
            more: None,
        };
        match level.read(None, batch) {
            Ok(()) => Ok(level),
            Err(error) => Err((level.path, error)),
        }
    }

    /// Reads the first `limit` names after `after`.
    fn read(&mut self, after: Option<&Entry>, limit: usize) -> io::Result<()> {
        let mut first = BinaryHeap::new();
        let mut more = false;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let (file, folder) = match entry.file_type() {
                Ok(kind) => (kind.is_file(), kind.is_dir()),
                // Taken for a file: who opens it will see what is wrong with it.
                Err(_) => (true, false),
            };
            let entry = Entry {
                name: entry.file_name(),
                folder,
            };
            if !(file || folder)
                || self.skip.iter().any(|name| entry.name == *name)
                || after.is_some_and(|after| entry <= *after)
            {
                continue;
            }
            if first.len() < limit {
                first.push(entry);
            } else {
                more = true;
                if let Some(mut greatest) = first.peek_mut()
                    && entry < *greatest
                {
                    *greatest = entry;
                }
            }
        }
        self.more = first.peek().filter(|_| more).cloned();
        self.batch = first.into_vec();
        self.batch.sort_unstable_by(|a, b| b.cmp(a));
        Ok(())
    }
}

/// One root and all below it.
#[derive(Debug)]
struct Walk {
    root: Option<OsString>,
    skip: &'static [&'static str],
    batch: usize,
    levels: Vec<Level>,
}

impl Walk {
    fn start(&mut self, root: OsString) -> Option<Found> {
        match fs::symlink_metadata(&root) {
            Ok(metadata) if metadata.is_dir() => self.enter(with_slash(root), self.skip),
            Ok(metadata) => metadata.is_file().then_some(Ok(root)),
            Err(error) => Some(Err((root, error))),
        }
    }

    fn enter(&mut self, path: OsString, skip: &'static [&'static str]) -> Option<Found> {
        match Level::open(path, skip, self.batch) {
            Ok(level) => {
                self.levels.push(level);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if let Some(root) = self.root.take()
            && let Some(found) = self.start(root)
        {
            return Some(found);
        }
        loop {
            let level = self.levels.last_mut()?;
            if let Some(entry) = level.batch.pop() {
                let mut path = level.path.clone();
                path.push(&entry.name);
                if !entry.folder {
                    return Some(Ok(path));
                }
                if let Some(found) = self.enter(with_slash(path), &[]) {
                    return Some(found);
                }
            } else if let Some(last) = level.more.take() {
                if let Err(error) = level.read(Some(&last), self.batch) {
                    return Some(Err((level.path.clone(), error)));
                }
            } else {
                self.levels.pop();
            }
        }
    }
}

fn with_slash(mut path: OsString) -> OsString {
    if !path.as_encoded_bytes().ends_with(b"/") {
        path.push("/");
    }
    path
}

/// The walks of several roots as one.
#[derive(Debug)]
pub(crate) struct Walks {
    heads: BinaryHeap<Reverse<Head>>,
}

/// A walk and the least it can still give: no root is read before its turn has come.
#[derive(Debug)]
struct Head {
    least: OsString,
    /// Whether `least` is a file, to be given out.
    found: bool,
    walk: Walk,
}

impl Walks {
    /// Names in `skip` are left out directly below a root; `batch` names of a folder are held at once.
    pub(crate) fn new(roots: Vec<OsString>, skip: &'static [&'static str], batch: usize) -> Self {
        let heads = roots
            .into_iter()
            .map(|root| {
                let least = root.clone();
                let walk = Walk {
                    root: Some(root),
                    skip,
                    batch,
                    levels: Vec::new(),
                };
                Reverse(Head {
                    least,
                    found: false,
                    walk,
                })
            })
            .collect();
        Self { heads }
    }
}

impl Iterator for Walks {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let Reverse(mut head) = self.heads.pop()?;
            if head.found {
                let path = head.least.clone();
                head.found = false;
                self.heads.push(Reverse(head));
                return Some(Ok(path));
            }
            match head.walk.next() {
                None => {}
                Some(Ok(path)) => {
                    (head.least, head.found) = (path, true);
                    self.heads.push(Reverse(head));
                }
                Some(error) => {
                    self.heads.push(Reverse(head));
                    return Some(error);
                }
            }
        }
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.least
            .as_encoded_bytes()
            .cmp(other.least.as_encoded_bytes())
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
