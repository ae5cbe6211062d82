//! `/v1/indexes/{name}/documents`: one document at a time, and many.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::around::Deadline;
use super::body::{BulkBody, JsonBody};
use super::bulk::{Bulk, BulkStatus, Kind};
use super::error::ApiError;
use super::extract::{Names, Refresh, WriteParameters};
use super::json;
use super::state::App;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Change, Changed, IfVersion, Index, version_conflict};
use crate::search::FilterInput;
use crate::store::Durability;

/// A stored document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentAnswer {
    /// Its id.
    pub id: String,
    /// Its version: grows with each write of the document. For `if_version`.
    pub version: u64,
    /// The object as it was sent, without a vector of its own.
    pub document: Map<String, Json>,
}

/// The outcome of writing one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WriteAnswer {
    /// Its id.
    pub id: String,
    /// `created` or `updated`.
    pub status: BulkStatus,
    /// Its version now.
    pub version: u64,
}

/// Which documents to delete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// Those that pass this filter, in either of its notations.
    pub filter: FilterInput,
}

/// The outcome of deleting by filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteAnswer {
    /// Documents that were deleted.
    pub deleted: u64,
}

pub(super) async fn bulk(
    state: State<Arc<App>>,
    names: Names<String>,
    parameters: WriteParameters,
    deadline: Deadline,
    body: BulkBody,
) -> Result<Response, ApiError> {
    many(state, names, parameters, deadline, body, Kind::Documents).await
}

pub(super) async fn operations(
    state: State<Arc<App>>,
    names: Names<String>,
    parameters: WriteParameters,
    deadline: Deadline,
    body: BulkBody,
) -> Result<Response, ApiError> {
    many(state, names, parameters, deadline, body, Kind::Operations).await
}

async fn many(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    parameters: WriteParameters,
    deadline: Deadline,
    BulkBody(body): BulkBody,
    kind: Kind,
) -> Result<Response, ApiError> {
    let parameters = parameters.of_many()?;
    let permit = app.writes.enter(1).await?;
    let most = app.limits.bulk_documents;
    let catalog = app.catalog.clone();
    let durability = parameters.durability;
    let bulk = permit
        .run(move || Bulk::new(catalog, name, body, kind, durability, most))
        .await?;
    let answer = bulk.write(&permit, deadline).await?;
    if parameters.refresh == Refresh::Wait {
        permit.run(move || bulk.refresh()).await?;
    }
    let status = if answer.rejected == 0 {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    Ok(json::answer(status, &answer)?)
}

pub(super) async fn put(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
    parameters: WriteParameters,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let put = move || {
        let document: Map<String, Json> = json::parse(&body.bytes, Code::InvalidDocument)?;
        let if_version = if_version(parameters.if_version);
        let (index, changed) = catalog.write(&name, |index, still| {
            let document = with_id(index, document.clone(), &id)?;
            let prepared = index.prepare(document)?;
            let encoded = index.encode(vec![prepared])?;
            let change = encoded.first().map(Change::Put).ok_or_else(no_outcome)?;
            let changes = [(change, if_version)];
            let changed = index.change_if(&changes, parameters.durability, still)?;
            Ok((index.clone(), changed))
        })?;
        let (http, status, version) = match changed.first() {
            Some(&Changed::Created { version }) => {
                (StatusCode::CREATED, BulkStatus::Created, version)
            }
            Some(&Changed::Updated { version }) => (StatusCode::OK, BulkStatus::Updated, version),
            Some(&Changed::Unmet { version }) => {
                let wanted = parameters.if_version.unwrap_or_default();
                return Err(version_conflict(&id, wanted, version).into());
            }
            Some(Changed::Deleted) | None => return Err(no_outcome()),
        };
        if parameters.refresh == Refresh::Wait {
            index.refresh()?;
        }
        json::answer(
            http,
            &WriteAnswer {
                id,
                status,
                version,
            },
        )
    };
    Ok(permit.run(put).await?)
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
    parameters: WriteParameters,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let update = move || {
        let patch: Map<String, Json> = json::parse(&body.bytes, Code::InvalidDocument)?;
        let (index, version) = catalog.write(&name, |index, still| {
            let (wanted, durability) = (parameters.if_version, parameters.durability);
            let version = index.update_if(&id, &patch, wanted, durability, still)?;
            Ok((index.clone(), version))
        })?;
        if parameters.refresh == Refresh::Wait {
            index.refresh()?;
        }
        json::answer(
            StatusCode::OK,
            &WriteAnswer {
                id,
                status: BulkStatus::Updated,
                version,
            },
        )
    };
    Ok(permit.run(update).await?)
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let catalog = app.catalog.clone();
    let show = move || {
        let current = catalog.get(&name)?.current(&id)?;
        json::answer(
            StatusCode::OK,
            &DocumentAnswer {
                id,
                version: current.version,
                document: current.source,
            },
        )
    };
    Ok(permit.run(show).await?)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
    parameters: WriteParameters,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let remove = move || {
        let change = (Change::Delete(&id), if_version(parameters.if_version));
        let (index, changed) = catalog.write(&name, |index, still| {
            let changed = index.change_if(&[change], parameters.durability, still)?;
            Ok((index.clone(), changed))
        })?;
        match changed.first() {
            Some(Changed::Deleted) => {}
            Some(&Changed::Unmet { version }) => {
                return Err(match parameters.if_version {
                    Some(wanted) => version_conflict(&id, wanted, version),
                    None => no_such_document(&name, &id),
                }
                .into());
            }
            _ => return Err(no_outcome()),
        }
        if parameters.refresh == Refresh::Wait {
            index.refresh()?;
        }
        Ok(())
    };
    permit.run(remove).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn remove_where(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    parameters: WriteParameters,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let parameters = parameters.of_many()?;
    if parameters.durability != Durability::Synced {
        return Err(Problem::new(
            Code::InvalidRequest,
            "deleting by filter always waits for the disk",
        )
        .field("durability")
        .found("buffered")
        .expected("synced")
        .into());
    }
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let remove = move || {
        let request: DeleteRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let (index, deleted) = catalog.write(&name, |index, still| {
            let deleted = index.delete_where_if(&request.filter.0, still)?;
            Ok((index.clone(), deleted))
        })?;
        if parameters.refresh == Refresh::Wait {
            index.refresh()?;
        }
        json::answer(StatusCode::OK, &DeleteAnswer { deleted })
    };
    Ok(permit.run(remove).await?)
}

pub(super) fn if_version(wanted: Option<u64>) -> IfVersion {
    match wanted {
        None => IfVersion::Any,
        Some(0) => IfVersion::Absent,
        Some(version) => IfVersion::Is(version),
    }
}

pub(super) fn no_such_document(index: &str, id: &str) -> Problem {
    Problem::new(
        Code::DocumentNotFound,
        format!("index {index:?} has no such document"),
    )
    .field("id")
    .found(id)
}

pub(super) fn no_outcome() -> Error {
    Error::Bug("a write has no outcome".into())
}

/// The document with the id of its address; where it carries one, the two must agree.
pub(super) fn with_id(
    index: &Index,
    mut document: Map<String, Json>,
    id: &str,
) -> Result<Json, Problem> {
    let id_field = &index.definition().id_field;
    let carried = match document.get(id_field) {
        None => None,
        Some(Json::String(carried)) => Some(carried.clone()),
        Some(other) => Some(other.to_string()),
    };
    match carried {
        None => {
            document.shift_insert(0, id_field.clone(), Json::from(id));
        }
        Some(carried) if carried == id => {}
        Some(carried) => {
            return Err(Problem::new(
                Code::InvalidDocument,
                "the document carries another id than its address",
            )
            .field(id_field)
            .found(carried)
            .expected(format!("{id}, or no id")));
        }
    }
    Ok(Json::Object(document))
}
