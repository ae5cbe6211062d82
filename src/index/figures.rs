//! Figures of an open index for whoever watches it: how much it holds, how far what is visible is
//! behind what was written, and what its store says of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Index;
use crate::store::StoreFigures;
use crate::vector::VectorFigures;

/// What was refreshed since the index was opened.
#[derive(Default)]
pub(super) struct Refreshes {
    done: AtomicU64,
    failed: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Refreshes {
    /// Counts one that had something to do.
    pub(super) fn note(&self, succeeded: bool, took: Duration) {
        let counter = if succeeded { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        // Centuries fit.
        let nanoseconds = took.as_nanos() as u64;
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// Figures of an index. Reading them costs microseconds and no search waits for it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct IndexFigures {
    /// Documents that are visible.
    pub documents: u64,
    /// Segments of the words.
    pub word_segments: u64,
    /// Documents that were replaced or deleted and are still in them.
    pub deleted_documents: u64,
    /// The vectors; zeros where the index has none.
    pub vectors: VectorFigures,
    /// Last log sequence that was given to a write.
    pub last_seq: u64,
    /// Last one that is known to be on the disk.
    pub durable_seq: u64,
    /// Last one that is visible.
    pub visible_seq: u64,
    /// Cursors that are held.
    pub cursors: u64,
    /// Refreshes that made something visible.
    pub refreshes: u64,
    /// Refreshes that failed.
    pub failed_refreshes: u64,
    /// Seconds that both took together.
    pub refresh_seconds: f64,
    /// Whether no write is taken until the index is opened anew, because one failed.
    pub refuses_writes: bool,
    /// What RocksDB says.
    pub store: StoreFigures,
    /// Whether it was built elsewhere.
    pub is_attached: bool,
    /// Whether its newer snapshots cannot be reached or used.
    pub has_attachment_problem: bool,
}

impl Index {
    /// How much the index holds, how far it is, and what it has done since it was opened.
    pub fn figures(&self) -> IndexFigures {
        let view = self.view();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let attached = self.attached.get().map(|one| one.status());
        IndexFigures {
            documents: view.documents,
            word_segments: view.words.segments() as u64,
            deleted_documents: view.words.deleted(),
            vectors: self
                .vectors
                .as_ref()
                .map_or_else(VectorFigures::default, |vectors| vectors.figures()),
            last_seq: self.store.last_seq(),
            durable_seq: self.store.durable_seq(),
            visible_seq: view.seq,
            cursors: self.held().len() as u64,
            refreshes: count(&self.refreshes.done),
            failed_refreshes: count(&self.refreshes.failed),
            refresh_seconds: count(&self.refreshes.nanoseconds) as f64 / 1e9,
            // Who holds the lock writes or refreshes, and so nothing has failed.
            refuses_writes: self.writer.try_lock().is_some_and(|w| w.is_broken())
                || self.store.refuses_writes(),
            store: self.store.figures(),
            is_attached: attached.is_some(),
            has_attachment_problem: attached.is_some_and(|status| status.problem.is_some()),
        }
    }
}
