//! One index: its definition, the write path, refresh and recovery.
//!
//! What holds at every moment:
//! * A write that returned is in RocksDB, synced: document, id, vectors and log entry
//!   in one batch. Words and vectors are derived from it and may be thrown away.
//! * Readers work on a [`View`]: one word reader, one vector reader and one set of live
//!   ordinals, all of the same log sequence. A refresh swaps the three together, so a
//!   document is visible to every leg or to none.
//! * Opening replays the log entries that the word index does not cover, and rebuilds
//!   what is missing or corrupt.

mod aliases;
mod carry;
mod catalog;
mod combiner;
mod definition;
mod digests;
mod document;
mod feedback;
mod figures;
mod filling;
mod follow;
mod held;
mod inspect;
mod jobs;
mod once;
mod open;
mod read;
mod redefine;
mod reindex;
mod remote;
mod rerank;
mod same;
mod snapshot;
mod snapshots;
mod update;
mod view;
mod write;

pub use carry::Carry;
pub use catalog::{Catalog, Defined, Settings};
pub use combiner::{ActiveCombiner, CombinerStatus, CombinerVersion};
pub use definition::{
    Definition, Embedding, Fusion, FusionMethod, MAX_CANDIDATES, MAX_EF, MatchWords, Mode,
    Passages, SearchDefaults, check_name, is_field_name, to_toml,
};
pub use document::{Encoded, Prepared};
pub use figures::IndexFigures;
pub use follow::{AttachedProblem, AttachedStatus, Following, Looked, Origin};
pub use held::Held;
pub use inspect::{Inspected, InspectedWords, Inventory, Leftover, Place};
pub use jobs::JobNotes;
pub use once::{Once, Step};
pub use open::Index;
pub(crate) use open::sync_parent;
pub use read::{Current, Fetched, PassageVector, Stats, Stored};
pub use reindex::{Reindex, ReindexPhase, ReindexProgress, ReindexRequest, ReindexState};
pub use rerank::{Cascade, MAX_RERANK_DEPTH, Rerank};
pub use same::Same;
pub use snapshot::Snapshot;
pub use update::version_conflict;
pub use view::View;
pub use write::{Change, Changed, How, IfVersion, Still, Written};
