//! Many documents in one request, in steps that bound memory and time.
//!
//! Each document is answered for. Those that were written are durable when the answer
//! comes, whatever became of the others; a trouble in the middle (a full disk, a model
//! that fails, the time) leaves the rest rejected with its reason, to be sent again. Where a
//! sync fails, what the last batch wrote may be there all the same.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::around::Deadline;
use super::body::{Format, Payload};
use super::documents::{if_version, no_outcome, no_such_document};
use super::error::{Failure, in_full};
use super::gate::Permit;
use super::items;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Catalog, Change, Changed, Index, Prepared, Still, version_conflict};
use crate::store::Durability;

/// Documents in the first step; doubled while steps are quick.
const FIRST_STEP: usize = 32;
/// Most documents in a step: enough for full encoder batches, little enough to hold with
/// their vectors.
const MAX_STEP: usize = 256;
/// Most operations in one: each update among them is written by itself.
const MAX_OPERATIONS: usize = 64;
/// Most bytes of documents in a step, unless one is larger by itself.
const MAX_STEP_BYTES: usize = 4 << 20;
/// A step quicker than this may be followed by one twice as large.
const QUICK: Duration = Duration::from_millis(500);
/// A step slower than this is followed by one half as large.
const SLOW: Duration = Duration::from_secs(2);
/// Longest id that is repeated in the answer for a rejected document, in bytes.
const MAX_ID_BYTES: usize = 512;

/// The answer to a bulk request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BulkAnswer {
    /// One for each document, in the order they were sent.
    pub items: Vec<BulkItem>,
    /// Documents that were written, and are as durable as was asked for.
    pub written: u64,
    /// Documents that were not.
    pub rejected: u64,
}

/// What became of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BulkItem {
    /// Its id; null where none could be read.
    pub id: Option<String>,
    /// Whether it was written.
    pub status: BulkStatus,
    /// Its version now, where it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// Whether a document was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BulkStatus {
    /// There was no document of that id.
    Created,
    /// It took the place of an earlier one.
    Updated,
    /// It was removed.
    Deleted,
    /// Not written; nothing changed.
    Rejected,
}

impl BulkItem {
    fn rejected(id: Option<String>, error: Failure) -> BulkItem {
        BulkItem {
            id,
            status: BulkStatus::Rejected,
            version: None,
            error: Some(error),
        }
    }
}

/// One of the operations of a bulk request: exactly one of `put`, `update` and `delete`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub struct BulkOperation {
    /// A document to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put: Option<Map<String, Json>>,
    /// A part of a document, with its id, to merge into the one that is there (RFC 7396).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Map<String, Json>>,
    /// The id of a document to delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<DocumentId>,
    /// The version that the document must have; 0 for no document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
}

/// An id as a document may carry it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DocumentId {
    /// As it is.
    Text(String),
    /// A whole number stands for its digits.
    Number(i64),
}

/// What the items of a bulk request are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Documents to write.
    Documents,
    /// [`BulkOperation`]s.
    Operations,
}

/// A bulk request, cut into its documents.
pub(super) struct Bulk {
    catalog: Arc<Catalog>,
    name: String,
    body: Arc<Payload>,
    items: Vec<Range<usize>>,
    kind: Kind,
    durability: Durability,
}

impl Bulk {
    /// Cuts a body into at most `most` documents.
    ///
    /// # Errors
    /// `invalid_request` for a body that cannot be cut, `limit_exceeded` for too many.
    pub(super) fn new(
        catalog: Arc<Catalog>,
        name: String,
        body: Payload,
        kind: Kind,
        durability: Durability,
        most: usize,
    ) -> Result<Bulk> {
        catalog.get(&name)?;
        let items = match body.format {
            Format::Json => items::list(&body.bytes, most)?,
            Format::Lines => items::lines(&body.bytes, most)?,
        };
        Ok(Bulk {
            catalog,
            name,
            body: Arc::new(body),
            items,
            kind,
            durability,
        })
    }

    /// Makes visible what was written.
    pub(super) fn refresh(&self) -> Result<u64> {
        self.catalog.get(&self.name)?.refresh()
    }

    /// Writes the documents, a step at a time. When the future is dropped, the step under
    /// way is the last.
    ///
    /// # Errors
    /// A trouble that is not with a document, if it came before anything was written.
    pub(super) async fn write(&self, permit: &Permit, deadline: Deadline) -> Result<BulkAnswer> {
        let mut answers: Vec<BulkItem> = Vec::with_capacity(self.items.len());
        let mut written = 0u64;
        let mut size = FIRST_STEP;
        let most = match self.kind {
            Kind::Documents => MAX_STEP,
            Kind::Operations => MAX_OPERATIONS,
        };
        let mut slowest = Duration::ZERO;
        while answers.len() < self.items.len() {
            let (step, outcome) = if deadline.left() < slowest.saturating_mul(2) {
                let late = Problem::new(
                    Code::Timeout,
                    "the request's time ran out before this document; send it again",
                );
                (Vec::new(), Err(late.into()))
            } else {
                let step = self.step(answers.len(), size);
                let (catalog, name) = (self.catalog.clone(), self.name.clone());
                let body = self.body.clone();
                let started = Instant::now();
                let (kind, durability) = (self.kind, self.durability);
                let write = move || {
                    let mut done = Vec::new();
                    let outcome = catalog.write(&name, |index, still| {
                        // What was answered for by the index that the alias stood for
                        // before was taken over.
                        let left = step.get(done.len()..).unwrap_or_default();
                        let (answers, failed) =
                            write_step(index, &body, left, kind, durability, still);
                        done.extend(answers);
                        failed.map_or(Ok(()), Err)
                    });
                    (done, outcome.err())
                };
                let outcome = permit.run(move || Ok(write())).await;
                let (step, outcome) = match outcome {
                    Ok((step, None)) => (step, Ok(())),
                    Ok((step, Some(error))) => (step, Err(error)),
                    Err(error) => (Vec::new(), Err(error)),
                };
                let took = started.elapsed();
                slowest = slowest.max(took);
                if took < QUICK {
                    size = (size * 2).min(most);
                } else if took > SLOW {
                    size = (size / 2).max(1);
                }
                (step, outcome)
            };
            let done = step
                .iter()
                .filter(|item| item.status != BulkStatus::Rejected);
            written += done.count() as u64;
            answers.extend(step);
            match outcome {
                Ok(()) => {}
                Err(error) if written == 0 => return Err(error),
                Err(error) => {
                    if error.problem().is_none() {
                        tracing::error!(
                            index = self.name,
                            written,
                            detail = in_full(&error),
                            "a bulk request was given up half-way"
                        );
                    }
                    let failure = Failure::from(&error);
                    answers.resize_with(self.items.len(), || {
                        BulkItem::rejected(None, failure.clone())
                    });
                }
            }
        }
        Ok(BulkAnswer {
            rejected: answers.len() as u64 - written,
            items: answers,
            written,
        })
    }

    /// The next documents: at most `size`, and not too many bytes.
    fn step(&self, from: usize, size: usize) -> Vec<Range<usize>> {
        let mut bytes = 0;
        self.items
            .iter()
            .skip(from)
            .take(size)
            .enumerate()
            .take_while(|(n, range)| {
                bytes += range.len();
                *n == 0 || bytes <= MAX_STEP_BYTES
            })
            .map(|(_, range)| range.clone())
            .collect()
    }
}

/// One item of a step, understood.
enum Item {
    /// Written with others in one batch.
    Put(Prepared, Option<u64>),
    Delete(String, Option<u64>),
    /// Needs what is there, so it is written by itself.
    Update(String, Map<String, Json>, Option<u64>),
    Rejected(Option<String>, Failure),
}

/// Writes one step, in one batch as far as that goes: an update needs to see what was
/// written before it. The answers, in the order of the items, and what kept the rest, if
/// any, from being written, which concerns more than one document.
fn write_step(
    index: &Index,
    body: &Payload,
    step: &[Range<usize>],
    kind: Kind,
    durability: Durability,
    still: Still<'_>,
) -> (Vec<BulkItem>, Option<Error>) {
    let mut answers: Vec<BulkItem> = Vec::with_capacity(step.len());
    let mut write = || -> Result<()> {
        let mut batch = Vec::new();
        for range in step {
            let bytes = body.bytes.get(range.clone()).unwrap_or_default();
            match understand(index, bytes, kind)? {
                Item::Update(id, patch, if_version) => {
                    let batch = std::mem::take(&mut batch);
                    answers.extend(write_batch(index, batch, durability, still)?);
                    let updated = index.update_if(&id, &patch, if_version, durability, still);
                    answers.push(match updated {
                        Ok(version) => BulkItem {
                            id: Some(id),
                            status: BulkStatus::Updated,
                            version: Some(version),
                            error: None,
                        },
                        Err(error) => rejected_alone(Some(id), error)?,
                    });
                }
                item => batch.push(item),
            }
        }
        answers.extend(write_batch(index, batch, durability, still)?);
        Ok(())
    };
    let failed = write().err();
    (answers, failed)
}

/// The answer to a document that something is wrong with.
///
/// # Errors
/// What is wrong with more than this document.
fn rejected_alone(id: Option<String>, error: Error) -> Result<BulkItem> {
    match error {
        Error::User(problem)
            if !problem.code.is_about_the_model() && problem.code != Code::AliasMoved =>
        {
            Ok(BulkItem::rejected(id, Failure::from(&*problem)))
        }
        error => Err(error),
    }
}

fn understand(index: &Index, bytes: &[u8], kind: Kind) -> Result<Item> {
    let json = match parse(bytes) {
        Ok(json) => json,
        Err(problem) => return Ok(Item::Rejected(None, Failure::from(&problem))),
    };
    let id_field = &index.definition().id_field;
    if kind == Kind::Documents {
        return understand_put(index, json, None);
    }
    // A list would be taken for the fields in their order.
    if !json.is_object() {
        let problem = wrong_operation().found(json);
        return Ok(Item::Rejected(None, Failure::from(&problem)));
    }
    let operation = match BulkOperation::deserialize(json) {
        Ok(operation) => operation,
        Err(error) => {
            let problem = wrong_operation().found(error);
            return Ok(Item::Rejected(None, Failure::from(&problem)));
        }
    };
    let if_version = operation.if_version;
    match (operation.put, operation.update, operation.delete) {
        (Some(document), None, None) => understand_put(index, Json::Object(document), if_version),
        (None, Some(patch), None) => {
            let json = Json::Object(patch);
            let id = readable_id(&json, id_field);
            match (id, json) {
                (Some(id), Json::Object(mut patch)) => {
                    patch.shift_remove(id_field);
                    Ok(Item::Update(id, patch, if_version))
                }
                _ => {
                    let problem = wrong_operation()
                        .field(format!("update.{id_field}"))
                        .found("nothing that is an id")
                        .expected("the id of the document to update");
                    Ok(Item::Rejected(None, Failure::from(&problem)))
                }
            }
        }
        (None, None, Some(DocumentId::Text(id))) => Ok(Item::Delete(id, if_version)),
        (None, None, Some(DocumentId::Number(id))) => Ok(Item::Delete(id.to_string(), if_version)),
        _ => {
            let problem = wrong_operation().found("none or several of them");
            Ok(Item::Rejected(None, Failure::from(&problem)))
        }
    }
}

fn wrong_operation() -> Problem {
    Problem::new(Code::InvalidRequest, "this is not an operation")
        .expected("an object with one of put, update and delete, and perhaps if_version")
}

fn understand_put(index: &Index, json: Json, if_version: Option<u64>) -> Result<Item> {
    let id = readable_id(&json, &index.definition().id_field);
    match index.prepare(json) {
        Ok(prepared) => Ok(Item::Put(prepared, if_version)),
        Err(error) => match rejected_alone(id, error)? {
            BulkItem {
                id,
                error: Some(failure),
                ..
            } => Ok(Item::Rejected(id, failure)),
            _ => Err(Error::Bug("a rejected document has no reason".into())),
        },
    }
}

/// Encodes and writes a batch of anything but updates.
fn write_batch(
    index: &Index,
    batch: Vec<Item>,
    durability: Durability,
    still: Still<'_>,
) -> Result<Vec<BulkItem>> {
    /// What stands in the place of each item; `Put` for the next of the documents.
    enum Place {
        Put(Option<u64>),
        Delete(String, Option<u64>),
        Rejected(BulkItem),
    }
    let mut prepared = Vec::new();
    let mut places = Vec::with_capacity(batch.len());
    for item in batch {
        places.push(match item {
            Item::Put(one, if_version) => {
                prepared.push(one);
                Place::Put(if_version)
            }
            Item::Delete(id, if_version) => Place::Delete(id, if_version),
            Item::Rejected(id, failure) => Place::Rejected(BulkItem::rejected(id, failure)),
            Item::Update(..) => return Err(Error::Bug("an update in a batch".into())),
        });
    }
    let encoded = index.encode(prepared)?;
    let mut documents = encoded.iter();
    let mut changes = Vec::with_capacity(places.len());
    for place in &places {
        match place {
            Place::Put(wanted) => {
                let document = documents.next().ok_or_else(no_outcome)?;
                changes.push((Change::Put(document), if_version(*wanted)));
            }
            Place::Delete(id, wanted) => changes.push((Change::Delete(id), if_version(*wanted))),
            Place::Rejected(_) => {}
        }
    }
    let outcomes = index.change_if(&changes, durability, still)?;
    let mut outcomes = changes.iter().zip(outcomes);
    let mut answers = Vec::with_capacity(places.len());
    for place in places.iter() {
        let wanted = match place {
            Place::Put(wanted) | Place::Delete(_, wanted) => *wanted,
            Place::Rejected(item) => {
                answers.push(item.clone());
                continue;
            }
        };
        let ((change, _), outcome) = outcomes.next().ok_or_else(no_outcome)?;
        let id = match change {
            Change::Put(document) => document.document.id.as_str(),
            Change::Delete(id) => id,
        };
        answers.push(answer_to(index, id, wanted, outcome));
    }
    Ok(answers)
}

fn answer_to(index: &Index, id: &str, wanted: Option<u64>, outcome: Changed) -> BulkItem {
    let (status, version) = match outcome {
        Changed::Created { version } => (BulkStatus::Created, Some(version)),
        Changed::Updated { version } => (BulkStatus::Updated, Some(version)),
        Changed::Deleted => (BulkStatus::Deleted, None),
        Changed::Unmet { version } => {
            let problem = match wanted {
                Some(wanted) => version_conflict(id, wanted, version),
                None => no_such_document(index.name(), id),
            };
            return BulkItem::rejected(Some(id.into()), Failure::from(&problem));
        }
    };
    BulkItem {
        id: Some(id.into()),
        status,
        version,
        error: None,
    }
}

/// Reads one document; whatever is wrong with it is wrong with it alone.
fn parse(bytes: &[u8]) -> Result<Json, Problem> {
    let wrong = |message: &str| Problem::new(Code::InvalidDocument, message);
    if let Err(error) = std::str::from_utf8(bytes) {
        let at = error.valid_up_to();
        let byte = bytes.get(at).copied().unwrap_or_default();
        return Err(wrong("the document is not valid UTF-8")
            .found(format!("byte 0x{byte:02x} at offset {at}"))
            .expected("JSON in UTF-8"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        wrong("the document is not valid JSON")
            .found(error)
            .expected("one JSON object")
    })
}

/// The id of a document that may be rejected, if it has one that can be repeated.
fn readable_id(json: &Json, id_field: &str) -> Option<String> {
    match json.get(id_field)? {
        Json::String(id) if id.len() <= MAX_ID_BYTES => Some(id.clone()),
        Json::Number(id) => Some(id.to_string()),
        _ => None,
    }
}
