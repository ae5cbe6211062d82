//! Questions to the catalogue's databases: what was made ready for one question is kept for the
//! next.
//!
//! The promise: an answer is that of the database as it stands in the catalogue when the
//! question comes, and what is kept stays within [`KEPT_COLUMNS`] and [`KEPT_VALUES`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dialect;
use super::bounded::Bounded;
use super::catalog::{Entry, Stamp};
use super::focus::{Focus, FocusRequest, Strategy, focus};
use super::hints::Hints;
use super::keep::Mode;
use super::link::{Linker, Method, Question, SchemaIndex};
use super::render::Detail;
use super::similar::Encoded;
use super::values::{NamedValues, ValueHit};
use super::vectors::{Kind, Others};
use super::which::{KEPT_TABLES, Sketches};
use crate::error::{Code, Problem, Result};
use crate::model::{Registry, TextEncoder, TokenCounter};

/// Columns of all databases that are kept ready, each with two vectors and the words of what is
/// said of it; the database that was asked about longest ago gives way.
const KEPT_COLUMNS: usize = 200_000;
/// Values of all databases that are kept ready, a few hundred bytes each, and their columns.
const KEPT_VALUES: usize = 1_000_000;
/// Examples of all databases that are kept ready, with a vector each, and the columns.
const KEPT_EXAMPLES: usize = 500_000;
/// How long one question waits while another makes the same database ready.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest text that values are searched for, in bytes.
const MOST_TEXT: usize = 1_024;
/// Hits of a search where nothing is said, and at most.
const USUAL_HITS: usize = 10;
const MOST_HITS: usize = 100;
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
    /// Most stored questions like this one that are shown with their SQL, 0 to 100; none where it
    /// is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Who asks; needed where the database has permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

impl RetrieveRequest {
    fn detail(&self) -> Result<Detail, Problem> {
        let usual = Detail::default();
        for (field, asked) in [
            ("samples", self.samples),
            ("values", self.values),
            ("examples", self.examples),
        ] {
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
            ..usual
        })
    }
}

/// What is searched for among a database's values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValuesRequest {
    /// What may be a value, or a part of one, or mean one; 1 to 1,024 bytes.
    pub text: String,
    /// Most values of the answer, 1 to 100; 10 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Whether values are also compared by their vectors, for which they are encoded the first
    /// time; yes where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<bool>,
    /// Who asks; needed where the database has permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// The values that were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValuesAnswer {
    pub database: String,
    /// The best first.
    pub hits: Vec<ValueHit>,
}

/// Answers questions about databases. Any number of threads may use one at once.
pub struct Retriever {
    linker: Linker,
    encoder: String,
    schemas: Mutex<Kept<SchemaIndex>>,
    values: Mutex<Kept<NamedValues>>,
    pub(super) sketches: Mutex<Sketches>,
    pub(super) examples: Mutex<Kept<(Option<Stamp>, Arc<Encoded>)>>,
    /// What is being made ready: whoever needs it too waits for it.
    making: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl Retriever {
    /// Opens the encoder of this name, and the cross-encoder of the other where there is one.
    ///
    /// # Errors
    /// Those of the registry.
    pub fn open(registry: &Registry, encoder: &str, cross: &str) -> Result<Retriever> {
        let linker = Linker::open(registry, encoder, cross)?;
        Ok(Retriever::new(linker, encoder))
    }

    /// One that links with this linker. `encoder` is what its encoder is called in requests and
    /// answers.
    pub fn new(linker: Linker, encoder: &str) -> Retriever {
        Retriever {
            linker,
            encoder: encoder.to_owned(),
            schemas: Mutex::new(Kept::new(KEPT_COLUMNS)),
            values: Mutex::new(Kept::new(KEPT_VALUES)),
            sketches: Mutex::new(Kept::new(KEPT_TABLES)),
            examples: Mutex::new(Kept::new(KEPT_EXAMPLES)),
            making: Mutex::default(),
        }
    }

    pub(super) fn linker(&self) -> &Linker {
        &self.linker
    }

    pub(super) fn encoder(&self) -> &TextEncoder {
        self.linker.encoder()
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
        let counter = match request.tokenizer.as_deref().filter(|n| *n != self.encoder) {
            None => None,
            Some(name) => Some(TokenCounter::open(&registry.folder(name)?)?),
        };
        self.retrieve_counted(entry, request, counter.as_ref())
    }

    /// The same, tokens counted by a counter of the caller's; by the encoder's without one.
    ///
    /// # Errors
    /// As [`Retriever::retrieve`].
    pub fn retrieve_counted(
        &self,
        entry: &Arc<Entry>,
        request: &RetrieveRequest,
        counter: Option<&TokenCounter>,
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
            hints: Hints {
                values: self.values_of(entry)?.of(question),
                examples: self.shown(entry, question.text, request.examples.unwrap_or_default())?,
            },
        };
        let count = |text: &str| match counter {
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

    /// Values of a database that are like a text.
    ///
    /// # Errors
    /// InvalidRequest or LimitExceeded with the field; an operator's error where the values
    /// cannot be read; those of the encoder.
    pub fn values(&self, entry: &Arc<Entry>, request: &ValuesRequest) -> Result<ValuesAnswer> {
        let text = request.text.trim();
        if text.is_empty() {
            let empty = Problem::new(Code::InvalidRequest, "there is nothing to search for");
            return Err(empty.field("text").expected("some words").into());
        }
        if text.len() > MOST_TEXT {
            return Err(Problem::new(Code::LimitExceeded, "the text is too long")
                .field("text")
                .found(format!("{} bytes", text.len()))
                .expected(format!("at most {MOST_TEXT} bytes"))
                .into());
        }
        let limit = limit(request.limit, USUAL_HITS)?;
        let shelf = entry.shelf(Kind::Values, Others::Go);
        let meaning = request.meaning.unwrap_or(true);
        let encoder = meaning.then(|| (self.linker.encoder(), &shelf));
        let values = self.values_of(entry)?;
        Ok(ValuesAnswer {
            database: entry.database.name.clone(),
            hits: values.index.search(text, limit, encoder)?,
        })
    }

    /// The database made ready: as it was kept, or anew where it is another by now.
    pub(super) fn ready(&self, entry: &Arc<Entry>) -> Result<Arc<SchemaIndex>> {
        if let Some(index) = self.schemas.lock().get(entry) {
            return Ok(index);
        }
        self.alone("schema", entry, || {
            // Somebody else may have made it meanwhile.
            if let Some(index) = self.schemas.lock().get(entry) {
                return Ok(index);
            }
            let shelf = entry.shelf(Kind::Schema, Others::Go);
            let index = Arc::new(self.linker.index_kept(&entry.database, &shelf)?);
            self.schemas.lock().put(entry, index.clone(), 0);
            Ok(index)
        })
    }

    /// Makes a database ready for its first question: encodes what is new of it.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn prepare(&self, entry: &Arc<Entry>) -> Result<()> {
        self.ready(entry).map(|_| ())
    }

    /// Whether somebody makes something of this database ready just now: a question to it would wait.
    pub fn is_preparing(&self, database: &str) -> bool {
        let making = self.making.lock();
        // What it is, the database, and whose view of it.
        making
            .keys()
            .any(|key| key.split(' ').nth(1) == Some(database))
    }

    /// One at a time makes the same thing ready of a database; others wait for it, not long, as
    /// they keep somebody from working.
    ///
    /// # Errors
    /// `overloaded` for who has waited too long; those of `make`.
    pub(super) fn alone<T>(
        &self,
        what: &str,
        entry: &Entry,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let key = format!("{what} {}", entry.key());
        let turn = self.making.lock().entry(key.clone()).or_default().clone();
        let made = match turn.try_lock_for(PATIENCE) {
            Some(_turn) => make(),
            None => Err(Problem::new(
                Code::Overloaded,
                "the database is being made ready for questions; try again in a few seconds",
            )
            .field("database")
            .found(&entry.database.name)
            .into()),
        };
        let mut making = self.making.lock();
        // The map's and this one: nobody waits.
        if Arc::strong_count(&turn) == 2 {
            making.remove(&key);
        }
        made
    }

    /// Its values, likewise.
    fn values_of(&self, entry: &Arc<Entry>) -> Result<Arc<NamedValues>> {
        if let Some(values) = self.values.lock().get(entry) {
            return Ok(values);
        }
        self.alone("values", entry, || {
            if let Some(values) = self.values.lock().get(entry) {
                return Ok(values);
            }
            let values = Arc::new(NamedValues::new(&entry.database, &entry.cells()?));
            let size = values.index.len();
            self.values.lock().put(entry, values.clone(), size);
            Ok(values)
        })
    }
}

/// What was made ready of databases as callers see them, within a bound.
pub(super) struct Kept<T>(Bounded<(Arc<Entry>, Arc<T>)>);

impl<T> Kept<T> {
    fn new(most: usize) -> Kept<T> {
        Kept(Bounded::new(most))
    }

    /// What was made of this very entry.
    pub(super) fn get(&mut self, entry: &Arc<Entry>) -> Option<Arc<T>> {
        let (of, ready) = self.0.get(&entry.key())?;
        Arc::ptr_eq(of, entry).then(|| ready.clone())
    }

    /// `size` is what it takes beside the entry, in columns.
    pub(super) fn put(&mut self, entry: &Arc<Entry>, ready: Arc<T>, size: usize) {
        let size = size + entry.columns();
        self.0.put(entry.key(), (entry.clone(), ready), size);
    }
}

/// How many hits are asked for.
pub(super) fn limit(asked: Option<usize>, usual: usize) -> Result<usize, Problem> {
    match asked {
        None => Ok(usual),
        Some(asked) if (1..=MOST_HITS).contains(&asked) => Ok(asked),
        Some(asked) => Err(
            Problem::new(Code::InvalidRequest, "so many cannot be asked for")
                .field("limit")
                .found(asked)
                .expected(format!("1 to {MOST_HITS}")),
        ),
    }
}
