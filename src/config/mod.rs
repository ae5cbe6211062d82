//! Configuration: `config.toml`, environment, flags; the later wins.
//!
//! Every key has a default, so no file is needed. `config.toml` at the top of the
//! repository lists every key with its default and why it is what it is; a test holds
//! that file and these defaults together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Problem, Result};
use crate::model::RuntimeOptions;
use crate::objects;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder that holds the indexes.
    pub data: Data,
    /// Where models are looked for and how they run.
    pub models: Models,
    /// The HTTP server.
    pub server: Server,
    /// Limits on what callers may send.
    pub limits: Limits,
    /// Memory and timing of every index.
    pub storage: Storage,
    /// Where snapshots are kept.
    pub snapshots: Snapshots,
    /// Bulk loading.
    pub ingest: Ingest,
    /// The catalogue of databases.
    pub schemas: Schemas,
    /// The databases as tools of assistants.
    pub mcp: Mcp,
    /// Catalogs of entities.
    pub entities: Entities,
    /// Logging.
    pub log: Log,
    /// Traces by OpenTelemetry.
    pub telemetry: Telemetry,
}

/// Where the data lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// One folder per index lies in `indexes/` below it.
    pub folder: PathBuf,
}

impl Default for Data {
    fn default() -> Self {
        Data {
            folder: PathBuf::from("data"),
        }
    }
}

/// Where models are looked for and how they run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Folders whose sub-folders are models; the first that has a name wins.
    pub folders: Vec<PathBuf>,
    /// ONNX Runtime: library, sessions, threads, batch size.
    pub runtime: RuntimeOptions,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port to listen on.
    pub listen: String,
    /// Certificate chain in PEM; with `tls_key`, connections are encrypted.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// Origins of web pages that may call, as `https://app.example`; `*` for all.
    pub cors_origins: Vec<String>,
    /// Whether the console is served at `/`.
    pub console: bool,
    /// Where administrators' acts are noted; `audit.jsonl` in the data folder where unset.
    pub audit_log: Option<PathBuf>,
    /// Most connections at once, idle ones included; fewer where fewer files may be open.
    pub connections: usize,
    /// Most requests worked on at once, of each kind (searching, writing); more wait
    /// in a queue. Unset: the cores, at least 2.
    pub concurrency: Option<usize>,
    /// Most requests that wait; more are answered 503 with Retry-After.
    pub queue: usize,
    /// Longest time a request may take, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            listen: "127.0.0.1:7700".into(),
            tls_certificate: None,
            tls_key: None,
            cors_origins: Vec::new(),
            console: true,
            audit_log: None,
            connections: 16_384,
            concurrency: None,
            queue: 256,
            timeout_ms: 30_000,
        }
    }
}

impl Server {
    /// Requests of each kind that are worked on at once.
    pub fn permits(&self) -> usize {
        self.concurrency
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, |n| n.get().max(2)))
    }
}

/// Limits on what callers may send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub body_bytes: usize,
    /// Longest text of one field, in bytes.
    pub field_bytes: usize,
    /// Most documents in one bulk request.
    pub bulk_documents: usize,
    /// Largest `k` plus `offset` of a search.
    pub hits: usize,
    /// Most queries in one search request.
    pub queries: usize,
    /// Most cursors held for each index; the one that was used least recently makes room
    /// for a new one. 0 refuses them all.
    pub cursors: usize,
    /// Longest time a cursor may be kept after its last use, in seconds.
    pub cursor_s: u64,
    /// Most texts in one request to `/v1/embeddings`.
    pub embedding_inputs: usize,
    /// Most tokens of all those texts together.
    pub embedding_tokens: usize,
    /// Most documents in one request to `/v1/rerank`.
    pub rerank_documents: usize,
    /// Most tokens of all its pairs of query and document together.
    pub rerank_tokens: usize,
    /// Longest time a hybrid search waits for its query's encoding, in milliseconds;
    /// past it the words answer alone and the answer says so.
    pub encode_ms: u64,
    /// How long the outcome of a request that was sent with an idempotency key is kept, in
    /// hours.
    pub idempotency_hours: u64,
    /// Most events of feedback in one request.
    pub feedback_batch: usize,
    /// Most events of feedback that an index keeps; the oldest give way.
    pub feedback_events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes: 64 << 20,
            field_bytes: 4 << 20,
            bulk_documents: 10_000,
            hits: 1_000,
            queries: 64,
            cursors: 32,
            cursor_s: 600,
            embedding_inputs: 2_048,
            embedding_tokens: 300_000,
            rerank_documents: 1_000,
            rerank_tokens: 300_000,
            encode_ms: 2_000,
            idempotency_hours: 24,
            feedback_batch: 1_000,
            feedback_events: 1_000_000,
        }
    }
}

/// Memory and timing of every index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// RocksDB's cache of blocks, shared by all indexes, in bytes.
    pub block_cache_bytes: usize,
    /// RocksDB's write buffers, in bytes for each index; all indexes together share four
    /// times as much.
    pub write_buffer_bytes: usize,
    /// The word index's buffer while writing, in bytes for each index.
    pub word_buffer_bytes: usize,
    /// How often written documents become visible, in milliseconds.
    pub refresh_ms: u64,
    /// Vectors up to which an index is scanned exactly; beyond it a graph is built.
    pub graph_threshold: usize,
    /// Threads that graphs are built with in the background, at low priority, so that
    /// searches go on meanwhile. Unset: as many as the machine has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_threads: Option<usize>,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            block_cache_bytes: 64 << 20,
            write_buffer_bytes: 16 << 20,
            word_buffer_bytes: 32 << 20,
            refresh_ms: 1_000,
            graph_threshold: 20_000,
            build_threads: None,
        }
    }
}

/// Where snapshots are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshots {
    /// A folder, or the URL of a place in an object store: `s3://BUCKET/PREFIX`,
    /// `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, `file:///FOLDER`. Credentials and
    /// endpoints come from the environment. Unset: `snapshots` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Indexes that are built elsewhere, to be attached from their snapshots.
    pub attached: Vec<Attached>,
}

/// An index that is built elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    /// Its name here.
    pub name: String,
    /// The place of its snapshots in an object store, as `location` names it where they are
    /// taken.
    pub url: String,
    /// Its name there. Unset: the name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Seconds between two looks for a newer snapshot; 0 for none.
    #[serde(default = "follow_s")]
    pub follow_s: u64,
}

fn follow_s() -> u64 {
    60
}

impl Snapshots {
    /// Checks the location without looking for it.
    ///
    /// # Errors
    /// `invalid_configuration`.
    pub fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for attached in &self.attached {
            let checked = match objects::is_url(&attached.url) {
                true => objects::check(&attached.url),
                false => Err(Problem::new(
                    Code::InvalidConfiguration,
                    "an index is attached from an object store",
                )
                .found(&attached.url)
                .expected("the URL of an object store")
                .into()),
            };
            checked.map_err(|error| match error {
                Error::User(problem) => problem.field("snapshots.attached.url").into(),
                other => other,
            })?;
            if !names.insert(&attached.name) {
                return Err(Problem::new(
                    Code::InvalidConfiguration,
                    "two attached indexes have one name",
                )
                .field("snapshots.attached.name")
                .found(&attached.name)
                .into());
            }
        }
        let checked = match self.location.as_deref() {
            None => Ok(()),
            Some("") => Err(Problem::new(
                Code::InvalidConfiguration,
                "a configuration value is empty",
            )
            .expected("a folder, or the URL of an object store")
            .into()),
            Some(location) if objects::is_url(location) => objects::check(location),
            Some(_) => Ok(()),
        };
        checked.map_err(|error| match error {
            Error::User(problem) => problem.field("snapshots.location").into(),
            other => other,
        })
    }
}

/// Bulk loading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Passages sorted by length and encoded together, and documents written in one
    /// synced batch.
    pub batch_documents: usize,
    /// Batches that may wait between two stages of the pipeline.
    pub queue: usize,
    /// What documents and vectors on their way may take in memory, in bytes, over all queues
    /// of a load together.
    pub memory: usize,
    /// Longest row, in bytes.
    pub row_bytes: usize,
    /// Largest record batch of an Arrow file, in bytes, which is decoded at once.
    pub arrow_batch_bytes: usize,
    /// Jobs of the API that load at once; of one index always one.
    pub jobs: usize,
    /// Folders, and beginnings of URLs, that jobs of the API may read from. None: none may.
    pub sources: Vec<String>,
}

impl Default for Ingest {
    fn default() -> Self {
        Ingest {
            batch_documents: 512,
            queue: 2,
            memory: 256 << 20,
            row_bytes: 32 << 20,
            arrow_batch_bytes: 256 << 20,
            jobs: 2,
            sources: Vec::new(),
        }
    }
}

/// The catalogue of databases: what is read of them, and from where the API may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schemas {
    /// Name of the encoder that questions and columns are compared by.
    pub encoder: String,
    /// Name of the cross-encoder that reads a question beside the likeliest tables; empty for
    /// none, which is faster and keeps more columns.
    pub linker: String,
    /// Sample rows read of each table, 0 to 100.
    pub samples: usize,
    /// Frequent values read of each column, 0 to 10,000.
    pub values: usize,
    /// Values of each column of texts that questions are searched for, 0 to 100,000.
    pub searched_values: usize,
    /// Longest time to wait for a database server to let one in, in milliseconds.
    pub connect_ms: u64,
    /// Longest time of a statement, in milliseconds; counts and values that take longer are
    /// left out.
    pub statement_ms: u64,
    /// Keep no values of columns that look like secrets or personal data.
    pub mask_common: bool,
    /// Further names of columns whose values are kept nowhere: words, as in `base salary`.
    pub mask: Vec<String>,
    /// Databases that callers of the API may have imported, by name; they can name no other
    /// file and no other server.
    pub sources: Vec<SchemaSource>,
}

/// A database that may be imported through the API: exactly one of `sqlite`, `url`, `url_env`
/// and `url_file`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaSource {
    /// What callers call it, and its name in the catalogue.
    pub name: String,
    /// An SQLite file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<PathBuf>,
    /// A server's URL, in which `${NAME}` stands for an environment variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// An environment variable that holds the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_env: Option<String>,
    /// A file that holds the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// A folder with a CSV file of descriptions for each table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptions: Option<PathBuf>,
}

impl Default for Schemas {
    fn default() -> Self {
        Schemas {
            encoder: "gleaner-minilm".into(),
            linker: "gleaner-linker".into(),
            samples: 3,
            values: 100,
            searched_values: 2_000,
            connect_ms: 10_000,
            statement_ms: 5_000,
            mask_common: true,
            mask: Vec::new(),
            sources: Vec::new(),
        }
    }
}

/// The Model Context Protocol over HTTP, at `/mcp`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mcp {
    /// Whether `/mcp` answers. `gleaner mcp` does in any case.
    pub enabled: bool,
    /// Names, or names with ports, under which clients reach the server beside `localhost`: a
    /// request with another `Host` is refused, because a web page might have sent it.
    pub hosts: Vec<String>,
    /// Origins of web pages that may ask, as `https://app.example:443`; none by default.
    pub origins: Vec<String>,
    /// Who asks, for databases that have permissions. Where it is not set the model that calls the
    /// tools says so itself.
    pub caller: Option<String>,
}

impl Default for Mcp {
    fn default() -> Self {
        Mcp {
            enabled: true,
            hosts: Vec::new(),
            origins: Vec::new(),
            caller: None,
        }
    }
}

/// Catalogs of entities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Entities {
    /// The encoder that contexts and names are compared by; without a generator its tokenizer spells
    /// the names of catalogs that are built without naming a model.
    pub encoder: String,
    /// The generator that writes names, and spells those of catalogs. Unset: priors and the encoder
    /// decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<String>,
    /// A file of `gleaner entities fit`: how much each measure counts. Unset: what is shipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

impl Entities {
    /// The model whose tokenizer spells the names of catalogs: of the generator, which has to write
    /// them, or of the encoder where there is none.
    pub fn speller(&self) -> &str {
        self.generator.as_deref().unwrap_or(&self.encoder)
    }
}

impl Default for Entities {
    fn default() -> Self {
        Entities {
            encoder: "gleaner-minilm".into(),
            generator: None,
            weights: None,
        }
    }
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// What is logged, in tracing's filter syntax.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Searches that take at least so many milliseconds are logged, with their request and where
    /// the time went. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_ms: Option<u64>,
    /// How much of such a request is logged, in bytes; 0 for nothing.
    pub slow_request_bytes: usize,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            filter: "info,tantivy=warn,tantivy::indexer::segment_manager=error,ort=warn,rmcp=warn"
                .into(),
            json: false,
            slow_ms: None,
            slow_request_bytes: 2_048,
        }
    }
}

/// Traces by OpenTelemetry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The address of a collector that takes OTLP over HTTP, as `http://127.0.0.1:4318`. Unset:
    /// nothing is traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Share of the requests that are traced, 0 to 1; of a request whose caller is traced its
    /// caller decides.
    pub sample: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry {
            endpoint: None,
            sample: 1.0,
        }
    }
}

/// Most threads of one kind.
const MAX_THREADS: u64 = 1024;
/// Most of anything that is counted one by one.
const MAX_COUNT: u64 = 1_000_000;
/// Most events of feedback: they are read into memory when a combiner is fitted.
const MAX_FEEDBACK: u64 = 10_000_000;
/// Most tokens in one request.
const MAX_TOKENS: u64 = 100_000_000;
/// Longest body, field or row, in bytes: what is written has to fit one batch of the
/// store, which holds less than 2 GiB.
const MAX_MESSAGE: u64 = 1 << 30;
/// Largest record batch: 16 GiB.
const MAX_ARROW_BATCH: u64 = 16 << 30;
/// Most memory of one cache or buffer, in bytes.
const MAX_MEMORY: u64 = 1 << 40;
/// Most documents in one batch of a load.
const MAX_BATCH: u64 = 65_536;
/// Least memory of a load, in bytes.
const MIN_LOAD: u64 = 1 << 20;
/// Most batches that wait in a load.
const MAX_QUEUE: u64 = 1024;
/// Most cursors of an index.
const MAX_CURSORS: u64 = 10_000;
/// Most of a request that is logged, in bytes.
const MAX_LOGGED: u64 = 1 << 20;
/// Longest time, in milliseconds.
const DAY_MS: u64 = 86_400_000;
/// Longest that anything is kept, in hours: a year.
const MAX_HOURS: u64 = 8_784;

/// Name of the file that is read where none is named.
pub const DEFAULT_FILE: &str = "config.toml";

impl Config {
    /// Reads `file` (or `config.toml` here, if there is one), then the environment:
    /// `GLEANER_DATA` and `GLEANER_MODELS` (a list separated by colons) by their short
    /// names, every other key as `GLEANER__SECTION__KEY`.
    ///
    /// # Errors
    /// `invalid_configuration` with the key, for a file that does not exist, a key that
    /// is unknown, or a value of the wrong type.
    pub fn load(file: Option<&Path>) -> Result<Config> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        if let Some(path) = file {
            if !path.is_file() {
                return Err(Problem::new(
                    Code::InvalidConfiguration,
                    "the configuration file cannot be read",
                )
                .field("config")
                .found(path.display())
                .expected("an existing TOML file")
                .into());
            }
            figment = figment.merge(Toml::file_exact(path));
        } else if Path::new(DEFAULT_FILE).is_file() {
            figment = figment.merge(Toml::file_exact(DEFAULT_FILE));
        }
        let mut config: Config = figment
            .merge(Env::prefixed("GLEANER__").split("__"))
            .extract()
            .map_err(|error| {
                let mut problem = Problem::new(
                    Code::InvalidConfiguration,
                    format!("the configuration cannot be used: {error}"),
                );
                if !error.path.is_empty() {
                    problem = problem.field(error.path.join("."));
                }
                problem
            })?;
        if let Some(folder) = std::env::var_os("GLEANER_DATA").filter(|v| !v.is_empty()) {
            config.data.folder = folder.into();
        }
        if let Some(folders) = std::env::var_os("GLEANER_MODELS").filter(|v| !v.is_empty()) {
            config.models.folders = std::env::split_paths(&folders).collect();
        }
        if config.models.folders.is_empty() {
            config.models.folders = default_model_folders();
        }
        config.check()?;
        Ok(config)
    }

    /// Holds the values to their ranges: zeros that would let nothing through, and sizes
    /// that nothing could be reserved for.
    ///
    /// # Errors
    /// `invalid_configuration` with the key.
    fn check(&self) -> Result<()> {
        let (server, limits) = (&self.server, &self.limits);
        let (storage, ingest) = (&self.storage, &self.ingest);
        // Of machine size, so no number is lost.
        let n = |value: usize| value as u64;
        let ranges = [
            ("server.concurrency", n(server.permits()), 1..=MAX_COUNT),
            (
                "storage.build_threads",
                n(storage.build_threads.unwrap_or(1)),
                1..=MAX_THREADS,
            ),
            ("server.queue", n(server.queue), 0..=MAX_COUNT),
            ("server.connections", n(server.connections), 1..=MAX_COUNT),
            ("server.timeout_ms", server.timeout_ms, 1..=DAY_MS),
            ("schemas.samples", n(self.schemas.samples), 0..=100),
            ("schemas.values", n(self.schemas.values), 0..=10_000),
            (
                "schemas.searched_values",
                n(self.schemas.searched_values),
                0..=100_000,
            ),
            ("schemas.connect_ms", self.schemas.connect_ms, 1..=DAY_MS),
            (
                "schemas.statement_ms",
                self.schemas.statement_ms,
                1..=DAY_MS,
            ),
            ("limits.body_bytes", n(limits.body_bytes), 1..=MAX_MESSAGE),
            ("limits.field_bytes", n(limits.field_bytes), 1..=MAX_MESSAGE),
            (
                "limits.bulk_documents",
                n(limits.bulk_documents),
                1..=MAX_COUNT,
            ),
            ("limits.hits", n(limits.hits), 1..=MAX_COUNT),
            ("limits.queries", n(limits.queries), 1..=MAX_COUNT),
            ("limits.cursors", n(limits.cursors), 0..=MAX_CURSORS),
            ("limits.cursor_s", limits.cursor_s, 1..=DAY_MS / 1000),
            (
                "limits.idempotency_hours",
                limits.idempotency_hours,
                0..=MAX_HOURS,
            ),
            (
                "limits.feedback_batch",
                n(limits.feedback_batch),
                1..=MAX_COUNT,
            ),
            (
                "limits.feedback_events",
                n(limits.feedback_events),
                1..=MAX_FEEDBACK,
            ),
            (
                "limits.embedding_inputs",
                n(limits.embedding_inputs),
                1..=MAX_COUNT,
            ),
            (
                "limits.embedding_tokens",
                n(limits.embedding_tokens),
                1..=MAX_TOKENS,
            ),
            (
                "limits.rerank_documents",
                n(limits.rerank_documents),
                1..=MAX_COUNT,
            ),
            (
                "limits.rerank_tokens",
                n(limits.rerank_tokens),
                1..=MAX_TOKENS,
            ),
            (
                "models.runtime.queue_texts",
                n(self.models.runtime.queue_texts),
                1..=MAX_COUNT,
            ),
            (
                "models.runtime.cache_bytes",
                n(self.models.runtime.cache_bytes),
                0..=MAX_MEMORY,
            ),
            (
                "storage.block_cache_bytes",
                n(storage.block_cache_bytes),
                0..=MAX_MEMORY,
            ),
            (
                "storage.write_buffer_bytes",
                n(storage.write_buffer_bytes),
                1..=MAX_MEMORY,
            ),
            (
                "storage.word_buffer_bytes",
                n(storage.word_buffer_bytes),
                0..=MAX_MEMORY,
            ),
            ("storage.refresh_ms", storage.refresh_ms, 0..=DAY_MS),
            (
                "ingest.batch_documents",
                n(ingest.batch_documents),
                1..=MAX_BATCH,
            ),
            ("ingest.queue", n(ingest.queue), 1..=MAX_QUEUE),
            ("ingest.memory", n(ingest.memory), MIN_LOAD..=MAX_MEMORY),
            ("ingest.jobs", n(ingest.jobs), 1..=MAX_THREADS),
            (
                "log.slow_request_bytes",
                n(self.log.slow_request_bytes),
                0..=MAX_LOGGED,
            ),
            ("log.slow_ms", self.log.slow_ms.unwrap_or(0), 0..=DAY_MS),
            ("ingest.row_bytes", n(ingest.row_bytes), 1..=MAX_MESSAGE),
            (
                "ingest.arrow_batch_bytes",
                n(ingest.arrow_batch_bytes),
                1..=MAX_ARROW_BATCH,
            ),
        ];
        for (key, value, range) in ranges {
            if !range.contains(&value) {
                return Err(Problem::new(
                    Code::InvalidConfiguration,
                    "a configuration value is out of range",
                )
                .field(key)
                .found(value)
                .expected(format!("{} to {}", range.start(), range.end()))
                .into());
            }
        }
        if !(0.0..=1.0).contains(&self.telemetry.sample) {
            return Err(Problem::new(
                Code::InvalidConfiguration,
                "a configuration value is out of range",
            )
            .field("telemetry.sample")
            .found(self.telemetry.sample)
            .expected("0 to 1")
            .into());
        }
        self.snapshots.check()
    }
}

/// `models` here, then the cache folder that set-up fills.
fn default_model_folders() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("models")];
    folders.extend(cache_folder().map(|c| c.join("models")));
    folders
}

/// The folder that set-up fills.
pub fn cache_folder() -> Option<PathBuf> {
    std::env::var_os("GLEANER_CACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("XDG_CACHE_HOME").map(|c| PathBuf::from(c).join("gleaner")))
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache/gleaner")))
}
