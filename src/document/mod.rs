//! What a document is: typed fields, their values, and the check of a JSON
//! object against the fields an index defines.
//!
//! The lowest room: words, filters, ingestion and the REST API all speak of
//! fields and values in these terms, so a row of a Parquet file and a body of a
//! request are held to the same rules.

mod date;
mod field;
mod path;
mod validate;
mod value;

pub use date::parse_date;
pub use field::{Analysis, FieldDefinition, FieldType, Fields, Language};
pub use path::{MAX_STEPS, is_below, is_parent, is_path, pick, strings_at};
pub(crate) use validate::read_id;
pub use validate::{Document, UnknownFields, validate};
pub use value::Value;
