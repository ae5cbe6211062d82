//! What a request's address says: names in the path, how to write in the query.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;

use super::around::Deadline;
use super::error::ApiError;
use crate::error::{Code, Error, Problem};
use crate::store::Durability;

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
            Err(_) => Err(
                Problem::new(Code::InvalidRequest, "the address cannot be read")
                    .field("path")
                    .found(parts.uri.path())
                    .expected("percent-encoded UTF-8")
                    .into(),
            ),
        }
    }
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
}

impl WriteParameters {
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

impl<S: Send + Sync> FromRequestParts<S> for WriteParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let wrong = |field: &str, message: &str| {
            Problem::new(Code::InvalidRequest, message).field(field.to_string())
        };
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| {
                wrong("query", "the parameters cannot be read")
                    .found(parts.uri.query().unwrap_or_default())
                    .expected("refresh, durability or if_version")
            })?;
        let mut found = WriteParameters {
            refresh: Refresh::Later,
            durability: Durability::Synced,
            if_version: None,
        };
        for (name, value) in &pairs {
            let choice = |expected: &str| {
                wrong(
                    name,
                    "a parameter has a value that is not one of its choices",
                )
                .found(value)
                .expected(expected)
            };
            match (name.as_str(), value.as_str()) {
                ("refresh", "wait") => found.refresh = Refresh::Wait,
                ("refresh", "false") => found.refresh = Refresh::Later,
                ("refresh", _) => return Err(choice("wait or false").into()),
                ("durability", "synced") => found.durability = Durability::Synced,
                ("durability", "buffered") => found.durability = Durability::Buffered,
                ("durability", _) => return Err(choice("synced or buffered").into()),
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
