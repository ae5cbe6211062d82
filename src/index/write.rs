//! The write path: one synced batch, then words and vectors, visible at a refresh.

use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tracing::{debug, warn};

use super::open::{add_stored, publish, replay_words};
use super::view::Epoch;
use super::{Encoded, Index, View};
use crate::error::{Code, Error, Problem, Result};
use crate::filter::OrdinalSet;
use crate::store::{Applied, Durability, Operation};
use crate::vector::VectorIndex;

/// What the writer knows beyond the store; behind the index's lock.
pub(super) struct Writer {
    /// Ordinals of the documents that exist after the last write.
    live: OrdinalSet,
    /// Ordinals that died since the last refresh.
    dead: Vec<u32>,
    /// The last log sequence handed to words and vectors.
    seq: u64,
    /// Set when words or vectors could not take a write that the store holds: the legs
    /// no longer agree, and only opening the index anew mends that.
    broken: Option<String>,
    /// Why, noted while operations are handed over.
    failed: Option<String>,
}

impl Writer {
    pub(super) fn new(live: OrdinalSet, seq: u64) -> Self {
        Writer {
            live,
            dead: Vec::new(),
            seq,
            broken: None,
            failed: None,
        }
    }

    /// Before durable operations are handed to words and vectors: a panic on the way
    /// leaves the legs apart, and the index closed for writes.
    fn begin(&mut self) {
        self.broken = Some("a write was interrupted".into());
    }

    /// After they have been handed over.
    fn end(&mut self) {
        self.broken = self.failed.take();
    }

    fn check(&self, index: &str) -> Result<()> {
        match &self.broken {
            None => Ok(()),
            Some(reason) => Err(Error::operator(format!(
                "index {index:?} takes no writes: {reason}"
            ))
            .advice("everything acknowledged is safe; restart gleaner to rebuild what is derived")),
        }
    }
}

/// Outcome of writing one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    /// There was no document of that id.
    Created,
    /// It took the place of an earlier one.
    Updated,
}

/// A stored document.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// The caller's id.
    pub id: String,
    /// The object as it was written.
    pub source: Map<String, Json>,
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
}

impl Index {
    /// Writes documents in one atomic, synced batch: when this returns they survive a
    /// crash. They become visible at the next refresh.
    pub fn write(&self, documents: &[Encoded]) -> Result<Vec<Written>> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let sources: Vec<Vec<u8>> = documents
            .iter()
            .map(|d| {
                serde_json::to_vec(&d.document.source)
                    .map_err(|e| Error::Bug(format!("a document does not serialise: {e}")))
            })
            .collect::<Result<_>>()?;
        let operations: Vec<Operation> = documents
            .iter()
            .zip(&sources)
            .map(|(d, source)| Operation::Put {
                id: &d.document.id,
                source,
                vectors: d.vectors.as_ref(),
            })
            .collect();
        // What the vectors would refuse must not become durable first.
        if let Some(vectors) = &self.vectors {
            for stored in documents.iter().filter_map(|d| d.vectors.as_ref()) {
                vectors.check(&stored.vectors)?;
            }
        }
        let mut writer = self.writer.lock();
        writer.check(self.name())?;
        let applied = self.store.apply(&operations, Durability::Synced)?;
        // Within one batch an id may come twice: only the last of them lives.
        let mut dead = OrdinalSet::new();
        for ordinal in applied.iter().filter_map(|a| a.replaced) {
            dead.insert(ordinal);
        }
        writer.begin();
        for (one, document) in applied.iter().zip(documents) {
            self.derive(&mut writer, one, Some((document, &dead)));
        }
        writer.end();
        Ok(applied
            .iter()
            .map(|one| match one.replaced {
                Some(_) => Written::Updated,
                None => Written::Created,
            })
            .collect())
    }

    /// Deletes a document durably. False if there was none.
    pub fn delete(&self, id: &str) -> Result<bool> {
        let mut writer = self.writer.lock();
        writer.check(self.name())?;
        if self.store.ordinal(id)?.is_none() {
            // Nothing to delete changes nothing, not even the log.
            return Ok(false);
        }
        let applied = self
            .store
            .apply(&[Operation::Delete { id }], Durability::Synced)?;
        writer.begin();
        for one in &applied {
            self.derive(&mut writer, one, None);
        }
        writer.end();
        Ok(true)
    }

    /// Hands one durable operation to words and vectors. A failure here does not undo
    /// the write; it closes the index for further ones.
    fn derive(&self, writer: &mut Writer, applied: &Applied, put: Option<(&Encoded, &OrdinalSet)>) {
        let outcome = (|| -> Result<()> {
            if let Some(ordinal) = applied.replaced {
                self.words.delete(ordinal)?;
            }
            if let (Some(ordinal), Some((encoded, dead))) = (applied.ordinal, put)
                && !dead.contains(ordinal)
            {
                self.words.add(ordinal, &encoded.document)?;
                if let (Some(index), Some(stored)) = (&self.vectors, &encoded.vectors) {
                    index.add(ordinal, &stored.vectors)?;
                }
            }
            Ok(())
        })();
        if let Some(ordinal) = applied.replaced {
            writer.live.remove(ordinal);
            writer.dead.push(ordinal);
        }
        if let (Some(ordinal), Some((_, dead))) = (applied.ordinal, put)
            && !dead.contains(ordinal)
        {
            writer.live.insert(ordinal);
        }
        writer.seq = writer.seq.max(applied.seq);
        if let Err(error) = outcome {
            tracing::error!(index = self.name(), %error, "a durable write could not be indexed");
            writer.failed = Some(format!("a write could not be indexed: {error}"));
        }
    }

    /// Makes every write so far visible, to all legs at once. Returns the log sequence
    /// that is visible now.
    pub fn refresh(&self) -> Result<u64> {
        let mut writer = self.writer.lock();
        writer.check(self.name())?;
        let seq = writer.seq;
        let before = self.view();
        if before.seq == seq && !self.has_lost_vectors() {
            return Ok(seq);
        }
        self.restore_vectors(&writer)?;
        let started = Instant::now();
        if let Err(error) = self.words.commit(seq) {
            // The words have forgotten everything since their last commit. The log has it:
            // without this the next commit would claim to cover what is not there.
            if let Err(worse) = replay_words(&self.store, &self.words, self.definition()) {
                writer.broken = Some(format!("the words are behind the log: {worse}"));
            }
            return Err(error);
        }
        let live = Arc::new(writer.live.clone());
        let epoch = Epoch::new(&self.store);
        let view = View {
            words: self.words.reader()?,
            vectors: self
                .vectors
                .as_ref()
                .map(|v| publish(v, &live, self.store.next_ordinal())),
            documents: live.len() as u64,
            live,
            seq,
            epoch: epoch.clone(),
        };
        before
            .epoch
            .followed_by(&epoch, std::mem::take(&mut writer.dead), seq);
        self.view.store(Arc::new(view));
        drop(writer);
        debug!(index = self.name(), seq, took = ?started.elapsed(), "refreshed");
        Ok(seq)
    }

    fn has_lost_vectors(&self) -> bool {
        self.vectors.as_ref().is_some_and(VectorIndex::has_lost)
    }

    /// Takes the vectors whose file turned out damaged from the store.
    fn restore_vectors(&self, writer: &Writer) -> Result<()> {
        let Some(vectors) = self.vectors.as_ref().filter(|v| v.has_lost()) else {
            return Ok(());
        };
        let mut lost = OrdinalSet::new();
        for ordinal in vectors.lost() {
            if writer.live.contains(ordinal) {
                lost.insert(ordinal);
            }
        }
        add_stored(&self.store, vectors, &lost, self.name())?;
        vectors.restored();
        let documents = lost.len();
        warn!(
            index = self.name(),
            documents, "took vectors from the store"
        );
        Ok(())
    }

    /// Waits until no graph is being built in the background, and searches what was built.
    pub fn wait_for_background(&self) {
        if let Some(vectors) = &self.vectors {
            vectors.wait_for_background();
            self.adopt_graphs();
        }
    }

    /// Lets searches use the graphs that were finished in the background since the last
    /// refresh. They hold the same documents, so the view stays at its log sequence.
    pub fn adopt_graphs(&self) {
        let Some(vectors) = &self.vectors else {
            return;
        };
        let is_new = |view: &View| {
            let current = view.vectors.as_ref();
            !current.is_some_and(|current| Arc::ptr_eq(current, &vectors.reader()))
        };
        if !is_new(&self.view()) {
            return;
        }
        // Behind the writer's lock no refresh publishes rows that the words do not have.
        let _writer = self.writer.lock();
        let view = self.view();
        self.view.store(Arc::new(View {
            words: view.words.clone(),
            vectors: Some(vectors.reader()),
            live: view.live.clone(),
            documents: view.documents,
            seq: view.seq,
            epoch: view.epoch.clone(),
        }));
    }

    /// Whether there are writes that no refresh has made visible yet, or vectors that one
    /// has to restore.
    pub fn is_stale(&self) -> bool {
        self.store.last_seq() != self.view.load().seq || self.has_lost_vectors()
    }

    /// The stored object of a document, as of the last write (visible or not).
    ///
    /// # Errors
    /// `document_not_found`.
    pub fn get(&self, id: &str) -> Result<Map<String, Json>> {
        let source = match self.store.ordinal(id)? {
            Some(ordinal) => self.store.source(ordinal)?,
            None => None,
        };
        let source = source.ok_or_else(|| {
            Problem::new(
                Code::DocumentNotFound,
                format!("index {:?} has no such document", self.name()),
            )
            .field("id")
            .found(id)
        })?;
        parse_source(&source)
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

    /// The ordinal of a document, if it exists.
    pub fn ordinal(&self, id: &str) -> Result<Option<u32>> {
        self.store.ordinal(id)
    }

    /// The stored passages and vectors of a document.
    pub fn stored_vectors(&self, ordinal: u32) -> Result<Option<crate::store::StoredVectors>> {
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
            durable_seq: self.store.last_seq(),
            visible_seq: view.seq,
        }
    }
}

fn parse_source(bytes: &[u8]) -> Result<Map<String, Json>> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::operator_from("a stored document cannot be read", e))
}
