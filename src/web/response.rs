//! `ResponseError` for the errors that `?` meets in a handler.
//!
//! Belongs here: the status, headers and body for each variant. Does not belong here: the errors' own words, which are for
//! logs.

use std::time::Duration;

use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    http::{
        StatusCode,
        header::{HeaderValue, RETRY_AFTER},
    },
};

use crate::{
    error::{Rejected, RemoteError, TaskError},
    pool::MapError,
    task::NoError,
};

/// With feature `actix-web`, `?` in a handler makes a response of it.
///
/// | error | status |
/// |---|---|
/// | [`Failed`](TaskError::Failed) | what the task's own error says: its status, headers and body |
/// | [`Rejected`](TaskError::Rejected), `QueueFull`, `Unavailable` or `Closed` | 503 with `Retry-After` in seconds |
/// | `Rejected`, `TooLarge` | 413 |
/// | [`TimedOut`](TaskError::TimedOut) | 504 |
/// | all others | 500 |
///
/// The body is the name of the status. What happened stays in the host, with the response, where a logging middleware
/// finds it ([`HttpResponse::error`]).
///
/// The task's own error decides for itself: it implements [`ResponseError`], by default with status 500 and its `Display`
/// text as the body. [`RemoteError`] is a 500 without a word. An error that cannot implement it, because it is somebody
/// else's, or should mean something else in this place, is converted by [`TaskError::map_failed`], for instance to
/// [`InternalError`](actix_web::error::InternalError), and the pool's own errors keep their status.
///
/// # Examples
///
/// ```
/// use actix_multiprocess::{Pool, Task, TaskContext};
/// use actix_web::{ResponseError, Result, error::InternalError, http::StatusCode, web};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Parse(String);
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct NotANumber;
///
/// impl std::fmt::Display for NotANumber {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("this is no number")
///     }
/// }
///
/// impl ResponseError for NotANumber {
///     fn status_code(&self) -> StatusCode {
///         StatusCode::UNPROCESSABLE_ENTITY
///     }
/// }
///
/// impl Task for Parse {
///     const NAME: &'static str = "parse";
///     type Output = u64;
///     type Error = NotANumber;
///     type State = ();
///     async fn run(self, _: TaskContext<()>) -> Result<u64, NotANumber> {
///         self.0.parse().map_err(|_| NotANumber)
///     }
/// }
///
/// // 422 for what is no number, 503 when the queue is full, 500 when the worker is lost.
/// async fn parse(pool: web::Data<Pool>, body: String) -> Result<String> {
///     Ok(pool.submit(Parse(body)).await?.to_string())
/// }
///
/// // 404 instead of 422; all the rest as above.
/// async fn find(pool: web::Data<Pool>, body: String) -> Result<String> {
///     let number = pool.submit(Parse(body)).await;
///     let number = number.map_err(|error| {
///         error.map_failed(|own| InternalError::new(own, StatusCode::NOT_FOUND))
///     })?;
///     Ok(number.to_string())
/// }
/// ```
impl<E: ResponseError> ResponseError for TaskError<E> {
    fn status_code(&self) -> StatusCode {
        // Without a wildcard, so that a new variant does not become a 500 by accident.
        match self {
            Self::Failed(error) => error.status_code(),
            Self::Rejected(reason) => rejected(reason),
            Self::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Panicked(_) | Self::Cancelled { .. } | Self::WorkerLost(_) | Self::Codec(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        if let Self::Failed(error) = self {
            return error.error_response();
        }
        let mut response = bare(self.status_code());
        if let Self::Rejected(reason) = self
            && let Some(wait) = retry_after(reason)
        {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        response
    }
}

/// With feature `actix-web`: what the [`TaskError`] of the item that failed would be.
impl<E: ResponseError> ResponseError for MapError<E> {
    fn status_code(&self) -> StatusCode {
        self.error.status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.error.error_response()
    }
}

/// With feature `actix-web`: status 500. A service cannot know what an error of any kind may tell its clients.
impl ResponseError for RemoteError {
    fn error_response(&self) -> HttpResponse<BoxBody> {
        bare(self.status_code())
    }
}

/// With feature `actix-web`, so that a task which cannot fail is as good as any other.
impl ResponseError for NoError {
    fn status_code(&self) -> StatusCode {
        match *self {}
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        match *self {}
    }
}

fn rejected(reason: &Rejected) -> StatusCode {
    match reason {
        Rejected::QueueFull { .. } | Rejected::Unavailable { .. } | Rejected::Closed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Rejected::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Rejected::UnknownTask { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn retry_after(reason: &Rejected) -> Option<Duration> {
    match reason {
        Rejected::Unavailable { retry_after } => Some(*retry_after),
        // How long a queue stays full, or a service closed, nobody knows; the least that the header can say is a second.
        Rejected::QueueFull { .. } | Rejected::Closed => Some(Duration::ZERO),
        Rejected::TooLarge { .. } | Rejected::UnknownTask { .. } => None,
    }
}

/// Whole seconds, of which the header is made; never too early, and never 0, which would be "at once".
fn seconds(wait: Duration) -> u64 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(begun).max(1)
}

/// A response that tells nothing but its status.
fn bare(status: StatusCode) -> HttpResponse<BoxBody> {
    HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .body(status.canonical_reason().unwrap_or_default())
}
