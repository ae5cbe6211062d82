//! Comma- and tab-separated values.
//!
//! A header row names the columns; a column without a name gets its position
//! (`column_1`). An empty cell is an absent value. Cells stay strings here; see
//! [`coerce`](crate::ingest::coerce).

use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use serde_json::{Map, Value as Json};

use super::json::too_long;
use super::{Item, Items, Reader};
use crate::error::{Code, Error, Problem};
use crate::ingest::source::Kept;
use crate::ingest::text::stream_error;
use crate::ingest::{Mapping, Text};

/// Opens a delimited file and reads its header.
pub(in crate::ingest) fn open(
    text: Text,
    delimiter: u8,
    limit: usize,
    mapping: &Mapping,
) -> Result<Items, Error> {
    let (path, stream) = text.into_reader();
    let invalid =
        |message: &str| Problem::new(Code::InvalidFile, format!("{}: {message}", path.display()));
    let mut reader = parser(
        Budget {
            stream,
            left: limit,
            line_feeds: 0,
        },
        delimiter,
    );
    let mut header = csv::ByteRecord::new();
    let any = reader
        .read_byte_record(&mut header)
        .map_err(|error| match is_too_long(&error) {
            true => invalid("the header row is too long")
                .found(format!("more than {limit} bytes"))
                .expected("a header row that names the columns")
                .into(),
            false => stream_error(&path, into_io(error)),
        })?;
    if !any {
        return Err(invalid("there is no header row")
            .found("an empty file")
            .expected("a header row that names the columns")
            .into());
    }
    let mut columns = Vec::with_capacity(header.len());
    for (i, name) in header.iter().enumerate() {
        let name = std::str::from_utf8(name).map_err(|_| {
            invalid("the header row is not valid UTF-8")
                .found(String::from_utf8_lossy(name))
                .expected("UTF-8")
        })?;
        columns.push(match name.trim() {
            "" => format!("column_{}", i + 1),
            name => name.to_string(),
        });
    }
    let fields = mapping.header(&columns).map_err(|mut problem| {
        problem.message = format!("{}: {}", path.display(), problem.message);
        problem
    })?;
    Ok(Box::new(Delimited {
        reader: Some(reader),
        path,
        delimiter,
        limit,
        columns,
        fields,
        first_line: 1,
    }))
}

/// Cells as text again.
pub(in crate::ingest) fn text(record: &csv::ByteRecord, delimiter: u8) -> String {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .from_writer(Vec::new());
    // Writing to memory cannot fail; if it did, an empty excerpt harms nobody.
    let _ = writer.write_record(cells(record));
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned()
}

struct Delimited<R: BufRead> {
    /// None only while it is replaced, and after an error that ends the file.
    reader: Option<csv::Reader<Budget<R>>>,
    path: PathBuf,
    delimiter: u8,
    limit: usize,
    columns: Vec<String>,
    /// The field of each column, None where it is left out.
    fields: Vec<Option<String>>,
    /// The line of the file that the reader calls its first.
    first_line: u64,
}

impl<R: BufRead + Send> Reader for Delimited<R> {}

impl<R: BufRead> Iterator for Delimited<R> {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader.take()?;
        let limit = self.limit;
        let mut record = csv::ByteRecord::new();
        let result = loop {
            reader.get_mut().left = limit;
            match reader.read_byte_record(&mut record) {
                // A blank line, which the parser skips only if it has no carriage return.
                Ok(true) if record.len() == 1 && record.get(0) == Some(b"\r") => continue,
                other => break other,
            }
        };
        // A record that was given up has a position and nothing else.
        let begun = record.position().map_or(1, csv::Position::line);
        match result {
            Ok(false) => None,
            Ok(true) => {
                let line = first_line(&record, begun, reader.position().line());
                self.reader = Some(reader);
                Some(Ok(Item {
                    place: None,
                    rows: 1,
                    line: Some(self.first_line - 1 + line),
                    json: self.object(&record),
                    vectors: None,
                    kept: Kept::Cells(record, self.delimiter),
                }))
            }
            Err(error) if is_too_long(&error) => {
                let line = self.first_line - 1 + begun;
                match self.resume(reader.into_inner()) {
                    Err(error) => Some(Err(stream_error(&self.path, error))),
                    Ok(()) => Some(Ok(Item {
                        place: None,
                        rows: 1,
                        line: Some(line),
                        json: Err(too_long(limit)),
                        vectors: None,
                        kept: Kept::Start(b"(not kept; is a quote left open?)".to_vec()),
                    })),
                }
            }
            Err(error) => Some(Err(stream_error(&self.path, into_io(error)))),
        }
    }
}

impl<R: BufRead> Delimited<R> {
    /// Reads on at the line after the one where a row became too long: most often a
    /// quote was left open, and the next line is a row again.
    fn resume(&mut self, mut budget: Budget<R>) -> io::Result<()> {
        budget.stream.skip_until(b'\n')?;
        budget.line_feeds += 1;
        self.first_line = budget.line_feeds + 1;
        self.reader = Some(parser(budget, self.delimiter));
        Ok(())
    }

    fn object(&self, record: &csv::ByteRecord) -> Result<Map<String, Json>, Problem> {
        if record.len() != self.columns.len() {
            return Err(Problem::new(
                Code::InvalidDocument,
                "the row has another number of columns than the header",
            )
            .found(record.len())
            .expected(format!(
                "{}: {}",
                self.columns.len(),
                self.columns.join(", ")
            )));
        }
        let mut object = Map::with_capacity(self.fields.len());
        for ((cell, column), field) in cells(record).zip(&self.columns).zip(&self.fields) {
            let Some(field) = field else { continue };
            if cell.is_empty() {
                continue;
            }
            let cell = std::str::from_utf8(cell).map_err(|error| {
                Problem::new(Code::InvalidDocument, "a cell is not valid UTF-8")
                    .field(column)
                    .found(format!("an invalid byte at offset {}", error.valid_up_to()))
                    .expected("UTF-8")
            })?;
            object.insert(field.clone(), Json::String(cell.to_string()));
        }
        Ok(object)
    }
}

/// The cells of a record, the last without the carriage return of the line break.
fn cells(record: &csv::ByteRecord) -> impl Iterator<Item = &[u8]> {
    let last = record.len().saturating_sub(1);
    record
        .iter()
        .enumerate()
        .map(move |(i, cell)| match i == last {
            true => cell.strip_suffix(b"\r").unwrap_or(cell),
            false => cell,
        })
}

/// The line a record starts on, in the parser's count, which went from `before` to
/// `after` with it: over the blank lines before it, too.
fn first_line(record: &csv::ByteRecord, before: u64, after: u64) -> u64 {
    let inside = record
        .as_slice()
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count() as u64;
    before + after.saturating_sub(before + inside + 1)
}

fn parser<R: BufRead>(budget: Budget<R>, delimiter: u8) -> csv::Reader<Budget<R>> {
    csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        // The carriage return of a line break stays in the last cell and is taken off
        // there. Were it a line break by itself, the parser's count of lines would lag.
        .terminator(csv::Terminator::Any(b'\n'))
        // Rows of a wrong length are rejected here, each with its own message.
        .flexible(true)
        .buffer_capacity(64 << 10)
        .from_reader(budget)
}

/// Bytes that one row may still take from the stream. The parser reads ahead into a
/// buffer of its own, so a row may pass the limit by that buffer's length.
struct Budget<R> {
    stream: R,
    left: usize,
    line_feeds: u64,
}

impl<R: BufRead> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            // The end of the file is not too much.
            if self.stream.fill_buf()?.is_empty() {
                return Ok(0);
            }
            return Err(io::Error::other(TooLong));
        }
        let room = buffer.len().min(self.left);
        let taken = self.stream.read(&mut buffer[..room])?;
        self.left -= taken;
        self.line_feeds += buffer[..taken]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count() as u64;
        Ok(taken)
    }
}

/// A row has used up its budget.
#[derive(Debug, thiserror::Error)]
#[error("the row is too long")]
struct TooLong;

fn is_too_long(error: &csv::Error) -> bool {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.get_ref().is_some_and(|e| e.is::<TooLong>()),
        _ => false,
    }
}

fn into_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
