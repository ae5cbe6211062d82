//! One typed value of a field.

use std::fmt;

use super::FieldType;

/// A value that has passed its field's check.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Prose of a text field.
    Text(String),
    /// An exact string.
    Keyword(String),
    /// 64-bit integer.
    Integer(i64),
    /// Finite 64-bit float.
    Float(f64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Date(i64),
    /// Truth value.
    Boolean(bool),
}

impl Value {
    /// The type this value belongs to.
    pub fn kind(&self) -> FieldType {
        match self {
            Value::Text(_) => FieldType::Text,
            Value::Keyword(_) => FieldType::Keyword,
            Value::Integer(_) => FieldType::Integer,
            Value::Float(_) => FieldType::Float,
            Value::Date(_) => FieldType::Date,
            Value::Boolean(_) => FieldType::Boolean,
        }
    }

    /// The string of a text or keyword value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(s) | Value::Keyword(s) => Some(s),
            _ => None,
        }
    }

    /// Checks one JSON value against a type; the error says what was expected.
    ///
    /// Integers are accepted where floats are wanted, and floats without a fraction
    /// where integers are; nothing else is converted, so that a wrong column is
    /// noticed rather than stored as text.
    pub fn from_json(kind: FieldType, json: &serde_json::Value) -> Result<Value, &'static str> {
        use serde_json::Value as Json;
        match (kind, json) {
            (FieldType::Text, Json::String(s)) => Ok(Value::Text(s.clone())),
            (FieldType::Text, _) => Err("a string"),
            (FieldType::Keyword, Json::String(s)) => {
                if s.len() > MAX_KEYWORD_BYTES {
                    return Err("a string of at most 8192 bytes");
                }
                Ok(Value::Keyword(s.clone()))
            }
            (FieldType::Keyword, _) => Err("a string"),
            (FieldType::Integer, Json::Number(n)) => n
                .as_i64()
                .or_else(|| n.as_f64().and_then(whole))
                .map(Value::Integer)
                .ok_or("a whole number between -2^63 and 2^63-1"),
            (FieldType::Integer, _) => Err("a whole number"),
            (FieldType::Float, Json::Number(n)) => n
                .as_f64()
                .filter(|x| x.is_finite())
                .map(Value::Float)
                .ok_or("a finite number"),
            (FieldType::Float, _) => Err("a number"),
            (FieldType::Date, Json::String(s)) => super::parse_date(s)
                .map(Value::Date)
                .ok_or("a date (2024-05-01) or an RFC 3339 instant (2024-05-01T12:00:00Z)"),
            (FieldType::Date, _) => Err("a string with a date (2024-05-01) or an RFC 3339 instant"),
            (FieldType::Boolean, Json::Bool(b)) => Ok(Value::Boolean(*b)),
            (FieldType::Boolean, _) => Err("true or false"),
        }
    }
}

/// Longest keyword; the word index holds a keyword as one term, and terms are bounded.
const MAX_KEYWORD_BYTES: usize = 8192;

/// A float that stands for a whole number, exactly.
fn whole(x: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    (x.fract() == 0.0 && x.abs() <= EXACT).then_some(x as i64)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(s) | Value::Keyword(s) => f.write_str(s),
            Value::Integer(i) => write!(f, "{i}"),
            Value::Float(x) => write!(f, "{x}"),
            Value::Date(micros) => match chrono::DateTime::from_timestamp_micros(*micros) {
                Some(instant) => write!(f, "{}", instant.to_rfc3339()),
                None => write!(f, "{micros}us"),
            },
            Value::Boolean(b) => write!(f, "{b}"),
        }
    }
}
