//! What `RemoteError` keeps of an error, and what it cuts.
//!
//! Belongs here: its texts, its chain, its caps, made here and read from bytes.
//! Does not belong here: how other errors show it.
//! Invariant: the caps are checked on both ways an error comes into being.

use std::error::Error;
use std::fmt;

use crate::error::RemoteError;
use crate::task::{Slot, TaskId, WorkerInfo};

/// An error with as many sources below it as its number says.
#[derive(Debug)]
struct Deep(Option<Box<Deep>>, usize);

impl Deep {
    fn new(sources: usize) -> Self {
        let source = sources
            .checked_sub(1)
            .map(|below| Box::new(Self::new(below)));
        Self(source, sources)
    }
}

impl fmt::Display for Deep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {}", self.1)
    }
}

impl Error for Deep {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|source| source as _)
    }
}

/// An error that names itself as its source.
#[derive(Debug)]
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("endless")
    }
}

impl Error for Endless {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

fn deep(sources: usize) -> Result<(), RemoteError> {
    Err(Deep::new(sources))?
}

fn err(result: Result<(), RemoteError>) -> RemoteError {
    result.err().unwrap_or_else(|| RemoteError::msg("no error"))
}

fn located(backtrace: Option<&str>) -> RemoteError {
    let worker = WorkerInfo::new(Slot::new(0), 3, 4711);
    RemoteError::panic(
        "boom".to_owned(),
        Some("src/resize.rs:12:5".to_owned()),
        backtrace.map(str::to_owned),
    )
    .at(worker, TaskId::new(17))
}

#[test]
fn question_mark_keeps_kind_message_chain_and_its_place() {
    let line = line!() + 2;
    fn fails() -> Result<(), RemoteError> {
        Err::<(), _>(Deep::new(2))?;
        Ok(())
    }
    let error = err(fails());
    assert_eq!(
        error.kind(),
        "actix_multiprocess::error::tests::remote::Deep"
    );
    assert_eq!(error.message(), "level 2");
    assert_eq!(error.chain().collect::<Vec<_>>(), ["level 1", "level 0"]);
    let place = format!("{}:{line}:", file!());
    assert!(
        error.location().is_some_and(|at| at.starts_with(&place)),
        "{:?} is not {place}",
        error.location()
    );
    assert_eq!((error.worker(), error.task()), (None, None));
}

#[test]
fn made_errors_are_located_at_their_caller() {
    let line = line!() + 1;
    let new = RemoteError::new("quota", "none left");
    let msg = RemoteError::msg("odd");
    for (error, line) in [(&new, line), (&msg, line + 1)] {
        let place = format!("{}:{line}:", file!());
        assert!(error.location().is_some_and(|at| at.starts_with(&place)));
    }
    assert_eq!((new.kind(), new.message()), ("quota", "none left"));
    assert_eq!((msg.kind(), msg.message()), ("error", "odd"));
}

#[test]
fn display_is_one_level_and_alternate_the_chain() {
    let error = err(deep(2));
    assert_eq!(error.to_string(), "level 2");
    assert_eq!(format!("{error:#}"), "level 2: level 1: level 0");
    assert_eq!(
        format!("{:?}", located(None)),
        "boom (at src/resize.rs:12:5)"
    );
}

#[test]
fn deref_walks_the_same_chain() {
    let error = err(deep(3));
    let mut texts = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(link) = next {
        texts.push(link.to_string());
        next = link.source();
    }
    assert_eq!(texts, ["level 3", "level 2", "level 1", "level 0"]);
}

#[test]
fn report_tells_everything() {
    assert_eq!(
        located(Some("   0: main\n")).report().to_string(),
        "boom\n  kind: panic\n  at: src/resize.rs:12:5\n  in: worker 0.3 (pid 4711)\n  of: task 17\n  backtrace:\n   0: main"
    );
    let error = RemoteError::panic("boom".to_owned(), None, None);
    assert_eq!(error.report().to_string(), "boom\n  kind: panic");
    let report = err(deep(1)).report().to_string();
    assert!(report.starts_with("level 1\n  caused by: level 0\n  kind: "));
}

#[test]
fn place_is_filled_in_once() {
    let elsewhere = WorkerInfo::new(Slot::new(9), 0, 1);
    let error = located(None).at(elsewhere, TaskId::new(99));
    assert_eq!(error.worker().map(|worker| worker.pid), Some(4711));
    assert_eq!(error.task(), Some(TaskId::new(17)));
}

#[test]
fn sixteen_sources_are_kept_and_more_are_marked() {
    assert_eq!(err(deep(16)).chain().last(), Some("level 0"));
    let error = err(deep(17));
    assert_eq!(error.chain().count(), 16);
    assert_eq!(error.chain().nth(14), Some("level 2"));
    assert_eq!(error.chain().last(), Some("[more sources, cut]"));
    assert_eq!(RemoteError::from(Endless).chain().count(), 16);
}

#[test]
fn long_texts_are_cut_when_made() {
    let error = RemoteError::new("k".repeat(300), "é".repeat(5_000));
    assert!(error.kind().len() <= 256);
    assert!(error.kind().ends_with("kk [cut, 300 bytes in all]"));
    assert!(error.message().len() <= 8 * 1024);
    assert!(error.message().ends_with("é [cut, 10000 bytes in all]"));
    let error = RemoteError::panic(String::new(), None, Some("b".repeat(70_000)));
    assert_eq!(error.backtrace().map(str::len), Some(64 * 1024));
}

#[test]
fn bytes_and_back_lose_nothing() -> Result<(), serde_json::Error> {
    for error in [located(Some("0: main")), err(deep(3)), err(deep(99))] {
        let back: RemoteError = serde_json::from_str(&serde_json::to_string(&error)?)?;
        assert_eq!(back.report().to_string(), error.report().to_string());
        assert_eq!(back.worker(), error.worker());
    }
    Ok(())
}

#[test]
fn caps_hold_for_the_bytes_of_a_hostile_worker() -> Result<(), serde_json::Error> {
    let hostile = serde_json::json!({
        "kind": "k".repeat(100_000),
        "message": "m".repeat(100_000),
        "chain": vec!["s".repeat(100_000); 100],
        "location": "l".repeat(100_000),
        "backtrace": "b".repeat(100_000),
        "worker": null,
        "task": null,
    });
    let error: RemoteError = serde_json::from_str(&hostile.to_string())?;
    assert_eq!(error.kind().len(), 256);
    assert_eq!(error.message().len(), 8 * 1024);
    assert_eq!(error.chain().count(), 16);
    assert!(error.chain().all(|source| source.len() <= 2 * 1024));
    assert_eq!(error.location().map(str::len), Some(1024));
    assert_eq!(error.backtrace().map(str::len), Some(64 * 1024));
    Ok(())
}

#[test]
fn it_is_one_pointer_wide() {
    assert_eq!(size_of::<RemoteError>(), size_of::<usize>());
}
