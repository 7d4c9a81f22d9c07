//! What the host and the worker program have in common: the task, and what its worker has to bring.

use std::rc::Rc;

use actix_multiprocess::{RemoteError, Task, TaskContext};
use serde::{Deserialize, Serialize};

/// What only the worker program contains: here a function, elsewhere a C library that the host had better not load.
pub(crate) struct Engine {
    pub(crate) count_words: fn(&str) -> usize,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct CountWords(pub(crate) String);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) words: usize,
    /// The file that the worker's process runs.
    pub(crate) program: String,
}

impl Task for CountWords {
    const NAME: &'static str = "count_words";
    // Raised whenever the bytes get another meaning: a worker program that was built before that is then refused.
    const VERSION: u32 = 1;
    type Output = Counted;
    type Error = RemoteError;
    type State = Rc<Engine>;

    async fn run(self, cx: TaskContext<Rc<Engine>>) -> Result<Counted, RemoteError> {
        let Self(text) = self;
        Ok(Counted {
            words: (cx.state().count_words)(&text),
            program: std::env::current_exe()?.display().to_string(),
        })
    }
}
