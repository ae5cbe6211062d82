//! A definition out of a file: what an index of its rows would be, where nobody has said.
//!
//! The promise: a file of rows that have a column by which they can be told apart can be loaded
//! and searched without a definition written before. What is decided follows from names, types and
//! lengths in its first rows, and is told as the text of a definition, so that it can be changed.

use indexmap::IndexMap;
use serde_json::json;

use super::columns::{Seen, look};
use super::{Input, SourceOptions};
use crate::error::{Code, Error, Problem, Result};
use crate::index::Definition;

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
/// Ends of the names of columns that tell rows apart.
const KEYS: [&str; 5] = ["id", "key", "uuid", "url", "sku"];

/// Says what an index of a file's rows would be: the id, a type for each column, what is encoded.
/// With it comes the text of the definition.
///
/// # Errors
/// `invalid_file` where no column has another value in each row, or there are no rows; otherwise as
/// [`Source::open`](super::Source::open), and `invalid_definition` where a column's name cannot be a
/// field's.
pub fn define(name: &str, input: &Input, options: &SourceOptions) -> Result<(Definition, String)> {
    let (seen, rows) = look(input, options)?;
    let Some(id) = id_of(&seen, rows) else {
        return Err(no_id(input, &seen, rows).into());
    };
    let text = written(name, &id, &seen)?;
    Ok((Definition::from_toml(&text)?, text))
}

fn no_id(input: &Input, seen: &IndexMap<String, Seen>, rows: u64) -> Problem {
    let columns: Vec<&str> = seen.keys().map(String::as_str).collect();
    Problem::new(
        Code::InvalidFile,
        "no column tells the rows of this file apart, so that none can be the id",
    )
    .field("create")
    .found(format!(
        "{rows} rows in {}, with the columns {}",
        input.location(),
        columns.join(", ")
    ))
    .expected(
        "a column with another short value in each row; or an id of several columns: --mapping FILE with \
         [fields.id] template = \"{one}-{other}\"",
    )
}

/// The column by which rows are told apart: `id`, then what is called like one, then the first that
/// can be.
fn id_of(seen: &IndexMap<String, Seen>, rows: u64) -> Option<String> {
    let keys: Vec<&String> = seen
        .iter()
        .filter(|(_, seen)| rows > 0 && seen.is_key(rows) && !is_prose(seen))
        .map(|(column, _)| column)
        .collect();
    let lower = |column: &str| column.to_lowercase();
    let named = keys.iter().find(|column| lower(column) == "id");
    let named = named.or_else(|| {
        keys.iter()
            .find(|column| KEYS.iter().any(|key| lower(column).ends_with(key)))
    });
    named.or(keys.first()).map(|column| (*column).clone())
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
fn written(name: &str, id: &str, seen: &IndexMap<String, Seen>) -> Result<String> {
    let columns = || seen.iter().filter(|(column, _)| *column != id);
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
    let vectors = columns().find(|(_, seen)| seen.is_vector(None));
    if let Some((column, seen)) = vectors {
        definition["embedding"] = json!({"vector_field": column, "dimensions": seen.dimensions});
    } else if !texts.is_empty() {
        let passages = json!({"max_tokens": 200, "overlap": 40});
        definition["embedding"] = json!({"model": ENCODER, "fields": texts, "passages": passages});
    }
    toml::to_string(&definition)
        .map_err(|error| Error::Bug(format!("a definition cannot be written: {error}")))
}
