//! `gleaner schema retrieve`: the part of a schema that a question needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Context;
use super::eval_schema::text;
use crate::error::{Code, Problem, Result};
use crate::model::{Registry, TokenCounter};
use crate::sql::{
    Database, Detail, Dialect, Entry, Mode, Question, RetrieveRequest, Retriever, Schemas,
    Strategy, add_meanings, parse_tables_json,
};

/// What answers questions, with models of these names or the configuration's.
pub(super) fn open(
    context: &Context,
    encoder: Option<&str>,
    linker: Option<&str>,
) -> Result<(Registry, Retriever)> {
    let config = &context.config;
    let registry = Registry::new(config.models.folders.clone(), config.models.runtime.clone());
    let encoder = encoder.unwrap_or(&config.schemas.encoder);
    let linker = linker.unwrap_or(&config.schemas.linker);
    let retriever = Retriever::open(&registry, encoder, linker)?;
    Ok((registry, retriever))
}

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
    /// Most stored questions like this one that are shown with their SQL.
    #[arg(long, value_name = "N", default_value_t = 0)]
    examples: usize,
    /// Who asks; needed where the database has permissions.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Leave descriptions out.
    #[arg(long)]
    no_comments: bool,
    /// Name of the encoder [default: schemas.encoder].
    #[arg(long, value_name = "MODEL")]
    encoder: Option<String>,
    /// Name of the cross-encoder that reads the likeliest tables; empty for none
    /// [default: schemas.linker].
    #[arg(long, value_name = "MODEL")]
    linker: Option<String>,
}

impl Retrieve {
    pub(super) fn run(self, context: &Context, schemas: &Schemas) -> Result<()> {
        let question = Question {
            text: &self.question,
            evidence: &self.evidence,
        };
        question.check()?;
        let entry = match &self.tables {
            None => schemas.visible(&self.database, self.caller.as_deref())?,
            Some(tables) => Arc::new(Entry::alone(self.database(tables)?)),
        };
        let (registry, retriever) = open(context, self.encoder.as_deref(), self.linker.as_deref())?;
        let counter = match &self.tokenizer {
            None => None,
            Some(name) => {
                let path = Path::new(name);
                let place = if path.exists() {
                    path.to_path_buf()
                } else {
                    registry.folder(name)?
                };
                Some(TokenCounter::open(&place)?)
            }
        };
        let request = RetrieveRequest {
            question: self.question,
            evidence: self.evidence,
            strategy: self.strategy,
            mode: self.mode,
            token_budget: self.budget,
            tokenizer: self.tokenizer,
            dialect: self.dialect,
            comments: Some(!self.no_comments),
            samples: Some(self.samples),
            values: Some(self.values),
            examples: Some(self.examples),
            caller: None,
        };
        let answer = retriever.retrieve_counted(&entry, &request, counter.as_ref())?;
        context.print(&answer, |answer| answer.prompt.clone())
    }

    /// A database of a tables.json.
    fn database(&self, tables: &Path) -> Result<Database> {
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
