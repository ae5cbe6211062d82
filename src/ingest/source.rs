//! One file as a stream of rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::export::PASSAGES;
use super::readers::{self, Item, Items};
use super::{Format, Manifest, Mapping, Text};
use crate::error::{Code, Error, Problem};
use crate::store::StoredVectors;

/// Longest row of a text file unless the options say otherwise: 32 MiB.
pub const DEFAULT_MAX_ROW_BYTES: usize = 32 << 20;

/// How a file is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceOptions {
    /// What the file holds; None goes by its name.
    pub format: Option<Format>,
    /// Longest row of a text file, in bytes. A longer one is rejected without ever
    /// being held in memory whole.
    pub max_row_bytes: usize,
    /// Columns renamed and left out.
    pub mapping: Mapping,
}

impl Default for SourceOptions {
    fn default() -> Self {
        SourceOptions {
            format: None,
            max_row_bytes: DEFAULT_MAX_ROW_BYTES,
            mapping: Mapping::default(),
        }
    }
}

/// One row of a file.
#[derive(Debug)]
pub struct Row {
    /// Its number in the file, from 1; headers and blank lines do not count.
    pub number: u64,
    /// The line it starts on, from 1; text formats only.
    pub line: Option<u64>,
    /// Always an object, under the names of the mapping; or why it is none.
    pub json: Result<Json, Problem>,
    /// Vectors that the document had in the index it was exported from.
    pub vectors: Option<StoredVectors>,
    /// The row as the file has it.
    pub original: Original,
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
/// An `Err` item ends the file: it is the last item. The rows before it are good.
pub struct Source {
    path: PathBuf,
    format: Format,
    items: Option<Items>,
    /// Applied here for formats whose rows each bring their own keys.
    mapping: Option<Mapping>,
    /// What the file says of itself, if it is an export.
    manifest: Option<Manifest>,
    rows: u64,
    rows_hint: Option<u64>,
    bytes_total: u64,
    bytes_read: Arc<AtomicU64>,
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
        let format = match options.format.or_else(|| Format::of(path)) {
            Some(format) => format,
            None => {
                // A missing file is the better message where both hold.
                super::text::open_file(path)?;
                return Err(Problem::new(
                    Code::InvalidFile,
                    format!("{}: the name does not tell the format", path.display()),
                )
                .field("format")
                .found(path.file_name().unwrap_or_default().to_string_lossy())
                .expected(
                    ".parquet, .jsonl, .ndjson, .json, .csv or .tsv, the text ones also with \
                     .gz or .zst; or the format named",
                )
                .into());
            }
        };
        let mapping = options.mapping.clone();
        if format == Format::Parquet {
            let columns = readers::Columns::open(path, &mapping)?;
            let (total, read) = (columns.total(), columns.read());
            let manifest = columns.manifest().cloned();
            return Ok(Source {
                path: path.to_path_buf(),
                format,
                rows_hint: Some(columns.rows()),
                items: Some(Box::new(columns)),
                mapping: (manifest.is_some() && !mapping.is_empty()).then_some(mapping),
                manifest,
                rows: 0,
                bytes_total: total,
                bytes_read: read,
            });
        }
        let text = Text::open(path)?;
        let (total, read) = (text.total, Arc::clone(&text.read));
        let limit = options.max_row_bytes.max(1);
        let own_keys = matches!(format, Format::Json | Format::Jsonl) && !mapping.is_empty();
        let items: Items = match format {
            Format::Jsonl => readers::json_lines(text, limit),
            Format::Csv => readers::delimited(text, b',', limit, &mapping)?,
            Format::Tsv => readers::delimited(text, b'\t', limit, &mapping)?,
            Format::Json | Format::Parquet => readers::json(text, limit),
        };
        Ok(Source {
            path: path.to_path_buf(),
            format,
            items: Some(items),
            mapping: own_keys.then_some(mapping),
            manifest: None,
            rows: 0,
            rows_hint: None,
            bytes_total: total,
            bytes_read: read,
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

    fn row(&mut self, item: Item) -> Row {
        self.rows += 1;
        let json = item.json.and_then(|object: Map<String, Json>| {
            let object = match &self.mapping {
                Some(mapping) => mapping.apply(object)?,
                None => object,
            };
            Ok(Json::Object(object))
        });
        let is_left_out = |mapping: &Mapping| mapping.field(PASSAGES).is_none();
        Row {
            number: self.rows,
            line: item.line,
            json,
            vectors: item
                .vectors
                .filter(|_| !self.mapping.as_ref().is_some_and(is_left_out)),
            original: Original(item.kept),
        }
    }
}

impl Iterator for Source {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.items.as_mut()?.next() {
            Some(Ok(item)) => Some(Ok(self.row(item))),
            Some(Err(error)) => {
                self.items = None;
                Some(Err(error))
            }
            None => {
                self.items = None;
                None
            }
        }
    }
}
