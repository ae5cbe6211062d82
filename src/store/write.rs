//! The write path: one batch per call, on the disk before it is acknowledged.

use std::collections::HashMap;
use std::path::Path;

use rocksdb::{FlushOptions, WriteBatch, WriteOptions, checkpoint::Checkpoint};

use super::codec::{self, Counters};
use super::options::{DOCUMENTS, FAMILIES, IDS, LOG, META, VECTORS};
use super::{COUNTERS_KEY, Health, NAMED, Store, StoredVectors, fault, synced};
use crate::error::{Code, Error, Problem, Result};

/// Largest batch, in bytes; RocksDB's own limit is 4 GiB.
const MAX_BATCH: usize = 2 << 30;

/// One change to one document.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// Stores a document under `id`, in place of the one that is there.
    Put {
        /// External id.
        id: &'a str,
        /// The document as it was sent.
        source: &'a [u8],
        /// Its passages and their vectors, where the index has any.
        vectors: Option<&'a StoredVectors>,
    },
    /// Removes the document under `id`, if there is one.
    Delete {
        /// External id.
        id: &'a str,
    },
}

impl<'a> Operation<'a> {
    fn id(&self) -> &'a str {
        match self {
            Operation::Put { id, .. } | Operation::Delete { id } => id,
        }
    }
}

/// What one operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Its sequence number.
    pub seq: u64,
    /// The ordinal a put gave its document.
    pub ordinal: Option<u32>,
    /// The ordinal that died: of the document replaced or deleted.
    pub replaced: Option<u32>,
}

/// What has to hold of the document under an operation's id, as the operations before it
/// left it, for the operation to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Nothing.
    #[default]
    Anything,
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// It is the one with this ordinal.
    Ordinal(u32),
}

impl Expected {
    fn is_met(self, current: Option<u32>) -> bool {
        match self {
            Expected::Anything => true,
            Expected::Absent => current.is_none(),
            Expected::Present => current.is_some(),
            Expected::Ordinal(ordinal) => current == Some(ordinal),
        }
    }
}

/// An operation that was not applied: what it expected does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmet {
    /// The ordinal under its id, if there is a document.
    pub current: Option<u32>,
}

/// Names and values to keep beside operations, made of what became of these.
pub type Noting<'a> = dyn Fn(&[Result<Applied, Unmet>]) -> Result<Vec<(String, Vec<u8>)>> + 'a;

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once it is on the disk: it survives `kill -9` and power loss.
    #[default]
    Synced,
    /// Once the operating system has it: it survives `kill -9`, and power loss
    /// from the next synced write or [`Store::sync`] on.
    Buffered,
}

impl Store {
    /// Applies the operations in order, in one batch: all of them or, on an
    /// error, none. A later operation sees what the earlier ones did to its id.
    /// Answers with one [`Applied`] per operation.
    ///
    /// Errors: `limit_exceeded` (user) for a batch past 2 GiB; operator's for a
    /// disk that cannot be written, after which every write is refused until
    /// the store is opened again, and for ordinals used up.
    pub fn apply(
        &self,
        operations: &[Operation<'_>],
        durability: Durability,
    ) -> Result<Vec<Applied>> {
        if operations.is_empty() {
            return Ok(Vec::new());
        }
        let expecting: Vec<(Operation<'_>, Expected)> = operations
            .iter()
            .map(|&operation| (operation, Expected::Anything))
            .collect();
        let applied = self.apply_where(&expecting, durability)?;
        applied
            .into_iter()
            .map(|one| one.map_err(|_| Error::Bug("nothing was expected, and not met".into())))
            .collect()
    }

    /// The same for operations that each expect something: those whose expectation does not
    /// hold change nothing, not even the log.
    pub fn apply_where(
        &self,
        operations: &[(Operation<'_>, Expected)],
        durability: Durability,
    ) -> Result<Vec<Result<Applied, Unmet>>> {
        self.apply_noting(operations, durability, &|_| Ok(Vec::new()))
    }

    /// The same, keeping named values in the same batch, made of what the operations did:
    /// whoever finds the values knows that the operations were applied, and whoever does not,
    /// that they were not. Without operations that were applied the values are not synced.
    pub fn apply_noting(
        &self,
        operations: &[(Operation<'_>, Expected)],
        durability: Durability,
        notes: &Noting<'_>,
    ) -> Result<Vec<Result<Applied, Unmet>>> {
        let mut health = self.writer.lock();
        self.check_writable(*health)?;
        let mut counters = *self.counters.read();
        let before = counters.last_seq;
        let mut current = self.current_ordinals(operations)?;
        let mut batch = WriteBatch::default();
        let mut applied = Vec::with_capacity(operations.len());
        for (operation, expected) in operations {
            let now = current.get(operation.id()).copied().flatten();
            applied.push(match expected.is_met(now) {
                true => Ok(self.stage(operation, &mut batch, &mut counters, &mut current)?),
                false => Err(Unmet { current: now }),
            });
        }
        if counters.last_seq > before {
            batch.put_cf(self.family(META)?, COUNTERS_KEY, counters.encode());
        }
        for (name, value) in notes(&applied)? {
            batch.put_cf(self.family(META)?, format!("{NAMED}{name}"), value);
        }
        if !batch.is_empty() {
            self.write(batch, &WriteOptions::default(), &mut health)?;
            *self.counters.write() = counters;
        }
        drop(health);
        if durability == Durability::Synced && counters.last_seq > before {
            self.sync_to(counters.last_seq)?;
        }
        Ok(applied)
    }

    /// The live ordinal of every id the operations name.
    fn current_ordinals<'a>(
        &self,
        operations: &[(Operation<'a>, Expected)],
    ) -> Result<HashMap<&'a str, Option<u32>>> {
        let ids = operations.iter().map(|(one, _)| one.id().as_bytes());
        let found = self.db.batched_multi_get_cf(self.family(IDS)?, ids, false);
        let mut current = HashMap::with_capacity(operations.len());
        for ((operation, _), value) in operations.iter().zip(found) {
            let ordinal = match value.map_err(|e| self.read_fault(e))? {
                Some(bytes) => {
                    Some(codec::decode_ordinal(&bytes).ok_or_else(|| self.corrupt("an ordinal"))?)
                }
                None => None,
            };
            current.insert(operation.id(), ordinal);
        }
        Ok(current)
    }

    /// Adds one operation to the batch.
    fn stage<'a>(
        &self,
        operation: &Operation<'a>,
        batch: &mut WriteBatch,
        counters: &mut Counters,
        current: &mut HashMap<&'a str, Option<u32>>,
    ) -> Result<Applied> {
        let id = operation.id();
        let replaced = current.get(id).copied().flatten();
        // The bytes of the dead stay until they are buried: a reader of an earlier point
        // in time still answers from them.
        if replaced.is_some() {
            counters.live = counters.live.saturating_sub(1);
        }
        let ordinal = match operation {
            Operation::Put {
                source, vectors, ..
            } => {
                let ordinal = counters.next_ordinal;
                // u32::MAX is never given out, so that one past the last
                // ordinal always fits its type.
                if ordinal == u32::MAX {
                    return Err(Error::operator(format!(
                        "the store {} has used up its 4,294,967,295 ordinals",
                        self.path.display()
                    ))
                    .advice("load the live documents into a new index"));
                }
                let key = codec::ordinal_key(ordinal);
                let document =
                    codec::encode_document(id, source).ok_or_else(|| too_large(id.len()))?;
                batch.put_cf(self.family(DOCUMENTS)?, key, document);
                if let Some(vectors) = vectors {
                    let bytes = codec::encode_vectors(vectors).ok_or_else(|| {
                        Error::Bug(format!(
                            "{} spans and {} values do not make vectors of {} dimensions",
                            vectors.spans.len(),
                            vectors.vectors.len(),
                            vectors.dimensions
                        ))
                    })?;
                    batch.put_cf(self.family(VECTORS)?, key, bytes);
                }
                batch.put_cf(self.family(IDS)?, id, key);
                counters.next_ordinal = ordinal + 1;
                counters.live += 1;
                Some(ordinal)
            }
            Operation::Delete { .. } => {
                if replaced.is_some() {
                    batch.delete_cf(self.family(IDS)?, id);
                }
                None
            }
        };
        current.insert(id, ordinal);
        counters.last_seq += 1;
        batch.put_cf(
            self.family(LOG)?,
            codec::seq_key(counters.last_seq),
            codec::encode_log(ordinal, replaced),
        );
        if batch.size_in_bytes() > MAX_BATCH {
            return Err(too_large(batch.size_in_bytes()));
        }
        Ok(Applied {
            seq: counters.last_seq,
            ordinal,
            replaced,
        })
    }

    /// Deletes the documents and vectors of ordinals that died, and forgets the log up to
    /// and including `up_to_seq`, in one batch: as long as the log names a dead ordinal,
    /// its bytes may still be there.
    ///
    /// Nobody may read these ordinals any more, everything derived must cover
    /// `up_to_seq`, and `dead` must name every ordinal that died up to there. Not synced:
    /// burying twice does no harm.
    pub fn bury(&self, dead: &[u32], up_to_seq: u64) -> Result<()> {
        let mut health = self.writer.lock();
        self.check_writable(*health)?;
        let mut counters = *self.counters.read();
        let mut batch = WriteBatch::default();
        for &ordinal in dead {
            let key = codec::ordinal_key(ordinal);
            batch.delete_cf(self.family(DOCUMENTS)?, key);
            batch.delete_cf(self.family(VECTORS)?, key);
        }
        let start = up_to_seq.min(counters.last_seq).saturating_add(1);
        if start > counters.log_start {
            batch.delete_range_cf(
                self.family(LOG)?,
                codec::seq_key(counters.log_start),
                codec::seq_key(start),
            );
            counters.log_start = start;
            batch.put_cf(self.family(META)?, COUNTERS_KEY, counters.encode());
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.write(batch, &WriteOptions::default(), &mut health)?;
        *self.counters.write() = counters;
        Ok(())
    }

    /// Forgets the log up to and including `up_to_seq`, where nothing died: see
    /// [`Store::bury`].
    pub fn trim_log(&self, up_to_seq: u64) -> Result<()> {
        self.bury(&[], up_to_seq)
    }

    /// Keeps a small value under a name, in place of the one there; synced.
    pub fn put_meta(&self, name: &str, value: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META)?, format!("{NAMED}{name}"), value);
        self.write_meta(batch)
    }

    /// Keeps several, all or none; synced.
    pub fn put_metas(&self, values: &[(String, Vec<u8>)]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (name, value) in values {
            batch.put_cf(self.family(META)?, format!("{NAMED}{name}"), value);
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.write_meta(batch),
        }
    }

    /// Forgets a named value; synced. Without one it does nothing.
    pub fn delete_meta(&self, name: &str) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.family(META)?, format!("{NAMED}{name}"));
        self.write_meta(batch)
    }

    /// Forgets named values, all or none; not synced.
    pub fn delete_metas(&self, names: &[String]) -> Result<()> {
        let mut health = self.writer.lock();
        self.check_writable(*health)?;
        let mut batch = WriteBatch::default();
        for name in names {
            batch.delete_cf(self.family(META)?, format!("{NAMED}{name}"));
        }
        self.write(batch, &WriteOptions::default(), &mut health)
    }

    fn write_meta(&self, batch: WriteBatch) -> Result<()> {
        let mut health = self.writer.lock();
        self.check_writable(*health)?;
        self.write(batch, &synced(), &mut health)
    }

    /// Sorts what is in memory into files, so that the next opening has no log
    /// to recover. Durability does not need it.
    pub fn flush(&self) -> Result<()> {
        let families = FAMILIES
            .into_iter()
            .map(|name| self.family(name))
            .collect::<Result<Vec<_>>>()?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db
            .flush_cfs_opt(&families, &options)
            .map_err(|e| fault("cannot flush the store", e))
    }

    /// Rewrites the files without what was deleted, giving the disk back now
    /// instead of in time. Takes as long as copying the store.
    pub fn compact(&self) -> Result<()> {
        for name in FAMILIES {
            self.db
                .compact_range_cf(self.family(name)?, None::<&[u8]>, None::<&[u8]>);
        }
        Ok(())
    }

    /// A copy of the store at one point in time in `path`, which must not exist
    /// while its parent must; files are hard-linked where the file system can.
    pub fn checkpoint(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(path))
            .map_err(|e| {
                fault(
                    format!("cannot write a checkpoint to {}", path.display()),
                    e,
                )
            })
    }

    pub(super) fn check_writable(&self, health: Health) -> Result<()> {
        if health != Health::Sound {
            return Err(Error::operator(format!(
                "the store {} takes no writes since one failed",
                self.path.display()
            ))
            .advice("mend the disk or free space on it, then restart")
            .storage_full(health == Health::Full));
        }
        Ok(())
    }

    pub(super) fn write(
        &self,
        batch: WriteBatch,
        options: &WriteOptions,
        health: &mut Health,
    ) -> Result<()> {
        self.db.write_opt(batch, options).map_err(|e| {
            let what = format!("cannot write to the store {}", self.path.display());
            let error = fault(what, e);
            *health = Health::after(&error);
            error
        })
    }
}

fn too_large(bytes: usize) -> Error {
    Problem::new(
        Code::LimitExceeded,
        "the documents of one write are too large together",
    )
    .found(format!("{bytes} bytes"))
    .expected(format!("at most {MAX_BATCH} bytes"))
    .into()
}
