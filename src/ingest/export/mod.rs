//! Indexes into Parquet files that a load reads back as they were.
//!
//! # The file
//!
//! | column | holds |
//! |---|---|
//! | the id field | the id, a string |
//! | each field of the definition | its value, or the list of its values: strings, 64-bit integers and floats, booleans, timestamps in microseconds |
//! | `_rest` | where these columns do not say exactly what the document is: its members in their order, as a JSON list of names (whose values are in their columns) and of pairs of a name and a value; null for most documents |
//! | `_passages` | the stored vectors: a list of `start` and `end` (bytes in the encoded text) and `vector`; only where the index has vectors |
//!
//! So another program finds typed columns, and what is more to a document (fields that the
//! definition does not name, dates written another way, an integer where a float is meant,
//! an order of its own) is kept to the letter. The footer holds a [`Manifest`] under
//! `gleaner.export`.

mod read;
mod table;
mod write;

use std::path::Path;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

pub(in crate::ingest) use read::Reading;
pub use write::{Export, export_file};
pub(in crate::ingest) use write::{Writing, write_whole};

use crate::error::{Code, Error, Problem, Result};
use crate::index::Definition;
use crate::ingest::shards::Shard;

/// The key of a [`Manifest`] in a footer.
const KEY: &str = "gleaner.export";
/// The format that this build writes and reads.
pub(in crate::ingest) const FORMAT: u32 = 1;
/// Members of a document in their order, where its columns do not say them.
const REST: &str = "_rest";
/// The stored vectors.
pub(in crate::ingest) const PASSAGES: &str = "_passages";

/// What an exported file says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the file.
    pub format: u32,
    /// The definition of the index.
    pub definition: Definition,
    /// The log sequence that it was exported at.
    pub seq: u64,
    /// Length of its vectors; 0 without any.
    pub dimensions: usize,
    /// What names the version of the model that made them; absent where documents brought
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// What a shard was made of; absent in an export of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
}

/// The manifest of a file; none where it is no export.
///
/// # Errors
/// `invalid_file` as for a load.
pub fn manifest(path: &Path) -> Result<Option<Manifest>> {
    let options = super::SourceOptions::default();
    let source = super::Source::open(path, &options)?;
    Ok(source.manifest().cloned())
}

/// The names of the columns that are no field's, out of the way of an id field of the name.
fn own_names(definition: &Definition) -> [String; 2] {
    [REST, PASSAGES].map(|name| match definition.id_field == name {
        true => format!("{name}_"),
        false => name.into(),
    })
}

fn damaged(found: impl std::fmt::Display) -> Problem {
    Problem::new(
        Code::InvalidFile,
        "this is not an export as gleaner writes them",
    )
    .found(found)
    .expected("the columns that its footer names")
}

fn arrow_bug(error: impl std::fmt::Display) -> Error {
    Error::Bug(format!("columns of an export do not fit: {error}"))
}

/// A batch's column by its name.
fn column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a arrow::array::ArrayRef> {
    batch.column_by_name(name)
}

/// What the metadata of a file say of it as an export of this format; none where it is none.
pub(in crate::ingest) fn manifest_in(
    metadata: &parquet::file::metadata::ParquetMetaData,
) -> Option<Manifest> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    let text = pairs
        .iter()
        .find(|pair| pair.key == KEY)?
        .value
        .as_deref()?;
    let manifest: Manifest = serde_json::from_str(text).ok()?;
    (manifest.format == FORMAT).then_some(manifest)
}
