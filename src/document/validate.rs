//! The check of a JSON object against an index's fields.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::path::{self, Stray, is_below};
use super::{Fields, Value};
use crate::error::{Code, Problem};

/// Longest external id, in bytes.
const MAX_ID_BYTES: usize = 512;

/// What to do with fields that the definition does not name, inside of objects too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// The document is refused: a misspelt column is noticed at the first row.
    #[default]
    Reject,
    /// Kept and returned with the document, neither searched nor filtered.
    Store,
    /// Dropped.
    Ignore,
}

/// A document that fits its index.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The caller's id, unique within the index.
    pub id: String,
    /// Typed values of the defined fields that are present; never an empty list.
    pub values: IndexMap<String, Vec<Value>>,
    /// The object as it is stored and returned.
    pub source: Map<String, Json>,
}

impl Document {
    /// The text of a field, its values joined by a line break; None if absent.
    pub fn text(&self, field: &str) -> Option<String> {
        let values = self.values.get(field)?;
        Some(
            values
                .iter()
                .map(|v| v.to_string())
                .collect::<Vec<_>>()
                .join("\n"),
        )
    }
}

/// Checks `json` against `fields`, with the external id in `id_field` (a string, or a
/// whole number taken by its digits). `max_field_bytes` bounds each text.
///
/// # Errors
/// The first problem found, with the field, what was found and what was expected.
pub fn validate(
    fields: &Fields,
    id_field: &str,
    unknown: UnknownFields,
    max_field_bytes: usize,
    json: Json,
) -> Result<Document, Problem> {
    let mut source = match json {
        Json::Object(object) => object,
        other => {
            return Err(problem("a document must be a JSON object")
                .found(kind_of(&other))
                .expected("an object"));
        }
    };
    let id = read_id(id_field, source.get(id_field))?;
    let mut values = IndexMap::with_capacity(fields.len());
    for (name, definition) in fields {
        let found = path::find(&source, name);
        if found.mixed {
            return Err(
                problem(format!("document {id:?} has a field in two spellings"))
                    .field(name)
                    .found("the path as one name, and as objects inside of one another")
                    .expected("one of them"),
            );
        }
        if found.values.is_empty() {
            if definition.required {
                return Err(problem(format!("document {id:?} lacks a required field"))
                    .field(name)
                    .found("nothing")
                    .expected(definition.kind.to_string()));
            }
            continue;
        }
        let mut items: Vec<&Json> = Vec::with_capacity(found.values.len());
        for json in found.values {
            match json {
                Json::Array(list) if definition.many => items.extend(list),
                single => items.push(single),
            }
        }
        if items.len() > 1 && !definition.many {
            return Err(problem(format!(
                "document {id:?} has several values of a field that holds one"
            ))
            .field(name)
            .found(format!("{} values", items.len()))
            .expected("one value; `many` in the field's definition allows several"));
        }
        let mut typed = Vec::with_capacity(items.len());
        for item in items {
            let value = Value::from_json(definition.kind, item).map_err(|expected| {
                problem(format!("document {id:?} has a value of the wrong type"))
                    .field(name)
                    .found(excerpt(item))
                    .expected(if definition.many {
                        format!("{expected}, or a list of them")
                    } else {
                        expected.to_string()
                    })
            })?;
            if let Some(text) = value.as_str()
                && text.len() > max_field_bytes
            {
                return Err(Problem::new(
                    Code::LimitExceeded,
                    format!("document {id:?} has a field that is too long"),
                )
                .field(name)
                .found(format!("{} bytes", text.len()))
                .expected(format!("at most {max_field_bytes} bytes")));
            }
            typed.push(value);
        }
        if typed.is_empty() {
            if definition.required {
                return Err(problem(format!("document {id:?} lacks a required field"))
                    .field(name)
                    .found("an empty list")
                    .expected(definition.kind.to_string()));
            }
            continue;
        }
        values.insert(name.clone(), typed);
    }
    match unknown {
        UnknownFields::Reject => {
            if let Some(stray) = path::stray(&source, fields, id_field) {
                return Err(refused(&id, stray, fields));
            }
        }
        UnknownFields::Ignore => source = path::drop_unknown(source, fields, id_field),
        UnknownFields::Store => {}
    }
    Ok(Document { id, values, source })
}

/// What a member that fits no field is refused with.
fn refused(id: &str, stray: Stray<'_>, fields: &Fields) -> Problem {
    let known = |below: &str| -> String {
        let known = fields.keys().map(String::as_str);
        let known = known.filter(|field| below.is_empty() || is_below(field, below));
        known.collect::<Vec<_>>().join(", ")
    };
    match stray.found {
        Some(found) => problem(format!(
            "document {id:?} has a value where an object with fields belongs"
        ))
        .field(&stray.path)
        .found(excerpt(found))
        .expected(format!(
            "an object, or a list of objects, with: {}",
            known(&stray.path)
        )),
        None => problem(format!(
            "document {id:?} has a field the index does not know"
        ))
        .field(&stray.path)
        .found(&stray.path)
        .expected(format!("one of: {}", known(""))),
    }
}

/// Reads the id of a document: a string, or a whole number taken by its digits.
///
/// # Errors
/// `invalid_document` for anything else, and for one that is empty or too long.
pub(crate) fn read_id(id_field: &str, json: Option<&Json>) -> Result<String, Problem> {
    let expected = format!("a string of 1 to {MAX_ID_BYTES} bytes, or a whole number");
    let id = match json {
        Some(Json::String(s)) => s.clone(),
        Some(Json::Number(n)) if n.is_i64() || n.is_u64() => n.to_string(),
        None => {
            return Err(problem("a document must carry its id")
                .field(id_field)
                .found("nothing")
                .expected(expected));
        }
        Some(other) => {
            return Err(problem("the id has the wrong type")
                .field(id_field)
                .found(excerpt(other))
                .expected(expected));
        }
    };
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(problem("the id has the wrong length")
            .field(id_field)
            .found(format!("{} bytes", id.len()))
            .expected(expected));
    }
    Ok(id)
}

fn problem(message: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidDocument, message)
}

/// A value and its type, short enough for an error.
fn excerpt(json: &Json) -> String {
    match json {
        Json::Object(_) | Json::Array(_) | Json::Null => kind_of(json).to_string(),
        other => format!("{other} ({})", kind_of(other)),
    }
}

fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "list",
        Json::Object(_) => "object",
    }
}
