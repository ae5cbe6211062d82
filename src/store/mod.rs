//! RocksDB, the system of record: documents, ids, vectors, log. The only module
//! that names RocksDB.
//!
//! One [`Store`] is one folder and one index. What it promises:
//!
//! * [`Store::apply`] writes all of its operations in one batch, or none. With
//!   [`Durability::Synced`] the batch is on the disk before it returns, so a
//!   crash or a power loss at any later instant keeps it.
//! * A put gives the document a fresh **ordinal**. Ordinals grow and are never
//!   used again: a document that is put anew gets another ordinal, and the old
//!   one dies in the same batch. Its bytes and vectors stay, for readers of an
//!   earlier point in time, until they are buried ([`Store::bury`]); the log names
//!   it as long as they may be there.
//! * Writers that wait for the disk at the same time share one sync
//!   ([`Store::sync_to`]).
//! * Every operation has a **sequence number**, 1 more than the one before, and
//!   an entry in the log, until the log is trimmed. Whatever is derived from the
//!   store (word index, vector segments) notes the sequence number it covers
//!   and catches up with [`Store::replay`].
//! * Bytes that this module did not write are an operator's error with advice,
//!   never a panic and never an invented answer.
//!
//! # On disk
//!
//! | column family | key | value |
//! |---|---|---|
//! | `documents` | ordinal, u32 BE | version, id, source bytes |
//! | `ids` | external id | ordinal, u32 BE |
//! | `vectors` | ordinal, u32 BE | version, dimensions, passage spans, f32 LE |
//! | `log` | sequence number, u64 BE | ordinal put, ordinal removed |
//! | `feedback` | number, u64 BE | an event, as the callers above encode it |
//! | `meta` | name | format version, counters, named values |
//!
//! Stores from before there was feedback get its column family when they are opened.
//!
//! A store of a newer format is refused; an older one is migrated on opening
//! (there is none yet).

mod codec;
mod feedback;
mod figures;
mod inspect;
mod options;
mod read;
mod sync;
mod write;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock};
use rocksdb::{ColumnFamily, DB, WriteOptions};

use crate::error::{Error, Result};
use codec::Counters;
pub use figures::StoreFigures;
pub use inspect::Holder;
pub use options::{Shared, StoreOptions};
pub use read::{LogEntry, StoredDocument};
use sync::Syncs;
pub use write::{Applied, Durability, Expected, Noting, Operation, Unmet};

/// The format this build writes and the newest it reads.
const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = b"format";
const COUNTERS_KEY: &[u8] = b"counters";
/// Callers' names in `meta` live under this prefix.
const NAMED: &str = "named/";

/// The stretch of a text that one vector stands for: a range of bytes in the
/// text that was encoded, `start <= end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassageSpan {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// The vectors of one document, a row per passage.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVectors {
    /// Values per vector.
    pub dimensions: usize,
    /// One per passage, in the order of the vectors.
    pub spans: Vec<PassageSpan>,
    /// `spans.len()` rows of `dimensions` values.
    pub vectors: Vec<f32>,
}

impl StoredVectors {
    /// A vector that a document brought, which stands for no text.
    pub fn ready(vector: Vec<f32>) -> StoredVectors {
        StoredVectors {
            dimensions: vector.len(),
            spans: vec![PassageSpan { start: 0, end: 0 }],
            vectors: vector,
        }
    }

    /// Whether the document brought it.
    pub fn is_ready(&self) -> bool {
        self.spans == [PassageSpan { start: 0, end: 0 }]
    }
}

/// Documents, ids, vectors and the log of one index, in one folder.
///
/// Shared between threads as it is; writers take turns, readers never wait for
/// them. A folder can be open once at a time over all processes.
pub struct Store {
    db: DB,
    path: PathBuf,
    /// Held while a batch is made and written. Once a write failed, what reached the log is
    /// unknown, and reusing its ordinals and sequence numbers could mix two batches, so
    /// nothing is written until a reopening.
    writer: Mutex<Health>,
    counters: RwLock<Counters>,
    syncs: Syncs,
}

impl Store {
    /// Makes a new store in `path`, which must not hold one already; parent
    /// folders are made. Durable when it returns.
    pub fn create(path: impl AsRef<Path>, options: &StoreOptions) -> Result<Store> {
        let path = path.as_ref();
        std::fs::create_dir_all(path).map_err(|e| {
            Error::operator_from(format!("cannot make the folder {}", path.display()), e)
                .advice("check the path and its permissions")
        })?;
        let mut db_options = options::database(options);
        db_options.create_if_missing(true);
        db_options.set_error_if_exists(true);
        let families = options::families(options, &[]);
        let db = DB::open_cf_descriptors(&db_options, path, families)
            .map_err(|e| fault(format!("cannot create a store in {}", path.display()), e))?;
        let store = Store::over(db, path, Counters::NEW);
        store.write_format()?;
        // The folder's own entry must survive a power loss as well.
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(parent).and_then(|f| f.sync_all()).map_err(|e| {
            Error::operator_from(format!("cannot sync the folder {}", parent.display()), e)
        })?;
        Ok(store)
    }

    /// Opens the store in `path`, recovering what was written but not yet
    /// sorted into files. Refuses a format newer than this build's.
    pub fn open(path: impl AsRef<Path>, options: &StoreOptions) -> Result<Store> {
        let path = path.as_ref();
        let what = || format!("cannot open the store in {}", path.display());
        if !path.join("CURRENT").is_file() {
            return Err(
                Error::operator(format!("{} does not hold a store", path.display()))
                    .advice("check the data folder, or restore it from a snapshot"),
            );
        }
        let db_options = options::database(options);
        let found = DB::list_cf(&db_options, path).map_err(|e| fault(what(), e))?;
        let families = options::families(options, &found);
        let db =
            DB::open_cf_descriptors(&db_options, path, families).map_err(|e| fault(what(), e))?;
        let store = Store::over(db, path, Counters::NEW);
        store.check_format()?;
        let counters = match store.get_meta(COUNTERS_KEY)? {
            Some(bytes) => Counters::decode(&bytes).ok_or_else(|| store.corrupt("the counters"))?,
            None => return Err(store.corrupt("the counters (missing)")),
        };
        *store.counters.write() = counters;
        // What was buffered when the last process ended may be in the system's memory only.
        store.sync()?;
        Ok(store)
    }

    /// Whether the store in `path` is open, in this process or another. One that cannot be
    /// opened for other reasons is not.
    pub fn is_in_use(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        let db_options = options::database(&StoreOptions::default());
        let Ok(found) = DB::list_cf(&db_options, path) else {
            return false;
        };
        let families = options::families(&StoreOptions::default(), &found);
        match DB::open_cf_descriptors(&db_options, path, families) {
            Ok(_) => false,
            Err(e) => is_lock(&e),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn over(db: DB, path: &Path, counters: Counters) -> Store {
        Store {
            db,
            path: path.to_path_buf(),
            writer: Mutex::new(Health::Sound),
            counters: RwLock::new(counters),
            syncs: Syncs::default(),
        }
    }

    /// The last step of creation.
    fn write_format(&self) -> Result<()> {
        let meta = self.family(options::META)?;
        let mut batch = rocksdb::WriteBatch::default();
        batch.put_cf(meta, FORMAT_KEY, FORMAT.to_le_bytes());
        batch.put_cf(meta, COUNTERS_KEY, Counters::NEW.encode());
        self.db
            .write_opt(batch, &synced())
            .map_err(|e| fault("cannot write the store's format", e))
    }

    fn check_format(&self) -> Result<()> {
        let Some(bytes) = self.get_meta(FORMAT_KEY)? else {
            // A crash inside `create` leaves an empty store without a format;
            // nothing was ever acknowledged, so creation is finished here.
            for name in options::FAMILIES {
                let mut rows = self.db.raw_iterator_cf(self.family(name)?);
                rows.seek_to_first();
                if rows.valid() {
                    return Err(self.corrupt("the format version (missing)"));
                }
                rows.status().map_err(|e| self.read_fault(e))?;
            }
            return self.write_format();
        };
        self.check_number(&bytes)
    }

    /// Refuses a format that this build does not read.
    fn check_number(&self, bytes: &[u8]) -> Result<()> {
        let format = <[u8; 4]>::try_from(bytes)
            .map(u32::from_le_bytes)
            .map_err(|_| self.corrupt("the format version"))?;
        if format > FORMAT {
            return Err(Error::operator(format!(
                "the store in {} has format {format}, newer than format {FORMAT} that this build reads",
                self.path.display()
            ))
            .advice("run the version of gleaner that wrote it, or a later one"));
        }
        if format == 0 {
            return Err(self.corrupt("the format version"));
        }
        Ok(())
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily> {
        self.db
            .cf_handle(name)
            .ok_or_else(|| Error::Bug(format!("column family {name} is not open")))
    }

    /// Bytes that cannot have been written by this module.
    fn corrupt(&self, what: impl std::fmt::Display) -> Error {
        Error::operator(format!(
            "{what} in the store {} cannot be decoded",
            self.path.display()
        ))
        .advice(RESTORE)
    }

    fn read_fault(&self, e: rocksdb::Error) -> Error {
        fault(format!("cannot read the store {}", self.path.display()), e)
    }
}

/// Whether a store can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Sound,
    /// A write failed.
    Failed,
    /// A write failed for want of room.
    Full,
}

impl Health {
    fn after(error: &Error) -> Health {
        match error.is_storage_full() {
            true => Health::Full,
            false => Health::Failed,
        }
    }
}

const RESTORE: &str =
    "the folder is damaged: check the disk, then restore it from a snapshot or load the index anew";

/// Whether a store could not be opened because it is open.
fn is_lock(e: &rocksdb::Error) -> bool {
    let text: &str = e.as_ref();
    // RocksDB's words; a path may have others in it.
    e.kind() == rocksdb::ErrorKind::IOError
        && (text.contains("While lock file") || text.contains("lock hold by current process"))
}

/// A RocksDB error, with what an operator can do about its kind.
fn fault(message: impl Into<String>, e: rocksdb::Error) -> Error {
    use rocksdb::ErrorKind;
    let text: &str = e.as_ref();
    let advice = match e.kind() {
        ErrorKind::Corruption => RESTORE,
        ErrorKind::IOError if text.contains("No space left") => "free disk space, then restart",
        ErrorKind::IOError if is_lock(&e) => {
            "another process has it open: ask a running server over its REST API (docs/rest.md) or stop it, or use another data folder"
        }
        ErrorKind::InvalidArgument if text.contains("exists") => {
            "there is a store already: open it, or choose another folder"
        }
        ErrorKind::IOError => "check the disk, its free space and the folder's permissions",
        _ => "check the disk; if it is sound, restore the folder from a snapshot",
    };
    let full = text.contains("No space left");
    Error::operator_from(message, e.clone())
        .advice(advice)
        .storage_full(full)
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}
