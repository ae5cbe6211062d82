//! Descriptions that people write through the API: kept apart from what was imported, so that
//! importing again loses none of them, and laid over it whenever the database is read.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Database;
use super::check::check_text;
use crate::error::{Code, Problem};

/// What was written about a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Descriptions {
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its tables, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, TableDescription>,
}

/// What was written about a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableDescription {
    /// Its name in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its columns, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnDescription>,
}

/// What was written about a column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnDescription {
    /// Its name in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What its values mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_description: Option<String>,
}

fn take(into: &mut Option<String>, text: &Option<String>, first: bool) {
    if text.is_some() && (first || into.is_none()) {
        into.clone_from(text);
    }
}

impl Descriptions {
    /// Checks that they are about what is there.
    ///
    /// # Errors
    /// `invalid_schema` with the field for a table or column that the database does not have;
    /// `limit_exceeded` for a text that is too long.
    pub fn check(&self, database: &Database) -> Result<(), Problem> {
        check_text("description", self.description.as_deref())?;
        for (name, table) in &self.tables {
            let field = format!("tables.{name}");
            let Some(known) = database.table(name) else {
                return Err(
                    Problem::new(Code::InvalidSchema, "the database has no such table")
                        .field(field)
                        .found(name),
                );
            };
            for text in [&table.readable, &table.description] {
                check_text(&field, text.as_deref())?;
            }
            for (name, column) in &table.columns {
                let field = format!("{field}.columns.{name}");
                if known.column(name).is_none() {
                    let what = "the table has no such column";
                    return Err(Problem::new(Code::InvalidSchema, what)
                        .field(field)
                        .found(name));
                }
                for text in [
                    &column.readable,
                    &column.description,
                    &column.value_description,
                ] {
                    check_text(&field, text.as_deref())?;
                }
            }
        }
        Ok(())
    }

    /// The same with tables and columns called as the database calls them. Of several spellings of
    /// one name the database's own comes first. What is about what is gone stays as it is.
    pub(super) fn spelt(&self, database: &Database) -> Descriptions {
        let mut spelt = Descriptions {
            description: self.description.clone(),
            tables: BTreeMap::new(),
        };
        for (name, table) in &self.tables {
            let known = database.table(name);
            let own = known.map_or(name, |known| &known.name);
            let of = spelt.tables.entry(own.clone()).or_default();
            let first = own == name;
            take(&mut of.readable, &table.readable, first);
            take(&mut of.description, &table.description, first);
            for (name, column) in &table.columns {
                let known = known.and_then(|known| known.column(name));
                let own = known.map_or(name, |known| &known.name);
                let of = of.columns.entry(own.clone()).or_default();
                let first = first && own == name;
                take(&mut of.readable, &column.readable, first);
                take(&mut of.description, &column.description, first);
                take(&mut of.value_description, &column.value_description, first);
            }
            of.columns
                .retain(|_, column| *column != ColumnDescription::default());
        }
        spelt
            .tables
            .retain(|_, table| *table != TableDescription::default());
        spelt
    }

    /// Lays them over a database. What is about tables or columns that are gone is passed over:
    /// they may come back.
    pub fn lay_over(&self, database: &mut Database) {
        let over = |written: &Option<String>, read: &mut Option<String>| {
            if written.is_some() {
                read.clone_from(written);
            }
        };
        over(&self.description, &mut database.description);
        for (name, written) in &self.tables {
            let Some(name) = database.table(name).map(|table| table.name.clone()) else {
                continue;
            };
            let table = database.tables.iter_mut().find(|table| table.name == name);
            let Some(table) = table else { continue };
            over(&written.readable, &mut table.readable);
            over(&written.description, &mut table.description);
            for (name, written) in &written.columns {
                let Some(name) = table.column(name).map(|column| column.name.clone()) else {
                    continue;
                };
                let columns = table
                    .columns
                    .iter_mut()
                    .filter(|column| column.name == name);
                for column in columns {
                    over(&written.readable, &mut column.readable);
                    over(&written.description, &mut column.description);
                    over(&written.value_description, &mut column.value_description);
                }
            }
        }
    }
}
