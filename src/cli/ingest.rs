//! `gleaner ingest`: files into an index.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Context;
use super::jobs::{figures, run_here, say};
use crate::error::{Code, Error, Problem, Result};
use crate::index::Definition;
use crate::ingest::{Format, Mapping, SourceOptions, check_inputs, manifest, resolve};
use crate::jobs::{
    JobAction, JobOptions, JobOwner, JobReport, JobState, MaxRejects, NewJob, act, create, find,
    unfinished_twin,
};
use crate::objects;

/// Load Parquet, JSONL or CSV files, or a folder of source code, into an index.
#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// Name of the index.
    index: String,
    /// The files; .gz and .zst are unpacked on the way.
    #[arg(required_unless_present_any = ["code", "resume"])]
    files: Vec<String>,
    /// Go on with a job that was halted, interrupted or failed (gleaner jobs list names them)
    /// instead of beginning one.
    #[arg(long, value_name = "ID", conflicts_with_all = ["files", "map", "drop", "format", "create", "rejects"])]
    resume: Option<String>,
    /// Fail past so many rejected rows, or past a share of them (2%); what fitted stays loaded.
    #[arg(long, value_name = "N|N%")]
    max_rejects: Option<MaxRejects>,
    #[command(flatten)]
    code: super::ingest_code::CodeFlags,
    /// What the files hold [default: by their names].
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Read a column as a field of another name: COLUMN=FIELD; may be repeated.
    #[arg(long = "map", value_name = "COLUMN=FIELD")]
    map: Vec<String>,
    /// Leave a column out; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    drop: Vec<String>,
    /// Where rows that do not fit are written, with their reasons
    /// [default: INDEX-rejects.jsonl in the current folder].
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Create the index if it is not there yet: of the definition that the first file, an
    /// export, brings along; or of the one for code.
    #[arg(long)]
    create: bool,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FileFormat {
    /// Parquet.
    Parquet,
    /// One JSON object a line.
    Jsonl,
    /// A JSON list of objects.
    Json,
    /// Comma-separated, with a header.
    Csv,
    /// Tab-separated, with a header.
    Tsv,
}

impl FileFormat {
    pub(super) fn format(self) -> Format {
        match self {
            FileFormat::Parquet => Format::Parquet,
            FileFormat::Jsonl => Format::Jsonl,
            FileFormat::Json => Format::Json,
            FileFormat::Csv => Format::Csv,
            FileFormat::Tsv => Format::Tsv,
        }
    }
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
        let index = match catalog.get(&self.index) {
            Err(error) if self.create && is_not_found(&error) => {
                catalog.create(self.definition()?)?
            }
            got => got?,
        };
        let mut mapping = Mapping {
            drop: self.drop,
            ..Mapping::default()
        };
        for rename in &self.map {
            mapping.add(rename)?;
        }
        let source = SourceOptions {
            format: self.format.map(FileFormat::format),
            mapping,
            max_row_bytes: context.config.ingest.row_bytes,
        };
        // A job may be gone on with from another folder.
        let here = std::env::current_dir()
            .map_err(|e| Error::operator_from("the current folder cannot be told", e))?;
        let names = self.files.iter().map(|name| match objects::is_url(name) {
            true => name.clone(),
            false => here.join(name).to_string_lossy().into_owned(),
        });
        let inputs = resolve(&names.collect::<Vec<_>>(), source.format)?;
        // What is wrong at first sight makes no job.
        check_inputs(&index, &inputs, &source)?;
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
        let loaded = Loaded {
            resumed,
            job: report,
        };
        context.print(&loaded, |loaded| {
            format!("{}: {}", loaded.job.index, figures(&loaded.job))
        })?;
        none_loaded(&loaded.job)
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

impl Ingest {
    /// The definition that the first file brings along, under the name that is asked for.
    fn definition(&self) -> Result<Definition> {
        let file = self.files.first().map(Path::new);
        let manifest = file.map(manifest).transpose()?.flatten();
        let Some(manifest) = manifest else {
            return Err(Problem::new(
                Code::InvalidFile,
                "the first file does not say how its index was defined",
            )
            .field("create")
            .found(file.unwrap_or(Path::new("")).display())
            .expected(
                "a file of gleaner export, or an index created first: gleaner index create FILE.toml",
            )
            .into());
        };
        Ok(Definition {
            name: self.index.clone(),
            ..manifest.definition
        })
    }
}

pub(super) fn is_not_found(error: &Error) -> bool {
    let problem = error.problem();
    problem.is_some_and(|problem| problem.code == Code::IndexNotFound)
}
