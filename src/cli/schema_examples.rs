//! `gleaner schema examples`: stored questions with their SQL.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use super::eval_schema::text;
use super::schema_retrieve::open;
use crate::error::{Code, Problem, Result};
use crate::sql::{
    AnnotateRequest, Example, ExamplesAdded, NewExample, Schemas, SimilarExample, SimilarRequest,
};

/// Store questions with their SQL, and find those that are like a new one.
#[derive(Debug, Subcommand)]
pub(super) enum Examples {
    /// Store a question with its SQL, or those of a file.
    Add(Add),
    /// List the stored questions.
    List(Database),
    /// Remove a stored question.
    Remove {
        #[command(flatten)]
        of: Database,
        /// Its id, as list prints it.
        id: String,
    },
    /// Stored questions that are like one, and unlike each other.
    Similar {
        #[command(flatten)]
        of: Database,
        /// What somebody wants to know.
        question: String,
        /// Most examples, 1 to 100.
        #[arg(long, value_name = "N", default_value_t = 5)]
        limit: usize,
        /// 0 takes the nearest, 1 those that are most unlike each other.
        #[arg(long, value_name = "0..1", default_value_t = 0.3)]
        diversity: f32,
    },
    /// Which questions of a file are worth writing SQL for.
    Annotate {
        #[command(flatten)]
        of: Database,
        /// A question on each line, at most 2,000.
        file: PathBuf,
        /// Most questions, 1 to 100.
        #[arg(long, value_name = "N", default_value_t = 5)]
        limit: usize,
    },
}

#[derive(Debug, Args)]
pub(super) struct Database {
    /// Name of the database.
    database: String,
    /// Who asks; needed where the database has permissions.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    of: Database,
    /// What somebody wanted to know.
    #[arg(long, requires = "sql", required_unless_present = "file")]
    question: Option<String>,
    /// The query that answers it.
    #[arg(long, requires = "question")]
    sql: Option<String>,
    /// A JSON object with question and sql on each line. Lines that cannot be stored are named,
    /// the others are stored.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "question")]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Loaded {
    #[serde(flatten)]
    added: ExamplesAdded,
    rejected: Vec<Rejected>,
}

#[derive(Serialize)]
struct Rejected {
    /// From 1.
    line: usize,
    #[serde(flatten)]
    problem: Problem,
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

impl Examples {
    pub(super) fn run(self, context: &Context, schemas: &Schemas) -> Result<()> {
        let entry = |of: &Database| schemas.visible(&of.database, of.caller.as_deref());
        match self {
            Examples::Add(add) => add.run(context, schemas),
            Examples::List(of) => {
                let examples = entry(&of)?.examples()?;
                context.print(&examples, |examples| {
                    let lines: Vec<String> = examples.iter().map(line).collect();
                    match lines.as_slice() {
                        [] => "no examples yet; store one with: gleaner schema examples add".into(),
                        lines => lines.join("\n"),
                    }
                })
            }
            Examples::Remove { of, id } => {
                schemas.remove_example(&*entry(&of)?, &id)?;
                let removed = Removed { removed: id };
                context.print(&removed, |removed| format!("removed {}", removed.removed))
            }
            Examples::Similar {
                of,
                question,
                limit,
                diversity,
            } => {
                let entry = entry(&of)?;
                let request = SimilarRequest {
                    question,
                    limit: Some(limit),
                    diversity: Some(diversity),
                    caller: of.caller,
                };
                let answer = open(context, None, Some(""))?.1.similar(&entry, &request)?;
                context.print(&answer, |answer| {
                    let lines = answer.examples.iter().map(similar);
                    match lines.collect::<Vec<String>>().as_slice() {
                        [] => "no examples yet".into(),
                        lines => lines.join("\n"),
                    }
                })
            }
            Examples::Annotate { of, file, limit } => {
                let entry = entry(&of)?;
                let lines = text(&file, "file")?;
                let questions = lines.lines().filter(|line| !line.trim().is_empty());
                let request = AnnotateRequest {
                    questions: questions.map(str::to_owned).collect(),
                    limit: Some(limit),
                    caller: of.caller,
                };
                let answer = open(context, None, Some(""))?
                    .1
                    .annotate(&entry, &request)?;
                context.print(&answer, |answer| {
                    let questions = answer.questions.iter();
                    let questions = questions.map(|worth| worth.question.clone());
                    questions.collect::<Vec<String>>().join("\n")
                })
            }
        }
    }
}

fn line(example: &Example) -> String {
    let stale = match example.stale {
        true => "  (its tables are gone)",
        false => "",
    };
    format!(
        "{}  {}{stale}\n    {}",
        example.id, example.question, example.sql
    )
}

fn similar(example: &SimilarExample) -> String {
    format!(
        "{:.2}  {}\n    {}",
        example.score, example.question, example.sql
    )
}

impl Add {
    fn run(self, context: &Context, schemas: &Schemas) -> Result<()> {
        let entry = schemas.visible(&self.of.database, self.of.caller.as_deref())?;
        let (mut lines, mut rejected) = (Vec::new(), Vec::new());
        match (self.question, self.sql, &self.file) {
            (Some(question), Some(sql), None) => {
                let added = schemas.add_examples(&entry, &[NewExample { question, sql }])?;
                return context.print(&added, |added| format!("stored {}", added.ids.join(", ")));
            }
            (_, _, file) => {
                let file = file.as_deref().unwrap_or(Path::new(""));
                for (n, line) in text(file, "file")?.lines().enumerate() {
                    if line.trim().is_empty() {
                        continue;
                    }
                    match serde_json::from_str::<NewExample>(line) {
                        Ok(example) => lines.push((n + 1, example)),
                        Err(e) => rejected.push(Rejected {
                            line: n + 1,
                            problem: Problem::new(Code::InvalidFile, "the line is no example")
                                .found(e)
                                .expected("a JSON object with question and sql"),
                        }),
                    }
                }
            }
        }
        // Those that can be stored are, in one step.
        let mut fit = Vec::new();
        for (line, example) in lines {
            match example.fits(&entry.database) {
                Ok(()) => fit.push(example),
                Err(problem) => rejected.push(Rejected { line, problem }),
            }
        }
        rejected.sort_by_key(|rejected| rejected.line);
        let added = schemas.add_examples(&entry, &fit)?;
        context.print(&Loaded { added, rejected }, |loaded| {
            let added = &loaded.added;
            let mut text = format!(
                "stored {} examples, {} new; {} in all",
                added.added + added.replaced,
                added.added,
                added.total
            );
            for Rejected { line, problem } in &loaded.rejected {
                text += &format!("\nline {line}: {problem}");
            }
            text
        })
    }
}
