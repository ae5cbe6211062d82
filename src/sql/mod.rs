//! Databases as a text-to-SQL assistant sees them: what their tables and columns are, and the
//! part of that which a question needs (DFIN-SQL, arXiv 2403.00872).
//!
//! * [`Database`] is a schema, wherever it was read from.
//! * [`Linker`] scores its columns and tables for a question, [`choose`] keeps some, and
//!   [`complete`] adds what they need to be joined.
//! * [`Retriever`] answers questions about the databases of a catalogue.
//! * [`gold()`] is what a SQL text uses of one.

mod abbreviations;
mod bounded;
mod catalog;
mod change;
mod check;
mod database;
mod describe;
mod examples;
mod focus;
mod gold;
mod hints;
pub mod import;
mod infer;
mod keep;
mod link;
mod mask;
mod names;
mod patterns;
mod permissions;
mod render;
mod retrieve;
mod similar;
mod stored;
mod values;
mod vectors;
mod which;

mod written;

pub use abbreviations::Abbreviations;
pub use catalog::{Entry, Schemas};
pub use change::{Changed, Changes};
pub use check::{MAX_COLUMNS, MAX_TABLES, check, check_database_name};
pub use database::{Column, Database, Dialect, ForeignKey, Origin, Table};
pub use describe::Describer;
pub use examples::{Vectors, diverse, worth_annotating};
pub(crate) use focus::{Decision, decide};
pub use focus::{Dropped, Focus, FocusRequest, FocusedColumn, FocusedTable, Strategy, focus};
pub use gold::{Gold, Unread, gold};
pub use hints::{Hints, Shown};
pub use import::{Meanings, add_meanings, parse_tables_json};
pub use infer::infer_keys;
pub(crate) use keep::best;
pub use keep::{Choice, Kept, Least, Mode, Reason, choose, complete};
pub use link::{Linker, Method, Prepared, Question, SchemaIndex, Scores};
pub use mask::{Masking, SENSITIVE};
pub use names::split_words;
pub use permissions::{Access, Permissions};
pub use render::{Detail, render};
pub use retrieve::{RetrieveRequest, Retriever, ValuesAnswer, ValuesRequest};
pub use similar::{
    AnnotateAnswer, AnnotateRequest, SimilarAnswer, SimilarExample, SimilarRequest, WorthAnnotating,
};
pub use stored::{Example, ExamplesAdded, MOST_EXAMPLES, NewExample};
pub use values::{
    Cells, MOST_CELLS, Matched, MatchedValue, NamedValues, Span, ValueHit, ValueIndex,
};
pub use which::{CANDIDATES, Compared, RankedDatabase, Sketch, WhichAnswer, WhichRequest};
pub(crate) use which::{compare, link as link_compared, rank};
pub use written::{ColumnDescription, Descriptions, TableDescription};
