//! Descriptions of tables and columns, composed from names, types, keys and values where nobody
//! wrote one: sentences for people and for encoders.

use super::{Abbreviations, Column, Database, Table};

/// Columns that a composed description of a table names, and values that one of a column names.
const NAMED: usize = 12;
const EXAMPLES: usize = 5;

/// Describes the tables and columns of one database.
pub struct Describer<'a> {
    database: &'a Database,
    words: Abbreviations,
}

impl<'a> Describer<'a> {
    /// For a database as it is now.
    pub fn new(database: &'a Database) -> Self {
        Describer {
            database,
            words: Abbreviations::of(database),
        }
    }

    /// A table's name in words.
    pub fn table_name(&self, table: &Table) -> String {
        let readable = table.readable.clone();
        readable.unwrap_or_else(|| self.words.expand(&table.name))
    }

    /// A column's name in words.
    pub fn column_name(&self, column: &Column) -> String {
        let readable = column.readable.clone();
        readable.unwrap_or_else(|| self.words.expand(&column.name))
    }

    /// What somebody wrote about a table, or what can be said of it.
    pub fn table(&self, table: &Table) -> String {
        if let Some(written) = &table.description {
            return written.clone();
        }
        let named = |names: Vec<String>| {
            let more = names.len().saturating_sub(NAMED);
            let list = names[..names.len() - more].join(", ");
            match more {
                0 => list,
                more => format!("{list} and {more} more"),
            }
        };
        let kind = if table.view { "View" } else { "Table" };
        let mut text = format!("{kind} of {}", self.table_name(table));
        let columns = table.columns.iter().map(|column| self.column_name(column));
        text += &format!(" with {}.", named(columns.collect()));
        let keys = table.primary_key.iter().filter_map(|key| table.column(key));
        let keys: Vec<String> = keys.map(|column| self.column_name(column)).collect();
        if !keys.is_empty() {
            text += &format!(" Each row is told by its {}.", keys.join(" and "));
        }
        let refers = self.neighbours(|key| (key.table == table.name).then_some(&key.to_table));
        if !refers.is_empty() {
            text += &format!(" Refers to {}.", named(refers));
        }
        let from = self.neighbours(|key| (key.to_table == table.name).then_some(&key.table));
        if !from.is_empty() {
            text += &format!(" Referred to by {}.", named(from));
        }
        text
    }

    fn neighbours<'k>(
        &self,
        other: impl Fn(&'a super::ForeignKey) -> Option<&'k String>,
    ) -> Vec<String>
    where
        'a: 'k,
    {
        let mut names: Vec<String> = Vec::new();
        for name in self.database.foreign_keys.iter().filter_map(other) {
            let table = self.database.table(name);
            let name = table.map_or_else(|| name.clone(), |table| self.table_name(table));
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// What somebody wrote about a column, or what can be said of it.
    pub fn column(&self, table: &Table, column: &Column) -> String {
        if let Some(written) = &column.description {
            return written.clone();
        }
        let mut text = format!(
            "The {} of {}",
            self.column_name(column),
            self.table_name(table)
        );
        if column.generated {
            text += ", computed";
        }
        let key = self
            .database
            .foreign_keys
            .iter()
            .find(|key| key.table == table.name && key.columns.contains(&column.name));
        if let Some(to) = key.and_then(|key| self.database.table(&key.to_table)) {
            text += &format!(", which refers to {}", self.table_name(to));
        }
        text.push('.');
        let sampled = || {
            let place = table.columns.iter().position(|c| c.name == column.name)?;
            let values = table
                .samples
                .iter()
                .filter_map(|row| row.get(place)?.clone());
            Some(values.collect::<Vec<_>>())
        };
        let mut examples = match column.values.is_empty() {
            true => sampled().unwrap_or_default(),
            false => column.values.clone(),
        };
        examples.dedup();
        examples.truncate(EXAMPLES);
        if !examples.is_empty() && !column.masked {
            text += &format!(" For example {}.", examples.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;
    use crate::sql::import::ddl;

    #[test]
    fn what_nobody_wrote_is_composed() {
        let text = "CREATE TABLE cust_acct (acct_no INT PRIMARY KEY, bal REAL);
            CREATE TABLE bookings (id INTEGER PRIMARY KEY, acct_no INT REFERENCES cust_acct,
                kind TEXT);";
        let mut database = ddl("bank", text, Dialect::Sqlite).unwrap().database;
        database.tables[1].columns[2].values = vec!["in".into(), "out".into()];
        let describer = Describer::new(&database);
        let (accounts, bookings) = (&database.tables[0], &database.tables[1]);
        assert_eq!(
            describer.table(accounts),
            "Table of customer account with account number, balance. Each row is told by its \
             account number. Referred to by bookings."
        );
        assert_eq!(
            describer.column(bookings, &bookings.columns[1]),
            "The account number of bookings, which refers to customer account."
        );
        assert_eq!(
            describer.column(bookings, &bookings.columns[2]),
            "The kind of bookings. For example in, out."
        );
        let mut written = database.clone();
        written.tables[0].description = Some("Who has an account.".into());
        assert_eq!(
            Describer::new(&written).table(&written.tables[0]),
            "Who has an account."
        );
    }
}
