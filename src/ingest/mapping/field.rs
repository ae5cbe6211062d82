//! How one field is made of columns.

use std::borrow::Cow;

use leon::{Item, Template};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::document::FieldType;
use crate::error::{Code, Problem};
use crate::ingest::coerce::one;

/// Where the value of a field comes from: a column, or a template over several.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FieldSource {
    /// A column, or the path of a value inside of one (`product.name`); of several the first
    /// that has a value.
    #[serde(skip_serializing_if = "Names::is_empty")]
    pub column: Names,
    /// A text with columns in braces: `{title}. {body}`. What has no value is left empty, and
    /// where none has, neither has the field. A brace by itself is written `\{` or `\}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What the value is read as.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ReadAs>,
    /// The value where there is none; then the column may be missing from a file as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Json>,
    /// Rows in which a column of it has no value are rejected.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

/// One name, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Names::Many(Vec::new())
    }
}

impl Names {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Names::One(name) => std::slice::from_ref(name),
            Names::Many(names) => names,
        }
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

/// What a value is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadAs {
    /// A string: numbers and truth values are spelled out.
    Text,
    /// The same.
    Keyword,
    /// A whole number, also out of a string.
    Integer,
    /// A number, also out of a string.
    Float,
    /// A day or an instant; a number counts seconds since 1970.
    Date,
    /// A truth value, also out of a string or of 0 and 1.
    Boolean,
    /// What a string holds as JSON.
    Json,
}

impl ReadAs {
    fn expected(self) -> &'static str {
        match self {
            ReadAs::Text | ReadAs::Keyword => "a string, a number or a truth value",
            ReadAs::Integer => "a whole number",
            ReadAs::Float => "a number",
            ReadAs::Date => "a date, or seconds since 1970",
            ReadAs::Boolean => "a truth value",
            ReadAs::Json => "JSON in a string",
        }
    }

    /// The value so read; lists item by item.
    fn read(self, value: Json) -> Result<Json, Json> {
        let value = match value {
            Json::Array(items) if self != ReadAs::Json => {
                let items = items.into_iter().map(|item| self.read(item));
                return items.collect::<Result<_, _>>().map(Json::Array);
            }
            Json::Null => return Ok(Json::Null),
            value => value,
        };
        match (self, &value) {
            (ReadAs::Text | ReadAs::Keyword, Json::String(_)) => Ok(value),
            (ReadAs::Text | ReadAs::Keyword, Json::Number(_) | Json::Bool(_)) => {
                Ok(Json::from(value.to_string()))
            }
            (ReadAs::Integer, Json::Number(number)) => match number.as_f64() {
                // Whole, and as exact as a 64-bit float is.
                Some(float) if !number.is_i64() && float.fract() == 0.0 && float.abs() < 2e15 => {
                    Ok(Json::from(float as i64))
                }
                _ if number.is_i64() => Ok(value),
                _ => Err(value),
            },
            (ReadAs::Integer, Json::String(text)) => match one(FieldType::Integer, text) {
                Some(number) => ReadAs::Integer.read(number).map_err(|_| value),
                None => Err(value),
            },
            (ReadAs::Float, Json::Number(_)) => Ok(value),
            (ReadAs::Float, Json::String(text)) => one(FieldType::Float, text).ok_or(value),
            (ReadAs::Boolean, Json::Bool(_)) => Ok(value),
            (ReadAs::Boolean, Json::Number(number)) => match number.as_i64() {
                Some(0) => Ok(Json::Bool(false)),
                Some(1) => Ok(Json::Bool(true)),
                _ => Err(value),
            },
            (ReadAs::Boolean, Json::String(text)) => one(FieldType::Boolean, text).ok_or(value),
            // Whether it is one is for the check of the document to say.
            (ReadAs::Date, Json::String(text)) => Ok(Json::from(text.trim())),
            (ReadAs::Date, Json::Number(number)) => {
                let seconds = number.as_f64().filter(|seconds| seconds.abs() < 1e12);
                let micros = seconds.map(|seconds| (seconds * 1e6).round() as i64);
                micros
                    .and_then(super::super::readers::date_json)
                    .ok_or(value)
            }
            (ReadAs::Json, Json::String(text)) => serde_json::from_str(text).map_err(|_| value),
            _ => Err(value),
        }
    }
}

/// A field's source, checked and taken apart.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    field: String,
    source: FieldSource,
    template: Option<Vec<Part>>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Column(String),
}

impl Compiled {
    pub(super) fn new(field: &str, source: &FieldSource) -> Result<Compiled, Problem> {
        let wrong = |message: &str, found: String, expected: &str| {
            Problem::new(Code::InvalidConfiguration, message)
                .field(format!("fields.{field}"))
                .found(found)
                .expected(expected)
        };
        let template = match &source.template {
            None => None,
            Some(text) => {
                let parsed = Template::parse(text).map_err(|error| {
                    wrong(
                        "a template cannot be read",
                        error.to_string(),
                        "a text with columns in braces, such as {title}. {body}",
                    )
                })?;
                let part = |item: &Item<'_>| match item {
                    Item::Text(text) => Part::Text((*text).to_string()),
                    Item::Key(column) => Part::Column((*column).to_string()),
                };
                Some(parsed.items.iter().map(part).collect())
            }
        };
        match (source.column.is_empty(), &template, &source.default) {
            (false, Some(_), _) => Err(wrong(
                "a field has two sources",
                "a column and a template".into(),
                "one of them",
            )),
            (true, None, None) => Err(wrong(
                "a field has no source",
                "neither column, template nor default".into(),
                "one of them",
            )),
            _ => Ok(Compiled {
                field: field.to_string(),
                source: source.clone(),
                template,
            }),
        }
    }

    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// The paths that it is made of.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        let parts = self.template.iter().flatten();
        let of_template = parts.filter_map(|part| match part {
            Part::Column(column) => Some(column.as_str()),
            Part::Text(_) => None,
        });
        let names = self.source.column.as_slice().iter();
        names.map(String::as_str).chain(of_template)
    }

    /// Whether its columns are its own: not also fields of their names.
    pub(super) fn takes(&self) -> bool {
        self.template.is_none()
    }

    /// Whether a file may be without its columns.
    pub(super) fn is_optional(&self) -> bool {
        self.source.default.is_some()
    }

    /// The value of the field in a row; None where there is none.
    pub(super) fn value(&self, row: &Map<String, Json>) -> Result<Option<Json>, Problem> {
        let found = match &self.template {
            None => {
                let names = self.source.column.as_slice().iter();
                names
                    .filter_map(|name| at(row, name))
                    .next()
                    .map(Cow::into_owned)
            }
            Some(parts) => self.rendered(parts, row)?,
        };
        let value = match (found, self.source.kind) {
            (None, _) => {
                if self.source.required && self.source.default.is_none() {
                    let columns: Vec<&str> = self.columns().collect();
                    return Err(self.without(&columns.join(", ")));
                }
                return Ok(self.source.default.clone());
            }
            (Some(value), None) => value,
            (Some(value), Some(kind)) => kind.read(value).map_err(|found| {
                Problem::new(
                    Code::InvalidDocument,
                    format!("the value for {:?} cannot be read as asked", self.field),
                )
                .field(self.columns().next().unwrap_or(&self.field))
                .found(found)
                .expected(kind.expected())
            })?,
        };
        Ok(Some(value))
    }

    fn rendered(&self, parts: &[Part], row: &Map<String, Json>) -> Result<Option<Json>, Problem> {
        let mut text = String::new();
        let mut any = false;
        for part in parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Column(column) => match at(row, column) {
                    Some(value) => {
                        any = true;
                        spell(&value, &mut text);
                    }
                    None if self.source.required => return Err(self.without(column)),
                    None => {}
                },
            }
        }
        Ok(any.then(|| Json::from(text)))
    }

    fn without(&self, column: &str) -> Problem {
        Problem::new(
            Code::InvalidDocument,
            format!("there is no value for {:?}, which is required", self.field),
        )
        .field(column)
        .found("nothing")
        .expected("a value")
    }
}

/// Adds a value to a text: strings as they are, lists with commas between.
fn spell(value: &Json, text: &mut String) {
    match value {
        Json::String(value) => text.push_str(value),
        Json::Array(items) => {
            for (i, item) in items.iter().filter(|item| !item.is_null()).enumerate() {
                if i > 0 {
                    text.push_str(", ");
                }
                spell(item, text);
            }
        }
        Json::Null => {}
        other => text.push_str(&other.to_string()),
    }
}

/// What is at a path of a row: the column of that name, or a member inside of one. Of a list of
/// objects every one contributes, as in an index: what they have there becomes one list.
pub(super) fn at<'a>(row: &'a Map<String, Json>, path: &str) -> Option<Cow<'a, Json>> {
    if let Some(value) = row.get(path) {
        return Some(Cow::Borrowed(value)).filter(|value| !value.is_null());
    }
    path.match_indices('.').find_map(|(end, _)| {
        let rest = &path[end + 1..];
        match row.get(&path[..end])? {
            Json::Object(inside) => at(inside, rest),
            Json::Array(items) => {
                let mut values = Vec::new();
                for value in items.iter().filter_map(|item| at(item.as_object()?, rest)) {
                    match value.into_owned() {
                        Json::Array(inner) => values.extend(inner),
                        value => values.push(value),
                    }
                }
                (!values.is_empty()).then(|| Cow::Owned(Json::Array(values)))
            }
            _ => None,
        }
    })
}

/// The column that a path begins in, among these.
pub(super) fn root<'a>(columns: &'a [String], path: &str) -> Option<&'a String> {
    let is = |name: &str| columns.iter().find(|column| column.as_str() == name);
    is(path).or_else(|| {
        path.match_indices('.')
            .find_map(|(end, _)| is(&path[..end]))
    })
}
