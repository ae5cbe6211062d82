//! `/v1/jobs`: loads of files that the server reads itself, beyond any request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::around::Deadline;
use super::body::OptionalJsonBody;
use super::error::{ApiError, INTERNAL, OPERATOR_ERROR, STORAGE_FULL};
use super::extract::Names;
use super::gate::Permit;
use super::guard::Allowed;
use super::json;
use super::page::Page;
use super::state::App;
use crate::access::Access;
use crate::error::{Code, Error, Problem, Result};
use crate::ingest::{Format, Mapping, SourceOptions};
use crate::jobs::not_found;
use crate::jobs::{JobAction, JobOptions, JobReport, JobState, Jobs, MaxRejects};

/// Longest wait for a job that was told to stop to do so.
const STOPPING: Duration = Duration::from_secs(20);
/// Time between two events of a job that runs.
const EVERY: Duration = Duration::from_millis(500);
/// Most of a file of rejects that is answered with, in bytes.
const MOST_REJECTS: u64 = 64 << 20;

/// A job to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// The index, by name or alias.
    pub index: String,
    /// Absolute paths of files and folders, patterns, and URLs, below those that
    /// `ingest.sources` of the configuration names.
    pub inputs: Vec<String>,
    /// What the files hold; by their names where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Which column becomes which field.
    #[serde(default)]
    pub mapping: Mapping,
    /// Rejected rows past which it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rejects: Option<MaxRejects>,
}

/// What a job is to go on with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobActionRequest {
    /// Another limit on rejected rows from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rejects: Option<MaxRejects>,
}

/// The jobs there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    /// The latest first.
    pub jobs: Vec<JobReport>,
    /// What `after` has to be for the next page; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What the caller may know: where the server keeps its files, and what is wrong with them, is
/// for its operator.
fn told(mut report: JobReport) -> JobReport {
    let address = format!("/v1/jobs/{}/rejects", report.id);
    report.rejects = report.rejects.map(|_| address.into());
    if let Some(error) = &mut report.error {
        let message = match error.code.as_str() {
            OPERATOR_ERROR => {
                "the server has a trouble that its operator has to mend; its log names it"
            }
            STORAGE_FULL => {
                "the server's disk is full; nothing can be written until its operator makes room and restarts it"
            }
            INTERNAL => "something went wrong inside the server; its log names it",
            _ => return report,
        };
        error.message = message.into();
    }
    report
}

/// What is known of a job that the caller reaches; of others as little as of those that are not.
fn reached(jobs: &Jobs, access: &Access, id: &str) -> Result<JobReport> {
    let report = jobs.report(id)?;
    match access.reaches(&report.index) {
        true => Ok(report),
        false => Err(not_found(id).into()),
    }
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    super::body::JsonBody(body): super::body::JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let jobs = app.jobs.clone();
    let settings = app.ingest.clone();
    let create = move || {
        let request: JobRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        access.require_name(&request.index)?;
        request.mapping.check()?;
        let options = JobOptions {
            source: SourceOptions {
                format: request.format,
                mapping: request.mapping,
                max_row_bytes: settings.row_bytes,
                max_batch_bytes: settings.arrow_batch_bytes,
                ..SourceOptions::default()
            },
            max_rejects: request.max_rejects,
        };
        jobs.create(&request.index, &request.inputs, options)
    };
    let report = permit.run(create).await.map_err(as_request)?;
    let mut response = json::answer(StatusCode::ACCEPTED, &told(report.clone()))?;
    // Letters and digits alone.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/jobs/{}", report.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// A limit that is none is the caller's here, not the configuration's.
fn as_request(error: Error) -> Error {
    match error {
        Error::User(problem) if problem.code == Code::InvalidConfiguration => {
            let code = Code::InvalidRequest;
            Error::User(Box::new(Problem { code, ..*problem }))
        }
        other => other,
    }
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    page: Page,
    Allowed(access): Allowed,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let jobs = app.jobs.clone();
    let list = move || {
        let mut jobs = jobs.list()?;
        jobs.retain(|job| access.reaches(&job.index));
        let (jobs, next) = page.of(jobs, |job| &job.id)?;
        let jobs = jobs.into_iter().map(told).collect();
        json::answer(StatusCode::OK, &JobList { jobs, next })
    };
    Ok(permit.run(list).await?)
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    Names(id): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let jobs = app.jobs.clone();
    let show = move || json::answer(StatusCode::OK, &told(reached(&jobs, &access, &id)?));
    Ok(permit.run(show).await?)
}

/// `/v1/jobs/{id}:pause` and its like.
pub(super) async fn act(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    Names(named): Names<String>,
    deadline: Deadline,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, ApiError> {
    let (id, action) = asked(&named)?;
    let permit = app.writes.enter(1).await?;
    let jobs = app.jobs.clone();
    let patience = STOPPING.min(deadline.left() / 2);
    let act = move || {
        let request: JobActionRequest = match body {
            Some(body) => json::parse(&body.bytes, Code::InvalidRequest)?,
            None => JobActionRequest::default(),
        };
        reached(&jobs, &access, &id)?;
        let (report, has_happened) = jobs.act(&id, action, request.max_rejects, patience)?;
        let status = match has_happened {
            true => StatusCode::OK,
            false => StatusCode::ACCEPTED,
        };
        json::answer(status, &told(report))
    };
    Ok(permit.run(act).await.map_err(as_request)?)
}

/// The id and the action of `ID:ACTION`.
fn asked(named: &str) -> Result<(String, JobAction), Problem> {
    let actions = [
        JobAction::Pause,
        JobAction::Resume,
        JobAction::Cancel,
        JobAction::Retry,
    ];
    let (id, action) = named.rsplit_once(':').unwrap_or((named, ""));
    let known = actions.into_iter().find(|known| known.as_str() == action);
    let known = known.ok_or_else(|| {
        Problem::new(Code::RouteNotFound, "a job cannot be asked to do that")
            .field("path")
            .found(named)
            .expected("ID:pause, ID:resume, ID:cancel or ID:retry")
    })?;
    Ok((id.to_string(), known))
}

/// The file of a job's rejects, as far as it is durable.
pub(super) async fn rejects(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    Names(id): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let jobs = app.jobs.clone();
    let read = move || {
        use std::io::Read;
        reached(&jobs, &access, &id)?;
        let Some((path, bytes)) = jobs.rejects(&id)? else {
            return Ok(Vec::new());
        };
        let mut lines = Vec::new();
        let cannot = |e| {
            Error::operator_from(
                format!("the rejects file {} cannot be read", path.display()),
                e,
            )
        };
        let file = std::fs::File::open(&path).map_err(cannot)?;
        file.take(bytes.min(MOST_REJECTS))
            .read_to_end(&mut lines)
            .map_err(cannot)?;
        Ok(lines)
    };
    let lines = permit.run(read).await?;
    let mut response = Response::new(lines.into());
    let media_type = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    Ok(response)
}

/// How far a job comes, as server-sent events: `progress` whenever something has changed, twice
/// a second at most, and at last `end` with the whole report.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    Names(id): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.watchers.enter(1).await?;
    // One that is not there is answered as such.
    let found = report(&app, &permit, &id).await?;
    if !access.reaches(&found.index) {
        return Err(not_found(&id).into());
    }
    let events = Sse::new(changes(app, permit, id)).keep_alive(KeepAlive::default());
    Ok(events.into_response())
}

async fn report(app: &Arc<App>, permit: &Permit, id: &str) -> Result<JobReport> {
    let (jobs, id) = (app.jobs.clone(), id.to_string());
    permit.run(move || jobs.report(&id).map(told)).await
}

/// What whoever watches has been told.
struct Watched {
    app: Arc<App>,
    permit: Permit,
    id: String,
    last: Option<String>,
    ended: bool,
}

fn changes(
    app: Arc<App>,
    permit: Permit,
    id: String,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let watched = Watched {
        app,
        permit,
        id,
        last: None,
        ended: false,
    };
    stream::unfold(watched, |mut watched| async move {
        if watched.ended {
            return None;
        }
        loop {
            if watched.last.is_some() {
                tokio::time::sleep(EVERY).await;
            }
            // A server that stops does not wait for those who watch.
            if watched.app.jobs.is_stopping() {
                return None;
            }
            let report = report(&watched.app, &watched.permit, &watched.id)
                .await
                .ok()?;
            let text = serde_json::to_string(&report).ok()?;
            if report.state.has_ended() {
                watched.ended = true;
                return Some((Ok(Event::default().event("end").data(text)), watched));
            }
            let idle = report.state != JobState::Running;
            if idle && watched.last.as_ref() == Some(&text) {
                continue;
            }
            watched.last = Some(text.clone());
            return Some((Ok(Event::default().event("progress").data(text)), watched));
        }
    })
}
