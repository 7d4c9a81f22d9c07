// A task runs on its worker's event loop.
use actix_multiprocess::{NoError, Task, TaskContext};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Resize;

impl Task for Resize {
    const NAME: &'static str = "resize";
    type Output = ();
    type Error = NoError;
    type State = ();

    fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        Ok(())
    }
}

fn main() {}
