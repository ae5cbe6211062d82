//! Rows of Arrow batches as documents: what Parquet files and Arrow files have in common.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use serde_json::{Map, Value as Json};

use super::cell::{Unfit, cell};
use super::{Item, Place};
use crate::error::{Code, Problem};
use crate::ingest::export::Reading;
use crate::ingest::source::Kept;

/// How the rows of a file's batches become documents.
pub(super) struct Columns {
    /// The field each column of a batch becomes.
    pub(super) fields: Vec<Column>,
    /// How rows are put together, in an export.
    pub(super) reading: Option<Reading>,
}

/// A column that is kept.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) field: String,
    /// Sixteen bytes that are a UUID.
    pub(super) uuid: bool,
}

impl Columns {
    pub(super) fn item(&self, batch: &Arc<RecordBatch>, row: usize, place: Place) -> Item {
        // Arrays decoded from a damaged file may contradict themselves.
        let read = guard::<_, std::convert::Infallible>(|| {
            Ok(self.object(batch, row).and_then(|object| {
                let vectors = match &self.reading {
                    Some(reading) => reading.vectors(batch, row)?,
                    None => None,
                };
                Ok((object, vectors))
            }))
        });
        let read = read.unwrap_or_else(|found| {
            Err(
                Problem::new(Code::InvalidDocument, "the row cannot be decoded")
                    .found(found)
                    .expected("values that fit the columns' types"),
            )
        });
        let (json, vectors) = match read {
            Ok((object, vectors)) => (Ok(object), vectors),
            Err(problem) => (Err(problem), None),
        };
        Item {
            place: Some(place),
            rows: 1,
            line: None,
            json,
            vectors,
            kept: Kept::Columns(Arc::clone(batch), row),
        }
    }

    fn object(&self, batch: &RecordBatch, row: usize) -> Result<Map<String, Json>, Problem> {
        let mut object = Map::with_capacity(self.fields.len());
        for (column, array) in self.fields.iter().zip(batch.columns()) {
            if let Some(reading) = &self.reading
                && !reading.is_member(&column.name)
            {
                continue;
            }
            let value = match column.uuid {
                true => uuid(array.as_ref(), row),
                false => cell(array.as_ref(), row),
            };
            let value = value.map_err(|unfit| {
                Problem::new(
                    Code::InvalidDocument,
                    "the row has a value that a document cannot hold",
                )
                .field(&column.name)
                .found(unfit.found)
                .expected(unfit.expected)
            })?;
            if let Some(value) = value {
                object.insert(column.field.clone(), value);
            }
        }
        match &self.reading {
            Some(reading) => reading.document(batch, row, object),
            None => Ok(object),
        }
    }
}

/// A row of a batch as JSON text; what JSON cannot express is described in a string.
pub(in crate::ingest) fn text(batch: &RecordBatch, row: usize) -> String {
    let mut object = Map::new();
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let value = guard::<_, std::convert::Infallible>(|| Ok(cell(array.as_ref(), row)));
        let value = match value {
            Ok(Ok(value)) => value.unwrap_or(Json::Null),
            Ok(Err(unfit)) => Json::String(format!("({})", unfit.found)),
            Err(damage) => Json::String(format!("({damage})")),
        };
        object.insert(field.name().clone(), value);
    }
    Json::Object(object).to_string()
}

/// Runs a decoder. What a damaged file makes it say, be it by an error or by a panic of
/// its own, comes back as text; a decoder that has panicked must not be used again.
pub(super) fn guard<T, E: std::fmt::Display>(
    run: impl FnOnce() -> Result<T, E>,
) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("damage that the decoder does not name")
            .to_string()),
    }
}

/// The hyphenated form of sixteen bytes.
fn uuid(array: &dyn Array, row: usize) -> Result<Option<Json>, Unfit> {
    match array.as_fixed_size_binary_opt() {
        Some(bytes) if !array.is_null(row) => match uuid::Uuid::from_slice(bytes.value(row)) {
            Ok(uuid) => Ok(Some(Json::from(uuid.to_string()))),
            Err(_) => cell(array, row),
        },
        _ => cell(array, row),
    }
}
