//! Files of names for catalogs of entities, and of aliases.
//!
//! * A text file has a name a line; compressed or not.
//! * A file of a format that loading knows (Parquet, JSONL, JSON, CSV, TSV) has the columns `name`,
//!   `id`, `aliases` (a list, or one text), `description` and `popularity`, of which only `name`
//!   has to be there. Others are left aside.
//! * A file of aliases has lines of an alias, a name and, where that is known, how often the alias
//!   means it, with tabs between.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::text::{Text, stream_error};
use super::{Format, Row, Source, SourceOptions};
use crate::entity::{NewAlias, NewName};
use crate::error::{Code, Error, Problem, Result};

/// Longest line; names are shorter by far.
const MAX_LINE: u64 = 1 << 20;

/// Names or aliases, one after the other. An error of the code `invalid_name` is about one of
/// them; any other is the last item.
pub type Items<T> = Box<dyn Iterator<Item = Result<T>>>;

/// How names are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameOptions {
    /// Underscores stand for spaces, as in the addresses of DBpedia and Wikipedia.
    pub underscores: bool,
}

impl NameOptions {
    fn name(self, name: String) -> String {
        match self.underscores {
            true => name.replace('_', " "),
            false => name,
        }
    }
}

/// Opens a file of names.
///
/// # Errors
/// InvalidFile for one that is not what its name says; an operator's error where it cannot be
/// read.
pub fn read_names(path: &Path, options: NameOptions) -> Result<Items<NewName>> {
    if Format::of(path).is_some() {
        let source = with_names(path, Source::open(path, &SourceOptions::default())?)?;
        return Ok(Box::new(source.map(move |row| {
            let row = row?;
            let within = |problem: Problem| Problem {
                code: Code::InvalidName,
                message: format!("row {}: {}", row.number, problem.message),
                ..problem
            };
            let object = match row.json {
                Ok(Json::Object(object)) => object,
                Ok(_) => Map::new(),
                Err(problem) => return Err(within(problem).into()),
            };
            Ok(of_row(object, options).map_err(within)?)
        })));
    }
    Ok(Box::new(Lines::open(path)?.map(move |line| {
        Ok(NewName {
            name: options.name(line?),
            ..NewName::default()
        })
    })))
}

/// Opens a file of aliases.
///
/// # Errors
/// As [`read_names`].
pub fn read_aliases(path: &Path, options: NameOptions) -> Result<Items<NewAlias>> {
    Ok(Box::new(Lines::open(path)?.map(move |line| {
        let line = line?;
        let refused = || {
            Problem::new(Code::InvalidName, "a line is no alias")
                .field("alias")
                .found(line.escape_debug())
                .expected("an alias, a name and perhaps a count, with tabs between")
        };
        let mut cells = line.split('\t');
        let (Some(alias), Some(name), count, None) =
            (cells.next(), cells.next(), cells.next(), cells.next())
        else {
            return Err(refused().into());
        };
        let count = match count {
            None => 1,
            Some(count) => count.trim().parse().map_err(|_| refused())?,
        };
        Ok(NewAlias {
            alias: options.name(alias.to_owned()),
            name: options.name(name.to_owned()),
            count,
        })
    })))
}

/// Rows among which one has to have a name.
const LOOKED_AT: usize = 1_000;

/// The rows of a file, if it is one of names.
fn with_names(
    path: &Path,
    mut source: Source,
) -> Result<impl Iterator<Item = Result<Row>> + use<>> {
    let mut first = Vec::new();
    let mut columns = BTreeSet::new();
    for row in source.by_ref().take(LOOKED_AT) {
        let row = row?;
        if let Ok(Json::Object(object)) = &row.json {
            columns.extend(object.keys().cloned());
        }
        first.push(Ok(row));
        if columns.contains("name") {
            break;
        }
    }
    if !columns.is_empty() && !columns.contains("name") {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let message = format!("{} has no column of names", path.display());
        return Err(Problem::new(Code::InvalidFile, message)
            .field("name")
            .found(format!("the columns {}", columns.join(", ")))
            .expected("a column `name`")
            .into());
    }
    Ok(first.into_iter().chain(source))
}

fn of_row(mut row: Map<String, Json>, options: NameOptions) -> Result<NewName, Problem> {
    let unfit = |field: &str, found: &Json, expected: &str| {
        Problem::new(Code::InvalidName, "a column is not what it should be")
            .field(field)
            .found(found)
            .expected(expected)
    };
    let mut text = |field: &str| match row.remove(field) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        // Ids are often numbers.
        Some(Json::Number(number)) if field == "id" => Ok(Some(number.to_string())),
        Some(other) => Err(unfit(field, &other, "text")),
    };
    let name = text("name")?.ok_or_else(|| {
        Problem::new(Code::InvalidName, "a row has no name")
            .field("name")
            .expected("a text in the column `name`")
    })?;
    let (id, description) = (text("id")?, text("description")?);
    let aliases = match row.remove("aliases") {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::String(alias)) => vec![alias],
        Some(Json::Array(aliases)) => aliases
            .into_iter()
            .map(|alias| match alias {
                Json::String(alias) => Ok(alias),
                other => Err(unfit("aliases", &other, "texts")),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(unfit("aliases", &other, "a list of texts")),
    };
    let popularity = match row.remove("popularity") {
        None | Some(Json::Null) => None,
        Some(found) => {
            // Columns of text may hold numbers.
            let written = || found.as_str()?.trim().parse().ok();
            let number: Option<f64> = found.as_f64().or_else(written);
            Some(number.ok_or_else(|| unfit("popularity", &found, "a number"))? as f32)
        }
    };
    Ok(NewName {
        name: options.name(name),
        id,
        aliases: aliases
            .into_iter()
            .map(|alias| options.name(alias))
            .collect(),
        description,
        popularity,
    })
}

/// The lines of a text file that are not blank.
struct Lines<R> {
    path: PathBuf,
    reader: Option<R>,
    number: u64,
}

impl Lines<Box<dyn BufRead>> {
    fn open(path: &Path) -> Result<Lines<Box<dyn BufRead>>> {
        let (path, reader) = Text::open(path)?.into_reader();
        Ok(Lines {
            path,
            reader: Some(Box::new(reader)),
            number: 0,
        })
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        loop {
            let reader = self.reader.as_mut()?;
            let mut line = Vec::new();
            let read = std::io::Read::take(&mut *reader, MAX_LINE).read_until(b'\n', &mut line);
            match read {
                Ok(0) => {
                    self.reader = None;
                    return None;
                }
                Ok(_) => {}
                Err(error) => {
                    self.reader = None;
                    return Some(Err(stream_error(&self.path, error)));
                }
            }
            self.number += 1;
            let whole = line.ends_with(b"\n") || (line.len() as u64) < MAX_LINE;
            if !whole {
                self.reader = None;
                return Some(Err(Problem::new(
                    Code::InvalidFile,
                    format!("{} has a line that is too long", self.path.display()),
                )
                .found(format!("line {}", self.number))
                .expected(format!("at most {MAX_LINE} bytes"))
                .into()));
            }
            while line.last().is_some_and(|byte| b"\r\n".contains(byte)) {
                line.pop();
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return Some(String::from_utf8(line).map_err(|e| {
                let number = self.number;
                let error: Error =
                    Problem::new(Code::InvalidName, format!("line {number} is not UTF-8"))
                        .field("name")
                        .found(String::from_utf8_lossy(e.as_bytes()))
                        .expected("UTF-8")
                        .into();
                error
            }));
        }
    }
}
