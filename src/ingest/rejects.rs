//! The file of rows that could not be loaded.
//!
//! One JSON object to a line: `file`, `row` (from 1), `line` (text formats), `code`,
//! `field`, `found`, `expected`, `message`, `original` (the row as its file has it) and,
//! where the original is shortened, `"original_cut": true`. Absent values are left out.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Original;
use crate::error::{Code, Error, Problem};

/// Longest `original`, in bytes; what is longer is cut at a character.
const MAX_ORIGINAL_BYTES: usize = 64 << 10;

/// One rejected row, as a line of the rejects file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// The file it is from.
    pub file: String,
    /// Its number there, from 1.
    pub row: u64,
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
            row,
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
}

/// Writes rejects to a file that comes into being with the first of them. A file that
/// is there already is replaced then; without a reject it is left alone.
#[derive(Debug)]
pub struct Rejects {
    path: PathBuf,
    writer: Option<BufWriter<File>>,
    count: u64,
}

impl Rejects {
    /// Rejects go to `path`; nothing is written yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Rejects {
            path: path.into(),
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
            None => File::create(&self.path)
                .and_then(|file| self.writer.insert(BufWriter::new(file)).write_all(&line)),
        };
        result.map_err(|error| failed(&self.path, error))?;
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
                writer.flush().map_err(|error| failed(&self.path, error))?;
                Ok(Some(self.path))
            }
        }
    }
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
    fn a_place_that_cannot_be_written_is_the_operators() {
        let dir = tempfile::tempdir().unwrap();
        let mut rejects = Rejects::new(dir.path().join("no/such/folder"));
        let problem = Problem::new(Code::InvalidDocument, "no");
        let original = Original(Kept::Text(Vec::new()));
        let reject = Reject::new(Path::new("a"), 1, None, &problem, &original);
        assert!(matches!(rejects.write(&reject), Err(Error::Operator(_))));
    }
}
