//! `/health` and `/ready`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::json;
use super::state::App;

/// The process is up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthAnswer {
    /// Always `ok`.
    pub status: String,
    /// Version of gleaner.
    pub version: String,
}

/// Whether requests will be answered without waiting for something to be opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReadyAnswer {
    /// Indexes are opened and their models warmed up.
    pub ready: bool,
    /// What is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

pub(super) async fn health() -> Result<Response, ApiError> {
    let answer = HealthAnswer {
        status: "ok".into(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    Ok(json::answer(StatusCode::OK, &answer)?)
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let reasons = app.readiness.reasons();
    let ready = reasons.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(json::answer(status, &ReadyAnswer { ready, reasons })?)
}
