//! What killed a worker, run once more in the foreground: `cargo run --example replay`, then `cargo run --example replay -- FILE`
//! with the file that it names; under a debugger `rust-gdb --args target/debug/examples/replay FILE`.
//!
//! What to look at: `Capture`, by which a pool keeps the inputs of tasks that may have killed their worker, with what is secret
//! taken out; `PoolEvent::Captured`, which names the file; `CapturedTask` and `WorkerSpec::replay`, by which a task runs in this
//! process. Without a file the program kills a worker, starts itself with the file that was kept, and checks that it ends in the
//! same way; if not, the status is 1.
use std::{error::Error, path::PathBuf, process::ExitCode, rc::Rc};

use actix::{Actor, Context, Handler};
use actix_multiprocess::{
    Capture, CapturedTask, Pool, PoolEvent, Subscribe, Task, TaskContext, WorkerSpec,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A formula, for whoever has the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Evaluate {
    formula: String,
    api_key: String,
}

/// The variables of formulas.
struct Variables {
    x: i64,
}

impl Task for Evaluate {
    const NAME: &'static str = "evaluate";
    type Output = i64;
    type Error = String;
    type State = Rc<Variables>;

    async fn run(self, cx: TaskContext<Rc<Variables>>) -> Result<i64, String> {
        let parts: Vec<&str> = self.formula.split(' ').collect();
        let number = |part: &str| match part {
            "x" => Ok(cx.state().x),
            part => part.parse().map_err(|error| format!("{part:?}: {error}")),
        };
        match parts[..] {
            [a, "+", b] => Ok(number(a)? + number(b)?),
            // As a library in C does that was never told of zeros.
            [_, "/", b] if number(b)? == 0 => std::process::abort(),
            [a, "/", b] => Ok(number(a)? / number(b)?),
            _ => Err(format!("no formula: {:?}", self.formula)),
        }
    }
}

fn spec() -> WorkerSpec<Variables> {
    WorkerSpec::new()
        .state(|| async { Ok(Variables { x: 6 }) })
        .task::<Evaluate>()
}

/// Hands on which files are kept.
struct Files(UnboundedSender<PathBuf>);

impl Actor for Files {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Files {
    type Result = ();

    fn handle(&mut self, event: PoolEvent, _: &mut Context<Self>) {
        if let PoolEvent::Captured { path, .. } = event {
            let _ = self.0.send(path);
        }
    }
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let workers = spec().init();
    if let Some(file) = std::env::args_os().nth(1) {
        let kept = CapturedTask::read(file)?;
        eprintln!(
            "{} ({}), attempt {}",
            kept.task(),
            kept.id(),
            kept.attempt()
        );
        eprintln!("{}", kept.report());
        eprintln!("{:#?}", kept.decode::<Evaluate>()?);
        // Set a breakpoint in `Evaluate::run`.
        let result = spec().replay::<Evaluate>(&kept, ()).await?;
        println!("{result:?}");
        return Ok(ExitCode::SUCCESS);
    }

    let dir = std::env::temp_dir().join("actix-multiprocess-replay");
    let capture = Capture::new(dir)
        .keep(4)
        .redact(|evaluate: &mut Evaluate| evaluate.api_key.clear());
    let pool = Pool::builder(workers).processes(1).capture(capture);
    let pool = pool.start().await?;
    let (kept, mut files) = unbounded_channel();
    pool.addr()
        .send(Subscribe(Files(kept).start().recipient()))
        .await?;
    for formula in ["x + 1", "x / 2", "x / 0"] {
        let evaluate = Evaluate {
            formula: formula.to_owned(),
            api_key: "do not tell".to_owned(),
        };
        match pool.submit(evaluate).await {
            Ok(value) => println!("{formula} = {value}"),
            Err(error) => println!("{formula}: {error}"),
        }
    }
    let file = files.recv().await.ok_or("nothing was kept")?;
    println!("kept: {}", file.display());
    pool.stop().await;

    println!("and in the foreground:");
    let own = std::env::current_exe()?;
    let again = std::process::Command::new(own).arg(&file).output()?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    print!("{said}");
    println!("{}", again.status);
    if again.status.success() || !said.contains("x / 0") || said.contains("do not tell") {
        eprintln!("not as it should be");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
