//! `gleaner mcp`: databases, indexes and catalogs as tools, for the program that started this.

use clap::Args;

use super::Context;
use super::serve::stop_signal;
use crate::api::serve_mcp;
use crate::error::{Error, Result};

/// Offer databases, indexes and catalogs as tools over the Model Context Protocol.
#[derive(Debug, Args)]
pub(super) struct Mcp {
    /// Who asks, for databases that have permissions [default: mcp.caller of the configuration, or
    /// what the model that calls the tools says].
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
}

impl Mcp {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let mut config = context.config.clone();
        config.mcp.caller = self.caller.or(config.mcp.caller);
        let catalog = context.catalog()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::operator_from("cannot start threads", e))?;
        let ended = runtime.block_on(async {
            let (input, output) = rmcp::transport::stdio();
            serve_mcp(&config, catalog, input, output, stop_signal()).await
        });
        // A read of standard input that nothing comes to cannot be cancelled, and would be
        // waited for.
        runtime.shutdown_background();
        ended
    }
}
