//! Relevance judgments (qrels): which documents answer which query, and how well.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;

use indexmap::IndexMap;

use crate::error::{Code, Error, Problem};
use crate::ingest::{Text, stream_error};

/// The judged documents of one query and their relevance: 0 is judged and not
/// relevant, above 0 relevant, the higher the better; below 0 counts as 0.
pub type Judgments = HashMap<String, i32>;

/// Judgments by query, in the order in which the queries were first judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Qrels {
    queries: IndexMap<String, Judgments>,
}

impl Qrels {
    /// Adds a judgment; one made before for the same pair is replaced and returned.
    pub fn insert(
        &mut self,
        query: impl Into<String>,
        document: impl Into<String>,
        relevance: i32,
    ) -> Option<i32> {
        self.queries
            .entry(query.into())
            .or_default()
            .insert(document.into(), relevance)
    }

    /// The judgments of a query.
    pub fn get(&self, query: &str) -> Option<&Judgments> {
        self.queries.get(query)
    }

    /// Queries with their judgments, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Judgments)> {
        self.queries
            .iter()
            .map(|(query, judged)| (query.as_str(), judged))
    }

    /// Number of judged queries.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether nothing is judged.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Reads a file in TREC's shape, four columns between blanks (query, iteration,
    /// document, relevance), or in BEIR's, three between tabs (query, document,
    /// relevance) with a header. Which one, the number of columns of the first line
    /// tells. Compressed files are read as such.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] with the line, for another number of columns, a relevance
    /// that is no integer, or two judgments of one pair that differ.
    pub fn read(path: &Path) -> Result<Qrels, Error> {
        let (path, reader) = Text::open(path)?.into_reader();
        let mut qrels = Qrels::default();
        let mut columns = None;
        for (i, line) in reader.lines().enumerate() {
            let line = line.map_err(|error| stream_error(&path, error))?;
            let line = line.trim_end_matches(['\r', '\n']);
            if line.trim().is_empty() {
                continue;
            }
            let bad = |found: &str, expected: &str| -> Error {
                Problem::new(
                    Code::InvalidFile,
                    format!("{}, line {}: not a judgment", path.display(), i + 1),
                )
                .found(found)
                .expected(expected)
                .into()
            };
            let cells = cells(line);
            let expected_columns = *columns.get_or_insert(cells.len());
            let (query, document, relevance) = match cells.as_slice() {
                _ if cells.len() != expected_columns => {
                    let expected = format!("{expected_columns} columns, as above");
                    return Err(bad(line, &expected));
                }
                [query, document, relevance] => (*query, *document, *relevance),
                [query, _, document, relevance] => (*query, *document, *relevance),
                _ => {
                    return Err(bad(
                        line,
                        "query, document, relevance (BEIR) or query, 0, document, relevance (TREC)",
                    ));
                }
            };
            let relevance = match relevance.trim().parse::<i32>() {
                Ok(relevance) => relevance,
                // The header, whatever its words.
                Err(_) if qrels.is_empty() && cells.len() == 3 && is_word(relevance) => continue,
                Err(_) => return Err(bad(relevance, "a relevance that is a whole number")),
            };
            if let Some(before) = qrels.insert(query, document, relevance)
                && before != relevance
            {
                return Err(bad(line, &format!("the relevance given before, {before}")));
            }
        }
        Ok(qrels)
    }

    /// Writes TREC's four columns.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] for an id with a blank in it, which the format cannot
    /// express; [`Error::Operator`] if writing fails.
    pub fn write(&self, mut to: impl Write) -> Result<(), Error> {
        for (query, judged) in &self.queries {
            let mut documents: Vec<_> = judged.iter().collect();
            documents.sort();
            for (document, relevance) in documents {
                writable(query)?;
                writable(document)?;
                writeln!(to, "{query} 0 {document} {relevance}").map_err(write_failed)?;
            }
        }
        to.flush().map_err(write_failed)
    }
}

/// Between tabs where there are any, so that ids may hold blanks; else between blanks.
fn cells(line: &str) -> Vec<&str> {
    if line.contains('\t') {
        line.split('\t').map(str::trim).collect()
    } else {
        line.split_whitespace().collect()
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic())
}

/// Whether an id can stand between blanks.
pub(super) fn writable(id: &str) -> Result<(), Error> {
    if id.is_empty() || id.contains(char::is_whitespace) {
        return Err(Problem::new(
            Code::InvalidFile,
            "an id cannot be written in TREC's format",
        )
        .found(format!("{id:?}"))
        .expected("an id without blanks")
        .into());
    }
    Ok(())
}

pub(super) fn write_failed(error: std::io::Error) -> Error {
    Error::operator_from("cannot write a TREC file", error).advice("make room on the disk")
}
