//! Databases as a text-to-SQL assistant sees them: what their tables and columns are, and the
//! part of that which a question needs (DFIN-SQL, arXiv 2403.00872).
//!
//! * [`Database`] is a schema, wherever it was read from.
//! * [`Linker`] scores its columns and tables for a question, [`choose`] keeps some, and
//!   [`complete`] adds what they need to be joined.
//! * [`gold()`] is what a SQL text uses of one.

mod database;
mod examples;
mod focus;
mod gold;
mod import;
mod keep;
mod link;
mod names;
mod render;

pub use database::{Column, Database, Dialect, ForeignKey, Origin, Table};
pub use examples::{Vectors, diverse, worth_annotating};
pub(crate) use focus::{Decision, decide};
pub use focus::{Dropped, Focus, FocusRequest, FocusedColumn, FocusedTable, Strategy, focus};
pub use gold::{Gold, Unread, gold};
pub use import::{Meanings, add_meanings, parse_tables_json};
pub(crate) use keep::best;
pub use keep::{Choice, Kept, Mode, Reason, choose, complete};
pub use link::{Linker, Method, Prepared, Question, SchemaIndex, Scores};
pub use names::{words, written};
pub use render::{Detail, render};
