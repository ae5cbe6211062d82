//! What has to hold of a schema before it is kept, wherever it comes from.

use std::collections::{HashMap, HashSet};

use super::{Database, Table};
use crate::error::{Code, Problem};
use crate::index::check_name;

/// Most tables of a database: what is answered about one is computed from all of them.
pub const MAX_TABLES: usize = 10_000;
/// Most columns of a database, all tables together.
pub const MAX_COLUMNS: usize = 200_000;
/// Longest name of a table or column, in bytes: the longest that a database allows is 255
/// characters.
const MAX_NAME: usize = 1_024;
/// Longest text about a database, table or column, in bytes.
pub(super) const MAX_TEXT: usize = 16_384;
/// Most sample rows of a table, and most values of a column, beside those that are searched.
const MAX_ROWS: usize = 1_000;
const MAX_VALUES: usize = 10_000;

/// Checks that a schema holds together.
///
/// # Errors
/// `invalid_schema` with the field; `limit_exceeded` for too many tables or columns.
pub fn check(database: &Database) -> Result<(), Problem> {
    check_database_name(&database.name)?;
    let wrong = |field: String, message: &str| {
        Err(Problem::new(Code::InvalidSchema, message.to_string()).field(field))
    };
    check_size(database)?;
    if database.tables.is_empty() {
        return wrong("tables".into(), "the database has no table");
    }
    check_text("description", database.description.as_deref())?;
    let mut known: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (t, table) in database.tables.iter().enumerate() {
        let at = |field: &str| format!("tables[{t}].{field}");
        if table.name.is_empty() || table.name.len() > MAX_NAME {
            return wrong(at("name"), "a table's name is empty or too long");
        }
        if known.contains_key(table.name.as_str()) {
            let problem = wrong(at("name"), "two tables have the same name");
            return problem.map_err(|problem| problem.found(&table.name));
        }
        check_text(&at("description"), table.description.as_deref())?;
        check_text(&at("readable"), table.readable.as_deref())?;
        check_rows(table, &at(""))?;
        let mut columns = HashSet::new();
        for (c, column) in table.columns.iter().enumerate() {
            let at = |field: &str| format!("tables[{t}].columns[{c}].{field}");
            if column.name.is_empty() || column.name.len() > MAX_NAME {
                return wrong(at("name"), "a column's name is empty or too long");
            }
            if !columns.insert(column.name.as_str()) {
                let problem = wrong(at("name"), "two columns of a table have the same name");
                return problem.map_err(|problem| problem.found(&column.name));
            }
            check_text(&at("description"), column.description.as_deref())?;
            check_text(&at("readable"), column.readable.as_deref())?;
            check_text(&at("data_type"), Some(&column.data_type))?;
            check_text(
                &at("value_description"),
                column.value_description.as_deref(),
            )?;
        }
        let unknown = table
            .primary_key
            .iter()
            .find(|key| !columns.contains(key.as_str()));
        if let Some(unknown) = unknown {
            let problem = wrong(
                at("primary_key"),
                "the key names a column that is not there",
            );
            return problem.map_err(|problem| problem.found(unknown));
        }
        known.insert(&table.name, columns);
        let width = table.columns.len();
        if table.samples.iter().any(|row| row.len() != width) {
            return wrong(
                at("samples"),
                "a row has another number of values than the table columns",
            );
        }
    }
    for (k, key) in database.foreign_keys.iter().enumerate() {
        let at = |field: &str| format!("foreign_keys[{k}].{field}");
        if key.columns.is_empty() || key.columns.len() != key.to_columns.len() {
            return wrong(
                at("columns"),
                "a foreign key refers to as many columns as it has",
            );
        }
        for (field, name, columns) in [
            ("table", &key.table, &key.columns),
            ("to_table", &key.to_table, &key.to_columns),
        ] {
            let there = known
                .get(name.as_str())
                .is_some_and(|known| columns.iter().all(|column| known.contains(column.as_str())));
            if !there {
                let message = "a foreign key names a table or column that is not there";
                let problem = wrong(at(field), message);
                return problem
                    .map_err(|problem| problem.found(format!("{name}({})", columns.join(", "))));
            }
        }
    }
    Ok(())
}

/// Checks that a database is not too large: what is done with one takes as long as it is large.
///
/// # Errors
/// `limit_exceeded` for too many tables, columns or foreign keys.
pub(super) fn check_size(database: &Database) -> Result<(), Problem> {
    let columns = database.tables.iter().map(|table| table.columns.len());
    let keys = database.foreign_keys.iter();
    let keys = keys.map(|key| key.columns.len().max(key.to_columns.len()));
    for (what, found, most) in [
        ("tables", database.tables.len(), MAX_TABLES),
        ("columns", columns.sum(), MAX_COLUMNS),
        ("foreign_keys", keys.sum(), MAX_COLUMNS),
    ] {
        if found > most {
            let message = format!("the database has too many {what}");
            return Err(Problem::new(Code::LimitExceeded, message)
                .field(what)
                .found(found)
                .expected(format!("at most {most}")));
        }
    }
    Ok(())
}

/// Checks the rows and values that somebody brings of a table: they are read with it every time.
fn check_rows(table: &Table, at: &str) -> Result<(), Problem> {
    let values = table.columns.iter().map(|column| column.values.len());
    for (what, found, most) in [
        ("samples", table.samples.len(), MAX_ROWS),
        ("columns", values.max().unwrap_or(0), MAX_VALUES),
    ] {
        if found > most {
            return Err(
                Problem::new(Code::LimitExceeded, "there are too many rows or values")
                    .field(format!("{at}{what}"))
                    .found(found)
                    .expected(format!("at most {most}")),
            );
        }
    }
    let cells = table.samples.iter().flatten().flatten();
    let values = table.columns.iter().flat_map(|column| &column.values);
    match cells.chain(values).find(|value| value.len() > MAX_TEXT) {
        None => Ok(()),
        Some(long) => Err(Problem::new(Code::LimitExceeded, "a value is too long")
            .field(format!("{at}samples"))
            .found(format!("{} bytes", long.len()))
            .expected(format!("at most {MAX_TEXT} bytes"))),
    }
}

/// Checks the name of a database, which follows the rules of names of indexes.
///
/// # Errors
/// `invalid_schema`.
pub fn check_database_name(name: &str) -> Result<(), Problem> {
    check_name(name).map_err(|problem| Problem {
        code: Code::InvalidSchema,
        message: "a database's name cannot be used".into(),
        ..problem
    })
}

pub(super) fn check_text(field: &str, text: Option<&str>) -> Result<(), Problem> {
    match text {
        Some(text) if text.len() > MAX_TEXT => Err(Problem::new(
            Code::LimitExceeded,
            "a description is too long",
        )
        .field(field)
        .found(format!("{} bytes", text.len()))
        .expected(format!("at most {MAX_TEXT} bytes"))),
        _ => Ok(()),
    }
}
