//! A database's schema: tables, columns, keys, and what is known about them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The language that a database speaks; decides how names are quoted and types are written.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    #[default]
    Sqlite,
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// A schema, wherever it was read from. Tables and columns keep the order of their source, but
/// nothing that is answered depends on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Its name in the catalogue.
    pub name: String,
    #[serde(default)]
    pub dialect: Dialect,
    /// What it is about, for choosing among databases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub tables: Vec<Table>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign_keys: Vec<ForeignKey>,
}

/// A table or a view.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// As SQL names it, unquoted; with the schema in front where that is not the default one.
    pub name: String,
    /// In words, where the source or somebody says so (`customer accounts`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readable: Option<String>,
    /// The source's comment, or what was written through the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub view: bool,
    pub columns: Vec<Column>,
    /// Names of the columns of the primary key, in its order; empty where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// A few rows, a value for each column in the order of the columns, as text; None is NULL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Vec<Option<String>>>,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// As SQL names it, unquoted.
    pub name: String,
    /// In words, where the source or somebody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readable: Option<String>,
    /// The type as the source writes it; empty where it has none.
    #[serde(default)]
    pub data_type: String,
    #[serde(default = "yes")]
    pub nullable: bool,
    /// Computed from others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub generated: bool,
    /// The source's comment, or what was written through the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What its values mean (BIRD's `value_description`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_description: Option<String>,
    /// Frequent values, the most frequent first; bounded, empty where masked or not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Looks like a secret or personal data: its values are kept nowhere.
    #[serde(default, skip_serializing_if = "is_false")]
    pub masked: bool,
}

/// Columns of one table that refer to as many of another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForeignKey {
    pub table: String,
    pub columns: Vec<String>,
    pub to_table: String,
    pub to_columns: Vec<String>,
    #[serde(default)]
    pub origin: Origin,
}

/// Where a foreign key is known from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The source declares it.
    #[default]
    Declared,
    /// Names, types or values suggest it.
    Inferred,
}

impl Database {
    /// The table of this name, whatever its case: SQL folds it.
    pub fn table(&self, name: &str) -> Option<&Table> {
        let exact = self.tables.iter().find(|table| table.name == name);
        exact.or_else(|| {
            let mut tables = self.tables.iter();
            tables.find(|table| same_name(&table.name, name))
        })
    }
}

impl Table {
    /// The column of this name, whatever its case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        let exact = self.columns.iter().find(|column| column.name == name);
        exact.or_else(|| {
            let mut columns = self.columns.iter();
            columns.find(|column| same_name(&column.name, name))
        })
    }
}

/// Whether SQL takes two unquoted names for the same.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

fn yes() -> bool {
    true
}

fn is_false(value: &bool) -> bool {
    !value
}
