//! Documents on their way from one index to another: everything that a view sees, and then
//! what the log says happened since.

use std::sync::atomic::Ordering::Relaxed;

use indexmap::IndexMap;

use super::reindex::{Reindex, Stop};
use super::{Carry, Change, IfVersion, Index, Prepared, View};
use crate::error::{Error, Result};
use crate::store::Durability;

/// Most documents written at once.
const BATCH: usize = 256;
/// Bytes of documents that a batch holds, about, unless one is larger by itself.
const BATCH_BYTES: usize = 8 << 20;
/// Documents looked up at once.
const LOOKED_UP: usize = 16;
/// Documents after which the new index makes visible what it has, which is when it builds
/// its graphs.
const REFRESH_EVERY: u64 = 50_000;

/// One index that is filled from another.
pub(super) struct Filling<'a> {
    pub(super) source: &'a Index,
    pub(super) new: &'a Index,
    pub(super) reindex: &'a Reindex,
    pub(super) carry: Carry,
}

/// One change to the new index.
enum Step {
    Put(Prepared),
    Delete(String),
}

impl Filling<'_> {
    /// Everything that a view sees.
    pub(super) fn copy(&self, view: &View) -> Result<(), Stop> {
        self.reindex.total.store(view.documents, Relaxed);
        let mut steps = Steps::default();
        let mut since_refresh = 0;
        let ordinals: Vec<u32> = view.live.iter().collect();
        for ordinals in ordinals.chunks(LOOKED_UP) {
            self.reindex.go_on()?;
            for step in self.prepare(ordinals)? {
                steps.push(step);
            }
            if steps.are_many() {
                let written = self.write(&mut steps)?;
                self.reindex.documents.fetch_add(written, Relaxed);
                since_refresh += written;
                if since_refresh >= REFRESH_EVERY {
                    self.new.refresh()?;
                    since_refresh = 0;
                }
                let behind = self.source.store.last_seq() - view.seq;
                self.reindex.behind.store(behind, Relaxed);
            }
        }
        let written = self.write(&mut steps)?;
        self.reindex.documents.fetch_add(written, Relaxed);
        Ok(())
    }

    /// What the log says happened after one operation up to another. Somebody holds a view
    /// from before.
    pub(super) fn follow(&self, after: u64, up_to: u64) -> Result<(), Stop> {
        let behind = |done: u64| {
            let last = self.source.store.last_seq();
            self.reindex
                .behind
                .store(last.saturating_sub(done), Relaxed);
        };
        behind(after);
        if after == up_to {
            return Ok(());
        }
        let mut entries = Vec::new();
        self.source.store.replay(after, |entry| {
            if entry.seq <= up_to {
                entries.push((entry.put, entry.removed));
            }
            Ok(())
        })?;
        // What became of each document in the end: what lies between is not needed.
        let mut changed: IndexMap<String, Option<u32>> = IndexMap::new();
        for entries in entries.chunks(BATCH) {
            let ordinals: Vec<u32> = entries
                .iter()
                .flat_map(|(put, removed)| [*removed, *put])
                .flatten()
                .collect();
            let mut ids = self.source.store.ids(&ordinals)?.into_iter();
            for (put, removed) in entries {
                for (ordinal, is_put) in [(removed, false), (put, true)] {
                    let Some(ordinal) = ordinal else { continue };
                    let id = ids.next().flatten().ok_or_else(|| lost(self.source))?;
                    changed.insert(id, is_put.then_some(*ordinal));
                }
            }
        }
        let changed: Vec<(String, Option<u32>)> = changed.into_iter().collect();
        let mut steps = Steps::default();
        for changed in changed.chunks(LOOKED_UP) {
            self.reindex.go_on()?;
            let ordinals: Vec<u32> = changed.iter().filter_map(|(_, put)| *put).collect();
            for step in self.prepare(&ordinals)? {
                steps.push(step);
            }
            for (id, _) in changed.iter().filter(|(_, put)| put.is_none()) {
                steps.push(Step::Delete(id.clone()));
            }
            if steps.are_many() {
                self.write(&mut steps)?;
            }
        }
        self.write(&mut steps)?;
        self.reindex
            .operations
            .fetch_add(entries.len() as u64, Relaxed);
        behind(up_to);
        Ok(())
    }

    fn prepare(&self, ordinals: &[u32]) -> Result<Vec<Step>> {
        let documents = self.source.stored(ordinals, self.carry.any())?;
        let mut steps = Vec::with_capacity(documents.len());
        for document in documents {
            let json = serde_json::from_slice(&document.source)
                .map_err(|e| Error::operator_from("a stored document cannot be read", e))?;
            // A limit lowered since must not lose a document.
            let prepared = self
                .new
                .prepare_carried(json, document.vectors, self.carry, usize::MAX)
                .map_err(|error| unfit(&document.id, error))?;
            steps.push(Step::Put(prepared));
        }
        Ok(steps)
    }

    /// Writes what was collected; how many changes that were.
    fn write(&self, steps: &mut Steps) -> Result<u64> {
        let steps = std::mem::take(steps).all;
        let mut prepared = Vec::with_capacity(steps.len());
        let mut deleted = Vec::new();
        for step in steps {
            match step {
                Step::Put(one) => prepared.push(one),
                Step::Delete(id) => deleted.push(id),
            }
        }
        let texts = prepared
            .iter()
            .filter(|one| one.passages().next().is_some())
            .count();
        let encoded = self.new.encode(prepared)?;
        let with_vectors = encoded.iter().filter(|one| one.vectors.is_some()).count();
        // An id is in one place only, so the order does not matter.
        let mut changes: Vec<(Change<'_>, IfVersion)> = Vec::with_capacity(encoded.len());
        changes.extend(encoded.iter().map(|one| (Change::Put(one), IfVersion::Any)));
        changes.extend(
            deleted
                .iter()
                .map(|id| (Change::Delete(id), IfVersion::Any)),
        );
        // A refresh waits for the disk before anybody finds the index.
        self.new.change(&changes, Durability::Buffered)?;
        self.reindex.encoded.fetch_add(texts as u64, Relaxed);
        self.reindex
            .carried
            .fetch_add((with_vectors - texts) as u64, Relaxed);
        Ok(changes.len() as u64)
    }
}

/// Changes that are collected to be written at once.
#[derive(Default)]
struct Steps {
    all: Vec<Step>,
    bytes: usize,
}

impl Steps {
    fn push(&mut self, step: Step) {
        self.bytes += match &step {
            Step::Put(one) => one.bytes(),
            Step::Delete(id) => id.len(),
        };
        self.all.push(step);
    }

    fn are_many(&self) -> bool {
        self.all.len() >= BATCH || self.bytes >= BATCH_BYTES
    }
}

/// A document that the new definition does not allow ends the reindexing: without it the
/// new index would silently lack it.
fn unfit(id: &str, error: Error) -> Error {
    match error {
        Error::User(mut problem) if !problem.code.is_about_the_model() => {
            problem.message = format!(
                "document {id:?} does not fit the new index: {}",
                problem.message
            );
            Error::User(problem)
        }
        error => error,
    }
}

fn lost(index: &Index) -> Error {
    Error::Bug(format!(
        "index {:?} gave back a document that its log still names",
        index.name()
    ))
}
