//! Places in a file, and what a row asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place in a file, from which reading can go on: before a row.
///
/// Formats that come in groups of rows (the row groups of Parquet, the record batches of
/// Arrow) are entered at a group without decoding those before it; text formats are one
/// group, of which the rows before are read over.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct Position {
    /// The group, from 0; always 0 in text formats.
    pub row_group: u64,
    /// Rows of the group that lie before, good or not.
    pub row: u64,
}

/// What a row asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The document is written, in place of one that is there. Insertions are these too.
    #[default]
    Upsert,
    /// The fields of the row are merged into the document that is there; where there is none
    /// the row is rejected.
    Update,
    /// The document of the row's id is removed; where there is none nothing happens.
    Delete,
}
