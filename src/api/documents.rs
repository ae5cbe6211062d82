//! `/v1/indexes/{name}/documents`: one document at a time, and many.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::around::Deadline;
use super::body::{BulkBody, JsonBody};
use super::bulk::{Bulk, BulkStatus, Kind};
use super::error::ApiError;
use super::extract::{
    IdempotencyKey, Names, REPLAYED, Refresh, WithVectors, WriteParameters, etag,
};
use super::guard::Allowed;
use super::json;
use super::state::App;
use super::stream;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{
    Change, Changed, How, IfVersion, Index, Once, PassageVector, Step, Still, version_conflict,
};
use crate::search::FilterInput;
use crate::store::Durability;

/// A stored document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentAnswer {
    /// Its id.
    pub id: String,
    /// Its version: grows with each write of the document. For `if_version`.
    pub version: u64,
    /// The object as it was sent, without a vector of its own.
    pub document: Map<String, Json>,
    /// Its vectors, one for each passage, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<Vec<PassageVector>>,
}

/// The outcome of writing one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WriteAnswer {
    /// Its id.
    pub id: String,
    /// `created` or `updated`.
    pub status: BulkStatus,
    /// Its version now.
    pub version: u64,
}

/// Which documents to delete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// Those that pass this filter, in either of its notations.
    pub filter: FilterInput,
}

/// The outcome of deleting by filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteAnswer {
    /// Documents that were deleted.
    pub deleted: u64,
}

pub(super) async fn bulk(
    state: State<Arc<App>>,
    names: Names<String>,
    parameters: WriteParameters,
    deadline: Deadline,
    key: IdempotencyKey,
    body: BulkBody,
) -> Result<Response, ApiError> {
    many(
        state,
        names,
        parameters,
        (deadline, key),
        body,
        Kind::Documents,
    )
    .await
}

pub(super) async fn operations(
    state: State<Arc<App>>,
    names: Names<String>,
    parameters: WriteParameters,
    deadline: Deadline,
    key: IdempotencyKey,
    body: BulkBody,
) -> Result<Response, ApiError> {
    many(
        state,
        names,
        parameters,
        (deadline, key),
        body,
        Kind::Operations,
    )
    .await
}

async fn many(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    parameters: WriteParameters,
    (deadline, key): (Deadline, IdempotencyKey),
    body: BulkBody,
    kind: Kind,
) -> Result<Response, ApiError> {
    let body = match body {
        BulkBody::Whole(body) => body,
        BulkBody::Stream(lines) => {
            return stream::begin(app, name, parameters, &key, kind, lines).await;
        }
    };
    let parameters = parameters.of_many()?;
    let permit = app.writes.enter(1).await?;
    let most = app.limits.bulk_documents;
    let catalog = app.catalog.clone();
    let durability = parameters.durability;
    let mut bulk = permit
        .run(move || Bulk::new(catalog, name, key, body, kind, durability, most))
        .await?;
    let answer = bulk.write(&permit, deadline).await?;
    let replayed = bulk.is_replayed();
    if parameters.refresh == Refresh::Wait {
        permit.run(move || bulk.refresh()).await?;
    }
    let status = if answer.rejected == 0 {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    let mut response = json::answer(status, &answer)?;
    if replayed {
        mark_replayed(&mut response);
    }
    Ok(response)
}

pub(super) fn mark_replayed(response: &mut Response) {
    let yes = HeaderValue::from_static("true");
    response.headers_mut().insert(REPLAYED, yes);
}

/// The answer to a change of one document, as it is given and as it is recorded.
#[derive(Serialize, Deserialize)]
struct Outcome {
    status: u16,
    answer: Option<WriteAnswer>,
}

impl Outcome {
    fn to_record(&self) -> Result<Option<Vec<u8>>> {
        json::to_bytes(self).map(Some)
    }

    fn response(&self) -> Result<Response> {
        let status = StatusCode::from_u16(self.status)
            .map_err(|_| Error::Bug(format!("{} is no status", self.status)))?;
        match &self.answer {
            Some(answer) => {
                let mut response = json::answer(status, answer)?;
                response.headers_mut().insert(ETAG, etag(answer.version));
                Ok(response)
            }
            None => Ok(status.into_response()),
        }
    }

    /// What the request came to when it was sent before.
    fn of_before(once: Option<&Once>) -> Result<Option<Response>> {
        let Some(step) = once.and_then(|once| once.steps().last()) else {
            return Ok(None);
        };
        let mut response = Once::read::<Outcome>(step)?.response()?;
        mark_replayed(&mut response);
        Ok(Some(response))
    }
}

impl WriteParameters {
    /// Changes one document, and records what came of it.
    fn change(
        &self,
        index: &Index,
        changes: &[(Change<'_>, IfVersion)],
        still: Still<'_>,
        once: Option<&Once>,
        outcome: &dyn Fn(&[Changed]) -> Result<Outcome>,
    ) -> Result<Response> {
        // What was refused leaves no record.
        let record = |changed: &[Changed]| match outcome(changed) {
            Ok(outcome) => outcome.to_record(),
            Err(_) => Ok(None),
        };
        let step = once.map(|once| Step::of(once, &record));
        let how = How {
            durability: self.durability,
            still,
            step: step.as_ref(),
        };
        outcome(&index.change_as(changes, how)?)?.response()
    }
}

pub(super) async fn put(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
    parameters: WriteParameters,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let put = move || {
        let document: Map<String, Json> = json::parse(&body.bytes, Code::InvalidDocument)?;
        let (index, response) = catalog.write(&name, |index, still| {
            let once = key.once(index, &body.bytes)?;
            if let Some(response) = Outcome::of_before(once.as_ref())? {
                return Ok((index.clone(), response));
            }
            let document = with_id(index, document.clone(), &id)?;
            let prepared = index.prepare(document)?;
            let encoded = index.encode(vec![prepared])?;
            let change = encoded.first().map(Change::Put).ok_or_else(no_outcome)?;
            let wanted = parameters.if_version;
            let outcome = |changed: &[Changed]| outcome_of(&id, wanted, changed);
            let changes = [(change, if_version(wanted))];
            let response = parameters.change(index, &changes, still, once.as_ref(), &outcome)?;
            Ok((index.clone(), response))
        })?;
        if parameters.refresh == Refresh::Wait {
            index.refresh()?;
        }
        Ok(response)
    };
    permit.run(put).await.map_err(|e| parameters.refusal(e))
}

/// What writing or deleting one document came to.
///
/// # Errors
/// `version_conflict`, where nothing was changed.
fn outcome_of(id: &str, wanted: Option<u64>, changed: &[Changed]) -> Result<Outcome> {
    let (http, status, version) = match changed.first() {
        Some(&Changed::Created { version }) => (StatusCode::CREATED, BulkStatus::Created, version),
        Some(&Changed::Updated { version }) => (StatusCode::OK, BulkStatus::Updated, version),
        Some(Changed::Deleted) => {
            return Ok(Outcome {
                status: StatusCode::NO_CONTENT.as_u16(),
                answer: None,
            });
        }
        Some(&Changed::Unmet { version }) => {
            return Err(version_conflict(id, wanted.unwrap_or_default(), version).into());
        }
        None => return Err(no_outcome()),
    };
    Ok(Outcome {
        status: http.as_u16(),
        answer: Some(WriteAnswer {
            id: id.into(),
            status,
            version,
        }),
    })
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
    parameters: WriteParameters,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let update = move || {
        let patch: Map<String, Json> = json::parse(&body.bytes, Code::InvalidDocument)?;
        let (index, response) = catalog.write(&name, |index, still| {
            let once = key.once(index, &body.bytes)?;
            if let Some(response) = Outcome::of_before(once.as_ref())? {
                return Ok((index.clone(), response));
            }
            let outcome = |version| Outcome {
                status: StatusCode::OK.as_u16(),
                answer: Some(WriteAnswer {
                    id: id.clone(),
                    status: BulkStatus::Updated,
                    version,
                }),
            };
            let record = |changed: &[Changed]| match changed {
                &[Changed::Updated { version }] => outcome(version).to_record(),
                _ => Ok(None),
            };
            let step = once.as_ref().map(|once| Step::of(once, &record));
            let how = How {
                durability: parameters.durability,
                still,
                step: step.as_ref(),
            };
            let version = index.update_as(&id, &patch, parameters.if_version, how)?;
            Ok((index.clone(), outcome(version).response()?))
        })?;
        if parameters.refresh == Refresh::Wait {
            index.refresh()?;
        }
        Ok(response)
    };
    permit.run(update).await.map_err(|e| parameters.refusal(e))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
    WithVectors(with_vectors): WithVectors,
    Allowed(access): Allowed,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let known = headers.get(IF_NONE_MATCH).cloned();
    let permit = app.searches.enter(1).await?;
    let catalog = app.catalog.clone();
    let show = move || {
        let index = catalog.get(&name)?;
        // Keeps what is read from being given back meanwhile.
        let _view = index.view();
        let current = index.current(&id)?;
        if let Some(filter) = access.filter()
            && !index.passes(&current.source, filter)?
        {
            // As one that is not there.
            return Err(no_such_document(index.name(), &id).into());
        }
        let vectors = match with_vectors {
            true => Some(index.vectors_of(&current)?),
            false => None,
        };
        let tag = etag(current.version);
        if known.as_ref() == Some(&tag) {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            response.headers_mut().insert(ETAG, tag);
            return Ok(response);
        }
        let mut response = json::answer(
            StatusCode::OK,
            &DocumentAnswer {
                id,
                version: current.version,
                document: current.source,
                vectors,
            },
        )?;
        response.headers_mut().insert(ETAG, tag);
        Ok(response)
    };
    Ok(permit.run(show).await?)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names((name, id)): Names<(String, String)>,
    parameters: WriteParameters,
    key: IdempotencyKey,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let remove = move || {
        let (index, response) = catalog.write(&name, |index, still| {
            let once = key.once(index, &[])?;
            if let Some(response) = Outcome::of_before(once.as_ref())? {
                return Ok((index.clone(), response));
            }
            let wanted = parameters.if_version;
            let outcome = |changed: &[Changed]| match (changed, wanted) {
                (&[Changed::Unmet { .. }], None) => Err(no_such_document(&name, &id).into()),
                _ => outcome_of(&id, wanted, changed),
            };
            let changes = [(Change::Delete(&id), if_version(wanted))];
            let response = parameters.change(index, &changes, still, once.as_ref(), &outcome)?;
            Ok((index.clone(), response))
        })?;
        if parameters.refresh == Refresh::Wait {
            index.refresh()?;
        }
        Ok(response)
    };
    permit.run(remove).await.map_err(|e| parameters.refusal(e))
}

pub(super) async fn remove_where(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    parameters: WriteParameters,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let parameters = parameters.of_many()?;
    if parameters.durability != Durability::Synced {
        return Err(Problem::new(
            Code::InvalidRequest,
            "deleting by filter always waits for the disk",
        )
        .field("durability")
        .found("buffered")
        .expected("synced")
        .into());
    }
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let remove = move || {
        let request: DeleteRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        let mut deleted = 0;
        let (index, done_before) = catalog.write(&name, |index, still| {
            let once = key.once(index, &body.bytes)?;
            let filter = &request.filter.0;
            let done = index.delete_where_once(filter, still, once.as_ref(), &mut deleted)?;
            Ok((index.clone(), done))
        })?;
        if parameters.refresh == Refresh::Wait {
            index.refresh()?;
        }
        let mut response = json::answer(StatusCode::OK, &DeleteAnswer { deleted })?;
        if done_before {
            mark_replayed(&mut response);
        }
        Ok(response)
    };
    Ok(permit.run(remove).await?)
}

pub(super) fn if_version(wanted: Option<u64>) -> IfVersion {
    match wanted {
        None => IfVersion::Any,
        Some(0) => IfVersion::Absent,
        Some(version) => IfVersion::Is(version),
    }
}

pub(super) fn no_such_document(index: &str, id: &str) -> Problem {
    Problem::new(
        Code::DocumentNotFound,
        format!("index {index:?} has no such document"),
    )
    .field("id")
    .found(id)
}

pub(super) fn no_outcome() -> Error {
    Error::Bug("a write has no outcome".into())
}

/// The document with the id of its address; where it carries one, the two must agree.
pub(super) fn with_id(
    index: &Index,
    mut document: Map<String, Json>,
    id: &str,
) -> Result<Json, Problem> {
    let id_field = &index.definition().id_field;
    let carried = match document.get(id_field) {
        None => None,
        Some(Json::String(carried)) => Some(carried.clone()),
        Some(other) => Some(other.to_string()),
    };
    match carried {
        None => {
            document.shift_insert(0, id_field.clone(), Json::from(id));
        }
        Some(carried) if carried == id => {}
        Some(carried) => {
            return Err(Problem::new(
                Code::InvalidDocument,
                "the document carries another id than its address",
            )
            .field(id_field)
            .found(carried)
            .expected(format!("{id}, or no id")));
        }
    }
    Ok(Json::Object(document))
}
