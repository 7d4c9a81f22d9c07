//! The inputs of tasks that may have killed their worker are kept, and run again from there.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    rc::Rc,
    time::SystemTime,
};

use crate::common::{self, event};
use actix_multiprocess::{
    Blob, Capture, CapturedTask, ConfigError, NoError, Pool, PoolBuilder, PoolEvent, ReplayError,
    Restart, StartError, Submit, Task, TaskContext, TaskId, WorkerSpec, worker_entry,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;

fn spec() -> WorkerSpec<String, String> {
    WorkerSpec::new()
        .state_with(|greeting: String| async move { Ok(greeting) })
        .task::<Render>()
        .task::<Login>()
}

worker_entry!(spec(), String);

/// Takes a picture, and dies of some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Render {
    page: u32,
    picture: Blob,
}

impl Render {
    fn new(page: u32, bytes: usize) -> Self {
        Self {
            page,
            picture: Blob::from(vec![7; bytes]),
        }
    }
}

impl Task for Render {
    const NAME: &'static str = "render/page";
    const VERSION: u32 = 3;
    type Output = String;
    type Error = u32;
    type State = Rc<String>;

    async fn run(self, cx: TaskContext<Rc<String>>) -> Result<String, u32> {
        match self.page {
            0 => return Err(404),
            // Not where it is run again.
            13 if cx.state().as_str() == "worker" => std::process::abort(),
            _ => {}
        }
        let (page, bytes) = (self.page, self.picture.len());
        Ok(format!("{} {page} {bytes} {}", cx.state(), cx.attempt()))
    }
}

/// Ends its worker, and has something to hide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Login {
    user: String,
    password: String,
}

impl Task for Login {
    const NAME: &'static str = "login";
    type Output = ();
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        std::process::abort()
    }
}

fn login() -> Login {
    Login {
        user: "somebody".to_owned(),
        password: "secret".to_owned(),
    }
}

fn builder(capture: Capture) -> PoolBuilder {
    Pool::builder(workers())
        .init_args("worker".to_owned())
        .processes(1)
        .restart(Restart::default().budget(None))
        .capture(capture)
}

fn captured(event: &PoolEvent) -> Option<Result<(&'static str, TaskId, PathBuf), String>> {
    match event {
        PoolEvent::Captured { task, id, path } => Some(Ok((task, *id, path.clone()))),
        PoolEvent::CaptureFailed { message, .. } => Some(Err(message.clone())),
        _ => None,
    }
}

async fn next(events: &mut UnboundedReceiver<PoolEvent>) -> Result<PathBuf, String> {
    let captured = event(events, captured).await;
    captured.map(|(_, _, path)| path)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = (fs::read_dir(dir).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn a_suspect_is_kept_for_its_user_alone_and_runs_again() {
    common::run(async {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("not/there");
        let began = SystemTime::now();
        let pool = builder(Capture::new(&dir)).start().await.unwrap();
        let mut events = common::events(&pool).await;
        // Large enough to travel beside what serde sees.
        let render = Render::new(13, 5000);
        assert!(pool.submit(render.clone()).await.is_err());
        let (task, id, path) = event(&mut events, captured).await.unwrap();
        assert_eq!(task, "render/page");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir)), (0o600, 0o700));
        assert_eq!(files(&dir), std::slice::from_ref(&path));
        let kept = CapturedTask::read(&path).unwrap();
        assert_eq!((kept.task(), kept.version()), ("render/page", 3));
        assert_eq!((kept.id(), kept.attempt()), (id, 1));
        assert!(
            kept.report().contains("killed by SIGABRT"),
            "{}",
            kept.report()
        );
        assert!(
            kept.report().contains("\"render/page\""),
            "{}",
            kept.report()
        );
        let second = std::time::Duration::from_secs(1);
        assert!(kept.taken_at() > began - second && kept.taken_at() < SystemTime::now() + second);
        assert_eq!(kept.decode::<Render>().unwrap(), render);
        // In this process, with another state.
        let again = spec().replay::<Render>(&kept, "debugger".to_owned()).await;
        assert_eq!(again.unwrap(), Ok("debugger 13 5000 1".to_owned()));
        let other = spec().replay::<Login>(&kept, String::new()).await;
        assert!(
            matches!(other, Err(ReplayError::OtherTask { .. })),
            "{other:?}"
        );
        let nobodys = WorkerSpec::new().replay::<Render>(&kept, ()).await;
        assert!(
            matches!(
                nobodys,
                Err(ReplayError::Unregistered {
                    task: "render/page"
                })
            ),
            "{nobodys:?}"
        );
    });
}

#[test]
fn each_suspect_is_kept_whether_or_not_it_runs_again() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(Capture::new(dir.path())).start().await.unwrap();
        let mut events = common::events(&pool).await;
        let render = Submit::new(Render::new(13, 10)).idempotent();
        assert!(pool.submit(render).await.is_err());
        // It has killed two.
        let kept = [
            next(&mut events).await.unwrap(),
            next(&mut events).await.unwrap(),
        ];
        let attempts = kept.map(|path| CapturedTask::read(path).unwrap().attempt());
        assert_eq!(attempts, [1, 2]);
    });
}

#[test]
fn no_more_are_kept_than_are_to_be_and_none_that_is_too_large() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        // Somebody else's.
        for name in ["notes.task", "000000000000001-picture.png"] {
            fs::write(dir.join(name), "").unwrap();
        }
        let pool = builder(Capture::new(dir).keep(3).max_bytes(1000));
        let pool = pool.start().await.unwrap();
        let mut events = common::events(&pool).await;
        let mut paths = Vec::new();
        for bytes in [10, 20, 30, 40, 2000] {
            assert!(pool.submit(Render::new(13, bytes)).await.is_err());
            match next(&mut events).await {
                Ok(path) => paths.push(path),
                Err(message) => {
                    assert_eq!(bytes, 2000);
                    assert!(
                        message.contains("over the 1000 that are to be kept"),
                        "{message}"
                    );
                }
            }
        }
        let mut expected = paths.split_off(1);
        expected.extend(["000000000000001-picture.png", "notes.task"].map(|name| dir.join(name)));
        expected.sort();
        assert_eq!(files(dir), expected);
    });
}

#[test]
fn what_is_to_be_hidden_is_in_no_file() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let hide = |login: &mut Login| login.password = "***".to_owned();
        let capture = Capture::new(dir.path()).redact(hide).skip::<Render>();
        let pool = builder(capture).start().await.unwrap();
        let mut events = common::events(&pool).await;
        // Of this one nothing is said at all.
        assert!(pool.submit(Render::new(13, 10)).await.is_err());
        assert!(pool.submit(login()).await.is_err());
        let path = next(&mut events).await.unwrap();
        assert_eq!(files(dir.path()), std::slice::from_ref(&path));
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|six| six == b"secret"));
        let kept: Login = CapturedTask::read(&path).unwrap().decode().unwrap();
        assert_eq!(
            (kept.user.as_str(), kept.password.as_str()),
            ("somebody", "***")
        );
        // Nor is it if hiding it fails.
        let dir = tempfile::tempdir().unwrap();
        let capture = Capture::new(dir.path()).redact(|_: &mut Login| panic!("cannot hide it"));
        let pool = builder(capture).start().await.unwrap();
        let mut events = common::events(&pool).await;
        assert!(pool.submit(login()).await.is_err());
        let message = next(&mut events).await.unwrap_err();
        assert!(message.contains("cannot hide it"), "{message}");
        assert!(files(dir.path()).is_empty());
    });
}

#[test]
fn whoever_is_no_suspect_is_not_kept() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(Capture::new(dir.path())).start().await.unwrap();
        assert_eq!(
            pool.submit(Render::new(0, 1))
                .await
                .unwrap_err()
                .to_string(),
            "404"
        );
        assert!(pool.submit(Render::new(1, 1)).await.is_ok());
        pool.stop().await;
        assert!(files(dir.path()).is_empty());
    });
}

#[test]
fn a_place_where_nothing_can_be_kept_is_refused() {
    common::run(async {
        let refused = async |capture: Capture| match builder(capture).start().await {
            Err(StartError::Config(error)) => error,
            other => panic!("{other:?}"),
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        match refused(Capture::new(file.path().join("below"))).await {
            ConfigError::Contradiction { message } => {
                assert!(message.contains("cannot be made"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        let dir = std::env::temp_dir();
        let zero = refused(Capture::new(&dir).keep(0)).await;
        assert_eq!(
            zero,
            ConfigError::Zero {
                knob: "capture.keep"
            }
        );
        let zero = refused(Capture::new(&dir).max_bytes(0)).await;
        assert_eq!(
            zero,
            ConfigError::Zero {
                knob: "capture.max_bytes"
            }
        );
    });
}
