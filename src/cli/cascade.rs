//! `gleaner eval cascade`: what a cascade costs and keeps.

use std::path::PathBuf;

use super::Context;
use super::eval::{Loaded, Reranked, definition};
use crate::error::{Code, Problem, Result};
use crate::eval::{BeirFolder, Traces, trace};
use crate::search::SearchRequest;

/// Quality against the share of pairs a reranker reads, and the threshold of a cascade for a
/// budget. The gate is fitted to the collections named, unless a cascade is given: then that
/// one is measured.
#[derive(Debug, clap::Args)]
pub(super) struct Cascade {
    /// Folder with corpus.jsonl, queries.jsonl and qrels/; may be repeated.
    #[arg(long, value_name = "DIR", required = true)]
    beir: Vec<PathBuf>,
    /// Which judgments. A threshold that is to be used belongs on those of training.
    #[arg(long, default_value = "train")]
    split: String,
    /// Definition of the index [default: title and text, English, the default encoder].
    #[arg(long, value_name = "FILE.toml")]
    index: Option<PathBuf>,
    /// Keep the indexes in this folder and use them again if they are there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    #[command(flatten)]
    rerank: Reranked,
    /// Most of the pair-tokens that may be read, as a share.
    #[arg(long, default_value_t = 0.5)]
    budget: f64,
}

impl Cascade {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        if !(0.0..=1.0).contains(&self.budget) {
            return Err(Problem::new(Code::InvalidRequest, "a budget is a share")
                .field("budget")
                .found(self.budget)
                .expected("0 to 1")
                .into());
        }
        let settings = self.rerank.settings()?;
        let definition = definition(self.index.as_deref())?;
        let folders = self.beir.iter().map(|folder| {
            let folder = BeirFolder::open(folder)?;
            // A misspelt split is noticed before anything is encoded.
            folder.qrels(&self.split)?;
            Ok(folder)
        });
        let folders = folders.collect::<Result<Vec<_>>>()?;
        let mut traces = Traces::default();
        for (path, folder) in self.beir.iter().zip(folders) {
            let name = path.file_name().unwrap_or_default();
            let keep = self.keep.as_ref().map(|keep| keep.join(name));
            let loaded = Loaded::new(context, &folder, definition.clone(), keep.as_deref())?;
            let first = SearchRequest::default();
            traces.add(trace(
                &loaded.index,
                &folder,
                &self.split,
                &settings,
                &first,
            )?);
        }
        let report = match &settings.cascade {
            Some(cascade) => traces.report(cascade.gate(), self.budget, Some(cascade.threshold)),
            None => traces.report(traces.fit(), self.budget, None),
        };
        context.print(&report, |report| report.to_string())
    }
}
