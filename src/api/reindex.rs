//! `/v1/indexes/{name}/reindex`: an index made anew beside the one that is in use.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::around::Deadline;
use super::body::JsonBody;
use super::error::{ApiError, Failure};
use super::extract::Names;
use super::guard::Allowed;
use super::json;
use super::state::App;
use super::tasks::{self, TaskKind};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Reindex, ReindexProgress, ReindexRequest};

/// Longest wait for one that was called off to end.
const CALLED_OFF: Duration = Duration::from_secs(20);

/// How far a reindexing has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReindexAnswer {
    /// Its figures.
    #[serde(flatten)]
    pub progress: ReindexProgress,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl ReindexAnswer {
    fn new(reindex: &Reindex) -> ReindexAnswer {
        ReindexAnswer {
            progress: reindex.progress(),
            error: reindex.error().map(|error| Failure::from(&*error)),
        }
    }
}

pub(super) async fn begin(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let index = name.clone();
    let begin = move || {
        let request: ReindexRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        for name in std::iter::once(&request.into).chain(&request.alias) {
            access.require_name(name)?;
        }
        catalog.reindex(&index, request)
    };
    let reindex = permit.run(begin).await?;
    let answer = ReindexAnswer::new(&reindex);
    let awaited = reindex.clone();
    // Among the tasks too, where everything is listed that goes on.
    let listed = tasks::begin(&app, TaskKind::Reindex, &name, move || {
        while !awaited.wait_for(Duration::from_secs(3600)) {}
        match awaited.error().as_deref() {
            None => tasks::outcome(StatusCode::OK, &ReindexAnswer::new(&awaited)),
            Some(Error::User(problem)) => Err(problem.as_ref().clone().into()),
            // The thread that it ended on has logged why.
            Some(other) => Err(Error::operator(format!("a reindexing failed: {other}"))),
        }
    });
    if let Err(error) = listed {
        reindex.cancel();
        return Err(error.into());
    }
    let mut response = json::answer(StatusCode::ACCEPTED, &answer)?;
    let address = format!("/v1/indexes/{}/reindex", answer.progress.source);
    // A name that was accepted consists of letters, digits, `-` and `_`.
    if let Ok(location) = HeaderValue::from_str(&address) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let catalog = app.catalog.clone();
    let show = move || {
        json::answer(
            StatusCode::OK,
            &ReindexAnswer::new(&*catalog.reindexing(&name)?),
        )
    };
    Ok(permit.run(show).await?)
}

pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    deadline: Deadline,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let patience = CALLED_OFF.min(deadline.left() / 2);
    let cancel = move || {
        let reindex = catalog.reindexing(&name)?;
        if !reindex.is_running() {
            return Err(Error::from(
                Problem::new(Code::TaskNotFound, "no reindexing of the index goes on")
                    .field("index")
                    .found(&name),
            ));
        }
        reindex.cancel();
        let status = match reindex.wait_for(patience) {
            true => StatusCode::OK,
            false => StatusCode::ACCEPTED,
        };
        json::answer(status, &ReindexAnswer::new(&reindex))
    };
    Ok(permit.run(cancel).await?)
}
