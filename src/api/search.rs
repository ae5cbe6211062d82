//! `/v1/indexes/{name}/search`: one search, or several at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::error::{ApiError, Failure, hidden};
use super::extract::Names;
use super::gate::Permit;
use super::guard::Allowed;
use super::json;
use super::state::App;
use crate::access::Access;
use crate::error::{Code, Error, Problem, Result};
use crate::index::Index;
use crate::model::Cancellation;
use crate::search::{FilterInput, SearchRequest, SearchResponse};

/// Several searches of one index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchBatch {
    /// The searches, 1 to the configured limit.
    pub queries: Vec<SearchRequest>,
}

/// The answers to several searches.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SearchBatchAnswer {
    /// One for each search, in their order.
    pub results: Vec<SearchResult>,
}

/// The answer to one of several searches. One that fails does not stop the others.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant)] // nearly all of them are the large one
pub enum SearchResult {
    /// What was found.
    Found(SearchResponse),
    /// Why there is no answer.
    Failed {
        /// The same as in an error answer.
        error: Failure,
    },
}

/// What is sent: one search, or several.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant)] // only described: see `Probe`
pub enum SearchBody {
    /// Several.
    Several(SearchBatch),
    /// One.
    One(SearchRequest),
}

/// What is answered: to one search, or to several.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant)] // only described
pub enum SearchAnswer {
    /// To one.
    One(SearchResponse),
    /// To several.
    Several(SearchBatchAnswer),
}

/// Tells the two bodies apart without an untagged enum, which would lose the reason why
/// neither fits.
#[derive(Deserialize)]
struct Probe {
    queries: Option<IgnoredAny>,
}

enum Request {
    One(Box<SearchRequest>),
    Several(Vec<SearchRequest>),
}

fn parse(bytes: &[u8], most: usize) -> Result<Request, Problem> {
    let several = serde_json::from_slice::<Probe>(bytes).is_ok_and(|p| p.queries.is_some());
    if !several {
        return json::parse(bytes, Code::InvalidRequest).map(|one| Request::One(Box::new(one)));
    }
    let batch: SearchBatch = json::parse(bytes, Code::InvalidRequest)?;
    let found = batch.queries.len();
    if found == 0 {
        return Err(Problem::new(Code::InvalidRequest, "there are no queries")
            .field("queries")
            .found("an empty list")
            .expected(format!("1 to {most} queries")));
    }
    if found > most {
        return Err(
            Problem::new(Code::LimitExceeded, "there are too many queries")
                .field("queries")
                .found(found)
                .expected(format!("1 to {most} queries")),
        );
    }
    Ok(Request::Several(batch.queries))
}

pub(super) async fn search(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    Allowed(access): Allowed,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let catalog = app.catalog.clone();
    let cancellation = Cancellation::default();
    // Dropped with this future when the caller leaves or its time is up.
    let _leaving = cancellation.on_drop();
    let most = app.limits.queries;
    // Parsed on the blocking thread too: a batch of vectors is megabytes of numbers.
    let watching = app.clone();
    let begin = move || match parse(&body.bytes, most)? {
        Request::One(request) => {
            let (_, response) = answered(&watching, &access, &name, *request, &cancellation)?;
            Ok(Begun::Answer(json::to_bytes(&response)?))
        }
        Request::Several(mut queries) => {
            for query in &mut queries {
                restrict(query, &access)?;
            }
            Ok(Begun::Batch(catalog.get(&name)?, queries))
        }
    };
    let json = match permit.run(begin).await.map_err(failed)? {
        Begun::Answer(json) => json,
        Begun::Batch(index, queries) => {
            let results = several(&app, permit, index, queries).await?;
            json::to_bytes(&SearchBatchAnswer { results })?
        }
    };
    Ok(json::answer_bytes(StatusCode::OK, json))
}

/// Answers one search of an index as far as its caller may see; whether the name is within reach
/// has been looked at. With it the index.
pub(super) fn answered(
    app: &App,
    access: &Access,
    name: &str,
    mut request: SearchRequest,
    cancellation: &Cancellation,
) -> Result<(Arc<Index>, SearchResponse)> {
    restrict(&mut request, access)?;
    let index = app.catalog.get(name)?;
    let response = searched(app, &index, &request, cancellation)?;
    Ok((index, response))
}

/// Holds a search to what its caller may see.
///
/// # Errors
/// `not_permitted` for an explanation where that is not everything: it tells how frequent words
/// are among documents that the caller may not see.
fn restrict(request: &mut SearchRequest, access: &Access) -> Result<(), Problem> {
    let Some(filter) = access.filter() else {
        return Ok(());
    };
    if request.explain {
        return Err(
            Problem::new(Code::NotPermitted, "scores are not explained to tokens")
                .field("explain")
                .found("true")
                .expected("false, or a key"),
        );
    }
    request.only = Some(FilterInput(filter.clone()));
    Ok(())
}

/// Answers a search, and notes for the operator what it took.
fn searched(
    app: &App,
    index: &Index,
    request: &SearchRequest,
    cancellation: &Cancellation,
) -> Result<SearchResponse> {
    let begun = Instant::now();
    let outcome = crate::search::search_while(index, request, cancellation);
    app.metrics.searched(index.name(), &outcome);
    app.slow
        .note(index.name(), request, &outcome, begun.elapsed());
    outcome
}

/// What comes of looking at a request.
enum Begun {
    Answer(Vec<u8>),
    Batch(Arc<Index>, Vec<SearchRequest>),
}

/// A number that is too large is no body that is too large.
fn failed(error: Error) -> ApiError {
    match error {
        Error::User(problem) if problem.code == Code::LimitExceeded => {
            ApiError::with_status(StatusCode::BAD_REQUEST, *problem)
        }
        other => other.into(),
    }
}

/// Answers several searches on the permit at hand and on those that nobody else needs at
/// the moment, so that a batch uses an idle machine and does not take over a busy one.
async fn several(
    app: &Arc<App>,
    permit: Permit,
    index: Arc<Index>,
    queries: Vec<SearchRequest>,
) -> Result<Vec<SearchResult>> {
    let mut permits = vec![permit];
    while permits.len() < queries.len()
        && let Some(another) = app.searches.try_enter(1)
    {
        permits.push(another);
    }
    let batch = Arc::new(Batch {
        app: app.clone(),
        index,
        answers: queries.iter().map(|_| OnceLock::new()).collect(),
        queries,
        next: AtomicUsize::new(0),
        abandoned: Cancellation::default(),
    });
    let _abandon = batch.abandoned.on_drop();
    let workers = permits.into_iter().map(|permit| {
        let batch = batch.clone();
        async move { permit.run(move || batch.work()).await }
    });
    futures::future::try_join_all(workers).await?;
    batch
        .answers
        .iter()
        .map(|answer| {
            answer
                .get()
                .cloned()
                .ok_or_else(|| Error::Bug("a search was left out".into()))
        })
        .collect()
}

/// Searches that several threads take from.
struct Batch {
    app: Arc<App>,
    index: Arc<Index>,
    queries: Vec<SearchRequest>,
    answers: Vec<OnceLock<SearchResult>>,
    next: AtomicUsize,
    abandoned: Cancellation,
}

impl Batch {
    fn work(&self) -> Result<()> {
        while !self.abandoned.is_cancelled() {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let (Some(query), Some(answer)) = (self.queries.get(n), self.answers.get(n)) else {
                break;
            };
            let result = match searched(&self.app, &self.index, query, &self.abandoned) {
                Ok(response) => SearchResult::Found(response),
                Err(error) => {
                    if let Some(detail) = hidden(&error) {
                        tracing::error!(
                            index = self.index.name(),
                            query = n,
                            detail,
                            "a search of a batch failed"
                        );
                    }
                    SearchResult::Failed {
                        error: Failure::from(&error),
                    }
                }
            };
            // Each place is taken by one thread alone, so it is empty.
            let _ = answer.set(result);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_told_from_a_search_and_errors_name_their_place() {
        assert!(matches!(
            parse(br#"{"query": "a"}"#, 4),
            Ok(Request::One(_))
        ));
        assert!(matches!(
            parse(br#"{"queries": [{"query": "a"}, {"query": "b"}]}"#, 4),
            Ok(Request::Several(queries)) if queries.len() == 2
        ));
        let problem = |text: &str| parse(text.as_bytes(), 2).err().unwrap();
        let field = |text: &str| problem(text).field.unwrap();
        assert_eq!(
            field(r#"{"queries": [{"query": "a"}, {"k": "b"}]}"#),
            "queries[1].k"
        );
        assert_eq!(field(r#"{"queries": [], "k": 3}"#), "k");
        assert_eq!(field(r#"{"queries": []}"#), "queries");
        assert_eq!(field(r#"{"queries": 3}"#), "queries");
        assert_eq!(
            problem(r#"{"queries": [{}, {}, {}]}"#).code,
            Code::LimitExceeded
        );
    }
}
