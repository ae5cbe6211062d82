//! The loading pipeline: reading and checking, encoding, writing, side by side.
//!
//! ```text
//! reader ── batches ──> encoders ── vectors ──> writer (synced, in the order of the rows)
//! ```
//!
//! What holds:
//! * The stages are joined by queues that hold a bounded number of batches, and all of them
//!   together a bounded number of bytes (`ingest.memory`): memory does not grow with the input.
//! * The encoder, by far the slowest stage, never waits for another. Two encoders take turns:
//!   while one cuts and collects, the other keeps the sessions busy.
//! * The writer puts the batches back into order, so that loading the same file twice gives the
//!   same index, and whoever loads can note with each batch how far the rows behind it reach.
//! * A document that is stored as it is, is neither encoded nor written; of one that changed,
//!   only passages are encoded whose text did (`index/same.rs`).

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use serde_json::{Map, Value as Json};

use super::Progress;
use super::budget::Budget;
use crate::config::Ingest;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Carry, Change, Changed, Encoded, IfVersion, Index, Prepared, Same};
use crate::store::StoredVectors;

/// Most bytes of one batch, unless a single document is larger: a limit on memory where
/// documents are long.
const MOST_BATCH_BYTES: usize = 16 << 20;
/// The least that a batch holds before it is full by its bytes.
const LEAST_BATCH_BYTES: usize = 64 << 10;
/// Batches that the memory is cut into: one is filled while the others are under way.
const SHARES: usize = 8;
/// Of these, what the queues may hold; the rest is the one that is filled, and what a reader
/// has decoded.
const QUEUED_SHARES: usize = 6;

/// Marks of rows that were passed over that a batch waits for: how far a load is, is written
/// also where no row is wanted.
const MOST_MARKS: usize = 16;

/// Encoders that take turns.
const ENCODERS: usize = 2;

/// A row on its way into an index.
#[derive(Debug)]
pub struct Incoming(Content);

#[derive(Debug)]
enum Content {
    /// A document.
    Document {
        json: Json,
        /// A vector that it brings along, apart from the object.
        vector: Option<Vec<f32>>,
        /// Vectors that it has in another index, and what of them can be taken over.
        carried: Option<(StoredVectors, Carry)>,
    },
    /// The document of this id is to be deleted.
    Deletion(String),
    /// These fields are to be merged into the document of this id.
    Update(String, Map<String, Json>),
    /// No row: those before were passed over, so that whoever loads may note how far it is.
    Nothing,
}

impl Incoming {
    /// A document, and vectors of the one that it takes the place of.
    pub(super) fn carrying(json: Json, vectors: StoredVectors, carry: Carry) -> Incoming {
        Incoming(Content::Document {
            json,
            vector: None,
            carried: Some((vectors, carry)),
        })
    }

    /// A document, and its vector, which is not in the object.
    pub(super) fn with_vector(json: Json, vector: Vec<f32>) -> Incoming {
        Incoming(Content::Document {
            json,
            vector: Some(vector),
            carried: None,
        })
    }

    /// Fields to be merged into the document of an id, as [`Index::update`] does it; where there
    /// is none the row is rejected. Whoever writes the same document meanwhile, from elsewhere,
    /// may find it overwritten.
    pub fn update(id: String, fields: Json) -> Incoming {
        match fields {
            Json::Object(fields) => Incoming(Content::Update(id, fields)),
            // No document at all, which is what it is refused for.
            other => Incoming::from(other),
        }
    }

    /// Of no row, where a reader only tells how far it is.
    pub(super) fn nothing() -> Incoming {
        Incoming(Content::Nothing)
    }

    /// The deletion of a document; without one of that id nothing happens.
    pub fn deletion(id: String) -> Incoming {
        Incoming(Content::Deletion(id))
    }
}

impl From<Json> for Incoming {
    fn from(json: Json) -> Incoming {
        Incoming(Content::Document {
            json,
            vector: None,
            carried: None,
        })
    }
}

/// Loads rows from anywhere; `R` says where a row is from and is handed back, with the
/// problem, for each row that does not fit. Does not refresh.
pub fn load_rows<R: Send, I: Into<Incoming>>(
    index: &Index,
    rows: impl Iterator<Item = Result<(R, Result<I, Problem>)>> + Send,
    settings: &Ingest,
    progress: &Progress,
    mut reject: impl FnMut(R, Problem) -> Result<()> + Send,
) -> Result<()> {
    let flow = Flow {
        index,
        settings,
        progress,
        stop: &AtomicBool::new(false),
    };
    let note = |(): &mut (), origin, problem: Option<Problem>| match problem {
        Some(problem) => reject(origin, problem).map(|()| 0),
        None => Ok(0),
    };
    let write = |changes: &[(Change<'_>, IfVersion)], _: &Tally, ()| {
        index.change(changes, crate::store::Durability::Synced)
    };
    flow.run(rows, note, write).map(|_| ())
}

/// What a batch comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Documents that were written, or were there as they are.
    pub loaded: u64,
    /// Of these, those that took the place of another.
    pub replaced: u64,
    /// Of these, those that were there as they are.
    pub unchanged: u64,
    /// Documents that were deleted.
    pub deleted: u64,
    /// Passages written.
    pub passages: u64,
    /// Tokens encoded.
    pub tokens: u64,
    /// Passages cut to the model's length.
    pub truncated: u64,
}

impl Tally {
    /// The same with what became of the changes.
    pub(crate) fn with(mut self, changed: &[Changed]) -> Tally {
        for one in changed {
            match one {
                Changed::Created { .. } => self.loaded += 1,
                Changed::Updated { .. } => {
                    self.loaded += 1;
                    self.replaced += 1;
                }
                Changed::Deleted => self.deleted += 1,
                Changed::Unmet { .. } => {}
            }
        }
        self
    }

    fn add_to(self, progress: &Progress) {
        for (counter, value) in [
            (&progress.loaded, self.loaded),
            (&progress.replaced, self.replaced),
            (&progress.unchanged, self.unchanged),
            (&progress.deleted, self.deleted),
            (&progress.passages, self.passages),
            (&progress.tokens, self.tokens),
            (&progress.truncated, self.truncated),
        ] {
            counter.fetch_add(value, Relaxed);
        }
    }
}

/// How a load ended that nothing went wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Every row was taken up.
    Finished,
    /// It was stopped; what was written is whole batches, in their order.
    Stopped,
}

/// What a load works with.
#[derive(Clone, Copy)]
pub(crate) struct Flow<'a> {
    pub index: &'a Index,
    pub settings: &'a Ingest,
    pub progress: &'a Progress,
    /// Stops it soon, without an error.
    pub stop: &'a AtomicBool,
}

impl Flow<'_> {
    /// Loads rows. `note` is called with each row, good or not, and adds it to the mark of its
    /// batch; it says how many bytes that takes, and an error of it ends the load behind that
    /// row. `write` is called with what a batch changes, what else it comes to, and its mark, in
    /// the order of the rows.
    pub(crate) fn run<R: Send, I: Into<Incoming>, M: Default + Send>(
        &self,
        rows: impl Iterator<Item = Result<(R, Result<I, Problem>)>> + Send,
        note: impl FnMut(&mut M, R, Option<Problem>) -> Result<usize> + Send,
        write: impl FnMut(&[(Change<'_>, IfVersion)], &Tally, M) -> Result<Vec<Changed>>,
    ) -> Result<End> {
        let settings = self.settings;
        let (to_encode, encode) = sync_channel::<(u64, Batch<M>)>(settings.queue);
        let (to_write, written) = sync_channel::<(u64, Result<Done<M>>)>(settings.queue);
        let encode = Arc::new(Mutex::new(encode));
        // Batches that overtake a slow one must not pile up before the writer.
        let most = 2 * settings.queue + ENCODERS;
        let budget = Budget::new(settings.memory / SHARES * QUEUED_SHARES, most);
        std::thread::scope(|scope| {
            let outlet = Outlet {
                to_encode,
                budget: &budget,
                sent: 0,
            };
            let reader = scope.spawn(move || self.read(rows, note, outlet));
            for _ in 0..ENCODERS {
                let (encode, to_write) = (encode.clone(), to_write.clone());
                scope.spawn(move || {
                    loop {
                        // The lock is held while waiting: encoders take batches in turn.
                        let Ok((number, batch)) = encode.lock().recv() else {
                            return;
                        };
                        if self.stop.load(Relaxed) {
                            return;
                        }
                        // A panic becomes an error in its batch's place: the writer, which
                        // waits for that number, must hear of it.
                        let encoded = catch_unwind(AssertUnwindSafe(|| self.encode(batch)))
                            .unwrap_or_else(|_| Err(Error::Bug("the encoder panicked".into())));
                        if to_write.send((number, encoded)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop((encode, to_write));
            let outcome = self.write_in_order(&written, &budget, write);
            // Without a receiver the stages before stop at their next batch.
            drop(written);
            budget.close();
            let read = reader
                .join()
                .unwrap_or_else(|_| Err(Error::Bug("the reader of a load panicked".into())));
            let (batches, sent) = (outcome?, read?);
            Ok(match sent == Some(batches) {
                true => End::Finished,
                false => End::Stopped,
            })
        })
    }

    /// How many batches were made; None where it was stopped before the last row.
    fn read<R, I: Into<Incoming>, M: Default>(
        &self,
        rows: impl Iterator<Item = Result<(R, Result<I, Problem>)>>,
        mut note: impl FnMut(&mut M, R, Option<Problem>) -> Result<usize>,
        mut outlet: Outlet<'_, M>,
    ) -> Result<Option<u64>> {
        let most_rows = self.settings.batch_documents;
        let most_bytes = (self.settings.memory / SHARES).clamp(LEAST_BATCH_BYTES, MOST_BATCH_BYTES);
        let mut batch = Batch::with_capacity(most_rows);
        let mut failure = None;
        let mut updates = Updates::default();
        for row in rows {
            if self.stop.load(Relaxed) {
                return Ok(None);
            }
            let (origin, incoming) = match row {
                Ok(row) => row,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            };
            let incoming = incoming.map(Into::into);
            let is_row = !matches!(&incoming, Ok(Incoming(Content::Nothing)));
            self.progress.rows.fetch_add(u64::from(is_row), Relaxed);
            self.progress.queued.fetch_add(u64::from(is_row), Relaxed);
            // What it is made of has to be known, which it is not while that is on its way.
            if let Ok(Incoming(Content::Update(id, _))) = &incoming
                && updates.must_wait_for(id)
            {
                if batch.rows > 0 {
                    let full = std::mem::replace(&mut batch, Batch::with_capacity(most_rows));
                    if !outlet.batch(full) {
                        return Ok(None);
                    }
                }
                if !outlet.budget.wait_until_empty() {
                    return Ok(None);
                }
                updates.begin();
            }
            let item = incoming.map_err(Error::from).and_then(|incoming| {
                let item = is_row.then(|| self.item(incoming, &mut updates));
                item.transpose()
            });
            let problem = match item {
                Ok(item) => {
                    if let Some(item) = item {
                        batch.add(item, self.index.dimensions());
                    }
                    None
                }
                // A model that is not there is not the row's fault.
                Err(Error::User(problem)) if !problem.code.is_about_the_model() => {
                    self.progress.rejected.fetch_add(1, Relaxed);
                    Some(*problem)
                }
                Err(error) => return Err(error),
            };
            batch.rows += 1;
            batch.marks += usize::from(!is_row);
            match note(&mut batch.mark, origin, problem) {
                Ok(bytes) => batch.bytes += bytes,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
            let is_full = batch.rows >= most_rows || batch.bytes >= most_bytes;
            if is_full || batch.marks >= MOST_MARKS {
                let full = std::mem::replace(&mut batch, Batch::with_capacity(most_rows));
                if !outlet.batch(full) {
                    // A later stage failed and says why, or it was stopped.
                    return Ok(None);
                }
            }
        }
        if batch.rows > 0 {
            outlet.batch(batch);
        }
        failure.map_or(Ok(Some(outlet.sent)), Err)
    }

    fn item(&self, incoming: Incoming, updates: &mut Updates) -> Result<Item> {
        let index = self.index;
        let item = match incoming.0 {
            Content::Update(id, fields) => {
                let json = match updates.on_its_way(&id)? {
                    Some(json) => index.patch(json.clone(), &fields),
                    None => index.patched(&id, &fields)?,
                };
                let prepared = index.prepare(json.clone())?;
                updates.bytes += prepared.bytes();
                updates.see(&id, UnderWay::Updated(json));
                return Ok(Item::Put(prepared));
            }
            Content::Nothing => return Err(Error::Bug("a mark was taken for a row".into())),
            Content::Deletion(id) => {
                updates.see(&id, UnderWay::Deleted);
                Item::Delete(id)
            }
            Content::Document {
                json,
                carried: Some((vectors, carry)),
                ..
            } => {
                let most = index.limits().field_bytes;
                Item::Put(index.prepare_carried(json, Some(vectors), carry, most)?)
            }
            Content::Document {
                json,
                vector: Some(vector),
                ..
            } => Item::Put(index.prepare_with_vector(json, vector)?),
            Content::Document { json, .. } => Item::Put(index.prepare(json)?),
        };
        if let Item::Put(one) = &item {
            updates.see(&one.document.id, UnderWay::Written);
        }
        Ok(item)
    }

    /// Encodes what is not stored yet.
    fn encode<M>(&self, batch: Batch<M>) -> Result<Done<M>> {
        let mut order = Vec::with_capacity(batch.items.len());
        let mut prepared = Vec::with_capacity(batch.items.len());
        for item in batch.items {
            match item {
                Item::Put(one) => {
                    prepared.push(one);
                    order.push(None);
                }
                Item::Delete(id) => order.push(Some(id)),
            }
        }
        let deleted: Vec<&str> = order.iter().flatten().map(String::as_str).collect();
        let mut same = Vec::new();
        let mut changed = Vec::with_capacity(prepared.len());
        let mut is_written = Vec::with_capacity(prepared.len());
        for one in self.index.take_same(prepared, &deleted)? {
            is_written.push(one.is_err());
            match one {
                Ok(one) => same.push(one),
                Err(one) => changed.push(one),
            }
        }
        let mut encoded = self.index.encode(changed)?.into_iter();
        let mut is_written = is_written.into_iter();
        let mut items = Vec::with_capacity(order.len());
        for deleted in order {
            match deleted {
                Some(id) => items.push(Written::Delete(id)),
                None if is_written.next() == Some(true) => {
                    let one = encoded.next();
                    let one = one.ok_or_else(|| Error::Bug("a document was lost".into()))?;
                    items.push(Written::Put(one));
                }
                None => {}
            }
        }
        Ok(Done {
            items,
            same,
            rows: batch.rows - batch.marks,
            mark: batch.mark,
            bytes: batch.bytes,
        })
    }

    /// How many batches were written.
    fn write_in_order<M>(
        &self,
        done: &Receiver<(u64, Result<Done<M>>)>,
        budget: &Budget,
        mut write: impl FnMut(&[(Change<'_>, IfVersion)], &Tally, M) -> Result<Vec<Changed>>,
    ) -> Result<u64> {
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (number, batch) in done.iter() {
            waiting.insert(number, batch);
            while let Some(batch) = waiting.remove(&next) {
                if self.stop.load(Relaxed) {
                    return Ok(next);
                }
                next += 1;
                let Done {
                    mut items,
                    same,
                    rows,
                    mark,
                    bytes,
                } = batch?;
                let all = same.len() as u64;
                let changed = self.index.changed_since(same)?;
                let mut tally = Tally::default();
                tally.unchanged = all - changed.len() as u64;
                tally.loaded = tally.unchanged;
                if !changed.is_empty() {
                    // Somebody else has written them since they were looked at.
                    items.extend(self.index.encode(changed)?.into_iter().map(Written::Put));
                }
                for item in &items {
                    if let Written::Put(one) = item {
                        let passages = one.vectors.as_ref().map_or(0, |v| v.spans.len());
                        tally.passages += passages as u64;
                        tally.tokens += one.tokens;
                        tally.truncated += u64::from(one.truncated);
                    }
                }
                let changes: Vec<(Change<'_>, IfVersion)> = items
                    .iter()
                    .map(|item| match item {
                        Written::Put(one) => (Change::Put(one), IfVersion::Any),
                        Written::Delete(id) => (Change::Delete(id), IfVersion::Any),
                    })
                    .collect();
                let changed = write(&changes, &tally, mark)?;
                tally.with(&changed).add_to(self.progress);
                self.progress.settled.fetch_add(rows as u64, Relaxed);
                budget.give_back(bytes);
            }
        }
        Ok(next)
    }
}

/// Rows that go through the pipeline together.
struct Batch<M> {
    items: Vec<Item>,
    /// Rows, good or not, and marks.
    rows: usize,
    /// Marks of rows that were passed over.
    marks: usize,
    bytes: usize,
    mark: M,
}

#[allow(clippy::large_enum_variant)] // nearly all of a batch are the large one
enum Item {
    Put(Prepared),
    Delete(String),
}

impl<M: Default> Batch<M> {
    fn with_capacity(rows: usize) -> Batch<M> {
        Batch {
            items: Vec::with_capacity(rows),
            rows: 0,
            marks: 0,
            bytes: 0,
            mark: M::default(),
        }
    }

    fn add(&mut self, item: Item, dimensions: usize) {
        self.bytes += match &item {
            Item::Put(one) => one.bytes() + one.vector_bytes(dimensions),
            Item::Delete(id) => id.len(),
        };
        self.items.push(item);
    }
}

/// A batch that is ready to be written.
struct Done<M> {
    items: Vec<Written>,
    same: Vec<Same>,
    /// Rows, good or not, without marks.
    rows: usize,
    mark: M,
    bytes: usize,
}

#[allow(clippy::large_enum_variant)] // nearly all of a batch are the large one
enum Written {
    Put(Encoded),
    Delete(String),
}

/// Documents whose updates have to know what is on its way. From the first update on, every id
/// that is on its way is noted.
#[derive(Default)]
struct Updates {
    /// None before the first update.
    under_way: Option<HashMap<String, UnderWay>>,
    /// What is kept of them, about.
    bytes: usize,
}

/// What is on its way of a document.
enum UnderWay {
    /// Something whose outcome is not kept.
    Written,
    Deleted,
    /// What an update makes of it.
    Updated(Json),
}

impl Updates {
    /// Ids, and bytes of documents, that are noted before everything that is on its way is
    /// waited for.
    const MOST: usize = 10_000;
    const MOST_BYTES: usize = 16 << 20;

    /// Whether an update of a document has to wait until nothing is on its way.
    fn must_wait_for(&self, id: &str) -> bool {
        match &self.under_way {
            None => true,
            Some(under_way) => {
                under_way.len() >= Updates::MOST
                    || self.bytes >= Updates::MOST_BYTES
                    || matches!(under_way.get(id), Some(UnderWay::Written))
            }
        }
    }

    /// Nothing is on its way.
    fn begin(&mut self) {
        self.under_way = Some(HashMap::new());
        self.bytes = 0;
    }

    /// What an update on its way makes of a document.
    fn on_its_way(&self, id: &str) -> Result<Option<&Json>, Problem> {
        match self.under_way.as_ref().and_then(|known| known.get(id)) {
            Some(UnderWay::Updated(json)) => Ok(Some(json)),
            Some(UnderWay::Deleted) => Err(Problem::new(
                Code::DocumentNotFound,
                format!("there is no document {id:?}: a row before deletes it"),
            )
            .field("id")
            .found(id)
            .expected("the id of a document")),
            Some(UnderWay::Written) | None => Ok(None),
        }
    }

    fn see(&mut self, id: &str, what: UnderWay) {
        if let Some(under_way) = &mut self.under_way {
            under_way.insert(id.to_string(), what);
            // Rows that are no updates would let it grow without end: the next update waits
            // until nothing is on its way, and it begins anew.
            if under_way.len() >= Updates::MOST || self.bytes >= Updates::MOST_BYTES {
                self.under_way = None;
            }
        }
    }
}

/// The reader's end of the pipeline.
struct Outlet<'a, M> {
    to_encode: SyncSender<(u64, Batch<M>)>,
    budget: &'a Budget,
    sent: u64,
}

impl<M> Outlet<'_, M> {
    /// Hands a batch on once there is room; false if a later stage has stopped.
    fn batch(&mut self, batch: Batch<M>) -> bool {
        let number = self.sent;
        self.sent += 1;
        self.budget.take(batch.bytes) && self.to_encode.send((number, batch)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_for_updates_stays_bounded() {
        let mut updates = Updates::default();
        assert!(updates.must_wait_for("a"));
        updates.begin();
        for row in 0..3 * Updates::MOST {
            assert_eq!(updates.must_wait_for("another"), row >= Updates::MOST);
            updates.see(&row.to_string(), UnderWay::Written);
            assert!(
                updates
                    .under_way
                    .as_ref()
                    .is_none_or(|noted| noted.len() <= Updates::MOST)
            );
        }
        updates.begin();
        assert!(!updates.must_wait_for("another"));
    }
}
