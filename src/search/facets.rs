//! How many of the documents to be found have each value of a field.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::response::json_of;
use crate::document::{FieldType, Fields};
use crate::error::{Code, Problem, Result};
use crate::filter::OrdinalSet;
use crate::index::View;

/// Most fields of one request.
const MOST_FIELDS: usize = 16;
/// Most values of one field.
const MOST_VALUES: usize = 1_000;

/// A value of a field and how many documents have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FacetCount {
    /// The value, as a document holds it; an instant in UTC for dates.
    pub value: Json,
    /// Documents that have it, each counted once.
    pub count: u64,
}

/// Whether facets of these fields, so many values of each, can be counted.
///
/// # Errors
/// `invalid_request` with the field.
pub(super) fn check(wanted: &BTreeMap<String, usize>, fields: &Fields) -> Result<(), Problem> {
    let wrong = |message: &str| Problem::new(Code::InvalidRequest, message).field("facets");
    if wanted.len() > MOST_FIELDS {
        return Err(wrong("facets of too many fields")
            .found(wanted.len())
            .expected(format!("at most {MOST_FIELDS}")));
    }
    for (name, most) in wanted {
        let counted = fields
            .iter()
            .filter(|(_, field)| !matches!(field.kind, FieldType::Text | FieldType::Float));
        let names: Vec<&str> = counted.map(|(name, _)| name.as_str()).collect();
        if !names.contains(&name.as_str()) {
            return Err(wrong("a field that has no values to count")
                .found(name)
                .expected(format!(
                    "a keyword, integer, date or boolean field, one of: {}",
                    names.join(", ")
                )));
        }
        if !(1..=MOST_VALUES).contains(most) {
            return Err(wrong("a number of values that cannot be counted")
                .field(format!("facets.{name}"))
                .found(most)
                .expected(format!("1 to {MOST_VALUES}")));
        }
    }
    Ok(())
}

/// The most frequent values of each field among `documents`; equals in the order of their
/// values.
pub(super) fn count(
    view: &View,
    wanted: &BTreeMap<String, usize>,
    documents: &OrdinalSet,
) -> Result<BTreeMap<String, Vec<FacetCount>>> {
    let mut all = BTreeMap::new();
    for (field, &most) in wanted {
        let counted = view.words.facets(field, documents, most)?;
        let counts = counted.into_iter().map(|facet| FacetCount {
            value: json_of(&facet.value),
            count: facet.documents,
        });
        all.insert(field.clone(), counts.collect());
    }
    Ok(all)
}
