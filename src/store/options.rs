//! How RocksDB is set up: column families, memory, recovery.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel,
    Options, ReadOptions, WriteBufferManager,
};

/// Ordinal (u32 BE) to the document's id and source bytes.
pub(super) const DOCUMENTS: &str = "documents";
/// External id to ordinal (u32 BE).
pub(super) const IDS: &str = "ids";
/// Ordinal (u32 BE) to passage spans and vectors.
pub(super) const VECTORS: &str = "vectors";
/// Sequence number (u64 BE) to what one operation did.
pub(super) const LOG: &str = "log";
/// Number (u64 BE) to what somebody said about an answer.
pub(super) const FEEDBACK: &str = "feedback";
/// Format version, counters, small named values.
pub(super) const META: &str = "meta";

/// Every column family of this format, RocksDB's obligatory one left out.
pub(super) const FAMILIES: [&str; 6] = [DOCUMENTS, IDS, VECTORS, LOG, FEEDBACK, META];

const MIB: usize = 1 << 20;

/// Memory and files one store may use. The defaults suit many small stores in
/// one process; give them one [`Shared`] budget rather than one each.
#[derive(Clone)]
pub struct StoreOptions {
    /// Cache of blocks read from disk, index and filter blocks included, in
    /// bytes. Ignored where `shared` is given.
    pub block_cache_bytes: usize,
    /// Writes held in memory before they are sorted into files, over all column
    /// families, in bytes (a soft limit). Also sizes the write-ahead log, hence
    /// how long recovery takes. With `shared` it only sizes the single buffers.
    pub write_buffer_bytes: usize,
    /// Files kept open at a time.
    pub max_open_files: u32,
    /// Threads flushing and compacting, shared by all stores of the process.
    pub background_jobs: u32,
    /// One memory budget over several stores.
    pub shared: Option<Shared>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            block_cache_bytes: 32 * MIB,
            write_buffer_bytes: 32 * MIB,
            max_open_files: 256,
            background_jobs: 2,
            shared: None,
        }
    }
}

/// A block cache and a write-buffer budget that several stores draw on. Clones
/// are handles to the same budget.
#[derive(Clone)]
pub struct Shared {
    cache: Cache,
    write_buffers: WriteBufferManager,
}

impl Shared {
    /// Budgets in bytes: blocks read from disk, and writes held in memory (soft:
    /// past it, the fullest buffer is flushed).
    pub fn new(block_cache_bytes: usize, write_buffer_bytes: usize) -> Self {
        Shared {
            cache: Cache::new_lru_cache(block_cache_bytes),
            write_buffers: WriteBufferManager::new_write_buffer_manager(write_buffer_bytes, false),
        }
    }

    /// Bytes of blocks cached and of writes buffered now.
    pub fn usage(&self) -> (usize, usize) {
        (self.cache.get_usage(), self.write_buffers.get_usage())
    }

    /// Bytes of blocks that cannot leave the cache now, because something reads them or they
    /// are kept for as long as their file is open.
    pub fn pinned(&self) -> usize {
        self.cache.get_pinned_usage()
    }
}

/// Options of the database as a whole.
pub(super) fn database(options: &StoreOptions) -> Options {
    let mut db = Options::default();
    db.create_missing_column_families(true);
    // A torn tail is what a crash leaves: everything before it is kept and the
    // tail, never acknowledged, is dropped. Closed logs are additionally
    // checked against the sizes recorded when they were synced.
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_paranoid_checks(true);
    db.set_max_total_wal_size(options.write_buffer_bytes.saturating_mul(2).max(8 * MIB) as u64);
    match &options.shared {
        Some(shared) => db.set_write_buffer_manager(&shared.write_buffers),
        None => db.set_db_write_buffer_size(options.write_buffer_bytes),
    }
    db.set_max_open_files(i32::try_from(options.max_open_files.max(16)).unwrap_or(i32::MAX));
    db.set_max_background_jobs(i32::try_from(options.background_jobs.max(1)).unwrap_or(1));
    db.set_bytes_per_sync(MIB as u64);
    db.set_skip_stats_update_on_db_open(true);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db.set_log_level(LogLevel::Warn);
    db.set_max_log_file_size(MIB);
    db.set_keep_log_file_num(2);
    db
}

/// The column families to open: ours with their options, and any `others`
/// found on disk (a newer format may have more; its version is refused after).
pub(super) fn families(options: &StoreOptions, others: &[String]) -> Vec<ColumnFamilyDescriptor> {
    let cache = match &options.shared {
        Some(shared) => shared.cache.clone(),
        None => Cache::new_lru_cache(options.block_cache_bytes),
    };
    let extra = others
        .iter()
        .map(String::as_str)
        .filter(|name| !FAMILIES.contains(name));
    FAMILIES
        .into_iter()
        .chain(extra)
        .map(|name| ColumnFamilyDescriptor::new(name, family(name, options, &cache)))
        .collect()
}

fn family(name: &str, options: &StoreOptions, cache: &Cache) -> Options {
    let large = name == DOCUMENTS || name == VECTORS;
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(if large { 16 << 10 } else { 4 << 10 });
    // Index and filter blocks count against the cache: memory stays bounded.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if name != LOG {
        table.set_bloom_filter(10.0, false);
    }

    let mut cf = Options::default();
    cf.set_block_based_table_factory(&table);
    let share = if large { 2 } else { 8 };
    cf.set_write_buffer_size((options.write_buffer_bytes / share).max(256 << 10));
    cf.set_max_write_buffer_number(2);
    cf.set_level_compaction_dynamic_level_bytes(true);
    // Float bits do not compress; everything else is text or nearly sorted.
    cf.set_compression_type(if name == VECTORS {
        DBCompressionType::None
    } else {
        DBCompressionType::Lz4
    });
    // Files full of tombstones are compacted soon, which gives the disk back.
    if large || name == LOG {
        cf.add_compact_on_deletion_collector_factory(4096, 2048, 0.5);
    }
    cf
}

/// Reading a column family from end to end: ahead of the reader, past the cache.
pub(super) fn scan() -> ReadOptions {
    let mut read = ReadOptions::default();
    read.fill_cache(false);
    read.set_readahead_size(2 * MIB);
    read
}
