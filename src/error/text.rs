//! How the error texts are built: capped strings, stderr tails, durations, hints.
//!
//! Belongs here: wording and cutting that more than one error shares.
//! Does not belong here: an error, or anything that decides what happened.
//! Invariant: a text that a worker sent takes no more memory than its cap, and never looks like a line of our own.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How much of the last stderr line a one-line message shows, in characters.
const LAST_LINE_CHARS: usize = 200;

/// A text of at most `MAX` bytes, the mark that says it was cut included.
///
/// The cap holds however it is made, also from the bytes of a hostile worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capped<const MAX: usize>(String);

impl<const MAX: usize> Capped<MAX> {
    pub(super) fn new(text: &str) -> Self {
        if text.len() <= MAX {
            Self(text.to_owned())
        } else {
            Self(cut(text, text.len(), MAX))
        }
    }

    /// Takes the text of a value without ever holding more than the cap of it.
    ///
    /// Not `to_string`, which panics when a user's `Display` returns an error.
    pub(super) fn of(value: &dyn fmt::Display) -> Self {
        let mut room = Room {
            kept: String::new(),
            seen: 0,
            max: MAX,
        };
        // What was written before a failing `Display` gave up is still the best text there is.
        let _ = write!(room, "{value}");
        if room.seen <= MAX {
            Self(room.kept)
        } else {
            Self(cut(&room.kept, room.seen, MAX))
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Serialize for Capped<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Capped<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<const MAX: usize>;

        impl<const MAX: usize> de::Visitor<'_> for Text<MAX> {
            type Value = Capped<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            // The text is cut while it still lies in the frame, so the part over the cap is never copied.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Capped::new(text))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Keeps what fits and counts the rest.
struct Room {
    kept: String,
    seen: usize,
    max: usize,
}

impl fmt::Write for Room {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Once one piece was shortened nothing after it may be kept, or a shorter piece would close the gap.
        let free = match self.seen {
            seen if seen == self.kept.len() => self.max - self.kept.len(),
            _ => 0,
        };
        self.seen = self.seen.saturating_add(text.len());
        self.kept.push_str(prefix(text, free));
        Ok(())
    }
}

/// Shortens `text` to `max` bytes, with a mark that names the length it had.
fn cut(text: &str, full_len: usize, max: usize) -> String {
    let mark = format!(" [cut, {full_len} bytes in all]");
    let mut short = prefix(text, max.saturating_sub(mark.len())).to_owned();
    short.push_str(prefix(&mark, max));
    short
}

/// The longest prefix of at most `max` bytes that ends at a char boundary.
fn prefix(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Drops the digits under a millisecond, which no reader of a message wants.
pub(super) fn brief(time: Duration) -> Duration {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        time
    } else {
        Duration::from_millis(millis)
    }
}

/// Appends the stderr of a worker: its last telling line, or under `{:#}` all that was kept.
pub(super) fn write_stderr(f: &mut fmt::Formatter<'_>, tail: &str) -> fmt::Result {
    if !f.alternate() {
        return match last_line(tail) {
            Some(line) => write!(f, "; stderr: {line:?}"),
            None => Ok(()),
        };
    }
    if tail.trim().is_empty() {
        return Ok(());
    }
    f.write_str("; stderr:")?;
    // The bar and the escapes keep a worker from forging a line of the host's log or driving its terminal.
    for line in tail.trim_end().lines() {
        f.write_str("\n  | ")?;
        for c in line.chars() {
            if c.is_control() && c != '\t' {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
    }
    Ok(())
}

fn last_line(tail: &str) -> Option<String> {
    let line = tail
        .lines()
        .map(str::trim)
        // Each panic ends with these, and they tell nothing about this one.
        .filter(|line| {
            !line.starts_with("note: run with `RUST_BACKTRACE")
                && !line.starts_with("note: Some details are omitted")
        })
        .rfind(|line| !line.is_empty())?;
    let mut shown: String = line.chars().take(LAST_LINE_CHARS).collect();
    if shown.len() < line.len() {
        shown.push_str("...");
    }
    Some(shown)
}

/// Appends the names that were perhaps meant.
pub(super) fn write_near(f: &mut fmt::Formatter<'_>, near: &[String]) -> fmt::Result {
    for (i, name) in near.iter().enumerate() {
        f.write_str(if i == 0 { "; did you mean " } else { " or " })?;
        write!(f, "`{name}`")?;
    }
    if near.is_empty() {
        Ok(())
    } else {
        f.write_char('?')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_text_fits_its_cap_mark_included() {
        let text = "é".repeat(100);
        let capped = Capped::<51>::new(&text);
        assert_eq!(
            capped.as_str(),
            format!("{} [cut, 200 bytes in all]", "é".repeat(13))
        );
        assert!(capped.as_str().len() <= 51);
        assert_eq!(Capped::<51>::new(capped.as_str()), capped);
    }

    #[test]
    fn text_of_a_value_is_cut_like_a_string() {
        struct Pieces;
        impl fmt::Display for Pieces {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for _ in 0..50 {
                    f.write_str("éé")?;
                }
                f.write_str("a")
            }
        }
        assert_eq!(
            Capped::<51>::of(&Pieces),
            Capped::<51>::new(&format!("{}a", "é".repeat(100)))
        );
        assert_eq!(Capped::<201>::of(&Pieces).as_str().len(), 201);
    }

    #[test]
    fn failing_display_does_not_panic() {
        struct Fails;
        impl fmt::Display for Fails {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("so far")?;
                Err(fmt::Error)
            }
        }
        assert_eq!(Capped::<51>::of(&Fails).as_str(), "so far");
    }

    #[test]
    fn last_line_is_the_panic_and_not_its_note() {
        let tail = "thread 'main' panicked at src/main.rs:3:5:\nboom\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        assert_eq!(last_line(tail).as_deref(), Some("boom"));
        assert_eq!(last_line(" \n\n"), None);
    }

    #[test]
    fn stderr_cannot_forge_a_line_or_an_escape() {
        struct Tail;
        impl fmt::Display for Tail {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_stderr(f, "one\r\n\u{1b}[31mtwo\rthree\n\n")
            }
        }
        assert_eq!(
            format!("{Tail:#}"),
            "; stderr:\n  | one\n  | \\u{1b}[31mtwo\\rthree"
        );
        assert_eq!(format!("{Tail}"), r#"; stderr: "\u{1b}[31mtwo\rthree""#);
    }
}
