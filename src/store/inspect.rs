//! Looking at a store without opening it: nothing is written, and no lock is taken.

use std::fs::File;
use std::path::Path;

use rocksdb::DB;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::options::{self, StoreOptions, scan};
use super::{COUNTERS_KEY, Counters, FORMAT_KEY, Store, fault};
use crate::error::{Error, Result};

/// The file that RocksDB locks as long as a store is open.
const LOCK: &str = "LOCK";

/// Who has a store open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process, where this one may know it: not across containers.
    pub process: Option<u32>,
}

impl Store {
    /// Reads the store in `path` as it is on the disk, the write-ahead log included, and leaves it
    /// so: every write fails. For a store that nobody has open; beside one who writes to it a
    /// file may go while it is read, which is an error then.
    ///
    /// # Errors
    /// Operator: it cannot be read, is damaged, or of a newer format.
    pub fn read_only(path: impl AsRef<Path>, options: &StoreOptions) -> Result<Store> {
        let path = path.as_ref();
        let what = || format!("cannot read the store in {}", path.display());
        if !path.join("CURRENT").is_file() {
            return Err(
                Error::operator(format!("{} does not hold a store", path.display()))
                    .advice("check the data folder, or restore it from a snapshot"),
            );
        }
        let mut db_options = options::database(options);
        db_options.create_missing_column_families(false);
        let found = DB::list_cf(&db_options, path).map_err(|e| fault(what(), e))?;
        let mut families = options::families(options, &found);
        // A store of an older version lacks some, and nothing is made here.
        families.retain(|family| found.iter().any(|name| name == family.name()));
        let db = DB::open_cf_descriptors_read_only(&db_options, path, families, false)
            .map_err(|e| fault(what(), e))?;
        let store = Store::over(db, path, Counters::NEW);
        match store.get_meta(FORMAT_KEY)? {
            Some(bytes) => store.check_number(&bytes)?,
            None => return Err(store.corrupt("the format version (missing)")),
        }
        if let Some(bytes) = store.get_meta(COUNTERS_KEY)? {
            let counters = Counters::decode(&bytes).ok_or_else(|| store.corrupt("the counters"))?;
            *store.counters.write() = counters;
        }
        Ok(store)
    }

    /// Reads every row of every column family, so that every block of every file is compared
    /// with its checksum. Returns the bytes of keys and values.
    ///
    /// # Errors
    /// Operator: a block is damaged or cannot be read.
    pub fn read_through(&self) -> Result<u64> {
        let mut bytes = 0;
        for name in options::FAMILIES {
            let Some(family) = self.db.cf_handle(name) else {
                continue;
            };
            let mut rows = self.db.raw_iterator_cf_opt(family, scan());
            rows.seek_to_first();
            while let Some((key, value)) = rows.item() {
                bytes += (key.len() + value.len()) as u64;
                rows.next();
            }
            rows.status().map_err(|e| self.read_fault(e))?;
        }
        Ok(bytes)
    }

    /// Another process that has the store in `path` open, if one has. Unlike opening it, this
    /// disturbs nobody. One that this process has open itself is not seen.
    pub fn holder(path: impl AsRef<Path>) -> Option<Holder> {
        let file = File::open(path.as_ref().join(LOCK)).ok()?;
        let wanted = Flock::from(FlockType::WriteLock);
        let held = fcntl_getlk(&file, &wanted).ok()??;
        let process = held.pid.map(|pid| pid.as_raw_nonzero().get());
        Some(Holder {
            process: process.and_then(|pid| u32::try_from(pid).ok()),
        })
    }
}
