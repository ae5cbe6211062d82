//! Databases as a text-to-SQL assistant sees them: what their tables and columns are, and the
//! part of that which a question needs (DFIN-SQL, arXiv 2403.00872).
//!
//! * [`Database`] is a schema, wherever it was read from.

mod catalog;
mod change;
mod check;
mod database;
mod describe;
pub mod import;
mod infer;
mod mask;
mod words;
mod written;

pub use catalog::{Entry, Schemas};
pub use change::{Changed, Changes};
pub use check::{MAX_COLUMNS, MAX_TABLES, check, check_database_name};
pub use database::{Column, Database, Dialect, ForeignKey, Origin, Table};
pub use describe::Describer;
pub use infer::infer_keys;
pub use mask::{Masking, SENSITIVE};
pub use words::{Abbreviations, split_words};
pub use written::{ColumnDescription, Descriptions, TableDescription};
