// A task that asks for a state is registered in a worker that has none.
use std::rc::Rc;

use actix_multiprocess::{NoError, Task, TaskContext, WorkerSpec};
use serde::{Deserialize, Serialize};

struct App;

#[derive(Serialize, Deserialize)]
struct Resize;

impl Task for Resize {
    const NAME: &'static str = "resize";
    type Output = ();
    type Error = NoError;
    type State = Rc<App>;

    async fn run(self, _: TaskContext<Rc<App>>) -> Result<(), NoError> {
        Ok(())
    }
}

fn main() {
    let _ = WorkerSpec::new().task::<Resize>().init();
}
