// The worker has a state, of another type than the task asks for.
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
    let _ = WorkerSpec::new()
        .state(|| async { Ok(String::new()) })
        .task::<Resize>()
        .init();
}
