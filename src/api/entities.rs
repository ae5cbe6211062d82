//! `/v1/entities`: catalogs of names, and linking texts to them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::error::ApiError;
use super::extract::Names;
use super::json;
use super::state::App;
use crate::entity::{
    AddReport, BuildInput, BuildOptions, BuildReport, CatalogInfo, DisambiguateRequest,
    EntityLinker, LinkRequest, MAX_ADDED, NameRecord, NewName, RetrieveEntitiesRequest,
};
use crate::error::{Code, Error, Problem, Result};

/// A catalog to build of a few names; larger ones are built on the command line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogRequest {
    /// Its name, by the rules of names of indexes.
    pub name: String,
    /// The names, at most 10,000.
    #[serde(default)]
    pub names: Vec<NewName>,
    /// The model whose tokenizer spells them; the configuration's encoder where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Names to add to a catalog; all of them are added or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddNamesRequest {
    /// The names, at most 10,000.
    pub names: Vec<NewName>,
}

/// The catalogs there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogList {
    /// In the order of their names.
    pub catalogs: Vec<CatalogInfo>,
}

/// The names of an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntityAnswer {
    /// At least one.
    pub names: Vec<NameRecord>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let list = move || {
        let mut catalogs = Vec::new();
        for name in work.entities.names()? {
            match work.entities.info(&name) {
                Ok(info) => catalogs.push(info),
                // Removed since, or damaged: the others are listed all the same.
                Err(error) => tracing::warn!(catalog = name, %error, "a catalog is not listed"),
            }
        }
        json::answer(StatusCode::OK, &CatalogList { catalogs })
    };
    Ok(permit.run(list).await?)
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let work = app.clone();
    let create = move || {
        let request: CatalogRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let report = created(&work, request)?;
        let mut response = json::answer::<BuildReport>(StatusCode::CREATED, &report)?;
        // A name that was accepted consists of letters, digits, `-` and `_`.
        if let Ok(location) = HeaderValue::from_str(&format!("/v1/entities/{}", report.catalog)) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    };
    Ok(permit.run(create).await?)
}

fn created(app: &App, request: CatalogRequest) -> Result<BuildReport> {
    if request.names.len() > MAX_ADDED {
        return Err(Problem::new(Code::LimitExceeded, "too many names at once")
            .field("names")
            .found(request.names.len())
            .expected(format!(
                "at most {MAX_ADDED}; add more afterwards, or build on the command line"
            ))
            .into());
    }
    let registry = &app.catalog.settings().models;
    let model = request
        .model
        .unwrap_or_else(|| app.entity_settings.encoder.clone());
    let options = BuildOptions {
        model_folder: registry.folder(&model)?,
        model,
        max_tokens: 128,
        replace: false,
    };
    app.entities.build(
        &request.name,
        &options,
        BuildInput {
            names: &mut request.names.into_iter().map(Ok),
            aliases: &mut std::iter::empty(),
            // All of a request's names are taken or none.
            rejects: &mut |rejected| {
                let field = rejected.problem.field.clone().unwrap_or_default();
                let row = rejected.row.saturating_sub(1);
                Err(rejected
                    .problem
                    .field(format!("names[{row}].{field}"))
                    .into())
            },
            progress: &mut |_| {},
        },
    )
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let entities = app.entities.clone();
    let show = move || json::answer::<CatalogInfo>(StatusCode::OK, &entities.info(&name)?);
    Ok(permit.run(show).await?)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let entities = app.entities.clone();
    permit.run(move || entities.delete(&name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn compact(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let entities = app.entities.clone();
    let compact = move || json::answer::<BuildReport>(StatusCode::OK, &entities.compact(&name)?);
    Ok(permit.run(compact).await?)
}

pub(super) async fn add(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let entities = app.entities.clone();
    let add = move || {
        let request: AddNamesRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        json::answer::<AddReport>(StatusCode::OK, &entities.add(&name, request.names)?)
    };
    Ok(permit.run(add).await?)
}

pub(super) async fn entity(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let entities = app.entities.clone();
    let show = move || {
        let names = entities.entity(&name, &id)?;
        json::answer(StatusCode::OK, &EntityAnswer { names })
    };
    Ok(permit.run(show).await?)
}

pub(super) async fn remove_entity(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let entities = app.entities.clone();
    permit
        .run(move || entities.remove(&name, &id, None))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn link(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let link = move || {
        let request: LinkRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let view = work.entities.view(&request.catalog)?;
        json::answer(StatusCode::OK, &linker(&work)?.link(&view, &request)?)
    };
    Ok(permit.run(link).await?)
}

pub(super) async fn disambiguate(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let disambiguate = move || {
        let request: DisambiguateRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let view = work.entities.view(&request.catalog)?;
        json::answer(
            StatusCode::OK,
            &linker(&work)?.disambiguate(&view, &request)?,
        )
    };
    Ok(permit.run(disambiguate).await?)
}

pub(super) async fn retrieve(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let retrieve = move || {
        let request: RetrieveEntitiesRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let view = work.entities.view(&request.catalog)?;
        json::answer(StatusCode::OK, &linker(&work)?.retrieve(&view, &request)?)
    };
    Ok(permit.run(retrieve).await?)
}

/// What links, opened with the first request. That its models cannot be used is the operator's to
/// mend: no caller names them.
fn linker(app: &App) -> Result<&EntityLinker> {
    if let Some(linker) = app.entity_linker.get() {
        return Ok(linker);
    }
    let opened = EntityLinker::open(&app.catalog.settings().models, &app.entity_settings);
    let opened = opened.map_err(|error| match error {
        Error::User(problem) => Error::operator(problem.to_string()),
        other => other,
    })?;
    // Whoever was first is kept.
    Ok(app.entity_linker.get_or_init(|| opened))
}
