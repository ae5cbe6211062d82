//! `gleaner ingest`: files into an index.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use indexmap::IndexMap;
use serde::Serialize;
use tracing::warn;

use super::Context;
use super::ingest_source::SourceFlags;
use super::jobs::{figures, run_here, say};
use crate::error::{Code, Error, Problem, Result};
use crate::index::Definition;
use crate::ingest::{
    Input, Made, Place, SourceOptions, check_inputs, define, manifest, proposal_in_words, propose,
    renamed, resolve,
};
use crate::jobs::{
    JobAction, JobOptions, JobOwner, JobReport, JobState, MaxRejects, NewJob, act, create, find,
    unfinished_twin,
};
use crate::objects::is_url;

/// Load Parquet, JSONL or CSV files, or a folder of source code, into an index.
#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// Name of the index.
    index: String,
    /// Files, folders, patterns (data/**/*.parquet) and URLs (s3://, gs://, az://, https://);
    /// .gz and .zst are unpacked on the way.
    #[arg(required_unless_present_any = ["code", "resume"])]
    files: Vec<String>,
    /// Go on with a job that was halted, interrupted or failed (gleaner jobs list names them)
    /// instead of beginning one.
    #[arg(long, value_name = "ID", conflicts_with_all = ["files", "SourceFlags", "create", "rejects"])]
    resume: Option<String>,
    /// Fail past so many rejected rows, or past a share of them (2%); what fitted stays loaded.
    #[arg(long, value_name = "N|N%")]
    max_rejects: Option<MaxRejects>,
    #[command(flatten)]
    code: super::ingest_code::CodeFlags,
    #[command(flatten)]
    source: SourceFlags,
    /// Where rows that do not fit are written, with their reasons
    /// [default: INDEX-rejects.jsonl in the current folder].
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Create the index if it is not there yet: of the definition that the first file, an
    /// export, brings along; of what is in the columns of its first rows, where it is none; or of
    /// the one for code. With --dry-run, print the definition alone.
    #[arg(long)]
    create: bool,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Loaded {
    #[serde(flatten)]
    job: JobReport,
    /// Whether it went on with a job that was there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    resumed: bool,
}

impl Ingest {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        if self.code.folder().is_some() {
            return self
                .code
                .run(context, &self.index, self.create, self.rejects, self.quiet);
        }
        let catalog = context.catalog()?;
        if let Some(id) = &self.resume {
            let index = catalog.get(&self.index)?;
            let job = find(&index, id)?;
            let action = match job.state {
                JobState::Failed | JobState::Cancelled => JobAction::Retry,
                _ => JobAction::Resume,
            };
            let owner = JobOwner::Command;
            act(&index, &job.id, action, owner, self.max_rejects, &|| true)?;
            let job = run_here(context, &index, &job.id, self.quiet)?;
            let loaded = Loaded { resumed: true, job };
            context.print(&loaded, |loaded| {
                format!("{}: {}", loaded.job.index, figures(&loaded.job))
            })?;
            return none_loaded(&loaded.job);
        }
        let mut source = self.source.options(&context.config)?;
        // A job may be gone on with from another folder.
        let here = std::env::current_dir()
            .map_err(|e| Error::operator_from("the current folder cannot be told", e))?;
        let found = match catalog.get(&self.index) {
            Err(error) if self.create && is_not_found(&error) => None,
            got => Some(got?),
        };
        let inputs: Vec<Input> = resolve(&self.files, source.format)?
            .into_iter()
            .map(|input| input.below(&here))
            .collect::<Result<_>>()?;
        let is_made = found.is_none();
        let mut read_as = Vec::new();
        let index = match found {
            Some(index) => index,
            None => {
                let made = made(&self.index, first(&inputs)?, &source)?;
                if !self.quiet {
                    say(&made_of(&made, self.code.dry_run));
                }
                if self.code.dry_run {
                    return context.print(&made.definition, |_| made.text.clone());
                }
                read_as = made.renamed;
                catalog.create(made.definition)?
            }
        };
        // Of what lies in a store, a look would be fetched again.
        let local = inputs.first().filter(|input| !is_url(input.location()));
        if let Some(input) = local.filter(|_| !is_made) {
            read_as = renamed(index.definition(), input, &source)?;
        }
        if !read_as.is_empty() && !self.quiet {
            say(&names_in_words(&read_as));
        }
        let columns = &mut source.mapping.columns;
        for (column, name) in read_as {
            columns.entry(column).or_insert(name);
        }
        if self.code.dry_run {
            let proposal = propose(&index, first(&inputs)?, &source)?;
            return context.print(&proposal, proposal_in_words);
        }
        // What is wrong at first sight makes no job.
        let begin = Place::default();
        check_inputs(&index, &inputs, begin, &source, &AtomicBool::new(false))?;
        let twin = unfinished_twin(&index, &self.index, &inputs, &source)?;
        let resumed = twin.is_some();
        let job = match twin {
            Some(job) => {
                if !self.quiet {
                    say(&format!(
                        "going on with job {}, which loads the same and is not done",
                        job.id
                    ));
                }
                let action = match job.state {
                    JobState::Failed => JobAction::Retry,
                    _ => JobAction::Resume,
                };
                let owner = JobOwner::Command;
                act(&index, &job.id, action, owner, self.max_rejects, &|| true)?
            }
            None => {
                let rejects = self
                    .rejects
                    .unwrap_or_else(|| PathBuf::from(format!("{}-rejects.jsonl", self.index)));
                let new = NewJob {
                    index: self.index.clone(),
                    inputs,
                    options: JobOptions {
                        source,
                        max_rejects: self.max_rejects,
                    },
                    rejects: here.join(rejects),
                    folder: Some(here),
                    owner: JobOwner::Command,
                };
                create(&index, new, &|| true)?
            }
        };
        let report = run_here(context, &index, &job.id, self.quiet)?;
        if is_made && report.summary.replaced > 0 {
            say(&format!(
                "CAUTION: {} rows had the {} of a row before them and took its place: where they are others, remove \
                 the index and create it with another id",
                report.summary.replaced,
                index.definition().id_field
            ));
        }
        let loaded = Loaded {
            resumed,
            job: report,
        };
        context.print(&loaded, |loaded| {
            format!("{}: {}", loaded.job.index, figures(&loaded.job))
        })?;
        let outcome = none_loaded(&loaded.job);
        if is_made && outcome.is_err() {
            // It was made for these rows alone, and of what they seemed to be.
            drop(index);
            match catalog.remove(&self.index) {
                Ok(()) => say(&format!("index {} is removed again", self.index)),
                Err(error) => warn!(
                    error = error.to_string(),
                    "the index could not be removed again"
                ),
            }
        }
        outcome
    }
}

/// A load of which nothing arrived has failed, although every row was looked at.
fn none_loaded(job: &JobReport) -> Result<()> {
    let summary = &job.summary;
    if summary.loaded > 0 || summary.deleted > 0 || summary.rejected == 0 {
        return Ok(());
    }
    let rejects = job.rejects.as_deref().unwrap_or(Path::new(""));
    Err(
        Problem::new(Code::InvalidFile, "not one row could be loaded")
            .found(format!("{} rows, all rejected", summary.rejected))
            .expected(format!("see {} for the reasons", rejects.display()))
            .into(),
    )
}

/// The definition that a file brings along, or one of what is in it, under the name that is asked
/// for.
fn made(name: &str, input: &Input, options: &SourceOptions) -> Result<Made> {
    let Some(manifest) = manifest(Path::new(input.location()))? else {
        return define(name, input, options);
    };
    let definition = Definition {
        name: name.into(),
        ..manifest.definition
    };
    Ok(Made {
        text: definition.to_toml()?,
        definition,
        left_out: Vec::new(),
        renamed: Vec::new(),
    })
}

/// Columns that are read under other names.
fn names_in_words(read_as: &[(String, String)]) -> String {
    let read = read_as.iter();
    let read: Vec<String> = read
        .map(|(column, name)| format!("{column} = {name}"))
        .collect();
    format!("columns read as: {}", read.join(", "))
}

/// What an index is made of, in a line or two.
fn made_of(made: &Made, is_dry: bool) -> String {
    let definition = &made.definition;
    let mut fields: IndexMap<String, Vec<&str>> = IndexMap::new();
    for (name, field) in &definition.fields {
        let kind = match field.many {
            true => format!("{} lists", field.kind),
            false => field.kind.to_string(),
        };
        fields.entry(kind).or_default().push(name);
    }
    let fields: Vec<String> = fields
        .iter()
        .map(|(kind, names)| format!("{kind}: {}", names.join(", ")))
        .collect();
    let encoded = match definition.embedding.as_ref() {
        Some(embedding) if embedding.model.is_some() => {
            format!("encoded: {}", embedding.fields.join(", "))
        }
        Some(_) => "with vectors of its own".into(),
        None => "searched by words alone".into(),
    };
    let name = &definition.name;
    let mut said = format!(
        "{} index {name} with the id {}; {}; {encoded}",
        if is_dry { "would make" } else { "made" },
        definition.id_field,
        fields.join("; "),
    );
    if !is_dry {
        said += &format!(" (gleaner index show {name} prints the definition)");
    }
    if is_dry && !made.renamed.is_empty() {
        said += &format!("\n{}", names_in_words(&made.renamed));
    }
    if !made.left_out.is_empty() {
        said += &format!(
            "\nkept and not searched, because no field can hold what is in them or be called so: {}",
            made.left_out.join(", ")
        );
    }
    said
}

fn first(inputs: &[Input]) -> Result<&Input> {
    let none = || Error::Bug("names that stand for nothing were taken".into());
    inputs.first().ok_or_else(none)
}

pub(super) fn is_not_found(error: &Error) -> bool {
    let problem = error.problem();
    problem.is_some_and(|problem| problem.code == Code::IndexNotFound)
}
