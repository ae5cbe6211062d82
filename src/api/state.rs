//! What the handlers share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::body::STEP;
use super::gate::Gate;
use super::metrics::Metrics;
use super::slow::SlowLog;
use super::tasks::Tasks;
use super::warm::Readiness;
use crate::access::{AuditLog, Keys};
use crate::config::{self, Config, Limits};
use crate::entity::{Catalogs, EntityLinker};
use crate::index::Catalog;
use crate::jobs::Jobs;
use crate::sql::{Retriever, Schemas};

/// Bodies held in memory at once, in multiples of the largest one allowed.
const BODIES: usize = 4;
/// Beginnings of bodies held in memory at once.
const BEGINNINGS: usize = 1024;
/// Exports sent at once: each holds a view and keeps a thread for as long as its caller takes
/// to read, which is why they do not count among the searches.
const EXPORTS: usize = 2;
/// Bulk requests without end at once: each has a chunk in memory.
const STREAMS: usize = 32;
/// Callers who are told of jobs as they go on, at once.
const WATCHERS: usize = 64;
/// Scrapes of the metrics at once.
const SCRAPES: usize = 2;
/// Unit in which bodies are counted, in bytes.
pub(super) const BODY_UNIT: usize = 1024;
/// Requests for vectors of each task, and for scores, whose texts wait or are encoded at once, each on a
/// thread of its own: enough for their texts to fill batches together.
const ENCODINGS: usize = 64;
/// Longest that a request waits for its turn: beyond this the caller is better off
/// knowing that the server is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the handlers share.
pub(super) struct App {
    /// The indexes.
    pub catalog: Arc<Catalog>,
    /// Who may do what.
    pub keys: Arc<Keys>,
    /// Whose turn it is to note something there.
    pub notes: Gate,
    /// What administrators did.
    pub audit: AuditLog,
    /// The API's description, as JSON.
    pub description: OnceLock<Bytes>,
    /// The databases.
    pub schemas: Arc<Schemas>,
    /// What is read of databases, and from where.
    pub schema_settings: config::Schemas,
    /// The catalogs of entities.
    pub entities: Arc<Catalogs>,
    /// Which models link texts to them.
    pub entity_settings: config::Entities,
    /// What links them, from the first text on.
    pub entity_linker: OnceLock<EntityLinker>,
    /// What callers may send.
    pub limits: Limits,
    /// What answers questions about them, from the first question on.
    pub retriever: OnceLock<Retriever>,
    /// Held by who opens it.
    pub opening: Mutex<()>,
    /// Making databases ready for questions before there are any.
    pub preparing: Gate,
    /// Longest that a request may take.
    pub timeout: Duration,
    /// Searching and reading.
    pub searches: Gate,
    /// Linking texts to entities, which takes seconds: others' searches are not to wait for it.
    pub linkings: Gate,
    /// Everything that changes something.
    pub writes: Gate,
    /// Listing and removing snapshots, which waits for an object store.
    pub snapshot_lists: Gate,
    /// Encoding queries for their vectors' sake.
    pub query_encodings: Gate,
    /// The same of documents.
    pub document_encodings: Gate,
    /// Scoring documents for their scores' sake.
    pub rerankings: Gate,
    /// Bodies in memory, in units of [`BODY_UNIT`].
    pub bodies: Gate,
    /// Beginnings of bodies, which is all there is of most; in the same units.
    pub beginnings: Gate,
    /// What takes longer than a request.
    pub tasks: Tasks,
    /// Loads of files.
    pub jobs: Arc<Jobs>,
    /// How they read.
    pub ingest: config::Ingest,
    /// Those who watch them.
    pub watchers: Gate,
    /// Exports that are being sent.
    pub exports: Gate,
    /// Bulk requests without end, which are no writes while they wait for their senders.
    pub streams: Gate,
    /// Their turns to write: one fewer at once than may write, where several may.
    pub stream_writes: Gate,
    /// Whether the server is being stopped.
    pub stop: watch::Sender<bool>,
    /// Whether everything is opened and warmed up.
    pub readiness: Arc<Readiness>,
    /// Looking at all of this for the metrics.
    pub scrapes: Gate,
    /// What has happened since the server was started.
    pub metrics: Metrics,
    /// Which searches are logged.
    pub slow: SlowLog,
}

impl App {
    pub(super) fn new(config: &Config, catalog: Arc<Catalog>, keys: Arc<Keys>) -> App {
        let server = &config.server;
        let timeout = Duration::from_millis(server.timeout_ms.max(1));
        let patience = PATIENCE.min(timeout / 2);
        let bodies = config.limits.body_bytes.saturating_mul(BODIES) / BODY_UNIT;
        App {
            jobs: Arc::new(Jobs::new(catalog.clone(), config)),
            ingest: config.ingest.clone(),
            watchers: Gate::new(WATCHERS, server.queue, patience),
            catalog,
            keys,
            notes: Gate::new(1, server.queue.max(64), PATIENCE),
            audit: AuditLog::new(&config.data.folder, server.audit_log.as_deref()),
            description: OnceLock::new(),
            schemas: Arc::new(Schemas::new(&config.data.folder)),
            schema_settings: config.schemas.clone(),
            entities: Arc::new(Catalogs::new(&config.data.folder)),
            entity_settings: config.entities.clone(),
            entity_linker: OnceLock::new(),
            retriever: OnceLock::new(),
            limits: config.limits.clone(),
            timeout,
            opening: Mutex::default(),
            preparing: Gate::new(1, server.queue, Duration::from_secs(3_600)),
            searches: Gate::new(server.permits(), server.queue, patience),
            linkings: Gate::new((server.permits() / 2).max(1), server.queue, patience),
            writes: Gate::new(server.permits(), server.queue, patience),
            snapshot_lists: Gate::new(2, server.queue, patience),
            query_encodings: Gate::new(ENCODINGS, server.queue, patience),
            document_encodings: Gate::new(ENCODINGS, server.queue, patience),
            rerankings: Gate::new(ENCODINGS, server.queue, patience),
            bodies: Gate::new(bodies, server.queue, patience),
            beginnings: Gate::new(BEGINNINGS * STEP / BODY_UNIT, server.queue, patience),
            tasks: Tasks::default(),
            exports: Gate::new(EXPORTS, server.queue, patience),
            streams: Gate::new(STREAMS, server.queue, patience),
            stream_writes: Gate::new((server.permits() - 1).max(1), STREAMS, timeout),
            stop: watch::Sender::new(false),
            readiness: Arc::default(),
            scrapes: Gate::new(SCRAPES, server.queue, patience),
            metrics: Metrics::default(),
            slow: SlowLog::new(&config.log),
        }
    }

    /// Ends once the server is being stopped.
    pub(super) async fn stopping(&self) {
        // It cannot be dropped meanwhile.
        let _ = self.stop.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// What bounds the work, by the names that the metrics have for it.
    pub(super) fn gates(&self) -> [(&'static str, &Gate); 15] {
        [
            ("searches", &self.searches),
            ("writes", &self.writes),
            ("query_encodings", &self.query_encodings),
            ("document_encodings", &self.document_encodings),
            ("rerankings", &self.rerankings),
            ("linkings", &self.linkings),
            ("preparing", &self.preparing),
            ("snapshot_lists", &self.snapshot_lists),
            ("exports", &self.exports),
            ("streams", &self.streams),
            ("watchers", &self.watchers),
            ("bodies", &self.bodies),
            ("beginnings", &self.beginnings),
            ("tasks", self.tasks.gate()),
            ("scrapes", &self.scrapes),
        ]
    }
}
