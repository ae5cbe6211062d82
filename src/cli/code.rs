//! `gleaner code`: what models of code are trained on.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Context;
use crate::code::GraphLimits;
use crate::error::Result;
use crate::ingest::{FeatureOptions, FeatureSummary, write_features};
use crate::model::TokenCounter;

#[derive(Debug, Subcommand)]
pub(super) enum CodeCommand {
    /// Write the syntax graphs of functions to an Arrow file, as the service sees them.
    Features(Features),
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
        let CodeCommand::Features(features) = self;
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
