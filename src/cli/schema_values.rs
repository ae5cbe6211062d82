//! `gleaner schema values`: cell values that are like a text.

use super::Context;
use super::schema_retrieve::open;
use crate::error::Result;
use crate::sql::{Schemas, ValuesAnswer, ValuesRequest};

/// Search the cell values of a database: by words, by letters and by meaning.
#[derive(Debug, clap::Args)]
pub(super) struct Values {
    /// Name of the database.
    database: String,
    /// What may be a value, or a part of one, or mean one.
    text: String,
    /// Most values, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// Do not compare by meaning, for which values are encoded first.
    #[arg(long)]
    no_meaning: bool,
    /// Who asks; needed where the database has permissions.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
}

impl Values {
    pub(super) fn run(self, context: &Context, schemas: &Schemas) -> Result<()> {
        let entry = schemas.visible(&self.database, self.caller.as_deref())?;
        let (_, retriever) = open(context, None, Some(""))?;
        let request = ValuesRequest {
            text: self.text,
            limit: Some(self.limit),
            meaning: Some(!self.no_meaning),
            caller: None,
        };
        let answer = retriever.values(&entry, &request)?;
        context.print(&answer, words)
    }
}

fn words(answer: &ValuesAnswer) -> String {
    let hits = answer.hits.iter().map(|hit| {
        format!(
            "{:.2}  {}.{} = {}  ({})",
            hit.score, hit.table, hit.column, hit.value, hit.matched
        )
    });
    let lines: Vec<String> = hits.collect();
    match lines.as_slice() {
        [] => "nothing is like it".into(),
        lines => lines.join("\n"),
    }
}
