//! What cells hold, as far as it was read: the texts that questions are searched for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sql::Database;

/// Most values of a database, all columns together; the longest columns lose theirs first.
pub const MOST_CELLS: usize = 500_000;

/// Values of a database's columns, the most frequent of each column first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cells {
    /// By table and column.
    pub tables: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Cells {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.columns().map(|(_, _, values)| values.len()).sum()
    }

    /// Makes these the values of a column; none takes the column out.
    pub fn set(&mut self, table: &str, column: &str, values: Vec<String>) {
        if !values.is_empty() {
            let columns = self.tables.entry(table.to_string()).or_default();
            columns.insert(column.to_string(), values);
        } else if let Some(columns) = self.tables.get_mut(table) {
            columns.remove(column);
            if columns.is_empty() {
                self.tables.remove(table);
            }
        }
    }

    /// Those of a column.
    pub fn of(&self, table: &str, column: &str) -> Option<&Vec<String>> {
        self.tables.get(table)?.get(column)
    }

    /// Every column with its table's name, its own and its values.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &str, &[String])> {
        self.tables.iter().flat_map(|(table, columns)| {
            columns
                .iter()
                .map(|(column, values)| (table.as_str(), column.as_str(), values.as_slice()))
        })
    }

    /// Leaves those of columns that the database has and that it does not mask.
    #[must_use]
    pub fn within(mut self, database: &Database) -> Cells {
        let mut left = Cells::default();
        for table in &database.tables {
            let Some(columns) = self.tables.get_mut(&table.name) else {
                continue;
            };
            for column in table.columns.iter().filter(|column| !column.masked) {
                if let Some(values) = columns.remove(&column.name) {
                    left.set(&table.name, &column.name, values);
                }
            }
        }
        left
    }

    /// Holds them to `most` values of each column and to [`MOST_CELLS`] of all; says how many of
    /// a column are left where that is fewer than `most`.
    pub fn bound(&mut self, most: usize) -> Option<usize> {
        let mut lengths: Vec<usize> = self.columns().map(|(.., v)| v.len().min(most)).collect();
        lengths.sort_unstable();
        let mut room = MOST_CELLS;
        let mut each = most;
        for (n, length) in lengths.iter().enumerate() {
            let share = room / (lengths.len() - n);
            if *length > share {
                each = share;
                break;
            }
            room -= length;
        }
        for columns in self.tables.values_mut() {
            for values in columns.values_mut() {
                values.truncate(each);
            }
            columns.retain(|_, values| !values.is_empty());
        }
        self.tables.retain(|_, columns| !columns.is_empty());
        (each < most).then_some(each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_columns_lose_theirs_first() {
        let many = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
        let mut cells = Cells::default();
        cells.set("a", "short", many(10));
        cells.set("a", "long", many(2 * MOST_CELLS));
        cells.set("b", "long", many(2 * MOST_CELLS));
        let mut few = cells.clone();
        assert_eq!(few.bound(100), None);
        assert_eq!(few.len(), 210);
        let each = cells.bound(usize::MAX).unwrap();
        assert_eq!(each, (MOST_CELLS - 10) / 2);
        assert_eq!(cells.len(), MOST_CELLS);
        assert_eq!(cells.of("a", "short").map(Vec::len), Some(10));
        cells.bound(0);
        assert!(cells.is_empty());
    }
}
