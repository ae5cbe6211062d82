//! `gleaner export`: an index into a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;

use super::Context;
use crate::error::Result;
use crate::ingest::{self, Progress, Reporter, Show};

/// Write an index to a Parquet file, which ingest reads back as it was.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Name of the index.
    index: String,
    /// The file.
    #[arg(long, value_name = "FILE.parquet")]
    to: PathBuf,
    /// Only documents that pass this filter, for example: section = "science"
    #[arg(long)]
    filter: Option<String>,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Exported {
    index: String,
    file: PathBuf,
    documents: u64,
    passages: u64,
    bytes: u64,
    seconds: f64,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let index = context.catalog()?.get(&self.index)?;
        let filter = self.filter.map(Json::from);
        let export = ingest::Export::new(index, filter.as_ref())?;
        let progress = Arc::new(Progress::exporting(export.documents()));
        let show = if self.quiet {
            Show::Nothing
        } else {
            Show::Auto
        };
        let reporter = Reporter::start(progress.clone(), show);
        let outcome = ingest::export_file(export, &self.to, self.force, &progress);
        let summary = reporter.finish();
        let exported = Exported {
            bytes: outcome?,
            index: self.index,
            file: self.to,
            documents: summary.loaded,
            passages: progress.passages.load(Relaxed),
            seconds: summary.seconds,
        };
        context.print(&exported, |done| {
            format!(
                "{}: {} documents with {} passages in {}, {:.1} MB; {:.1} s",
                done.index,
                done.documents,
                done.passages,
                done.file.display(),
                done.bytes as f64 / 1e6,
                done.seconds
            )
        })
    }
}
