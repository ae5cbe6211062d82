//! What happens around every request: its id, its time limit, panics, errors' bodies, the
//! log line. One thin layer: it stands in the way of every search.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::error::{ApiError, ErrorAnswer, panic_message};
use super::state::App;
use crate::error::{Code, Error, Problem};
use crate::telemetry::{STAGES, follow};

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
    let access = Access::of(&request, request_id(request.headers()), started);
    let deadline = started + app.timeout;
    request.extensions_mut().insert(Deadline(deadline));
    request
        .extensions_mut()
        .insert(RequestId(access.id.clone()));

    let _in_flight = app.metrics.request_begins();
    let (span, traced) = access.spans(request.headers());
    let work = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout_at(deadline, work.instrument(span)).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => ApiError::from(Error::Bug(panic_message(panic.as_ref()))).into_response(),
        Err(_) => timed_out(app.timeout).into_response(),
    };

    let status = response.status();
    traced.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        traced.record("otel.status_code", "ERROR");
    }
    let route = access.route.as_ref().map(MatchedPath::as_str);
    app.metrics
        .request_ended(&access.method, route, status, started.elapsed());
    let error = response.extensions_mut().remove::<ApiError>();
    if let Ok(id) = HeaderValue::from_str(&access.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if let Some(error) = error {
        let body = error_body(&error, &access.id);
        access.log(status, Some(&error), Some(body.len() as u64));
        write_error(&mut response, &error, body);
        return response;
    }
    match response.body().size_hint().exact() {
        Some(bytes) => {
            access.log(status, None, Some(bytes));
            response
        }
        // Compressed, or made while it is sent: how long it is shows at its end.
        None => response.map(|body| counted(body, access, status)),
    }
}

/// What the log says of a request, and traces of it.
struct Access {
    method: Method,
    path: String,
    /// None where no route has such an address.
    route: Option<MatchedPath>,
    id: String,
    started: Instant,
}

impl Access {
    fn of(request: &Request, id: String, started: Instant) -> Access {
        Access {
            method: request.method().clone(),
            path: request.uri().path().to_string(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            id,
            started,
        }
    }

    /// The index in the address, as it was written there.
    fn index(&self) -> Option<&str> {
        self.route
            .as_ref()
            .filter(|route| route.as_str().starts_with("/v1/indexes/{name}"))
            .and_then(|_| self.path.split('/').nth(3))
    }

    /// The span that the request runs in, which log lines take its id from, and the one that is
    /// traced; the same where nothing is.
    fn spans(&self, headers: &HeaderMap) -> (Span, Span) {
        // At the highest level: whatever is logged is logged with the id.
        let named = tracing::error_span!("request", id = self.id);
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        let traced = named.in_scope(|| {
            tracing::trace_span!(
                target: STAGES,
                "http",
                otel.name = format!("{} {route}", self.method),
                otel.kind = "server",
                otel.status_code = Empty,
                http.request.method = self.method.as_str(),
                http.route = route,
                http.response.status_code = Empty,
                url.path = self.path,
                gleaner.request_id = self.id,
            )
        });
        if traced.is_disabled() {
            return (named.clone(), named);
        }
        follow(&traced, |name| headers.get(name)?.to_str().ok());
        (traced.clone(), traced)
    }

    /// One line per request: troubles of ours loudly, changes and refusals at info, the rest
    /// at debug. `bytes`: of the body, as it was sent.
    fn log(&self, status: StatusCode, error: Option<&ApiError>, bytes: Option<u64>) {
        let Access {
            method, path, id, ..
        } = self;
        let route = self.route.as_ref().map(MatchedPath::as_str);
        let index = self.index();
        let status = status.as_u16();
        let took_ms = self.started.elapsed().as_secs_f64() * 1e3;
        macro_rules! line {
            ($level:ident, $message:literal $(, $field:ident)*) => {
                tracing::$level!(
                    %method, path, route, index, id, status, bytes, took_ms $(, $field)*, $message
                )
            };
        }
        match error {
            Some(error) => {
                let code = error.failure.code.as_str();
                match &error.detail {
                    Some(detail) => line!(error, "failed", code, detail),
                    None if status >= 500 => line!(warn, "refused", code),
                    None => line!(info, "refused", code),
                }
            }
            None => {
                let reads = matches!(*method, Method::GET | Method::HEAD)
                    || path.ends_with("/search")
                    || path == "/v1/embeddings";
                if reads {
                    line!(debug, "answered");
                } else {
                    line!(info, "answered");
                }
            }
        }
    }
}

/// A body of which the log is told once it has been sent, or its caller has left.
fn counted(body: Body, access: Access, status: StatusCode) -> Body {
    struct Sent {
        access: Access,
        status: StatusCode,
        bytes: u64,
    }
    impl Drop for Sent {
        fn drop(&mut self) {
            self.access.log(self.status, None, Some(self.bytes));
        }
    }
    let mut sent = Sent {
        access,
        status,
        bytes: 0,
    };
    Body::from_stream(body.into_data_stream().inspect(move |piece| {
        // As a whole: the line is written when this is dropped.
        let sent = &mut sent;
        if let Ok(piece) = piece {
            sent.bytes += piece.len() as u64;
        }
    }))
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

fn error_body(error: &ApiError, id: &str) -> Vec<u8> {
    let answer = ErrorAnswer {
        error: error.failure.clone(),
        request_id: id.to_string(),
    };
    // Strings alone: this cannot fail, and if it did an empty body would still have its
    // status.
    serde_json::to_vec(&answer).unwrap_or_default()
}

fn write_error(response: &mut Response, error: &ApiError, body: Vec<u8>) {
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
