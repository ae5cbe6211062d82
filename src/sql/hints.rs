//! What an answer is given beside the schema: values that the question names, and examples.

use std::collections::{BTreeMap, BTreeSet};

use super::keep::{Choice, best};
use super::link::{SchemaIndex, Scores};
use super::values::{Matched, MatchedValue};

/// Least score of a value, found exactly or by its words, for which its column is kept.
const LEAST: f32 = 0.75;
/// Most columns that are kept for one place in the question: those that linking finds likeliest.
const MOST_COLUMNS: usize = 3;

/// A stored question with its SQL, as it stands in a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub question: String,
    pub sql: String,
}

/// What is known of a question beside its words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hints {
    /// Values that it names.
    pub values: Vec<MatchedValue>,
    /// Like questions with their SQL, the one to be given up last first.
    pub examples: Vec<Shown>,
}

impl Hints {
    /// The values by the column that they are of.
    pub(crate) fn by_column(&self, index: &SchemaIndex) -> BTreeMap<usize, Vec<String>> {
        let mut by_column: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for value in &self.values {
            if let Some(column) = index.find(&value.table, &value.column) {
                let of = by_column.entry(column).or_default();
                if !of.contains(&value.value) {
                    of.push(value.value.clone());
                }
            }
        }
        by_column
    }

    /// Columns that are kept for a value although they score less than the choice asks for.
    pub(crate) fn columns(
        &self,
        index: &SchemaIndex,
        scores: &Scores,
        choice: Choice,
    ) -> BTreeSet<usize> {
        let least = match choice {
            Choice::Above { column, .. } => column.of(index.columns.len()),
            // All are kept, but a budget may choose among them.
            Choice::All => f32::INFINITY,
            Choice::Top(_) => return BTreeSet::new(),
        };
        let mut places: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for value in &self.values {
            let sure = matches!(value.matched, Matched::Exact | Matched::Words);
            if sure
                && value.score >= LEAST
                && let Some(column) = index.find(&value.table, &value.column)
            {
                let place = value.span.map(|span| span.start);
                let columns = places.entry(place).or_default();
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
        }
        let mut kept = BTreeSet::new();
        for columns in places.values() {
            let likely: Vec<f32> = columns.iter().map(|n| scores.columns[*n]).collect();
            let first = best(&likely).into_iter().take(MOST_COLUMNS);
            kept.extend(
                first
                    .map(|n| columns[n])
                    .filter(|n| scores.columns[*n] < least),
            );
        }
        kept
    }
}
