//! What a column says is to be done with a row.

use serde_json::{Map, Value as Json};

use crate::error::{Code, Problem};
use crate::ingest::Operation;

/// Takes the operation out of a row: `insert`, `update`, `upsert` or `delete` in any case, or
/// the letters of Debezium (`c`, `r` for a row of a first snapshot, `u`, `d`). A row without one
/// is written.
///
/// # Errors
/// `invalid_document` for any other value.
pub(in crate::ingest) fn operation_of(
    column: &str,
    row: &mut Map<String, Json>,
) -> Result<Operation, Problem> {
    let found = match row.shift_remove(column) {
        None | Some(Json::Null) => return Ok(Operation::Upsert),
        Some(found) => found,
    };
    let name = found.as_str().map(|name| name.trim().to_ascii_lowercase());
    Ok(match name.as_deref() {
        // A log that is read again must not fail at what it did the first time.
        Some("insert" | "i" | "upsert" | "c" | "r" | "") => Operation::Upsert,
        Some("update" | "u") => Operation::Update,
        Some("delete" | "d") => Operation::Delete,
        _ => {
            return Err(
                Problem::new(Code::InvalidDocument, "there is no such operation")
                    .field(column)
                    .found(found)
                    .expected("insert, update, upsert or delete; or c, u, r or d"),
            );
        }
    })
}
