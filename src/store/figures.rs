//! What RocksDB says of itself: memory, files, and how far its background work is behind.

use std::ffi::CStr;

use rocksdb::properties as property;

use super::{Health, Store, options};

/// Figures of one store. Cheap to read, but for a moment of the database's lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Bytes of writes that are held in memory, those under flush included.
    pub memtable_bytes: u64,
    /// Bytes of the sorted files that count.
    pub file_bytes: u64,
    /// Sorted files on level 0, over all column families: each is looked into by every read.
    pub level0_files: u64,
    /// Bytes that compactions have to rewrite before the levels are in shape, estimated.
    pub pending_compaction_bytes: u64,
    /// Compactions that run now.
    pub compactions: u64,
    /// Flushes that run now.
    pub flushes: u64,
    /// Bytes a second that writers are slowed down to; 0 where they are not.
    pub delayed_write_rate: u64,
    /// Whether writers are stopped until the background has caught up.
    pub writes_stopped: bool,
    /// Errors that the background has met since the store was opened.
    pub background_errors: u64,
    /// Bytes of indexes and filters that are held outside of the block cache, estimated.
    pub table_reader_bytes: u64,
}

impl Store {
    /// Whether a write or a sync failed, after which nothing is written until a reopening. A
    /// store that is being written to right now does not.
    pub fn refuses_writes(&self) -> bool {
        let failed = self
            .writer
            .try_lock()
            .is_some_and(|health| *health != Health::Sound);
        failed || self.syncs.has_failed()
    }

    /// What RocksDB says of this store; 0 for what it does not say.
    pub fn figures(&self) -> StoreFigures {
        // Of each column family, and added up.
        let sum = |name: &CStr| -> u64 {
            let families = options::FAMILIES.iter();
            let families = families.filter_map(|family| self.db.cf_handle(family));
            families
                .filter_map(|family| self.db.property_int_value_cf(family, name).ok().flatten())
                .sum()
        };
        // Of the database, whichever family is asked.
        let whole = |name: &CStr| -> u64 {
            let value = self.db.property_int_value(name);
            value.ok().flatten().unwrap_or(0)
        };
        StoreFigures {
            memtable_bytes: sum(property::CUR_SIZE_ALL_MEM_TABLES),
            file_bytes: sum(property::LIVE_SST_FILES_SIZE),
            level0_files: sum(&property::num_files_at_level(0)),
            pending_compaction_bytes: sum(property::ESTIMATE_PENDING_COMPACTION_BYTES),
            compactions: whole(property::NUM_RUNNING_COMPACTIONS),
            flushes: whole(property::NUM_RUNNING_FLUSHES),
            delayed_write_rate: whole(property::ACTUAL_DELAYED_WRITE_RATE),
            writes_stopped: whole(property::IS_WRITE_STOPPED) > 0,
            background_errors: whole(property::BACKGROUND_ERRORS),
            table_reader_bytes: sum(property::ESTIMATE_TABLE_READERS_MEM),
        }
    }
}
