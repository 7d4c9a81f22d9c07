//! Where the output of workers goes.
//!
//! Belongs here: the choices. Does not belong here: the streams.

use serde::{Deserialize, Serialize};

use crate::config::{
    or::Auto,
    text::{Form as _, Stream},
};

/// Where an output stream of a worker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Output {
    /// To the host's own stream, directly.
    Inherit,
    /// Nowhere.
    Null,
    /// Line by line to whoever has subscribed to the pool, and to the log: [`PoolEvent::Output`](crate::PoolEvent::Output). Of
    /// stderr the last 8 KiB are kept for reports.
    Lines,
    /// Through a pipe to the host, which writes it on to its own stream. Of stderr the last 8 KiB are kept for reports.
    Relay,
}

/// The standard streams of workers. Standard input is always `/dev/null`.
///
/// With serde its fields are `stdout` and `stderr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Stdio {
    #[serde(with = "Auto::<Stream>")]
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Output,
}

impl Default for Stdio {
    fn default() -> Self {
        Self {
            stdout: None,
            stderr: Output::Relay,
        }
    }
}

impl Stdio {
    /// Sets where standard output goes. Default: [`Output::Inherit`].
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = Some(output);
        self
    }

    /// Sets where standard error goes. Default: [`Output::Relay`].
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }
}
