//! `/v1/feedback` and `/v1/indexes/{name}/feedback`: what people say about answers, and what
//! an index learns from it.

use std::io::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::Utc;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::around::Deadline;
use super::body::{JsonBody, NoBody};
use super::documents::mark_replayed;
use super::error::ApiError;
use super::export::send;
use super::extract::{IdempotencyKey, Names};
use super::guard::Allowed;
use super::json;
use super::state::App;
use super::tasks::{self, TaskKind};
use crate::error::{Code, Problem, Result};
use crate::feedback::{self, FeedbackEvent, FitRequest};
use crate::index::{Changed, Once, Step};

/// Events to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackRequest {
    /// The index that was searched, or an alias of it.
    pub index: String,
    /// What was said, the earliest first.
    pub events: Vec<FeedbackEvent>,
}

/// The outcome of adding events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeedbackAnswer {
    /// The index that keeps them.
    pub index: String,
    /// Events that were added: all that were sent.
    pub added: u64,
}

/// Which combiner to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// Its version; 0 for the one that is shipped.
    pub version: u32,
}

pub(super) async fn add(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let most = app.limits.feedback_batch;
    let add = move || {
        let request: FeedbackRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        access.require_name(&request.index)?;
        check_count(request.events.len(), most)?;
        let now = Utc::now();
        let mut events = Vec::with_capacity(request.events.len());
        for (i, event) in request.events.into_iter().enumerate() {
            events.push(event.checked(&format!("events[{i}]"), now)?.to_bytes()?);
        }
        catalog.write(&request.index, |index, still| {
            let once = key.once(index, &body.bytes)?;
            if let Some(step) = once.as_ref().and_then(|once| once.steps().last()) {
                let answer: FeedbackAnswer = Once::read(step)?;
                let mut response = json::answer(StatusCode::OK, &answer)?;
                mark_replayed(&mut response);
                return Ok(response);
            }
            let answer = FeedbackAnswer {
                index: index.name().into(),
                added: events.len() as u64,
            };
            let outcome = |_: &[Changed]| json::to_bytes(&answer).map(Some);
            let step = once.as_ref().map(|once| Step::of(once, &outcome));
            index.add_feedback(&events, still, step.as_ref())?;
            json::answer(StatusCode::OK, &answer)
        })
    };
    Ok(permit.run(add).await?)
}

fn check_count(events: usize, most: usize) -> Result<(), Problem> {
    let code = match events {
        0 => Code::InvalidRequest,
        _ if events > most => Code::LimitExceeded,
        _ => return Ok(()),
    };
    Err(Problem::new(code, "there are too few or too many events")
        .field("events")
        .found(events)
        .expected(format!("1 to {most}")))
}

pub(super) async fn status(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let catalog = app.catalog.clone();
    let status = move || {
        let index = catalog.get(&name)?;
        json::answer(StatusCode::OK, &feedback::status(&index)?)
    };
    Ok(permit.run(status).await?)
}

pub(super) async fn fit(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    deadline: Deadline,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let request: FitRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
    drop(body);
    let catalog = app.catalog.clone();
    let index = name.clone();
    let fit = move || {
        let index = catalog.get(&index)?;
        tasks::outcome(StatusCode::OK, &feedback::fit_feedback(&index, &request)?)
    };
    tasks::run(&app, TaskKind::Fit, &name, deadline, fit).await
}

pub(super) async fn activate(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let activate = move || {
        let request: ActivateRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let index = catalog.get(&name)?;
        json::answer(StatusCode::OK, &index.activate_combiner(request.version)?)
    };
    Ok(permit.run(activate).await?)
}

pub(super) async fn roll_back(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    _: NoBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let roll_back =
        move || json::answer(StatusCode::OK, &catalog.get(&name)?.roll_back_combiner()?);
    Ok(permit.run(roll_back).await?)
}

pub(super) async fn export(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.exports.enter(1).await?;
    let catalog = app.catalog.clone();
    let index = permit.run(move || catalog.get(&name)).await?;
    let file = format!("{}-feedback", index.name());
    Ok(send(permit, file, move |pieces| {
        let (done, mut pieces) = feedback::write_feedback(&index, pieces)?;
        // Whoever has left does not miss it.
        let _ = pieces.flush();
        Ok(done.events)
    }))
}
