//! Encoding apart from loading: the unit of work of a cluster.
//!
//! A **unit** takes rows of a source and makes a **shard** of them: a Parquet file of the form
//! of an export, with documents, passages and vectors, that a load takes over without encoding
//! anything. What holds, whatever runs the units and however often:
//!
//! * A shard is there whole or not at all: it is written under another name and renamed; an
//!   object store shows what was sent when all of it was.
//! * A unit whose shard is there already, of the same rows, definition, limits and model, does
//!   nothing. The shard says in its footer what it was made of ([`Shard`]).
//! * A row that cannot be read, does not fit or cannot be encoded is a reject, in a file beside
//!   the shard. It ends neither the unit nor the process.
//! * Loading the shards of a source in their order gives the index that loading the source
//!   gives: what checks, cuts and encodes is the index's own code, over an index that holds
//!   nothing and is thrown away.

mod encode;
mod place;
mod plan;
mod run;
mod stages;
mod unit;

pub use encode::{ShardEncoder, ShardState, ShardSummary};
pub use plan::{PlanOptions, PlanSummary, read_definition, read_options, read_plan, write_plan};
pub use run::{RunSummary, UnitFailure, run_units};
pub use unit::{Part, Shard, Stamp, Unit};

pub(in crate::ingest) use unit::check_shard;
