//! The file of rows that could not be loaded.
//!
//! One JSON object to a line: `file`, `row_group` (from 0; Parquet and Arrow), `row` (from 1),
//! `line` (text formats), `code`, `field`, `found`, `expected`, `message`, `original` (the row
//! as its file has it) and, where the original is shortened, `"original_cut": true`. Where it
//! stands for more than one row, which cannot be told apart any more, `rows` says for how many;
//! without a `row` it is about the file. Absent values are left out.
//!
//! A file whose name ends in `.parquet` has the same as columns. It comes into being when
//! the load ends; until then the lines are in a file beside it, to which `.jsonl` is added.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use serde::{Deserialize, Serialize};

use super::Original;
use super::export::write_whole;
use super::source::Kept;
use crate::error::{Code, Error, Problem};

/// Longest `original`, in bytes; what is longer is cut at a character.
const MAX_ORIGINAL_BYTES: usize = 64 << 10;
/// Rejects that are turned into columns at once, and bytes of a row group.
const BATCH_ROWS: usize = 256;
const GROUP_BYTES: usize = 16 << 20;

/// One rejected row, as a line of the rejects file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// The file it is from.
    pub file: String,
    /// The row group or record batch it is in, from 0; formats that have such only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_group: Option<u64>,
    /// Its number in the file, from 1; absent where the file as a whole is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// Rows that it stands for, from this one on, where it is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The line it starts on, from 1; text formats only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Why, for machines.
    pub code: Code,
    /// The field or column concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What was found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What would have been accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Why, for people.
    pub message: String,
    /// The row as its file has it, at most 64 KiB of it.
    pub original: String,
    /// Whether `original` is only its start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub original_cut: bool,
}

impl Reject {
    /// A row of `file` and what is wrong with it.
    pub fn new(
        file: &Path,
        row: u64,
        line: Option<u64>,
        problem: &Problem,
        original: &Original,
    ) -> Self {
        let mut text = original.text();
        let mut cut = !original.is_whole();
        if text.len() > MAX_ORIGINAL_BYTES {
            text.truncate(text.floor_char_boundary(MAX_ORIGINAL_BYTES));
            cut = true;
        }
        Reject {
            file: file.display().to_string(),
            row_group: None,
            row: Some(row),
            rows: None,
            line,
            code: problem.code,
            field: problem.field.clone(),
            found: problem.found.clone(),
            expected: problem.expected.clone(),
            message: problem.message.clone(),
            original: text,
            original_cut: cut,
        }
    }

    /// A file of which nothing, or nothing more, can be read.
    pub fn of_file(file: &Path, problem: &Problem) -> Self {
        let original = Original(Kept::Text(Vec::new()));
        Reject {
            row: None,
            ..Reject::new(file, 0, None, problem, &original)
        }
    }

    /// The same in a row group, and as many rows instead of one.
    pub fn within(mut self, row_group: Option<u64>, rows: u64) -> Self {
        self.row_group = row_group;
        self.rows = (rows != 1).then_some(rows);
        self
    }
}

/// Writes rejects to a file that comes into being with the first of them. A file that
/// is there already is replaced then; without a reject it is left alone.
#[derive(Debug)]
pub struct Rejects {
    /// What was asked for, and the file of lines.
    path: PathBuf,
    lines: PathBuf,
    writer: Option<BufWriter<File>>,
    count: u64,
}

impl Rejects {
    /// Rejects go to `path`; nothing is written yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Rejects {
            lines: lines_of(&path),
            path,
            writer: None,
            count: 0,
        }
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`Error::Operator`] if the file cannot be created or written.
    pub fn write(&mut self, reject: &Reject) -> Result<(), Error> {
        let mut line = serde_json::to_vec(reject)
            .map_err(|error| Error::Bug(format!("a reject that is not JSON: {error}")))?;
        line.push(b'\n');
        let result = match &mut self.writer {
            Some(writer) => writer.write_all(&line),
            None => File::create(&self.lines)
                .and_then(|file| self.writer.insert(BufWriter::new(file)).write_all(&line)),
        };
        result.map_err(|error| failed(&self.lines, error))?;
        self.count += 1;
        Ok(())
    }

    /// Rejects written so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Writes out what is still in memory; the path if there is a file.
    ///
    /// # Errors
    /// [`Error::Operator`] if the file cannot be written.
    pub fn finish(mut self) -> Result<Option<PathBuf>, Error> {
        match self.writer.take() {
            None => Ok(None),
            Some(mut writer) => {
                writer.flush().map_err(|error| failed(&self.lines, error))?;
                drop(writer);
                settle(&self.path)?;
                Ok(Some(self.path))
            }
        }
    }
}

/// Where the lines are that a file of rejects is made of, while a load is under way: the file
/// itself, unless it is to be Parquet.
pub(crate) fn lines_of(path: &Path) -> PathBuf {
    match is_parquet(path) {
        true => {
            let mut name = path.as_os_str().to_owned();
            name.push(".jsonl");
            name.into()
        }
        false => path.to_path_buf(),
    }
}

fn is_parquet(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("parquet"))
}

/// Makes of the lines the file that was asked for, where that is another one: it appears as a
/// whole, on the disk, before the lines go. To be called where there were rejects; lines that
/// are not there have been turned into it by a process before this one.
///
/// # Errors
/// [`Error::Operator`] if it cannot be written; the lines are kept then.
pub(crate) fn settle(path: &Path) -> Result<(), Error> {
    if !is_parquet(path) {
        return Ok(());
    }
    let lines = lines_of(path);
    let opened = match File::open(&lines) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&lines, error)),
    };
    let text = |name: &str, is_optional| Field::new(name, DataType::Utf8, is_optional);
    let count = |name: &str| Field::new(name, DataType::UInt64, true);
    let schema = Arc::new(Schema::new(vec![
        text("file", false),
        count("row_group"),
        count("row"),
        count("rows"),
        count("line"),
        text("code", false),
        text("field", true),
        text("found", true),
        text("expected", true),
        text("message", false),
        text("original", false),
        Field::new("original_cut", DataType::Boolean, true),
    ]));
    let broken = |error: ArrowError| failed(path, std::io::Error::other(error));
    let written = |error: ParquetError| failed(path, std::io::Error::other(error));
    let rows = ReaderBuilder::new(Arc::clone(&schema))
        .with_batch_size(BATCH_ROWS)
        .build(BufReader::new(opened))
        .map_err(broken)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    write_whole(path, |file| {
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(written)?;
        for batch in rows {
            writer.write(&batch.map_err(broken)?).map_err(written)?;
            if writer.in_progress_size() > GROUP_BYTES {
                writer.flush().map_err(written)?;
            }
        }
        writer.into_inner().map_err(written)
    })?;
    std::fs::remove_file(&lines).map_err(|error| failed(&lines, error))
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::operator_from(
        format!("cannot write the rejects file {}", path.display()),
        error,
    )
    .advice("name another file, or make room on that disk")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::source::Kept;

    #[test]
    fn the_file_comes_with_the_first_reject() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects.jsonl");
        assert_eq!(Rejects::new(&path).finish().unwrap(), None);
        assert!(!path.exists());

        let mut rejects = Rejects::new(&path);
        let problem = Problem::new(Code::InvalidDocument, "no")
            .field("year")
            .found("x");
        let long = "\u{e9}".repeat(MAX_ORIGINAL_BYTES);
        for (row, text) in [(1, "{\"year\":\"x\"}".to_string()), (2, long)] {
            let original = Original(Kept::Text(text.into_bytes()));
            let reject = Reject::new(Path::new("a.jsonl"), row, Some(row), &problem, &original);
            rejects.write(&reject).unwrap();
        }
        let bytes = Original(Kept::Text(vec![b'a', 0xff]));
        rejects
            .write(&Reject::new(Path::new("b"), 3, None, &problem, &bytes))
            .unwrap();
        assert_eq!(rejects.count(), 3);
        assert_eq!(rejects.finish().unwrap(), Some(path.clone()));

        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Reject> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0].field.as_deref(), Some("year"));
        assert_eq!(lines[0].original, "{\"year\":\"x\"}");
        assert!(!lines[0].original_cut);
        assert!(lines[1].original_cut && lines[1].original.len() <= MAX_ORIGINAL_BYTES);
        assert_eq!(lines[2].original, "a\u{fffd}");
        assert!(!text.lines().next().unwrap().contains("original_cut"));
    }

    #[test]
    fn rejects_may_be_parquet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects.parquet");
        let mut rejects = Rejects::new(&path);
        let problem = Problem::new(Code::InvalidDocument, "no").field("year");
        let original = Original(Kept::Text(b"x".to_vec()));
        let all: Vec<Reject> = (1..1000)
            .map(|row| Reject::new(Path::new("a"), row, None, &problem, &original))
            .chain([
                Reject::of_file(Path::new("b"), &problem),
                Reject::new(Path::new("c"), 7, None, &problem, &original).within(Some(2), 50),
            ])
            .collect();
        for reject in &all {
            rejects.write(reject).unwrap();
        }
        assert_eq!(rejects.finish().unwrap(), Some(path.clone()));
        assert!(!lines_of(&path).exists());
        let source = crate::ingest::Source::open(&path, &Default::default()).unwrap();
        let read: Vec<Reject> = source
            .map(|row| serde_json::from_value(row.unwrap().json.unwrap()).unwrap())
            .collect();
        assert_eq!(read, all);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_the_operators() {
        let dir = tempfile::tempdir().unwrap();
        let mut rejects = Rejects::new(dir.path().join("no/such/folder"));
        let problem = Problem::new(Code::InvalidDocument, "no");
        let original = Original(Kept::Text(Vec::new()));
        let reject = Reject::new(Path::new("a"), 1, None, &problem, &original);
        assert!(matches!(rejects.write(&reject), Err(Error::Operator(_))));
    }
}
