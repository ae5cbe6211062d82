//! Work that may take longer than a request: it goes on when the request's time is up, and
//! can be asked for.
//!
//! Such a request is answered with its outcome where that comes in time, and with 202 and
//! the address of its task otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tracing::{Instrument, error, info};

use super::around::Deadline;
use super::error::{ApiError, Failure, in_full};
use super::extract::Names;
use super::gate::Gate;
use super::guard::Allowed;
use super::json;
use super::page::Page;
use super::state::App;
use crate::error::{Code, Error, Problem, Result};

/// Tasks at work at once; further ones are turned away.
const AT_ONCE: usize = 8;
/// Tasks that ended and are remembered.
const REMEMBERED: usize = 100;
/// What is left of a request's time when it is answered that the task goes on.
const MARGIN: Duration = Duration::from_secs(1);

/// The tasks there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskList {
    /// The latest first; of those that ended, the last hundred since the server started.
    pub tasks: Vec<TaskAnswer>,
    /// What `after` has to be for the next page; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Work that may take longer than a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskAnswer {
    /// Names it in `/v1/tasks/{id}`.
    pub id: String,
    /// What is done.
    pub kind: TaskKind,
    /// To which index or catalog of entities, as the request named it.
    pub index: String,
    /// Whether it goes on.
    pub state: TaskState,
    /// When it began, in UTC.
    pub started: String,
    /// Time it has taken.
    pub seconds: f64,
    /// What the request would have been answered with, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// What a task does.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// Gives back what was deleted or replaced.
    Compact,
    /// Takes a snapshot.
    Snapshot,
    /// Makes an index of a snapshot.
    Restore,
    /// Makes an index anew of another one.
    Reindex,
    /// Fits a combiner on an index's feedback.
    Fit,
    /// Seals what was added to a catalog of entities and removed from it.
    #[serde(rename = "compact_catalog")]
    CompactCatalog,
}

impl TaskKind {
    /// The spelling on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskKind::Compact => "compact",
            TaskKind::Snapshot => "snapshot",
            TaskKind::Restore => "restore",
            TaskKind::Reindex => "reindex",
            TaskKind::Fit => "fit",
            TaskKind::CompactCatalog => "compact_catalog",
        }
    }
}

/// Whether a task goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It does.
    Running,
    /// It ended well.
    Done,
    /// It did not; the error says why.
    Failed,
}

/// The tasks of a server.
pub(super) struct Tasks {
    gate: Gate,
    all: Mutex<VecDeque<Task>>,
    /// How many have ended, well and not.
    ended: Mutex<BTreeMap<TaskKind, (u64, u64)>>,
}

/// How many tasks of a kind there are and were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TaskFigures {
    /// Those that go on.
    pub running: u64,
    /// Those that ended well.
    pub done: u64,
    /// Those that did not.
    pub failed: u64,
}

struct Task {
    id: String,
    kind: TaskKind,
    index: String,
    began: DateTime<Utc>,
    started: Instant,
    ended: Option<(Duration, Result<Json, Failure>)>,
}

impl Task {
    fn answer(&self) -> TaskAnswer {
        let (took, result, error) = match &self.ended {
            None => (self.started.elapsed(), None, None),
            Some((took, Ok(result))) => (*took, Some(result.clone()), None),
            Some((took, Err(error))) => (*took, None, Some(error.clone())),
        };
        TaskAnswer {
            id: self.id.clone(),
            kind: self.kind,
            index: self.index.clone(),
            state: match (&result, &error) {
                (_, Some(_)) => TaskState::Failed,
                (Some(_), None) => TaskState::Done,
                (None, None) => TaskState::Running,
            },
            started: self.began.to_rfc3339_opts(SecondsFormat::Millis, true),
            seconds: took.as_secs_f64(),
            result,
            error,
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Tasks {
            gate: Gate::new(AT_ONCE, 0, Duration::ZERO),
            all: Mutex::default(),
            ended: Mutex::default(),
        }
    }
}

impl Tasks {
    fn begin(&self, kind: TaskKind, index: &str) -> Result<String> {
        let mut all = self.all.lock();
        // To do it twice at once gains nothing.
        let twin = |task: &&Task| {
            (task.kind, task.index.as_str(), task.ended.is_none()) == (kind, index, true)
        };
        if matches!(
            kind,
            TaskKind::Compact | TaskKind::Fit | TaskKind::CompactCatalog
        ) && let Some(twin) = all.iter().find(twin)
        {
            return Err(Problem::new(
                Code::TaskRunning,
                match kind {
                    TaskKind::Fit => {
                        format!("a combiner of index {index:?} is being fitted already")
                    }
                    TaskKind::CompactCatalog => {
                        format!("catalog {index:?} is being compacted already")
                    }
                    _ => format!("index {index:?} is being compacted already"),
                },
            )
            .field("index")
            .found(format!("task {}", twin.id))
            .expected("one at a time")
            .into());
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        all.push_front(Task {
            id: id.clone(),
            kind,
            index: index.into(),
            began: Utc::now(),
            started: Instant::now(),
            ended: None,
        });
        let mut ended = 0;
        all.retain(|task| {
            ended += usize::from(task.ended.is_some());
            task.ended.is_none() || ended <= REMEMBERED
        });
        Ok(id)
    }

    fn end(&self, id: &str, outcome: Result<Json, Failure>) {
        let mut all = self.all.lock();
        if let Some(task) = all.iter_mut().find(|task| task.id == id) {
            let mut ended = self.ended.lock();
            let (done, failed) = ended.entry(task.kind).or_default();
            *if outcome.is_ok() { done } else { failed } += 1;
            task.ended = Some((task.started.elapsed(), outcome));
        }
    }

    /// What bounds them.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// How many there are and were since the server was started, by their kind.
    pub(super) fn figures(&self) -> BTreeMap<TaskKind, TaskFigures> {
        let mut figures: BTreeMap<TaskKind, TaskFigures> = BTreeMap::new();
        for task in self.all.lock().iter().filter(|task| task.ended.is_none()) {
            figures.entry(task.kind).or_default().running += 1;
        }
        for (&kind, &(done, failed)) in self.ended.lock().iter() {
            let figures = figures.entry(kind).or_default();
            (figures.done, figures.failed) = (done, failed);
        }
        figures
    }

    fn answer(&self, id: &str) -> Option<TaskAnswer> {
        let all = self.all.lock();
        all.iter().find(|task| task.id == id).map(Task::answer)
    }
}

/// What a task comes to: a status and a body.
pub(super) type Outcome = (StatusCode, Json);

/// The outcome of a task.
pub(super) fn outcome<T: Serialize>(status: StatusCode, body: &T) -> Result<Outcome> {
    let body = serde_json::to_value(body)
        .map_err(|error| Error::Bug(format!("an answer does not serialise: {error}")))?;
    Ok((status, body))
}

/// Begins a task and waits for it as long as the request may take; 202 with the task where
/// it goes on after that.
pub(super) async fn run<F>(
    app: &Arc<App>,
    kind: TaskKind,
    index: &str,
    deadline: Deadline,
    work: F,
) -> Result<Response, ApiError>
where
    F: FnOnce() -> Result<Outcome> + Send + 'static,
{
    let Begun { id, done } = begin(app, kind, index, work)?;
    let left = deadline.left();
    let patience = left.saturating_sub(MARGIN.min(left / 4));
    match tokio::time::timeout(patience, done).await {
        Ok(Ok(Ok((status, body)))) => Ok(json::answer(status, &body)?),
        Ok(Ok(Err(error))) => Err(error.into()),
        Ok(Err(_)) => Err(Error::Bug("a task ended without an outcome".into()).into()),
        Err(_) => Ok(goes_on(app, &id)?),
    }
}

/// A task that was begun.
pub(super) struct Begun {
    id: String,
    done: tokio::sync::oneshot::Receiver<Result<Outcome>>,
}

/// Begins a task that nobody waits for.
///
/// # Errors
/// `overloaded` for too many at once, `task_running` for one that is under way.
pub(super) fn begin<F>(app: &Arc<App>, kind: TaskKind, index: &str, work: F) -> Result<Begun>
where
    F: FnOnce() -> Result<Outcome> + Send + 'static,
{
    let permit = app.tasks.gate.try_enter(1).ok_or_else(|| {
        let gate = &app.tasks.gate;
        gate.refuse("as many long tasks are at work as may be")
    })?;
    let id = app.tasks.begin(kind, index)?;
    let (send, done) = tokio::sync::oneshot::channel();
    let (tasks, named, task) = (app.clone(), index.to_string(), id.clone());
    let span = tracing::info_span!("task", id);
    let work = async move {
        let result = permit.run(work).await;
        let ended = match &result {
            Ok((_, body)) => Ok(body.clone()),
            Err(error) => Err(Failure::from(error)),
        };
        tasks.tasks.end(&task, ended);
        if let Err(result) = send.send(result) {
            // Who asked was told that it goes on, or has left.
            match result {
                Ok(_) => info!(index = named, ?kind, "a task is done"),
                Err(error) => {
                    error!(
                        index = named,
                        ?kind,
                        detail = in_full(&error),
                        "a task failed"
                    );
                }
            }
        }
    };
    tokio::spawn(work.instrument(span));
    Ok(Begun { id, done })
}

fn goes_on(app: &App, id: &str) -> Result<Response> {
    let task = app.tasks.answer(id).ok_or_else(|| unknown(id))?;
    let mut response = json::answer(StatusCode::ACCEPTED, &task)?;
    // Letters and digits alone.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/tasks/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

fn unknown(id: &str) -> Problem {
    Problem::new(Code::TaskNotFound, "there is no such task")
        .field("id")
        .found(id)
        .expected("a task of this server since it was started, among the last hundred")
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    page: Page,
    Allowed(access): Allowed,
) -> Result<Response, ApiError> {
    let all = app.tasks.all.lock();
    let tasks = all.iter().filter(|task| access.reaches(&task.index));
    let tasks = tasks.map(Task::answer).collect();
    drop(all);
    let (tasks, next) = page.of(tasks, |task| &task.id)?;
    Ok(json::answer(StatusCode::OK, &TaskList { tasks, next })?)
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names(id): Names<String>,
    Allowed(access): Allowed,
) -> Result<Response, ApiError> {
    let task = app.tasks.answer(&id);
    let task = task.filter(|task| access.reaches(&task.index));
    let task = task.ok_or_else(|| unknown(&id))?;
    Ok(json::answer(StatusCode::OK, &task)?)
}
