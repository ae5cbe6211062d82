//! Databases as a text-to-SQL assistant sees them: what their tables and columns are, and the
//! part of that which a question needs (DFIN-SQL, arXiv 2403.00872).
//!
//! * [`Database`] is a schema, wherever it was read from.

mod database;
pub mod import;
mod mask;
mod words;

pub use database::{Column, Database, Dialect, ForeignKey, Origin, Table};
pub use mask::{Masking, SENSITIVE};
pub use words::{Abbreviations, split_words};
