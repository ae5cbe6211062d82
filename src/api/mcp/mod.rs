//! The Model Context Protocol: the databases as tools of an assistant, over HTTP at `/mcp` and
//! over standard input and output.
//!
//! The promise: a tool answers what REST answers, within the same limits; what went wrong is a
//! tool's error with the stable code, so that the model that called it can mend its call; and
//! nothing that a peer sends ends the service or costs more than [`MOST_MESSAGE_BYTES`].

mod tools;

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, ServiceExt};
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::{Failure, in_full};
use super::state::App;
use crate::access::Keys;
use crate::config::{self, Config};
use crate::error::{Code, Error, Problem, Result};
use crate::index::Catalog;

/// Longest message of a peer, in bytes: question and evidence of the longest, written in JSON's
/// longest way, and room beside them.
pub const MOST_MESSAGE_BYTES: usize = 256 << 10;

/// What the model that has the tools is told about them.
const INSTRUCTIONS: &str = "Schemas of SQL databases. list_databases says which there are; \
    retrieve_schema gives the tables, columns and keys that a question needs, as CREATE TABLE \
    text to write SQL from. Nothing here runs SQL.";

/// A peer's server: one for each connection.
#[derive(Clone)]
pub(super) struct Mcp {
    app: Arc<App>,
    /// Whether the peer is who operates this: then it is told what its operator would read in
    /// the log.
    operator: bool,
    /// Who asks, whatever the peer says.
    caller: Option<Arc<str>>,
}

impl ServerHandler for Mcp {
    fn get_info(&self) -> ServerConfig {
        let own = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(own)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let all = tools::ALL
            .iter()
            .map(|tool| tool.described(self.caller.is_some()));
        Ok(ListToolsResult::with_all_items(all.collect()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::named(name).map(|tool| tool.described(self.caller.is_some()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::named(&request.name) else {
            return Err(ErrorData::invalid_params("there is no such tool", None));
        };
        let mut arguments = request.arguments.unwrap_or_default();
        if let Some(caller) = &self.caller {
            arguments.insert(tools::CALLER.into(), caller.as_ref().into());
        }
        let answered = self.answered(tool, arguments).await;
        let result = match answered {
            Ok(tools::Answer { text, structured }) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
                result.structured_content = Some(structured);
                result
            }
            Err(error) => self.refused(tool.name, &error),
        };
        Ok(result.into())
    }
}

impl Mcp {
    /// Answers when its turn comes, within the time of a request.
    async fn answered(
        &self,
        tool: &'static tools::Offered,
        arguments: rmcp::model::JsonObject,
    ) -> Result<tools::Answer> {
        let limit = self.app.timeout;
        let work = async {
            let permit = self.app.searches.enter(1).await?;
            let app = self.app.clone();
            permit.run(move || (tool.answer)(&app, arguments)).await
        };
        match tokio::time::timeout(limit, work).await {
            Ok(answered) => answered,
            Err(_) => Err(Problem::new(Code::Timeout, "the call took too long")
                .expected(format!("an answer within {} ms", limit.as_millis()))
                .into()),
        }
    }

    /// A tool's error: a sentence for the model, the same as data, and for what is not the
    /// caller's a line in the log.
    fn refused(&self, tool: &str, error: &Error) -> CallToolResult {
        let mut failure = Failure::from(error);
        match error {
            Error::User(problem) => {
                tracing::info!(tool, code = %problem.code, "a tool's call was refused");
            }
            Error::Operator(_) | Error::Bug(_) => {
                let detail = in_full(error);
                tracing::error!(tool, code = %failure.code, detail = %detail, "a tool's call failed");
                if self.operator {
                    failure.message = detail;
                }
            }
        }
        let mut text = failure.message.clone();
        for (what, said) in [
            ("field", &failure.field),
            ("found", &failure.found),
            ("expected", &failure.expected),
        ] {
            if let Some(said) = said {
                text.push_str(&format!("; {what}: {said}"));
            }
        }
        text.push_str(&format!(" [{}]", failure.code));
        let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
        result.structured_content = Some(serde_json::json!({ "error": failure }));
        result
    }
}

/// What answers at `/mcp`. Every request stands for itself: no session is kept, so that nothing
/// is held for a peer that went away.
pub(super) fn over_http(
    app: Arc<App>,
    settings: &config::Mcp,
) -> StreamableHttpService<Mcp, NeverSessionManager> {
    let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let hosts = local.into_iter().chain(settings.hosts.iter().cloned());
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MOST_MESSAGE_BYTES.min(app.limits.body_bytes))
        .with_allowed_hosts(hosts)
        .with_allowed_origins(settings.origins.iter().cloned())
        .enforce_origin_validation();
    let server = Mcp {
        app,
        operator: false,
        caller: settings.caller.as_deref().map(Arc::from),
    };
    StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    )
}

/// Serves one peer over a pair of streams until it closes its side, or `stop` resolves.
///
/// # Errors
/// An operator error where the peer speaks something else than the protocol.
pub async fn serve_mcp<R, W, F>(
    config: &Config,
    catalog: Arc<Catalog>,
    input: R,
    output: W,
    stop: F,
) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = ()> + Send,
{
    // Whoever started this process has its rights; the keys are those of the network.
    let keys = Arc::new(Keys::open(&config.data.folder)?);
    let server = Mcp {
        app: Arc::new(App::new(config, catalog, keys)),
        operator: true,
        caller: config.mcp.caller.as_deref().map(Arc::from),
    };
    let transport =
        AsyncRwTransport::new_server(input, output).with_max_line_length(MOST_MESSAGE_BYTES);
    tokio::pin!(stop);
    let begun = tokio::select! {
        begun = server.serve(transport) => begun,
        () = &mut stop => return Ok(()),
    };
    let running = match begun {
        Ok(running) => running,
        // Nobody has asked for anything.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => {
            return Err(Error::operator_from("the peer does not speak MCP", error)
                .advice("let an MCP client start this command (docs/mcp.md)"));
        }
    };
    let cancel = running.cancellation_token();
    tokio::select! {
        ended = running.waiting() => {
            ended.map_err(|e| Error::Bug(format!("serving ended: {e}")))?;
        }
        () = stop => cancel.cancel(),
    }
    Ok(())
}
