//! One file as a stream of rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::export::PASSAGES;
use super::mapping::{Applied, operation_of};
use super::ranges::{Onward, Ranges};
use super::readers::Place;
use super::readers::{self, Item, Items};
use super::text::{Stream, Text};
use super::{Format, Input, Manifest, Mapping, Operation, Position};
use crate::error::{Code, Error, Problem};
use crate::objects;
use crate::store::StoredVectors;

/// Longest row of a text file unless the options say otherwise: 32 MiB.
pub const DEFAULT_MAX_ROW_BYTES: usize = 32 << 20;

/// Rows that are passed over before that is told.
const PASSED_AT_ONCE: u64 = 4096;

/// Largest record batch unless the options say otherwise: 256 MiB.
pub const DEFAULT_MAX_BATCH_BYTES: usize = 256 << 20;

/// How a file is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceOptions {
    /// What the file holds; None goes by its name.
    pub format: Option<Format>,
    /// Longest row of a text file, in bytes. A longer one is rejected without ever
    /// being held in memory whole.
    pub max_row_bytes: usize,
    /// Largest record batch of an Arrow file, and largest page of a Parquet file, in bytes, as
    /// it lies and decompressed: one is decoded at once. The rows of a larger one are rejected.
    pub max_batch_bytes: usize,
    /// Columns renamed and left out.
    pub mapping: Mapping,
    /// The field that carries documents' vectors: a column of lists of floats that becomes it
    /// is given as [`Row::vectors`], and is not in the object. Known only once there is an index.
    #[serde(skip)]
    pub vector_field: Option<String>,
    /// Folders, by their real paths, in which files have to lie that are opened, wherever links
    /// lead; None for any place. Objects lie in none.
    #[serde(skip)]
    pub within: Option<Vec<PathBuf>>,
}

impl Default for SourceOptions {
    fn default() -> Self {
        SourceOptions {
            format: None,
            max_row_bytes: DEFAULT_MAX_ROW_BYTES,
            max_batch_bytes: DEFAULT_MAX_BATCH_BYTES,
            mapping: Mapping::default(),
            vector_field: None,
            within: None,
        }
    }
}

/// One row of a file.
#[derive(Debug)]
pub struct Row {
    /// Its number in the file, from 1; headers and blank lines do not count.
    pub number: u64,
    /// Where it lies: reading can go on from here, with this row as the first one.
    pub position: Position,
    /// Rows that it stands for: more than one where a group of rows cannot be read, all of
    /// which are lost then and `json` says why.
    pub rows: u64,
    /// What it asks for.
    pub operation: Operation,
    /// The line it starts on, from 1; text formats only.
    pub line: Option<u64>,
    /// Always an object, under the names of the mapping; or why it is none.
    pub json: Result<Json, Problem>,
    /// Vectors that the document had in the index it was exported from; or the one that it
    /// brings, see [`SourceOptions::vector_field`].
    pub vectors: Option<StoredVectors>,
    /// The row as the file has it.
    pub original: Original,
}

impl Row {
    /// Where reading goes on behind it.
    pub fn next(&self) -> Position {
        Position {
            row: self.position.row.saturating_add(self.rows),
            ..self.position
        }
    }
}

/// A row as its file has it, kept for the rejects file and only written out there.
#[derive(Debug, Clone)]
pub struct Original(pub(super) Kept);

/// What is kept of a row.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    /// The bytes of a line or of a JSON value.
    Text(Vec<u8>),
    /// The first bytes of a row that was too long to be held.
    Start(Vec<u8>),
    /// The cells of a delimited row.
    Cells(csv::ByteRecord, u8),
    /// A row of a batch that other rows share.
    Columns(Arc<RecordBatch>, usize),
}

impl Original {
    /// Of nothing.
    pub(super) fn none() -> Original {
        Original(Kept::Text(Vec::new()))
    }

    /// The row as text: the line or value itself, cells with their delimiters, or a
    /// Parquet row as JSON. Bytes that are not UTF-8 become U+FFFD; what JSON cannot
    /// express becomes a string that describes it. Only the start of a row past
    /// `max_row_bytes`.
    pub fn text(&self) -> String {
        match &self.0 {
            Kept::Text(bytes) | Kept::Start(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Kept::Cells(record, delimiter) => readers::delimited_text(record, *delimiter),
            Kept::Columns(batch, row) => readers::columns_text(batch, *row),
        }
    }

    /// Whether [`text`](Original::text) is all of it.
    pub fn is_whole(&self) -> bool {
        !matches!(self.0, Kept::Start(_))
    }
}

/// An open file; iterate to read it.
///
/// An `Err` item ends the file: it is the last item. The rows before it are good, unless it
/// says that the file was changed meanwhile.
pub struct Source {
    path: PathBuf,
    format: Format,
    items: Option<Items>,
    /// Applied here for formats whose rows each bring their own keys.
    mapping: Option<Applied>,
    /// What the file says of itself, if it is an export.
    manifest: Option<Manifest>,
    rows: u64,
    rows_hint: Option<u64>,
    bytes_total: u64,
    bytes_read: Arc<AtomicU64>,
    /// Rows of a text that are still to be read over.
    to_pass: u64,
    /// What is read, and what it has to be at the end as at the beginning.
    ranges: Ranges,
    input: Option<Input>,
}

/// What comes next of a file.
#[allow(clippy::large_enum_variant)] // nearly all are the large one
pub(super) enum Step {
    Row(Row),
    /// Rows that nobody wants were passed over, up to this place; None where they lie before
    /// the place where reading was to begin.
    Passed(Option<Position>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens `path` and checks what can be checked at once: that it is a file, of its
    /// format, with its header or footer intact.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] with the path, what was found and what was expected: no
    /// such file, a directory, a name that tells no format, a file of another format,
    /// one cut short, one of zero bytes (Parquet and delimited text need a header; JSON
    /// files of zero bytes have no rows and a warning is logged), a header with two
    /// columns of one name, a renamed column that is missing.
    /// [`Error::Operator`] if it may not be read or the disk fails.
    pub fn open(path: &Path, options: &SourceOptions) -> Result<Source, Error> {
        Source::begin(path, options)
    }

    /// Opens an input as [`open`](Source::open) does a file, and goes to a place in it that a
    /// row gave: [`Row::position`] or [`Row::next`]. Groups of rows that lie before are not
    /// decoded; text is read over, from its beginning.
    ///
    /// # Errors
    /// Those of [`open`](Source::open); [`Code::InputChanged`] where the file is not what the
    /// input says any more, or is gone, also as the last item where it changes while it is
    /// read; [`Code::SourceNotPermitted`] where it does not lie where it has to.
    pub fn open_at(
        input: &Input,
        options: &SourceOptions,
        from: Position,
    ) -> Result<Source, Error> {
        let opened = Source::begin(Path::new(input.location()), options);
        let mut source = match opened {
            Ok(source) => source,
            // One that is gone or is written anew is not damaged.
            Err(Error::User(problem)) if problem.code == Code::InvalidFile => {
                match input.again() {
                    Ok(now) => input.check_same(now.fingerprint())?,
                    Err(Error::User(now)) => {
                        return Err(input.changed(now.found.unwrap_or_default()).into());
                    }
                    Err(error) => return Err(error),
                }
                return Err(Error::User(problem));
            }
            Err(error) => return Err(error),
        };
        input.check_same(&source.ranges.fingerprint()?)?;
        source.input = Some(input.clone());
        if let Some(items) = source
            .items
            .as_mut()
            .filter(|_| from != Position::default())
        {
            match items.seek(from)? {
                true => source.rows = from.row,
                false => source.to_pass = from.row,
            }
        }
        Ok(source)
    }

    fn begin(path: &Path, options: &SourceOptions) -> Result<Source, Error> {
        let format = match options.format.or_else(|| Format::of(path)) {
            Some(format) => format,
            None => {
                // A missing file is the better message where both hold.
                if !path.to_str().is_some_and(objects::is_url) {
                    super::text::open_file(path)?;
                }
                return Err(Problem::new(
                    Code::InvalidFile,
                    format!("{}: the name does not tell the format", path.display()),
                )
                .field("format")
                .found(path.file_name().unwrap_or_default().to_string_lossy())
                .expected(Format::ENDINGS)
                .into());
            }
        };
        let ranges = Ranges::open(path)?;
        if let Some(folders) = &options.within
            && !ranges.is_within(folders)
        {
            return Err(Problem::new(
                Code::SourceNotPermitted,
                "jobs of the API may not read from there",
            )
            .field("inputs")
            .found(path.display())
            .expected("a file that lies in one of the folders of ingest.sources")
            .into());
        }
        let mapping = options.mapping.clone();
        let by_row = match mapping.is_empty() {
            true => None,
            false => Some(Applied::new(&mapping)?),
        };
        if format == Format::Parquet {
            let limit = options.max_batch_bytes;
            let mut columns = readers::ParquetRows::open(ranges.clone(), &mapping, limit)?;
            columns.bring_vectors(options.vector_field.as_ref().filter(|_| mapping.is_plain()));
            let read = columns.read();
            let manifest = columns.manifest().cloned();
            let bytes_total = columns.total();
            return Ok(Source {
                path: path.to_path_buf(),
                format,
                rows_hint: Some(columns.rows()),
                items: Some(Box::new(columns)),
                mapping: by_row.filter(|_| manifest.is_some() || !mapping.is_plain()),
                manifest,
                rows: 0,
                bytes_total,
                bytes_read: read,
                to_pass: 0,
                ranges,
                input: None,
            });
        }
        if format == Format::Arrow {
            let limit = options.max_batch_bytes;
            let mut rows = readers::ArrowRows::open(ranges.clone(), &mapping, limit)?;
            rows.bring_vectors(options.vector_field.as_ref().filter(|_| mapping.is_plain()));
            let (bytes_total, bytes_read) = (rows.total(), rows.read());
            return Ok(Source {
                path: path.to_path_buf(),
                format,
                items: Some(Box::new(rows)),
                mapping: by_row.filter(|_| !mapping.is_plain()),
                manifest: None,
                rows: 0,
                rows_hint: None,
                bytes_total,
                bytes_read,
                to_pass: 0,
                ranges,
                input: None,
            });
        }
        let stream: Stream = match ranges.file()? {
            Some(file) => Box::new(file),
            None => Box::new(Onward::through(ranges.clone(), 0)),
        };
        let text = Text::of(path, stream, ranges.total())?;
        let (total, read) = (text.total, Arc::clone(&text.read));
        let limit = options.max_row_bytes.max(1);
        let own_keys = matches!(format, Format::Json | Format::Jsonl) || !mapping.is_plain();
        let items: Items = match format {
            Format::Jsonl => readers::json_lines(text, limit),
            Format::Csv => readers::delimited(text, b',', limit, &mapping)?,
            Format::Tsv => readers::delimited(text, b'\t', limit, &mapping)?,
            Format::Json | Format::Parquet | Format::Arrow => readers::json(text, limit),
        };
        Ok(Source {
            path: path.to_path_buf(),
            format,
            items: Some(items),
            mapping: by_row.filter(|_| own_keys),
            manifest: None,
            rows: 0,
            rows_hint: None,
            bytes_total: total,
            bytes_read: read,
            to_pass: 0,
            ranges,
            input: None,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What the file says of itself, if it is an export.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Rows in the file, where that is known without reading it (Parquet).
    pub fn rows_hint(&self) -> Option<u64> {
        self.rows_hint
    }

    /// Size of the file on disk, in bytes.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// Bytes of the file read so far, before decompression; read ahead by some hundred
    /// kilobytes. For Parquet the size in proportion to the rows read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// The place behind it for one that is not wanted.
    fn row(&mut self, item: Item) -> Result<Row, Position> {
        self.rows += 1;
        let Place { position, number } = item.place.unwrap_or(Place {
            position: Position {
                row_group: 0,
                row: self.rows - 1,
            },
            number: self.rows,
        });
        if let (Some(mapping), Ok(object)) = (&self.mapping, &item.json)
            && !mapping.wants(object)
        {
            return Err(Position {
                row: position.row.saturating_add(item.rows),
                ..position
            });
        }
        let mut operation = Operation::default();
        let json = item.json.and_then(|mut object: Map<String, Json>| {
            if let Some(column) = self.mapping.as_ref().and_then(Applied::operation) {
                operation = operation_of(column, &mut object)?;
            }
            let object = match &self.mapping {
                Some(mapping) => mapping.apply(object)?,
                None => object,
            };
            Ok(Json::Object(object))
        });
        let is_left_out = |mapping: &Applied| mapping.field(PASSAGES).is_none();
        Ok(Row {
            number,
            position,
            rows: item.rows,
            operation,
            line: item.line,
            json,
            vectors: item
                .vectors
                .filter(|_| !self.mapping.as_ref().is_some_and(is_left_out)),
            original: Original(item.kept),
        })
    }
}

impl Source {
    /// The next row, or a mark now and then where rows are passed over.
    pub(super) fn step(&mut self) -> Option<Result<Step, Error>> {
        let mut passed = 0;
        let mut behind = None;
        while passed < PASSED_AT_ONCE {
            let items = self.items.as_mut()?;
            let next = match self.to_pass {
                0 => items.next().map(|item| item.map(Some)),
                _ => items.pass_over().map(|passed| passed.map(|()| None)),
            };
            match next {
                Some(Ok(None)) => {
                    self.to_pass -= 1;
                    self.rows += 1;
                }
                Some(Ok(Some(item))) if item.rows == 0 => return Some(Ok(Step::Passed(None))),
                Some(Ok(Some(item))) => match self.row(item) {
                    Ok(row) => return Some(Ok(Step::Row(row))),
                    Err(place) => behind = Some(place),
                },
                Some(Err(error)) => {
                    self.items = None;
                    // What the machine says is not of the file.
                    let error = match error {
                        Error::User(_) => self.check_same().err().unwrap_or(error),
                        error => error,
                    };
                    return Some(Err(error));
                }
                None => {
                    self.items = None;
                    return self.check_same().err().map(Err);
                }
            }
            passed += 1;
        }
        Some(Ok(Step::Passed(behind)))
    }

    /// Whether the file is still what it was; of an object each answer has told.
    fn check_same(&self) -> Result<(), Error> {
        match &self.input {
            Some(input) => Ok(input.check_same(&self.ranges.fingerprint()?)?),
            None => Ok(()),
        }
    }
}

impl Iterator for Source {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step()? {
                Ok(Step::Row(row)) => return Some(Ok(row)),
                Ok(Step::Passed(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
