//! How many documents have each value of a field.

use std::collections::HashMap;

use super::fault;
use super::view::{Segment, View};
use crate::document::{FieldType, Value};
use crate::error::Result;
use crate::filter::OrdinalSet;

/// A value and the number of documents that have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Facet {
    /// The value.
    pub value: Value,
    /// Documents that have it, each counted once.
    pub documents: u64,
}

/// The `most` most frequent values of a keyword, integer, date or boolean field among
/// the live documents of `among`; equals in the order of their values. Other types have
/// none.
pub(super) fn facets(
    view: &View,
    field: &str,
    among: &OrdinalSet,
    most: usize,
) -> Result<Vec<Facet>> {
    let Some(column) = view.columns.defined.get(field) else {
        return Ok(Vec::new());
    };
    let kind = column.definition.kind;
    let mut words: HashMap<String, u64> = HashMap::new();
    let mut numbers: HashMap<i64, u64> = HashMap::new();
    for segment in &view.segments {
        let fast = segment.reader.fast_fields();
        match kind {
            FieldType::Keyword => {
                let Some(strings) = fast.str(&column.name).map_err(fault)? else {
                    continue;
                };
                let counts = counts(segment, among, |doc| strings.term_ords(doc));
                let mut word = String::new();
                for (ordinal, count) in counts {
                    if strings
                        .ord_to_str(ordinal, &mut word)
                        .map_err(|e| fault(e.into()))?
                    {
                        *words.entry(word.clone()).or_default() += count;
                    }
                }
            }
            FieldType::Integer | FieldType::Date => {
                let Some(column) = fast.column_opt::<i64>(&column.name).map_err(fault)? else {
                    continue;
                };
                for (value, count) in counts(segment, among, |doc| column.values_for_doc(doc)) {
                    *numbers.entry(value).or_default() += count;
                }
            }
            FieldType::Boolean => {
                let Some(column) = fast.column_opt::<bool>(&column.name).map_err(fault)? else {
                    continue;
                };
                for (value, count) in counts(segment, among, |doc| column.values_for_doc(doc)) {
                    *numbers.entry(i64::from(value)).or_default() += count;
                }
            }
            FieldType::Text | FieldType::Float => return Ok(Vec::new()),
        }
    }
    let mut words: Vec<(String, u64)> = words.into_iter().collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut numbers: Vec<(i64, u64)> = numbers.into_iter().collect();
    numbers.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let words = words.into_iter().map(|(word, documents)| Facet {
        value: Value::Keyword(word),
        documents,
    });
    let numbers = numbers.into_iter().map(|(number, documents)| Facet {
        value: match kind {
            FieldType::Date => Value::Date(number),
            FieldType::Boolean => Value::Boolean(number != 0),
            _ => Value::Integer(number),
        },
        documents,
    });
    Ok(words.chain(numbers).take(most).collect())
}

/// Counts each value once per document.
fn counts<T, I>(segment: &Segment, among: &OrdinalSet, values: impl Fn(u32) -> I) -> HashMap<T, u64>
where
    T: std::hash::Hash + Ord + Copy,
    I: Iterator<Item = T>,
{
    let mut counts = HashMap::new();
    let mut own: Vec<T> = Vec::new();
    for (doc, &ordinal) in (0..).zip(segment.ordinals.iter()) {
        if !among.contains(ordinal) || !segment.is_alive(doc) {
            continue;
        }
        own.clear();
        own.extend(values(doc));
        own.sort_unstable();
        own.dedup();
        for &value in &own {
            *counts.entry(value).or_default() += 1;
        }
    }
    counts
}
