//! The server: listening, serving, stopping.

use std::fs::{File, TryLockError};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use tokio::net::TcpListener;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tracing::{error, warn};

use super::around::around;
use super::connection::Connections;
use super::error::{ApiError, in_full};
use super::state::App;
use super::warm::WarmUp;
use super::{
    aliases, documents, embeddings, entities, export, feedback, health, indexes, jobs, mcp, models,
    reindex, rerank, schema_examples, schema_permissions, schemas, search, snapshots, tasks,
};
use crate::config::{self, Config};
use crate::error::{Code, Error, Problem, Result};
use crate::index::Catalog;

/// Answers smaller than this are never compressed: the time to do so would be most of
/// the time they take.
const COMPRESS_ABOVE: u16 = 1024;
/// How much longer than a request may take an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How much longer than a request may take stopping may take.
const GRACE: Duration = Duration::from_secs(2);

/// A server that listens and waits to be run.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    tools: config::Mcp,
    /// Locked as long as this serves.
    _lock: File,
}

impl Server {
    /// Listens on `server.listen`. Connections are answered once [`Server::run`] is
    /// awaited.
    ///
    /// # Errors
    /// `invalid_configuration` for an address that is none; an operator error for one
    /// that is taken, not allowed, or reachable from other machines while
    /// `server.allow_public` is off.
    pub async fn bind(config: &Config, catalog: Arc<Catalog>) -> Result<Server> {
        let lock = lock(&config.data.folder)?;
        let listen = &config.server.listen;
        let address = resolve(listen, config.server.allow_public).await?;
        let cannot = |e: std::io::Error| {
            let advice = match e.kind() {
                std::io::ErrorKind::AddrInUse => format!(
                    "port {0} is taken; stop who has it (`ss -ltnp 'sport = :{0}'` names it) or choose another with --listen",
                    address.port()
                ),
                std::io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need special rights; choose another with --listen".into()
                }
                _ => "choose an address of this machine with --listen".into(),
            };
            Error::operator_from(format!("cannot listen on {address}"), e).advice(advice)
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Server {
            listener,
            address,
            app: Arc::new(App::new(config, catalog)),
            tools: config.mcp.clone(),
            _lock: lock,
        })
    }

    /// The address it listens on, with the port that was chosen where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, then finishes what was accepted and makes the
    /// last writes visible, so that the next start has nothing to catch up on. Opens the
    /// indexes, warms the models up and refreshes in the background meanwhile.
    ///
    /// # Errors
    /// An operator error where threads cannot be started.
    pub async fn run<F>(self, shutdown: F) -> Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let catalog = self.app.catalog.clone();
        let refresher = catalog
            .refresh_in_background()
            .map_err(|e| Error::operator_from("cannot start a thread", e))?;
        let following = catalog
            .follow_in_background()
            .map_err(|e| Error::operator_from("cannot start a thread", e))?;
        let warm_up = WarmUp::start(catalog.clone(), self.app.readiness.clone())?;

        let jobs = self.app.jobs.clone();
        jobs.start()?;

        let timeout = self.app.timeout;
        let stopping_jobs = jobs.clone();
        let connections = Connections::new(self.listener, timeout + IDLE);
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let signal = async move {
            shutdown.await;
            // Jobs take the time that connections do; who watches them is let go.
            tokio::task::spawn_blocking(move || stopping_jobs.stop());
            // Nobody listens when the server has ended by itself.
            let _ = stopping.send(());
        };
        let serving =
            axum::serve(connections, router(self.app, &self.tools)).with_graceful_shutdown(signal);
        let overdue = async {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(timeout + GRACE).await;
        };
        tokio::select! {
            result = serving.into_future() => {
                result.map_err(|e| Error::operator_from("the server failed", e))?;
            }
            () = overdue => warn!("stopping although connections are still open"),
        }
        let finish = move || {
            drop(following);
            drop(warm_up);
            drop(refresher);
            jobs.stop();
            catalog.cancel_reindexings();
            for index in catalog.open_indexes() {
                if index.has_unseen_writes()
                    && let Err(e) = index.refresh()
                {
                    error!(
                        index = index.name(),
                        detail = in_full(&e),
                        "last refresh failed"
                    );
                }
            }
        };
        tokio::task::spawn_blocking(finish)
            .await
            .map_err(|e| Error::Bug(format!("stopping failed: {e}")))
    }
}

/// Makes sure that one server at a time works on a data folder.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("server.lock");
    let cannot = |e: std::io::Error| {
        Error::operator_from(format!("cannot lock {}", path.display()), e)
            .advice("check the data folder and its permissions")
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true);
    let file = file.open(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::operator(format!(
            "another server works on the data folder {}",
            folder.display()
        ))
        .advice("stop it, or choose another folder with --data")),
        Err(TryLockError::Error(e)) => Err(cannot(e)),
    }
}

/// The address to listen on, held to this machine unless more is allowed.
async fn resolve(listen: &str, allow_public: bool) -> Result<SocketAddr> {
    let unusable = |found: String| {
        Problem::new(
            Code::InvalidConfiguration,
            "there is no such address to listen on",
        )
        .field("server.listen")
        .found(found)
        .expected("ADDRESS:PORT, for example 127.0.0.1:7700")
    };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(listen)
        .await
        .map_err(|e| unusable(format!("{listen}: {e}")))?
        .collect();
    if !allow_public && let Some(public) = addresses.iter().find(|a| !a.ip().is_loopback()) {
        return Err(Error::operator(format!(
            "refusing to listen on {public}, which other machines can reach"
        ))
        .advice(
            "there are no API keys yet: whoever reaches the port may read and change everything. \
             Listen on 127.0.0.1 behind a proxy that checks who asks, or set \
             server.allow_public = true on a network where everybody is trusted",
        ));
    }
    addresses
        .first()
        .copied()
        .ok_or_else(|| unusable(listen.to_string()).into())
}

fn router(app: Arc<App>, tools: &config::Mcp) -> Router {
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(
            SizeAbove::new(COMPRESS_ABOVE)
                // Compressed already.
                .and(NotForContentType::const_new(export::MEDIA_TYPE))
                // Each event is to arrive when it is sent.
                .and(NotForContentType::SSE),
        );
    let mut router = Router::new();
    if tools.enabled {
        router = router.route_service("/mcp", mcp::over_http(app.clone(), tools));
    }
    router
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/v1/aliases", get(aliases::list).post(aliases::change))
        .route("/v1/entities", get(entities::list).post(entities::create))
        .route("/v1/entities:link", post(entities::link))
        .route("/v1/entities:disambiguate", post(entities::disambiguate))
        .route("/v1/entities:retrieve", post(entities::retrieve))
        .route(
            "/v1/entities/{name}",
            get(entities::show).delete(entities::remove),
        )
        .route("/v1/entities/{name}/compact", post(entities::compact))
        .route("/v1/entities/{name}/names", post(entities::add))
        .route(
            "/v1/entities/{name}/names/{id}",
            get(entities::entity).delete(entities::remove_entity),
        )
        .route("/v1/schemas", get(schemas::list).post(schemas::import))
        .route("/v1/schemas:retrieve", post(schemas::which))
        .route(
            "/v1/schemas/{name}",
            get(schemas::show)
                .delete(schemas::remove)
                .post(schemas::act),
        )
        .route("/v1/schemas/{name}/descriptions", put(schemas::describe))
        .route(
            "/v1/schemas/{name}/permissions",
            get(schema_permissions::show)
                .put(schema_permissions::put)
                .delete(schema_permissions::remove),
        )
        .route(
            "/v1/schemas/{name}/examples",
            get(schema_examples::list).post(schema_examples::add),
        )
        .route(
            "/v1/schemas/{name}/examples:similar",
            post(schema_examples::similar),
        )
        .route(
            "/v1/schemas/{name}/examples:annotate",
            post(schema_examples::annotate),
        )
        .route(
            "/v1/schemas/{name}/examples/{id}",
            axum::routing::delete(schema_examples::remove),
        )
        .route("/v1/indexes", get(indexes::list).post(indexes::create))
        .route(
            "/v1/indexes/{name}",
            get(indexes::show)
                .put(indexes::define)
                .delete(indexes::remove),
        )
        .route("/v1/indexes/{name}/compact", post(indexes::compact))
        .route("/v1/feedback", post(feedback::add))
        .route("/v1/indexes/{name}/export", get(export::export))
        .route("/v1/indexes/{name}/feedback", get(feedback::status))
        .route(
            "/v1/indexes/{name}/feedback/activate",
            post(feedback::activate),
        )
        .route("/v1/indexes/{name}/feedback/export", get(feedback::export))
        .route("/v1/indexes/{name}/feedback/fit", post(feedback::fit))
        .route(
            "/v1/indexes/{name}/feedback/rollback",
            post(feedback::roll_back),
        )
        .route(
            "/v1/indexes/{name}/reindex",
            get(reindex::show)
                .post(reindex::begin)
                .delete(reindex::cancel),
        )
        .route("/v1/indexes/{name}/refresh", post(indexes::refresh))
        .route("/v1/indexes/{name}/documents", post(documents::bulk))
        .route(
            "/v1/indexes/{name}/documents:delete",
            post(documents::remove_where),
        )
        .route("/v1/indexes/{name}/operations", post(documents::operations))
        .route(
            "/v1/indexes/{name}/documents/{id}",
            get(documents::show)
                .put(documents::put)
                .patch(documents::update)
                .delete(documents::remove),
        )
        .route(
            "/v1/indexes/{name}/snapshots",
            get(snapshots::list).post(snapshots::take),
        )
        .route(
            "/v1/indexes/{name}/snapshots/{id}",
            axum::routing::delete(snapshots::remove),
        )
        .route(
            "/v1/indexes/{name}/snapshots/{id}/restore",
            post(snapshots::restore),
        )
        .route("/v1/indexes/{name}/search", post(search::search))
        .route("/v1/jobs", get(jobs::list).post(jobs::create))
        .route("/v1/jobs/{id}", get(jobs::show).post(jobs::act))
        .route("/v1/jobs/{id}/events", get(jobs::events))
        .route("/v1/jobs/{id}/rejects", get(jobs::rejects))
        .route("/v1/tasks", get(tasks::list))
        .route("/v1/tasks/{id}", get(tasks::show))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/rerank", post(rerank::rerank))
        // Where clients of Cohere's second version look for it.
        .route("/v2/rerank", post(rerank::rerank))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{name}", get(models::show))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(compression)
        .layer(from_fn_with_state(app.clone(), around))
        .with_state(app)
}

async fn no_route(request: Request) -> ApiError {
    Problem::new(Code::RouteNotFound, "there is no such address")
        .field("path")
        .found(request.uri().path())
        .expected("/health, /ready, /mcp, or an address below /v1")
        .into()
}

async fn no_method(request: Request) -> ApiError {
    Problem::new(
        Code::MethodNotAllowed,
        "the address does not know this method",
    )
    .field("method")
    .found(format!("{} {}", request.method(), request.uri().path()))
    .expected("one of the methods in the Allow header")
    .into()
}
