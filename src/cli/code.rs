//! `gleaner code`: what models of code are trained on.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Context;
use super::ingest_code::folder_name;
use crate::code::{GraphLimits, Limits};
use crate::error::Result;
use crate::ingest::{
    CodeOptions, FeatureOptions, FeatureSummary, UnitSummary, WalkLimits, write_features,
    write_units,
};
use crate::model::TokenCounter;

#[derive(Debug, Subcommand)]
pub(super) enum CodeCommand {
    /// Write the syntax graphs of functions to an Arrow file, as the service sees them.
    Features(Features),
    /// Write the functions, types and the rest of a folder as JSON lines, as they would be indexed.
    Units(Units),
}

#[derive(Debug, Args)]
pub(super) struct Units {
    /// The folder with source code.
    folder: PathBuf,
    /// The file that is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What the ids begin with [default: the folder's name].
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Files of this language alone; may be repeated.
    #[arg(long, value_name = "NAME")]
    language: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Features {
    /// JSON lines with id, language and code.
    file: PathBuf,
    /// The tokenizer.json of the encoder, or the folder that it is in.
    #[arg(long, value_name = "PLACE")]
    tokenizer: PathBuf,
    /// The Arrow file that is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Most tokens of a function, special ones included.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: usize,
    /// Most nodes of a function; the deepest are left out first.
    #[arg(long, value_name = "N", default_value_t = GraphLimits::default().nodes)]
    nodes: usize,
}

impl CodeCommand {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        match self {
            CodeCommand::Features(features) => features.run(context),
            CodeCommand::Units(units) => units.run(context),
        }
    }
}

impl Units {
    fn run(self, context: &Context) -> Result<()> {
        let options = CodeOptions {
            repository: self.repository.unwrap_or_else(|| folder_name(&self.folder)),
            walk: WalkLimits::default(),
            without: Vec::new(),
            replace: false,
            parse: Limits::default(),
        };
        let summary = write_units(&self.folder, &self.out, &options, &self.language)?;
        context.print(&summary, |s: &UnitSummary| {
            format!(
                "{}: {} units of {} files, {} files left out",
                self.out.display(),
                s.units,
                s.files,
                s.skipped
            )
        })
    }
}

impl Features {
    fn run(self, context: &Context) -> Result<()> {
        let features = self;
        let options = FeatureOptions {
            max_tokens: features.max_tokens,
            graph: GraphLimits {
                nodes: features.nodes,
                ..GraphLimits::default()
            },
        };
        let tokenizer = TokenCounter::open(&features.tokenizer)?;
        let summary = write_features(&features.file, &features.out, &tokenizer, &options)?;
        context.print(&summary, |s: &FeatureSummary| {
            format!(
                "{}: {} functions, {} nodes ({} left out), {} not parsed",
                features.out.display(),
                s.functions,
                s.nodes,
                s.left_out,
                s.unparsed
            )
        })
    }
}
