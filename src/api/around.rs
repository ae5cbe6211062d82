//! What happens around every request: its id, its time limit, panics, errors' bodies, the
//! log line. One thin layer: it stands in the way of every search.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::error::{ApiError, ErrorAnswer, panic_message};
use super::state::App;
use crate::error::{Code, Error, Problem};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a caller, in bytes.
const MAX_ID_BYTES: usize = 128;

/// When a request's time is up; handlers that can stop half-way ask for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub Instant);

impl Deadline {
    /// Time that is left; none when it is up.
    pub(super) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// The request's id.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub String);

/// Runs a request and turns whatever comes of it into an answer.
pub(super) async fn around(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_string();
    let deadline = started + app.timeout;
    request.extensions_mut().insert(Deadline(deadline));
    request.extensions_mut().insert(RequestId(id.clone()));

    let span = tracing::info_span!("request", id);
    let work = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout_at(deadline, work.instrument(span)).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => ApiError::from(Error::Bug(panic_message(panic.as_ref()))).into_response(),
        Err(_) => timed_out(app.timeout).into_response(),
    };

    let error = response.extensions_mut().remove::<ApiError>();
    log(
        &method,
        &path,
        &id,
        &response,
        error.as_ref(),
        started.elapsed(),
    );
    if let Some(error) = error {
        write_error(&mut response, error, &id);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The caller's id where it can be used, a fresh one otherwise.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
        })
        .map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_string)
}

fn timed_out(limit: Duration) -> ApiError {
    Problem::new(
        Code::Timeout,
        "the request took too long; a write may still have been carried out",
    )
    .expected(format!("an answer within {} ms", limit.as_millis()))
    .into()
}

fn write_error(response: &mut Response, error: ApiError, id: &str) {
    let answer = ErrorAnswer {
        error: error.failure,
        request_id: id.to_string(),
    };
    // Strings alone: this cannot fail, and if it did an empty body would still have its
    // status.
    let body = serde_json::to_vec(&answer).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, super::json::MEDIA_TYPE);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if error.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if error.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    *response.body_mut() = Body::from(body);
}

/// One line per request: troubles of ours loudly, changes and refusals at info, the rest
/// at debug.
fn log(
    method: &Method,
    path: &str,
    id: &str,
    response: &Response,
    error: Option<&ApiError>,
    took: Duration,
) {
    let status = response.status().as_u16();
    let took_ms = took.as_secs_f64() * 1e3;
    match error {
        Some(error) => {
            let code = error.failure.code.as_str();
            match &error.detail {
                Some(detail) => {
                    tracing::error!(%method, path, id, status, code, took_ms, detail, "failed");
                }
                None if status >= 500 => {
                    tracing::warn!(%method, path, id, status, code, took_ms, "refused");
                }
                None => tracing::info!(%method, path, id, status, code, took_ms, "refused"),
            }
        }
        None => {
            let reads = matches!(*method, Method::GET | Method::HEAD)
                || path.ends_with("/search")
                || path == "/v1/embeddings";
            if reads {
                tracing::debug!(%method, path, id, status, took_ms, "answered");
            } else {
                tracing::info!(%method, path, id, status, took_ms, "answered");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_id_is_kept_only_where_it_is_safe() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(value).unwrap());
            request_id(&headers)
        };
        assert_eq!(with("a-1"), "a-1");
        assert_eq!(with("two words").len(), 32);
        assert_eq!(with(&"x".repeat(MAX_ID_BYTES + 1)).len(), 32);
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
