//! The trained combination: two rounds of trees. The first looks at each column and each table
//! beside the question; the second sees what the first says of all the others: whether another
//! table is likelier, whether a key leads to a likely table, whether its own table has a column
//! that is likelier; and, where there is one, what the cross-encoder says of the likeliest tables.

use std::io::Read;

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::Scores;
use super::cross::{COLUMNS_CROSS, CrossFeatures, TABLES_CROSS, ranks};
use super::features::{Features, TABLE_FEATURES, column_features};
use super::schema::SchemaIndex;
use super::trees::Trees;
use crate::error::{Error, Result};
use crate::sql::keep::Mode;

/// What is shipped, without a cross-encoder and with one; written by training/linkers/combine.py.
const SHIPPED: &[u8] = include_bytes!("combination.json.gz");
const SHIPPED_CROSS: &[u8] = include_bytes!("combination-cross.json.gz");

/// Trees of both rounds, and the thresholds of the modes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Combination {
    /// What it was fitted on, for people.
    #[allow(dead_code)]
    description: String,
    columns: Trees,
    tables: Trees,
    columns_again: Trees,
    tables_again: Trees,
    thresholds: Thresholds,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thresholds {
    minimal: Threshold,
    balanced: Threshold,
    conservative: Threshold,
}

/// Least probabilities at which a column, of small schemas and of large ones, and a table for
/// itself, are kept.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Threshold {
    pub small: f32,
    pub column: f32,
    pub table: f32,
}

/// What the second round sees beside the first round's features.
const COLUMNS_AGAIN: &[&str] = &[
    "p",
    "p_rank",
    "p_gap",
    "p_table_rank",
    "p_table_gap",
    "table_p",
    "table_p_rank",
    "table_p_gap",
    "table_next",
    "table_sum",
    "other_side_p",
    "neighbour_p",
    "neighbour_next",
    "namesake_p",
    "namesake_table_p",
    "all_columns_p",
    "all_tables_p",
];
const TABLES_AGAIN: &[&str] = &[
    "p",
    "p_rank",
    "p_gap",
    "best_p",
    "sum_p",
    "neighbour_p",
    "neighbour_next",
    "all_columns_p",
    "all_tables_p",
];

impl Combination {
    /// The one that is shipped, for linking with a cross-encoder or without.
    ///
    /// # Errors
    /// A bug where the file in the source does not fit the features.
    pub(crate) fn shipped(cross: bool) -> Result<Combination> {
        let packed = if cross { SHIPPED_CROSS } else { SHIPPED };
        let broken =
            |why: String| Error::Bug(format!("the shipped combination cannot be read: {why}"));
        let mut text = String::new();
        GzDecoder::new(packed)
            .read_to_string(&mut text)
            .map_err(|e| broken(e.to_string()))?;
        Combination::read(&text, cross).map_err(broken)
    }

    /// One that was written by training/linkers/combine.py.
    pub(crate) fn read(text: &str, cross: bool) -> Result<Combination, String> {
        let combination: Combination = serde_json::from_str(text).map_err(|e| e.to_string())?;
        combination.check(cross)?;
        Ok(combination)
    }

    fn check(&self, cross: bool) -> Result<(), String> {
        let columns = column_features();
        let tables: Vec<String> = TABLE_FEATURES.iter().map(ToString::to_string).collect();
        let again = |own: &[String], more: &[&str], read: &[&str]| -> Vec<String> {
            let more = more.iter().map(|name| format!("again_{name}"));
            let read = read.iter().filter(|_| cross);
            let read = read.map(|name| format!("cross_{name}"));
            own.iter().cloned().chain(more).chain(read).collect()
        };
        self.columns.check(&columns)?;
        self.tables.check(&tables)?;
        let columns = again(&columns, COLUMNS_AGAIN, COLUMNS_CROSS);
        self.columns_again.check(&columns)?;
        self.tables_again
            .check(&again(&tables, TABLES_AGAIN, TABLES_CROSS))
    }

    pub(crate) fn threshold(&self, mode: Mode) -> Threshold {
        match mode {
            Mode::Minimal => self.thresholds.minimal,
            Mode::Balanced => self.thresholds.balanced,
            Mode::Conservative => self.thresholds.conservative,
        }
    }

    /// What the first round says: probabilities that the question needs each column and each
    /// table.
    pub(crate) fn first(&self, features: &Features) -> Scores {
        Scores {
            columns: each(&self.columns, &features.columns),
            tables: each(&self.tables, &features.tables),
        }
    }

    /// What the second round says, with what a cross-encoder said where this combination is one
    /// for that.
    pub(crate) fn second(
        &self,
        index: &SchemaIndex,
        features: &Features,
        first: &Scores,
        cross: Option<&CrossFeatures>,
    ) -> Scores {
        let again = Again::new(index, first);
        let columns = features.columns.iter().enumerate().map(|(n, row)| {
            let read = cross.map_or(&[][..], |cross| &cross.columns[n]);
            let row = [row.as_slice(), &again.column(n), read].concat();
            self.columns_again.probability(&row)
        });
        let tables = features.tables.iter().enumerate().map(|(n, row)| {
            let read = cross.map_or(&[][..], |cross| &cross.tables[n]);
            let row = [row.as_slice(), &again.table(n), read].concat();
            self.tables_again.probability(&row)
        });
        Scores {
            columns: columns.collect(),
            tables: tables.collect(),
        }
    }
}

fn each<const N: usize>(trees: &Trees, rows: &[[f32; N]]) -> Vec<f32> {
    rows.iter().map(|row| trees.probability(row)).collect()
}

/// What the first round says of everything.
struct Again<'a> {
    index: &'a SchemaIndex,
    first: &'a Scores,
    column_ranks: Vec<f32>,
    /// Within the table.
    inner_ranks: Vec<f32>,
    table_ranks: Vec<f32>,
    best_column: f32,
    best_table: f32,
    all_columns: f32,
    all_tables: f32,
    tables: Vec<TableAgain>,
    /// Of each column, the likeliest of the others of its name, and of their tables.
    namesakes: Vec<f32>,
    namesake_tables: Vec<f32>,
}

#[derive(Default)]
struct TableAgain {
    best: f32,
    second: f32,
    sum: f32,
    neighbour: f32,
    neighbour_next: f32,
}

impl<'a> Again<'a> {
    fn new(index: &'a SchemaIndex, first: &'a Scores) -> Again<'a> {
        let mut inner_ranks = vec![0.0; first.columns.len()];
        let mut tables = Vec::with_capacity(index.tables.len());
        for table in &index.tables {
            let own = &first.columns[table.columns.clone()];
            inner_ranks[table.columns.clone()].copy_from_slice(&ranks(own));
            let (best, second) = two(own.iter().copied());
            let beside = table.neighbours.iter().map(|other| first.tables[*other]);
            let (neighbour, neighbour_next) = two(beside);
            tables.push(TableAgain {
                best,
                second,
                sum: own.iter().sum(),
                neighbour,
                neighbour_next,
            });
        }
        Again {
            index,
            first,
            column_ranks: ranks(&first.columns),
            inner_ranks,
            table_ranks: ranks(&first.tables),
            best_column: two(first.columns.iter().copied()).0,
            best_table: two(first.tables.iter().copied()).0,
            all_columns: first.columns.iter().sum(),
            all_tables: first.tables.iter().sum(),
            tables,
            namesakes: index.best_namesakes(|n| first.columns[n], 0.0),
            namesake_tables: index.best_namesakes(|n| first.tables[index.columns[n].table], 0.0),
        }
    }

    fn column(&self, n: usize) -> [f32; COLUMNS_AGAIN.len()] {
        let facts = &self.index.columns[n];
        let (p, table) = (self.first.columns[n], &self.tables[facts.table]);
        let table_p = self.first.tables[facts.table];
        let most = |numbers: &mut dyn Iterator<Item = f32>| numbers.fold(0.0, f32::max);
        let others = facts.refers.iter().chain(&facts.referred);
        [
            p,
            self.column_ranks[n],
            p - self.best_column,
            self.inner_ranks[n],
            p - table.best,
            table_p,
            self.table_ranks[facts.table],
            table_p - self.best_table,
            // Beside the best column stands the second, beside any other the best.
            if p >= table.best {
                table.second
            } else {
                table.best
            },
            table.sum,
            most(&mut others.map(|other| self.first.tables[*other])),
            table.neighbour,
            table.neighbour_next,
            self.namesakes[n],
            self.namesake_tables[n],
            self.all_columns,
            self.all_tables,
        ]
    }

    fn table(&self, n: usize) -> [f32; TABLES_AGAIN.len()] {
        let (p, table) = (self.first.tables[n], &self.tables[n]);
        [
            p,
            self.table_ranks[n],
            p - self.best_table,
            table.best,
            table.sum,
            table.neighbour,
            table.neighbour_next,
            self.all_columns,
            self.all_tables,
        ]
    }
}

/// The greatest and the second, 0 where there is none.
fn two(figures: impl Iterator<Item = f32>) -> (f32, f32) {
    figures.fold((0.0, 0.0), |(first, second), figure| {
        if figure > first {
            (figure, first)
        } else {
            (first, figure.max(second))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_fits_and_its_modes_keep_more_and_more() {
        for cross in [false, true] {
            let shipped = Combination::shipped(cross).unwrap();
            let modes = [Mode::Minimal, Mode::Balanced, Mode::Conservative];
            let thresholds = modes.map(|mode| shipped.threshold(mode));
            assert!(thresholds.iter().all(|t| t.small <= t.column));
            for pair in thresholds.windows(2) {
                assert!(pair[0].column > pair[1].column && pair[0].table >= pair[1].table);
                assert!(pair[0].small > pair[1].small);
            }
        }
    }

    #[test]
    fn ranks_are_alike_for_what_is_alike() {
        let ln = |n: f32| (1.0 + n).ln();
        assert_eq!(
            ranks(&[0.5, 0.9, 0.5, 0.1]),
            [ln(1.0), ln(0.0), ln(1.0), ln(3.0)]
        );
        assert_eq!(two([0.2, 0.9, 0.9].into_iter()), (0.9, 0.9));
        assert_eq!(two(std::iter::empty()), (0.0, 0.0));
    }
}
