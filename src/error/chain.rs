//! The texts of an error and of its sources.
//!
//! Belongs here: taking a chain of sources apart, capping it, reading it from the wire, walking it again as errors.
//! Does not belong here: what else is known about an error (`remote`).
//! Invariant: at most 16 sources are ever held, the mark that more were cut included.

use std::error::Error as StdError;
use std::fmt;
use std::iter;

use serde::{Deserializer, de};

use super::text::Capped;

const MAX_SOURCES: usize = 16;
const SOURCES_CUT: &str = "[more sources, cut]";

/// The text of one source.
pub(super) type Source = Capped<{ 2 * 1024 }>;

/// One text of the chain, as the error that `Deref` and `source` hand out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Link<T> {
    text: T,
    source: Option<Box<Link<Source>>>,
}

impl<T> Link<T> {
    pub(super) fn new(text: T, sources: Vec<Source>) -> Self {
        let source = sources
            .into_iter()
            .rev()
            .fold(None, |source, text| Some(Box::new(Link { text, source })));
        Self { text, source }
    }
}

impl<const MAX: usize> Link<Capped<MAX>> {
    pub(super) fn text(&self) -> &str {
        self.text.as_str()
    }

    /// The texts of its sources, the outermost first, without its own.
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        iter::successors(self.source.as_deref(), |link| link.source.as_deref()).map(Link::text)
    }
}

impl<const MAX: usize> fmt::Display for Link<Capped<MAX>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.as_str())
    }
}

impl<const MAX: usize> fmt::Debug for Link<Capped<MAX>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text.as_str(), f)
    }
}

impl<const MAX: usize> StdError for Link<Capped<MAX>> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|link| link as _)
    }
}

/// Takes the texts of an error's sources, the outermost first.
pub(super) fn of(error: &(dyn StdError + 'static)) -> Vec<Source> {
    // One more than fits is asked for, to see that the rest is cut; an endless chain is never walked to its end.
    let sources = iter::successors(error.source(), |source| (**source).source())
        .take(MAX_SOURCES + 1)
        .map(|source| Source::of(&source))
        .collect();
    held_to_cap(sources)
}

/// Holds the chain to its cap, the mark counted as one of it.
fn held_to_cap(mut sources: Vec<Source>) -> Vec<Source> {
    if sources.len() > MAX_SOURCES {
        sources.truncate(MAX_SOURCES - 1);
        sources.push(Source::new(SOURCES_CUT));
    }
    sources
}

/// Reads the whole list and keeps what fits: a frame of empty texts would otherwise grow 24-fold in memory.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Source>, D::Error> {
    struct Sources;

    impl<'de> de::Visitor<'de> for Sources {
        type Value = Vec<Source>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the texts of the sources")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut sources = Vec::new();
            while let Some(source) = seq.next_element()? {
                if sources.len() <= MAX_SOURCES {
                    sources.push(source);
                }
            }
            Ok(held_to_cap(sources))
        }
    }

    deserializer.deserialize_seq(Sources)
}
