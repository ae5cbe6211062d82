//! The Model Context Protocol: databases, indexes and catalogs of entities as tools of an
//! assistant, over HTTP at `/mcp` and over standard input and output.
//!
//! The promise: a tool answers what REST answers, to whom REST would answer it and within the same
//! limits; what went wrong is a tool's error with the stable code, so that the model that called
//! it can mend its call; and nothing that a peer sends ends the service or costs more than
//! [`MOST_MESSAGE_BYTES`]. Over standard input and output, indexes are open only while they are
//! asked about, and a little longer: a server that is started meanwhile can open them.

mod entities;
mod indexes;
mod tools;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::request::Parts;

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
use super::schemas;
use super::state::App;
use crate::access::{Access, Keys};
use crate::config::{self, Config};
use crate::error::{Code, Error, Problem, Result};
use crate::index::Catalog;
use crate::model::Cancellation;

/// Longest message of a peer, in bytes: question and evidence of the longest, written in JSON's
/// longest way, and room beside them.
pub const MOST_MESSAGE_BYTES: usize = 256 << 10;

/// Code of a tool's error where another process has the index open: only over standard input and
/// output, so it is none of REST's.
const INDEX_IN_USE: &str = "index_in_use";

/// How long an index stays open that is not asked about any more, where the peer has started this.
const KEPT: Duration = Duration::from_secs(5);

/// What the model that has the tools is told about them.
const INSTRUCTIONS: &str = "Schemas of SQL databases. list_databases says which there are; \
    retrieve_schema gives the tables, columns and keys that a question needs, as CREATE TABLE \
    text to write SQL from. Nothing here runs SQL. Indexes of documents and of source code: \
    list_indexes says which there are, search finds in one by words and by meaning. Catalogs of \
    entities: list_catalogs says which there are, link_entities finds what of one a text speaks \
    of.";

/// A peer's server: one for each connection.
#[derive(Clone)]
pub(super) struct Mcp {
    app: Arc<App>,
    /// Whether the peer is who operates this: then it is told what its operator would read in
    /// the log.
    operator: bool,
    /// Who asks, whatever the peer says.
    caller: Option<Arc<str>>,
    /// Calls that have ended.
    ended: Arc<AtomicU64>,
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
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let access = self.access(&context).map_err(|error| {
            tracing::error!(detail = in_full(&error), "tools are not listed");
            ErrorData::internal_error("something went wrong inside the server", None)
        })?;
        let all = tools::ALL
            .iter()
            .filter(|tool| tool.takes_tokens || !access.is_token())
            .map(|tool| tool.described(self.caller.is_some()));
        Ok(ListToolsResult::with_all_items(all.collect()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::named(name).map(|tool| tool.described(self.caller.is_some()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::named(&request.name) else {
            return Err(ErrorData::invalid_params("there is no such tool", None));
        };
        let mut arguments = request.arguments.unwrap_or_default();
        if let Some(caller) = self.caller.as_ref().filter(|_| tool.asks_who) {
            arguments.insert(tools::CALLER.into(), caller.as_ref().into());
        }
        let answered = self.answered(tool, arguments, &context).await;
        if self.operator {
            self.let_go_later();
        }
        let result = match answered {
            Ok(tools::Answer { text, structured }) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
                result.structured_content = Some(structured);
                result
            }
            Err(tools::Refused::Error(error)) => self.refused(tool.name, &error),
            Err(tools::Refused::InUse(index)) => {
                tracing::info!(
                    tool = tool.name,
                    index,
                    "another process has the index open"
                );
                failed(&in_use(index))
            }
        };
        Ok(result.into())
    }
}

impl Mcp {
    /// What the peer may do: what the guard in front of this found, or everything for whoever
    /// has started this process.
    fn access(&self, context: &RequestContext<RoleServer>) -> Result<Access> {
        if self.operator {
            return Ok(Access::everything());
        }
        let parts = context.extensions.get::<Parts>();
        let access = parts.and_then(|parts| parts.extensions.get::<Access>());
        let access = access.cloned();
        access.ok_or_else(|| Error::Bug("a message came past its guard".into()))
    }

    /// Answers when its turn comes, within the time of a request and as long as the peer waits.
    async fn answered(
        &self,
        tool: &'static tools::Offered,
        arguments: rmcp::model::JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Result<tools::Answer, tools::Refused> {
        let access = self.access(context)?;
        if access.is_token() && !tool.takes_tokens {
            let problem = Problem::new(Code::NotPermitted, "tokens of tenants are not taken here")
                .field("authorization")
                .found("a token")
                .expected("a key; tokens search");
            return Err(problem.into());
        }
        let cancellation = Cancellation::default();
        // Dropped with this future when the peer leaves or its time is up.
        let _leaving = cancellation.on_drop();
        let limit = self.app.timeout;
        let operator = self.operator;
        let database = arguments.get("database").and_then(|name| name.as_str());
        let database = database.filter(|name| tool.waits && access.reaches(name));
        let database = database.map(str::to_string);
        let work = async {
            // As the same request of REST does, before it has its turn.
            if let Some(database) = &database {
                schemas::prepared(&self.app, database).await;
            }
            let permit = (tool.gate)(&self.app).enter(1).await?;
            let app = self.app.clone();
            let work = move || {
                let asked = tools::Asked {
                    app: &app,
                    access: &access,
                    cancellation: &cancellation,
                    operator,
                };
                // Whether it is refused is the caller's, not the permit's.
                Ok((tool.answer)(&asked, arguments))
            };
            permit.run(work).await?
        };
        let late = |message: &str| {
            let problem = Problem::new(Code::Timeout, message);
            problem.expected(format!("an answer within {} ms", limit.as_millis()))
        };
        tokio::select! {
            answered = tokio::time::timeout(limit, work) => match answered {
                Ok(answered) => answered,
                Err(_) => Err(late("the call took too long").into()),
            },
            () = context.ct.cancelled() => Err(late("nobody waits for the answer").into()),
        }
    }

    /// Closes the indexes once nothing has been asked for a while: a server that is started next
    /// to this could not open them.
    fn let_go_later(&self) {
        let turn = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        let (ended, catalog) = (self.ended.clone(), self.app.catalog.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(KEPT).await;
                if ended.load(Ordering::Relaxed) != turn {
                    // Whoever came after this one sees to it.
                    return;
                }
                let catalog = catalog.clone();
                let closed = tokio::task::spawn_blocking(move || catalog.close_at_rest()).await;
                if closed.unwrap_or(true) {
                    return;
                }
            }
        });
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
        failed(&failure)
    }
}

/// Says that a server has the index open, most likely, and how to ask that one.
fn in_use(index: String) -> Failure {
    Failure {
        code: INDEX_IN_USE.into(),
        message: "another process has this index open, most likely a server of gleaner".into(),
        field: Some("index".into()),
        found: Some(index),
        expected: Some("this tool over HTTP, at /mcp of that server; or that process ended".into()),
    }
}

/// A tool's error, as a sentence and as data.
fn failed(failure: &Failure) -> CallToolResult {
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
        ended: Arc::default(),
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
        ended: Arc::default(),
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
