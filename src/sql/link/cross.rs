//! The cross-encoder of linking: a model reads the question beside a table with its columns and
//! says of every column how likely it is needed, as RESDSQL (arXiv 2302.05965) and CodeS (arXiv
//! 2402.16347) do it.
//!
//! A model's input is `[CLS] question | evidence [SEP] table : column , column , ... [SEP]`, the
//! columns in the order of their names. A table that does not fit is read in parts, its name
//! before each (training/linkers/inputs.py writes the same). What is linear is averaged here: a
//! column's logit is the mean of the first value over its tokens, a table's the second value of
//! the first token.
//!
//! Reading costs more than everything else, so only the tables are read that the trees think
//! likeliest, and of these the parts with the likeliest columns.

use super::Scores;
use super::schema::SchemaIndex;
use crate::error::{Error, Problem, Result};
use crate::model::{TokenClassifier, TokenPair};
use crate::sql::names::written;

/// Tokens of a question, of a table's name, of a column's, and of a whole input, as the model
/// was trained.
const QUESTION: usize = 112;
const NAME: usize = 12;
const COLUMN: usize = 16;
const INPUT: usize = 256;
/// Values of each token: for columns, and for tables.
const LABELS: usize = 2;
/// Tables and parts that are read for a question.
const TABLES: usize = 8;
const PARTS: usize = 12;
/// What stands for the logit of what was not read: below what is said of anything.
const UNREAD: f32 = -20.0;

/// What the cross-encoder says, as features of the second round of trees.
pub(crate) const COLUMNS_CROSS: &[&str] = &[
    "logit",
    "rank",
    "gap",
    "inner_rank",
    "inner_gap",
    "table_logit",
    "table_rank",
    "table_gap",
    "table_best",
    "all",
];
pub(crate) const TABLES_CROSS: &[&str] = &["logit", "rank", "gap", "best", "best_gap", "all"];

/// A table, or as much of it as is read at once.
pub(crate) struct Part {
    table: usize,
    /// Numbers of its columns, with their places among the tokens.
    columns: Vec<(usize, std::ops::Range<usize>)>,
    tokens: Vec<u32>,
}

/// A loaded cross-encoder.
pub(crate) struct Cross {
    model: TokenClassifier,
    colon: Vec<u32>,
    comma: Vec<u32>,
}

/// Logits of columns and of tables, [`UNREAD`] for what was not read.
pub(crate) struct Logits {
    columns: Vec<f32>,
    tables: Vec<f32>,
}

impl Cross {
    /// # Errors
    /// InvalidModel for a model with other values than a linker's, or of another length.
    pub(crate) fn new(model: TokenClassifier) -> Result<Cross> {
        if model.labels() != LABELS || model.max_tokens() < INPUT {
            return Err(Error::from(
                Problem::new(
                    crate::error::Code::InvalidModel,
                    "the model links no schemas",
                )
                .field("schemas.linker")
                .found(format!(
                    "{} values for each of {} tokens",
                    model.labels(),
                    model.max_tokens()
                ))
                .expected(format!("{LABELS} values for each of {INPUT} tokens")),
            ));
        }
        Ok(Cross {
            colon: model.first(":", 1)?,
            comma: model.first(",", 1)?,
            model,
        })
    }

    /// The tables of a database as the model reads them.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub(crate) fn parts(&self, index: &SchemaIndex) -> Result<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        for (number, facts) in index.tables.iter().enumerate() {
            let table = index.table(number);
            let mut order: Vec<usize> = facts.columns.clone().collect();
            order.sort_by_cached_key(|n| {
                let name = &index.column(*n).name;
                (name.to_lowercase(), name.clone())
            });
            let mut head = self
                .model
                .first(&written(&table.name, table.readable.as_deref()), NAME)?;
            head.extend(&self.colon);
            // Room is left for the longest question, so that a table's parts do not depend on it.
            let most = INPUT - QUESTION - self.model.special_tokens();
            let first = parts.len();
            for n in order {
                let column = index.column(n);
                let name = written(&column.name, column.readable.as_deref());
                let ids = self.model.first(&name, COLUMN)?;
                let full = |part: &Part| part.tokens.len() + ids.len() + 1 > most;
                if parts.len() == first || parts.last().is_some_and(full) {
                    parts.push(Part {
                        table: number,
                        columns: Vec::new(),
                        tokens: head.clone(),
                    });
                }
                let Some(part) = parts.last_mut() else {
                    continue;
                };
                let start = part.tokens.len();
                part.tokens.extend(&ids);
                part.columns.push((n, start..part.tokens.len()));
                part.tokens.extend(&self.comma);
            }
        }
        Ok(parts)
    }

    /// A question's tokens.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub(crate) fn question(&self, joined: &str) -> Result<Vec<u32>> {
        self.model.first(joined, QUESTION)
    }

    /// Reads the likeliest parts of a database.
    ///
    /// # Errors
    /// Those of the model.
    pub(crate) fn read(
        &self,
        index: &SchemaIndex,
        question: &[u32],
        first: &Scores,
    ) -> Result<Logits> {
        let chosen = likeliest(&index.parts, first);
        let pairs: Vec<TokenPair> = chosen
            .iter()
            .map(|part| {
                // Without the comma behind the last column.
                let end = part.tokens.len().saturating_sub(1);
                self.model.join(question, &part.tokens[..end])
            })
            .collect();
        let said = self.model.classify(&pairs)?;
        let mut logits = Logits {
            columns: vec![UNREAD; index.columns.len()],
            tables: vec![UNREAD; index.tables.len()],
        };
        for ((part, pair), values) in chosen.iter().zip(&pairs).zip(&said) {
            let value = |token: usize, label: usize| values.get(token * LABELS + label).copied();
            if let Some(table) = value(0, 1) {
                let most = &mut logits.tables[part.table];
                *most = most.max(table);
            }
            for (n, places) in &part.columns {
                let own = places.clone();
                let own: Vec<f32> = own.filter_map(|p| value(pair.second() + p, 0)).collect();
                logits.columns[*n] = own.iter().sum::<f32>() / own.len().max(1) as f32;
            }
        }
        Ok(logits)
    }
}

/// The parts that are read: of the likeliest tables those with the likeliest columns.
fn likeliest<'a>(parts: &'a [Part], first: &Scores) -> Vec<&'a Part> {
    let mut tables: Vec<usize> = (0..first.tables.len()).collect();
    tables.sort_by(|a, b| first.tables[*b].total_cmp(&first.tables[*a]).then(a.cmp(b)));
    tables.truncate(TABLES);
    let best = |part: &Part| {
        let own = part.columns.iter().map(|(n, _)| first.columns[*n]);
        own.fold(0.0, f32::max)
    };
    let mut chosen: Vec<(f32, &Part)> = parts
        .iter()
        .filter(|part| tables.contains(&part.table))
        .map(|part| (best(part), part))
        .collect();
    // Stable: parts alike stay in the order of the schema.
    chosen.sort_by(|a, b| b.0.total_cmp(&a.0));
    chosen.truncate(PARTS);
    chosen.into_iter().map(|(_, part)| part).collect()
}

/// Features out of the logits, in the order of [`COLUMNS_CROSS`] and [`TABLES_CROSS`].
pub(crate) struct CrossFeatures {
    pub columns: Vec<[f32; COLUMNS_CROSS.len()]>,
    pub tables: Vec<[f32; TABLES_CROSS.len()]>,
}

impl CrossFeatures {
    pub(crate) fn new(index: &SchemaIndex, logits: &Logits) -> CrossFeatures {
        let most = |values: &[f32]| values.iter().copied().fold(UNREAD, f32::max);
        let (best_column, best_table) = (most(&logits.columns), most(&logits.tables));
        let (column_ranks, table_ranks) = (ranks(&logits.columns), ranks(&logits.tables));
        let chance = |logit: &f32| 1.0 / (1.0 + (-logit).exp());
        let all: f32 = logits.columns.iter().map(chance).sum();
        let all_tables: f32 = logits.tables.iter().map(chance).sum();
        let mut columns = vec![[0.0; COLUMNS_CROSS.len()]; index.columns.len()];
        let mut tables = Vec::with_capacity(index.tables.len());
        for (number, facts) in index.tables.iter().enumerate() {
            let own = &logits.columns[facts.columns.clone()];
            let best = most(own);
            let (table, table_rank) = (logits.tables[number], table_ranks[number]);
            let inner = ranks(own);
            for ((n, inner_rank), logit) in facts.columns.clone().zip(inner).zip(own) {
                columns[n] = [
                    *logit,
                    column_ranks[n],
                    logit - best_column,
                    inner_rank,
                    logit - best,
                    table,
                    table_rank,
                    table - best_table,
                    best,
                    all,
                ];
            }
            tables.push([
                table,
                table_rank,
                table - best_table,
                best,
                best - best_column,
                all_tables,
            ]);
        }
        CrossFeatures { columns, tables }
    }
}

/// Logarithms of one more than the number of greater ones.
pub(crate) fn ranks(figures: &[f32]) -> Vec<f32> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let rank = |figure: &f32| sorted.partition_point(|other| other > figure);
    figures
        .iter()
        .map(|figure| (1.0 + rank(figure) as f32).ln())
        .collect()
}
