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
use super::error::{Failure, hidden};
use super::extract::IdempotencyKey;
use super::gate::Permit;
use super::items;
use super::json;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{
    Catalog, Change, Changed, How, Index, Once, Prepared, Step, Still, version_conflict,
};
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
#[serde(untagged, expecting = "delete is not an id, a text or a whole number")]
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
    key: Arc<IdempotencyKey>,
    /// Held on the index that the name stood for last.
    once: Option<Arc<Once>>,
    /// What was done of it before, when it was sent the first time.
    before: Vec<BulkItem>,
    /// How many documents the next step may have.
    size: usize,
    trouble: Option<(usize, Error)>,
}

impl Bulk {
    /// Cuts a body into at most `most` documents. A request that was sent before under its
    /// key goes on where it was cut off.
    ///
    /// # Errors
    /// `invalid_request` for a body that cannot be cut, `limit_exceeded` for too many; as
    /// [`Index::once`].
    pub(super) fn new(
        catalog: Arc<Catalog>,
        name: String,
        key: IdempotencyKey,
        body: Payload,
        kind: Kind,
        durability: Durability,
        most: usize,
    ) -> Result<Bulk> {
        let index = catalog.get(&name)?;
        let items = match body.format {
            Format::Json => items::list(&body.bytes, most)?,
            Format::Lines => items::lines(&body.bytes, most)?,
        };
        let once = key.once(&index, &body.bytes)?;
        let mut before = Vec::new();
        for step in once.iter().flat_map(Once::steps) {
            before.extend(Once::read::<Vec<BulkItem>>(step)?);
        }
        Ok(Bulk {
            catalog,
            name,
            body: Arc::new(body),
            items,
            kind,
            durability,
            key: Arc::new(key),
            once: once.map(Arc::new),
            before,
            size: FIRST_STEP,
            trouble: None,
        })
    }

    /// Whether all of it was done before.
    pub(super) fn is_replayed(&self) -> bool {
        self.before.len() == self.items.len() && !self.before.is_empty()
    }

    /// Begins with steps as large as they became in the request before, of the same stream.
    pub(super) fn begin_with(&mut self, size: Option<usize>) {
        self.size = size.unwrap_or(self.size);
    }

    /// How large its steps became.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// What kept the rest from being written, after so many documents.
    pub(super) fn trouble(&mut self) -> Option<(usize, Error)> {
        self.trouble.take()
    }

    /// The body from the document of this number on.
    pub(super) fn from(&self, number: usize) -> Vec<u8> {
        let start = self.items.get(number).map(|range| range.start);
        let rest = start.and_then(|start| self.body.bytes.get(start..));
        rest.unwrap_or_default().to_vec()
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
    pub(super) async fn write(
        &mut self,
        permit: &Permit,
        deadline: Deadline,
    ) -> Result<BulkAnswer> {
        let mut answers: Vec<BulkItem> = Vec::with_capacity(self.items.len());
        answers.extend_from_slice(&self.before);
        let mut written = count_written(&answers);
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
                let step = self.step(answers.len(), self.size.min(most));
                let (catalog, name) = (self.catalog.clone(), self.name.clone());
                let (key, body) = (self.key.clone(), self.body.clone());
                let started = Instant::now();
                let (kind, durability) = (self.kind, self.durability);
                let mut once = self.once.take();
                let earlier = answers.len();
                let write = move || {
                    let mut answers = Answers::default();
                    let outcome = catalog.write(&name, |index, still| {
                        if once.as_ref().is_some_and(|once| !once.is_of(index)) {
                            // What was done by the index that the alias stood for before was
                            // taken over, its record too.
                            once = key.once(index, &body.bytes)?.map(Arc::new);
                            answers.go_on(once.as_deref(), earlier, index)?;
                        }
                        let target = Target {
                            index,
                            durability,
                            still,
                            once: once.as_deref(),
                        };
                        let left = step.get(answers.items.len()..).unwrap_or_default();
                        target.write_step(&body, left, kind, &mut answers)
                    });
                    (answers.items, outcome.err(), once)
                };
                let outcome = permit.run(move || Ok(write())).await;
                let (step, outcome) = match outcome {
                    Ok((step, error, once)) => {
                        self.once = once;
                        (step, error.map_or(Ok(()), Err))
                    }
                    Err(error) => (Vec::new(), Err(error)),
                };
                let took = started.elapsed();
                slowest = slowest.max(took);
                if took < QUICK {
                    self.size = (self.size * 2).min(most);
                } else if took > SLOW {
                    self.size = (self.size / 2).max(1);
                }
                (step, outcome)
            };
            written += count_written(&step);
            answers.extend(step);
            match outcome {
                Ok(()) => {}
                Err(error) if written == 0 => return Err(error),
                Err(error) => {
                    if let Some(detail) = hidden(&error) {
                        tracing::error!(
                            index = self.name,
                            written,
                            detail,
                            "a bulk request was given up half-way"
                        );
                    }
                    let failure = Failure::from(&error);
                    self.trouble = Some((answers.len(), error));
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

fn count_written(items: &[BulkItem]) -> u64 {
    items
        .iter()
        .filter(|item| item.status != BulkStatus::Rejected)
        .count() as u64
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

/// Where a step is written, and how.
#[derive(Clone, Copy)]
struct Target<'a> {
    index: &'a Index,
    durability: Durability,
    still: Still<'a>,
    once: Option<&'a Once>,
}

impl Target<'_> {
    /// Writes one step, in one batch as far as that goes: an update needs to see what was
    /// written before it. Adds the answers, in the order of the items.
    ///
    /// # Errors
    /// What kept the rest from being written and concerns more than one document.
    fn write_step(
        self,
        body: &Payload,
        step: &[Range<usize>],
        kind: Kind,
        answers: &mut Answers,
    ) -> Result<()> {
        let mut batch = Vec::new();
        for range in step {
            let bytes = body.bytes.get(range.clone()).unwrap_or_default();
            match understand(self.index, bytes, kind)? {
                Item::Update(id, patch, if_version) => {
                    self.write_batch(std::mem::take(&mut batch), answers)?;
                    self.update(id, &patch, if_version, answers)?;
                }
                item => batch.push(item),
            }
        }
        self.write_batch(batch, answers)?;
        if let Some(once) = self.once
            && answers.recorded < answers.items.len()
        {
            // Refused updates at the end, with nothing written to record them with.
            let record = |_: &[Changed]| answers.record(Vec::new());
            let step = Step::of(once, &record);
            self.index.change_as(&[], self.how(Some(&step)))?;
            answers.recorded = answers.items.len();
        }
        Ok(())
    }

    fn how<'s>(&'s self, step: Option<&'s Step<'s>>) -> How<'s> {
        How {
            durability: self.durability,
            still: self.still,
            step,
        }
    }

    fn update(
        self,
        id: String,
        patch: &Map<String, Json>,
        if_version: Option<u64>,
        answers: &mut Answers,
    ) -> Result<()> {
        let updated = |version| BulkItem {
            id: Some(id.clone()),
            status: BulkStatus::Updated,
            version: Some(version),
            error: None,
        };
        let record = |changed: &[Changed]| match changed {
            &[Changed::Updated { version }] => answers.record(vec![updated(version)]),
            _ => Ok(None),
        };
        let step = self.once.map(|once| Step::of(once, &record));
        let how = self.how(step.as_ref());
        match self.index.update_as(&id, patch, if_version, how) {
            Ok(version) => answers.written(vec![updated(version)]),
            Err(error) => answers.items.push(rejected_alone(Some(id), error)?),
        }
        Ok(())
    }

    /// Encodes and writes a batch of anything but updates.
    fn write_batch(self, batch: Vec<Item>, answers: &mut Answers) -> Result<()> {
        /// What stands in the place of each item; `Put` for the next of the documents.
        enum Place {
            Put(Option<u64>),
            Delete(String, Option<u64>),
            Rejected(BulkItem),
        }
        if batch.is_empty() {
            return Ok(());
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
        let encoded = self.index.encode(prepared)?;
        let mut documents = encoded.iter();
        let mut changes = Vec::with_capacity(places.len());
        for place in &places {
            match place {
                Place::Put(wanted) => {
                    let document = documents.next().ok_or_else(no_outcome)?;
                    changes.push((Change::Put(document), if_version(*wanted)));
                }
                Place::Delete(id, wanted) => {
                    changes.push((Change::Delete(id), if_version(*wanted)));
                }
                Place::Rejected(_) => {}
            }
        }
        let items = |outcomes: &[Changed]| -> Result<Vec<BulkItem>> {
            let mut outcomes = changes.iter().zip(outcomes);
            let mut items = Vec::with_capacity(places.len());
            for place in &places {
                let wanted = match place {
                    Place::Put(wanted) | Place::Delete(_, wanted) => *wanted,
                    Place::Rejected(item) => {
                        items.push(item.clone());
                        continue;
                    }
                };
                let ((change, _), outcome) = outcomes.next().ok_or_else(no_outcome)?;
                let id = match change {
                    Change::Put(document) => document.document.id.as_str(),
                    Change::Delete(id) => id,
                };
                items.push(answer_to(self.index, id, wanted, *outcome));
            }
            Ok(items)
        };
        let record = |outcomes: &[Changed]| answers.record(items(outcomes)?);
        let step = self.once.map(|once| Step::of(once, &record));
        let outcomes = self.index.change_as(&changes, self.how(step.as_ref()))?;
        answers.written(items(&outcomes)?);
        Ok(())
    }
}

/// The answers of a step so far.
#[derive(Default)]
struct Answers {
    items: Vec<BulkItem>,
    /// How many of them are recorded.
    recorded: usize,
}

impl Answers {
    /// Goes on on another index, with what is recorded there of the request: `earlier` answers
    /// of the steps before, those that are recorded of this step, and perhaps more, where the
    /// same request was sent again and carried out further.
    ///
    /// # Errors
    /// `alias_moved` where less is recorded, so that this index did not take the place of the
    /// other.
    fn go_on(&mut self, once: Option<&Once>, earlier: usize, index: &Index) -> Result<()> {
        let mut there = Vec::new();
        for step in once.iter().flat_map(|once| once.steps()) {
            there.extend(Once::read::<Vec<BulkItem>>(step)?);
        }
        let here = earlier + self.recorded;
        if there.len() < here {
            return Err(Problem::new(
                Code::AliasMoved,
                format!(
                    "the alias was moved to index {:?}, which knows nothing of what was done",
                    index.name()
                ),
            )
            .into());
        }
        if there.len() > here {
            self.items.truncate(self.recorded);
            self.items.extend(there.into_iter().skip(here));
            self.recorded = self.items.len();
        }
        Ok(())
    }

    /// The record of those that are not recorded yet and `more`.
    fn record(&self, more: Vec<BulkItem>) -> Result<Option<Vec<u8>>> {
        let mut items = self.items[self.recorded..].to_vec();
        items.extend(more);
        json::to_bytes(&items).map(Some)
    }

    /// After `more` were written, and recorded with all before them.
    fn written(&mut self, more: Vec<BulkItem>) {
        self.items.extend(more);
        self.recorded = self.items.len();
    }
}

/// The answer to a document that something is wrong with.
///
/// # Errors
/// What is wrong with more than this document.
fn rejected_alone(id: Option<String>, error: Error) -> Result<BulkItem> {
    match error {
        Error::User(problem)
            if !problem.code.is_about_the_model()
                // These pass: the document may be sent again as it is.
                && !matches!(
                    problem.code,
                    Code::AliasMoved | Code::Overloaded | Code::Timeout
                ) =>
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
