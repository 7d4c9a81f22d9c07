//! A value that could not be turned into bytes, or bytes that could not be turned into a value.
//!
//! Belongs here: which value, where, which type, why. Does not belong here: any format's own error type.
//! Invariant: a type name is at most 256 bytes, a message at most 2 KiB, also when they came from another process.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

const MAX_TYPE_NAME: usize = 256;
const MAX_MESSAGE: usize = 2048;

/// Which value of a task could not be encoded or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CodecValue {
    /// The task itself.
    Input,
    /// What the task returned.
    Output,
    /// The error the task returned.
    Error,
    /// The arguments of the worker's state initializer.
    InitArgs,
}

impl fmt::Display for CodecValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Error => "error",
            Self::InitArgs => "init arguments",
        })
    }
}

/// In which process a value could not be encoded or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CodecSide {
    /// The process that owns the pool.
    Host,
    /// One of the pool's processes.
    Worker,
}

impl fmt::Display for CodecSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Worker => "worker",
        })
    }
}

/// What was being done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CodecStep {
    /// Turning it into bytes.
    Encode,
    /// Making it from bytes.
    Decode,
}

impl fmt::Display for CodecStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encode => "encode",
            Self::Decode => "decode",
        })
    }
}

/// A value of a task that could not be encoded or decoded: which one, in which process, of which type, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecError {
    value: CodecValue,
    side: CodecSide,
    step: CodecStep,
    #[serde(deserialize_with = "short::<MAX_TYPE_NAME, _>")]
    type_name: String,
    #[serde(deserialize_with = "short::<MAX_MESSAGE, _>")]
    message: String,
    attribute_hint: bool,
}

impl CodecError {
    pub(crate) fn new(
        value: CodecValue,
        side: CodecSide,
        step: CodecStep,
        type_name: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            value,
            side,
            step,
            type_name: cut(type_name, MAX_TYPE_NAME).to_owned(),
            message: cut_owned(message.into(), MAX_MESSAGE),
            attribute_hint: false,
        }
    }

    /// Says that the reason looks like a serde attribute that only self-describing formats know.
    pub(crate) fn with_attribute_hint(mut self) -> Self {
        self.attribute_hint = true;
        self
    }

    /// Returns which value it was.
    #[must_use]
    pub fn value(&self) -> CodecValue {
        self.value
    }

    /// Returns in which process it was.
    #[must_use]
    pub fn side(&self) -> CodecSide {
        self.side
    }

    /// Returns what was being done with it.
    #[must_use]
    pub fn step(&self) -> CodecStep {
        self.step
    }

    /// Returns the name of its Rust type, of at most 256 bytes.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Returns the reason alone, of at most 2 KiB.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns whether the task surely did not run: what failed comes before its start.
    #[must_use]
    pub fn never_ran(&self) -> bool {
        matches!(self.value, CodecValue::Input | CodecValue::InitArgs)
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            value, side, step, ..
        } = self;
        let (name, message) = (&self.type_name, &self.message);
        write!(
            f,
            "cannot {step} the {value} of type `{name}` at the {side}: {message}"
        )?;
        if self.attribute_hint {
            f.write_str(
                "; postcard is not self-describing: #[serde(flatten)], #[serde(untagged)], #[serde(tag = ..)], \
                 #[serde(skip_serializing_if = ..)] and serde_json::Value do not work, wrap the value in Json<T>",
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for CodecError {}

/// Returns as much of `text` as fits in `cap` bytes, in whole characters.
pub(crate) fn cut(text: &str, cap: usize) -> &str {
    let mut ends = (0..=cap.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

fn cut_owned(mut text: String, cap: usize) -> String {
    text.truncate(cut(&text, cap).len());
    text.shrink_to_fit();
    text
}

fn short<'de, const CAP: usize, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| cut_owned(text, CAP))
}
