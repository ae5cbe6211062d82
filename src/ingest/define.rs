//! A definition out of a file: what an index of its rows would be, where nobody has said.
//!
//! The promise: a file of rows that have a column by which they can be told apart can be loaded
//! and searched without a definition written before. What is decided follows from names, types and
//! lengths in its first rows, and is told as the text of a definition, so that it can be changed.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::json;

use super::columns::{Seen, look};
use super::{Input, SourceOptions};
use crate::document::{is_below, is_path};
use crate::error::{Code, Error, Problem, Result};
use crate::identifiers::split_words;
use crate::index::{Definition, is_field_name};

/// The encoder of indexes for which no other was named.
const ENCODER: &str = "gleaner-minilm";
/// Blanks in a string, on average, past which strings are prose.
const PROSE: f64 = 1.5;
/// Names of columns that are read as prose however short they are.
const TEXTS: [&str; 10] = [
    "title",
    "name",
    "headline",
    "text",
    "body",
    "description",
    "summary",
    "content",
    "abstract",
    "comment",
];
/// Those whose words count twice.
const TITLES: [&str; 3] = ["title", "name", "headline"];
/// Last words of the names of columns that tell rows apart.
const KEYS: [&str; 5] = ["id", "key", "uuid", "url", "sku"];
/// What an id is called that a mapping makes.
const ID: &str = "id";
/// Fewest numbers of a list that is taken for a vector, unless its column is called like one.
const VECTOR: usize = 16;

/// An index of a file's rows.
#[derive(Debug)]
pub struct Made {
    pub definition: Definition,
    /// It as a file would say it.
    pub text: String,
    /// Columns that are read under another name, and that name.
    pub renamed: Vec<(String, String)>,
    /// Columns that cannot be fields, by their names or by what is in them: they are kept with each
    /// document, and not searched.
    pub left_out: Vec<String>,
}

/// Says what an index of a file's rows would be: the id, a type for each column, what is encoded.
///
/// # Errors
/// `invalid_file` where no column tells the rows apart, or none is left to search; the first row's
/// problem where none can be read; otherwise as [`Source::open`](super::Source::open).
pub fn define(name: &str, input: &Input, options: &SourceOptions) -> Result<Made> {
    let look = look(input, options)?;
    let rows = look.read;
    if let Some(problem) = look.problem.filter(|_| rows == 0) {
        return Err(problem.into());
    }
    let (seen, renamed) = with_names(look.seen);
    let id = match settled_id(&seen, rows, options)? {
        Some(id) => id,
        None => id_of(&seen, rows).ok_or_else(|| no_id(input, &seen, rows))?,
    };
    let (text, left_out) = written(name, &id, &seen)?;
    Ok(Made {
        renamed,
        definition: Definition::from_toml(&text)?,
        text,
        left_out,
    })
}

/// Gives columns that no field can be called like (`Unit Price`) the name that comes nearest
/// (`unit_price`), where that is not taken.
fn with_names(seen: IndexMap<String, Seen>) -> (IndexMap<String, Seen>, Vec<(String, String)>) {
    let taken: HashSet<String> = seen.keys().cloned().collect();
    let (mut named, mut renamed) = (IndexMap::new(), Vec::new());
    for (column, found) in seen {
        let name = match nearest_name(&column) {
            Some(name) if !taken.contains(&name) && !named.contains_key(&name) => {
                renamed.push((column, name.clone()));
                name
            }
            _ => column,
        };
        named.insert(name, found);
    }
    (named, renamed)
}

/// The nearest name of a field to a column's that is none; None where it is one, or has no letter.
fn nearest_name(column: &str) -> Option<String> {
    if is_field_name(column) && is_path(column) {
        return None;
    }
    let words = column.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    (!words.is_empty()).then(|| words.join("_"))
}

/// Columns of a file that no field can be called like and that an index has under the nearest name:
/// as [`define`] has given them, so that later files of the kind are read alike.
///
/// # Errors
/// As [`Source::open`](super::Source::open).
pub fn renamed(
    definition: &Definition,
    input: &Input,
    options: &SourceOptions,
) -> Result<Vec<(String, String)>> {
    let vectors = definition.embedding.as_ref();
    let vectors = vectors.and_then(|embedding| embedding.vector_field.as_deref());
    let is_known = |name: &str| {
        name == definition.id_field || definition.fields.contains_key(name) || vectors == Some(name)
    };
    let (_, renamed) = with_names(look(input, options)?.seen);
    let kept = renamed.into_iter();
    Ok(kept
        .filter(|(column, name)| is_known(name) && !is_known(column))
        .collect())
}

/// The id that a mapping makes, or a column of that name: whatever it holds.
///
/// # Errors
/// `invalid_file` where it is not in each row, or the same in several.
fn settled_id(
    seen: &IndexMap<String, Seen>,
    rows: u64,
    options: &SourceOptions,
) -> Result<Option<String>, Problem> {
    let mapping = &options.mapping;
    let is_made = mapping.fields.contains_key(ID) || mapping.columns.values().any(|to| to == ID);
    let Some(found) = seen.get(ID) else {
        return Ok(None);
    };
    let (distinct, values) = (found.distinct.len() as u64, found.values);
    if values == rows && distinct == rows {
        return Ok(Some(ID.into()));
    }
    // A column that happens to be called so may be of something else.
    if !is_made {
        return Ok(None);
    }
    Err(Problem::new(
        Code::InvalidFile,
        "the id that is made tells not every row apart",
    )
    .field(ID)
    .found(format!(
        "{values} of {rows} rows with one, {distinct} of them different"
    ))
    .expected("another id for each row; of more columns, perhaps"))
}

fn no_id(input: &Input, seen: &IndexMap<String, Seen>, rows: u64) -> Problem {
    let columns: Vec<&str> = seen.keys().map(String::as_str).collect();
    Problem::new(
        Code::InvalidFile,
        "no column tells the rows of this file apart and leaves another to be searched",
    )
    .field("create")
    .found(format!(
        "{rows} rows in {}, with the columns {}",
        input.location(),
        columns.join(", ")
    ))
    .expected(
        "a column called id, or another with a short value of its own in each row, beside one with words; or an id \
         of several columns: --mapping FILE with [fields.id] template = \"{one}-{other}\"",
    )
}

/// The column by which rows are told apart: `id`, then what is called like one, then the first with
/// short strings. A number that differs in each of the first rows may be a price, and is none.
fn id_of(seen: &IndexMap<String, Seen>, rows: u64) -> Option<String> {
    let is_last_word = |column: &str| {
        let words = split_words(column);
        let last = words.last().map(String::as_str).unwrap_or_default();
        // `docid` before everything else; `amount_paid` is no key.
        let is_first = seen.keys().next().is_some_and(|first| first == column);
        KEYS.contains(&last) || is_first && KEYS.iter().any(|key| last.ends_with(key))
    };
    let mut keys: Vec<(u8, &String)> = seen
        .iter()
        .filter(|(_, seen)| rows > 0 && seen.is_key(rows) && !is_prose(seen))
        .filter_map(|(column, found)| {
            let kind = kind(column, found).map(|(kind, _)| kind);
            Some(match kind {
                _ if column.eq_ignore_ascii_case("id") => (0, column),
                None if found.large > 0 && is_last_word(column) => (1, column),
                Some("keyword" | "integer" | "text") if is_last_word(column) => (1, column),
                Some("keyword") => (2, column),
                _ => return None,
            })
        })
        .collect();
    keys.sort_by_key(|(order, _)| *order);
    // One that leaves nothing to search is none.
    let leaves_words = |id: &String| {
        let others = || seen.iter().filter(|(column, _)| *column != id);
        let fields = || others().filter(|(column, _)| is_field(column, id, seen));
        let kinds = || fields().filter_map(|(column, seen)| kind(column, seen));
        let has_vector = others().any(|(column, seen)| is_vector(column, seen));
        kinds().any(|kind| matches!(kind, ("keyword" | "text", _)))
            || has_vector && kinds().next().is_some()
    };
    let mut keys = keys.into_iter().map(|(_, column)| column);
    keys.find(|column| leaves_words(column)).cloned()
}

/// Whether a column holds the documents' vectors.
fn is_vector(column: &str, seen: &Seen) -> bool {
    let column = column.to_lowercase();
    let mut names = ["vector", "embedding"].iter();
    let is_called = names.any(|name| column.contains(name));
    seen.is_vector(None) && (is_called || seen.dimensions >= VECTOR)
}

/// Whether a column can be a field of its own name.
fn is_field(column: &str, id: &str, seen: &IndexMap<String, Seen>) -> bool {
    let others = seen.keys().map(String::as_str);
    is_field_name(column)
        && is_path(column)
        && !others.chain([id]).any(|other| is_below(column, other))
}

fn is_prose(seen: &Seen) -> bool {
    seen.texts > 0 && seen.blanks as f64 > PROSE * seen.texts as f64
}

/// What a column becomes: its type, and whether it holds several values. None where it is no
/// field: objects, and what is empty everywhere.
fn kind(column: &str, seen: &Seen) -> Option<(&'static str, bool)> {
    let all = |n: u64| n > 0 && n == seen.values;
    let numbers = seen.integer_texts.max(seen.float_texts);
    let last = column.rsplit('.').next().unwrap_or(column).to_lowercase();
    Some(match seen {
        _ if all(seen.booleans) || all(seen.boolean_texts) => ("boolean", false),
        _ if all(seen.integers) => ("integer", false),
        _ if all(seen.integers + seen.floats) => ("float", false),
        _ if all(seen.date_texts) => ("date", false),
        _ if all(seen.integer_texts) && seen.padded == 0 => ("integer", false),
        _ if all(numbers) && seen.padded == 0 => ("float", false),
        _ if all(seen.lists) => ("keyword", true),
        _ if !all(seen.texts) => return None,
        _ if is_prose(seen) || TEXTS.contains(&last.as_str()) => ("text", false),
        // A column of few values with some lists among them.
        _ if seen.listed * 4 > seen.texts => ("keyword", true),
        _ => ("keyword", false),
    })
}

/// The definition as its file would say it.
fn written(name: &str, id: &str, seen: &IndexMap<String, Seen>) -> Result<(String, Vec<String>)> {
    let all = || seen.iter().filter(|(column, _)| *column != id);
    let vectors = all().find(|(column, seen)| is_vector(column, seen));
    let left_out: Vec<String> = all()
        .filter(|(column, found)| {
            let is_taken = kind(column, found).is_some() && is_field(column, id, seen);
            let is_vector = vectors.is_some_and(|(vectors, _)| vectors == *column);
            found.values > 0 && !is_taken && !is_vector
        })
        .map(|(column, _)| column.clone())
        .collect();
    let columns = || all().filter(|(column, _)| is_field(column, id, seen));
    let mut kinds: Vec<(&String, &str, bool)> = columns()
        .filter_map(|(column, seen)| kind(column, seen).map(|(kind, many)| (column, kind, many)))
        .collect();
    // Something has to be searched.
    if !kinds.iter().any(|(_, kind, _)| *kind == "text") {
        let longest = columns()
            .filter(|(column, seen)| kind(column, seen) == Some(("keyword", false)))
            .max_by_key(|(_, seen)| seen.bytes / seen.texts.max(1));
        if let Some((longest, _)) = longest {
            let found = kinds.iter_mut().find(|(column, _, _)| *column == longest);
            if let Some((_, kind, _)) = found {
                *kind = "text";
            }
        }
    }
    let mut definition =
        json!({"name": name, "id_field": id, "unknown_fields": "store", "fields": {}});
    let mut texts = Vec::new();
    let mut has_title = false;
    for (column, kind, many) in &kinds {
        let mut field = json!({"type": kind});
        if *many {
            field["many"] = true.into();
        }
        if *kind == "text" {
            texts.push((*column).clone());
            if !has_title && TITLES.contains(&column.to_lowercase().as_str()) {
                field["weight"] = 2.0.into();
                has_title = true;
            }
            field["analysis"] = json!({"language": "english"});
        }
        definition["fields"][column.as_str()] = field;
    }
    if let Some((column, seen)) = vectors {
        definition["embedding"] = json!({"vector_field": column, "dimensions": seen.dimensions});
    } else if !texts.is_empty() {
        let passages = json!({"max_tokens": 200, "overlap": 40});
        definition["embedding"] = json!({"model": ENCODER, "fields": texts, "passages": passages});
    }
    let text = toml::to_string(&definition)
        .map_err(|error| Error::Bug(format!("a definition cannot be written: {error}")))?;
    Ok((text, left_out))
}
