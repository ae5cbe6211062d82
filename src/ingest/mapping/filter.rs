//! Which rows of a file are wanted: the language of filters, over columns.
//!
//! There are no types to hold literals against, so values decide: a number is compared with
//! a number, a day or an instant with the same, also where the file has them as strings (as
//! CSV has everything), and everything else as strings. Null and absent values pass `NOT`
//! and nothing else; of a list one element is enough.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::field::at;
use crate::document::parse_date;
use crate::error::{Error, Problem};
use crate::filter::{Filter, Literal, Range};

/// A filter over the columns of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct RowFilter {
    text: String,
    filter: Filter,
}

impl FromStr for RowFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<RowFilter, Error> {
        Ok(RowFilter {
            filter: Filter::parse(text)?,
            text: text.to_string(),
        })
    }
}

impl TryFrom<String> for RowFilter {
    type Error = Problem;

    fn try_from(text: String) -> Result<RowFilter, Problem> {
        Ok(RowFilter {
            filter: Filter::parse(&text)?,
            text,
        })
    }
}

impl From<RowFilter> for String {
    fn from(filter: RowFilter) -> String {
        filter.text
    }
}

impl fmt::Display for RowFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is known of a column of a row group.
pub(in crate::ingest) struct Extent {
    /// Bounds of its values; none where they are not known.
    pub(in crate::ingest) min: Option<Json>,
    pub(in crate::ingest) max: Option<Json>,
    /// Whether every value is null.
    pub(in crate::ingest) is_null: bool,
    /// Whether every value is a date.
    pub(in crate::ingest) is_date: bool,
}

impl RowFilter {
    /// The columns that it asks about.
    pub(in crate::ingest) fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        gather(&self.filter, &mut columns);
        columns
    }

    /// Whether a row is wanted.
    pub(super) fn matches(&self, row: &Map<String, Json>) -> bool {
        matches(&self.filter, row)
    }

    /// Whether a row group may hold a row that is wanted.
    pub(in crate::ingest) fn may_match(&self, extent: &dyn Fn(&str) -> Option<Extent>) -> bool {
        may_match(&self.filter, extent)
    }
}

fn gather<'a>(filter: &'a Filter, columns: &mut Vec<&'a str>) {
    match filter {
        Filter::All => {}
        Filter::Eq(column, _)
        | Filter::In(column, _)
        | Filter::Range(column, _)
        | Filter::Prefix(column, _)
        | Filter::Exists(column) => columns.push(column),
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().for_each(|part| gather(part, columns));
        }
        Filter::Not(inner) => gather(inner, columns),
    }
}

fn matches(filter: &Filter, row: &Map<String, Json>) -> bool {
    let any = |column: &str, holds: &dyn Fn(&Json) -> bool| match at(row, column).as_deref() {
        None => false,
        Some(Json::Array(items)) => items.iter().any(holds),
        Some(value) => holds(value),
    };
    match filter {
        Filter::All => true,
        Filter::And(parts) => parts.iter().all(|part| matches(part, row)),
        Filter::Or(parts) => parts.iter().any(|part| matches(part, row)),
        Filter::Not(inner) => !matches(inner, row),
        Filter::Exists(column) => any(column, &|value| !value.is_null()),
        Filter::Eq(column, literal) => any(column, &|value| is_equal(value, literal)),
        Filter::In(column, literals) => any(column, &|value| {
            literals.iter().any(|literal| is_equal(value, literal))
        }),
        Filter::Range(column, range) => any(column, &|value| is_within(value, range)),
        Filter::Prefix(column, prefix) => any(column, &|value| {
            value.as_str().is_some_and(|text| text.starts_with(prefix))
        }),
    }
}

fn is_equal(value: &Json, literal: &Literal) -> bool {
    compare(value, literal) == Some(Ordering::Equal)
}

fn is_within(value: &Json, range: &Range) -> bool {
    let holds = |literal: &Option<Literal>, wanted: &[Ordering]| {
        literal.as_ref().is_none_or(|literal| {
            compare(value, literal).is_some_and(|order| wanted.contains(&order))
        })
    };
    use Ordering::{Equal, Greater, Less};
    holds(&range.gt, &[Greater])
        && holds(&range.gte, &[Greater, Equal])
        && holds(&range.lt, &[Less])
        && holds(&range.lte, &[Less, Equal])
}

/// What a literal or a string can be taken for.
enum Meant {
    Whole(i64),
    Number(f64),
    Date(i64),
    Text,
}

fn meant(text: &str) -> Meant {
    let trimmed = text.trim();
    if let Ok(whole) = trimmed.parse() {
        return Meant::Whole(whole);
    }
    if let Some(number) = trimmed.parse().ok().filter(|x: &f64| x.is_finite()) {
        return Meant::Number(number);
    }
    match parse_date(trimmed) {
        Some(date) => Meant::Date(date),
        None => Meant::Text,
    }
}

/// How a value compares with a literal; None where they are of different kinds.
fn compare(value: &Json, literal: &Literal) -> Option<Ordering> {
    let (text, is_quoted) = match literal {
        Literal::Bare(text) => (text.as_str(), false),
        Literal::Json(Json::String(text)) => (text.as_str(), true),
        Literal::Json(Json::Number(number)) => return numbers(value, &number.to_string()),
        Literal::Json(Json::Bool(wanted)) => return Some(value.as_bool()?.cmp(wanted)),
        Literal::Json(_) => return None,
    };
    match value {
        Json::Number(_) => numbers(value, text),
        Json::Bool(found) => match text.to_ascii_lowercase().as_str() {
            "true" => Some(found.cmp(&true)),
            "false" => Some(found.cmp(&false)),
            _ => None,
        },
        Json::String(found) => match (meant(found), meant(text)) {
            (Meant::Date(found), Meant::Date(wanted)) => Some(found.cmp(&wanted)),
            (Meant::Whole(_) | Meant::Number(_), Meant::Whole(_) | Meant::Number(_))
                if !is_quoted =>
            {
                let found = found.trim().parse().map_or_else(
                    |_| Some(Json::from(found.trim().parse::<f64>().ok()?)),
                    |whole: i64| Some(Json::from(whole)),
                );
                numbers(&found?, text)
            }
            _ => Some(found.as_str().cmp(text)),
        },
        _ => None,
    }
}

fn numbers(value: &Json, literal: &str) -> Option<Ordering> {
    match (value.as_i64(), meant(literal)) {
        (Some(found), Meant::Whole(wanted)) => Some(found.cmp(&wanted)),
        (_, Meant::Whole(wanted)) => value.as_f64()?.partial_cmp(&(wanted as f64)),
        (_, Meant::Number(wanted)) => value.as_f64()?.partial_cmp(&wanted),
        _ => None,
    }
}

/// False only where the bounds of its columns say that no row of the group passes.
fn may_match(filter: &Filter, extent: &dyn Fn(&str) -> Option<Extent>) -> bool {
    let known = |column: &str, may: &dyn Fn(&Extent) -> bool| {
        extent(column).is_none_or(|extent| !extent.is_null && may(&extent))
    };
    let equal = |extent: &Extent, literal: &Literal| {
        let range = Range {
            gte: Some(literal.clone()),
            lte: Some(literal.clone()),
            ..Range::default()
        };
        overlaps(extent, &range)
    };
    match filter {
        Filter::All | Filter::Not(_) => true,
        Filter::And(parts) => parts.iter().all(|part| may_match(part, extent)),
        Filter::Or(parts) => parts.iter().any(|part| may_match(part, extent)),
        Filter::Exists(column) | Filter::Prefix(column, _) => known(column, &|_| true),
        Filter::Eq(column, literal) => known(column, &|extent| equal(extent, literal)),
        Filter::In(column, literals) => known(column, &|extent| {
            literals.iter().any(|literal| equal(extent, literal))
        }),
        Filter::Range(column, range) => known(column, &|extent| overlaps(extent, range)),
    }
}

/// Whether values between the bounds may lie in a range.
fn overlaps(extent: &Extent, range: &Range) -> bool {
    // Bounds of strings are in the order of their bytes: only where that is what counts for
    // each value between them.
    let order = |bound: &Option<Json>, literal: &Option<Literal>| {
        let (bound, literal) = (bound.as_ref()?, literal.as_ref()?);
        if bound.is_string() {
            let text = match literal {
                Literal::Bare(text) | Literal::Json(Json::String(text)) => text,
                Literal::Json(_) => return None,
            };
            match (extent.is_date, meant(text)) {
                (false, Meant::Text) | (true, Meant::Date(_)) => {}
                _ => return None,
            }
        }
        compare(bound, literal)
    };
    use Ordering::{Equal, Greater, Less};
    let is = |bound: &Option<Json>, literal: &Option<Literal>, out: &[Ordering]| {
        order(bound, literal).is_none_or(|order| !out.contains(&order))
    };
    is(&extent.max, &range.gt, &[Less, Equal])
        && is(&extent.max, &range.gte, &[Less])
        && is(&extent.min, &range.lt, &[Greater, Equal])
        && is(&extent.min, &range.lte, &[Greater])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn passes(filter: &str, row: Json) -> bool {
        let filter: RowFilter = filter.parse().unwrap();
        filter.matches(row.as_object().unwrap())
    }

    #[test]
    fn values_decide_what_is_compared() {
        for (filter, row, expected) in [
            ("year >= 2020", json!({"year": 2020}), true),
            ("year >= 2020", json!({"year": "2020"}), true),
            ("year >= 2020", json!({"year": "1999.5"}), false),
            ("year >= 2020", json!({"year": null}), false),
            ("NOT year >= 2020", json!({}), true),
            ("price < 3", json!({"price": 2.5}), true),
            (
                "day < 2024-05-02",
                json!({"day": "2024-05-01T23:00:00Z"}),
                true,
            ),
            ("lang = en", json!({"lang": "en"}), true),
            ("lang IN [en, de]", json!({"lang": ["fr", "de"]}), true),
            ("open = true", json!({"open": true}), true),
            ("a.b = 1", json!({"a": {"b": 1}}), true),
            ("code = \"007\"", json!({"code": "7"}), false),
            ("name STARTS WITH \"ab\"", json!({"name": "abc"}), true),
            ("EXISTS name", json!({"name": null}), false),
            ("year = x", json!({"year": 1}), false),
        ] {
            assert_eq!(passes(filter, row.clone()), expected, "{filter} {row}");
        }
    }

    proptest! {
        /// A row group is left out only where none of its rows passes.
        #[test]
        fn no_row_is_lost(
            values in proptest::collection::vec(-5_i64..5, 1..6),
            wanted in -6_i64..6,
            operator in 0..6_usize,
            kind in 0..3_usize,
        ) {
            let json = |value: i64| match kind {
                0 => json!(value),
                1 => json!(value as f64 + 0.5),
                _ => json!(format!("x{}", value + 5)),
            };
            let literal = match kind {
                2 => format!("x{}", wanted.abs()),
                _ => wanted.to_string(),
            };
            let operator = ["=", "!=", "<", "<=", ">", ">="][operator];
            let filter: RowFilter = format!("v {operator} {literal}").parse().unwrap();
            let any = values.iter().any(|&value| {
                filter.matches(json!({"v": json(value)}).as_object().unwrap())
            });
            let bounds = [values.iter().min(), values.iter().max()].map(|v| v.map(|v| json(*v)));
            let [min, max] = bounds;
            let extent = |_: &str| Some(Extent {
                min: min.clone(),
                max: max.clone(),
                is_null: false,
                is_date: false,
            });
            prop_assert!(!any || filter.may_match(&extent));
        }
    }
}
