//! `gleaner serve`: the REST API.

use clap::Args;
use tracing::info;

use super::Context;
use crate::access::Keys;
use crate::api::Server;
use crate::error::{Error, Result};

/// Serve the REST API.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address and port to listen on [default: server.listen of the configuration].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

impl Serve {
    pub(super) fn run(self, mut context: Context) -> Result<()> {
        if let Some(listen) = self.listen {
            context.config.server.listen = listen;
        }
        let keys = Keys::open_with_environment(&context.config.data.folder)?;
        let required = keys.are_required();
        let catalog = context.catalog()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::operator_from("cannot start the server's threads", e))?;
        runtime.block_on(async {
            let server = Server::bind_with(&context.config, catalog, keys).await?;
            info!(address = %server.local_addr(), "listening");
            if !required {
                info!("there are no keys: whoever reaches the address may do everything");
            }
            server.run(stop_signal()).await
        })
    }
}

/// Resolves on Ctrl-C or SIGTERM.
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be caught; Ctrl-C stops the server");
            // Without a handler for either, run until killed.
            if interrupt.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
    info!("stopping: finishing what was accepted");
}
