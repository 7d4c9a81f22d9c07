//! What a client is told: status, headers and body of every error.

use std::{fmt, sync::Arc, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    body::to_bytes,
    error::InternalError,
    http::{
        StatusCode,
        header::{AsHeaderName, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    },
};

use crate::{
    error::{
        CodecError, CodecSide, CodecStep, CodecValue, Crash, CrashReport, LossCause, Rejected,
        RemoteError, Started, TaskError, TimedOut, TimeoutEnd, TimeoutStage,
    },
    pool::MapError,
    task::{NoError, Slot},
};

/// What must not reach a client; every error of these tests has it somewhere.
const SECRET: &str = "/srv/secret";

/// The error of a user's task.
#[derive(Debug)]
struct Teapot;

impl fmt::Display for Teapot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("short and stout")
    }
}

impl ResponseError for Teapot {
    fn status_code(&self) -> StatusCode {
        StatusCode::IM_A_TEAPOT
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code())
            .insert_header(("spout", "here"))
            .body(self.to_string())
    }
}

/// Status, headers and body, as `?` in a handler makes them.
fn answer(error: impl ResponseError + 'static) -> (u16, HeaderMap, String) {
    let status = error.status_code();
    let response = actix_web::Error::from(error).error_response();
    assert_eq!(response.status(), status, "the two must not differ");
    let headers = response.headers().clone();
    let body = actix_rt::System::new().block_on(to_bytes(response.into_body()));
    let body = body.unwrap_or_else(|error| panic!("no body: {error}"));
    let body = String::from_utf8(body.to_vec()).unwrap();
    (status.as_u16(), headers, body)
}

#[track_caller]
fn text(headers: &HeaderMap, name: impl AsHeaderName) -> &str {
    headers.get(name).expect("a header").to_str().unwrap()
}

/// The name of the status is all there is to read, whatever there was to tell.
#[track_caller]
fn says_no_more_than(error: TaskError<Teapot>, status: u16, reason: &str) -> HeaderMap {
    let is_secret = format!("{error:?}").contains(SECRET);
    let is_plain = matches!(&error, TaskError::Cancelled { .. } | TaskError::Rejected(_));
    assert!(is_secret || is_plain, "nothing to hide in {error:?}");
    let (is, headers, body) = answer(error);
    assert_eq!((is, body.as_str()), (status, reason));
    assert_eq!(text(&headers, CONTENT_TYPE), "text/plain; charset=utf-8");
    headers
}

fn full() -> Rejected {
    Rejected::QueueFull {
        waiting: 8,
        limit: 8,
        bytes: 0,
        bytes_limit: 1,
    }
}

#[track_caller]
fn comes_back_after(reason: Rejected, seconds: &str) {
    let error = TaskError::Rejected(reason);
    let headers = says_no_more_than(error, 503, "Service Unavailable");
    assert_eq!(text(&headers, RETRY_AFTER), seconds);
}

#[test]
fn full_queue_is_503_for_a_second() {
    comes_back_after(full(), "1");
}

#[test]
fn closed_pool_is_503_for_a_second() {
    comes_back_after(Rejected::Closed, "1");
}

#[test]
fn open_circuit_is_503_until_the_next_attempt_in_whole_seconds() {
    let unavailable = |millis| Rejected::Unavailable {
        retry_after: Duration::from_millis(millis),
    };
    comes_back_after(unavailable(0), "1");
    comes_back_after(unavailable(1), "1");
    comes_back_after(unavailable(1000), "1");
    comes_back_after(unavailable(1001), "2");
    comes_back_after(unavailable(30_000), "30");
    let never = Rejected::Unavailable {
        retry_after: Duration::MAX,
    };
    comes_back_after(never, &u64::MAX.to_string());
}

#[test]
fn too_large_a_task_is_413() {
    let reason = Rejected::TooLarge { bytes: 2, limit: 1 };
    let headers = says_no_more_than(TaskError::Rejected(reason), 413, "Payload Too Large");
    assert!(!headers.contains_key(RETRY_AFTER));
}

#[test]
fn unknown_task_is_500_and_not_named() {
    let reason = Rejected::UnknownTask {
        name: SECRET,
        near: vec![SECRET.to_owned()],
    };
    is_500(TaskError::Rejected(reason));
}

#[track_caller]
fn is_500(error: TaskError<Teapot>) {
    let headers = says_no_more_than(error, 500, "Internal Server Error");
    assert!(!headers.contains_key(RETRY_AFTER));
}

#[test]
fn panic_is_500_without_its_message() {
    is_500(TaskError::Panicked(RemoteError::panic(
        format!("no {SECRET}"),
        Some("src/main.rs:1:1".to_owned()),
        Some("0: main".to_owned()),
    )));
}

#[test]
fn task_over_its_time_is_504() {
    let timed_out = TimedOut {
        stage: TimeoutStage::Running,
        limit: Duration::from_secs(1),
        elapsed: Duration::from_secs(1),
        ended: TimeoutEnd::Dropped,
    };
    let response = TaskError::<Teapot>::TimedOut(timed_out).error_response();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[test]
fn cancelled_task_is_500() {
    is_500(TaskError::Cancelled { started: true });
    is_500(TaskError::Cancelled { started: false });
}

#[test]
fn lost_worker_is_500_without_its_stderr() {
    let crash = Crash {
        slot: Slot::new(0),
        generation: 3,
        pid: Some(4711),
        code: None,
        signal: Some(11),
        cause: LossCause::Signal,
        detail: Some(SECRET.to_owned()),
        uptime: Duration::from_secs(1),
        vitals: crate::error::Vitals::default(),
        stderr_tail: format!("cannot read {SECRET}"),
    };
    is_500(TaskError::WorkerLost(CrashReport::new(
        Arc::new(crash),
        Started::Yes,
        1,
    )));
}

#[test]
fn value_that_cannot_travel_is_500_without_its_type() {
    is_500(TaskError::Codec(CodecError::new(
        CodecValue::Output,
        CodecSide::Worker,
        CodecStep::Encode,
        SECRET,
        SECRET,
    )));
}

#[test]
fn own_error_makes_its_own_response() {
    let (status, headers, body) = answer(TaskError::Failed(Teapot));
    assert_eq!((status, body.as_str()), (418, "short and stout"));
    assert_eq!(text(&headers, "spout"), "here");
}

#[test]
fn own_error_can_be_given_another_status_where_it_is_met() {
    let gone = |own| InternalError::new(own, StatusCode::GONE);
    let (status, _, body) = answer(TaskError::Failed(Teapot).map_failed(gone));
    assert_eq!((status, body.as_str()), (410, "short and stout"));
    // What the pool says stays as it is.
    let error = TaskError::Rejected(full());
    let (status, headers, _) = answer(error.map_failed(|own: Teapot| gone(own)));
    assert_eq!(status, 503);
    assert_eq!(text(&headers, RETRY_AFTER), "1");
}

#[test]
fn remote_error_is_500_without_a_word_of_it() {
    let error = TaskError::Failed(RemoteError::new(SECRET, SECRET));
    let (status, _, body) = answer(error);
    assert_eq!((status, body.as_str()), (500, "Internal Server Error"));
}

#[test]
fn task_that_cannot_fail_is_an_answer_like_any_other() {
    let error: TaskError<NoError> = TaskError::Rejected(full());
    assert_eq!(answer(error).0, 503);
}

#[test]
fn failed_map_is_what_its_item_is() {
    let of = |error| MapError { index: 7, error };
    let (status, headers, body) = answer(of(TaskError::Failed(Teapot)));
    assert_eq!((status, body.as_str()), (418, "short and stout"));
    assert_eq!(text(&headers, "spout"), "here");
    let (status, headers, _) = answer(of(TaskError::Rejected(full())));
    assert_eq!(status, 503);
    assert_eq!(text(&headers, RETRY_AFTER), "1");
}
