//! Strings read as the types of an index's fields.
//!
//! Delimited text knows only strings. What a string can be read as, by the field it is
//! for, is decided here and nowhere else; a string that cannot be read so stays one,
//! and the check of the document reports it with the field and the value.

use serde_json::{Map, Value as Json};

use super::Format;
use crate::document::{FieldType, Fields};
use crate::index::Definition;

/// Separates the values of a field that holds a list: `red|green`.
const SEPARATOR: char = '|';

/// Reads the strings of a row by the types of its fields, in place.
///
/// * integer, float: a number with blanks around it allowed; `12.0` is a number too.
/// * boolean: `true`, `t`, `1`, `false`, `f`, `0` in any case.
/// * date: the blanks around it go.
/// * text, keyword: unchanged.
/// * a field with `many`: a JSON list (`["red", "green"]`), otherwise values between
///   `|`, with the blanks around them and empty ones left out; each read as above.
///
/// Values that are not strings, and fields that the index does not have (the id among
/// them), stay as they are.
pub fn coerce(fields: &Fields, row: &mut Map<String, Json>) {
    for (name, value) in row.iter_mut() {
        let Some(definition) = fields.get(name) else {
            continue;
        };
        let Json::String(text) = value else {
            continue;
        };
        let coerced = if definition.many {
            Some(Json::Array(many(definition.kind, text)))
        } else {
            one(definition.kind, text)
        };
        if let Some(coerced) = coerced {
            *value = coerced;
        }
    }
}

/// Reads the string of a field that carries a vector as a JSON list (`[0.1, 0.2]`), in
/// place; what is none stays a string, which the check of the document reports.
pub fn coerce_vector(field: &str, row: &mut Map<String, Json>) {
    if let Some(value) = row.get_mut(field)
        && let Json::String(text) = value
        && let Ok(list @ Json::Array(_)) = serde_json::from_str(text)
    {
        *value = list;
    }
}

/// Reads the strings of a row as [`coerce`] and [`coerce_vector`] do, where its format knows
/// nothing but strings.
pub(super) fn coerce_row(format: Format, definition: &Definition, json: &mut Json) {
    let (false, Json::Object(row)) = (format.is_typed(), json) else {
        return;
    };
    coerce(&definition.fields, row);
    let embedding = definition.embedding.as_ref();
    if let Some(field) = embedding.and_then(|embedding| embedding.vector_field.as_deref()) {
        coerce_vector(field, row);
    }
}

fn many(kind: FieldType, text: &str) -> Vec<Json> {
    if text.trim_start().starts_with('[')
        && let Ok(Json::Array(mut items)) = serde_json::from_str::<Json>(text)
    {
        for item in &mut items {
            if let Json::String(text) = item
                && let Some(coerced) = one(kind, text)
            {
                *item = coerced;
            }
        }
        return items;
    }
    text.split(SEPARATOR)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| one(kind, part).unwrap_or_else(|| Json::from(part)))
        .collect()
}

/// None where the string stays what it is.
pub(super) fn one(kind: FieldType, text: &str) -> Option<Json> {
    let trimmed = text.trim();
    match kind {
        FieldType::Text | FieldType::Keyword => None,
        FieldType::Integer => match trimmed.parse::<i64>() {
            Ok(whole) => Some(Json::from(whole)),
            Err(_) => float(trimmed),
        },
        FieldType::Float => float(trimmed),
        FieldType::Date => (trimmed.len() < text.len()).then(|| Json::from(trimmed)),
        FieldType::Boolean => {
            let is = |words: [&str; 3]| words.iter().any(|w| w.eq_ignore_ascii_case(trimmed));
            if is(["true", "t", "1"]) {
                Some(Json::Bool(true))
            } else if is(["false", "f", "0"]) {
                Some(Json::Bool(false))
            } else {
                None
            }
        }
    }
}

fn float(text: &str) -> Option<Json> {
    // "inf" and "nan" parse as floats and are no JSON: from_f64 refuses them.
    serde_json::Number::from_f64(text.parse().ok()?).map(Json::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::FieldDefinition;

    #[test]
    fn a_vector_is_a_list() {
        let mut row = Map::new();
        row.insert("v".into(), json!(" [1, 0.5]"));
        row.insert("w".into(), json!("1, 0.5"));
        for field in ["v", "w", "absent"] {
            coerce_vector(field, &mut row);
        }
        assert_eq!(Json::from(row), json!({"v": [1, 0.5], "w": "1, 0.5"}));
    }

    #[test]
    fn strings_become_what_their_field_is() {
        let mut fields = Fields::new();
        for (name, kind) in [
            ("text", FieldType::Text),
            ("year", FieldType::Integer),
            ("price", FieldType::Float),
            ("free", FieldType::Boolean),
            ("day", FieldType::Date),
        ] {
            fields.insert(name.into(), FieldDefinition::new(kind));
            let mut list = FieldDefinition::new(kind);
            list.many = true;
            fields.insert(format!("{name}s"), list);
        }
        let check = |field: &str, text: &str, expected: Json| {
            let mut row = Map::new();
            row.insert(field.into(), Json::from(text));
            coerce(&fields, &mut row);
            assert_eq!(row[field], expected, "{field}: {text}");
        };
        check("text", " 12 ", json!(" 12 "));
        check("year", " 12 ", json!(12));
        check("year", "-9223372036854775808", json!(i64::MIN));
        check("year", "12.0", json!(12.0));
        check("year", "twelve", json!("twelve"));
        check("price", "1e3", json!(1000.0));
        check("price", "7", json!(7.0));
        check("price", "NaN", json!("NaN"));
        check("price", "inf", json!("inf"));
        check("free", "TRUE", json!(true));
        check("free", "0", json!(false));
        check("free", "maybe", json!("maybe"));
        check("day", " 2024-05-01 ", json!("2024-05-01"));
        check("texts", "red| green ||", json!(["red", "green"]));
        check("texts", "[\"a|b\"]", json!(["a|b"]));
        check("texts", "[draft] a", json!(["[draft] a"]));
        check("years", "1|2|x", json!([1, 2, "x"]));
        check("years", "[1, \"2\"]", json!([1, 2]));
        check("frees", "t|f", json!([true, false]));
        check("unknown", "12", json!("12"));
    }
}
