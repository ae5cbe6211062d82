//! `/health` and `/ready`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::SecondsFormat;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::json;
use super::state::App;
use crate::error::Error;

/// The API's description.
pub(super) async fn openapi(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let json = app.description.get();
    let json = json.ok_or_else(|| Error::Bug("the API is not described".into()))?;
    Ok(json::answer_bytes(StatusCode::OK, json.to_vec()))
}

/// The process is up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthAnswer {
    /// Always `ok`.
    pub status: String,
    /// Version of gleaner.
    pub version: String,
    /// What answers nevertheless, and perhaps not from the newest: attached indexes whose store
    /// cannot be reached, or whose newest snapshot cannot be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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

pub(super) async fn health(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let warnings = app
        .catalog
        .attached()
        .into_iter()
        .filter_map(|(name, status)| {
            let problem = status.problem?;
            let since = problem.since.to_rfc3339_opts(SecondsFormat::Secs, true);
            Some(format!(
                "attached index {name:?}: {} since {since}; it answers from {}",
                problem.code,
                status.snapshot.as_deref().unwrap_or("no snapshot yet")
            ))
        });
    let warnings = told(&app, warnings.collect());
    let answer = HealthAnswer {
        status: "ok".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        warnings,
    };
    Ok(json::answer(StatusCode::OK, &answer)?)
}

/// What may be said to callers without a key: everything where there are no keys, otherwise how
/// much there is to say, because names of indexes are in it.
fn told(app: &App, said: Vec<String>) -> Vec<String> {
    match said.len() {
        0 => said,
        _ if !app.keys.are_required() => said,
        1 => vec!["there is one; `gleaner doctor` and the log name it".into()],
        n => vec![format!(
            "there are {n}; `gleaner doctor` and the log name them"
        )],
    }
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let reasons = app.readiness.reasons();
    let ready = reasons.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let reasons = told(&app, reasons);
    Ok(json::answer(status, &ReadyAnswer { ready, reasons })?)
}
