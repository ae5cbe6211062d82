//! `gleaner eval schema`: how much of what its SQL needs is kept of a schema for a question.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::Context;
use crate::error::{Code, Error, Problem, Result};
use crate::eval::{SchemaOptions, SchemaSet, schema_questions};
use crate::model::Registry;
use crate::sql::{Choice, Linker, Method, add_meanings, parse_tables_json};

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
    /// By what columns are scored.
    #[arg(long, value_enum, default_value = "vectors")]
    method: Method,
    /// Keep so many columns, the best first, in place of a mode's choice.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Do not add keys and join paths.
    #[arg(long)]
    bare: bool,
    /// Name of the encoder.
    #[arg(long, value_name = "MODEL", default_value = "gleaner-minilm")]
    encoder: String,
    /// Write each question's features here, to fit a linker on.
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
        let linker = Linker::new(registry.open(&self.encoder)?);
        let set = SchemaSet::new(&linker, &databases, questions, &mut |_, _| {})?;
        if let Some(folder) = &self.features {
            return write_features(&linker, &set, folder);
        }
        let report = set.measure(
            &linker,
            &SchemaOptions {
                method: self.method,
                choice: Choice::Top(self.top.unwrap_or(15)),
                complete: !self.bare,
                thresholds: Vec::new(),
            },
        );
        context.print(&report, ToString::to_string)
    }
}

fn text(file: &Path, field: &str) -> Result<String> {
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
    for (index, question, needs) in set.read() {
        let name = &index.database().name;
        if seen.insert(name.clone()) {
            writeln!(schemas, "{}", index.shape()).map_err(failed)?;
        }
        let rows = linker.features(index, question);
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
    let (column_names, table_names) = Linker::feature_names();
    let mut names = create("names.json")?;
    let all = serde_json::json!({"columns": column_names, "tables": table_names});
    writeln!(names, "{all}").map_err(failed)?;
    for mut file in [columns, tables, lines, schemas, names] {
        file.flush().map_err(failed)?;
    }
    Ok(())
}
