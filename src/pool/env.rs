//! Knobs from the environment of this process.
//!
//! Belongs here: looking at it. Does not belong here: what its variables mean.

use crate::{config::PoolConfig, error::ConfigError};

impl PoolConfig {
    /// Takes the knobs from variables such as `POOL_PROCESSES` for the prefix `POOL`; what is not set has its default.
    ///
    /// The names are those of the fields in capitals; `POOL_RESTART_BUDGET` and `POOL_STDIO_STDERR` are those of the
    /// values inside. An empty variable counts as not set. The prefix should be the program's own: whatever else begins
    /// with it is taken for a misspelt knob.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Environment`] names a variable that is no knob, or whose value is none of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use actix_multiprocess::PoolConfig;
    ///
    /// let config = PoolConfig::from_env("MY_POOL")?;
    /// # Ok::<(), actix_multiprocess::ConfigError>(())
    /// ```
    pub fn from_env(prefix: &str) -> Result<Self, ConfigError> {
        Self::from_variables(prefix, std::env::vars_os())
    }
}
