//! What a request's address says: names in the path, how to write in the query.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;

use super::around::Deadline;
use super::error::ApiError;
use crate::error::{Code, Error, Problem};
use crate::index::{Index, Once};
use crate::store::Durability;

/// The header of the IETF's draft "The Idempotency-Key HTTP Header Field".
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is that of an earlier request of the same key.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Names out of the path, percent-decoded.
pub(super) struct Names<T>(pub T);

impl<S, T> FromRequestParts<S> for Names<T>
where
    Path<T>: FromRequestParts<S, Rejection = PathRejection>,
    S: Send + Sync,
    T: Send,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Names(names)),
            Err(_) => Err(unreadable(parts.uri.path()).into()),
        }
    }
}

/// What is said of an address that holds no text.
pub(super) fn unreadable(path: &str) -> Problem {
    Problem::new(Code::InvalidRequest, "the address cannot be read")
        .field("path")
        .found(path)
        .expected("percent-encoded UTF-8")
}

/// When a write is to be visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    /// At the next refresh in the background.
    Later,
    /// Before the answer.
    Wait,
}

/// How a write is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WriteParameters {
    /// When it is to be visible.
    pub refresh: Refresh,
    /// When it is to be answered.
    pub durability: Durability,
    /// The version that the document must have; 0 for no document.
    pub if_version: Option<u64>,
    /// Whether a header of HTTP said so: then a conflict is a precondition that failed.
    pub by_header: bool,
}

/// The tag of a document's version.
pub(super) fn etag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The version that `If-Match` or `If-None-Match: *` asks for.
fn precondition(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let of = |name: HeaderName, value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        wrong(name.as_str(), "this is no precondition that is kept here").found(text)
    };
    let (matching, none) = (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH));
    match (matching, none) {
        (None, None) => Ok(None),
        (Some(value), None) => {
            let tag = value.to_str().ok().and_then(|text| {
                let version = text.trim().strip_prefix('"')?.strip_suffix('"')?;
                version.parse().ok().filter(|&version: &u64| version > 0)
            });
            let expected = "the ETag that the document was read with, one alone";
            tag.map(Some)
                .ok_or_else(|| of(IF_MATCH, value).expected(expected))
        }
        (None, Some(value)) if value.as_bytes() == b"*" => Ok(Some(0)),
        (_, Some(value)) => Err(of(IF_NONE_MATCH, value).expected("*, and no If-Match beside it")),
    }
}

impl WriteParameters {
    /// What a failed write is answered with: 412 where a header expected the version.
    pub(super) fn refusal(self, error: Error) -> ApiError {
        match error {
            Error::User(problem) if self.by_header && problem.code == Code::VersionConflict => {
                ApiError::with_status(StatusCode::PRECONDITION_FAILED, *problem)
            }
            other => other.into(),
        }
    }

    /// For writes of many documents, each of which says for itself what it expects.
    ///
    /// # Errors
    /// `invalid_request` where a version is expected of all of them.
    pub(super) fn of_many(self) -> Result<WriteParameters, Problem> {
        match self.if_version {
            None => Ok(self),
            Some(version) => Err(Problem::new(
                Code::InvalidRequest,
                "many documents cannot be expected to have one version",
            )
            .field("if_version")
            .found(version)
            .expected("if_version in each operation, at /operations")),
        }
    }
}

/// The parameters after the question mark.
pub(super) fn pairs(parts: &Parts, expected: &str) -> Result<Vec<(String, String)>, Problem> {
    let Query(pairs) = Query::try_from_uri(&parts.uri).map_err(|_| {
        wrong("query", "the parameters cannot be read")
            .found(parts.uri.query().unwrap_or_default())
            .expected(expected)
    })?;
    Ok(pairs)
}

pub(super) fn wrong(field: &str, message: &str) -> Problem {
    Problem::new(Code::InvalidRequest, message).field(field)
}

pub(super) fn not_a_choice(name: &str, value: &str, expected: &str) -> Problem {
    wrong(
        name,
        "a parameter has a value that is not one of its choices",
    )
    .found(value)
    .expected(expected)
}

/// Whether a document is read with its vectors.
pub(super) struct WithVectors(pub bool);

impl<S: Send + Sync> FromRequestParts<S> for WithVectors {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut with_vectors = false;
        for (name, value) in pairs(parts, "vectors")? {
            with_vectors = match (name.as_str(), value.as_str()) {
                ("vectors", "true") => true,
                ("vectors", "false") => false,
                ("vectors", _) => return Err(not_a_choice(&name, &value, "true or false").into()),
                _ => {
                    return Err(wrong(&name, "there is no such parameter")
                        .found(&name)
                        .expected("vectors")
                        .into());
                }
            };
        }
        Ok(WithVectors(with_vectors))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WriteParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let pairs = pairs(parts, "refresh, durability or if_version")?;
        let mut found = WriteParameters {
            refresh: Refresh::Later,
            durability: Durability::Synced,
            if_version: None,
            by_header: false,
        };
        if let Some(version) = precondition(&parts.headers)? {
            found.if_version = Some(version);
            found.by_header = true;
        }
        for (name, value) in &pairs {
            let choice = |expected: &str| not_a_choice(name, value, expected);
            match (name.as_str(), value.as_str()) {
                ("refresh", "wait") => found.refresh = Refresh::Wait,
                ("refresh", "false") => found.refresh = Refresh::Later,
                ("refresh", _) => return Err(choice("wait or false").into()),
                ("durability", "synced") => found.durability = Durability::Synced,
                ("durability", "buffered") => found.durability = Durability::Buffered,
                ("durability", _) => return Err(choice("synced or buffered").into()),
                ("if_version", _) if found.by_header => {
                    return Err(wrong(name, "the version is said twice")
                        .found("a header and a parameter")
                        .expected("one of them")
                        .into());
                }
                ("if_version", version) => match version.parse() {
                    Ok(version) => found.if_version = Some(version),
                    Err(_) => return Err(choice("a version, or 0 for no document").into()),
                },
                _ => {
                    return Err(wrong(name, "there is no such parameter")
                        .found(name)
                        .expected("refresh, durability or if_version")
                        .into());
                }
            }
        }
        Ok(found)
    }
}

/// The key by which a caller names a request that is to be carried out once, and the address
/// it was sent to.
pub(super) struct IdempotencyKey(Option<(String, String)>);

impl IdempotencyKey {
    /// No key.
    pub(super) fn none() -> IdempotencyKey {
        IdempotencyKey(None)
    }

    /// Whether there is one.
    pub(super) fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// Begins the request with this body, where it has a key.
    ///
    /// # Errors
    /// As [`Index::once`].
    pub(super) fn once(&self, index: &Index, body: &[u8]) -> Result<Option<Once>, Error> {
        match &self.0 {
            Some((key, address)) => index.once(key, &[address.as_bytes(), body]).map(Some),
            None => Ok(None),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut keys = parts.headers.get_all(KEY).iter();
        let Some(key) = keys.next() else {
            return Ok(IdempotencyKey(None));
        };
        let key = key.to_str().ok().filter(|_| keys.next().is_none());
        let key = key.ok_or_else(|| {
            Problem::new(Code::InvalidRequest, "this is not an idempotency key")
                .field(KEY.as_str())
                .found("several, or not ASCII")
                .expected("one key of visible ASCII characters")
        })?;
        let mut address = format!("{} {}", parts.method, parts.uri);
        // With another precondition it is another request, as with another parameter.
        for header in [IF_MATCH, IF_NONE_MATCH] {
            if let Some(value) = parts.headers.get(&header) {
                address.push_str(&format!(" {header}: {value:?}"));
            }
        }
        Ok(IdempotencyKey(Some((key.to_string(), address))))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Deadline {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Deadline>()
            .copied()
            .ok_or_else(|| Error::Bug("a request came past the middleware".into()).into())
    }
}

/// Who says to be calling: `?caller=NAME`.
pub(super) struct Caller(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut caller = None;
        for (name, value) in pairs(parts, "caller")? {
            match name.as_str() {
                "caller" => caller = Some(value),
                _ => {
                    return Err(wrong(&name, "there is no such parameter")
                        .found(&name)
                        .expected("caller")
                        .into());
                }
            }
        }
        Ok(Caller(caller))
    }
}
