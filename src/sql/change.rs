//! What an import changed: only that has to be encoded again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Column, Database};

/// Tables and columns that an import added, changed and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// Tables; one is changed where its own description, key or kind is, or a column.
    pub tables: Changed,
    /// Columns, as `table.column`, of tables that were there before and are still.
    pub columns: Changed,
    /// Whether foreign keys were added or removed.
    pub foreign_keys: bool,
}

/// Names, in the order of the alphabet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

impl Changes {
    /// From one state of a database to the next. Sample rows, values and numbers of rows, which
    /// change all the time, do not count.
    pub fn between(before: &Database, after: &Database) -> Changes {
        let mut changes = Changes::default();
        let old = by_name(&before.tables, |table| &table.name);
        let new = by_name(&after.tables, |table| &table.name);
        changes.tables.removed = missing(&old, &new);
        changes.tables.added = missing(&new, &old);
        for (name, table) in &new {
            let Some(was) = old.get(name) else { continue };
            let old = by_name(&was.columns, |column| &column.name);
            let new = by_name(&table.columns, |column| &column.name);
            let full = |names: Vec<String>| names.into_iter().map(|c| format!("{name}.{c}"));
            // Values, like rows, change without the schema.
            let differ = |a: &Column, b: &Column| {
                let schema = |column: &Column| Column {
                    values: Vec::new(),
                    ..column.clone()
                };
                schema(a) != schema(b)
            };
            let changed = new.iter().filter(|(name, column)| {
                old.get(*name)
                    .is_some_and(|was: &&Column| differ(was, column))
            });
            let changed: Vec<String> = changed.map(|(name, _)| (*name).to_string()).collect();
            let (added, removed) = (missing(&new, &old), missing(&old, &new));
            let same = changed.is_empty() && added.is_empty() && removed.is_empty();
            changes.columns.added.extend(full(added));
            changes.columns.changed.extend(full(changed));
            changes.columns.removed.extend(full(removed));
            let itself = was.description == table.description
                && was.readable == table.readable
                && was.view == table.view
                && was.primary_key == table.primary_key;
            if !same || !itself {
                changes.tables.changed.push((*name).to_string());
            }
        }
        let keys = |database: &Database| {
            let mut keys: Vec<String> = database
                .foreign_keys
                .iter()
                .map(|key| format!("{key:?}"))
                .collect();
            keys.sort();
            keys
        };
        changes.foreign_keys = keys(before) != keys(after);
        changes
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

fn by_name<T>(all: &[T], name: impl Fn(&T) -> &String) -> BTreeMap<&str, &T> {
    all.iter().map(|one| (name(one).as_str(), one)).collect()
}

/// Names of `a` that `b` lacks.
fn missing<T>(a: &BTreeMap<&str, &T>, b: &BTreeMap<&str, &T>) -> Vec<String> {
    let names = a.keys().filter(|name| !b.contains_key(*name));
    names.map(ToString::to_string).collect()
}
