//! Reading an export back.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Schema, UInt32Type};
use parquet::file::metadata::ParquetMetaData;
use serde_json::{Map, Value as Json};

use super::{FORMAT, KEY, Manifest, column, damaged, own_names};
use crate::error::{Code, Problem};
use crate::store::{PassageSpan, StoredVectors};

/// How the rows of an export are read.
pub(in crate::ingest) struct Reading {
    manifest: Manifest,
    rest: String,
    passages: String,
}

impl Reading {
    /// None for a file that is no export.
    ///
    /// # Errors
    /// `invalid_file` for one of a newer format, or without the columns that it names.
    pub(in crate::ingest) fn of(
        metadata: &ParquetMetaData,
        schema: &Schema,
    ) -> Result<Option<Reading>, Problem> {
        let pairs = metadata.file_metadata().key_value_metadata();
        let Some(text) = pairs
            .into_iter()
            .flatten()
            .find(|pair| pair.key == KEY)
            .and_then(|pair| pair.value.as_deref())
        else {
            return Ok(None);
        };
        #[derive(serde::Deserialize)]
        struct Format {
            format: u32,
        }
        let format: Format = serde_json::from_str(text).map_err(damaged)?;
        if format.format != FORMAT {
            return Err(
                Problem::new(Code::InvalidFile, "this is an export of another format")
                    .found(format!("format {}", format.format))
                    .expected(format!("format {FORMAT}")),
            );
        }
        let manifest: Manifest = serde_json::from_str(text).map_err(damaged)?;
        let [rest, passages] = own_names(&manifest.definition);
        let names = manifest.definition.fields.keys();
        for name in names.chain([&manifest.definition.id_field, &rest]) {
            if schema.index_of(name).is_err() {
                return Err(damaged(format!("no column {name}")));
            }
        }
        Ok(Some(Reading {
            manifest,
            rest,
            passages,
        }))
    }

    pub(in crate::ingest) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether a column holds a member of the documents.
    pub(in crate::ingest) fn is_member(&self, column: &str) -> bool {
        column != self.rest && column != self.passages
    }

    /// The document of a row, made of what its columns hold.
    pub(in crate::ingest) fn document(
        &self,
        batch: &RecordBatch,
        row: usize,
        mut columns: Map<String, Json>,
    ) -> Result<Map<String, Json>, Problem> {
        let wrong = |found: String| {
            Problem::new(
                Code::InvalidDocument,
                "a document of an export cannot be put together",
            )
            .field(&self.rest)
            .found(found)
            .expected("a JSON list of names of columns, and of pairs of a name and a value")
        };
        let Some(array) = column(batch, &self.rest).filter(|array| array.is_valid(row)) else {
            return Ok(columns);
        };
        let text = match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value(row),
            DataType::LargeUtf8 => array.as_string::<i64>().value(row),
            DataType::Utf8View => array.as_string_view().value(row),
            other => return Err(wrong(format!("a column of type {other}"))),
        };
        let members: Vec<Json> = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        let mut document = Map::with_capacity(members.len());
        for member in members {
            let (name, value) = match member {
                Json::String(name) => {
                    let value = columns
                        .shift_remove(&name)
                        .ok_or_else(|| wrong(format!("{name:?}, which has no value")))?;
                    (name, value)
                }
                Json::Array(pair) => match <[Json; 2]>::try_from(pair) {
                    Ok([Json::String(name), value]) => (name, value),
                    _ => return Err(wrong("a list that is no pair".into())),
                },
                other => return Err(wrong(other.to_string())),
            };
            document.insert(name, value);
        }
        Ok(document)
    }

    /// The stored vectors of a row.
    pub(in crate::ingest) fn vectors(
        &self,
        batch: &RecordBatch,
        row: usize,
    ) -> Result<Option<StoredVectors>, Problem> {
        let Some(array) = column(batch, &self.passages).filter(|array| array.is_valid(row)) else {
            return Ok(None);
        };
        let wrong = |found: String| {
            Problem::new(
                Code::InvalidVector,
                "the vectors of an export cannot be read",
            )
            .field(&self.passages)
            .found(found)
            .expected("a list of start, end and vector")
        };
        let passages = match array.data_type() {
            DataType::List(_) => array.as_list::<i32>().value(row),
            DataType::LargeList(_) => array.as_list::<i64>().value(row),
            other => return Err(wrong(format!("a column of type {other}"))),
        };
        let members = passages
            .as_struct_opt()
            .filter(|members| members.null_count() == 0)
            .ok_or_else(|| wrong(format!("elements of type {}", passages.data_type())))?;
        let numbers = |name: &str| {
            members
                .column_by_name(name)
                .and_then(|array| array.as_primitive_opt::<UInt32Type>())
                .filter(|array| array.null_count() == 0)
                .ok_or_else(|| wrong(format!("no whole {name}")))
        };
        let (starts, ends) = (numbers("start")?, numbers("end")?);
        let vectors = members
            .column_by_name("vector")
            .ok_or_else(|| wrong("no vector".into()))?;
        let mut stored = StoredVectors {
            dimensions: self.manifest.dimensions,
            spans: Vec::with_capacity(members.len()),
            vectors: Vec::with_capacity(members.len().saturating_mul(self.manifest.dimensions)),
        };
        for passage in 0..members.len() {
            let (start, end) = (starts.value(passage), ends.value(passage));
            if start > end {
                return Err(wrong(format!("a passage from {start} to {end}")));
            }
            stored.spans.push(PassageSpan { start, end });
            let vector = match vectors.data_type() {
                _ if vectors.is_null(passage) => return Err(wrong("no vector".into())),
                DataType::FixedSizeList(..) => vectors.as_fixed_size_list().value(passage),
                DataType::List(_) => vectors.as_list::<i32>().value(passage),
                DataType::LargeList(_) => vectors.as_list::<i64>().value(passage),
                other => return Err(wrong(format!("a vector of type {other}"))),
            };
            let values = vector
                .as_primitive_opt::<Float32Type>()
                .filter(|values| {
                    values.null_count() == 0 && values.len() == self.manifest.dimensions
                })
                .ok_or_else(|| wrong(format!("a vector of {} values", vector.len())))?;
            stored.vectors.extend_from_slice(values.values());
        }
        Ok(Some(stored))
    }
}
