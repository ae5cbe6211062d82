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
use super::bulk::{Bulk, BulkStatus};
use super::error::ApiError;
use super::extract::{Names, Refresh};
use super::json;
use super::state::App;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Index, Written};

/// A stored document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentAnswer {
    /// Its id.
    pub id: String,
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
}

pub(super) async fn bulk(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    refresh: Refresh,
    deadline: Deadline,
    BulkBody(body): BulkBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let most = app.limits.bulk_documents;
    let catalog = app.catalog.clone();
    let bulk = permit
        .run(move || Bulk::new(catalog.get(&name)?, body, most))
        .await?;
    let answer = bulk.write(&permit, deadline).await?;
    if refresh == Refresh::Wait {
        permit.run(move || bulk.index().refresh()).await?;
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
    refresh: Refresh,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let put = move || {
        let document: Map<String, Json> = json::parse(&body.bytes, Code::InvalidDocument)?;
        let index = catalog.get(&name)?;
        let document = with_id(&index, document, &id)?;
        let prepared = index.prepare(document)?;
        let encoded = index.encode(vec![prepared])?;
        let written = index.write(&encoded)?;
        if refresh == Refresh::Wait {
            index.refresh()?;
        }
        let (status, outcome) = match written.first() {
            Some(Written::Created) => (StatusCode::CREATED, BulkStatus::Created),
            Some(Written::Updated) => (StatusCode::OK, BulkStatus::Updated),
            None => return Err(Error::Bug("a write has no outcome".into())),
        };
        json::answer(
            status,
            &WriteAnswer {
                id,
                status: outcome,
            },
        )
    };
    Ok(permit.run(put).await?)
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let catalog = app.catalog.clone();
    let show = move || {
        let document = catalog.get(&name)?.get(&id)?;
        json::answer(StatusCode::OK, &DocumentAnswer { id, document })
    };
    Ok(permit.run(show).await?)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
    refresh: Refresh,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let remove = move || {
        let index = catalog.get(&name)?;
        if !index.delete(&id)? {
            return Err(Problem::new(
                Code::DocumentNotFound,
                format!("index {name:?} has no such document"),
            )
            .field("id")
            .found(id)
            .into());
        }
        if refresh == Refresh::Wait {
            index.refresh()?;
        }
        Ok(())
    };
    permit.run(remove).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The document with the id of its address; where it carries one, the two must agree.
fn with_id(index: &Index, mut document: Map<String, Json>, id: &str) -> Result<Json, Problem> {
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
