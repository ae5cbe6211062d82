//! What a request's address says: names in the path, `refresh` in the query.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;

use super::around::Deadline;
use super::error::ApiError;
use crate::error::{Code, Error, Problem};

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

impl<S: Send + Sync> FromRequestParts<S> for Refresh {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let wrong = |field: &str, message: &str| {
            Problem::new(Code::InvalidRequest, message).field(field.to_string())
        };
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| {
                wrong("query", "the parameters cannot be read")
                    .found(parts.uri.query().unwrap_or_default())
                    .expected("refresh=wait or refresh=false")
            })?;
        let mut refresh = Refresh::Later;
        for (name, value) in &pairs {
            if name != "refresh" {
                return Err(wrong(name, "there is no such parameter")
                    .found(name)
                    .expected("refresh")
                    .into());
            }
            refresh = match value.as_str() {
                "wait" => Refresh::Wait,
                "false" => Refresh::Later,
                other => {
                    return Err(wrong(
                        name,
                        "a parameter has a value that is not one of its choices",
                    )
                    .found(other)
                    .expected("wait or false")
                    .into());
                }
            };
        }
        Ok(refresh)
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
