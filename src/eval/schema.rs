//! How much of what its SQL needs is kept of a schema for a question.
//!
//! Gold is what the question's SQL uses (`sql::gold`). A table none of whose columns is named
//! (`COUNT(*)`) counts as one thing that is needed, like a column.
//!
//! * **SRR** (strict recall rate): the share of questions whose gold is wholly kept.
//! * **NSR** (non-strict recall): what is kept of all that is needed, over all questions.
//! * **coverage@k**: the mean share of a question's gold tables among the first k tables, and of
//!   its gold columns among the first k columns.
//!
//! * **tokens saved**: what the prompts are shorter than those with the whole schema, as a share.
//!
//! A question whose SQL cannot be read counts as missed in SRR, and is listed; what it needs is
//! unknown, so it is not in NSR, coverage or `by_gold_tables`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Problem, Result};
use crate::sql::{
    Cells, Choice, Database, Decision, FocusRequest, Gold, Hints, Kept, Least, Linker, Method,
    NamedValues, Prepared, Question, SchemaIndex, Scores, Strategy, choose, complete, decide, gold,
};

/// Numbers of tables and of columns that coverage is measured at.
const TABLES_AT: [usize; 5] = [1, 2, 3, 5, 10];
const COLUMNS_AT: [usize; 6] = [5, 10, 15, 20, 30, 50];

/// Numbers of columns and thresholds that the curve has points at.
const CURVE_TOP: [usize; 9] = [3, 5, 8, 10, 12, 15, 20, 25, 30];

/// A question with its SQL, in the layout of Spider, Spider-Syn or BIRD.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaQuestion {
    pub database: String,
    pub text: String,
    /// Empty where there is none.
    pub evidence: String,
    pub sql: String,
}

/// One row of a file; files differ in their names.
#[derive(Deserialize)]
struct Row {
    db_id: String,
    #[serde(default)]
    question: Option<String>,
    #[serde(default, rename = "SpiderSynQuestion")]
    with_synonyms: Option<String>,
    #[serde(default)]
    evidence: Option<String>,
    #[serde(alias = "SQL", alias = "ground_truth")]
    query: String,
}

/// Reads a file of questions: a list of rows, or an object of them.
///
/// # Errors
/// InvalidFile, with the place.
pub fn schema_questions(text: &str) -> Result<Vec<SchemaQuestion>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let list = text.trim_start().starts_with('[');
    let unreadable = |path: String, e: &dyn fmt::Display| {
        Problem::new(Code::InvalidFile, "the file has no questions")
            .field(path)
            .found(e)
            .expected("db_id, question and query (or SQL), as Spider and BIRD have them")
    };
    let rows: Vec<Row> = if list {
        serde_path_to_error::deserialize(&mut reader)
            .map_err(|e| unreadable(e.path().to_string(), e.inner()))?
    } else {
        let rows: indexmap::IndexMap<String, Row> =
            serde_path_to_error::deserialize(&mut reader)
                .map_err(|e| unreadable(e.path().to_string(), e.inner()))?;
        rows.into_values().collect()
    };
    let mut questions = Vec::with_capacity(rows.len());
    for (n, row) in rows.into_iter().enumerate() {
        let Some(text) = row.with_synonyms.or(row.question) else {
            return Err(unreadable(format!("[{n}]"), &"no question").into());
        };
        questions.push(SchemaQuestion {
            database: row.db_id,
            text,
            evidence: row.evidence.unwrap_or_default(),
            sql: row.query,
        });
    }
    Ok(questions)
}

/// Figures over some questions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Linked {
    pub questions: usize,
    /// 0 to 1.
    pub srr: f64,
    /// 0 to 1.
    pub nsr: f64,
    /// Tables and columns that are kept, on average.
    pub avg_tables: f64,
    pub avg_columns: f64,
}

/// What prompts cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptTokens {
    /// Tokens of a prompt on average, and of one with the whole schema.
    pub avg_tokens: f64,
    pub avg_full_tokens: f64,
    /// 0 to 1: what is saved of all tokens of all prompts.
    pub saved: f64,
    /// The share of questions that the whole schema was kept for.
    pub full: f64,
    /// Questions that nothing fits the budget for; they count as missed.
    pub too_small: usize,
    pub tokenizer: String,
}

/// Figures at one way of choosing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// `top` for a number of columns, `threshold` for a score.
    pub by: String,
    pub value: f64,
    #[serde(flatten)]
    pub linked: Linked,
}

/// A question whose SQL could not be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnreadQuestion {
    /// Its place in the file, from 0.
    pub place: usize,
    pub database: String,
    pub reason: String,
    pub sql: String,
}

/// What `gleaner eval schema` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SchemaReport {
    #[serde(flatten)]
    pub linked: Linked,
    pub prompts: PromptTokens,
    /// By the number of tables that the SQL uses.
    pub by_gold_tables: BTreeMap<usize, Linked>,
    pub table_coverage: BTreeMap<usize, f64>,
    pub column_coverage: BTreeMap<usize, f64>,
    pub curve: Vec<CurvePoint>,
    pub unread: Vec<UnreadQuestion>,
}

/// How a schema is cut down.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaOptions {
    pub method: Method,
    /// What is kept of scores where retrieval is what is done.
    pub choice: Choice,
    pub request: FocusRequest,
    /// Whether keys and join paths are added; the answer itself always has them, so that
    /// without them the budget does not count.
    pub complete: bool,
    /// Thresholds that the curve has points at, beside its numbers of columns.
    pub thresholds: Vec<f32>,
}

/// Questions with all that measuring needs.
pub struct SchemaSet {
    pub questions: Vec<SchemaQuestion>,
    prepared: Vec<Prepared>,
    /// Values that each names.
    hints: Vec<Hints>,
    /// What each needs, as numbers of the index; or why that is not known.
    needs: Vec<Result<Needs, String>>,
    indexes: BTreeMap<String, SchemaIndex>,
}

/// What a question needs, as numbers of its database's index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needs {
    pub columns: BTreeSet<usize>,
    /// Those of the columns among them.
    pub tables: BTreeSet<usize>,
    /// Tables none of whose columns is named.
    pub bare: BTreeSet<usize>,
}

impl Needs {
    fn new(index: &SchemaIndex, gold: &Gold) -> Needs {
        let mut needs = Needs::default();
        for (number, table) in index.database().tables.iter().enumerate() {
            if !gold.tables.contains(&table.name) {
                continue;
            }
            needs.tables.insert(number);
            let first = index.first_column(number);
            let mut bare = true;
            for (place, column) in table.columns.iter().enumerate() {
                let pair = (table.name.clone(), column.name.clone());
                if gold.columns.contains(&pair) {
                    needs.columns.insert(first + place);
                    bare = false;
                }
            }
            if bare {
                needs.bare.insert(number);
            }
        }
        needs
    }

    fn all(&self) -> usize {
        self.columns.len() + self.bare.len()
    }

    fn kept(&self, kept: &Kept) -> usize {
        let columns = self.columns.iter().filter(|n| kept.columns[**n].is_some());
        columns.count() + self.bare.intersection(&kept.tables).count()
    }
}

impl SchemaSet {
    /// Encodes databases and questions, each once. `tell` is told what has been done of what
    /// there is to do.
    ///
    /// # Errors
    /// InvalidFile for a question about a database that is not among these; those of the encoder.
    pub fn new(
        linker: &Linker,
        databases: &[Database],
        questions: Vec<SchemaQuestion>,
        tell: &mut dyn FnMut(usize, usize),
    ) -> Result<SchemaSet> {
        let known: BTreeMap<&str, &Database> =
            databases.iter().map(|d| (d.name.as_str(), d)).collect();
        let mut names = BTreeSet::new();
        for (n, question) in questions.iter().enumerate() {
            let name = question.database.as_str();
            if !known.contains_key(name) {
                return Err(
                    Problem::new(Code::InvalidFile, "a question's database is unknown")
                        .field(format!("[{n}].db_id"))
                        .found(name)
                        .expected("a database of the tables file")
                        .into(),
                );
            }
            names.insert(name.to_string());
        }
        let mut indexes = BTreeMap::new();
        let all = names.len() + 1;
        for name in names {
            if let Some(database) = known.get(name.as_str()) {
                indexes.insert(name, linker.index(database)?);
            }
            tell(indexes.len(), all);
        }
        let asked: Vec<Question<'_>> = questions
            .iter()
            .map(|question| Question {
                text: &question.text,
                evidence: &question.evidence,
            })
            .collect();
        let prepared = linker.prepare(&asked)?;
        tell(all, all);
        let needs = questions.par_iter().map(|question| {
            let Some(index) = indexes.get(&question.database) else {
                return Err("its database is unknown".to_string());
            };
            match gold(&question.sql, index.database()) {
                Ok(gold) => Ok(Needs::new(index, &gold)),
                Err(unread) => Err(unread.to_string()),
            }
        });
        Ok(SchemaSet {
            hints: vec![Hints::default(); questions.len()],
            needs: needs.collect(),
            prepared,
            indexes,
            questions,
        })
    }

    /// Looks for values of the databases, by their names, in the questions.
    pub fn search_values(&mut self, cells: &BTreeMap<String, Cells>) {
        let mut ready: BTreeMap<&str, NamedValues> = BTreeMap::new();
        for (name, cells) in cells {
            if let Some(index) = self.indexes.get(name) {
                ready.insert(name, NamedValues::new(index.database(), cells));
            }
        }
        for (question, hints) in self.questions.iter().zip(&mut self.hints) {
            if let Some(values) = ready.get(question.database.as_str()) {
                hints.values = values.of(Question {
                    text: &question.text,
                    evidence: &question.evidence,
                });
            }
        }
    }

    /// Questions whose SQL could be read.
    pub fn read(&self) -> impl Iterator<Item = Read<'_>> {
        self.questions
            .iter()
            .zip(&self.prepared)
            .zip(&self.hints)
            .zip(&self.needs)
            .filter_map(|(((question, prepared), hints), needs)| {
                let index = self.indexes.get(&question.database)?;
                Some(Read {
                    question,
                    index,
                    prepared,
                    hints,
                    needs: needs.as_ref().ok()?,
                })
            })
    }

    /// Measures one way of cutting schemas down.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn measure(&self, linker: &Linker, options: &SchemaOptions) -> Result<SchemaReport> {
        let rows: Vec<Read<'_>> = self.read().collect();
        let scored: Vec<(&SchemaIndex, &Needs, Scores)> = rows
            .par_iter()
            .map(|read| {
                let scores = linker.score(read.index, read.prepared, options.method)?;
                Ok((read.index, read.needs, scores))
            })
            .collect::<Result<_>>()?;
        let unread = self.questions.iter().zip(&self.needs).enumerate();
        let unread: Vec<UnreadQuestion> = unread
            .filter_map(|(place, (question, needs))| {
                Some(UnreadQuestion {
                    place,
                    database: question.database.clone(),
                    reason: needs.as_ref().err()?.clone(),
                    sql: question.sql.clone(),
                })
            })
            .collect();
        let at = |choice: Choice| -> Vec<(usize, One)> {
            let ones = scored.par_iter().map(|(index, needs, scores)| {
                let mut kept = choose(index, scores, choice);
                if options.complete {
                    complete(index, &mut kept);
                }
                (needs.tables.len(), One::new(needs, &kept))
            });
            ones.collect()
        };
        let (all, prompts) = if options.complete {
            answers(linker, &rows, &scored, options)?
        } else {
            (at(options.choice), PromptTokens::default())
        };
        let mut by_gold_tables: BTreeMap<usize, Vec<One>> = BTreeMap::new();
        for (tables, one) in &all {
            by_gold_tables.entry(*tables).or_default().push(*one);
        }
        let over = |ones: &[(usize, One)]| {
            let ones: Vec<One> = ones.iter().map(|(_, one)| *one).collect();
            mean(&ones, unread.len())
        };
        let mut curve = Vec::new();
        for top in CURVE_TOP {
            curve.push(CurvePoint {
                by: "top".into(),
                value: top as f64,
                linked: over(&at(Choice::Top(top))),
            });
        }
        for threshold in &options.thresholds {
            let choice = match options.choice {
                Choice::Above { table, .. } => Choice::Above {
                    column: Least::any(*threshold),
                    table,
                },
                _ => Choice::Above {
                    column: Least::any(*threshold),
                    table: f32::INFINITY,
                },
            };
            curve.push(CurvePoint {
                by: "threshold".into(),
                value: f64::from(*threshold),
                linked: over(&at(choice)),
            });
        }
        let coverage =
            |places: &[usize], of: fn(&Scores) -> &[f32], needs: fn(&Needs) -> &BTreeSet<usize>| {
                let mut sums = vec![0.0; places.len()];
                let mut counted = 0usize;
                for (_, gold, scores) in &scored {
                    let gold = needs(gold);
                    if gold.is_empty() {
                        continue;
                    }
                    counted += 1;
                    let order = crate::sql::best(of(scores));
                    for (sum, k) in sums.iter_mut().zip(places) {
                        let first = order.iter().take(*k).filter(|n| gold.contains(n)).count();
                        *sum += first as f64 / gold.len() as f64;
                    }
                }
                let means = sums.into_iter().map(|sum| sum / counted.max(1) as f64);
                places
                    .iter()
                    .copied()
                    .zip(means)
                    .collect::<BTreeMap<usize, f64>>()
            };
        Ok(SchemaReport {
            linked: over(&all),
            prompts,
            by_gold_tables: by_gold_tables
                .into_iter()
                .map(|(tables, ones)| (tables, mean(&ones, 0)))
                .collect(),
            table_coverage: coverage(&TABLES_AT, |s| &s.tables, |n| &n.tables),
            column_coverage: coverage(&COLUMNS_AT, |s| &s.columns, |n| &n.columns),
            curve,
            unread,
        })
    }
}

/// The answers themselves: what is kept, and what the prompts cost.
fn answers(
    linker: &Linker,
    rows: &[Read<'_>],
    scored: &[(&SchemaIndex, &Needs, Scores)],
    options: &SchemaOptions,
) -> Result<(Vec<(usize, One)>, PromptTokens)> {
    let encoder = linker.encoder();
    let count = |text: &str| encoder.count_tokens(text);
    let decided: Vec<(usize, One, Option<Decision>)> = rows
        .par_iter()
        .zip(scored)
        .map(|(read, (index, needs, scores))| {
            let question = Question {
                text: &read.question.text,
                evidence: &read.question.evidence,
            };
            let request = FocusRequest {
                hints: read.hints.clone(),
                ..options.request.clone()
            };
            let decision = decide(
                index,
                question,
                scores,
                options.choice,
                &request,
                &count,
                encoder.name(),
            );
            let tables = needs.tables.len();
            match decision {
                Ok(decision) => Ok((tables, One::new(needs, &decision.kept), Some(decision))),
                // The budget is too small for anything: nothing is kept.
                Err(Error::User(_)) => Ok((tables, One::nothing(needs), None)),
                Err(error) => Err(error),
            }
        })
        .collect::<Result<_>>()?;
    let kept = || {
        decided
            .iter()
            .filter_map(|(_, _, decision)| decision.as_ref())
    };
    let answered = kept().count();
    let tokens = kept().map(|decision| decision.tokens as f64).sum::<f64>();
    let whole = kept()
        .map(|decision| decision.full_tokens as f64)
        .sum::<f64>();
    let full = kept().filter(|decision| decision.strategy == Strategy::Full);
    let prompts = PromptTokens {
        avg_tokens: tokens / answered.max(1) as f64,
        avg_full_tokens: whole / answered.max(1) as f64,
        saved: 1.0 - tokens / whole.max(1.0),
        full: full.count() as f64 / answered.max(1) as f64,
        too_small: decided.len() - answered,
        tokenizer: encoder.name().to_string(),
    };
    let ones = decided.into_iter().map(|(tables, one, _)| (tables, one));
    Ok((ones.collect(), prompts))
}

/// A question whose SQL could be read.
pub struct Read<'a> {
    pub question: &'a SchemaQuestion,
    pub index: &'a SchemaIndex,
    pub prepared: &'a Prepared,
    pub hints: &'a Hints,
    pub needs: &'a Needs,
}

/// One question.
#[derive(Clone, Copy)]
struct One {
    needed: usize,
    found: usize,
    tables: usize,
    columns: usize,
}

impl One {
    fn nothing(needs: &Needs) -> One {
        One {
            needed: needs.all().max(1),
            found: 0,
            tables: 0,
            columns: 0,
        }
    }

    fn new(needs: &Needs, kept: &Kept) -> One {
        One {
            needed: needs.all(),
            found: needs.kept(kept),
            tables: kept.tables.len(),
            columns: kept.count(),
        }
    }
}

fn mean(ones: &[One], unread: usize) -> Linked {
    let sum = |figure: fn(&One) -> usize| ones.iter().map(figure).sum::<usize>() as f64;
    let read = ones.len().max(1) as f64;
    let whole = ones.iter().filter(|one| one.found == one.needed).count();
    Linked {
        questions: ones.len() + unread,
        srr: whole as f64 / (ones.len() + unread).max(1) as f64,
        nsr: sum(|one| one.found) / sum(|one| one.needed).max(1.0),
        avg_tables: sum(|one| one.tables) / read,
        avg_columns: sum(|one| one.columns) / read,
    }
}

impl fmt::Display for SchemaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, linked: &Linked| {
            writeln!(
                f,
                "{name:16} {:>9} {:>7.2} {:>7.2} {:>7.2} {:>8.2}",
                linked.questions,
                100.0 * linked.srr,
                100.0 * linked.nsr,
                linked.avg_tables,
                linked.avg_columns
            )
        };
        writeln!(
            f,
            "{:16} {:>9} {:>7} {:>7} {:>7} {:>8}",
            "", "questions", "SRR %", "NSR %", "tables", "columns"
        )?;
        row(f, "all", &self.linked)?;
        for (tables, linked) in &self.by_gold_tables {
            row(f, &format!("{tables} gold tables"), linked)?;
        }
        for point in &self.curve {
            row(f, &format!("{} {}", point.by, point.value), &point.linked)?;
        }
        for (name, coverage) in [
            ("tables", &self.table_coverage),
            ("columns", &self.column_coverage),
        ] {
            write!(f, "coverage, {name}:")?;
            for (k, share) in coverage {
                write!(f, "  @{k} {:.2}", 100.0 * share)?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "tokens of a prompt: {:.0}, with the whole schema {:.0}; saved {:.1} % (by {})",
            self.prompts.avg_tokens,
            self.prompts.avg_full_tokens,
            100.0 * self.prompts.saved,
            self.prompts.tokenizer
        )?;
        write!(f, "not read: {}", self.unread.len())
    }
}
