//! What the honest workers can do, and the hostile one says it can.

use actix_multiprocess::{Blob, NoError, Task, TaskContext, WorkerSpec};
use serde::{Deserialize, Serialize};

/// Kept by the hostile worker, returned by an honest one.
#[derive(Serialize, Deserialize)]
pub(crate) struct Hold(pub(crate) u64);

/// Returned by both.
#[derive(Serialize, Deserialize)]
pub(crate) struct Echo(pub(crate) u64);

/// Fills sockets.
#[derive(Serialize, Deserialize)]
pub(crate) struct Load(pub(crate) Blob);

#[derive(Serialize, Deserialize)]
pub(crate) struct Nest;

/// A type without a bottom.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Nested(pub(crate) Vec<Nested>);

#[derive(Serialize, Deserialize)]
pub(crate) struct Units;

/// Their wire names in order: an index of a name is an index of this.
pub(crate) const NAMES: [&str; 5] = [Echo::NAME, Hold::NAME, Load::NAME, Nest::NAME, Units::NAME];

macro_rules! task {
    ($type:ty, $name:literal, $output:ty, $run:expr) => {
        impl Task for $type {
            const NAME: &'static str = $name;
            type Output = $output;
            type Error = NoError;
            type State = ();

            async fn run(self, _: TaskContext<()>) -> Result<$output, NoError> {
                let run: fn(Self) -> $output = $run;
                Ok(run(self))
            }
        }
    };
}

task!(Echo, "echo", u64, |task| task.0);
task!(Hold, "hold", u64, |task| task.0);
task!(Load, "load", u64, |task| task.0.len() as u64);
task!(Nest, "nest", Nested, |_| Nested(vec![Nested(Vec::new())]));
task!(Units, "units", Vec<()>, |_| vec![(); 3]);

pub(crate) fn spec() -> WorkerSpec {
    WorkerSpec::new()
        .task::<Echo>()
        .task::<Hold>()
        .task::<Load>()
        .task::<Nest>()
        .task::<Units>()
}
