//! What is in the columns of a file, by its first rows.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::mapping::ReadAs;
use super::{Input, Position, Source, SourceOptions};
use crate::document::{FieldType, parse_date};
use crate::error::{Problem, Result};

/// Longest string that may tell rows apart, in bytes.
const LONGEST_KEY: usize = 1024;
/// Rows that are looked at.
const LOOKED_AT: usize = 1000;

/// The first rows of an input.
#[derive(Default)]
pub(super) struct Look {
    /// What is in each column, in the order in which they come.
    pub seen: IndexMap<String, Seen>,
    /// Rows that were looked at, and those of them that could be read.
    pub rows: u64,
    pub read: u64,
    /// Why the first of the others could not.
    pub problem: Option<Problem>,
}

/// Looks at the first rows of an input.
///
/// # Errors
/// As [`Source::open`].
pub(super) fn look(input: &Input, options: &SourceOptions) -> Result<Look> {
    let mut look = Look::default();
    for row in Source::open_at(input, options, Position::default())?.take(LOOKED_AT) {
        let row = row?;
        look.rows += 1;
        match row.json {
            Ok(Json::Object(object)) => {
                look.read += 1;
                for (column, value) in object {
                    look.seen.entry(column).or_default().see(&value);
                }
            }
            Ok(_) => {}
            // Those that cannot be read are the load's to reject.
            Err(problem) => look.problem = look.problem.or(Some(problem)),
        }
    }
    Ok(look)
}

/// What was found in a column.
#[derive(Default)]
pub(super) struct Seen {
    pub values: u64,
    pub texts: u64,
    pub bytes: u64,
    pub integers: u64,
    pub floats: u64,
    pub booleans: u64,
    /// Strings that are whole numbers, and strings that are numbers.
    pub integer_texts: u64,
    pub float_texts: u64,
    /// Strings that are dates, and strings that are truth values.
    pub date_texts: u64,
    pub boolean_texts: u64,
    /// Strings that are numbers and would not be the same if they were kept as such: `0042`.
    pub padded: u64,
    /// Blanks within strings, and strings of several values between `|`.
    pub blanks: u64,
    pub listed: u64,
    pub objects: u64,
    /// Lists of strings, lists of other things, and whole numbers past 63 bits.
    pub lists: u64,
    pub mixed: u64,
    pub large: u64,
    /// Lists of numbers, and the length of the first.
    pub vectors: u64,
    pub dimensions: usize,
    /// Whether another has another length.
    pub uneven: bool,
    pub distinct: HashSet<String>,
}

impl Seen {
    pub fn see(&mut self, value: &Json) {
        if value.is_null() {
            return;
        }
        self.values += 1;
        match value {
            Json::String(text) => {
                self.texts += 1;
                self.bytes += text.len() as u64;
                self.integer_texts += u64::from(text.trim().parse::<i64>().is_ok());
                let number = text.trim().parse::<f64>();
                self.float_texts += u64::from(number.is_ok_and(f64::is_finite));
                self.date_texts += u64::from(parse_date(text.trim()).is_some());
                self.boolean_texts += u64::from(is_boolean(text.trim()));
                self.padded += u64::from(is_padded(text.trim()));
                self.blanks += text.trim().matches(char::is_whitespace).count() as u64;
                self.listed += u64::from(text.trim_matches('|').contains('|'));
                // A longer one is no key.
                if text.len() <= LONGEST_KEY {
                    self.distinct.insert(text.clone());
                }
            }
            Json::Number(number) => {
                match number {
                    number if number.is_f64() => self.floats += 1,
                    number if number.is_i64() => self.integers += 1,
                    // It is no field's: digits would be lost.
                    _ => self.large += 1,
                }
                self.distinct.insert(number.to_string());
            }
            Json::Bool(_) => self.booleans += 1,
            Json::Object(_) => self.objects += 1,
            Json::Array(items) if items.len() > 1 && items.iter().all(Json::is_number) => {
                self.vectors += 1;
                if self.dimensions == 0 {
                    self.dimensions = items.len();
                }
                self.uneven |= self.dimensions != items.len();
            }
            Json::Array(items) if items.iter().all(Json::is_string) => self.lists += 1,
            Json::Array(_) => self.mixed += 1,
            Json::Null => {}
        }
    }

    pub fn is_vector(&self, dimensions: Option<usize>) -> bool {
        let fits = dimensions.is_none_or(|dimensions| dimensions == self.dimensions);
        self.vectors > 0 && self.vectors == self.values && !self.uneven && fits
    }

    /// Whether each row has another string or whole number.
    pub fn is_key(&self, rows: u64) -> bool {
        self.values == rows
            && self.texts + self.integers + self.large == rows
            && self.distinct.len() as u64 == rows
            && self.bytes <= 128 * rows
    }

    pub fn in_words(&self) -> String {
        let kinds = [
            (self.texts, "strings"),
            (self.integers, "whole numbers"),
            (self.floats, "numbers"),
            (self.booleans, "truth values"),
            (self.objects, "objects"),
            (self.lists + self.mixed, "lists"),
            (self.large, "whole numbers that need 64 bits without a sign"),
        ];
        let mut words: Vec<String> = kinds
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(_, kind)| (*kind).to_string())
            .collect();
        if self.vectors > 0 {
            words.push(format!("lists of {} numbers", self.dimensions));
        }
        match words.is_empty() {
            true => "nothing".into(),
            false => words.join(" and "),
        }
    }

    /// What a field of this type has to read it as, where that is something else.
    pub fn read_as(&self, kind: FieldType) -> Option<ReadAs> {
        let numbers = self.integers + self.floats;
        match kind {
            FieldType::Text | FieldType::Keyword if numbers + self.booleans > 0 => {
                Some(ReadAs::Text)
            }
            FieldType::Integer if self.texts > 0 && self.integer_texts == self.texts => {
                Some(ReadAs::Integer)
            }
            FieldType::Float if self.texts > 0 && self.float_texts == self.texts => {
                Some(ReadAs::Float)
            }
            FieldType::Date if self.integers > 0 && self.integers == self.values => {
                Some(ReadAs::Date)
            }
            FieldType::Boolean if self.integers > 0 && self.distinct.len() <= 2 => {
                Some(ReadAs::Boolean)
            }
            _ => None,
        }
    }
}

fn is_boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

/// Whether a number is written with zeros or a sign before it, or with more digits than a number
/// keeps, as codes are that are no numbers.
fn is_padded(text: &str) -> bool {
    let is_long = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i64>().is_err();
    if is_long {
        return !text.is_empty();
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_zero_first = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    is_zero_first || digits.len() < text.len()
}
