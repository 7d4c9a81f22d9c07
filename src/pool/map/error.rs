//! The failure of a map.
//!
//! Belongs here: which item it was. Does not belong here: how a task fails.

use std::fmt;

use crate::error::{RemoteError, TaskError};

/// Which item of a map failed, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MapError<E> {
    /// The place of the item in the input, counted from 0.
    pub index: usize,
    /// Its failure.
    pub error: TaskError<E>,
}

impl<E: fmt::Display> fmt::Display for MapError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {} of the map failed: ", self.index)?;
        fmt::Display::fmt(&self.error, f)
    }
}

// As for `TaskError`: `RemoteError` is no `Error`, so that `?` can make one of any, and this crate's own.
impl std::error::Error for MapError<RemoteError> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for MapError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}
