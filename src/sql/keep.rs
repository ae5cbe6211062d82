//! Which columns are kept: those that score enough, and those without which they cannot be
//! joined.

use std::collections::BTreeSet;

use super::link::{SchemaIndex, Scores};

/// Which columns and tables are kept for their scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// Everything.
    All,
    /// So many columns, the best first; ones that score alike in the order of their names.
    Top(usize),
    /// Columns and tables that score at least so much; and the best table and its best column
    /// in any case.
    Above { column: f32, table: f32 },
}

/// Why a column is kept.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// For its score.
    Linked,
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
