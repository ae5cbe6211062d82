//! `gleaner ingest`: files into an index.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Context;
use crate::error::{Code, Error, Problem, Result};
use crate::index::Definition;
use crate::ingest::{
    Format, Mapping, Progress, Reporter, Show, SourceOptions, Summary, load_files, manifest,
};

/// Load Parquet, JSONL or CSV files, or a folder of source code, into an index.
#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// Name of the index.
    index: String,
    /// The files; .gz and .zst are unpacked on the way.
    #[arg(required_unless_present = "code")]
    files: Vec<PathBuf>,
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
        let catalog = context.catalog()?;
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
        let options = SourceOptions {
            format: self.format.map(FileFormat::format),
            mapping,
            max_row_bytes: context.config.ingest.row_bytes,
        };
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
            &self.files,
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

impl Ingest {
    /// The definition that the first file brings along, under the name that is asked for.
    fn definition(&self) -> Result<Definition> {
        let file = self.files.first().map(PathBuf::as_path);
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
