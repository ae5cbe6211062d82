//! Bodies: of a known type, bounded each by itself and all together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, StatusCode};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;

use super::error::ApiError;
use super::gate::Permit;
use super::state::{App, BODY_UNIT};
use super::stream::{Lines, MEDIA_TYPE};
use crate::error::{Code, Problem};

/// Media types of one JSON value a line.
const LINES: [&str; 3] = [MEDIA_TYPE, "application/ndjson", "application/jsonl"];
/// Longest that is spent on reading what is thrown away.
const DISCARD_TIME: Duration = Duration::from_secs(2);
/// What of a body is read before it needs room among the large ones, in bytes.
pub(super) const STEP: usize = 64 * 1024;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON value.
    Json,
    /// One JSON value a line.
    Lines,
}

/// A body in memory, counted against what all bodies may take until it is dropped.
pub(super) struct Payload {
    /// What was sent.
    pub bytes: Vec<u8>,
    /// How it says it is written.
    pub format: Format,
    _room: Vec<Permit>,
}

impl Payload {
    /// One that has room elsewhere.
    pub(super) fn apart(bytes: Vec<u8>, format: Format) -> Payload {
        Payload {
            bytes,
            format,
            _room: Vec::new(),
        }
    }
}

/// A JSON body.
pub(super) struct JsonBody(pub Payload);

/// A JSON body, or none.
pub(super) struct OptionalJsonBody(pub Option<Payload>);

/// A JSON or NDJSON body.
pub(super) enum BulkBody {
    /// All of it.
    Whole(Payload),
    /// NDJSON of a caller who reads the answer while it is written.
    Stream(Lines),
}

impl FromRequest<Arc<App>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let json_only = |format: &Format| *format == Format::Json;
        read(app, request, json_only, "application/json")
            .await
            .map(JsonBody)
    }
}

impl FromRequest<Arc<App>> for OptionalJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let Some(request) = with_body(request).await else {
            return Ok(OptionalJsonBody(None));
        };
        let JsonBody(body) = JsonBody::from_request(request, app).await?;
        Ok(OptionalJsonBody(Some(body)))
    }
}

/// The request, if it has a body. One that comes through the layer that unpacks bodies does not
/// know by itself that it is empty.
async fn with_body(request: Request) -> Option<Request> {
    let length = request.headers().get(CONTENT_LENGTH);
    match length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok()) {
        Some(0) => return None,
        Some(_) => return Some(request),
        None => {}
    }
    let (parts, body) = request.into_parts();
    let mut pieces = body.into_data_stream();
    let first = loop {
        match pieces.next().await? {
            Ok(piece) if piece.is_empty() => {}
            other => break other,
        }
    };
    let body = Body::from_stream(stream::iter([first]).chain(pieces));
    Some(Request::from_parts(parts, body))
}

impl FromRequest<Arc<App>> for BulkBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let headers = request.headers();
        if format(headers) == Some(Format::Lines) && wants_lines(headers) {
            let (parts, body) = request.into_parts();
            return Ok(BulkBody::Stream(Lines::new(body, parts.headers)));
        }
        let expected = "application/json or application/x-ndjson";
        let whole = read(app, request, |_| true, expected).await?;
        Ok(BulkBody::Whole(whole))
    }
}

/// No body, or an object with nothing in it: what would be ignored is refused.
pub(super) struct NoBody;

impl FromRequest<Arc<App>> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, mut body) = request.into_parts();
        let mut said: Vec<u8> = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            // Blanks between the braces, or around them, say nothing either.
            let data = frame.into_data().unwrap_or_default();
            said.extend(data.iter().filter(|byte| !byte.is_ascii_whitespace()));
            if !b"{}".starts_with(&said) {
                discard(body, &parts.headers, app.limits.body_bytes).await;
                return Err(nothing_expected(&said));
            }
        }
        match said.len() {
            1 => Err(nothing_expected(&said)),
            _ => Ok(NoBody),
        }
    }
}

fn nothing_expected(said: &[u8]) -> ApiError {
    Problem::new(Code::InvalidRequest, "the request takes no body")
        .field("body")
        .found(String::from_utf8_lossy(said))
        .expected("none")
        .into()
}

async fn read(
    app: &App,
    request: Request,
    accepts: impl Fn(&Format) -> bool,
    expected: &str,
) -> Result<Payload, ApiError> {
    let (parts, body) = request.into_parts();
    let most = app.limits.body_bytes;
    let Some(format) = format(&parts.headers).filter(accepts) else {
        discard(body, &parts.headers, most).await;
        return Err(wrong_type(&parts.headers, expected));
    };
    let announced = body.size_hint().lower();
    if announced > most as u64 {
        discard(body, &parts.headers, most).await;
        return Err(too_large(&format!("{announced} bytes"), most));
    }
    match collect(app, body).await {
        Ok((bytes, room)) => Ok(Payload {
            bytes,
            format,
            _room: room,
        }),
        Err((error, rest)) => {
            discard(rest, &parts.headers, most).await;
            Err(error)
        }
    }
}

/// Reads a body, or gives back what is left of it with the reason.
async fn collect(app: &App, mut body: Body) -> Result<(Vec<u8>, Vec<Permit>), (ApiError, Body)> {
    let most = app.limits.body_bytes;
    let hint = body.size_hint();
    let expected = hint.exact().map_or(0, |n| n as usize).min(most);
    // The beginning has room apart, which no announcement takes: those who announce much
    // and send little keep nobody else from asking something short.
    let mut reserved = STEP.min(most);
    if expected > 0 {
        reserved = reserved.min(expected);
    }
    let beginning = match app.beginnings.enter(units(reserved)).await {
        Ok(permit) => permit,
        Err(error) => return Err((error.into(), body)),
    };
    let mut room = vec![beginning];
    let mut bytes = Vec::with_capacity(reserved);
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(_) => {
                let broken = Problem::new(Code::InvalidRequest, "the body broke off")
                    .found(format!("{} bytes", bytes.len()))
                    .expected("a complete body");
                return Err((broken.into(), body));
            }
        };
        let length = bytes.len() + data.len();
        if length > most {
            return Err((too_large(&format!("more than {most} bytes"), most), body));
        }
        if length > reserved {
            if reserved < expected {
                // A body that says how long it is waits for its room as a whole, holding
                // none meanwhile: two that are half-read never wait for each other.
                room.clear();
                match app.bodies.enter(units(expected)).await {
                    Ok(permit) => room.push(permit),
                    Err(error) => return Err((error.into(), body)),
                }
                reserved = expected;
            } else {
                // One that does not say takes what it needs as it comes, and is turned
                // away when there is no more.
                let more = (length - reserved).max(reserved.min(most - reserved));
                let Some(permit) = app.bodies.try_enter(units(more)) else {
                    let full = app
                        .bodies
                        .refuse("the bodies in work take all the memory they may");
                    return Err((full.into(), body));
                };
                room.push(permit);
                reserved += more;
            }
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, room))
}

pub(super) fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(BODY_UNIT)).unwrap_or(u32::MAX)
}

/// Reads on and throws away, within reason: a caller that is still sending when the
/// connection closes would lose the answer that says why.
pub(super) async fn discard(mut body: Body, headers: &HeaderMap, most: usize) {
    // This caller asked before sending; reading would tell it to begin.
    if headers.contains_key(EXPECT) {
        return;
    }
    let reading = async {
        let mut left = most.saturating_mul(2);
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len());
            if length > left {
                return;
            }
            left -= length;
        }
    };
    // Out of time is as good as done: the connection closes either way.
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}

fn format(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
            charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    match media.as_str() {
        _ if !utf8 => None,
        "application/json" | "application/merge-patch+json" => Some(Format::Json),
        media if LINES.contains(&media) => Some(Format::Lines),
        _ => None,
    }
}

/// Whether the caller asks for an answer of one JSON value a line.
fn wants_lines(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| {
        let media = media.split(';').next().unwrap_or_default().trim();
        LINES.iter().any(|lines| media.eq_ignore_ascii_case(lines))
    })
}

fn wrong_type(headers: &HeaderMap, expected: &str) -> ApiError {
    let found = match headers.get(CONTENT_TYPE) {
        Some(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        None => "nothing".into(),
    };
    ApiError::with_status(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Problem::new(
            Code::InvalidRequest,
            "the body is of a type that is not read here",
        )
        .field("content-type")
        .found(found)
        .expected(expected),
    )
}

fn too_large(found: &str, most: usize) -> ApiError {
    Problem::new(Code::LimitExceeded, "the body is too large")
        .field("body")
        .found(found)
        .expected(format!("at most {most} bytes"))
        .into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn types_of_bodies() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            format(&headers)
        };
        assert_eq!(of("application/json"), Some(Format::Json));
        assert_eq!(of("Application/JSON; charset=UTF-8"), Some(Format::Json));
        assert_eq!(of("application/x-ndjson"), Some(Format::Lines));
        assert_eq!(
            of("application/jsonl;charset=\"utf-8\""),
            Some(Format::Lines)
        );
        assert_eq!(of("application/json; charset=latin1"), None);
        assert_eq!(of("text/plain"), None);
        assert_eq!(format(&HeaderMap::new()), None);
    }
}
