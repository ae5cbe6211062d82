//! `gleaner ingest`: files into an index.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::Context;
use super::ingest_source::SourceFlags;
use crate::error::{Code, Error, Problem, Result};
use crate::index::Definition;
use crate::ingest::{
    Input, Progress, Reporter, Show, Summary, load_files, manifest, proposal_in_words, propose,
    resolve,
};

/// Load Parquet, JSONL or CSV files, or a folder of source code, into an index.
#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// Name of the index.
    index: String,
    /// Files, folders, patterns (data/**/*.parquet) and URLs (s3://, gs://, az://, https://);
    /// .gz and .zst are unpacked on the way.
    #[arg(required_unless_present = "code")]
    files: Vec<String>,
    #[command(flatten)]
    code: super::ingest_code::CodeFlags,
    #[command(flatten)]
    source: SourceFlags,
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

#[derive(Serialize)]
struct Loaded {
    index: String,
    #[serde(flatten)]
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejects: Option<PathBuf>,
}

impl Ingest {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        if self.code.folder().is_some() {
            return self
                .code
                .run(context, &self.index, self.create, self.rejects, self.quiet);
        }
        let options = self.source.options(&context.config)?;
        let inputs = resolve(&self.files, options.format)?;
        let catalog = context.catalog()?;
        let index = match catalog.get(&self.index) {
            Err(error) if self.create && !self.code.dry_run && is_not_found(&error) => {
                catalog.create(definition(&self.index, first(&inputs)?)?)?
            }
            got => got?,
        };
        if self.code.dry_run {
            let proposal = propose(&index, first(&inputs)?, &options)?;
            return context.print(&proposal, proposal_in_words);
        }
        let files: Vec<PathBuf> = inputs.iter().map(|i| PathBuf::from(i.location())).collect();
        let rejects = self
            .rejects
            .unwrap_or_else(|| PathBuf::from(format!("{}-rejects.jsonl", self.index)));
        let progress = Arc::new(Progress::new());
        let show = if self.quiet {
            Show::Nothing
        } else {
            Show::Auto
        };
        let reporter = Reporter::start(progress.clone(), show);
        let outcome = load_files(
            &index,
            &files,
            &options,
            &context.config.ingest,
            &rejects,
            &progress,
        );
        let summary = reporter.finish();
        if outcome.is_ok() {
            // Ending now would throw away the graph that the load made necessary, and the
            // next command would begin it anew.
            index.wait_for_background();
        }
        let loaded = Loaded {
            rejects: outcome?,
            index: self.index,
            summary,
        };
        context.print(&loaded, in_words)?;
        none_loaded(&loaded)
    }
}

/// A load of which nothing arrived has failed, although every row was looked at.
fn none_loaded(loaded: &Loaded) -> Result<()> {
    let Summary {
        loaded: arrived,
        rejected,
        ..
    } = loaded.summary;
    if arrived > 0 || rejected == 0 {
        return Ok(());
    }
    let rejects = loaded.rejects.as_deref().unwrap_or(Path::new(""));
    Err(
        Problem::new(Code::InvalidFile, "not one row could be loaded")
            .found(format!("{rejected} rows, all rejected"))
            .expected(format!("see {} for the reasons", rejects.display()))
            .into(),
    )
}

/// The definition that a file brings along, under the name that is asked for.
fn definition(name: &str, input: &Input) -> Result<Definition> {
    let Some(manifest) = manifest(Path::new(input.location()))? else {
        return Err(Problem::new(
            Code::InvalidFile,
            "the first file does not say how its index was defined",
        )
        .field("create")
        .found(input.location())
        .expected(
            "a file of gleaner export, or an index created first: gleaner index create FILE.toml",
        )
        .into());
    };
    Ok(Definition {
        name: name.into(),
        ..manifest.definition
    })
}

fn first(inputs: &[Input]) -> Result<&Input> {
    let none = || Error::Bug("names that stand for nothing were taken".into());
    inputs.first().ok_or_else(none)
}

pub(super) fn is_not_found(error: &Error) -> bool {
    let problem = error.problem();
    problem.is_some_and(|problem| problem.code == Code::IndexNotFound)
}

fn in_words(loaded: &Loaded) -> String {
    let s = &loaded.summary;
    let mut text = format!(
        "{}: {} documents loaded ({} replaced), {} rows rejected; {} passages, {} tokens, {} cut to the model's length; {:.1} s, {:.0} documents/s",
        loaded.index,
        s.loaded,
        s.replaced,
        s.rejected,
        s.passages,
        s.tokens,
        s.truncated,
        s.seconds,
        s.documents_per_second
    );
    if let Some(path) = &loaded.rejects {
        text += &format!("\nrejected rows and their reasons: {}", path.display());
    }
    text
}
