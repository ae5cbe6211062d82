//! `/v1/schemas/{db}/examples`: stored questions with their SQL.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::error::ApiError;
use super::extract::{Caller, Names};
use super::json;
use super::page::CallersPage;
use super::schemas::retriever;
use super::state::App;
use crate::error::Code;
use crate::sql::{AnnotateRequest, Example, NewExample, SimilarRequest};

/// Examples to store: all or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExamplesRequest {
    /// 1 to 10,000.
    pub examples: Vec<NewExample>,
    /// Who asks; needed where the database has permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// The examples there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExampleList {
    /// In the order in which they were stored.
    pub examples: Vec<Example>,
    /// What `after` has to be for the next page; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    CallersPage(caller, page): CallersPage,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let schemas = app.schemas.clone();
    let list = move || {
        let entry = schemas.visible(&name, caller.as_deref())?;
        let (examples, next) = page.of(entry.examples()?, |example| &example.id)?;
        json::answer(StatusCode::OK, &ExampleList { examples, next })
    };
    Ok(permit.run(list).await?)
}

pub(super) async fn add(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let schemas = app.schemas.clone();
    let add = move || {
        let request: ExamplesRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let entry = schemas.visible(&name, request.caller.as_deref())?;
        let added = schemas.add_examples(&entry, &request.examples)?;
        json::answer(StatusCode::OK, &added)
    };
    Ok(permit.run(add).await?)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
    Caller(caller): Caller,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let schemas = app.schemas.clone();
    let remove = move || {
        let entry = schemas.visible(&name, caller.as_deref())?;
        schemas.remove_example(&entry, &id)
    };
    permit.run(remove).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn similar(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let similar = move || {
        let request: SimilarRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let entry = work.schemas.visible(&name, request.caller.as_deref())?;
        json::answer(
            StatusCode::OK,
            &retriever(&work)?.similar(&entry, &request)?,
        )
    };
    Ok(permit.run(similar).await?)
}

pub(super) async fn annotate(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let annotate = move || {
        let request: AnnotateRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let entry = work.schemas.visible(&name, request.caller.as_deref())?;
        json::answer(
            StatusCode::OK,
            &retriever(&work)?.annotate(&entry, &request)?,
        )
    };
    Ok(permit.run(annotate).await?)
}
