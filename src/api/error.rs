//! Errors on the wire: one shape, and the status of each code.

use std::any::Any;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Problem};

/// Code of an error that the operator has to mend.
pub(super) const OPERATOR_ERROR: &str = "operator_error";
/// Code of a write that found no room on the disk.
pub(super) const STORAGE_FULL: &str = "storage_full";
/// Code of a bug in gleaner.
pub(super) const INTERNAL: &str = "internal";

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorAnswer {
    /// What went wrong.
    pub error: Failure,
    /// Names this request in the server's log; also in the `x-request-id` header.
    pub request_id: String,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Stable and machine-readable: a code of a caller's problem, `operator_error`,
    /// `storage_full` or `internal`.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// The field, parameter or header concerned; a path such as `queries[2].fusion.rrf_k`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What was found there, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What would have been accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

impl From<&Error> for Failure {
    /// Says what the caller may know. Of the operator's errors and of bugs that is only
    /// that they happened: their texts name paths and belong into the log.
    fn from(error: &Error) -> Failure {
        match error {
            Error::User(problem) => Failure::from(&**problem),
            Error::Operator(fault) if fault.storage_full => Failure {
                code: STORAGE_FULL.into(),
                message: "the server's disk is full; nothing can be written until its \
                          operator makes room and restarts it"
                    .into(),
                field: None,
                found: None,
                expected: None,
            },
            Error::Operator(_) => Failure {
                code: OPERATOR_ERROR.into(),
                message: "the server has a trouble that its operator has to mend; its log \
                          names it under this request id"
                    .into(),
                field: None,
                found: None,
                expected: None,
            },
            Error::Bug(_) => Failure {
                code: INTERNAL.into(),
                message: "something went wrong inside the server; its log names it under \
                          this request id"
                    .into(),
                field: None,
                found: None,
                expected: None,
            },
        }
    }
}

impl From<&Problem> for Failure {
    /// All of it, except what is wrong with a model: models are the operator's, and what is
    /// said of them names folders.
    fn from(problem: &Problem) -> Failure {
        if problem.code == Code::InvalidModel {
            return Failure {
                code: problem.code.as_str().into(),
                message: "the server's model cannot be used; its operator finds the reason in \
                          the log"
                    .into(),
                field: None,
                found: None,
                expected: None,
            };
        }
        // Which others there are is not everybody's to know.
        let lists_names = matches!(
            problem.code,
            Code::IndexNotFound | Code::CatalogNotFound | Code::DatabaseNotFound
        );
        Failure {
            code: problem.code.as_str().into(),
            message: problem.message.clone(),
            field: problem.field.clone(),
            found: problem.found.clone(),
            expected: problem.expected.clone().filter(|_| !lists_names),
        }
    }
}

/// The status that a problem's code is answered with.
pub(super) fn status_of(code: Code) -> StatusCode {
    match code {
        Code::InvalidRequest
        | Code::InvalidDocument
        | Code::InvalidFilter
        | Code::InvalidQuery
        | Code::InvalidDefinition
        | Code::InvalidFile
        | Code::InvalidVector
        | Code::InvalidSchema
        | Code::InvalidName
        | Code::TooManyRejects
        | Code::InvalidConfiguration => StatusCode::BAD_REQUEST,
        // Callers bring no models: those there are, are the operator's.
        Code::InvalidModel => StatusCode::INTERNAL_SERVER_ERROR,
        Code::IndexNotFound
        | Code::DocumentNotFound
        | Code::SnapshotNotFound
        | Code::TaskNotFound
        | Code::JobNotFound
        | Code::DatabaseNotFound
        | Code::ExampleNotFound
        | Code::CatalogNotFound
        | Code::EntityNotFound
        | Code::KeyNotFound
        | Code::ModelNotFound
        | Code::RouteNotFound => StatusCode::NOT_FOUND,
        Code::CursorExpired => StatusCode::GONE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::IndexExists
        | Code::CatalogExists
        | Code::IndexReadOnly
        | Code::IndexAliased
        | Code::ReindexNeeded
        | Code::TaskRunning
        | Code::JobState
        | Code::InputChanged
        | Code::ModelMismatch
        | Code::VersionConflict
        | Code::RequestInProgress
        | Code::TooLittleFeedback
        | Code::LastKey
        | Code::SnapshotDamaged => StatusCode::CONFLICT,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::NotPermitted | Code::CallerNotPermitted | Code::SourceNotPermitted => {
            StatusCode::FORBIDDEN
        }
        Code::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::LimitExceeded => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Overloaded | Code::AliasMoved => StatusCode::SERVICE_UNAVAILABLE,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// An error on its way out. As a response it carries no body yet: the middleware, which
/// knows the request's id, writes it.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    /// Status to answer with.
    pub status: StatusCode,
    /// What the caller is told.
    pub failure: Failure,
    /// What only the log is told.
    pub detail: Option<String>,
}

impl ApiError {
    /// A problem with another status than its code's.
    pub(super) fn with_status(status: StatusCode, problem: Problem) -> ApiError {
        ApiError {
            status,
            failure: Failure::from(&problem),
            detail: None,
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        ApiError {
            status: match &error {
                Error::User(problem) => status_of(problem.code),
                Error::Operator(fault) if fault.storage_full => StatusCode::INSUFFICIENT_STORAGE,
                Error::Operator(_) | Error::Bug(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            failure: Failure::from(&error),
            detail: hidden(&error),
        }
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> ApiError {
        Error::from(problem).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What the log has to be told of an error, since the caller is not.
pub(super) fn hidden(error: &Error) -> Option<String> {
    match error {
        Error::User(problem) if problem.code != Code::InvalidModel => None,
        kept => Some(in_full(kept)),
    }
}

/// An error with everything underneath it, for the log.
pub(super) fn in_full(error: &Error) -> String {
    let mut text = error.to_string();
    if let Error::Operator(fault) = error {
        // The fault's own text names the first cause already.
        let mut cause = fault.source.as_deref().and_then(|first| first.source());
        while let Some(deeper) = cause {
            text.push_str(": ");
            text.push_str(&deeper.to_string());
            cause = deeper.source();
        }
    }
    text
}

/// The message of a panic.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_model_keeps_paths_to_the_log() {
        let problem = Problem::new(Code::InvalidModel, "/var/lib/secret lacks a file");
        let error = Error::from(problem.field("secret.onnx").found("/secret"));
        let api = ApiError::from(error);
        assert_eq!(api.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(api.failure.code, "invalid_model");
        let said = serde_json::to_string(&api.failure).unwrap();
        assert!(!said.contains("secret"), "{said}");
        assert!(api.detail.unwrap().contains("/var/lib/secret"));
    }

    #[test]
    fn an_operators_error_keeps_paths_to_the_log() {
        let error = Error::operator_from(
            "cannot write /var/lib/secret/CURRENT",
            std::io::Error::other("disk full"),
        )
        .advice("make room");
        let api = ApiError::from(error);
        assert_eq!(api.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(api.failure.code, OPERATOR_ERROR);
        assert!(
            !serde_json::to_string(&api.failure)
                .unwrap()
                .contains("secret")
        );
        let detail = api.detail.unwrap();
        assert!(detail.contains("secret") && detail.contains("disk full"));
        assert!(detail.contains("make room"));
    }
}
