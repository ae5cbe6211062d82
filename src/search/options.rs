//! Order, groups and pages, as a request asks for them.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::Limits;
use crate::document::{FieldType, Fields};
use crate::error::{Code, Problem, Result};
use crate::lexical::{MAX_SORT_KEYS, SortBy, SortKey};

/// What sorts by the score.
const SCORE: &str = "_score";
/// Most further members of each group.
const MAX_INNER: usize = 100;
/// How long a cursor is kept where the request does not say, in seconds.
const DEFAULT_KEEP_S: u64 = 60;

/// One key of the order of hits: a field's name (`"published"`, with a `-` before it
/// `"-published"` from the greatest down), or an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sort {
    /// A keyword, integer, float, date or boolean field, the id, or `_score`. Of several
    /// values the least counts ascending, the greatest descending.
    pub field: String,
    /// Ascending by default; the best score first for `_score`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<SortOrder>,
    /// Where documents without a value come.
    pub missing: Missing,
}

/// Direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortOrder {
    /// The least first.
    Asc,
    /// The greatest first.
    Desc,
}

/// Where documents without a value come, whatever the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Before all others.
    First,
    /// After all others.
    #[default]
    Last,
}

/// The object form of a [`Sort`], and the schema of both.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SortObject {
    /// A keyword, integer, float, date or boolean field, the id, or `_score`. Of several
    /// values the least counts ascending, the greatest descending.
    field: String,
    /// Ascending by default; the best score first for `_score`.
    #[serde(default)]
    order: Option<SortOrder>,
    /// Where documents without a value come.
    #[serde(default)]
    missing: Missing,
}

/// One key of the order of hits.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // stands for the shape alone
pub(super) enum SortSchema {
    /// A field's name; with a `-` before it, from the greatest down.
    Name(String),
    /// In full.
    Object(SortObject),
}

impl From<&str> for Sort {
    fn from(text: &str) -> Self {
        let (field, order) = match text.strip_prefix('-') {
            Some(field) => (field, Some(SortOrder::Desc)),
            None => (text, None),
        };
        Sort {
            field: field.into(),
            order,
            missing: Missing::default(),
        }
    }
}

impl<'de> Deserialize<'de> for Sort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand: an untagged enum would lose the reason why neither form fits.
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Sort;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field, or an object with \"field\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Sort, E> {
                Ok(Sort::from(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sort, A::Error> {
                let object = SortObject::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Sort {
                    field: object.field,
                    order: object.order,
                    missing: object.missing,
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Only the best hit of each value of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Collapse {
    /// A keyword, integer, date or boolean field that holds one value. Documents without a
    /// value are all hits of their own.
    pub field: String,
    /// How many further members of its group a hit names, at most 100.
    #[serde(default)]
    pub inner: usize,
}

/// Pages through one point in time, whatever is written meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CursorRequest {
    /// Begins: how long the cursor is kept after its last use, in seconds; 60 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_s: Option<u64>,
    /// Goes on: the `cursor` of the answer before. Stands alone; everything else is as in
    /// the first request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The order that a request asks for; none for the order of relevance. `listing`: nothing
/// is looked for, so nothing has a score.
pub(super) fn order(
    sort: &[Sort],
    fields: &Fields,
    id_field: &str,
    listing: bool,
) -> Result<Vec<SortKey>, Problem> {
    if sort.is_empty() || sort.len() > MAX_SORT_KEYS {
        return Err(Problem::new(
            Code::InvalidRequest,
            "an order has too few or too many keys",
        )
        .field("sort")
        .found(format!("{} keys", sort.len()))
        .expected(format!("1 to {MAX_SORT_KEYS}")));
    }
    let mut keys: Vec<SortKey> = Vec::with_capacity(sort.len());
    for (i, one) in sort.iter().enumerate() {
        let wrong = |message: String| {
            Problem::new(Code::InvalidRequest, message)
                .field(format!("sort[{i}]"))
                .found(&one.field)
        };
        let by = match fields.get(&one.field).map(|field| field.kind) {
            Some(FieldType::Text) => {
                return Err(wrong("a text field has no order to sort by".into())
                    .expected(sortable(fields, id_field)));
            }
            Some(_) => SortBy::Field(one.field.clone()),
            None if one.field == SCORE && listing => {
                return Err(
                    wrong("nothing is looked for, so nothing has a score".into())
                        .expected("a field; or a query, a vector or like"),
                );
            }
            None if one.field == SCORE => SortBy::Score,
            None if one.field == id_field => SortBy::Id,
            None => {
                return Err(wrong("the index has no such field".into())
                    .expected(sortable(fields, id_field)));
            }
        };
        if keys.iter().any(|known| known.by == by) {
            return Err(wrong("an order names a field twice".into()).expected("each once"));
        }
        let descending = match one.order {
            Some(order) => order == SortOrder::Desc,
            None => by == SortBy::Score,
        };
        keys.push(SortKey {
            by,
            descending,
            missing_first: one.missing == Missing::First,
        });
    }
    Ok(keys)
}

fn sortable(fields: &Fields, id_field: &str) -> String {
    let names = fields
        .iter()
        .filter(|(_, field)| field.kind != FieldType::Text)
        .map(|(name, _)| name.as_str());
    let names: Vec<&str> = names.chain([id_field, SCORE]).collect();
    format!("one of: {}", names.join(", "))
}

impl Collapse {
    pub(super) fn check(&self, fields: &Fields) -> Result<(), Problem> {
        let groups = |kind: FieldType| !matches!(kind, FieldType::Text | FieldType::Float);
        let wrong = |message: &str| {
            Problem::new(Code::InvalidRequest, message)
                .field("collapse.field")
                .found(&self.field)
        };
        match fields.get(&self.field) {
            Some(field) if groups(field.kind) && !field.many => {}
            Some(field) if field.many => {
                return Err(wrong("a document may have several values of the field")
                    .expected("a field that holds one value"));
            }
            _ => {
                let names = fields.iter().filter(|(_, f)| groups(f.kind) && !f.many);
                let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
                return Err(wrong("a field that has no values to group by").expected(format!(
                    "a keyword, integer, date or boolean field that holds one value, one of: {}",
                    names.join(", ")
                )));
            }
        }
        if self.inner > MAX_INNER {
            return Err(
                Problem::new(Code::InvalidRequest, "a number is out of range")
                    .field("collapse.inner")
                    .found(self.inner)
                    .expected(format!("0 to {MAX_INNER}")),
            );
        }
        Ok(())
    }
}

impl CursorRequest {
    /// How long a new cursor is kept, in seconds.
    pub(super) fn keep_s(&self, limits: &Limits) -> Result<u64, Problem> {
        if limits.cursors == 0 {
            return Err(
                Problem::new(Code::LimitExceeded, "this server holds no cursors")
                    .field("cursor")
                    .found("a cursor")
                    .expected("none; `limits.cursors` of the configuration is 0"),
            );
        }
        let keep_s = self.keep_s.unwrap_or(DEFAULT_KEEP_S.min(limits.cursor_s));
        if !(1..=limits.cursor_s).contains(&keep_s) {
            return Err(
                Problem::new(Code::InvalidRequest, "a number is out of range")
                    .field("cursor.keep_s")
                    .found(keep_s)
                    .expected(format!("1 to {}", limits.cursor_s)),
            );
        }
        Ok(keep_s)
    }
}
