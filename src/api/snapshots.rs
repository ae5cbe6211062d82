//! `/v1/indexes/{name}/snapshots`: taking them and going back to them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::around::Deadline;
use super::body::{JsonBody, NoBody};
use super::error::ApiError;
use super::extract::Names;
use super::guard::Allowed;
use super::json;
use super::page::Page;
use super::state::App;
use super::tasks::{self, TaskKind};
use crate::error::Code;
use crate::index::Snapshot;

/// The snapshots of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotList {
    /// The oldest first.
    pub snapshots: Vec<Snapshot>,
    /// What `after` has to be for the next page; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Where to restore a snapshot to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The name of the index to make of it, which must be free.
    pub name: String,
}

/// The outcome of restoring a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreAnswer {
    /// The name of the index that was made of it.
    pub name: String,
    /// Its documents.
    pub documents: u64,
}

pub(super) async fn take(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    deadline: Deadline,
    _: NoBody,
) -> Result<Response, ApiError> {
    let catalog = app.catalog.clone();
    let index = name.clone();
    let take = move || tasks::outcome(StatusCode::CREATED, &catalog.take_snapshot(&index)?);
    tasks::run(&app, TaskKind::Snapshot, &name, deadline, take).await
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    page: Page,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.snapshot_lists.enter(1).await?;
    let catalog = app.catalog.clone();
    let list = move || {
        let (snapshots, next) = page.of(catalog.snapshots(&name)?, |snapshot| &snapshot.id)?;
        json::answer(StatusCode::OK, &SnapshotList { snapshots, next })
    };
    Ok(permit.run(list).await?)
}

pub(super) async fn restore(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    Names((name, id)): Names<(String, String)>,
    deadline: Deadline,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let catalog = app.catalog.clone();
    let request: RestoreRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
    drop(body);
    access.require_name(&request.name)?;
    let snapshots_of = name.clone();
    let restore = move || {
        let index = catalog.restore_snapshot(&snapshots_of, &id, &request.name)?;
        let answer = RestoreAnswer {
            name: request.name,
            documents: index.view().documents,
        };
        tasks::outcome(StatusCode::CREATED, &answer)
    };
    tasks::run(&app, TaskKind::Restore, &name, deadline, restore).await
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
) -> Result<Response, ApiError> {
    let permit = app.snapshot_lists.enter(1).await?;
    let catalog = app.catalog.clone();
    permit
        .run(move || catalog.remove_snapshot(&name, &id))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
