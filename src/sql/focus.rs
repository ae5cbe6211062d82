//! The answer: the part of a schema that a question needs, ready to be put into a prompt.
//!
//! The promise: what is answered can be joined as far as foreign keys allow; it is within the
//! token budget, and what was left out for that is named; the same question has the same answer
//! whatever the order of tables and columns in the source.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hints::{Hints, Shown};
use super::keep::{Choice, Kept, Mode, Reason, best, choose, complete};
use super::link::{Question, SchemaIndex, Scores};
use super::render::{Detail, quote, render};
use super::values::MatchedValue;
use super::{Dialect, ForeignKey};
use crate::error::{Code, Problem, Result};

/// Whether a schema is cut down.
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
pub enum Strategy {
    /// All of it where that is within the budget, otherwise what retrieval finds.
    #[default]
    Auto,
    /// All of it, as far as the budget allows.
    Full,
    /// What the question needs.
    Retrieval,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct FocusRequest {
    pub strategy: Strategy,
    pub mode: Mode,
    /// Most tokens of the prompt; None is as many as there are.
    pub budget: Option<usize>,
    /// The database's own where it is not said.
    pub dialect: Option<Dialect>,
    pub detail: Detail,
    /// What is known of the question beside its words.
    pub hints: Hints,
}

/// The part of a schema that a question needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Focus {
    pub database: String,
    /// `full` or `retrieval`: what was done.
    pub strategy: Strategy,
    /// Why that, for people.
    pub why: String,
    pub mode: Mode,
    /// In the order of their names.
    pub tables: Vec<FocusedTable>,
    /// Foreign keys between these tables.
    pub foreign_keys: Vec<ForeignKey>,
    /// Tables that were found far apart, with those that join them, from end to end.
    pub join_paths: Vec<Vec<String>>,
    /// `CREATE TABLE` text.
    pub ddl: String,
    /// Values that the question or its evidence names, of columns that are kept; the surest first.
    pub matched_values: Vec<MatchedValue>,
    /// Schema, examples, evidence and question as one text.
    pub prompt: String,
    /// Tokens of the prompt, and of the prompt with the whole schema and all else that was asked
    /// for.
    pub tokens: usize,
    pub full_tokens: usize,
    /// By which tokens are counted.
    pub tokenizer: String,
    /// What was left out for the budget.
    #[serde(default, skip_serializing_if = "Dropped::is_empty")]
    pub dropped: Dropped,
}

/// A table of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FocusedTable {
    pub name: String,
    /// How likely it is needed, 0 to 1.
    pub score: f32,
    /// It joins others; nothing of its own was found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joins: bool,
    /// In the order of their names.
    pub columns: Vec<FocusedColumn>,
}

/// A column of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FocusedColumn {
    pub name: String,
    pub data_type: String,
    /// How likely it is needed, 0 to 1.
    pub score: f32,
    pub reason: Reason,
}

/// What was left out for the budget, the least useful first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// `samples`, `values`, `matched_values`, `long_comments`, `comments`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// `table.column`, as the dialect quotes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// How many examples.
    #[serde(default, skip_serializing_if = "is_none")]
    pub examples: usize,
}

fn is_none(number: &usize) -> bool {
    *number == 0
}

impl Dropped {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        *self == Dropped::default()
    }
}

/// Characters that are left of comments before columns are given up for the budget: about ten
/// words.
const SHORT_COMMENT: usize = 60;

/// Guesses of how much fits the budget, before halving what is left.
const GUESSES: usize = 6;

/// Counts the tokens of a text.
pub type CountTokens<'a> = &'a dyn Fn(&str) -> Result<usize>;

/// What is kept, and why that.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub strategy: Strategy,
    pub why: String,
    pub kept: Kept,
    pub detail: Detail,
    pub dropped: Dropped,
    pub ddl: String,
    pub prompt: String,
    pub tokens: usize,
    pub full_tokens: usize,
}

/// Makes the answer out of scores. `choice` is what the mode keeps of them, `count` counts
/// tokens, and `tokenizer` says by which.
///
/// # Errors
/// InvalidRequest for a budget that not even the best table and column fit in, with how many
/// tokens those take; those of `count`.
pub fn focus(
    index: &SchemaIndex,
    question: Question<'_>,
    scores: &Scores,
    choice: Choice,
    request: &FocusRequest,
    count: CountTokens<'_>,
    tokenizer: &str,
) -> Result<Focus> {
    let decision = decide(index, question, scores, choice, request, count, tokenizer)?;
    let kept = &decision.kept;
    let names = |tables: &Vec<usize>| {
        tables
            .iter()
            .map(|n| index.table(*n).name.clone())
            .collect()
    };
    Ok(Focus {
        database: index.database().name.clone(),
        strategy: decision.strategy,
        why: decision.why,
        mode: request.mode,
        tables: tables(index, scores, kept),
        foreign_keys: foreign_keys(index, kept),
        join_paths: kept.paths.iter().map(names).collect(),
        matched_values: matched_values(index, kept, &request.hints),
        ddl: decision.ddl,
        prompt: decision.prompt,
        tokens: decision.tokens,
        full_tokens: decision.full_tokens,
        tokenizer: tokenizer.to_string(),
        dropped: decision.dropped,
    })
}

/// What is kept of a schema; see [`focus`].
pub(crate) fn decide(
    index: &SchemaIndex,
    question: Question<'_>,
    scores: &Scores,
    choice: Choice,
    request: &FocusRequest,
    count: CountTokens<'_>,
    tokenizer: &str,
) -> Result<Decision> {
    let hints = &request.hints;
    let writer = Writer {
        index,
        question,
        dialect: request.dialect.unwrap_or(index.database().dialect),
        examples: &hints.examples,
    };
    // The whole schema is long and the same for every question: counted once.
    let schema_tokens = index.whole_tokens(
        (tokenizer.to_string(), writer.dialect, request.detail),
        || {
            let mut whole = choose(index, scores, Choice::All);
            complete(index, &mut whole);
            count(&render(index, &whole, writer.dialect, request.detail))
        },
    )?;
    // Examples are given up before any of the schema is.
    let without = schema_tokens + count(&writer.frame("", 0))?;
    let examples = hints.examples.len();
    let mut full_tokens = match examples {
        0 => without,
        all => schema_tokens + count(&writer.frame("", all))?,
    };
    let fits = request.budget.is_none_or(|budget| without <= budget);
    let (strategy, why) = match (request.strategy, request.budget) {
        (Strategy::Auto, None) => (Strategy::Full, "there is no budget".to_string()),
        (Strategy::Auto, Some(budget)) if fits => (
            Strategy::Full,
            format!("the whole schema takes {without} tokens of {budget}"),
        ),
        (Strategy::Auto, Some(budget)) => (
            Strategy::Retrieval,
            format!("the whole schema takes {without} tokens, more than {budget}"),
        ),
        (asked, _) => (asked, "it was asked for".to_string()),
    };
    let choice = match strategy {
        Strategy::Full => Choice::All,
        Strategy::Auto | Strategy::Retrieval => choice,
    };
    let cut = Cut::new(&writer, scores, hints, choice, request.detail);
    let Fitted {
        kept,
        written,
        dropped,
        tokens,
    } = cut.within(request.budget, count)?;
    let (ddl, prompt) = writer.prompt(&kept, written);
    if strategy == Strategy::Full && dropped.is_empty() {
        // With the values that the question names.
        full_tokens = tokens;
    }
    Ok(Decision {
        strategy,
        why,
        kept,
        detail: written.detail,
        dropped,
        ddl,
        prompt,
        tokens,
        full_tokens,
    })
}

fn tables(index: &SchemaIndex, scores: &Scores, kept: &Kept) -> Vec<FocusedTable> {
    let tables = kept.tables.iter().map(|number| {
        let first = index.first_column(*number);
        let columns = index.table(*number).columns.iter().enumerate();
        FocusedTable {
            name: index.table(*number).name.clone(),
            score: scores.tables[*number],
            joins: kept.between.contains(number),
            columns: columns
                .filter_map(|(place, column)| {
                    Some(FocusedColumn {
                        name: column.name.clone(),
                        data_type: column.data_type.clone(),
                        score: scores.columns[first + place],
                        reason: kept.columns[first + place]?,
                    })
                })
                .collect(),
        }
    });
    tables.collect()
}

fn foreign_keys(index: &SchemaIndex, kept: &Kept) -> Vec<ForeignKey> {
    let kept: BTreeSet<&str> = kept
        .tables
        .iter()
        .map(|table| index.table(*table).name.as_str())
        .collect();
    let is_kept = |name: &String| kept.contains(name.as_str());
    let keys = index.database().foreign_keys.iter();
    let mut keys: Vec<ForeignKey> = keys
        .filter(|key| is_kept(&key.table) && is_kept(&key.to_table))
        .cloned()
        .collect();
    keys.sort_by(|a, b| {
        (&a.table, &a.columns, &a.to_table, &a.to_columns).cmp(&(
            &b.table,
            &b.columns,
            &b.to_table,
            &b.to_columns,
        ))
    });
    keys
}

/// Values that the question names, of columns that are kept.
fn matched_values(index: &SchemaIndex, kept: &Kept, hints: &Hints) -> Vec<MatchedValue> {
    let is_kept = |value: &&MatchedValue| {
        let column = index.find(&value.table, &value.column);
        column.is_some_and(|column| kept.columns[column].is_some())
    };
    hints.values.iter().filter(is_kept).cloned().collect()
}

struct Writer<'a> {
    index: &'a SchemaIndex,
    question: Question<'a>,
    dialect: Dialect,
    examples: &'a [Shown],
}

/// What is written beside names, types and keys.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Written {
    detail: Detail,
    /// Values that the question names.
    matched: bool,
    /// Number of examples.
    examples: usize,
}

impl Writer<'_> {
    /// The `CREATE TABLE` text, and the prompt with it.
    fn prompt(&self, kept: &Kept, written: Written) -> (String, String) {
        let ddl = match written.matched || kept.values.is_empty() {
            true => render(self.index, kept, self.dialect, written.detail),
            false => {
                let mut bare = kept.clone();
                bare.values.clear();
                render(self.index, &bare, self.dialect, written.detail)
            }
        };
        let prompt = self.frame(&ddl, written.examples);
        (ddl, prompt)
    }

    /// What stands around the `CREATE TABLE` text.
    fn frame(&self, ddl: &str, examples: usize) -> String {
        let dialect = match self.dialect {
            Dialect::Sqlite => "SQLite",
            Dialect::Postgres => "PostgreSQL",
            Dialect::Mysql => "MySQL",
        };
        let mut prompt = format!(
            "-- {dialect} database {}\n\n{ddl}\n",
            one_line(&self.index.database().name)
        );
        for example in self.examples.iter().take(examples) {
            let sql = example.sql.trim().trim_end_matches(';');
            let question = one_line(&example.question);
            prompt.push_str(&format!("-- Question: {question}\n{sql};\n\n"));
        }
        let evidence = one_line(self.question.evidence);
        if !evidence.is_empty() {
            prompt.push_str(&format!("-- Hint: {evidence}\n"));
        }
        prompt.push_str(&format!("-- Question: {}\n", one_line(self.question.text)));
        prompt
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How likely a column that is kept for a value is needed at least, where a budget chooses.
const HINTED: f32 = 0.5;

/// Something that is kept for its score.
#[derive(Clone, Copy, PartialEq)]
enum Item {
    Column(usize),
    /// A table of which no column is.
    Table(usize),
}

/// What is within the budget, and its tokens.
struct Fitted {
    kept: Kept,
    written: Written,
    dropped: Dropped,
    tokens: usize,
}

/// What is kept, in the order in which it is given up: the last first.
struct Cut<'a> {
    writer: &'a Writer<'a>,
    items: Vec<Item>,
    reason: Reason,
    /// Columns that are kept for a value.
    hinted: BTreeSet<usize>,
    values: BTreeMap<usize, Vec<String>>,
    written: Written,
}

impl<'a> Cut<'a> {
    fn new(
        writer: &'a Writer<'a>,
        scores: &Scores,
        hints: &Hints,
        choice: Choice,
        detail: Detail,
    ) -> Cut<'a> {
        let mut kept = choose(writer.index, scores, choice);
        let hinted = hints.columns(writer.index, scores, choice);
        for column in &hinted {
            kept.columns[*column] = Some(Reason::Value);
            kept.tables.insert(writer.index.columns[*column].table);
        }
        let mut items: Vec<(f32, Item)> = Vec::new();
        for column in best(&scores.columns) {
            if kept.columns[column].is_some() {
                let score = scores.columns[column];
                let worth = match hinted.contains(&column) {
                    true => score.max(HINTED),
                    false => score,
                };
                items.push((worth, Item::Column(column)));
            }
        }
        for table in &kept.tables {
            let columns = writer.index.tables[*table].columns.clone();
            if kept.columns[columns].iter().all(Option::is_none) {
                items.push((scores.tables[*table], Item::Table(*table)));
            }
        }
        // Stable: columns that score like a table go first, in their order.
        items.sort_by(|a, b| b.0.total_cmp(&a.0));
        Cut {
            writer,
            items: items.into_iter().map(|(_, item)| item).collect(),
            reason: match choice {
                Choice::All => Reason::Everything,
                _ => Reason::Linked,
            },
            hinted,
            // Where no values are asked for, these are not either.
            values: match detail.values {
                0 => BTreeMap::new(),
                _ => hints.by_column(writer.index),
            },
            written: Written {
                detail,
                matched: true,
                examples: hints.examples.len(),
            },
        }
    }

    /// The first items, completed.
    fn first(&self, count: usize) -> Kept {
        let index = self.writer.index;
        let mut kept = Kept {
            columns: vec![None; index.columns.len()],
            ..Kept::default()
        };
        for item in &self.items[..count] {
            match item {
                Item::Column(column) => {
                    let hinted = self.hinted.contains(column);
                    let reason = match (hinted, self.reason) {
                        (true, Reason::Linked) => Reason::Value,
                        (_, reason) => reason,
                    };
                    kept.columns[*column] = Some(reason);
                    kept.tables.insert(index.columns[*column].table);
                }
                Item::Table(table) => {
                    kept.tables.insert(*table);
                }
            }
        }
        complete(index, &mut kept);
        let values = self.values.iter();
        kept.values = values
            .filter(|(column, _)| kept.columns[**column].is_some())
            .map(|(column, values)| (*column, values.clone()))
            .collect();
        kept
    }

    /// As much as the budget allows: sample rows are given up first, then frequent values, then
    /// those that the question names, then what comments say beyond [`SHORT_COMMENT`], then
    /// examples from the last on, then columns and tables from the least likely on, and all
    /// comments only where nothing fits otherwise.
    fn within(&self, budget: Option<usize>, count: CountTokens<'_>) -> Result<Fitted> {
        let budget = budget.unwrap_or(usize::MAX);
        let all = self.first(self.items.len());
        let mut fitted = Fitted {
            written: self.written,
            dropped: Dropped::default(),
            tokens: 0,
            kept: all.clone(),
        };
        let mut text = self.writer.prompt(&all, fitted.written).1;
        fitted.tokens = count(&text)?;
        type Less = (&'static str, fn(&mut Written));
        let steps: [Less; 4] = [
            ("samples", |written| written.detail.samples = 0),
            ("values", |written| written.detail.values = 0),
            ("matched_values", |written| written.matched = false),
            ("long_comments", |written| {
                let detail = &mut written.detail;
                detail.comment_chars = detail.comment_chars.min(SHORT_COMMENT);
            }),
        ];
        for (name, less) in steps {
            if fitted.tokens <= budget {
                break;
            }
            let mut fewer = fitted.written;
            less(&mut fewer);
            let shorter = self.writer.prompt(&all, fewer).1;
            // Where there is nothing of it, nothing is given up.
            if shorter != text {
                text = shorter;
                fitted.written = fewer;
                fitted.tokens = count(&text)?;
                fitted.dropped.details.push(name.into());
            }
        }
        while fitted.tokens > budget && fitted.written.examples > 0 {
            fitted.written.examples -= 1;
            fitted.dropped.examples += 1;
            text = self.writer.prompt(&all, fitted.written).1;
            fitted.tokens = count(&text)?;
        }
        if fitted.tokens <= budget {
            self.give_back(&mut fitted, budget, count)?;
            return Ok(fitted);
        }
        let most = self.items.len();
        let whole = (fitted.tokens, text.len());
        let (mut length, mut tokens) =
            self.longest(0, most, whole, budget, fitted.written, count)?;
        if length == 0 {
            let least = most.min(1);
            let smallest =
                |written: Written| count(&self.writer.prompt(&self.first(least), written).1);
            if fitted.written.detail.comments {
                fitted.written.detail.comments = false;
                fitted.dropped.details.push("comments".into());
            }
            let taken = smallest(fitted.written)?;
            if taken > budget {
                return Err(Problem::new(
                    Code::InvalidRequest,
                    "the token budget is too small for the best table and column",
                )
                .field("token_budget")
                .found(budget)
                .expected(format!("at least {taken} tokens for this question"))
                .into());
            }
            (length, tokens) =
                self.longest(least, most + 1, whole, budget, fitted.written, count)?;
            if length == least {
                tokens = taken;
            }
        }
        fitted.tokens = tokens;
        fitted.kept = self.first(length);
        self.give_back(&mut fitted, budget, count)?;
        self.name_dropped(&all, &fitted.kept, &mut fitted.dropped);
        Ok(fitted)
    }

    /// What was given up last may have made more room than was needed: what of the rest fits there
    /// is written after all, the most useful first.
    fn give_back(&self, fitted: &mut Fitted, budget: usize, count: CountTokens<'_>) -> Result<()> {
        type More = (&'static str, fn(&mut Written, &Written));
        let steps: [More; 4] = [
            ("long_comments", |written, whole| {
                written.detail.comment_chars = whole.detail.comment_chars;
            }),
            ("matched_values", |written, whole| {
                written.matched = whole.matched;
            }),
            ("values", |written, whole| {
                written.detail.values = whole.detail.values;
            }),
            ("samples", |written, whole| {
                written.detail.samples = whole.detail.samples;
            }),
        ];
        let mut bytes = self.writer.prompt(&fitted.kept, fitted.written).1.len();
        for (name, more) in steps {
            if !fitted.dropped.details.iter().any(|dropped| dropped == name) {
                continue;
            }
            let mut richer = fitted.written;
            more(&mut richer, &self.written);
            let text = self.writer.prompt(&fitted.kept, richer).1;
            // Counting takes time: what is far too long is told by its bytes.
            let likely = fitted.tokens.saturating_mul(text.len()) / bytes.max(1);
            if likely / 2 > budget {
                continue;
            }
            let tokens = count(&text)?;
            if tokens <= budget {
                (fitted.written, fitted.tokens, bytes) = (richer, tokens, text.len());
                fitted.dropped.details.retain(|dropped| dropped != name);
            }
        }
        Ok(())
    }

    /// How many items fit and the tokens that they take, where `low` is known to fit (or is none)
    /// and `high` not to (or is more than there are). Counting tokens is what takes time, so it is
    /// done where the bytes say that the budget ends; `known` are the tokens and bytes of some
    /// prompt. The tokens of `low` itself are not counted: 0.
    fn longest(
        &self,
        mut low: usize,
        mut high: usize,
        mut known: (usize, usize),
        budget: usize,
        written: Written,
        count: CountTokens<'_>,
    ) -> Result<(usize, usize)> {
        let mut taken = 0;
        let prompt = |length: usize| self.writer.prompt(&self.first(length), written).1;
        for round in 0.. {
            if high - low <= 1 {
                break;
            }
            let mut next = low + (high - low) / 2;
            if round < GUESSES {
                let bytes = budget.saturating_mul(known.1) / known.0.max(1);
                let (mut below, mut above) = (low, high);
                while above - below > 1 {
                    let middle = below + (above - below) / 2;
                    match prompt(middle).len() <= bytes {
                        true => below = middle,
                        false => above = middle,
                    }
                }
                next = below.max(low + 1);
            }
            let text = prompt(next);
            let tokens = count(&text)?;
            known = (tokens, text.len());
            if tokens <= budget {
                (low, taken) = (next, tokens);
            } else {
                high = next;
            }
        }
        Ok((low, taken))
    }

    fn name_dropped(&self, all: &Kept, kept: &Kept, dropped: &mut Dropped) {
        let index = self.writer.index;
        let dialect = self.writer.dialect;
        let name = |column: usize| {
            let table = &index.table(index.columns[column].table).name;
            format!(
                "{}.{}",
                quote(table, dialect),
                quote(&index.column(column).name, dialect)
            )
        };
        let gone =
            |column: &usize| all.columns[*column].is_some() && kept.columns[*column].is_none();
        let mut is_scored = vec![false; all.columns.len()];
        let scored: Vec<usize> = self
            .items
            .iter()
            .rev()
            .filter_map(|item| match item {
                Item::Column(column) => Some(*column),
                Item::Table(_) => None,
            })
            .filter(gone)
            .inspect(|column| is_scored[*column] = true)
            .collect();
        // Keys that nothing joins any more go with them.
        let keys = (0..all.columns.len())
            .filter(gone)
            .filter(|c| !is_scored[*c]);
        dropped.columns = scored.iter().copied().chain(keys).map(name).collect();
        let tables = all.tables.difference(&kept.tables);
        dropped.tables = tables
            .map(|table| quote(&index.table(*table).name, dialect))
            .collect();
    }
}
