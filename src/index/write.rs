//! The write path: one batch, words and vectors, then the disk; visible at a refresh.

use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::once::Step;
use super::open::{add_stored, publish, replay_words};
use super::view::Epoch;
use super::{Encoded, Index, View};
use crate::error::{Code, Error, Problem, Result};
use crate::filter::OrdinalSet;
use crate::store::{Applied, Durability, Expected, Operation, Store, Unmet};
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
    broken: Option<Broken>,
    /// Why, noted while operations are handed over.
    failed: Option<Broken>,
}

/// Why an index takes no writes.
struct Broken {
    reason: String,
    /// For want of room on the disk.
    storage_full: bool,
}

impl Broken {
    fn by(what: &str, error: &Error) -> Broken {
        Broken {
            reason: format!("{what}: {error}"),
            storage_full: error.is_storage_full(),
        }
    }
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
        self.broken = Some(Broken {
            reason: "a write was interrupted".into(),
            storage_full: false,
        });
    }

    /// After they have been handed over.
    fn end(&mut self) {
        self.broken = self.failed.take();
    }

    /// Whether the legs no longer agree.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    fn check(&self, index: &str) -> Result<()> {
        match &self.broken {
            None => Ok(()),
            Some(broken) => Err(Error::operator(format!(
                "index {index:?} takes no writes: {}",
                broken.reason
            ))
            .advice("everything acknowledged is safe; restart gleaner to rebuild what is derived")
            .storage_full(broken.storage_full)),
        }
    }
}

/// One change to one document.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Writes it, in place of the one that is there.
    Put(&'a Encoded),
    /// Removes the document of this id.
    Delete(&'a str),
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Written; there was no document of that id.
    Created {
        /// The document's version now.
        version: u64,
    },
    /// Written in place of an earlier one.
    Updated {
        /// The document's version now.
        version: u64,
    },
    /// Removed.
    Deleted,
    /// What was expected does not hold: nothing changed.
    Unmet {
        /// The version of the document that is there, if there is one.
        version: Option<u64>,
    },
}

/// The version of a document: grows whenever the document is written, and no two writes of
/// an index have the same. At least 1.
pub(super) fn version_of(ordinal: u32) -> u64 {
    u64::from(ordinal) + 1
}

/// What a caller says of the version of a document it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfVersion {
    /// Whatever is there.
    #[default]
    Any,
    /// There is no document of that id.
    Absent,
    /// There is one.
    Present,
    /// It has this version.
    Is(u64),
}

impl IfVersion {
    fn expected(self) -> Expected {
        match self {
            IfVersion::Any => Expected::Anything,
            IfVersion::Absent => Expected::Absent,
            IfVersion::Present => Expected::Present,
            IfVersion::Is(version) => match version.checked_sub(1).map(u32::try_from) {
                Some(Ok(ordinal)) => Expected::Ordinal(ordinal),
                // Nothing has the version 0, nor one that is too large.
                _ => Expected::Ordinal(u32::MAX),
            },
        }
    }
}

/// Says whether a writer that found an index by an alias still means that index.
pub type Still<'a> = &'a dyn Fn() -> bool;

/// How changes are made.
#[derive(Clone, Copy)]
pub struct How<'a> {
    /// When they are acknowledged.
    pub durability: Durability,
    /// Asked in the writer's turn to write, when no alias is moved away from the index by a
    /// reindexing; see [`Catalog::write`](super::Catalog::write).
    pub still: Still<'a>,
    /// Records what came of them with them: they are a step of a request that is carried out
    /// once.
    pub step: Option<&'a Step<'a>>,
}

impl How<'_> {
    /// By a writer that names the index itself, without a record.
    pub fn plain(durability: Durability) -> How<'static> {
        How {
            durability,
            still: &|| true,
            step: None,
        }
    }
}

/// The answer to a writer that does not.
pub(super) fn moved(index: &str) -> Problem {
    Problem::new(
        Code::AliasMoved,
        format!("the alias was moved away from index {index:?} before the write; try again"),
    )
    .field("index")
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

/// What operations came to, in terms of versions.
fn changed(outcomes: &[Result<Applied, Unmet>]) -> Vec<Changed> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Err(unmet) => Changed::Unmet {
                version: unmet.current.map(version_of),
            },
            Ok(applied) => match (applied.ordinal.map(version_of), applied.replaced) {
                (Some(version), None) => Changed::Created { version },
                (Some(version), Some(_)) => Changed::Updated { version },
                (None, _) => Changed::Deleted,
            },
        })
        .collect()
}

impl Index {
    /// Writes documents in one atomic, synced batch: when this returns they survive a
    /// crash. They become visible at the next refresh.
    pub fn write(&self, documents: &[Encoded]) -> Result<Vec<Written>> {
        let changes: Vec<(Change<'_>, IfVersion)> = documents
            .iter()
            .map(|document| (Change::Put(document), IfVersion::Any))
            .collect();
        let changed = self.change(&changes, Durability::Synced)?;
        changed
            .into_iter()
            .map(|one| match one {
                Changed::Created { .. } => Ok(Written::Created),
                Changed::Updated { .. } => Ok(Written::Updated),
                other => Err(Error::Bug(format!("a write has the outcome {other:?}"))),
            })
            .collect()
    }

    /// Deletes a document durably. False if there was none.
    pub fn delete(&self, id: &str) -> Result<bool> {
        let change = (Change::Delete(id), IfVersion::Present);
        let changed = self.change(&[change], Durability::Synced)?;
        Ok(changed == [Changed::Deleted])
    }

    /// Applies changes in order, in one atomic batch; each by itself where what it expects
    /// of the document's version holds, seeing what the ones before it did. When this
    /// returns they survive a crash, and with [`Durability::Synced`] a power loss. They
    /// become visible at the next refresh.
    ///
    /// # Errors
    /// `invalid_vector` for what the vectors would refuse; operator errors of the disk.
    /// Then nothing is acknowledged; what was written already may still be found later.
    pub fn change(
        &self,
        changes: &[(Change<'_>, IfVersion)],
        durability: Durability,
    ) -> Result<Vec<Changed>> {
        self.change_as(changes, How::plain(durability))
    }

    /// The same, in the way that `how` says.
    ///
    /// # Errors
    /// `alias_moved` where the writer does not mean this index any more, besides, and then
    /// nothing changed.
    pub fn change_as(
        &self,
        changes: &[(Change<'_>, IfVersion)],
        how: How<'_>,
    ) -> Result<Vec<Changed>> {
        let How {
            durability,
            still,
            step,
        } = how;
        if changes.is_empty() && step.is_none() {
            return Ok(Vec::new());
        }
        let source = |change: &(Change<'_>, IfVersion)| match change.0 {
            Change::Put(encoded) => serde_json::to_vec(&encoded.document.source)
                .map_err(|e| Error::Bug(format!("a document does not serialise: {e}"))),
            Change::Delete(_) => Ok(Vec::new()),
        };
        let sources: Vec<Vec<u8>> = changes.iter().map(source).collect::<Result<_>>()?;
        let operations: Vec<(Operation<'_>, Expected)> = changes
            .iter()
            .zip(&sources)
            .map(|((change, if_version), source)| {
                let operation = match change {
                    Change::Put(encoded) => Operation::Put {
                        id: &encoded.document.id,
                        source,
                        vectors: encoded.vectors.as_ref(),
                    },
                    Change::Delete(id) => Operation::Delete { id },
                };
                let expected = match (change, if_version) {
                    // Nothing to delete changes nothing, not even the log; and nobody deletes
                    // what is expected not to be there.
                    (Change::Delete(_), IfVersion::Any) => Expected::Present,
                    (Change::Delete(_), IfVersion::Absent) => Expected::Ordinal(u32::MAX),
                    _ => if_version.expected(),
                };
                (operation, expected)
            })
            .collect();
        // What the vectors would refuse must not become durable first.
        if let Some(vectors) = &self.vectors {
            for (change, _) in changes {
                if let Change::Put(Encoded {
                    vectors: Some(stored),
                    ..
                }) = change
                {
                    vectors.check(&stored.vectors)?;
                }
            }
        }
        self.check_writable()?;
        let mut writer = self.writer.lock();
        writer.check(self.name())?;
        if !still() {
            return Err(moved(self.name()).into());
        }
        let notes = |outcomes: &[Result<Applied, Unmet>]| match step {
            Some(step) => step.notes(&changed(outcomes)),
            None => Ok(Vec::new()),
        };
        let outcomes = self
            .store
            .apply_noting(&operations, Durability::Buffered, &notes)?;
        if let Some(step) = step {
            step.recorded();
        }
        // Within one batch an id may come twice: only the last of them lives.
        let mut dead = OrdinalSet::new();
        for ordinal in outcomes.iter().flatten().filter_map(|a| a.replaced) {
            dead.insert(ordinal);
        }
        writer.begin();
        for (outcome, (change, _)) in outcomes.iter().zip(changes) {
            if let Ok(applied) = outcome {
                let put = match change {
                    Change::Put(encoded) => Some((*encoded, &dead)),
                    Change::Delete(_) => None,
                };
                self.derive(&mut writer, applied, put);
            }
        }
        writer.end();
        // The next writer goes on while this one waits for the disk. What is not on it yet
        // is not visible either: a refresh waits for it as well. A refusal waits too: it is
        // no better than the writes that it is for.
        let seen = writer.seq;
        drop(writer);
        if durability == Durability::Synced {
            self.store.sync_to(seen)?;
        }
        Ok(changed(&outcomes))
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
            writer.failed = Some(Broken::by("a write could not be indexed", &error));
        }
    }

    /// Makes every write so far visible, to all legs at once. Returns the log sequence
    /// that is visible now.
    pub fn refresh(&self) -> Result<u64> {
        let started = Instant::now();
        let before = self.view().seq;
        let refreshed = self.refresh_all();
        if refreshed.as_ref().map_or(true, |&seq| seq != before) {
            self.refreshes.note(refreshed.is_ok(), started.elapsed());
        }
        refreshed
    }

    fn refresh_all(&self) -> Result<u64> {
        // Nobody sees what a power loss could still take back.
        self.store.sync()?;
        let mut writer = self.writer.lock();
        writer.check(self.name())?;
        let seq = writer.seq;
        let before = self.view();
        if before.seq == seq && !self.has_lost_vectors() {
            return Ok(seq);
        }
        let restored = self.restore_vectors(&writer)?;
        let started = Instant::now();
        // Whatever came since.
        self.store.sync_to(seq)?;
        if let Err(error) = self.words.commit(seq) {
            // The words have forgotten everything since their last commit. The log has it:
            // without this the next commit would claim to cover what is not there.
            if let Err(worse) = replay_words(&self.store, &self.words, self.definition()) {
                writer.broken = Some(Broken::by("the words are behind the log", &worse));
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
        if let (Some(vectors), true) = (&self.vectors, restored) {
            // Not before they are in the view: a refresh that fails is to do it again.
            vectors.restored();
        }
        drop(writer);
        debug!(index = self.name(), seq, took = ?started.elapsed(), "refreshed");
        Ok(seq)
    }

    fn has_lost_vectors(&self) -> bool {
        self.vectors.as_ref().is_some_and(VectorIndex::has_lost)
    }

    /// Takes the vectors whose file turned out damaged from the store; whether there were
    /// any. Writers wait meanwhile, which for millions of vectors takes seconds.
    fn restore_vectors(&self, writer: &Writer) -> Result<bool> {
        let Some(vectors) = self.vectors.as_ref().filter(|v| v.has_lost()) else {
            return Ok(false);
        };
        let mut lost = OrdinalSet::new();
        for ordinal in vectors.lost() {
            if writer.live.contains(ordinal) {
                lost.insert(ordinal);
            }
        }
        // Opening, or a refresh that failed, may have taken them already.
        lost.and_not(&vectors.reader().documents());
        add_stored(&self.store, vectors, &lost, self.name())?;
        let documents = lost.len();
        warn!(
            index = self.name(),
            documents, "took vectors from the store"
        );
        Ok(true)
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
        let reader = vectors.reader();
        // In this order: a reader without what was lost comes after the loss is known.
        if self.has_lost_vectors() {
            // A refresh restores it, and takes up the graphs too.
            return;
        }
        self.view.store(Arc::new(View {
            vectors: Some(reader),
            ..(*view).clone()
        }));
    }

    /// Does something while nothing is written, and no words are committed.
    pub(super) fn at_rest<T>(&self, work: impl FnOnce(&Store) -> Result<T>) -> Result<T> {
        let _writer = self.writer.lock();
        work(&self.store)
    }

    /// Gives back the disk and the memory of what was deleted or replaced, at once instead
    /// of in time: rewrites the words, the vectors and the store without it. Takes as long
    /// as copying the index and building the graphs concerned; searches and writes go on,
    /// slower. What a search under way still sees is given back by the next compaction.
    pub fn compact(&self) -> Result<()> {
        self.refresh()?;
        self.words.compact()?;
        if let Some(vectors) = &self.vectors {
            vectors.compact();
            self.adopt_graphs();
        }
        // A view of the merged words, so that nobody keeps the files of the old ones.
        {
            let _writer = self.writer.lock();
            let view = self.view();
            self.view.store(Arc::new(View {
                words: self.words.reader()?,
                ..(*view).clone()
            }));
        }
        self.words.compact()?;
        self.store.compact()
    }

    /// Whether there are writes that no refresh has made visible yet, or vectors that one
    /// has to restore.
    pub fn is_stale(&self) -> bool {
        self.has_unseen_writes() || self.has_lost_vectors()
    }

    /// Whether there are writes that no refresh has made visible yet.
    pub fn has_unseen_writes(&self) -> bool {
        self.store.last_seq() != self.view.load().seq
    }
}
