//! The REST API, and what it answers as tools over MCP.
//!
//! What holds for every answer:
//! * An error has one shape, [`ErrorAnswer`]: a stable code, a sentence, and where it
//!   applies the field, what was found and what was expected. It changes nothing.
//! * A write that was answered is durable. In a bulk request one bad document does not
//!   stop the others; each is answered for.
//! * Work is bounded: so many requests of a kind at once, so many waiting, so many bytes
//!   of bodies in memory, so long a time. Past that a caller hears 503 with Retry-After
//!   or 504, and a caller who left while waiting costs nothing more.
//!
//! One file per resource; `docs/rest.md` shows each route.

mod aliases;
mod around;
mod body;
mod bulk;
mod connection;
mod console;
mod documents;
mod embeddings;
mod entities;
mod error;
mod export;
mod extract;
mod feedback;
mod gate;
mod guard;
mod health;
mod indexes;
mod items;
mod jobs;
mod json;
mod keys;
mod mcp;
mod metrics;
mod models;
mod page;
mod reindex;
mod rerank;
mod routes;
mod schema_examples;
mod schema_permissions;
mod schemas;
mod search;
mod server;
mod slow;
mod snapshots;
mod state;
mod stream;
mod tasks;
mod tls;
mod warm;

pub use aliases::{AliasesAnswer, AliasesRequest};
pub use bulk::{BulkAnswer, BulkItem, BulkOperation, BulkStatus, DocumentId};
pub use documents::{DeleteAnswer, DeleteRequest, DocumentAnswer, WriteAnswer};
pub use embeddings::{
    Embedding, EmbeddingsAnswer, EmbeddingsInput, EmbeddingsRequest, EncodingFormat, Usage, Values,
};
pub use entities::{AddNamesRequest, CatalogList, CatalogRequest, EntityAnswer};
pub use error::{ErrorAnswer, Failure};
pub use feedback::{ActivateRequest, FeedbackAnswer, FeedbackRequest};
pub use health::{HealthAnswer, ReadyAnswer};
pub use indexes::{CompactAnswer, IndexAnswer, IndexEntry, IndexList, RefreshAnswer};
pub use jobs::{JobActionRequest, JobList, JobRequest};
pub use keys::KeyList;
pub use mcp::{MOST_MESSAGE_BYTES, serve_mcp};
pub use models::{ModelEntry, ModelList};
pub use reindex::ReindexAnswer;
pub use rerank::{
    ApiVersion, BilledUnits, Meta, MetaTokens, RerankAnswer, RerankCall, RerankResult, RerankUsage,
};
pub use schema_examples::{ExampleList, ExamplesRequest};
pub use schemas::{SchemaImported, SchemaList, SchemaRequest, SchemaSummary};
pub use search::{SearchAnswer, SearchBatch, SearchBatchAnswer, SearchBody, SearchResult};
pub use server::Server;
pub use snapshots::{RestoreAnswer, RestoreRequest, SnapshotList};
pub use stream::{StreamProgress, StreamRejection};
pub use tasks::{TaskAnswer, TaskKind, TaskList, TaskState};
pub use tls::check_tls;
