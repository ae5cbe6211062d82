//! Which columns are kept: those that score enough, and those without which they cannot be
//! joined.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::link::{SchemaIndex, Scores};

/// How much is kept rather than left out, by how likely the question needs it.
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
pub enum Mode {
    /// What is likely needed.
    Minimal,
    /// What may be needed.
    #[default]
    Balanced,
    /// All but what is surely not needed.
    Conservative,
}

/// Which columns and tables are kept for their scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// Everything.
    All,
    /// So many columns, the best first; ones that score alike in the order of their names.
    Top(usize),
    /// Columns and tables that score at least so much; and the best table and its best column
    /// in any case.
    Above { column: Least, table: f32 },
}

/// Columns up to which a schema is small, and from which it is large.
const SMALL: f32 = 40.0;
const LARGE: f32 = 80.0;

/// The least score at which a column is kept. Of a small schema one keeps more for a column that
/// may be needed: what it costs is a few columns, and of a large one it is dozens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Least {
    /// In schemas of at most 40 columns.
    pub small: f32,
    /// In schemas of at least 80.
    pub large: f32,
}

impl Least {
    /// The same for all.
    pub fn any(score: f32) -> Least {
        Least {
            small: score,
            large: score,
        }
    }

    /// In a schema of so many columns; between small and large ones by the logarithms.
    pub(crate) fn of(self, columns: usize) -> f32 {
        let large = (columns as f32 / SMALL).ln() / (LARGE / SMALL).ln();
        // As they are written, without rounding.
        if large <= 0.0 {
            self.small
        } else if large >= 1.0 {
            self.large
        } else {
            (self.small.ln() * (1.0 - large) + self.large.ln() * large).exp()
        }
    }
}

/// Why a column is kept.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// For its score.
    Linked,
    /// For a value that the question names.
    Value,
    /// It is part of a kept table's primary key.
    PrimaryKey,
    /// It is part of a foreign key between kept tables.
    ForeignKey,
    /// The whole schema is kept.
    Everything,
}

/// What is kept of a database, by the numbers of the [`SchemaIndex`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// For each column, why it is kept.
    pub columns: Vec<Option<Reason>>,
    /// Tables, those that only join others included.
    pub tables: BTreeSet<usize>,
    /// Tables that are kept to join others, not for their scores.
    pub between: BTreeSet<usize>,
    /// Join paths: tables that were far apart, with those between them.
    pub paths: Vec<Vec<usize>>,
    /// Values that the question names, of columns that are kept.
    pub values: BTreeMap<usize, Vec<String>>,
}

impl Kept {
    /// Columns that are kept.
    pub fn count(&self) -> usize {
        self.columns.iter().flatten().count()
    }
}

/// Most tables between two kept ones that are kept to join them.
const MOST_BETWEEN: usize = 3;

/// Keeps what scores enough, without completion.
pub fn choose(index: &SchemaIndex, scores: &Scores, choice: Choice) -> Kept {
    let mut kept = Kept {
        columns: vec![None; index.columns.len()],
        ..Kept::default()
    };
    match choice {
        Choice::All => {
            kept.columns.fill(Some(Reason::Everything));
            kept.tables = (0..index.tables.len()).collect();
        }
        Choice::Top(count) => {
            for column in best(&scores.columns).into_iter().take(count) {
                kept.columns[column] = Some(Reason::Linked);
            }
        }
        Choice::Above { column, table } => {
            let column = column.of(index.columns.len());
            for (n, score) in scores.columns.iter().enumerate() {
                if *score >= column {
                    kept.columns[n] = Some(Reason::Linked);
                }
            }
            let tables = scores.tables.iter().enumerate();
            kept.tables = tables
                .filter(|(_, s)| **s >= table)
                .map(|(n, _)| n)
                .collect();
            if kept.count() == 0 && kept.tables.is_empty() {
                kept.tables.extend(best(&scores.tables).first());
                if let Some(first) = best(&scores.columns).first() {
                    kept.columns[*first] = Some(Reason::Linked);
                }
            }
        }
    }
    for (n, reason) in kept.columns.iter().enumerate() {
        if reason.is_some() {
            kept.tables.insert(index.columns[n].table);
        }
    }
    kept
}

/// Adds what the kept needs to be joined: tables on the shortest ways between kept ones that do
/// not touch, primary keys of kept tables, and foreign keys between them.
pub fn complete(index: &SchemaIndex, kept: &mut Kept) {
    for way in index.graph.connect(&kept.tables, MOST_BETWEEN) {
        for table in &way {
            if kept.tables.insert(*table) {
                kept.between.insert(*table);
            }
        }
        kept.paths.push(way);
    }
    for table in &kept.tables {
        for column in index.tables[*table].columns.clone() {
            if index.columns[column].primary {
                kept.columns[column].get_or_insert(Reason::PrimaryKey);
            }
        }
    }
    for edge in &index.graph.edges {
        if !kept.tables.contains(&edge.from) || !kept.tables.contains(&edge.to) {
            continue;
        }
        for (table, places) in [(edge.from, &edge.from_columns), (edge.to, &edge.to_columns)] {
            for place in places {
                let column = index.tables[table].columns.start + place;
                kept.columns[column].get_or_insert(Reason::ForeignKey);
            }
        }
    }
}

/// Numbers by score, the best first; ones that score alike in their order.
pub(crate) fn best(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::link::without_vectors;
    use crate::sql::{Column, Database, Table};

    fn index() -> SchemaIndex {
        let table = |name: &str| Table {
            name: name.into(),
            columns: ["a", "b"]
                .iter()
                .map(|name| Column {
                    name: (*name).into(),
                    ..Column::default()
                })
                .collect(),
            primary_key: vec!["a".into()],
            ..Table::default()
        };
        without_vectors(&Database {
            tables: vec![table("one"), table("two")],
            ..Database::default()
        })
    }

    fn kept(scores: [f32; 4], tables: [f32; 2], choice: Choice) -> Vec<usize> {
        let scores = Scores {
            columns: scores.to_vec(),
            tables: tables.to_vec(),
        };
        let index = index();
        let mut kept = choose(&index, &scores, choice);
        complete(&index, &mut kept);
        (0..4).filter(|n| kept.columns[*n].is_some()).collect()
    }

    #[test]
    fn what_scores_enough_is_kept_with_its_keys() {
        let above = |column, table| Choice::Above {
            column: Least::any(column),
            table,
        };
        assert_eq!(
            kept([0.0, 0.5, 0.1, 0.1], [0.1, 0.1], above(0.5, 0.5)),
            [0, 1]
        );
        // A table alone: its key.
        assert_eq!(
            kept([0.0, 0.5, 0.1, 0.1], [0.1, 0.6], above(0.5, 0.5)),
            [0, 1, 2]
        );
        // Nothing scores enough: the best in any case.
        assert_eq!(
            kept([0.0, 0.2, 0.1, 0.3], [0.1, 0.2], above(0.5, 0.5)),
            [2, 3]
        );
        assert_eq!(
            kept([0.0, 0.2, 0.1, 0.3], [0.0; 2], Choice::Top(2)),
            [0, 1, 2, 3]
        );
        assert_eq!(kept([0.0; 4], [0.0; 2], Choice::All), [0, 1, 2, 3]);
    }

    #[test]
    fn of_a_small_schema_more_is_kept() {
        let least = Least {
            small: 0.001,
            large: 0.004,
        };
        assert_eq!([0, 1, 40].map(|n| least.of(n)), [0.001; 3]);
        assert_eq!([80, 10_000].map(|n| least.of(n)), [0.004; 2]);
        let between: Vec<f32> = (40..=80).map(|n| least.of(n)).collect();
        assert!(between.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!((least.of(57) - 0.002).abs() < 5e-5, "{}", least.of(57));
    }

    #[test]
    fn what_scores_alike_goes_by_its_number() {
        assert_eq!(best(&[0.5, 0.9, 0.5, 0.9]), [1, 3, 0, 2]);
    }
}
