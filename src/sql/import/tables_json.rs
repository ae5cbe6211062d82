//! The `tables.json` of Spider (Yu et al. 2018) and BIRD (Li et al. 2023), and BIRD's
//! `*_column_meaning.json`.
//!
//! The promise: every table and column of the file is in the result, in its order and spelling;
//! a file that contradicts itself is refused as a whole, with the place.

use indexmap::IndexMap;
use serde::Deserialize;

use crate::error::{Code, Problem, Result};
use crate::sql::database::same_name;
use crate::sql::{Column, Database, ForeignKey, Table};

/// One database as the file has it. Column 0 is `*`, which belongs to no table; columns are
/// named by their place in the list.
#[derive(Deserialize)]
struct Entry {
    db_id: String,
    table_names_original: Vec<String>,
    #[serde(default)]
    table_names: Vec<String>,
    column_names_original: Vec<(i64, String)>,
    #[serde(default)]
    column_names: Vec<(i64, String)>,
    #[serde(default)]
    column_types: Vec<String>,
    #[serde(default)]
    primary_keys: Vec<Key>,
    #[serde(default)]
    foreign_keys: Vec<(usize, usize)>,
}

/// Spider lists columns; BIRD has lists of columns in it where a key has several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    One(usize),
    Several(Vec<usize>),
}

/// The databases of a `tables.json`, in its order.
///
/// # Errors
/// InvalidFile, naming the database and the place, for what is not of this layout, for a
/// column of a table that there is not, for a key of a column that there is not, and for two
/// databases, two tables or two columns of a table with one name.
pub fn parse_tables_json(text: &str) -> Result<Vec<Database>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let entries: Vec<Entry> = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        invalid("the file is no tables.json")
            .field(e.path().to_string())
            .found(e.inner())
            .expected("a list of databases in Spider's layout")
    })?;
    let mut databases: Vec<Database> = Vec::with_capacity(entries.len());
    let mut names = std::collections::HashSet::new();
    for (place, entry) in entries.into_iter().enumerate() {
        if !names.insert(entry.db_id.clone()) {
            return Err(invalid("two databases have one name")
                .field(format!("[{place}].db_id"))
                .found(entry.db_id)
                .into());
        }
        databases.push(entry.database(place)?);
    }
    Ok(databases)
}

impl Entry {
    fn database(self, place: usize) -> Result<Database, Problem> {
        let at = |key: &str, n: usize| format!("[{place}].{key}[{n}] ({})", self.db_id);
        let mut tables: Vec<Table> = Vec::with_capacity(self.table_names_original.len());
        for (n, name) in self.table_names_original.iter().enumerate() {
            if tables.iter().any(|table| same_name(&table.name, name)) {
                return Err(invalid("two tables have one name")
                    .field(at("table_names_original", n))
                    .found(name));
            }
            tables.push(Table {
                name: name.clone(),
                readable: readable(self.table_names.get(n), name),
                ..Table::default()
            });
        }
        // Where each column of the file's list is: its table and its place there.
        let mut places: Vec<Option<(usize, usize)>> = Vec::new();
        for (n, (table, name)) in self.column_names_original.iter().enumerate() {
            if *table < 0 {
                places.push(None);
                continue;
            }
            let owner = usize::try_from(*table).ok().filter(|t| *t < tables.len());
            let Some(owner) = owner else {
                return Err(invalid("a column's table is not in the list of tables")
                    .field(at("column_names_original", n))
                    .found(table)
                    .expected(format!("-1 to {}", tables.len() as i64 - 1)));
            };
            let columns = &mut tables[owner].columns;
            if columns.iter().any(|column| same_name(&column.name, name)) {
                return Err(invalid("two columns of a table have one name")
                    .field(at("column_names_original", n))
                    .found(name));
            }
            places.push(Some((owner, columns.len())));
            columns.push(Column {
                name: name.clone(),
                readable: readable(self.column_names.get(n).map(|(_, name)| name), name),
                data_type: self.column_types.get(n).cloned().unwrap_or_default(),
                nullable: true,
                ..Column::default()
            });
        }
        let column = |key: &str, n: usize, place: usize| match places.get(place) {
            Some(Some(found)) => Ok(*found),
            _ => Err(invalid("a key's column is not in the list of columns")
                .field(at(key, n))
                .found(place)
                .expected(format!("1 to {}", places.len().saturating_sub(1)))),
        };
        for (n, key) in self.primary_keys.iter().enumerate() {
            let columns = match key {
                Key::One(place) => std::slice::from_ref(place),
                Key::Several(places) => places,
            };
            for place in columns {
                let (owner, inside) = column("primary_keys", n, *place)?;
                let table = &mut tables[owner];
                let name = table.columns[inside].name.clone();
                if !table.primary_key.contains(&name) {
                    table.columns[inside].nullable = false;
                    table.primary_key.push(name);
                }
            }
        }
        let mut foreign_keys: Vec<ForeignKey> = Vec::new();
        for (n, (from, to)) in self.foreign_keys.iter().enumerate() {
            let (from_table, from) = column("foreign_keys", n, *from)?;
            let (to_table, to) = column("foreign_keys", n, *to)?;
            let key = ForeignKey {
                table: tables[from_table].name.clone(),
                columns: vec![tables[from_table].columns[from].name.clone()],
                to_table: tables[to_table].name.clone(),
                to_columns: vec![tables[to_table].columns[to].name.clone()],
                ..ForeignKey::default()
            };
            // Some files say a key twice, or that a column refers to itself.
            let itself = from_table == to_table && from == to;
            if !itself && !foreign_keys.contains(&key) {
                foreign_keys.push(key);
            }
        }
        Ok(Database {
            name: self.db_id,
            tables,
            foreign_keys,
            ..Database::default()
        })
    }
}

/// A name in words, where it says more than the name itself.
fn readable(words: Option<&String>, name: &str) -> Option<String> {
    let words = words.map(|words| words.trim()).filter(|w| !w.is_empty())?;
    (words != name).then(|| words.to_string())
}

/// What came of laying meanings over databases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meanings {
    /// Columns that have a description by it.
    pub described: usize,
    /// Keys that name no column of any of the databases.
    pub unknown: Vec<String>,
}

/// Lays BIRD's `*_column_meaning.json`, an object from `database|table|column` to a text, over
/// databases: it becomes the columns' `description`. Keys of databases that are not among these
/// are listed, not refused: the file covers a whole split.
///
/// # Errors
/// InvalidFile for what is no object of texts.
pub fn add_meanings(databases: &mut [Database], text: &str) -> Result<Meanings> {
    let meanings: IndexMap<String, String> = serde_json::from_str(text).map_err(|e| {
        invalid("the file has no column meanings")
            .found(e)
            .expected("an object from `database|table|column` to a text")
    })?;
    let mut report = Meanings::default();
    for (key, meaning) in meanings {
        let mut parts = key.splitn(3, '|').map(str::trim);
        let column = match (parts.next(), parts.next(), parts.next()) {
            (Some(database), Some(table), Some(column)) => databases
                .iter_mut()
                .find(|known| known.name == database)
                .and_then(|database| {
                    let mut tables = database.tables.iter_mut();
                    tables.find(|known| same_name(&known.name, table))
                })
                .and_then(|table| {
                    let mut columns = table.columns.iter_mut();
                    columns.find(|known| same_name(known.name.trim(), column))
                }),
            _ => None,
        };
        match column {
            Some(column) => {
                column.description = plain(&meaning);
                report.described += 1;
            }
            None => report.unknown.push(key),
        }
    }
    Ok(report)
}

/// A meaning without the comment sign and the quotes that the file has around most of them.
fn plain(meaning: &str) -> Option<String> {
    let text = meaning.trim().trim_start_matches('#').trim();
    let text = match text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        Some(inner) => inner.trim(),
        None => text,
    };
    (!text.is_empty()).then(|| text.to_string())
}

fn invalid(message: &str) -> Problem {
    Problem::new(Code::InvalidFile, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"[{"db_id": "shop", "table_names_original": ["Cust", "order line"],
        "table_names": ["customer", "order line"],
        "column_names_original": [[-1, "*"], [0, "cust_no"], [0, "nm"], [1, "Cust"], [1, "pos"]],
        "column_names": [[-1, "*"], [0, "customer number"], [0, "name"], [1, "customer"], [1, "pos"]],
        "column_types": ["text", "number", "text", "number", "number"],
        "primary_keys": [1, [3, 4]], "foreign_keys": [[3, 1], [3, 1]]}]"#;

    #[test]
    fn names_types_and_keys_are_read() {
        let databases = parse_tables_json(TWO).unwrap();
        let [shop] = databases.as_slice() else {
            panic!("{databases:?}");
        };
        assert_eq!(shop.tables[0].readable.as_deref(), Some("customer"));
        assert_eq!(shop.tables[1].readable, None);
        assert_eq!(shop.tables[1].primary_key, ["Cust", "pos"]);
        let number = &shop.tables[0].columns[0];
        assert_eq!(number.readable.as_deref(), Some("customer number"));
        assert_eq!(number.data_type, "number");
        assert!(!number.nullable);
        assert_eq!(shop.foreign_keys.len(), 1);
        assert_eq!(shop.foreign_keys[0].to_table, "Cust");
        assert_eq!(shop.foreign_keys[0].columns, ["Cust"]);
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_its_place() {
        for (from, to, place) in [
            (
                "[1, \"pos\"]], ",
                "[7, \"pos\"]], ",
                "column_names_original[4]",
            ),
            ("[1, [3, 4]]", "[1, [3, 9]]", "primary_keys[1]"),
            ("[[3, 1], [3, 1]]", "[[3, 0]]", "foreign_keys[0]"),
            (
                "\"order line\"],\n        \"table_names\"",
                "\"cust\"],\n        \"table_names\"",
                "table_names_original[1]",
            ),
            (
                "[0, \"nm\"]",
                "[0, \"CUST_NO\"]",
                "column_names_original[2]",
            ),
            ("\"db_id\"", "\"id\"", "[0]"),
        ] {
            // The original names come first in the file.
            let broken = TWO.replacen(from.trim_end_matches(", "), to.trim_end_matches(", "), 1);
            assert_ne!(broken, TWO, "{from}");
            let error = parse_tables_json(&broken).unwrap_err();
            let problem = error.problem().expect("the caller's");
            assert_eq!(problem.code, Code::InvalidFile);
            let field = problem.field.clone().unwrap_or_default();
            assert!(field.contains(place), "{field} for {place}");
        }
    }

    #[test]
    fn meanings_are_laid_over_columns_and_strays_are_listed() {
        let mut databases = parse_tables_json(TWO).unwrap();
        let text = r##"{"shop|cust|NM": "# 'The name.'", "shop|cust|age": "x", "bank|a|b": "y"}"##;
        let report = add_meanings(&mut databases, text).unwrap();
        assert_eq!(report.described, 1);
        assert_eq!(report.unknown, ["shop|cust|age", "bank|a|b"]);
        let name = &databases[0].tables[0].columns[1];
        assert_eq!(name.description.as_deref(), Some("The name."));
        assert!(add_meanings(&mut databases, "[1]").is_err());
    }
}
