//! `/v1/models`: the models there are, in OpenAI's shape.

use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::error::ApiError;
use super::extract::Names;
use super::json;
use super::state::App;
use crate::error::{Code, Problem, Result};
use crate::model::{ModelKind, ModelSummary, Registry};

/// The models there are.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    /// One for each that can be used.
    pub data: Vec<ModelEntry>,
}

/// A model: OpenAI's fields, and behind them ours.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModelEntry {
    /// Name to ask for it by.
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// When its folder was last changed, in seconds since 1970.
    pub created: u64,
    /// Always `gleaner`.
    pub owned_by: &'static str,
    /// What it does.
    pub kind: ModelKind,
    /// Values per vector, where it makes some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Shorter vectors that it makes as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub matryoshka: Vec<usize>,
    /// Longest input in tokens.
    pub max_tokens: usize,
    /// Names of its further sets of weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub experts: Vec<String>,
}

impl ModelEntry {
    /// None for what cannot be used; the log and `gleaner models list` say why.
    fn of(summary: ModelSummary) -> Option<ModelEntry> {
        if let Some(problem) = &summary.problem {
            tracing::warn!(
                model = summary.name,
                problem,
                "left out: the model cannot be used"
            );
        }
        Some(ModelEntry {
            object: "model",
            created: changed(&summary.folder),
            owned_by: "gleaner",
            kind: summary.kind?,
            dimensions: summary.dimensions,
            max_tokens: summary.max_tokens?,
            matryoshka: summary.matryoshka,
            experts: summary.experts,
            id: summary.name,
        })
    }
}

/// 0 where the file system does not say.
fn changed(folder: &Path) -> u64 {
    let changed = std::fs::metadata(folder).and_then(|m| m.modified()).ok();
    changed
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_secs())
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let data = entries(&app).await?;
    let list = ModelList {
        object: "list",
        data,
    };
    Ok(json::answer(StatusCode::OK, &list)?)
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let entries = entries(&app).await?;
    match entries.into_iter().find(|entry| entry.id == name) {
        Some(entry) => Ok(json::answer(StatusCode::OK, &entry)?),
        None => Err(
            Problem::new(Code::ModelNotFound, "there is no model of this name")
                .field("model")
                .found(name)
                .expected("one that GET /v1/models lists")
                .into(),
        ),
    }
}

async fn entries(app: &App) -> Result<Vec<ModelEntry>> {
    let permit = app.searches.enter(1).await?;
    let models: Arc<Registry> = app.catalog.settings().models.clone();
    // Reads a file or two of every model.
    permit
        .run(move || {
            Ok(models
                .list()
                .into_iter()
                .filter_map(ModelEntry::of)
                .collect())
        })
        .await
}
