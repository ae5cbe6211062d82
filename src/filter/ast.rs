//! A filter as it was written: names and literals, not yet held against any fields.

use serde_json::{Map, Value as Json};

use super::{MAX_CLAUSES, MAX_DEPTH, MAX_LIST, MAX_TEXT_BYTES, parse};
use crate::error::{Code, Problem};

/// A filter as written. Bind it to fields before use.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Every document.
    All,
    /// Some value of the field equals the literal.
    Eq(String, Literal),
    /// Some value of the field is one of the literals.
    In(String, Vec<Literal>),
    /// Some value of the field lies within the bounds.
    Range(String, Box<Range>),
    /// Some value of the field begins with the text.
    Prefix(String, String),
    /// The field has a value.
    Exists(String),
    /// All of these hold; of none, every document.
    And(Vec<Filter>),
    /// At least one of these holds; of none, no document.
    Or(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
}

/// A literal whose type the field decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Unquoted in the filter text: read as the field's type (`3`, `true`, `2024-05-01`,
    /// `science`).
    Bare(String),
    /// A string, number or truth value from JSON, or quoted text.
    Json(Json),
}

/// Bounds of a range; at least one is given, and not both of the same side.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Range {
    /// Strictly above.
    pub gt: Option<Literal>,
    /// At or above.
    pub gte: Option<Literal>,
    /// Strictly below.
    pub lt: Option<Literal>,
    /// At or below.
    pub lte: Option<Literal>,
}

impl Filter {
    /// Reads a filter in the filter language; blank text means every document.
    ///
    /// ```text
    /// section = "science" AND published >= 2020-01-01
    ///   AND NOT (tags IN ["a", "b"] OR EXISTS author) AND minutes = 1..3
    /// ```
    ///
    /// Comparisons are `=`, `!=`, `<`, `<=`, `>`, `>=`, `IN [..]`, `NOT IN [..]`,
    /// `field = low..high` (both ends included, either may be left out),
    /// `field STARTS WITH "text"` and `EXISTS field`; they combine with `NOT`, `AND`, `OR` (binding in that order, in
    /// any case) and parentheses. Strings are quoted with `"` or `'`, with `\"`, `\\`,
    /// `\n`, `\t` and `\u0041`; plain words, numbers and dates need no quotes.
    ///
    /// # Errors
    /// `invalid_filter` with what was found and expected where; `limit_exceeded` past
    /// the limits of this room.
    pub fn parse(text: &str) -> Result<Filter, Problem> {
        read_text(text, 0, &mut 0)
    }

    /// Reads a filter from JSON: a string in the filter language, or one of
    /// `{"and": [..]}`, `{"or": [..]}`, `{"not": ..}`,
    /// `{"field": "x", "eq": v}`, `{"field": "x", "in": [v, ..]}`,
    /// `{"field": "x", "gte": v, "lt": w}` (any of `gt`, `gte`, `lt`, `lte`),
    /// `{"field": "x", "prefix": "text"}` and
    /// `{"field": "x", "exists": true}` (or `false`). An empty object means every
    /// document.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub fn from_json(json: &Json) -> Result<Filter, Problem> {
        let mut clauses = 0;
        read(json, 0, &mut clauses)
    }
}

fn read_text(text: &str, depth: usize, clauses: &mut usize) -> Result<Filter, Problem> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(limit(
            format!("{} bytes", text.len()),
            format!("at most {MAX_TEXT_BYTES} bytes of filter text"),
        ));
    }
    parse::parse(text, depth, clauses)
}

/// Reads what stands below `depth` others. Texts draw on the same limits as the objects
/// around them, so that a list of texts is no way past them.
fn read(json: &Json, depth: usize, clauses: &mut usize) -> Result<Filter, Problem> {
    if depth == MAX_DEPTH {
        return Err(too_deep());
    }
    if *clauses == MAX_CLAUSES {
        return Err(too_many_clauses());
    }
    if let Json::String(text) = json {
        let before = *clauses;
        let filter = read_text(text, depth, clauses)?;
        // A blank text is a filter as well.
        *clauses = (*clauses).max(before + 1);
        return Ok(filter);
    }
    *clauses += 1;
    let depth = depth + 1;
    let object = match json {
        Json::Object(object) => object,
        other => {
            return Err(problem("a filter is a string or an object")
                .field("filter")
                .found(other)
                .expected("text such as \"lang = en\", or {\"field\": .., \"eq\": ..}"));
        }
    };
    if let Some(name) = object.get("field") {
        return comparison(name, object);
    }
    let mut entries = object.iter();
    match (entries.next(), entries.next()) {
        (None, _) => Ok(Filter::All),
        (Some((key, value)), None) => {
            let mut list = || -> Result<Vec<Filter>, Problem> {
                let items = value.as_array().ok_or_else(|| {
                    problem(format!("\"{key}\" takes a list of filters"))
                        .field(key)
                        .found(value)
                        .expected("a list")
                })?;
                items.iter().map(|f| read(f, depth, clauses)).collect()
            };
            match key.as_str() {
                "and" => Ok(Filter::And(list()?)),
                "or" => Ok(Filter::Or(list()?)),
                "not" => Ok(Filter::Not(Box::new(read(value, depth, clauses)?))),
                other => Err(unknown_key(other)),
            }
        }
        (Some(_), Some((second, _))) => Err(problem("a filter object holds one operator")
            .field(second)
            .found(second)
            .expected("one of \"and\", \"or\", \"not\"; combine several with \"and\"")),
    }
}

fn comparison(name: &Json, object: &Map<String, Json>) -> Result<Filter, Problem> {
    let Some(name) = name.as_str().map(str::to_string) else {
        return Err(problem("\"field\" takes the name of a field")
            .field("field")
            .found(name)
            .expected("a string"));
    };
    let mut range = Range::default();
    let mut other = None;
    for (key, value) in object.iter().filter(|(key, _)| *key != "field") {
        let single = match key.as_str() {
            "gt" => {
                range.gt = Some(literal(&name, value)?);
                continue;
            }
            "gte" => {
                range.gte = Some(literal(&name, value)?);
                continue;
            }
            "lt" => {
                range.lt = Some(literal(&name, value)?);
                continue;
            }
            "lte" => {
                range.lte = Some(literal(&name, value)?);
                continue;
            }
            "eq" => Filter::Eq(name.clone(), literal(&name, value)?),
            "in" => Filter::In(name.clone(), literals(&name, value)?),
            "prefix" => match value {
                Json::String(prefix) => Filter::Prefix(name.clone(), prefix.clone()),
                found => {
                    return Err(problem("\"prefix\" takes a text")
                        .field(&name)
                        .found(found)
                        .expected("a string"));
                }
            },
            "exists" => match value {
                Json::Bool(true) => Filter::Exists(name.clone()),
                Json::Bool(false) => Filter::Not(Box::new(Filter::Exists(name.clone()))),
                found => {
                    return Err(problem("\"exists\" takes true or false")
                        .field(&name)
                        .found(found)
                        .expected("true or false"));
                }
            },
            unknown => return Err(unknown_key(unknown)),
        };
        if other.replace(single).is_some() {
            return Err(one_operator(&name));
        }
    }
    let ranged = range != Range::default();
    match (other, ranged) {
        (Some(filter), false) => Ok(filter),
        (None, true) => {
            if (range.gt.is_some() && range.gte.is_some())
                || (range.lt.is_some() && range.lte.is_some())
            {
                return Err(problem("a range has one lower and one upper bound")
                    .field(&name)
                    .found("two bounds of the same side")
                    .expected("one of gt and gte, one of lt and lte"));
            }
            Ok(Filter::Range(name, Box::new(range)))
        }
        (Some(_), true) => Err(one_operator(&name)),
        (None, false) => Err(problem("a comparison lacks its operator")
            .field(&name)
            .found("only \"field\"")
            .expected("eq, in, gt, gte, lt, lte, prefix or exists")),
    }
}

fn literal(field: &str, json: &Json) -> Result<Literal, Problem> {
    match json {
        Json::String(_) | Json::Number(_) | Json::Bool(_) => Ok(Literal::Json(json.clone())),
        other => Err(problem("a field is compared with a single value")
            .field(field)
            .found(other)
            .expected("a string, a number, true or false; for several values use \"in\"")),
    }
}

fn literals(field: &str, json: &Json) -> Result<Vec<Literal>, Problem> {
    let items = json.as_array().ok_or_else(|| {
        problem("\"in\" takes a list of values")
            .field(field)
            .found(json)
            .expected("a list")
    })?;
    if items.len() > MAX_LIST {
        return Err(too_long_a_list(items.len()));
    }
    items.iter().map(|item| literal(field, item)).collect()
}

fn one_operator(field: &str) -> Problem {
    problem("a comparison holds one operator, or the bounds of one range")
        .field(field)
        .found("several operators")
        .expected("one; combine several with \"and\"")
}

fn unknown_key(key: &str) -> Problem {
    problem("a filter object has an unknown key")
        .field(key)
        .found(key)
        .expected("and, or, not; or field with eq, in, gt, gte, lt, lte, prefix or exists")
}

pub(super) fn problem(message: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidFilter, message)
}

fn limit(found: impl std::fmt::Display, expected: impl Into<String>) -> Problem {
    Problem::new(Code::LimitExceeded, "the filter is too large")
        .field("filter")
        .found(found)
        .expected(expected)
}

pub(super) fn too_deep() -> Problem {
    limit(
        "deeper nesting",
        format!("at most {MAX_DEPTH} levels of nesting"),
    )
}

pub(super) fn too_many_clauses() -> Problem {
    limit(
        "more comparisons",
        format!("at most {MAX_CLAUSES} comparisons"),
    )
}

pub(super) fn too_long_a_list(found: usize) -> Problem {
    limit(
        format!("a list of {found} or more values"),
        format!("at most {MAX_LIST} values in a list"),
    )
}
