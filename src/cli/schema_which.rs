//! `gleaner schema which`: which database answers a question.

use super::Context;
use super::schema_retrieve::open;
use crate::error::Result;
use crate::sql::{Mode, Schemas, Strategy, WhichAnswer, WhichRequest};

/// Which database of the catalogue answers a question, with the part of it that is needed.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// What somebody wants to know.
    question: String,
    /// What the question's words stand for: values, formulas.
    #[arg(long, default_value = "")]
    evidence: String,
    /// Most databases, 1 to 50.
    #[arg(long, value_name = "N", default_value_t = 3)]
    databases: usize,
    /// Of so many of them the schema is answered, 0 to 5.
    #[arg(long, value_name = "N", default_value_t = 1)]
    schemas: usize,
    /// What is kept of a schema: what retrieval finds, all, or all where that is within the
    /// budget.
    #[arg(long, value_enum, default_value = "auto")]
    strategy: Strategy,
    /// How much retrieval keeps.
    #[arg(long, value_enum, default_value = "balanced")]
    mode: Mode,
    /// Most tokens of a prompt [default: as many as there are].
    #[arg(long, value_name = "TOKENS")]
    budget: Option<usize>,
    /// Who asks; databases that are open to others are left out.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
}

impl Which {
    pub(super) fn run(self, context: &Context, schemas: &Schemas) -> Result<()> {
        let entries = schemas.all_visible(self.caller.as_deref())?;
        let (registry, retriever) = open(context, None, None)?;
        let request = WhichRequest {
            question: self.question,
            evidence: self.evidence,
            databases: Some(self.databases),
            schemas: Some(self.schemas),
            strategy: self.strategy,
            mode: self.mode,
            token_budget: self.budget,
            caller: self.caller,
        };
        let answer = retriever.which(&registry, &entries, &request)?;
        context.print(&answer, words)
    }
}

fn words(answer: &WhichAnswer) -> String {
    let mut parts = Vec::new();
    for ranked in &answer.databases {
        parts.push(format!(
            "{:.2}  {}: words {}; tables {}",
            ranked.score,
            ranked.database,
            ranked.words.join(", "),
            ranked.tables.join(", ")
        ));
    }
    for schema in answer
        .databases
        .iter()
        .filter_map(|ranked| ranked.schema.as_ref())
    {
        parts.push(format!("\n{}", schema.prompt));
    }
    match parts.as_slice() {
        [] => "there is no database yet; import one with: gleaner schema import NAME".into(),
        parts => parts.join("\n"),
    }
}
