//! What the readers of live databases share: bounds, quoting, and which values are worth keeping.

use std::time::Duration;

use crate::sql::{Cells, Column, Database, Dialect, ForeignKey, Masking, Origin, Table};

/// Rows of a table that are looked at for frequent values: the cost of a table stays the same
/// however large it grows.
pub(super) const SCANNED_ROWS: usize = 20_000;
/// Longest value that is kept, in characters; longer ones are texts, not values to look for.
pub(super) const LONGEST_VALUE: usize = 100;

/// How much is read of a database's rows, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadOptions {
    /// Sample rows of each table and view; 0 for none.
    pub samples: usize,
    /// Frequent values of each column; 0 for none.
    pub values: usize,
    /// Values of each column of texts that questions are searched for; 0 for none.
    pub searched_values: usize,
    /// Longest time to wait for a server to let one in.
    pub connect_timeout: Duration,
    /// Longest time of a statement. What takes longer (a count, values) is left out.
    pub statement_timeout: Duration,
    /// Columns whose values are not even read.
    pub masking: Masking,
}

impl ReadOptions {
    /// As a configuration has it.
    pub fn new(config: &crate::config::Schemas) -> ReadOptions {
        ReadOptions {
            samples: config.samples,
            values: config.values,
            searched_values: config.searched_values,
            connect_timeout: Duration::from_millis(config.connect_ms),
            statement_timeout: Duration::from_millis(config.statement_ms),
            masking: Masking::configured(config),
        }
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions::new(&crate::config::Schemas::default())
    }
}

/// A name as SQL text.
pub(super) fn quoted(name: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Mysql => format!("`{}`", name.replace('`', "``")),
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Whether a column holds bytes rather than text.
pub(super) fn is_binary(data_type: &str) -> bool {
    let name = data_type.to_lowercase();
    ["blob", "bytea", "binary", "geometry", "bit"]
        .iter()
        .any(|kind| name.contains(kind))
}

/// Whether a column holds text, so that its values are worth looking for whatever their number.
pub(super) fn is_text(data_type: &str) -> bool {
    let name = data_type.to_lowercase();
    let texts = ["char", "text", "clob", "enum", "set", "string", "name"];
    name.is_empty() || texts.iter().any(|kind| name.contains(kind))
}

/// How many values of a column are asked for: one more than are kept.
pub(super) fn asked(column: &Column, options: &ReadOptions) -> usize {
    match is_text(&column.data_type) {
        true => options.values.max(options.searched_values) + 1,
        false => options.values + 1,
    }
}

/// Keeps the values that were read of a column, the most frequent first: some of them with the
/// column, more of them to be searched. More than are kept, in a column of numbers or dates, are
/// measurements.
pub(super) fn keep(
    mut values: Vec<String>,
    table: &mut Table,
    column: usize,
    options: &ReadOptions,
    cells: &mut Cells,
) {
    let column = &mut table.columns[column];
    if !is_text(&column.data_type) {
        if values.len() <= options.values {
            column.values = values;
        }
        return;
    }
    column.values = values.iter().take(options.values).cloned().collect();
    values.truncate(options.searched_values);
    cells.set(&table.name, &column.name, values);
}

/// Whether values of a column are read at all.
pub(super) fn wanted(table: &Table, column: &Column, options: &ReadOptions) -> bool {
    // Numbers that identify say nothing.
    let identifies = !is_text(&column.data_type) && table.primary_key == [column.name.clone()];
    let readable = !column.masked && !is_binary(&column.data_type);
    let any = options.values > 0 || options.searched_values > 0 && is_text(&column.data_type);
    any && !table.view && readable && !identifies
}

/// Takes away the primary keys of which not every column may be read: what is left of one tells
/// no row from the next.
pub(super) fn drop_hidden_keys(database: &mut Database) {
    for table in &mut database.tables {
        let columns = &table.columns;
        let seen = |key: &String| columns.iter().any(|column| column.name == *key);
        if !table.primary_key.iter().all(seen) {
            table.primary_key.clear();
        }
    }
}

/// A key as catalogues list it: a row for each column.
pub(super) struct KeyColumn {
    /// What tells the key from others of the table.
    pub(super) key: String,
    pub(super) table: String,
    pub(super) column: String,
    pub(super) to_table: String,
    /// None where only the table is named: its primary key is meant.
    pub(super) to_column: Option<String>,
}

/// Puts keys together from their columns, in order. Those that lead to a table which is not
/// there (or may not be read) are named in `notes`.
pub(super) fn collect_keys(rows: Vec<KeyColumn>, database: &mut Database, notes: &mut Vec<String>) {
    let mut at = 0;
    while at < rows.len() {
        let first = &rows[at];
        let of = rows[at..]
            .iter()
            .take_while(|row| row.key == first.key && row.table == first.table);
        let of: Vec<&KeyColumn> = of.collect();
        at += of.len();
        let columns: Vec<String> = of.iter().map(|row| row.column.clone()).collect();
        let named: Option<Vec<String>> = of.iter().map(|row| row.to_column.clone()).collect();
        let target = database.table(&first.to_table);
        let spelled = target.and_then(|target| {
            let named = named.unwrap_or_else(|| target.primary_key.clone());
            let spell = |name: &String| target.column(name).map(|c| c.name.clone());
            let to_columns = named.iter().map(spell).collect::<Option<Vec<String>>>()?;
            let table = database.table(&first.table)?;
            let spell = |name: &String| table.column(name).map(|c| c.name.clone());
            let columns = columns.iter().map(spell).collect::<Option<Vec<String>>>()?;
            (to_columns.len() == columns.len()).then(|| ForeignKey {
                table: table.name.clone(),
                columns,
                to_table: target.name.clone(),
                to_columns,
                origin: Origin::Declared,
            })
        });
        match spelled {
            Some(key) if !database.foreign_keys.contains(&key) => database.foreign_keys.push(key),
            Some(_) => {}
            None => notes.push(format!(
                "foreign key {}({}) left out: {} is not there, may not be read, or has no such key",
                first.table,
                columns.join(", "),
                first.to_table
            )),
        }
    }
}
