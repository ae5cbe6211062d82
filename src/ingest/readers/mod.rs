//! One reader per shape of file; each yields items that [`Source`](super::Source)
//! numbers and hands out as rows.

mod arrow;
mod cell;
mod columns;
mod delimited;
mod json;
mod lines;
mod pages;
mod parquet;
mod vector;

use serde_json::{Map, Value as Json};

use super::Position;
use super::source::Kept;
use crate::error::{Error, Problem};
use crate::store::StoredVectors;

pub(super) use arrow::ArrowRows;
pub(super) use cell::date as date_json;
pub(super) use columns::text as columns_text;
pub(super) use delimited::{open as delimited, text as delimited_text};
pub(super) use json::{lines as json_lines, open as json};
pub(super) use parquet::{ParquetRows, footer_of};

/// A row before it is numbered.
pub(super) struct Item {
    /// Where it lies; None in text formats, whose rows are numbered as they come.
    pub(super) place: Option<Place>,
    /// Rows that it stands for: more than one where a group of rows cannot be read; none where
    /// it only tells that a group was passed over.
    pub(super) rows: u64,
    pub(super) line: Option<u64>,
    pub(super) json: Result<Map<String, Json>, Problem>,
    /// Vectors that come with the document, in an export.
    pub(super) vectors: Option<StoredVectors>,
    pub(super) kept: Kept,
}

/// Where a row lies in a file that comes in groups of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) position: Position,
    /// Its number in the whole file, from 1.
    pub(super) number: u64,
}

/// What a reader is. An error is its last item.
pub(super) trait Reader: Iterator<Item = Result<Item, Error>> + Send {
    /// Goes to a place, in formats that come in groups of rows; false in others, where the rows
    /// before are to be read over.
    ///
    /// # Errors
    /// As for an item.
    fn seek(&mut self, from: Position) -> Result<bool, Error> {
        let _ = from;
        Ok(false)
    }

    /// Passes over a row.
    ///
    /// # Errors
    /// As for an item.
    fn pass_over(&mut self) -> Option<Result<(), Error>> {
        self.next().map(|row| row.map(drop))
    }
}

pub(super) type Items = Box<dyn Reader>;
