//! Questions to the catalogue's databases: what was made ready for one question is kept for the
//! next.
//!
//! The promise: an answer is that of the database as it stands in the catalogue when the
//! question comes, and what is kept stays within [`KEPT_COLUMNS`].

use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dialect;
use super::catalog::Entry;
use super::focus::{Focus, FocusRequest, Strategy, focus};
use super::keep::Mode;
use super::link::{Linker, Method, Question, SchemaIndex};
use super::render::Detail;
use crate::error::{Code, Problem, Result};
use crate::model::{Registry, TokenCounter};

/// Columns of all databases that are kept ready, each with two vectors and the words of what is
/// said of it; the database that was asked about longest ago gives way.
const KEPT_COLUMNS: usize = 200_000;
/// Most sample rows of a table and most values of a column that a request may ask for.
const MOST_DETAIL: usize = 100;

/// What is asked of a database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrieveRequest {
    /// What somebody wants to know, 1 to 16,384 bytes.
    pub question: String,
    /// What the question's words stand for: values, formulas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// What is kept: `auto` is all of it where that is within the budget, otherwise what
    /// retrieval finds.
    #[serde(default)]
    pub strategy: Strategy,
    /// How much retrieval keeps.
    #[serde(default)]
    pub mode: Mode,
    /// Most tokens of the prompt; as many as there are where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_budget: Option<usize>,
    /// By which tokens are counted: the name of a model here. The encoder's where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// How names are quoted; the database's own where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// Whether readable names and descriptions are written; yes where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments: Option<bool>,
    /// Most sample rows of a table, 0 to 100; 3 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Most frequent values of a column, 0 to 100; 3 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<usize>,
}

impl RetrieveRequest {
    fn detail(&self) -> Result<Detail, Problem> {
        let usual = Detail::default();
        for (field, asked) in [("samples", self.samples), ("values", self.values)] {
            if asked.is_some_and(|n| n > MOST_DETAIL) {
                return Err(
                    Problem::new(Code::InvalidRequest, "more than may be asked for")
                        .field(field)
                        .found(asked.unwrap_or_default())
                        .expected(format!("0 to {MOST_DETAIL}")),
                );
            }
        }
        Ok(Detail {
            comments: self.comments.unwrap_or(usual.comments),
            samples: self.samples.unwrap_or(usual.samples),
            values: self.values.unwrap_or(usual.values),
        })
    }
}

/// Answers questions about databases. Any number of threads may use one at once.
pub struct Retriever {
    linker: Linker,
    encoder: String,
    ready: Mutex<Ready>,
}

struct Ready {
    /// By name: the entry that it was made of.
    indexes: LruCache<String, (Arc<Entry>, Arc<SchemaIndex>)>,
    columns: usize,
}

impl Retriever {
    /// Opens the encoder of this name, and the cross-encoder of the other where there is one.
    ///
    /// # Errors
    /// Those of the registry.
    pub fn open(registry: &Registry, encoder: &str, cross: &str) -> Result<Retriever> {
        Ok(Retriever {
            linker: Linker::open(registry, encoder, cross)?,
            encoder: encoder.to_owned(),
            ready: Mutex::new(Ready {
                indexes: LruCache::unbounded(),
                columns: 0,
            }),
        })
    }

    /// The part of a database that a question needs.
    ///
    /// # Errors
    /// InvalidRequest or LimitExceeded for a request that cannot be answered, as
    /// [`Question::check`] and [`focus`] have it; those of the encoder.
    pub fn retrieve(
        &self,
        registry: &Registry,
        entry: &Arc<Entry>,
        request: &RetrieveRequest,
    ) -> Result<Focus> {
        let question = Question {
            text: &request.question,
            evidence: &request.evidence,
        };
        question.check()?;
        let wanted = FocusRequest {
            strategy: request.strategy,
            mode: request.mode,
            budget: request.token_budget,
            dialect: request.dialect,
            detail: request.detail()?,
        };
        let counter = match request.tokenizer.as_deref().filter(|n| *n != self.encoder) {
            None => None,
            Some(name) => Some(TokenCounter::open(&registry.folder(name)?)?),
        };
        let count = |text: &str| match &counter {
            Some(counter) => counter.count(text),
            None => self.linker.encoder().count_tokens(text),
        };
        let index = self.ready(entry)?;
        let prepared = self.linker.prepare(&[question])?;
        let prepared = prepared
            .first()
            .ok_or_else(|| crate::error::Error::Bug("a question was not prepared".into()))?;
        let scores = self.linker.score(&index, prepared, Method::Trained)?;
        focus(
            &index,
            question,
            &scores,
            self.linker.choice(request.mode),
            &wanted,
            &count,
            request.tokenizer.as_deref().unwrap_or(&self.encoder),
        )
    }

    /// The database made ready: as it was kept, or anew where it is another by now.
    fn ready(&self, entry: &Arc<Entry>) -> Result<Arc<SchemaIndex>> {
        let name = &entry.database.name;
        if let Some((of, index)) = self.ready.lock().indexes.get(name)
            && Arc::ptr_eq(of, entry)
        {
            return Ok(index.clone());
        }
        let index = Arc::new(self.linker.index(&entry.database)?);
        let mut ready = self.ready.lock();
        let before = ready
            .indexes
            .put(name.clone(), (entry.clone(), index.clone()));
        ready.columns += columns(entry);
        ready.columns -= before.map_or(0, |(of, _)| columns(&of));
        while ready.columns > KEPT_COLUMNS
            && let Some((_, (of, _))) = ready.indexes.pop_lru()
        {
            ready.columns -= columns(&of);
        }
        Ok(index)
    }
}

fn columns(entry: &Entry) -> usize {
    let tables = entry.database.tables.iter();
    tables.map(|table| table.columns.len()).sum()
}
