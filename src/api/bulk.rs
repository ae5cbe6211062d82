//! Many documents in one request, in steps that bound memory and time.
//!
//! Each document is answered for. Those that were written are durable when the answer
//! comes, whatever became of the others; a trouble in the middle (a full disk, a model
//! that fails, the time) leaves the rest rejected with its reason, to be sent again.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::around::Deadline;
use super::body::{Format, Payload};
use super::error::{Failure, in_full};
use super::gate::Permit;
use super::items;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Index, Written};

/// Documents in the first step; doubled while steps are quick.
const FIRST_STEP: usize = 32;
/// Most documents in a step: enough for full encoder batches, little enough to hold with
/// their vectors.
const MAX_STEP: usize = 256;
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
    /// Documents that were written, and are durable.
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
    /// Not written; nothing changed.
    Rejected,
}

impl BulkItem {
    fn rejected(id: Option<String>, error: Failure) -> BulkItem {
        BulkItem {
            id,
            status: BulkStatus::Rejected,
            error: Some(error),
        }
    }
}

/// A bulk request, cut into its documents.
pub(super) struct Bulk {
    index: Arc<Index>,
    body: Arc<Payload>,
    items: Vec<Range<usize>>,
}

impl Bulk {
    /// Cuts a body into at most `most` documents.
    ///
    /// # Errors
    /// `invalid_request` for a body that cannot be cut, `limit_exceeded` for too many.
    pub(super) fn new(index: Arc<Index>, body: Payload, most: usize) -> Result<Bulk> {
        let items = match body.format {
            Format::Json => items::list(&body.bytes, most)?,
            Format::Lines => items::lines(&body.bytes, most)?,
        };
        Ok(Bulk {
            index,
            body: Arc::new(body),
            items,
        })
    }

    /// The index that is written to.
    pub(super) fn index(&self) -> &Index {
        &self.index
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
        let mut slowest = Duration::ZERO;
        while answers.len() < self.items.len() {
            let outcome = if deadline.left() < slowest.saturating_mul(2) {
                Err(Problem::new(
                    Code::Timeout,
                    "the request's time ran out before this document; send it again",
                )
                .into())
            } else {
                let step = self.step(answers.len(), size);
                let (index, body) = (self.index.clone(), self.body.clone());
                let started = Instant::now();
                let outcome = permit.run(move || write_step(&index, &body, &step)).await;
                let took = started.elapsed();
                slowest = slowest.max(took);
                if took < QUICK {
                    size = (size * 2).min(MAX_STEP);
                } else if took > SLOW {
                    size = (size / 2).max(1);
                }
                outcome
            };
            match outcome {
                Ok(step) => {
                    written += step
                        .iter()
                        .filter(|item| item.status != BulkStatus::Rejected)
                        .count() as u64;
                    answers.extend(step);
                }
                Err(error) if written == 0 => return Err(error),
                Err(error) => {
                    if error.problem().is_none() {
                        tracing::error!(
                            index = self.index.name(),
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

/// Writes one step in one synced batch.
///
/// # Errors
/// What concerns more than one document: then none of the step is written.
fn write_step(index: &Index, body: &Payload, step: &[Range<usize>]) -> Result<Vec<BulkItem>> {
    // None stands for the next of those that are written.
    let mut answers: Vec<Option<BulkItem>> = Vec::with_capacity(step.len());
    let mut prepared = Vec::with_capacity(step.len());
    for range in step {
        let bytes = body.bytes.get(range.clone()).unwrap_or_default();
        let json = match parse(bytes) {
            Ok(json) => json,
            Err(problem) => {
                answers.push(Some(BulkItem::rejected(None, Failure::from(&problem))));
                continue;
            }
        };
        let id = readable_id(&json, &index.definition().id_field);
        match index.prepare(json) {
            Ok(one) => {
                prepared.push(one);
                answers.push(None);
            }
            Err(Error::User(problem)) if !problem.code.is_about_the_model() => {
                answers.push(Some(BulkItem::rejected(id, Failure::from(&*problem))));
            }
            Err(error) => return Err(error),
        }
    }
    let encoded = index.encode(prepared)?;
    let outcomes = index.write(&encoded)?;
    let mut written = encoded
        .into_iter()
        .zip(outcomes)
        .map(|(one, outcome)| BulkItem {
            id: Some(one.document.id),
            status: match outcome {
                Written::Created => BulkStatus::Created,
                Written::Updated => BulkStatus::Updated,
            },
            error: None,
        });
    answers
        .into_iter()
        .map(|answer| {
            answer
                .or_else(|| written.next())
                .ok_or_else(|| Error::Bug("a written document has no outcome".into()))
        })
        .collect()
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
