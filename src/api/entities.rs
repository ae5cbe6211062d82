//! `/v1/entities`: catalogs of names, and linking texts to them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::around::Deadline;
use super::body::{JsonBody, Payload};
use super::error::ApiError;
use super::extract::Names;
use super::guard::Allowed;
use super::json;
use super::page::Page;
use super::state::App;
use super::tasks::{self, TaskKind};
use crate::access::Access;
use crate::entity::View;
use crate::entity::{
    AddReport, BuildInput, BuildOptions, BuildReport, CatalogInfo, DisambiguateRequest,
    EntityLinker, LinkRequest, MAX_ADDED, NameRecord, NewName, RetrieveEntitiesRequest,
};
use crate::error::{Code, Error, Problem, Result};
use crate::model::Cancellation;

/// A catalog to build of a few names; larger ones are built on the command line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogRequest {
    /// Its name, by the rules of names of indexes.
    pub name: String,
    /// The names, at most 10,000.
    #[serde(default)]
    pub names: Vec<NewName>,
    /// The model whose tokenizer spells them; where it is not said, the configuration's generator, or
    /// its encoder where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether names are spelled as they are behind a space, for generators that write them there.
    #[serde(default)]
    pub after_space: bool,
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
    /// What `after` has to be for the next page; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The names of an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntityAnswer {
    /// At least one.
    pub names: Vec<NameRecord>,
}

/// Answers a question when its turn has come.
async fn ask(
    app: Arc<App>,
    answer: impl FnOnce(&App) -> Result<Response> + Send + 'static,
) -> Result<Response, ApiError> {
    let work = app.clone();
    let permit = app.searches.enter(1).await?;
    Ok(permit.run(move || answer(&work)).await?)
}

/// Links something when its turn has come, as long as the caller waits for it. What the caller
/// may not see, or is not there, is said before a model is opened.
async fn work<R: DeserializeOwned + 'static>(
    app: Arc<App>,
    access: Access,
    body: Payload,
    catalog: fn(&R) -> &str,
    answer: impl FnOnce(&EntityLinker, &View, &R) -> Result<Response> + Send + 'static,
) -> Result<Response, ApiError> {
    let permit = app.linkings.enter(1).await?;
    let cancellation = Cancellation::default();
    // Dropped with this future when the caller leaves or its time is up.
    let _leaving = cancellation.on_drop();
    let work = app.clone();
    let answer = move || {
        let request: R = json::parse(&body.bytes, Code::InvalidRequest)?;
        let name = catalog(&request);
        linking(&work, &access, name, &cancellation, |linker, view| {
            answer(linker, view, &request)
        })
    };
    Ok(permit.run(answer).await?)
}

/// Links something to a catalog that the caller has to reach, until it is cancelled.
pub(super) fn linking<T>(
    app: &App,
    access: &Access,
    catalog: &str,
    cancellation: &Cancellation,
    answer: impl FnOnce(&EntityLinker, &View) -> Result<T>,
) -> Result<T> {
    access.require_name(catalog)?;
    let view = app.entities.view(catalog)?;
    let linker = linker(app)?.until(cancellation);
    answer(&linker, &view)
}

/// Changes something when its turn has come.
async fn change(
    app: Arc<App>,
    change: impl FnOnce(&App) -> Result<Response> + Send + 'static,
) -> Result<Response, ApiError> {
    let work = app.clone();
    let permit = app.writes.enter(1).await?;
    Ok(permit.run(move || change(&work)).await?)
}

fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    page: Page,
    Allowed(access): Allowed,
) -> Result<Response, ApiError> {
    let list = move |app: &App| {
        let names = reached(app, &access)?;
        let (names, next) = page.of_sorted(names, |name| name);
        let catalogs = infos(app, names);
        json::answer(StatusCode::OK, &CatalogList { catalogs, next })
    };
    ask(app, list).await
}

/// The names of the catalogs that a caller reaches, in order.
pub(super) fn reached(app: &App, access: &Access) -> Result<Vec<String>> {
    let mut names = app.entities.names()?;
    names.retain(|name| access.reaches(name));
    Ok(names)
}

/// What a list says of these catalogs.
pub(super) fn infos(app: &App, names: Vec<String>) -> Vec<CatalogInfo> {
    let mut catalogs = Vec::new();
    for name in names {
        match app.entities.info(&name) {
            Ok(info) => catalogs.push(info),
            // Removed since, or damaged: the others are listed all the same.
            Err(error) => tracing::warn!(catalog = name, %error, "a catalog is not listed"),
        }
    }
    catalogs
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let create = move |app: &App| {
        let request: CatalogRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        access.require_name(&request.name)?;
        let report = created(app, request)?;
        let mut response = json::answer::<BuildReport>(StatusCode::CREATED, &report)?;
        // A name that was accepted consists of letters, digits, `-` and `_`.
        if let Ok(location) = HeaderValue::from_str(&format!("/v1/entities/{}", report.catalog)) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    };
    change(app, create).await
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
        .unwrap_or_else(|| app.entity_settings.speller().to_owned());
    let options = BuildOptions {
        model_folder: registry.folder(&model)?,
        model,
        max_tokens: 128,
        after_space: request.after_space,
        replace: false,
    };
    app.entities
        .build(
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
        .map_err(|error| match error {
            // As the request calls it.
            Error::User(problem) if problem.field.as_deref() == Some("catalog") => {
                problem.field("name").into()
            }
            other => other,
        })
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let show =
        move |app: &App| json::answer::<CatalogInfo>(StatusCode::OK, &app.entities.info(&name)?);
    ask(app, show).await
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let remove = move |app: &App| app.entities.delete(&name).map(|_| done());
    change(app, remove).await
}

pub(super) async fn compact(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    deadline: Deadline,
) -> Result<Response, ApiError> {
    let (entities, catalog) = (app.entities.clone(), name.clone());
    let compact = move || {
        let report: BuildReport = entities.compact(&catalog, &mut |_| {})?;
        tasks::outcome(StatusCode::OK, &report)
    };
    // Refused at once where there is nothing to compact.
    let named = name.clone();
    ask(app.clone(), move |app| {
        app.entities.view(&named)?;
        Ok(done())
    })
    .await?;
    tasks::run(&app, TaskKind::CompactCatalog, &name, deadline, compact).await
}

pub(super) async fn add(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let add = move |app: &App| {
        let request: AddNamesRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        json::answer::<AddReport>(StatusCode::OK, &app.entities.add(&name, request.names)?)
    };
    change(app, add).await
}

pub(super) async fn entity(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
) -> Result<Response, ApiError> {
    let show = move |app: &App| {
        let names = app.entities.entity(&name, &id)?;
        json::answer(StatusCode::OK, &EntityAnswer { names })
    };
    ask(app, show).await
}

pub(super) async fn remove_entity(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
) -> Result<Response, ApiError> {
    let remove = move |app: &App| app.entities.remove(&name, &id, None).map(|_| done());
    change(app, remove).await
}

pub(super) async fn link(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let answer = |linker: &EntityLinker, view: &View, request: &LinkRequest| {
        json::answer(StatusCode::OK, &linker.link(view, request)?)
    };
    work(app, access, body, |request| &request.catalog, answer).await
}

pub(super) async fn disambiguate(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let answer = |linker: &EntityLinker, view: &View, request: &DisambiguateRequest| {
        json::answer(StatusCode::OK, &linker.disambiguate(view, request)?)
    };
    work(app, access, body, |request| &request.catalog, answer).await
}

pub(super) async fn retrieve(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let answer = |linker: &EntityLinker, view: &View, request: &RetrieveEntitiesRequest| {
        json::answer(StatusCode::OK, &linker.retrieve(view, request)?)
    };
    work(app, access, body, |request| &request.catalog, answer).await
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
