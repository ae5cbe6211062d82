//! What there is when somebody asks: one look at everything, written down as figures.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Metrics, process};
use crate::api::gate::Gate;
use crate::api::state::App;
use crate::index::Index;

/// The names that figures may have, and what they mean. Those that end in `_total` only grow while
/// the process runs, or while the index or model is open; all others are as they are now.
const FAMILIES: &[(&str, &str)] = &[
    ("gleaner_build_info", "1, with the version as its label"),
    ("gleaner_ready", "1 once indexes are open and models warm"),
    ("gleaner_gate_capacity", "Units of work that a gate lets in"),
    ("gleaner_gate_in_use", "Units of work that are under way"),
    (
        "gleaner_gate_waiting_requests",
        "Requests that wait at a gate",
    ),
    (
        "gleaner_gate_refused_requests_total",
        "Requests that a gate has turned away",
    ),
    ("gleaner_model_queued_texts", "Texts that wait for a model"),
    (
        "gleaner_model_sessions",
        "Sessions of a model that were made",
    ),
    (
        "gleaner_model_sessions_limit",
        "Sessions that a model may have",
    ),
    (
        "gleaner_model_busy_sessions",
        "Sessions that run a batch now",
    ),
    (
        "gleaner_model_busy_seconds_total",
        "Time that sessions have run batches, of all of them together",
    ),
    (
        "gleaner_model_batches_total",
        "Batches that a model has run",
    ),
    ("gleaner_model_texts_total", "Texts in those batches"),
    ("gleaner_model_tokens_total", "Tokens in those batches"),
    (
        "gleaner_model_batch_tokens_limit",
        "Tokens that a batch may have",
    ),
    (
        "gleaner_model_abandoned_texts_total",
        "Texts whose caller left, or whose time was up, before their turn",
    ),
    (
        "gleaner_vector_cache_bytes",
        "Bytes of vectors that are kept for texts that come again",
    ),
    (
        "gleaner_vector_cache_limit_bytes",
        "Bytes of vectors that may be kept",
    ),
    ("gleaner_vector_cache_vectors", "Vectors that are kept"),
    (
        "gleaner_vector_cache_hits_total",
        "Texts whose vector was kept",
    ),
    (
        "gleaner_vector_cache_misses_total",
        "Texts whose vector was not",
    ),
    ("gleaner_indexes_open", "Indexes that are open"),
    ("gleaner_index_documents", "Documents that are visible"),
    (
        "gleaner_index_deleted_documents",
        "Documents that were replaced or deleted and are still in the word index",
    ),
    (
        "gleaner_index_word_segments",
        "Segments of the word index that a search goes through",
    ),
    ("gleaner_index_vectors", "Vectors, by where they are"),
    (
        "gleaner_index_vector_segments",
        "Segments of vectors, by kind",
    ),
    (
        "gleaner_index_vector_memory_bytes",
        "Memory of vectors and graphs; files that are mapped are not counted",
    ),
    (
        "gleaner_index_graph_building",
        "1 while a graph is built or a file of vectors is checked",
    ),
    (
        "gleaner_index_graph_builds_total",
        "Rewrites of vector segments, most of which build a graph",
    ),
    (
        "gleaner_index_graph_build_seconds_total",
        "Time that those which ended well took",
    ),
    (
        "gleaner_index_last_sequence",
        "Log sequence of the last write",
    ),
    (
        "gleaner_index_durable_sequence",
        "Log sequence up to which writes are on the disk",
    ),
    (
        "gleaner_index_visible_sequence",
        "Log sequence up to which writes are found",
    ),
    (
        "gleaner_index_unseen_writes",
        "Writes that are not found yet",
    ),
    (
        "gleaner_index_refreshes_total",
        "Refreshes that had something to do",
    ),
    ("gleaner_index_refresh_seconds_total", "Time that they took"),
    ("gleaner_index_cursors", "Cursors that are held"),
    (
        "gleaner_index_writes_refused",
        "1 where an index takes no writes because one failed",
    ),
    (
        "gleaner_index_attachment_problem",
        "1 where an attached index does not answer from the newest snapshot",
    ),
    (
        "gleaner_store_block_cache_bytes",
        "Bytes of blocks in RocksDB's cache, of all indexes",
    ),
    (
        "gleaner_store_block_cache_pinned_bytes",
        "Bytes of them that cannot be given up now",
    ),
    (
        "gleaner_store_block_cache_limit_bytes",
        "Bytes that the cache may have",
    ),
    (
        "gleaner_store_write_buffer_bytes",
        "Bytes of RocksDB's write buffers, of all indexes",
    ),
    (
        "gleaner_store_memtable_bytes",
        "Bytes of writes that RocksDB holds in memory",
    ),
    (
        "gleaner_store_file_bytes",
        "Bytes of RocksDB's sorted files",
    ),
    (
        "gleaner_store_level0_files",
        "Sorted files on level 0, of all column families",
    ),
    (
        "gleaner_store_pending_compaction_bytes",
        "Bytes that compactions have to rewrite, estimated",
    ),
    (
        "gleaner_store_running_compactions",
        "Compactions that run now",
    ),
    ("gleaner_store_running_flushes", "Flushes that run now"),
    (
        "gleaner_store_delayed_write_bytes_per_second",
        "Rate that RocksDB slows writers down to; 0 where it does not",
    ),
    (
        "gleaner_store_writes_stopped",
        "1 while RocksDB stops writers until it has caught up",
    ),
    (
        "gleaner_store_background_errors_total",
        "Errors of RocksDB's background work",
    ),
    (
        "gleaner_store_table_reader_bytes",
        "Memory of indexes and filters outside of the cache, estimated",
    ),
    ("gleaner_jobs", "Loads that are remembered, by state"),
    (
        "gleaner_jobs_stopped_total",
        "Loads that have stopped, by the state they were left in",
    ),
    ("gleaner_job_rows_read_total", "Rows that loads have read"),
    ("gleaner_job_rows_total", "What came of the rows of loads"),
    ("gleaner_tasks_running", "Long tasks that go on"),
    ("gleaner_tasks_ended_total", "Long tasks that have ended"),
    (
        "gleaner_data_disk_bytes",
        "Size of the file system that holds the data folder",
    ),
    (
        "gleaner_data_disk_free_bytes",
        "What of it this process may still fill",
    ),
    ("process_resident_memory_bytes", "Memory that is resident"),
    ("process_virtual_memory_bytes", "Address space in use"),
    ("process_threads", "Threads"),
    (
        "process_cpu_seconds_total",
        "Processor time, user and system",
    ),
    (
        "process_start_time_seconds",
        "When the process was started, in seconds since 1970",
    ),
    ("process_open_fds", "Open files and sockets"),
    ("process_max_fds", "Files and sockets that may be open"),
];

type Labels = Vec<(&'static str, String)>;

/// Figures by name and labels.
#[derive(Default)]
pub(super) struct Sheet {
    figures: BTreeMap<&'static str, BTreeMap<Labels, f64>>,
}

impl Sheet {
    /// Adds to a figure: those of the same labels are one, the sum. Labels without a value are
    /// left out.
    pub(super) fn add<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [(&'static str, &str); N],
        value: f64,
    ) {
        debug_assert!(FAMILIES.iter().any(|(known, _)| *known == name), "{name}");
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        let labels = labels.map(|(label, value)| (label, value.to_owned()));
        let figures = self.figures.entry(name).or_default();
        *figures.entry(labels.collect()).or_default() += value;
    }

    fn count<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [(&'static str, &str); N],
        value: u64,
    ) {
        // Beyond 2^53 the last digits are lost, which no figure here reaches.
        self.add(name, labels, value as f64);
    }
}

/// Everything there is, at one moment.
pub(super) struct Gauges(Sheet);

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for (name, help) in FAMILIES {
            let Some(figures) = self.0.figures.get(name) else {
                continue;
            };
            // The encoder puts the ending of counters to their names.
            let (name, kind) = match name.strip_suffix("_total") {
                Some(name) => (name, MetricType::Counter),
                None => (*name, MetricType::Gauge),
            };
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in figures {
                let mut metric = family.encode_family(labels)?;
                match kind {
                    MetricType::Counter => {
                        metric.encode_counter::<Labels, f64, f64>(value, None)?;
                    }
                    _ => metric.encode_gauge(value)?,
                }
            }
        }
        Ok(())
    }
}

impl Gauges {
    /// Looks at everything. Blocking: RocksDB is asked, and the records of jobs are read.
    pub(super) fn of(app: &App) -> Gauges {
        let mut sheet = Sheet::default();
        sheet.add(
            "gleaner_build_info",
            [("version", env!("CARGO_PKG_VERSION"))],
            1.0,
        );
        let ready = app.readiness.reasons().is_empty();
        sheet.count("gleaner_ready", [], u64::from(ready));
        for (name, gate) in app.gates() {
            of_gate(&mut sheet, name, gate);
        }
        of_models(&mut sheet, app);
        let indexes = app.catalog.open_indexes();
        sheet.count("gleaner_indexes_open", [], indexes.len() as u64);
        for index in &indexes {
            of_index(&mut sheet, &app.metrics, index);
        }
        // Nobody is to wait for an index that is only looked at.
        drop(indexes);
        of_store(&mut sheet, app);
        of_work(&mut sheet, app);
        of_disk(&mut sheet, app);
        process::note(&mut sheet);
        Gauges(sheet)
    }
}

fn of_gate(sheet: &mut Sheet, name: &str, gate: &Gate) {
    let figures = gate.figures();
    let gate = [("gate", name)];
    sheet.count("gleaner_gate_capacity", gate, figures.capacity);
    sheet.count("gleaner_gate_in_use", gate, figures.in_use);
    sheet.count("gleaner_gate_waiting_requests", gate, figures.waiting);
    for (reason, refused) in [("full", figures.full), ("late", figures.late)] {
        let labels = [("gate", name), ("reason", reason)];
        sheet.count("gleaner_gate_refused_requests_total", labels, refused);
    }
}

fn of_models(sheet: &mut Sheet, app: &App) {
    let models = &app.catalog.settings().models;
    for model in models.figures() {
        let expert = model.expert.as_deref().unwrap_or_default();
        let labels = [
            ("model", model.name.as_str()),
            ("expert", expert),
            ("kind", model.kind.as_str()),
        ];
        let queue = &model.queue;
        for (lane, texts) in [("query", queue.queries), ("document", queue.documents)] {
            let [name, expert, kind] = labels;
            let labels = [name, expert, kind, ("lane", lane)];
            sheet.count("gleaner_model_queued_texts", labels, texts);
        }
        let counts = &queue.counts;
        for (name, value) in [
            ("gleaner_model_sessions", queue.sessions),
            ("gleaner_model_sessions_limit", queue.most_sessions),
            ("gleaner_model_busy_sessions", queue.busy_sessions),
            ("gleaner_model_batch_tokens_limit", queue.batch_tokens),
            ("gleaner_model_batches_total", counts.batches),
            ("gleaner_model_texts_total", counts.texts),
            ("gleaner_model_tokens_total", counts.tokens),
            ("gleaner_model_abandoned_texts_total", counts.abandoned),
        ] {
            sheet.count(name, labels, value);
        }
        sheet.add(
            "gleaner_model_busy_seconds_total",
            labels,
            queue.busy_seconds,
        );
    }
    if let Some(cache) = models.cache_figures() {
        for (name, value) in [
            ("gleaner_vector_cache_bytes", cache.bytes),
            ("gleaner_vector_cache_limit_bytes", cache.most_bytes),
            ("gleaner_vector_cache_vectors", cache.vectors),
            ("gleaner_vector_cache_hits_total", cache.hits),
            ("gleaner_vector_cache_misses_total", cache.misses),
        ] {
            sheet.count(name, [], value);
        }
    }
}

fn of_index(sheet: &mut Sheet, metrics: &Metrics, index: &Index) {
    let figures = index.figures();
    let name = metrics.names.label(index.name());
    let labels = [("index", &*name)];
    let vectors = &figures.vectors;
    let store = &figures.store;
    let unseen = figures.last_seq.saturating_sub(figures.visible_seq);
    for (name, value) in [
        ("gleaner_index_documents", figures.documents),
        ("gleaner_index_deleted_documents", figures.deleted_documents),
        ("gleaner_index_word_segments", figures.word_segments),
        ("gleaner_index_vector_memory_bytes", vectors.memory_bytes),
        ("gleaner_index_graph_building", u64::from(vectors.is_busy)),
        ("gleaner_index_last_sequence", figures.last_seq),
        ("gleaner_index_durable_sequence", figures.durable_seq),
        ("gleaner_index_visible_sequence", figures.visible_seq),
        ("gleaner_index_unseen_writes", unseen),
        ("gleaner_index_cursors", figures.cursors),
        (
            "gleaner_index_writes_refused",
            u64::from(figures.refuses_writes),
        ),
        ("gleaner_store_memtable_bytes", store.memtable_bytes),
        ("gleaner_store_file_bytes", store.file_bytes),
        ("gleaner_store_level0_files", store.level0_files),
        (
            "gleaner_store_pending_compaction_bytes",
            store.pending_compaction_bytes,
        ),
        ("gleaner_store_running_compactions", store.compactions),
        ("gleaner_store_running_flushes", store.flushes),
        (
            "gleaner_store_delayed_write_bytes_per_second",
            store.delayed_write_rate,
        ),
        (
            "gleaner_store_writes_stopped",
            u64::from(store.writes_stopped),
        ),
        (
            "gleaner_store_background_errors_total",
            store.background_errors,
        ),
        ("gleaner_store_table_reader_bytes", store.table_reader_bytes),
    ] {
        sheet.count(name, labels, value);
    }
    if figures.is_attached {
        let problem = u64::from(figures.has_attachment_problem);
        sheet.count("gleaner_index_attachment_problem", labels, problem);
    }
    for (segment, count) in [
        ("unpublished", vectors.unpublished),
        ("flat", vectors.flat),
        ("graph", vectors.in_graphs),
    ] {
        let labels = [("index", &*name), ("segment", segment)];
        sheet.count("gleaner_index_vectors", labels, count);
    }
    for (kind, count) in [
        ("flat", vectors.flat_segments),
        ("graph", vectors.graph_segments),
    ] {
        let labels = [("index", &*name), ("kind", kind)];
        sheet.count("gleaner_index_vector_segments", labels, count);
    }
    for (family, done, failed) in [
        (
            "gleaner_index_refreshes_total",
            figures.refreshes,
            figures.failed_refreshes,
        ),
        (
            "gleaner_index_graph_builds_total",
            vectors.rewrites,
            vectors.failed_rewrites,
        ),
    ] {
        for (outcome, count) in [("done", done), ("failed", failed)] {
            let labels = [("index", &*name), ("outcome", outcome)];
            sheet.count(family, labels, count);
        }
    }
    sheet.add(
        "gleaner_index_refresh_seconds_total",
        labels,
        figures.refresh_seconds,
    );
    sheet.add(
        "gleaner_index_graph_build_seconds_total",
        labels,
        vectors.rewrite_seconds,
    );
}

/// What the indexes' stores share.
fn of_store(sheet: &mut Sheet, app: &App) {
    let settings = app.catalog.settings();
    let Some(shared) = &settings.store.shared else {
        return;
    };
    let (cached, buffered) = shared.usage();
    let limit = settings.storage.block_cache_bytes as u64;
    sheet.count("gleaner_store_block_cache_bytes", [], cached as u64);
    sheet.count("gleaner_store_block_cache_limit_bytes", [], limit);
    let pinned = shared.pinned() as u64;
    sheet.count("gleaner_store_block_cache_pinned_bytes", [], pinned);
    sheet.count("gleaner_store_write_buffer_bytes", [], buffered as u64);
}

/// Loads and long tasks.
fn of_work(sheet: &mut Sheet, app: &App) {
    match app.jobs.figures() {
        Ok(figures) => {
            for (state, count) in &figures.states {
                sheet.count("gleaner_jobs", [("state", state.as_str())], *count);
            }
            for (state, count) in &figures.stopped {
                let labels = [("state", state.as_str())];
                sheet.count("gleaner_jobs_stopped_total", labels, *count);
            }
            let rows = &figures.rows;
            sheet.count("gleaner_job_rows_read_total", [], rows.read);
            for (outcome, count) in [
                ("written", rows.written),
                ("unchanged", rows.unchanged),
                ("deleted", rows.deleted),
                ("rejected", rows.rejected),
            ] {
                sheet.count("gleaner_job_rows_total", [("outcome", outcome)], count);
            }
        }
        Err(error) => tracing::warn!(%error, "jobs are missing in the metrics"),
    }
    for (kind, figures) in app.tasks.figures() {
        let kind = kind.as_str();
        sheet.count("gleaner_tasks_running", [("kind", kind)], figures.running);
        for (outcome, count) in [("done", figures.done), ("failed", figures.failed)] {
            let labels = [("kind", kind), ("outcome", outcome)];
            sheet.count("gleaner_tasks_ended_total", labels, count);
        }
    }
}

/// The file system that the indexes are on.
fn of_disk(sheet: &mut Sheet, app: &App) {
    if let Ok(disk) = rustix::fs::statvfs(app.catalog.folder()) {
        let block = disk.f_frsize;
        let of = |blocks: u64| blocks.saturating_mul(block);
        sheet.count("gleaner_data_disk_bytes", [], of(disk.f_blocks));
        sheet.count("gleaner_data_disk_free_bytes", [], of(disk.f_bavail));
    }
}
