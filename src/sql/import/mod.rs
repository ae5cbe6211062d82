//! Where schemas are read from.

mod tables_json;

pub use tables_json::{Meanings, add_meanings, parse_tables_json};
