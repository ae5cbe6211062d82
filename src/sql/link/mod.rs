//! Linking: how likely a question needs each column and each table of a database.
//!
//! The promise: scores depend on the question, its evidence and what the schema says, and on
//! nothing else: not on the order of tables and columns, nor on other questions. Columns that
//! nothing tells apart score alike.

mod combination;
mod cross;
mod features;
mod graph;
mod schema;
mod trees;
mod words;

use combination::Combination;
use cross::{Cross, CrossFeatures};
use features::{Asked, Features};
pub use schema::SchemaIndex;
#[cfg(test)]
pub(crate) use schema::without_vectors;
pub(crate) use schema::{sorted, table_text};
use words::Text;

use crate::error::{Code, Problem, Result};
use crate::lexical::Stems;
use crate::model::{Registry, Task, TextEncoder, TokenClassifier};
use crate::sql::Database;
use crate::sql::keep::{Choice, Least, Mode};
use crate::sql::vectors::Shelf;

/// Longest question and longest evidence, in bytes: what is longer is no question.
pub const MOST_QUESTION_BYTES: usize = 16 << 10;

/// What somebody wants to know, with what is known about how to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    pub text: &'a str,
    /// BIRD's hint: which values and formulas the words stand for. May be empty.
    pub evidence: &'a str,
}

impl Question<'_> {
    /// Question and evidence as one text, as models read it.
    pub fn joined(&self) -> String {
        match self.evidence.trim() {
            "" => self.text.trim().to_string(),
            evidence => format!("{} | {evidence}", self.text.trim()),
        }
    }

    /// # Errors
    /// InvalidRequest for an empty question, LimitExceeded for a long one.
    pub fn check(&self) -> Result<(), Problem> {
        if self.text.trim().is_empty() {
            return Err(Problem::new(Code::InvalidRequest, "the question is empty")
                .field("question")
                .expected("some words"));
        }
        for (field, text) in [("question", self.text), ("evidence", self.evidence)] {
            if text.len() > MOST_QUESTION_BYTES {
                return Err(Problem::new(Code::LimitExceeded, "the text is too long")
                    .field(field)
                    .found(format!("{} bytes", text.len()))
                    .expected(format!("at most {MOST_QUESTION_BYTES} bytes")));
            }
        }
        Ok(())
    }
}

/// By what columns and tables are scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// Words of names and descriptions alone.
    Words,
    /// Vectors of the columns' texts alone.
    Vectors,
    /// Words, vectors, keys and values, combined by what was fitted on questions with SQL.
    #[default]
    Trained,
}

/// Scores of a database's columns and tables, in the order of the [`SchemaIndex`].
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    pub columns: Vec<f32>,
    pub tables: Vec<f32>,
}

/// Links questions to schemas. Any number of threads may use one at once.
pub struct Linker {
    encoder: TextEncoder,
    stems: Stems,
    combination: Combination,
    cross: Option<Cross>,
}

/// Features, a row for each column or table.
pub type FeatureRows = Vec<Vec<f32>>;

/// A question made ready to be linked to any database.
pub struct Prepared {
    asked: Asked,
    /// As the cross-encoder reads it.
    tokens: Vec<u32>,
}

impl Prepared {
    /// The vector of question and evidence together.
    pub(crate) fn vector(&self) -> &[f32] {
        &self.asked.whole
    }

    /// Stems of the words of both, each once, in the order of the alphabet.
    pub(crate) fn stems(&self) -> Vec<&str> {
        let stems = self.asked.question.stems.union(&self.asked.evidence.stems);
        stems.map(String::as_str).collect()
    }
}

impl Linker {
    /// A linker over an encoder: the one whose vectors the schemas are encoded with; and over a
    /// cross-encoder, where there is one.
    ///
    /// # Errors
    /// InvalidModel for a cross-encoder that is none of a linker; a bug where the shipped
    /// combination does not fit.
    pub fn new(encoder: TextEncoder, cross: Option<TokenClassifier>) -> Result<Linker> {
        Ok(Linker {
            encoder,
            stems: Stems::english(),
            combination: Combination::shipped(cross.is_some())?,
            cross: cross.map(Cross::new).transpose()?,
        })
    }

    /// The same over models of these names; no cross-encoder where its name is empty.
    ///
    /// # Errors
    /// Those of the registry and of [`Linker::new`].
    pub fn open(registry: &Registry, encoder: &str, cross: &str) -> Result<Linker> {
        let cross = match cross {
            "" => None,
            name => Some(registry.open_token_classifier(name)?),
        };
        Linker::new(registry.open(encoder)?, cross)
    }

    /// The same linker with another combination: the text that training/linkers/combine.py wrote.
    ///
    /// # Errors
    /// InvalidFile for a text that does not fit the features here.
    pub fn with_combination(self, text: &str) -> Result<Linker> {
        let combination = Combination::read(text, self.cross.is_some()).map_err(|e| {
            Problem::new(Code::InvalidFile, "the combination cannot be used").found(e)
        })?;
        Ok(Linker {
            combination,
            ..self
        })
    }

    /// Which columns and tables a mode keeps, of scores by the trained combination.
    pub fn choice(&self, mode: Mode) -> Choice {
        let threshold = self.combination.threshold(mode);
        Choice::Above {
            column: Least {
                small: threshold.small,
                large: threshold.column,
            },
            table: threshold.table,
        }
    }

    /// The encoder.
    pub fn encoder(&self) -> &TextEncoder {
        &self.encoder
    }

    /// Makes a database ready for questions.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn index(&self, database: &Database) -> Result<SchemaIndex> {
        self.index_kept(database, &Shelf::none())
    }

    /// The same with the vectors of a shelf, where what is not there yet is put.
    pub(crate) fn index_kept(&self, database: &Database, shelf: &Shelf<'_>) -> Result<SchemaIndex> {
        let cross = self.cross.as_ref();
        SchemaIndex::new(database, &self.encoder, cross, &self.stems, shelf)
    }

    /// Makes questions ready, in their order; they are encoded together.
    ///
    /// # Errors
    /// Those of [`Question::check`] and of the encoder.
    pub fn prepare(&self, questions: &[Question<'_>]) -> Result<Vec<Prepared>> {
        let mut texts = Vec::with_capacity(2 * questions.len());
        for question in questions {
            question.check()?;
            texts.push(question.joined());
            // Without evidence these are one text, and encoding it is most of the work.
            if !question.evidence.trim().is_empty() {
                texts.push(question.text.trim().to_string());
            }
        }
        let vectors = self.encoder.encode(Task::Query, &texts)?;
        let mut rows = vectors.rows();
        let mut prepared = Vec::with_capacity(questions.len());
        for question in questions {
            let whole = rows.next();
            let alone = match question.evidence.trim() {
                "" => whole,
                _ => rows.next(),
            };
            let asked = Asked {
                question: Text::new(question.text, &self.stems),
                evidence: Text::new(question.evidence, &self.stems),
                whole: whole.unwrap_or_default().to_vec(),
                alone: alone.unwrap_or_default().to_vec(),
            };
            let tokens = match &self.cross {
                Some(cross) => cross.question(&question.joined())?,
                None => Vec::new(),
            };
            prepared.push(Prepared { asked, tokens });
        }
        Ok(prepared)
    }

    /// Scores the columns and tables of a database for a question.
    ///
    /// # Errors
    /// Those of the cross-encoder.
    pub fn score(
        &self,
        index: &SchemaIndex,
        question: &Prepared,
        method: Method,
    ) -> Result<Scores> {
        let features = features::features(index, &question.asked);
        Ok(match method {
            Method::Words => single(index, &features, "words"),
            Method::Vectors => single(index, &features, "text_whole"),
            Method::Trained => {
                let first = self.combination.first(&features);
                let read = self.read(index, question, &first)?;
                self.combination
                    .second(index, &features, &first, read.as_ref())
            }
        })
    }

    /// What the first round says, without the columns' and tables' fellows and without the
    /// cross-encoder: for comparing databases, of which there are many.
    pub(crate) fn score_first(&self, index: &SchemaIndex, question: &Prepared) -> Scores {
        let features = features::features(index, &question.asked);
        self.combination.first(&features)
    }

    /// The cosine of the column that is nearest to a question; 0 where nothing is encoded.
    pub(crate) fn nearest_column(&self, index: &SchemaIndex, question: &Prepared) -> f32 {
        let rows = &index.column_texts;
        if rows.dimensions == 0 {
            return 0.0;
        }
        let cosines = (0..index.columns.len()).map(|n| rows.dot(n, question.vector()));
        cosines.fold(-1.0, f32::max)
    }

    /// What the cross-encoder says, where there is one.
    fn read(
        &self,
        index: &SchemaIndex,
        question: &Prepared,
        first: &Scores,
    ) -> Result<Option<CrossFeatures>> {
        let Some(cross) = &self.cross else {
            return Ok(None);
        };
        let logits = cross.read(index, &question.tokens, first)?;
        Ok(Some(CrossFeatures::new(index, &logits)))
    }

    /// The features of columns and of tables, each a row, for fitting; those that the
    /// cross-encoder makes come last.
    ///
    /// # Errors
    /// Those of the cross-encoder.
    pub fn features(
        &self,
        index: &SchemaIndex,
        question: &Prepared,
    ) -> Result<(FeatureRows, FeatureRows)> {
        let features = features::features(index, &question.asked);
        let read = self.read(index, question, &self.combination.first(&features))?;
        let columns = features.columns.iter().enumerate().map(|(n, row)| {
            let more = read.as_ref().map_or(&[][..], |read| &read.columns[n]);
            [row.as_slice(), more].concat()
        });
        let tables = features.tables.iter().enumerate().map(|(n, row)| {
            let more = read.as_ref().map_or(&[][..], |read| &read.tables[n]);
            [row.as_slice(), more].concat()
        });
        Ok((columns.collect(), tables.collect()))
    }

    /// Names of the features of columns and of tables.
    pub fn feature_names(&self) -> (Vec<String>, Vec<String>) {
        let read = |names: &[&str]| -> Vec<String> {
            let names = names.iter().filter(|_| self.cross.is_some());
            names.map(|name| format!("cross_{name}")).collect()
        };
        let mut columns = features::column_features();
        columns.extend(read(cross::COLUMNS_CROSS));
        let tables = features::TABLE_FEATURES.iter().map(ToString::to_string);
        let tables = tables.chain(read(cross::TABLES_CROSS)).collect();
        (columns, tables)
    }
}

/// Scores by one feature; a table has that of its best column.
fn single(index: &SchemaIndex, features: &Features, name: &str) -> Scores {
    let place = features::COLUMN_ONLY
        .iter()
        .position(|other| *other == name);
    let place = place.unwrap_or_default();
    let columns: Vec<f32> = features.columns.iter().map(|row| row[place]).collect();
    let tables = index.tables.iter().map(|table| {
        let inside = columns[table.columns.clone()].iter().copied();
        inside.fold(f32::NEG_INFINITY, f32::max)
    });
    Scores {
        tables: tables.collect(),
        columns,
    }
}
