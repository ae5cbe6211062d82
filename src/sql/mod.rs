//! Databases as a text-to-SQL assistant sees them: what their tables and columns are, and the
//! part of that which a question needs (DFIN-SQL, arXiv 2403.00872).
//!
//! * [`Database`] is a schema, wherever it was read from.
//! * [`gold()`] is what a SQL text uses of one.

mod database;
mod gold;
mod import;
mod names;

pub use database::{Column, Database, Dialect, ForeignKey, Origin, Table};
pub use gold::{Gold, Unread, gold};
pub use import::{Meanings, add_meanings, parse_tables_json};
pub use names::{words, written};
