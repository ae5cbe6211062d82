//! `/v1/indexes`: what there is, making it, removing it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{HeaderValue, LOCATION};
use axum::http::{Response as HttpResponse, StatusCode};
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
use crate::access::Access;
use crate::error::{Code, Problem};
use crate::index::{Defined, Definition, Index, Stats};

/// The indexes there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IndexList {
    /// By name.
    pub indexes: Vec<IndexEntry>,
    /// What `after` has to be for the next page; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An index in the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IndexEntry {
    /// Its name.
    pub name: String,
    /// What its definition says it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its figures; absent while it is not opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
}

/// One index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IndexAnswer {
    /// What is in force, defaults filled in.
    pub definition: Definition,
    /// Its figures.
    pub stats: Stats,
}

/// The outcome of a compaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompactAnswer {
    /// The index.
    pub compacted: String,
    /// Bytes of its files before.
    pub bytes_before: u64,
    /// And after.
    pub bytes: u64,
}

/// The outcome of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefreshAnswer {
    /// The log sequence that is visible now; all writes answered before the refresh was
    /// asked for are at or below it.
    pub visible_seq: u64,
}

fn answer(status: StatusCode, index: &Index) -> crate::error::Result<HttpResponse<Body>> {
    json::answer(
        status,
        &IndexAnswer {
            definition: index.definition().clone(),
            stats: index.stats(),
        },
    )
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    page: Page,
    Allowed(access): Allowed,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let list = move || {
        let names = reached(&work, &access)?;
        let (names, next) = page.of_sorted(names, |name| name);
        let indexes = entries(&work, names);
        json::answer(StatusCode::OK, &IndexList { indexes, next })
    };
    Ok(permit.run(list).await?)
}

/// The names of the indexes that a caller reaches, in order.
pub(super) fn reached(app: &App, access: &Access) -> crate::error::Result<Vec<String>> {
    let mut names = app.catalog.names_on_disk()?;
    names.retain(|name| access.reaches(name));
    Ok(names)
}

/// What a list says of these indexes. None is opened for it: one that cannot be would make every
/// list slow.
pub(super) fn entries(app: &App, names: Vec<String>) -> Vec<IndexEntry> {
    let open = app.catalog.open_indexes();
    let entry = |name: String| {
        let index = open.iter().find(|index| index.name() == name);
        IndexEntry {
            description: index.and_then(|i| i.definition().description.clone()),
            stats: index.map(|i| i.stats()),
            name,
        }
    };
    names.into_iter().map(entry).collect()
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let create = move || {
        let definition: Definition = json::parse(&body.bytes, Code::InvalidDefinition)?;
        access.require_name(&definition.name)?;
        created(&*catalog.create(definition)?)
    };
    Ok(permit.run(create).await?)
}

fn created(index: &Index) -> crate::error::Result<HttpResponse<Body>> {
    let mut response = answer(StatusCode::CREATED, index)?;
    // A name that was accepted consists of letters, digits, `-` and `_`.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/indexes/{}", index.name())) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn define(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let define = move || {
        let definition: Definition = json::parse(&body.bytes, Code::InvalidDefinition)?;
        // By an alias it is the index that the alias stands for.
        let name = catalog.aliases().remove(&name).unwrap_or(name);
        if definition.name != name {
            return Err(Problem::new(
                Code::InvalidDefinition,
                "the definition carries another name than its address",
            )
            .field("name")
            .found(definition.name)
            .expected(name)
            .into());
        }
        match catalog.define(definition)? {
            Defined::Created(index) => created(&index),
            Defined::Changed(index) | Defined::Same(index) => answer(StatusCode::OK, &index),
        }
    };
    Ok(permit.run(define).await?)
}

pub(super) async fn compact(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    deadline: Deadline,
    _: NoBody,
) -> Result<Response, ApiError> {
    let catalog = app.catalog.clone();
    let index = name.clone();
    let compact = move || {
        let index = catalog.get(&index)?;
        let bytes_before = index.disk_bytes();
        index.compact()?;
        let answer = CompactAnswer {
            compacted: index.name().into(),
            bytes_before,
            bytes: index.disk_bytes(),
        };
        tasks::outcome(StatusCode::OK, &answer)
    };
    tasks::run(&app, TaskKind::Compact, &name, deadline, compact).await
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let catalog = app.catalog.clone();
    let show = move || {
        let index = catalog.get(&name)?;
        answer(StatusCode::OK, &index)
    };
    Ok(permit.run(show).await?)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    if let Some(job) = app.jobs.under_way(&name) {
        return Err(Problem::new(
            Code::TaskRunning,
            format!("a job loads into index {name:?}, so it is not removed"),
        )
        .field("index")
        .found(format!("job {job}"))
        .expected("an index at rest; cancel the job first")
        .into());
    }
    let catalog = app.catalog.clone();
    permit.run(move || catalog.remove(&name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let refresh = move || {
        let visible_seq = catalog.get(&name)?.refresh()?;
        json::answer(StatusCode::OK, &RefreshAnswer { visible_seq })
    };
    Ok(permit.run(refresh).await?)
}
