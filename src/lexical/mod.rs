//! Words: tantivy, analysis, query syntax, BM25.
//!
//! A [`WordIndex`] holds the words, numbers and dates of documents under their ordinals.
//! It is derived: each commit records the log sequence it covers, and an index that
//! is damaged or of another definition says so and is rebuilt. A [`WordReader`] is one
//! commit seen from any thread; it searches a [`WordQuery`], evaluates filters,
//! explains scores and marks words. The same query on the same documents gives the
//! same hits with the same scores, however the index is cut into segments.
//!
//! This is the only room that names tantivy.

mod analysis;
mod collect;
mod cursor;
mod definition;
mod evidence;
mod expand;
mod explain;
mod facets;
mod highlight;
mod index;
mod leaf;
mod occurrences;
mod passing;
mod plan;
mod reader;
mod schema;
mod sort;
mod synonyms;
mod syntax;
mod telling;
mod view;

pub(crate) use analysis::Stems;
pub use definition::{Combine, Scoring, Synonyms, Typos};
pub use evidence::{DocumentEvidence, WordEvidence};
pub use explain::{ClauseScore, FieldScore, WordExplanation};
pub use facets::Facet;
pub use highlight::Fragment;
pub use index::{OpenError, WordIndex, WordOptions};
pub use reader::{WordHit, WordHits, WordReader};
pub use sort::{
    MAX_SORT_KEYS, SortAmong, SortBy, SortKey, SortPlace, SortQuery, Sorted, SortedHit,
};
pub use synonyms::SynonymTable;
pub use syntax::{MAX_QUERY_CHARS, MAX_QUERY_CLAUSES, QueryOptions, WordQuery};
pub use telling::TellingTerm;

/// Tantivy's troubles are the machine's: its files, its disk.
fn fault(error: tantivy::TantivyError) -> crate::error::Error {
    crate::error::Error::operator_from("the word index cannot be used", error)
}
