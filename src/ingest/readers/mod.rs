//! One reader per shape of file; each yields items that [`Source`](super::Source)
//! numbers and hands out as rows.

mod cell;
mod columns;
mod delimited;
mod json;
mod lines;

use serde_json::{Map, Value as Json};

use super::source::Kept;
use crate::error::{Error, Problem};
use crate::store::StoredVectors;

pub(super) use cell::date as date_json;
pub(super) use columns::{Columns, text as columns_text};
pub(super) use delimited::{open as delimited, text as delimited_text};
pub(super) use json::{lines as json_lines, open as json};

/// A row before it is numbered.
pub(super) struct Item {
    pub(super) line: Option<u64>,
    pub(super) json: Result<Map<String, Json>, Problem>,
    /// Vectors that come with the document, in an export.
    pub(super) vectors: Option<StoredVectors>,
    pub(super) kept: Kept,
}

/// What a reader is. An error is its last item.
pub(super) type Items = Box<dyn Iterator<Item = Result<Item, Error>> + Send>;
