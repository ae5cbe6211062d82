//! `gleaner schema retrieve`: the part of a schema that a question needs.

use std::path::{Path, PathBuf};

use super::Context;
use super::eval_schema::text;
use crate::error::{Code, Problem, Result};
use crate::model::{Registry, TokenCounter};
use crate::sql::{
    Database, Detail, Dialect, FocusRequest, Linker, Method, Mode, Question, Schemas, Strategy,
    add_meanings, focus, parse_tables_json,
};

/// The part of a schema that a question needs, to put into a prompt.
#[derive(Debug, clap::Args)]
pub(super) struct Retrieve {
    /// Name of the database.
    database: String,
    /// What somebody wants to know.
    question: String,
    /// What the question's words stand for: values, formulas.
    #[arg(long, default_value = "")]
    evidence: String,
    /// Where the database is: a tables.json [default: the catalogue].
    #[arg(long, value_name = "FILE.json")]
    tables: Option<PathBuf>,
    /// What columns mean: a column_meaning.json.
    #[arg(long, value_name = "FILE.json", requires = "tables")]
    meanings: Option<PathBuf>,
    /// What is kept: what retrieval finds, all, or all where that is within the budget.
    #[arg(long, value_enum, default_value = "auto")]
    strategy: Strategy,
    /// How much retrieval keeps.
    #[arg(long, value_enum, default_value = "balanced")]
    mode: Mode,
    /// Most tokens of the prompt [default: as many as there are].
    #[arg(long, value_name = "TOKENS")]
    budget: Option<usize>,
    /// By which tokens are counted: the name of a model, or a tokenizer.json
    /// [default: the encoder's].
    #[arg(long, value_name = "MODEL|FILE")]
    tokenizer: Option<String>,
    /// How names are quoted [default: the database's own].
    #[arg(long, value_enum)]
    dialect: Option<Dialect>,
    /// Most sample rows of a table.
    #[arg(long, value_name = "N", default_value_t = Detail::default().samples)]
    samples: usize,
    /// Most frequent values of a column.
    #[arg(long, value_name = "N", default_value_t = Detail::default().values)]
    values: usize,
    /// Leave descriptions out.
    #[arg(long)]
    no_comments: bool,
    /// Name of the encoder.
    #[arg(long, value_name = "MODEL", default_value = "gleaner-minilm")]
    encoder: String,
    /// Name of the cross-encoder that reads the likeliest tables; empty for none.
    #[arg(long, value_name = "MODEL", default_value = "gleaner-linker")]
    linker: String,
}

impl Retrieve {
    pub(super) fn run(self, context: &Context, schemas: &Schemas) -> Result<()> {
        let question = Question {
            text: &self.question,
            evidence: &self.evidence,
        };
        question.check()?;
        let database = self.database(schemas)?;
        let models = &context.config.models;
        let registry = Registry::new(models.folders.clone(), models.runtime.clone());
        let linker = Linker::open(&registry, &self.encoder, &self.linker)?;
        let (counter, tokenizer) = match &self.tokenizer {
            None => (None, self.encoder.clone()),
            Some(name) => {
                let path = Path::new(name);
                let place = if path.exists() {
                    path.to_path_buf()
                } else {
                    registry.folder(name)?
                };
                (Some(TokenCounter::open(&place)?), name.clone())
            }
        };
        let count = |text: &str| match &counter {
            Some(counter) => counter.count(text),
            None => linker.encoder().count_tokens(text),
        };
        let index = linker.index(&database)?;
        let prepared = linker.prepare(&[question])?;
        let scores = linker.score(&index, &prepared[0], Method::Trained)?;
        let request = FocusRequest {
            strategy: self.strategy,
            mode: self.mode,
            budget: self.budget,
            dialect: self.dialect,
            detail: Detail {
                comments: !self.no_comments,
                samples: self.samples,
                values: self.values,
            },
        };
        let answer = focus(
            &index,
            question,
            &scores,
            linker.choice(self.mode),
            &request,
            &count,
            &tokenizer,
        )?;
        context.print(&answer, |answer| answer.prompt.clone())
    }

    fn database(&self, schemas: &Schemas) -> Result<Database> {
        let Some(tables) = &self.tables else {
            return Ok(schemas.get(&self.database)?.database.clone());
        };
        let mut databases = parse_tables_json(&text(tables, "tables")?)?;
        let place = databases
            .iter()
            .position(|known| known.name == self.database);
        let Some(place) = place else {
            let known: Vec<&str> = databases.iter().take(20).map(|d| d.name.as_str()).collect();
            return Err(
                Problem::new(Code::InvalidRequest, "there is no such database")
                    .field("database")
                    .found(&self.database)
                    .expected(known.join(", "))
                    .into(),
            );
        };
        let mut database = databases.swap_remove(place);
        if let Some(file) = &self.meanings {
            add_meanings(
                std::slice::from_mut(&mut database),
                &text(file, "meanings")?,
            )?;
        }
        Ok(database)
    }
}
