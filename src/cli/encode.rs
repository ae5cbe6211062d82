//! `gleaner encode`: rows of a source into a shard; and `gleaner manifest`: sources into units.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Context;
use super::ingest_source::SourceFlags;
use crate::error::{Code, Error, Problem, Result};
use crate::index::Definition;
use crate::ingest::{
    Part, PlanOptions, Progress, Reporter, RunSummary, ShardEncoder, ShardState, ShardSummary,
    Show, Unit, read_definition, read_options, read_plan, run_units, write_plan,
};

/// Read rows of a source, encode them and write them to a Parquet file, which ingest loads
/// without encoding: one unit, or all of a manifest. What is there already is not made again.
///
/// Exit status: 0 the shard is there, 75 trying again may help, 1 it does not.
#[derive(Debug, Args)]
pub(super) struct Encode {
    /// A file or the URL of an object; FILE#rows=0..10000 takes these rows of it,
    /// FILE.parquet#row_groups=0..2 these row groups (from 0, the end excluded).
    #[arg(required_unless_present = "manifest", requires = "target")]
    source: Option<String>,
    /// The file, or the URL of the object, that the shard becomes.
    target: Option<String>,
    /// The definition of the index to encode for, in TOML: a file or the URL of an object
    /// [default with --manifest: the one beside it].
    #[arg(long, value_name = "FILE.toml|URL", conflicts_with = "index")]
    definition: Option<String>,
    /// An index of the data folder to take the definition from.
    #[arg(long, value_name = "NAME")]
    index: Option<String>,
    /// Rows to take: 0..10000, from 0, the end excluded.
    #[arg(long, value_name = "START..END", requires = "source")]
    rows: Option<String>,
    /// Run the units of a manifest of `gleaner manifest`.
    #[arg(long, value_name = "FILE|URL", conflicts_with_all = ["source", "target"])]
    manifest: Option<String>,
    /// Units of the manifest that are run at once.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "manifest")]
    workers: usize,
    #[command(flatten)]
    reading: SourceFlags,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

impl Encode {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let beside;
        let units = match (&self.manifest, &self.source, &self.target) {
            (Some(manifest), _, _) => {
                let (units, definition) = read_plan(manifest)?;
                beside = Some(definition);
                Work::All(units)
            }
            (None, Some(source), Some(target)) => {
                beside = None;
                let mut unit = Unit::new(source, target)?;
                if let Some(rows) = &self.rows {
                    unit.part = Part::Rows(Part::range(rows)?);
                }
                Work::One(unit)
            }
            _ => {
                return Err(
                    Problem::new(Code::InvalidRequest, "there is nothing to encode")
                        .field("source")
                        .expected("a source and a target, or --manifest")
                        .into(),
                );
            }
        };
        let place = self.definition.or(beside);
        let mut options = self.reading.options(&context.config)?;
        if let (Some(place), None) = (&place, &self.index) {
            options = read_options(place, options)?;
        }
        let definition = definition(context, place, self.index.as_deref())?;
        let encoder = ShardEncoder::new(definition, options, &context.config)?;
        let progress = Arc::new(Progress::new());
        let show = match self.quiet {
            true => Show::Nothing,
            false => Show::Auto,
        };
        let reporter = Reporter::start(progress.clone(), show);
        match units {
            Work::One(unit) => {
                let outcome = encoder.encode(&unit, &progress);
                reporter.finish();
                context.print(&outcome?, unit_in_words)
            }
            Work::All(units) => {
                let summary = run_units(&encoder, &units, self.workers, &progress);
                reporter.finish();
                context.print(&summary, run_in_words)?;
                failure_of(&summary)
            }
        }
    }
}

enum Work {
    One(Unit),
    All(Vec<Unit>),
}

/// Units that failed are a failure of the command: one to try again where all of them are.
fn failure_of(summary: &RunSummary) -> Result<()> {
    let failed = summary.failed.len();
    let Some(lasting) = summary.failed.iter().find(|unit| !unit.try_again) else {
        return match failed {
            0 => Ok(()),
            _ => Err(
                Error::operator(format!("{failed} of {} units failed", summary.units)).advice(
                    "mend what the log names, and run the manifest again: it does what is left",
                ),
            ),
        };
    };
    Err(Problem::new(
        Code::InvalidFile,
        format!("{failed} of {} units failed", summary.units),
    )
    .field(lasting.source.clone())
    .found(&lasting.error)
    .expected("sources that can be read; run the manifest again for what is left")
    .into())
}

fn definition(context: &Context, place: Option<String>, index: Option<&str>) -> Result<Definition> {
    match (index, place) {
        (Some(index), _) => Ok(context.catalog()?.get(index)?.definition().clone()),
        (None, Some(place)) => read_definition(&place),
        (None, None) => Err(
            Problem::new(Code::InvalidRequest, "nothing says what to encode by")
                .field("definition")
                .expected("--definition FILE.toml, or --index NAME")
                .into(),
        ),
    }
}

fn unit_in_words(unit: &ShardSummary) -> String {
    let state = match unit.state {
        ShardState::Encoded => "encoded",
        ShardState::Skipped => "there already",
    };
    let mut text = format!(
        "{}: {state}; {} documents, {} rows rejected, {} passages, {} tokens; {:.1} s",
        unit.target, unit.documents, unit.rejected, unit.passages, unit.tokens, unit.seconds
    );
    if let Some(rejects) = &unit.rejects {
        text += &format!("\nrejected rows and their reasons: {rejects}");
    }
    text
}

fn run_in_words(run: &RunSummary) -> String {
    let mut text = format!(
        "{} units: {} encoded, {} there already, {} failed; {} documents, {} rows rejected, {} passages, {} tokens; {:.1} s",
        run.units,
        run.encoded,
        run.skipped,
        run.failed.len(),
        run.documents,
        run.rejected,
        run.passages,
        run.tokens,
        run.seconds
    );
    for unit in &run.failed {
        text += &format!("\nfailed: {}: {}", unit.source, unit.error);
    }
    text
}

/// Cut sources into units for `gleaner encode`: on this machine, or on a cluster.
#[derive(Debug, Args)]
pub(super) struct Manifest {
    /// Files, folders, patterns and URLs, as `gleaner ingest` takes them.
    #[arg(required = true)]
    sources: Vec<String>,
    /// The definition of the index to encode for, in TOML: a file or the URL of an object.
    #[arg(long, value_name = "FILE.toml|URL", conflicts_with = "index")]
    definition: Option<String>,
    /// An index of the data folder to take the definition from.
    #[arg(long, value_name = "NAME")]
    index: Option<String>,
    /// The folder to write the manifest to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where the shards are to be: a folder, or a URL in an object store [default: --out].
    #[arg(long, value_name = "DIR|URL")]
    shards: Option<String>,
    /// Most rows of a unit [default: each source is one unit].
    #[arg(long, value_name = "N")]
    rows_per_unit: Option<u64>,
    #[command(flatten)]
    reading: SourceFlags,
}

impl Manifest {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let definition = definition(context, self.definition, self.index.as_deref())?;
        let options = PlanOptions {
            rows_per_unit: self.rows_per_unit,
            source: self.reading.options(&context.config)?,
        };
        let shards = self.shards.as_deref();
        let plan = write_plan(&self.sources, &definition, &self.out, shards, &options)?;
        context.print(&plan, |plan| {
            format!(
                "{}: {} units; shards go to {}",
                plan.manifest, plan.units, plan.shards
            )
        })
    }
}

/// What a failure of a unit says to whoever runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// The source or the definition is to be mended first.
    Permanent = 1,
    /// `EX_TEMPFAIL` of sysexits.h.
    TryAgain = 75,
}

impl Exit {
    pub(super) fn of(error: &Error) -> Exit {
        match error {
            Error::Operator(_) => Exit::TryAgain,
            Error::User(_) | Error::Bug(_) => Exit::Permanent,
        }
    }
}
