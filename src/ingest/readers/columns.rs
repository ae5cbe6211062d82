//! Parquet files, a batch of rows at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::LogicalType;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use serde_json::{Map, Value as Json};

use super::Item;
use super::cell::{Unfit, cell};
use crate::error::{Code, Error, Problem};
use crate::ingest::export::{Manifest, Reading};
use crate::ingest::source::Kept;
use crate::ingest::text::{open_file, stream_error};
use crate::ingest::{Mapping, footer};

/// Most rows decoded at once.
const MAX_BATCH_ROWS: i64 = 1024;
/// Decoded size that a batch aims at, by the file's own account of its rows: rows of
/// megabytes come in small batches.
const BATCH_BYTES: i64 = 8 << 20;
/// `PAR1`, the footer, its length, `PAR1`.
const SMALLEST: u64 = 12;

/// A Parquet file, read from its first row to its last.
pub(in crate::ingest) struct Columns {
    path: PathBuf,
    /// None after an error.
    reader: Option<ParquetRecordBatchReader>,
    /// The field each column of a batch becomes.
    fields: Vec<Column>,
    /// How rows are put together, in an export.
    reading: Option<Reading>,
    batch: Option<Arc<RecordBatch>>,
    /// The next row of the batch.
    next: usize,
    rows: u64,
    taken: u64,
    total: u64,
    read: Arc<AtomicU64>,
}

/// A column that is kept.
struct Column {
    name: String,
    field: String,
    /// Sixteen bytes that are a UUID.
    uuid: bool,
}

impl Columns {
    /// Opens a file and decodes its footer.
    pub(in crate::ingest) fn open(path: &Path, mapping: &Mapping) -> Result<Self, Error> {
        let (mut file, total) = open_file(path)?;
        let bytes = footer_bytes(path, &mut file, total)?;
        footer::check(&bytes).map_err(|found| {
            invalid(path, "the footer is damaged")
                .found(found)
                .expected("a Parquet footer")
        })?;
        let damaged = |found: String| -> Error {
            invalid(path, "the footer cannot be decoded")
                .found(found)
                .expected("a Parquet footer")
                .into()
        };
        let metadata = guard(|| ParquetMetaDataReader::decode_metadata(&bytes)).map_err(damaged)?;
        drop(bytes);
        let metadata = Arc::new(metadata);
        let load = |skip_arrow: bool| {
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(skip_arrow);
            guard(|| ArrowReaderMetadata::try_new(Arc::clone(&metadata), options))
        };
        // The Arrow schema some writers embed only refines the Parquet one; where the
        // two disagree the Parquet one is right.
        let arrow = load(false).or_else(|_| load(true)).map_err(damaged)?;
        let reading = Reading::of(&metadata, arrow.schema()).map_err(|mut problem| {
            problem.message = format!("{}: {}", path.display(), problem.message);
            problem
        })?;
        // Its documents bring their own names.
        let as_they_are = Mapping::default();
        let mapping = reading.as_ref().map_or(mapping, |_| &as_they_are);
        let fields = columns(path, &arrow, mapping)?;
        let kept = fields
            .iter()
            .enumerate()
            .filter_map(|(i, column)| column.is_some().then_some(i));
        let schema = arrow.metadata().file_metadata().schema_descr_ptr();
        let mask = ProjectionMask::roots(&schema, kept);
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        let reader = guard(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, arrow)
                .with_batch_size(batch_rows(&metadata))
                .with_projection(mask)
                .build()
        })
        .map_err(damaged)?;
        Ok(Columns {
            path: path.to_path_buf(),
            reader: Some(reader),
            fields: fields.into_iter().flatten().collect(),
            reading,
            batch: None,
            next: 0,
            rows,
            taken: 0,
            total,
            read: Arc::new(AtomicU64::new(0)),
        })
    }

    /// What the file says of itself, if it is an export.
    pub(in crate::ingest) fn manifest(&self) -> Option<&Manifest> {
        Some(self.reading.as_ref()?.manifest())
    }

    /// Rows, by the footer.
    pub(in crate::ingest) fn rows(&self) -> u64 {
        self.rows
    }

    /// Size of the file, in bytes.
    pub(in crate::ingest) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes read, in proportion to the rows.
    pub(in crate::ingest) fn read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    fn item(&self, batch: &Arc<RecordBatch>, row: usize) -> Item {
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

    /// Decodes the next batch.
    fn advance(&mut self) -> Result<Option<Arc<RecordBatch>>, Error> {
        let Some(reader) = self.reader.as_mut() else {
            return Ok(None);
        };
        match guard(|| reader.next().transpose()) {
            Ok(Some(batch)) => Ok(Some(Arc::new(batch))),
            Ok(None) => {
                self.reader = None;
                Ok(None)
            }
            Err(found) => {
                self.reader = None;
                Err(invalid(
                    &self.path,
                    &format!("the rows after row {} cannot be decoded", self.taken),
                )
                .found(found)
                .expected(format!("{} rows, by the footer", self.rows))
                .into())
            }
        }
    }
}

impl Iterator for Columns {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = &self.batch
                && self.next < batch.num_rows()
            {
                let item = self.item(batch, self.next);
                self.next += 1;
                self.taken += 1;
                let share = u128::from(self.total) * u128::from(self.taken.min(self.rows))
                    / u128::from(self.rows.max(1));
                self.read.store(
                    u64::try_from(share).unwrap_or(self.total),
                    Ordering::Relaxed,
                );
                return Some(Ok(item));
            }
            match self.advance() {
                Ok(Some(batch)) => {
                    self.batch = Some(batch);
                    self.next = 0;
                }
                Ok(None) => {
                    self.batch = None;
                    return None;
                }
                Err(error) => {
                    self.batch = None;
                    return Some(Err(error));
                }
            }
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
fn guard<T, E: std::fmt::Display>(run: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
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

fn invalid(path: &Path, message: &str) -> Problem {
    Problem::new(Code::InvalidFile, format!("{}: {message}", path.display()))
}

/// The encoded footer, after a look at the magic numbers around the file.
fn footer_bytes(path: &Path, file: &mut File, total: u64) -> Result<Vec<u8>, Error> {
    let not_parquet = |found: String| -> Error {
        invalid(path, "this is not a whole Parquet file")
            .found(found)
            .expected("a file that begins and ends with PAR1")
            .into()
    };
    if total == 0 {
        return Err(not_parquet("an empty file (0 bytes)".into()));
    }
    let read = |file: &mut File, at: u64, buffer: &mut [u8]| {
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(buffer))
            .map_err(|error| stream_error(path, error))
    };
    let mut head = [0u8; 4];
    if total >= 4 {
        read(file, 0, &mut head)?;
    }
    if head == *b"PARE" {
        return Err(not_parquet("an encrypted footer (PARE)".into()));
    }
    if head != *b"PAR1" {
        return Err(not_parquet(format!(
            "{total} bytes that begin with {:?}",
            String::from_utf8_lossy(&head)
        )));
    }
    if total < SMALLEST {
        return Err(not_parquet(format!("{total} bytes")));
    }
    let mut tail = [0u8; 8];
    read(file, total - 8, &mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    if magic == *b"PARE" {
        return Err(not_parquet("an encrypted footer (PARE)".into()));
    }
    if magic != *b"PAR1" {
        return Err(not_parquet(
            "a file that begins with PAR1 and does not end with it: it is cut short".into(),
        ));
    }
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if length > total - SMALLEST {
        return Err(not_parquet(format!(
            "a footer of {length} bytes in a file of {total}"
        )));
    }
    // Bounded by the size of the file, just above.
    let mut bytes = vec![0; length as usize];
    read(file, total - 8 - length, &mut bytes)?;
    Ok(bytes)
}

/// The root columns of a file; None where the mapping leaves one out.
fn columns(
    path: &Path,
    arrow: &ArrowReaderMetadata,
    mapping: &Mapping,
) -> Result<Vec<Option<Column>>, Error> {
    let names: Vec<String> = arrow
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let schema = arrow.metadata().file_metadata().schema_descr_ptr();
    let roots = schema.root_schema().get_fields();
    if roots.len() != names.len() {
        return Err(invalid(path, "the footer contradicts itself")
            .found(format!("{} and {} columns", roots.len(), names.len()))
            .expected("one schema")
            .into());
    }
    let fields = mapping.header(&names).map_err(|mut problem| {
        problem.message = format!("{}: {}", path.display(), problem.message);
        problem
    })?;
    Ok(names
        .into_iter()
        .zip(fields)
        .zip(roots)
        .map(|((name, field), root)| {
            field.map(|field| Column {
                name,
                field,
                uuid: root.get_basic_info().logical_type_ref() == Some(&LogicalType::Uuid),
            })
        })
        .collect())
}

/// Rows to decode at once, by the footer's account of the largest ones.
fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let largest = metadata
        .row_groups()
        .iter()
        .map(|group| group.total_byte_size().max(0) / group.num_rows().max(1))
        .max()
        .unwrap_or(0);
    (BATCH_BYTES / largest.max(1)).clamp(1, MAX_BATCH_ROWS) as usize
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
