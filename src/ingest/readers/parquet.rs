//! Parquet files, a row group at a time.
//!
//! Damage costs the rows that it lies in. Where a batch cannot be decoded, the rest of its
//! row group is read again with strings taken as bytes, so that a string that is not UTF-8
//! is one row's problem, and then row by row; what cannot be read even so is one [`Item`]
//! that stands for the rest of the row group, and the next row group is read.
//!
//! What a batch takes in memory does not follow from its size in the file: strings are views
//! of the pages that they lie in, so that one that comes a thousand times is held once, and
//! the pages of a column that a batch needs are refused past `max_batch_bytes`, by what their
//! headers state. Then it is read with fewer rows, see above.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, FieldRef, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{LogicalType, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::cell::cell;
use super::columns::{Column, Columns, guard};
use super::pages::Pages;
use super::{Item, Place, Reader};
use crate::error::{Code, Error, Problem};
use crate::ingest::export::{Manifest, Reading};
use crate::ingest::mapping::{Extent, RowFilter};
use crate::ingest::ranges::Ranges;
use crate::ingest::source::Kept;
use crate::ingest::{Mapping, Position, footer};

/// Most rows decoded at once.
const MAX_BATCH_ROWS: i64 = 1024;
/// Decoded size that a batch aims at, by the file's own account of its rows: rows of
/// megabytes come in small batches.
const BATCH_BYTES: i64 = 8 << 20;
/// `PAR1`, the footer, its length, `PAR1`.
const SMALLEST: u64 = 12;

/// A Parquet file, read from one of its rows to its last.
pub(in crate::ingest) struct ParquetRows {
    ranges: Ranges,
    arrow: ArrowReaderMetadata,
    mask: ProjectionMask,
    columns: Columns,
    batch_rows: usize,
    pages: Pages,
    /// The row group that is read, and how.
    group: usize,
    way: Way,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows of the row group that were decoded.
    decoded: u64,
    batch: Option<Arc<RecordBatch>>,
    /// The next row of the batch.
    next: usize,
    /// Where the batch begins.
    start: Place,
    /// Whether a row group may hold rows that are wanted.
    wanted: Vec<bool>,
    /// Rows before each row group, and at the end all of them, by the footer.
    before: Vec<u64>,
    read: Arc<AtomicU64>,
}

/// How a row group is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Batches,
    /// With strings as bytes, which are looked at row by row.
    Bytes,
    /// The same, in batches of one row.
    Rows,
}

impl ParquetRows {
    /// Opens a file and decodes its footer.
    pub(in crate::ingest) fn open(
        ranges: Ranges,
        mapping: &Mapping,
        limit: usize,
    ) -> Result<Self, Error> {
        let path = ranges.name();
        let metadata = Arc::new(footer_of(&ranges)?);
        let damaged = |found| undecodable(path, found);
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
        let wanted = match &mapping.filter {
            Some(filter) => guard::<_, Infallible>(|| Ok(wanted(&arrow, filter))),
            None => Err(String::new()),
        };
        // Where statistics cannot be read, the rows can.
        let wanted = wanted.unwrap_or_else(|_| vec![true; metadata.num_row_groups()]);
        let kept = fields
            .iter()
            .enumerate()
            .filter_map(|(i, column)| column.is_some().then_some(i));
        let schema = arrow.metadata().file_metadata().schema_descr_ptr();
        let mask = ProjectionMask::roots(&schema, kept);
        let mut before = vec![0];
        for group in metadata.row_groups() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            before.push(before.last().unwrap_or(&0_u64).saturating_add(rows));
        }
        // Where that does not fit together, strings are copied.
        let arrow = hinted(&arrow, views).unwrap_or(arrow);
        Ok(ParquetRows {
            batch_rows: batch_rows(&metadata),
            pages: Pages::new(ranges.clone(), limit),
            arrow,
            mask,
            columns: Columns {
                fields: fields.into_iter().flatten().collect(),
                reading,
                vector: None,
            },
            group: 0,
            way: Way::Batches,
            reader: None,
            decoded: 0,
            batch: None,
            next: 0,
            start: Place {
                position: Position::default(),
                number: 1,
            },
            wanted,
            before,
            ranges,
            read: Arc::new(AtomicU64::new(0)),
        })
    }

    /// What the file says of itself, if it is an export.
    pub(in crate::ingest) fn manifest(&self) -> Option<&Manifest> {
        Some(self.columns.reading.as_ref()?.manifest())
    }

    /// Rows, by the footer.
    pub(in crate::ingest) fn rows(&self) -> u64 {
        self.before.last().copied().unwrap_or(0)
    }

    /// Reads the column of a field as the documents' vectors; see [`Columns::vector`].
    pub(in crate::ingest) fn bring_vectors(&mut self, field: Option<&String>) {
        self.columns.vector = field.cloned();
    }

    /// Size of the file, in bytes.
    pub(in crate::ingest) fn total(&self) -> u64 {
        self.ranges.total()
    }

    /// Bytes read, in proportion to the rows.
    pub(in crate::ingest) fn read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Rows of the row group that is read, by the footer.
    fn rows_of_group(&self) -> u64 {
        self.before[self.group + 1] - self.before[self.group]
    }

    /// Where the next row to decode lies.
    fn place(&self) -> Place {
        Place {
            position: Position {
                row_group: self.group as u64,
                row: self.decoded,
            },
            number: self.before[self.group] + self.decoded + 1,
        }
    }

    fn next_group(&mut self) {
        self.group += 1;
        self.decoded = 0;
        self.way = Way::Batches;
        self.reader = None;
    }

    /// Opens the row group behind what was decoded of it.
    fn enter(&self) -> Result<ParquetRecordBatchReader, String> {
        let (arrow, rows) = match self.way {
            Way::Batches => (self.arrow.clone(), self.batch_rows),
            // An export is put together by columns that have to be strings.
            _ if self.columns.reading.is_some() => (self.arrow.clone(), 1),
            Way::Bytes => (as_bytes(&self.arrow)?, self.batch_rows),
            Way::Rows => (as_bytes(&self.arrow)?, 1),
        };
        let columns = self.parts();
        self.ranges
            .expect(columns.iter().map(|(part, _)| part.clone()).collect());
        let pages = self.pages.of(columns);
        // Of machine size wherever there is memory for a row group.
        let offset = usize::try_from(self.decoded).unwrap_or(usize::MAX);
        guard(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(pages, arrow)
                .with_batch_size(rows)
                .with_projection(self.mask.clone())
                .with_row_groups(vec![self.group])
                .with_offset(offset)
                .build()
        })
    }

    /// Where the columns that are read lie, and whether they are lists.
    fn parts(&self) -> Vec<(Range<u64>, bool)> {
        let group = self.arrow.metadata().row_group(self.group);
        let columns = group.columns().iter().enumerate();
        columns
            .filter(|(leaf, _)| self.mask.leaf_included(*leaf))
            .filter_map(|(_, column)| {
                // What a damaged footer says is not always a range.
                let (start, length) = guard::<_, Infallible>(|| Ok(column.byte_range())).ok()?;
                let is_list = column.column_descr().max_rep_level() > 0;
                Some((start..start.checked_add(length)?, is_list))
            })
            .collect()
    }

    /// Decodes the next batch, or says which rows cannot be.
    fn advance(&mut self) -> Result<Option<Advance>, Error> {
        while self.group + 1 < self.before.len() {
            let is_wanted = self.wanted[self.group];
            if self.reader.is_none() && (!is_wanted || self.decoded >= self.rows_of_group()) {
                self.next_group();
                continue;
            }
            let decoded = match self.reader.as_mut() {
                Some(reader) => {
                    self.pages.begin_batch();
                    guard(|| reader.next().transpose())
                }
                None => match self.enter() {
                    Ok(reader) => {
                        self.reader = Some(reader);
                        continue;
                    }
                    Err(found) => Err(found),
                },
            };
            if let Some(trouble) = self.ranges.trouble() {
                return Err(trouble);
            }
            let found = match decoded {
                Ok(Some(batch)) if batch.num_rows() > 0 => {
                    self.start = self.place();
                    self.decoded += batch.num_rows() as u64;
                    return Ok(Some(Advance::Batch(Arc::new(batch))));
                }
                _ if self.decoded >= self.rows_of_group() => {
                    self.next_group();
                    continue;
                }
                Ok(_) => format!("the row group ends after {} rows", self.decoded),
                Err(found) => found,
            };
            self.reader = None;
            match self.way {
                Way::Batches => self.way = Way::Bytes,
                Way::Bytes => self.way = Way::Rows,
                Way::Rows => {
                    let lost = self.lost(found);
                    self.next_group();
                    return Ok(Some(Advance::Lost(Box::new(lost))));
                }
            }
        }
        Ok(None)
    }

    /// The rest of a row group that cannot be decoded.
    fn lost(&self, found: String) -> Item {
        let rows = self.rows_of_group().saturating_sub(self.decoded);
        Item {
            place: Some(self.place()),
            rows,
            line: None,
            json: Err(Problem::new(
                Code::InvalidFile,
                format!(
                    "{} rows of row group {}, from its row {} on, cannot be decoded",
                    rows,
                    self.group,
                    self.decoded + 1
                ),
            )
            .found(found)
            .expected(format!("{} rows, by the footer", self.rows_of_group()))),
            vectors: None,
            kept: Kept::Text(Vec::new()),
        }
    }

    fn report(&self, number: u64, rows: u64) {
        let (total, all) = (self.ranges.total(), self.rows().max(1));
        let done = (number - 1).saturating_add(rows).min(all);
        let share = u128::from(total) * u128::from(done) / u128::from(all);
        let share = u64::try_from(share).unwrap_or(total);
        self.read.store(share, Ordering::Relaxed);
    }
}

/// What comes next of a file.
enum Advance {
    Batch(Arc<RecordBatch>),
    Lost(Box<Item>),
}

impl Reader for ParquetRows {
    /// Without decoding the row groups before.
    fn seek(&mut self, from: Position) -> Result<bool, Error> {
        let groups = self.before.len() - 1;
        self.group = usize::try_from(from.row_group).map_or(groups, |group| group.min(groups));
        self.decoded = from.row;
        self.way = Way::Batches;
        (self.reader, self.batch) = (None, None);
        Ok(true)
    }
}

impl Iterator for ParquetRows {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = &self.batch
                && self.next < batch.num_rows()
            {
                let mut place = self.start;
                place.position.row += self.next as u64;
                place.number += self.next as u64;
                let item = self.columns.item(batch, self.next, place);
                self.next += 1;
                self.report(place.number, 1);
                return Some(Ok(item));
            }
            self.batch = None;
            match self.advance() {
                Ok(Some(Advance::Batch(batch))) => {
                    self.batch = Some(batch);
                    self.next = 0;
                }
                Ok(Some(Advance::Lost(item))) => {
                    let number = item.place.map_or(1, |place| place.number);
                    self.report(number, item.rows);
                    return Some(Ok(*item));
                }
                Ok(None) => return None,
                Err(error) => {
                    self.group = self.before.len() - 1;
                    self.reader = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// What the statistics of a column say, by the row group.
struct Bounds {
    is_date: bool,
    mins: ArrayRef,
    maxes: ArrayRef,
    nulls: UInt64Array,
    /// Whether the values lie within the bounds.
    is_known: Vec<bool>,
}

/// Which row groups may hold rows that are wanted, by their statistics.
fn wanted(arrow: &ArrowReaderMetadata, filter: &RowFilter) -> Vec<bool> {
    let groups = arrow.metadata().row_groups();
    let schema = arrow.metadata().file_metadata().schema_descr();
    let bounds = |column: &str| -> Option<Bounds> {
        let kind = arrow.schema().field_with_name(column).ok()?.data_type();
        let is_date = matches!(kind, DataType::Date32 | DataType::Timestamp(..));
        // Decimals are numbers or strings, by their lengths.
        let is_ordered = kind.is_integer()
            || kind.is_floating()
            || matches!(
                kind,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            );
        if !is_date && !is_ordered {
            return None;
        }
        let statistics = StatisticsConverter::try_new(column, arrow.schema(), schema).ok()?;
        // Bounds of the kind that was deprecated are by signed bytes, whatever the values are.
        let is_signed = is_date || kind.is_signed_integer() || kind.is_floating();
        let leaf = statistics.parquet_column_index()?;
        let is_known = |group: &RowGroupMetaData| {
            let statistics = group.column(leaf).statistics();
            is_signed || statistics.is_some_and(|known| !known.is_min_max_deprecated())
        };
        Some(Bounds {
            is_date,
            mins: statistics.row_group_mins(groups).ok()?,
            maxes: statistics.row_group_maxes(groups).ok()?,
            nulls: statistics.row_group_null_counts(groups).ok()?,
            is_known: groups.iter().map(is_known).collect(),
        })
    };
    let columns = filter.columns();
    let bounds: HashMap<&str, _> = columns
        .into_iter()
        .filter_map(|column| Some((column, bounds(column)?)))
        .collect();
    (0..groups.len())
        .map(|group| {
            filter.may_match(&|column| {
                let bounds = bounds.get(column)?;
                let rows = u64::try_from(groups[group].num_rows()).unwrap_or(0);
                let bound = |all: &ArrayRef| {
                    let known = bounds.is_known[group].then(|| cell(all.as_ref(), group));
                    known?.ok().flatten()
                };
                Some(Extent {
                    min: bound(&bounds.mins),
                    max: bound(&bounds.maxes),
                    is_null: bounds.nulls.is_valid(group) && bounds.nulls.value(group) >= rows,
                    is_date: bounds.is_date,
                })
            })
        })
        .collect()
}

/// The same file with its strings as bytes.
fn as_bytes(arrow: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata, String> {
    let metadata = arrow.metadata();
    let file = metadata.file_metadata();
    let schema = file.schema_descr().root_schema();
    let schema = unmarked(schema).map_err(|error| error.to_string())?;
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_string),
        None,
        Arc::new(SchemaDescriptor::new(schema)),
        None,
    );
    let metadata = Arc::new(ParquetMetaData::new(file, metadata.row_groups().to_vec()));
    let hinted: Vec<FieldRef> = arrow.schema().fields().iter().map(bytes_field).collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(hinted)));
    let hinted = guard(|| ArrowReaderMetadata::try_new(Arc::clone(&metadata), options));
    hinted.or_else(|_| {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        guard(|| ArrowReaderMetadata::try_new(metadata, options))
    })
}

/// A Parquet type without the marks that say that bytes are a string.
fn unmarked(kind: &Type) -> Result<TypePtr, ParquetError> {
    let info = kind.get_basic_info();
    Ok(Arc::new(match kind {
        Type::PrimitiveType {
            physical_type: Physical::BYTE_ARRAY,
            ..
        } if matches!(
            info.logical_type_ref(),
            None | Some(LogicalType::String | LogicalType::Json | LogicalType::Enum)
        ) =>
        {
            Type::primitive_type_builder(info.name(), Physical::BYTE_ARRAY)
                .with_repetition(info.repetition())
                .with_id(info.has_id().then(|| info.id()))
                .build()?
        }
        Type::PrimitiveType { .. } => kind.clone(),
        Type::GroupType { fields, .. } => {
            let fields = fields
                .iter()
                .map(|field| unmarked(field))
                .collect::<Result<_, _>>()?;
            let group = Type::group_type_builder(info.name())
                .with_fields(fields)
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_id(info.has_id().then(|| info.id()));
            match info.has_repetition() {
                true => group.with_repetition(info.repetition()).build()?,
                false => group.build()?,
            }
        }
    }))
}

/// An Arrow field with bytes in the place of strings.
fn bytes_field(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::BinaryView,
        DataType::Dictionary(_, values)
            if matches!(
                **values,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            ) =>
        {
            DataType::BinaryView
        }
        _ => return nested(field, bytes_field),
    };
    Arc::new(field.as_ref().clone().with_data_type(kind))
}

/// An Arrow field with views in the place of strings and bytes, also of dictionaries of them.
fn views(field: &FieldRef) -> FieldRef {
    fn view(kind: &DataType) -> Option<DataType> {
        match kind {
            DataType::Utf8 | DataType::LargeUtf8 => Some(DataType::Utf8View),
            DataType::Binary | DataType::LargeBinary => Some(DataType::BinaryView),
            DataType::Dictionary(_, values) => view(values),
            _ => None,
        }
    }
    match view(field.data_type()) {
        Some(kind) => Arc::new(field.as_ref().clone().with_data_type(kind)),
        None => nested(field, views),
    }
}

/// A field whose own fields, if it has any, are changed.
fn nested(field: &FieldRef, change: fn(&FieldRef) -> FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::List(item) => DataType::List(change(item)),
        DataType::LargeList(item) => DataType::LargeList(change(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(change(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(change).collect()),
        DataType::Map(entries, sorted) => DataType::Map(change(entries), *sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(kind))
}

/// The same file with its fields read as others.
fn hinted(
    arrow: &ArrowReaderMetadata,
    change: fn(&FieldRef) -> FieldRef,
) -> Result<ArrowReaderMetadata, String> {
    let fields: Vec<FieldRef> = arrow.schema().fields().iter().map(change).collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    guard(|| ArrowReaderMetadata::try_new(Arc::clone(arrow.metadata()), options))
}

fn invalid(path: &Path, message: &str) -> Problem {
    Problem::new(Code::InvalidFile, format!("{}: {message}", path.display()))
}

/// The footer of a Parquet file.
///
/// # Errors
/// `invalid_file` for one that no decoder may be given, or that it refuses; operator errors of
/// the disk and the store.
pub(in crate::ingest) fn footer_of(ranges: &Ranges) -> Result<ParquetMetaData, Error> {
    let bytes = footer_bytes(ranges)?;
    footer::check(&bytes).map_err(|found| {
        invalid(ranges.name(), "the footer is damaged")
            .found(found)
            .expected("a Parquet footer")
    })?;
    guard(|| ParquetMetaDataReader::decode_metadata(&bytes))
        .map_err(|found| undecodable(ranges.name(), found))
}

fn undecodable(path: &Path, found: String) -> Error {
    invalid(path, "the footer cannot be decoded")
        .found(found)
        .expected("a Parquet footer")
        .into()
}

/// The encoded footer, after a look at the magic numbers around the file.
fn footer_bytes(ranges: &Ranges) -> Result<bytes::Bytes, Error> {
    let (path, total) = (ranges.name(), ranges.total());
    let not_parquet = |found: String| -> Error {
        invalid(path, "this is not a whole Parquet file")
            .found(found)
            .expected("a file that begins and ends with PAR1")
            .into()
    };
    if total == 0 {
        return Err(not_parquet("an empty file (0 bytes)".into()));
    }
    let read = |at: u64, length: usize| {
        ranges.bytes(at, length).map_err(|error| {
            let trouble = ranges.trouble();
            trouble.unwrap_or_else(|| not_parquet(error.to_string()))
        })
    };
    let head = read(0, total.min(4) as usize)?;
    if *head == *b"PARE" {
        return Err(not_parquet("an encrypted footer (PARE)".into()));
    }
    if *head != *b"PAR1" {
        return Err(not_parquet(format!(
            "{total} bytes that begin with {:?}",
            String::from_utf8_lossy(&head)
        )));
    }
    if total < SMALLEST {
        return Err(not_parquet(format!("{total} bytes")));
    }
    let tail = read(total - 8, 8)?;
    let (length, magic) = tail.split_at(4);
    if *magic == *b"PARE" {
        return Err(not_parquet("an encrypted footer (PARE)".into()));
    }
    if *magic != *b"PAR1" {
        return Err(not_parquet(
            "a file that begins with PAR1 and does not end with it: it is cut short".into(),
        ));
    }
    let length = length
        .iter()
        .rev()
        .fold(0, |n, &byte| n << 8 | u64::from(byte));
    if length > total - SMALLEST {
        return Err(not_parquet(format!(
            "a footer of {length} bytes in a file of {total}"
        )));
    }
    // Of 32 bits, and bounded by the size of the file, just above.
    read(total - 8 - length, length as usize)
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

/// Rows to decode at once, by the footer's account of the largest ones. Values of a fixed length
/// are copied, also those that lie in the file only once.
fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let largest = metadata
        .row_groups()
        .iter()
        .map(|group| {
            let copied = group.columns().iter().map(|column| {
                let length = column.column_descr().type_length().max(0);
                column.num_values().max(0).saturating_mul(length.into())
            });
            let copied = copied.fold(0, i64::saturating_add);
            group.total_byte_size().max(copied) / group.num_rows().max(1)
        })
        .max()
        .unwrap_or(0);
    (BATCH_BYTES / largest.max(1)).clamp(1, MAX_BATCH_ROWS) as usize
}
