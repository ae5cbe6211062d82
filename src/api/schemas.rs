//! `/v1/schemas`: the databases that are known, and what is written about them.
//!
//! A caller brings a schema (DDL text, or a database as JSON) or names a source of the
//! configuration. No request opens a file or a connection that the configuration does not name.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::error::ApiError;
use super::extract::{Caller, Names};
use super::guard::Allowed;
use super::json;
use super::page::CallersPage;
use super::state::App;
use crate::access::Access;
use crate::error::{Code, Error, Problem, Result};
use crate::sql::import::{ReadOptions, Source};
use crate::sql::{
    Changes, Database, Descriptions, Dialect, Entry, Focus, RetrieveRequest, Retriever,
    ValuesRequest, WhichRequest, check_database_name,
};

/// A schema to import: exactly one of `ddl`, `database` and `source`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaRequest {
    /// Its name in the catalogue, by the rules of names of indexes. Of a source and a database it
    /// may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// DDL text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddl: Option<String>,
    /// What the DDL text is written for; SQLite where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// A schema as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// Name of a source in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether foreign keys that nobody declared are inferred; yes where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infer_keys: Option<bool>,
}

/// What an import has brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaImported {
    pub name: String,
    pub tables: usize,
    /// Columns of all tables.
    pub columns: usize,
    /// Statements of the DDL text that say nothing about the schema.
    pub skipped_statements: usize,
    /// What is not as it was before; nothing where the database is new.
    pub changes: Option<Changes>,
    /// What was left out and why.
    pub notes: Vec<String>,
}

/// The databases that the caller may see tables of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaList {
    pub schemas: Vec<SchemaSummary>,
    /// What `after` has to be for the next page; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A database in the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaSummary {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub dialect: Dialect,
    /// Tables that the caller may see, and their columns.
    pub tables: usize,
    pub columns: usize,
    /// Where it was imported from, without credentials.
    pub source: String,
    #[schemars(with = "String")]
    pub imported_at: DateTime<Utc>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    CallersPage(caller, page): CallersPage,
    Allowed(access): Allowed,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let list = move || {
        let mut schemas = summaries(&work, caller.as_deref())?.schemas;
        schemas.retain(|schema| access.reaches(&schema.name));
        let (schemas, next) = page.of_sorted(schemas, |schema| &schema.name);
        json::answer(StatusCode::OK, &SchemaList { schemas, next })
    };
    Ok(permit.run(list).await?)
}

/// The databases there are.
pub(super) fn summaries(app: &App, caller: Option<&str>) -> Result<SchemaList> {
    let entries = app.schemas.all_visible(caller)?.into_iter();
    let schemas = entries.map(|entry| SchemaSummary {
        name: entry.database.name.clone(),
        description: entry.database.description.clone(),
        dialect: entry.database.dialect,
        tables: entry.database.tables.len(),
        columns: columns(&entry.database),
        source: entry.source.clone(),
        imported_at: entry.imported_at,
    });
    Ok(SchemaList {
        schemas: schemas.collect(),
        next: None,
    })
}

pub(super) async fn import(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let work = app.clone();
    let import = move || {
        let request: SchemaRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        imported(&work, &access, request)
    };
    let (response, name) = permit.run(import).await?;
    tokio::spawn(prepare(app, name));
    Ok(response)
}

/// Encodes what is new of a database, so that the first question does not wait for it.
async fn prepare(app: Arc<App>, name: String) {
    let work = app.clone();
    let database = name.clone();
    // Not among the searches, which are not to wait for it.
    let prepared = match app.preparing.enter(1).await {
        Ok(permit) => {
            let prepare = move || retriever(&work)?.prepare(&work.schemas.get(&database)?);
            permit.run(prepare).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = prepared {
        // The question will say so to whoever asks it.
        tracing::info!(database = name, %error, "a database is not prepared for questions yet");
    }
}

/// The answer, and the name of the database.
fn imported(app: &App, access: &Access, request: SchemaRequest) -> Result<(Response, String)> {
    let SchemaRequest {
        name,
        ddl,
        dialect,
        database,
        source,
        infer_keys,
    } = request;
    let mut descriptions = None;
    let (source, own_name) = match (ddl, database, source) {
        (Some(text), None, None) => (Source::Ddl(text, dialect.unwrap_or_default()), None),
        (None, Some(database), None) => {
            let name = Some(database.name.clone());
            (Source::Database(Box::new(database)), name)
        }
        (None, None, Some(source)) => {
            let known = app
                .schema_settings
                .sources
                .iter()
                .find(|s| s.name == source);
            let known = known.ok_or_else(|| {
                Problem::new(Code::InvalidRequest, "the configuration has no such source")
                    .field("source")
                    .found(&source)
                    .expected("a name out of schemas.sources")
            })?;
            descriptions.clone_from(&known.descriptions);
            let configured = Source::configured(known).map_err(operators)?;
            (configured, Some(source))
        }
        _ => {
            return Err(Problem::new(
                Code::InvalidRequest,
                "the request brings no schema, or several",
            )
            .expected("one of ddl, database and source")
            .into());
        }
    };
    let name = name.or(own_name).ok_or_else(|| {
        Problem::new(Code::InvalidRequest, "the database needs a name")
            .field("name")
            .expected("a name")
    })?;
    check_database_name(&name)?;
    access.require_name(&name)?;
    let options = ReadOptions::new(&app.schema_settings);
    let shown = source.to_string();
    let callers = matches!(source, Source::Ddl(..) | Source::Database(_));
    let read = source.read(&name, &options).and_then(|read| {
        read.refine(
            &options,
            infer_keys.unwrap_or(true),
            descriptions.as_deref(),
        )
    });
    let read = read.map_err(|error| if callers { error } else { operators(error) })?;
    let mut answer = SchemaImported {
        name,
        tables: read.database.tables.len(),
        columns: columns(&read.database),
        skipped_statements: read.skipped,
        changes: None,
        notes: read.notes,
    };
    answer.changes = app.schemas.put(read.database, &read.cells, &shown)?;
    let status = match answer.changes {
        None => StatusCode::CREATED,
        Some(_) => StatusCode::OK,
    };
    let mut response = json::answer(status, &answer)?;
    // A name that was accepted consists of letters, digits, `-` and `_`.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/schemas/{}", answer.name)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok((response, answer.name))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    Caller(caller): Caller,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let schemas = app.schemas.clone();
    let show = move || {
        let entry = schemas.visible(&name, caller.as_deref())?;
        json::answer::<Entry>(StatusCode::OK, &entry)
    };
    Ok(permit.run(show).await?)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let schemas = app.schemas.clone();
    permit.run(move || schemas.remove(&name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/schemas:retrieve`: which database answers a question.
pub(super) async fn which(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let which = move || {
        let request: WhichRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let entries = work.schemas.all_visible(request.caller.as_deref())?;
        let registry = &work.catalog.settings().models;
        let answer = retriever(&work)?.which(registry, &entries, &request)?;
        json::answer(StatusCode::OK, &answer)
    };
    Ok(permit.run(which).await?)
}

/// `POST /v1/schemas/{db}:retrieve` and `POST /v1/schemas/{db}:values`.
pub(super) async fn act(
    State(app): State<Arc<App>>,
    Names(address): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let action = address.rsplit_once(':');
    let action = action.map(|(name, action)| (name.to_string(), action.to_string()));
    if let Some((name, _)) = &action {
        prepared(&app, name).await;
    }
    let permit = app.searches.enter(1).await?;
    let work = app.clone();
    let act = move || match action
        .as_ref()
        .map(|(name, action)| (name, action.as_str()))
    {
        Some((name, "retrieve")) => {
            let request: RetrieveRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
            json::answer(StatusCode::OK, &retrieved(&work, name, &request)?)
        }
        Some((name, "values")) => {
            let request: ValuesRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
            let entry = work.schemas.visible(name, request.caller.as_deref())?;
            json::answer(StatusCode::OK, &retriever(&work)?.values(&entry, &request)?)
        }
        _ => Err(
            Problem::new(Code::InvalidRequest, "there is nothing of this name to do")
                .field("path")
                .found(&address)
                .expected("{db}:retrieve or {db}:values")
                .into(),
        ),
    };
    Ok(permit.run(act).await?)
}

/// Waits a while for somebody who makes a database ready: before a question has its turn, which it
/// would keep from others.
pub(super) async fn prepared(app: &App, name: &str) {
    const AGAIN: Duration = Duration::from_millis(25);
    // Longer than that, the question has its turn and is told itself.
    const TIMES: u32 = 400;
    let is_preparing = || app.retriever.get().is_some_and(|r| r.is_preparing(name));
    for _ in 0..TIMES {
        if !is_preparing() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What answers questions, opened with the first.
pub(super) fn retriever(app: &App) -> Result<&Retriever> {
    if app.retriever.get().is_none() {
        // Models are large: one is loaded for all who ask.
        let _turn = app.opening.lock();
        if let Some(retriever) = app.retriever.get() {
            return Ok(retriever);
        }
        let registry = &app.catalog.settings().models;
        let settings = &app.schema_settings;
        let opened = Retriever::open(registry, &settings.encoder, &settings.linker);
        // Whoever was first is kept.
        let _ = app.retriever.set(opened.map_err(operators)?);
    }
    app.retriever
        .get()
        .ok_or_else(|| Error::Bug("what was set is not there".into()))
}

/// What a question needs of a database.
pub(super) fn retrieved(app: &App, name: &str, request: &RetrieveRequest) -> Result<Focus> {
    let entry = app.schemas.visible(name, request.caller.as_deref())?;
    let registry = &app.catalog.settings().models;
    retriever(app)?.retrieve(registry, &entry, request)
}

pub(super) async fn describe(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let schemas = app.schemas.clone();
    let describe = move || {
        let written: Descriptions = json::parse(&body.bytes, Code::InvalidRequest)?;
        let entry = schemas.describe(&name, |of, _| {
            *of = written;
            Ok(())
        })?;
        json::answer(StatusCode::OK, &entry.written)
    };
    Ok(permit.run(describe).await?)
}

/// What is wrong with a source is the operator's to mend, and for the log: a caller learns no
/// path of this machine.
fn operators(error: Error) -> Error {
    match error {
        Error::User(problem) => Error::operator(problem.to_string()),
        other => other,
    }
}

fn columns(database: &Database) -> usize {
    database
        .tables
        .iter()
        .map(|table| table.columns.len())
        .sum()
}
