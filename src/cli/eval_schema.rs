//! `gleaner eval schema`: how much of what its SQL needs is kept of a schema for a question.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::Context;
use crate::error::{Code, Error, Problem, Result};
use crate::eval::{Read, SchemaOptions, SchemaSet, schema_questions};
use crate::model::Registry;
use crate::sql::{
    Choice, Detail, FocusRequest, Linker, Method, Mode, Strategy, add_meanings, parse_tables_json,
};

/// Linking of questions to schemas, on files in the layout of Spider or BIRD.
#[derive(Debug, clap::Args)]
pub(super) struct EvalSchema {
    /// Questions with their SQL.
    #[arg(long, value_name = "FILE.json")]
    questions: PathBuf,
    /// The databases: tables.json.
    #[arg(long, value_name = "FILE.json")]
    tables: PathBuf,
    /// What columns mean: BIRD's column_meaning.json.
    #[arg(long, value_name = "FILE.json")]
    meanings: Option<PathBuf>,
    /// What is kept: what retrieval finds, all, or all where that is within the budget.
    #[arg(long, value_enum, default_value = "retrieval")]
    strategy: Strategy,
    /// How much retrieval keeps.
    #[arg(long, value_enum, default_value = "balanced")]
    mode: Mode,
    /// Most tokens of a prompt, by the encoder's tokenizer [default: as many as there are].
    #[arg(long, value_name = "TOKENS")]
    budget: Option<usize>,
    /// By what columns are scored.
    #[arg(long, value_enum, default_value = "trained")]
    method: Method,
    /// Keep so many columns, the best first, in place of a mode's choice; by words or vectors
    /// alone that is what is done, and 15 the default.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Thresholds that the curve has points at.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0.005,0.01,0.02,0.03,0.05,0.1,0.2,0.5"
    )]
    thresholds: Vec<f32>,
    /// Do not add keys and join paths.
    #[arg(long)]
    bare: bool,
    /// Name of the encoder.
    #[arg(long, value_name = "MODEL", default_value = "gleaner-minilm")]
    encoder: String,
    /// Name of the cross-encoder that reads the likeliest tables; empty for none.
    #[arg(long, value_name = "MODEL", default_value = "gleaner-linker")]
    linker: String,
    /// A combination in place of the one that is built in, to measure a newly fitted one.
    #[arg(long, value_name = "FILE.json")]
    combination: Option<PathBuf>,
    /// Write each question's features here, to fit a combination on.
    #[arg(long, value_name = "DIR")]
    features: Option<PathBuf>,
}

impl EvalSchema {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let mut databases = parse_tables_json(&text(&self.tables, "tables")?)?;
        if let Some(file) = &self.meanings {
            let meanings = add_meanings(&mut databases, &text(file, "meanings")?)?;
            if !meanings.unknown.is_empty() {
                tracing::warn!(
                    "{} meanings are of columns that no database has, the first of `{}`",
                    meanings.unknown.len(),
                    meanings.unknown[0]
                );
            }
        }
        let questions = schema_questions(&text(&self.questions, "questions")?)?;
        let models = &context.config.models;
        let registry = Registry::new(models.folders.clone(), models.runtime.clone());
        let mut linker = Linker::open(&registry, &self.encoder, &self.linker)?;
        if let Some(file) = &self.combination {
            linker = linker.with_combination(&text(file, "combination")?)?;
        }
        let set = SchemaSet::new(&linker, &databases, questions, &mut |_, _| {})?;
        if let Some(folder) = &self.features {
            return write_features(&linker, &set, folder);
        }
        let trained = self.method == Method::Trained;
        let choice = match self.top {
            Some(top) => Choice::Top(top),
            None if trained => linker.choice(self.mode),
            None => Choice::Top(15),
        };
        let report = set.measure(
            &linker,
            &SchemaOptions {
                method: self.method,
                choice,
                request: FocusRequest {
                    strategy: self.strategy,
                    mode: self.mode,
                    budget: self.budget,
                    dialect: None,
                    detail: Detail::default(),
                },
                complete: !self.bare,
                thresholds: if trained { self.thresholds } else { Vec::new() },
            },
        )?;
        context.print(&report, ToString::to_string)
    }
}

pub(super) fn text(file: &Path, field: &str) -> Result<String> {
    std::fs::read_to_string(file).map_err(|e| {
        Problem::new(Code::InvalidFile, "the file cannot be read")
            .field(field)
            .found(format!("{}: {e}", file.display()))
            .into()
    })
}

/// `columns.f32` and `tables.f32`, rows of little-endian numbers; `questions.jsonl`, a line for
/// each question whose SQL could be read, with how many rows it has and which of them it needs;
/// `schemas.jsonl`, for each database the table of each column, primary keys and foreign keys;
/// `names.json`.
fn write_features(linker: &Linker, set: &SchemaSet, folder: &Path) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::operator_from(format!("cannot write to {}", folder.display()), e)
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let create = |name: &str| {
        let file = std::fs::File::create(folder.join(name)).map_err(failed)?;
        Ok::<_, Error>(std::io::BufWriter::new(file))
    };
    let mut columns = create("columns.f32")?;
    let mut tables = create("tables.f32")?;
    let mut lines = create("questions.jsonl")?;
    let mut schemas = create("schemas.jsonl")?;
    let mut seen = std::collections::BTreeSet::new();
    for Read {
        index,
        prepared,
        needs,
        ..
    } in set.read()
    {
        let name = &index.database().name;
        if seen.insert(name.clone()) {
            writeln!(schemas, "{}", index.shape()).map_err(failed)?;
        }
        let rows = linker.features(index, prepared)?;
        for (file, rows) in [(&mut columns, &rows.0), (&mut tables, &rows.1)] {
            for number in rows.iter().flatten() {
                file.write_all(&number.to_le_bytes()).map_err(failed)?;
            }
        }
        let line = serde_json::json!({
            "database": name,
            "columns": rows.0.len(),
            "tables": rows.1.len(),
            "needs": {"columns": needs.columns, "tables": needs.tables, "bare": needs.bare},
        });
        writeln!(lines, "{line}").map_err(failed)?;
    }
    let (column_names, table_names) = linker.feature_names();
    let mut names = create("names.json")?;
    let all = serde_json::json!({"columns": column_names, "tables": table_names});
    writeln!(names, "{all}").map_err(failed)?;
    for mut file in [columns, tables, lines, schemas, names] {
        file.flush().map_err(failed)?;
    }
    Ok(())
}
