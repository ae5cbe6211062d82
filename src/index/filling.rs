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
/// Operations of the log that are followed in one piece.
const FOLLOWED_AT_ONCE: u64 = 100_000;

/// One index that is filled from another.
pub(super) struct Filling<'a> {
    pub(super) source: &'a Index,
    pub(super) new: &'a Index,
    pub(super) reindex: &'a Reindex,
    pub(super) carry: Carry,
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
            self.prepare(ordinals, &mut steps)?;
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
        // A piece at a time: what a long log names is not held in memory all at once.
        let mut after = after;
        while up_to - after > FOLLOWED_AT_ONCE {
            self.follow_piece(after, after + FOLLOWED_AT_ONCE)?;
            after += FOLLOWED_AT_ONCE;
        }
        self.follow_piece(after, up_to)
    }

    fn follow_piece(&self, after: u64, up_to: u64) -> Result<(), Stop> {
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
            self.prepare(&ordinals, &mut steps)?;
            let deleted = changed.iter().filter(|(_, put)| put.is_none());
            steps.deletes.extend(deleted.map(|(id, _)| id.clone()));
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

    fn prepare(&self, ordinals: &[u32], steps: &mut Steps) -> Result<()> {
        let documents = self.source.stored(ordinals, self.carry.any())?;
        for document in documents {
            let json = serde_json::from_slice(&document.source)
                .map_err(|e| Error::operator_from("a stored document cannot be read", e))?;
            // A limit lowered since must not lose a document.
            let prepared = self
                .new
                .prepare_carried(json, document.vectors, self.carry, usize::MAX)
                .map_err(|error| unfit(&document.id, error))?;
            steps.bytes += prepared.bytes();
            steps.puts.push(prepared);
        }
        Ok(())
    }

    /// Writes what was collected; how many changes that were.
    fn write(&self, steps: &mut Steps) -> Result<u64> {
        let Steps {
            puts: prepared,
            deletes: deleted,
            ..
        } = std::mem::take(steps);
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
    puts: Vec<Prepared>,
    deletes: Vec<String>,
    /// Of the documents to put.
    bytes: usize,
}

impl Steps {
    fn are_many(&self) -> bool {
        self.puts.len() + self.deletes.len() >= BATCH || self.bytes >= BATCH_BYTES
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
