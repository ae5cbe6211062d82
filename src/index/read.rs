//! Reading documents back, and figures of the index.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::write::version_of;
use super::{AttachedStatus, Index};
use crate::error::{Code, Error, Problem, Result};
use crate::store::{PassageSpan, StoredVectors};

/// A stored document and its version.
#[derive(Debug, Clone, PartialEq)]
pub struct Current {
    /// The object as it was written, without a vector of its own.
    pub source: Map<String, Json>,
    /// Its version; see [`IfVersion`].
    pub version: u64,
    /// Its ordinal.
    pub(super) ordinal: u32,
}

/// The vector of a passage of a stored document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PassageVector {
    /// First byte of the passage in the text that was encoded.
    pub start: u32,
    /// One past its last byte; 0 where the document brought the vector.
    pub end: u32,
    /// As it was encoded or brought.
    pub values: Vec<f32>,
}

/// A stored document.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// The caller's id.
    pub id: String,
    /// The object as it was written.
    pub source: Map<String, Json>,
}

/// A document as it lies in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The caller's id.
    pub id: String,
    /// The object as it was written, as JSON.
    pub source: Vec<u8>,
    /// Its passages and their vectors, where it has any.
    pub vectors: Option<StoredVectors>,
}

/// Figures of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Documents that are visible.
    pub documents: u64,
    /// Passages with a vector, those of documents that died and were not compacted away
    /// yet included.
    pub passages: u64,
    /// Length of the vectors; 0 without any.
    pub dimensions: usize,
    /// Memory that vectors and graphs take, in bytes; what sealed files hold is not counted.
    pub vector_bytes: u64,
    /// Last log sequence that is durable.
    pub durable_seq: u64,
    /// Last log sequence that is visible.
    pub visible_seq: u64,
    /// Version of the combiner that hybrid searches use; 0 for the one that is shipped.
    pub combiner: u32,
    /// Where it is from, if it was built elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<AttachedStatus>,
}

impl Index {
    /// The stored object of a document, as of the last write (visible or not).
    ///
    /// # Errors
    /// `document_not_found`.
    pub fn get(&self, id: &str) -> Result<Map<String, Json>> {
        Ok(self.current(id)?.source)
    }

    /// The vectors of a document that was read, one for each passage.
    pub fn vectors_of(&self, document: &Current) -> Result<Vec<PassageVector>> {
        let Some(stored) = self.store.vectors(document.ordinal)? else {
            return Ok(Vec::new());
        };
        let rows = stored.vectors.chunks_exact(stored.dimensions.max(1));
        let with_vector = |(span, row): (&PassageSpan, &[f32])| PassageVector {
            start: span.start,
            end: span.end,
            values: row.to_vec(),
        };
        Ok(stored.spans.iter().zip(rows).map(with_vector).collect())
    }

    /// The same with its version.
    ///
    /// # Errors
    /// `document_not_found`.
    pub fn current(&self, id: &str) -> Result<Current> {
        while let Some(ordinal) = self.store.ordinal(id)? {
            let Some(source) = self.store.source(ordinal)? else {
                // Replaced and given back since its ordinal was read: there is another.
                if self.store.ordinal(id)? != Some(ordinal) {
                    continue;
                }
                return Err(Error::operator(format!(
                    "index {:?} has lost a document that it knows the id of",
                    self.name()
                ))
                .advice("check the disk, then restore the index from a snapshot"));
            };
            return Ok(Current {
                source: parse_source(&source)?,
                version: version_of(ordinal),
                ordinal,
            });
        }
        Err(Problem::new(
            Code::DocumentNotFound,
            format!("index {:?} has no such document", self.name()),
        )
        .field("id")
        .found(id)
        .into())
    }

    /// Ids by ordinal; None for ordinals that no view reads any more.
    pub fn ids(&self, ordinals: &[u32]) -> Result<Vec<Option<String>>> {
        self.store.ids(ordinals)
    }

    /// Stored documents by ordinal; None for ordinals that no view reads any more.
    pub fn documents(&self, ordinals: &[u32]) -> Result<Vec<Option<Fetched>>> {
        self.store
            .documents(ordinals)?
            .into_iter()
            .map(|document| {
                document
                    .map(|d| {
                        Ok(Fetched {
                            id: d.id,
                            source: parse_source(&d.source)?,
                        })
                    })
                    .transpose()
            })
            .collect()
    }

    /// Documents of a view that is held, as they lie in the store, in the order of the
    /// ordinals.
    ///
    /// # Errors
    /// An operator's error for one that is not there: as long as the view is held all are.
    pub fn stored(&self, ordinals: &[u32], vectors: bool) -> Result<Vec<Stored>> {
        let documents = self.store.documents(ordinals)?;
        let vectors = match vectors {
            true => self.store.vectors_many(ordinals)?,
            false => vec![None; ordinals.len()],
        };
        documents
            .into_iter()
            .zip(vectors)
            .map(|(document, vectors)| {
                let document = document.ok_or_else(|| {
                    Error::operator(format!("index {:?} has lost a document", self.name()))
                        .advice("check the disk, then restore the index from a snapshot")
                })?;
                Ok(Stored {
                    id: document.id,
                    source: document.source,
                    vectors,
                })
            })
            .collect()
    }

    /// The ordinal of a document, if it exists.
    pub fn ordinal(&self, id: &str) -> Result<Option<u32>> {
        self.store.ordinal(id)
    }

    /// The stored passages and vectors of a document.
    pub fn stored_vectors(&self, ordinal: u32) -> Result<Option<StoredVectors>> {
        self.store.vectors(ordinal)
    }

    /// Figures of the index.
    pub fn stats(&self) -> Stats {
        let view = self.view();
        Stats {
            documents: view.documents,
            passages: view.vectors.as_ref().map_or(0, |v| v.passages() as u64),
            dimensions: self.dimensions(),
            vector_bytes: self.vectors.as_ref().map_or(0, |v| v.memory_bytes() as u64),
            durable_seq: self.store.durable_seq(),
            visible_seq: view.seq,
            combiner: self.combiner().version,
            attached: self.attached.get().map(|one| one.status_of(self.folder())),
        }
    }
}

fn parse_source(bytes: &[u8]) -> Result<Map<String, Json>> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::operator_from("a stored document cannot be read", e))
}
