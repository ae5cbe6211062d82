//! A filter held against an index's fields: typed values, one meaning.

use std::cmp::Ordering;
use std::fmt;

use super::ast::{Filter, Literal, Range, problem};
use crate::document::{Document, FieldDefinition, FieldType, Fields, Value, parse_date};
use crate::error::Problem;

/// What a comparison looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The document's external id.
    Id,
    /// A field of the index.
    Field(String),
}

/// Bounds of a range; without any, every value lies within. The flag says whether the
/// end itself belongs to the range.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// Lower end.
    pub low: Option<(Value, bool)>,
    /// Upper end.
    pub high: Option<(Value, bool)>,
}

/// A filter that fits its index. Every value has its field's type, and floats hold no
/// negative zero.
///
/// A comparison holds for a document if any value of the field satisfies it; nothing
/// but [`BoundFilter::Not`] holds for a document that lacks the field.
#[derive(Debug, Clone, PartialEq)]
pub enum BoundFilter {
    /// Every document.
    All,
    /// Some value is one of these; of none, no document.
    In(Target, Vec<Value>),
    /// Some value lies within the bounds. `many` repeats whether the field may hold
    /// several values, which decides whether two ranges can be joined.
    Range {
        /// The field.
        target: Target,
        /// Its bounds.
        bounds: Bounds,
        /// Whether the field holds lists.
        many: bool,
    },
    /// Some value, of a field of keywords or the id, begins with this.
    Prefix(Target, String),
    /// The field has a value.
    Exists(Target),
    /// All hold; of none, every document.
    And(Vec<BoundFilter>),
    /// At least one holds; of none, no document.
    Or(Vec<BoundFilter>),
    /// Does not hold.
    Not(Box<BoundFilter>),
}

impl Filter {
    /// Holds the filter against `fields` and gives every literal its field's type.
    /// `id_field` names the external id, which is compared as a keyword.
    ///
    /// # Errors
    /// `invalid_filter`: an unknown field (the known ones are listed), a literal of
    /// another type, or a comparison the field's type does not allow.
    pub fn bind(&self, fields: &Fields, id_field: &str) -> Result<BoundFilter, Problem> {
        let binder = Binder { fields, id_field };
        binder.bind(self)
    }
}

struct Binder<'a> {
    fields: &'a Fields,
    id_field: &'a str,
}

impl Binder<'_> {
    fn bind(&self, filter: &Filter) -> Result<BoundFilter, Problem> {
        let all = |parts: &[Filter]| -> Result<Vec<BoundFilter>, Problem> {
            parts.iter().map(|f| self.bind(f)).collect()
        };
        Ok(match filter {
            Filter::All => BoundFilter::All,
            Filter::And(parts) => BoundFilter::And(all(parts)?),
            Filter::Or(parts) => BoundFilter::Or(all(parts)?),
            Filter::Not(inner) => BoundFilter::Not(Box::new(self.bind(inner)?)),
            Filter::Exists(field) => BoundFilter::Exists(self.target(field)?.0),
            Filter::Eq(field, literal) => {
                let (target, kind, _) = self.comparable(field)?;
                BoundFilter::In(target, vec![typed(field, kind, literal)?])
            }
            Filter::In(field, literals) => {
                let (target, kind, _) = self.comparable(field)?;
                let values = literals.iter().map(|literal| typed(field, kind, literal));
                BoundFilter::In(target, values.collect::<Result<_, _>>()?)
            }
            Filter::Range(field, range) => self.range(field, range)?,
            Filter::Prefix(field, prefix) => {
                let (target, kind, _) = self.comparable(field)?;
                if kind != FieldType::Keyword {
                    return Err(
                        problem(format!("{} field has no beginning", kind.with_article()))
                            .field(field)
                            .found("STARTS WITH")
                            .expected("=, !=, IN, EXISTS or a range; STARTS WITH needs a keyword"),
                    );
                }
                BoundFilter::Prefix(target, prefix.clone())
            }
        })
    }

    fn range(&self, field: &str, range: &Range) -> Result<BoundFilter, Problem> {
        let (target, kind, many) = self.comparable(field)?;
        if !matches!(
            kind,
            FieldType::Integer | FieldType::Float | FieldType::Date
        ) {
            return Err(problem(format!(
                "{} field has no order to filter by",
                kind.with_article()
            ))
            .field(field)
            .found("a range")
            .expected("=, !=, IN or EXISTS; ranges need an integer, float or date"));
        }
        let end = |open: &Option<Literal>, closed: &Option<Literal>| {
            let (literal, included) = match (open, closed) {
                (Some(literal), _) => (literal, false),
                (None, Some(literal)) => (literal, true),
                (None, None) => return Ok(None),
            };
            Ok::<_, Problem>(Some((typed(field, kind, literal)?, included)))
        };
        let bounds = Bounds {
            low: end(&range.gt, &range.gte)?,
            high: end(&range.lt, &range.lte)?,
        };
        Ok(BoundFilter::Range {
            target,
            bounds,
            many,
        })
    }

    fn target(&self, field: &str) -> Result<(Target, FieldType, bool), Problem> {
        if let Some(FieldDefinition { kind, many, .. }) = self.fields.get(field) {
            return Ok((Target::Field(field.to_string()), *kind, *many));
        }
        if field == self.id_field {
            return Ok((Target::Id, FieldType::Keyword, false));
        }
        let mut known: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        known.push(self.id_field);
        Err(problem("the filter names a field the index does not have")
            .field(field)
            .found(field)
            .expected(format!("one of: {}", known.join(", "))))
    }

    fn comparable(&self, field: &str) -> Result<(Target, FieldType, bool), Problem> {
        let (target, kind, many) = self.target(field)?;
        if kind == FieldType::Text {
            return Err(problem("a text field is searched, not filtered")
                .field(field)
                .found("a comparison with a text field")
                .expected("EXISTS; to compare whole strings, define the field as a keyword"));
        }
        Ok((target, kind, many))
    }
}

fn typed(field: &str, kind: FieldType, literal: &Literal) -> Result<Value, Problem> {
    let mismatch = |found: String, expected: &str| {
        problem(format!(
            "the filter compares {} field with another type",
            kind.with_article()
        ))
        .field(field)
        .found(found)
        .expected(expected)
    };
    let value = match literal {
        Literal::Json(json) => {
            Value::from_json(kind, json).map_err(|expected| mismatch(json.to_string(), expected))?
        }
        Literal::Bare(text) => {
            let read = match kind {
                FieldType::Keyword | FieldType::Text => Some(Value::Keyword(text.clone())),
                FieldType::Integer => text.parse().ok().map(Value::Integer),
                FieldType::Float => {
                    let number: Option<f64> = text.parse().ok();
                    number.filter(|x| x.is_finite()).map(Value::Float)
                }
                FieldType::Date => parse_date(text).map(Value::Date),
                FieldType::Boolean if text.eq_ignore_ascii_case("true") => {
                    Some(Value::Boolean(true))
                }
                FieldType::Boolean if text.eq_ignore_ascii_case("false") => {
                    Some(Value::Boolean(false))
                }
                FieldType::Boolean => None,
            };
            let expected = match kind {
                FieldType::Integer => "a whole number between -2^63 and 2^63-1",
                FieldType::Float => "a finite number",
                FieldType::Date => "a date (2024-05-01) or an RFC 3339 instant",
                FieldType::Boolean => "true or false",
                FieldType::Keyword | FieldType::Text => "a string",
            };
            read.ok_or_else(|| mismatch(text.clone(), expected))?
        }
    };
    Ok(match value {
        // So that equality of values is equality of their bits.
        Value::Float(x) => Value::Float(x + 0.0),
        other => other,
    })
}

/// Order of two values of one type; of different types, by type.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Text(x) | Value::Keyword(x), Value::Text(y) | Value::Keyword(y)) => x.cmp(y),
        (Value::Integer(x), Value::Integer(y)) | (Value::Date(x), Value::Date(y)) => x.cmp(y),
        (Value::Float(x), Value::Float(y)) => (x + 0.0).total_cmp(&(y + 0.0)),
        (Value::Boolean(x), Value::Boolean(y)) => x.cmp(y),
        _ => (a.kind() as u8).cmp(&(b.kind() as u8)),
    }
}

impl Bounds {
    /// Whether a value lies within.
    pub fn contains(&self, value: &Value) -> bool {
        let above = self
            .low
            .as_ref()
            .is_none_or(|(low, included)| match compare(value, low) {
                Ordering::Greater => true,
                Ordering::Equal => *included,
                Ordering::Less => false,
            });
        above
            && self
                .high
                .as_ref()
                .is_none_or(|(high, included)| match compare(value, high) {
                    Ordering::Less => true,
                    Ordering::Equal => *included,
                    Ordering::Greater => false,
                })
    }
}

impl BoundFilter {
    /// Whether a document passes: the meaning of the filter, stated on one document.
    pub fn matches(&self, document: &Document) -> bool {
        match self {
            BoundFilter::All => true,
            BoundFilter::And(parts) => parts.iter().all(|f| f.matches(document)),
            BoundFilter::Or(parts) => parts.iter().any(|f| f.matches(document)),
            BoundFilter::Not(inner) => !inner.matches(document),
            BoundFilter::Exists(Target::Id) => true,
            BoundFilter::Exists(Target::Field(field)) => document.values.contains_key(field),
            BoundFilter::In(target, wanted) => any_value(target, document, |value| {
                wanted.iter().any(|w| compare(w, value) == Ordering::Equal)
            }),
            BoundFilter::Range { target, bounds, .. } => {
                any_value(target, document, |value| bounds.contains(value))
            }
            BoundFilter::Prefix(target, prefix) => any_value(target, document, |value| {
                value.as_str().is_some_and(|text| text.starts_with(prefix))
            }),
        }
    }
}

fn any_value(target: &Target, document: &Document, holds: impl Fn(&Value) -> bool) -> bool {
    match target {
        Target::Id => holds(&Value::Keyword(document.id.clone())),
        Target::Field(field) => document
            .values
            .get(field)
            .is_some_and(|values| values.iter().any(holds)),
    }
}

/// A bound filter in something close to the filter language, for logs and as the key
/// of a cache: two filters print alike exactly if they are equal.
impl fmt::Display for BoundFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[BoundFilter], with: &str| {
            f.write_str("(")?;
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    f.write_str(with)?;
                }
                part.fmt(f)?;
            }
            f.write_str(")")
        };
        match self {
            BoundFilter::All => f.write_str("ALL"),
            BoundFilter::Exists(target) => write!(f, "EXISTS {target}"),
            BoundFilter::Prefix(target, prefix) => write!(f, "{target} STARTS WITH {prefix:?}"),
            BoundFilter::Not(inner) => write!(f, "NOT {inner}"),
            BoundFilter::And(parts) => joined(f, parts, " AND "),
            BoundFilter::Or(parts) => joined(f, parts, " OR "),
            BoundFilter::In(target, values) => {
                write!(f, "{target} IN [")?;
                for (i, value) in values.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", Shown(value))?;
                }
                f.write_str("]")
            }
            BoundFilter::Range { target, bounds, .. } => {
                write!(f, "{target} IN ")?;
                match &bounds.low {
                    Some((low, true)) => write!(f, "[{}", Shown(low))?,
                    Some((low, false)) => write!(f, "]{}", Shown(low))?,
                    None => f.write_str("[")?,
                }
                f.write_str("..")?;
                match &bounds.high {
                    Some((high, true)) => write!(f, "{}]", Shown(high)),
                    Some((high, false)) => write!(f, "{}[", Shown(high)),
                    None => f.write_str("]"),
                }
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Id => f.write_str("#id"),
            Target::Field(field) => write!(f, "{field:?}"),
        }
    }
}

/// A value, strings quoted so that no two different filters print alike.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Text(s) | Value::Keyword(s) => write!(f, "{s:?}"),
            Value::Float(x) => write!(f, "{x:?}"),
            other => write!(f, "{other}"),
        }
    }
}
