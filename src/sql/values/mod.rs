//! Cell values, found by words, by letters and by meaning, so that "Fremont" leads to
//! `cities.name`.
//!
//! The promise: a value that stands in a question as it stands in a cell is found, whatever its
//! case and accents; what is nearest by letters and by meaning comes after it. Nothing is found
//! of columns that are masked or that the caller may not see, because nothing of them is there.
//!
//! * [`Cells`] are the values as they were imported: bounded for each column.
//! * [`ValueIndex`] finds them: [`ValueIndex::search`] for a text that somebody takes for a value,
//!   [`ValueIndex::named`] for those that a question names.

mod cells;
mod index;
mod meaning;
mod named;

pub use cells::{Cells, MOST_CELLS};
pub use index::ValueIndex;
pub use named::{MatchedValue, Span};

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::link::Question;
use super::{Database, names};
use crate::lexical::Stems;

/// How a value was found.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Matched {
    /// It is the text, whatever the case and accents.
    Exact,
    /// By its words or their stems.
    Words,
    /// By letters in common: misspelt, or a part of a word.
    Ngrams,
    /// By its vector.
    Meaning,
}

/// Most values that a question, and its evidence, is said to name.
const MOST_NAMED: usize = 10;

/// A database's values, ready for questions.
pub struct NamedValues {
    pub(crate) index: ValueIndex,
    /// Stems of the words that its tables and columns are called by.
    schema: HashSet<String>,
}

impl NamedValues {
    /// Makes the values of a database ready.
    pub fn new(database: &Database, cells: &Cells) -> NamedValues {
        let stems = Stems::english();
        let mut schema = HashSet::new();
        for table in &database.tables {
            let columns = table.columns.iter().map(|column| &column.name);
            for name in columns.chain([&table.name]) {
                schema.extend(stems.of(&names::words(name)));
            }
        }
        NamedValues {
            index: ValueIndex::new(cells),
            schema,
        }
    }

    /// Values that a question names, and then those that its evidence does; the surest of each
    /// first.
    pub fn of(&self, question: Question<'_>) -> Vec<MatchedValue> {
        let find = |text: &str| self.index.named(text, &self.schema, MOST_NAMED);
        let mut named = find(question.text);
        for mut value in find(question.evidence) {
            let known = named.iter().any(|known| {
                (&known.table, &known.column, &known.value)
                    == (&value.table, &value.column, &value.value)
            });
            if !known {
                value.span = None;
                named.push(value);
            }
        }
        named
    }
}

impl std::fmt::Display for Matched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Matched::Exact => "exact",
            Matched::Words => "words",
            Matched::Ngrams => "ngrams",
            Matched::Meaning => "meaning",
        })
    }
}

/// A value that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValueHit {
    pub table: String,
    pub column: String,
    pub value: String,
    /// 0 to 1; 1 is the text itself.
    pub score: f32,
    pub matched: Matched,
}
