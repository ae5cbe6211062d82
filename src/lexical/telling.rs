//! The words that tell a text from others, for finding documents like it.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tantivy::Term;

use super::analysis::words;
use super::plan::idf;
use super::view::View;
use crate::document::FieldType;
use crate::error::Result;

/// A word of a field, as indexed, and how telling it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TellingTerm {
    /// Name of the text field.
    pub field: String,
    /// The word as indexed (folded, stemmed).
    pub term: String,
    /// Frequency in the text times rarity in the index; positive.
    pub weight: f32,
}

/// The `most` most telling words of `text`, the most telling first; equals in the order
/// of the alphabet. Words that no document has in the field, or that all but
/// everything has, tell nothing.
pub(super) fn terms_of(
    view: &View,
    text: &str,
    field: &str,
    most: usize,
) -> Result<Vec<TellingTerm>> {
    let Some(column) = view.columns.defined.get(field) else {
        return Ok(Vec::new());
    };
    if column.definition.kind != FieldType::Text {
        return Ok(Vec::new());
    }
    let mut counts: HashMap<String, u32> = HashMap::new();
    for word in words(&column.analyzer, text) {
        *counts.entry(word.text).or_default() += 1;
    }
    let documents = view.totals(column.field)?.documents;
    let mut terms = Vec::new();
    for (term, count) in counts {
        let frequency = view.frequency(&Term::from_field_text(column.field, &term))?;
        if frequency == 0 {
            continue;
        }
        let weight = (1.0 + (count as f32).ln()) * idf(frequency, documents);
        terms.push(TellingTerm {
            field: field.to_string(),
            term,
            weight,
        });
    }
    terms.sort_by(|a, b| {
        b.weight
            .total_cmp(&a.weight)
            .then_with(|| a.term.cmp(&b.term))
    });
    terms.truncate(most);
    Ok(terms)
}
