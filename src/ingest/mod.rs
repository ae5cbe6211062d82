//! Files into documents: readers of Parquet, JSON and delimited text, rejects, progress; and
//! indexes into files that are read back as they were.
//!
//! The promise: a file of any of these formats becomes a stream of JSON objects in
//! bounded memory. A row that cannot be read is a [`Row`] with a [`Problem`] in it and
//! the rows after it still come; only trouble that ends the whole file (it is not
//! what its name says, it is cut short, the disk fails) is an [`Error`]. Nothing that
//! a file may contain makes a reader panic.
//!
//! [`Error`]: crate::error::Error
//! [`Problem`]: crate::error::Problem

mod budget;
mod code;
mod coerce;
mod columns;
mod define;
mod export;
mod footer;
mod format;
mod inputs;
mod load;
mod mapping;
mod names;
mod pipeline;
mod position;
mod progress;
mod propose;
mod ranges;
mod readers;
mod rejects;
mod remote;
mod shards;
mod source;
mod text;

pub use code::{
    CodeOptions, CodeSummary, FeatureOptions, FeatureSummary, Loading, Skipped, UnitSummary,
    WalkLimits, check_folder, check_repository, load_code, preview_code, write_features,
    write_units,
};
pub use coerce::{coerce, coerce_vector};
pub use define::{Made, define, renamed};
pub use export::{Export, Manifest, export_file, manifest};
pub use format::Format;
pub(crate) use inputs::path_of;
pub use inputs::{Fingerprint, Input, resolve};
pub(crate) use load::{InputRows, RowOrigin, check_inputs};
pub use load::{Place, load_files};
pub use mapping::{FieldSource, Mapping, Names, ReadAs, RowFilter};
pub use names::{Items, NameOptions, read_aliases, read_names};
pub(crate) use pipeline::{End, Flow, Tally};
pub use pipeline::{Incoming, load_rows};
pub use position::{Operation, Position};
pub use progress::{Progress, Reporter, Show, Summary};
pub use propose::{Preview, Proposal, ProposedColumn, proposal_in_words, propose};
pub use rejects::{Reject, Rejects};
pub(crate) use rejects::{lines_of, settle};
pub use shards::{
    Part, PlanOptions, PlanSummary, RunSummary, Shard, ShardEncoder, ShardState, ShardSummary,
    Stamp, Unit, UnitFailure, read_definition, read_options, read_plan, run_units, write_plan,
};
pub use source::{
    DEFAULT_MAX_BATCH_BYTES, DEFAULT_MAX_ROW_BYTES, Original, Row, Source, SourceOptions,
};
pub(crate) use text::{Text, stream_error};
