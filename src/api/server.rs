//! The server: listening, serving, stopping.

use std::fs::{File, TryLockError};
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::{HeaderValue, LOCATION, RETRY_AFTER};
use axum::middleware::from_fn_with_state;
use futures::FutureExt;
use tokio::net::TcpListener;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;
use tracing::{error, warn};

use super::around::{REQUEST_ID, around};
use super::connection::{Connections, Peer, most_connections};
use super::error::{ApiError, in_full};
use super::extract::REPLAYED;
use super::state::App;
use super::tls::{self, TlsConnections};
use super::warm::WarmUp;
use super::{console, export, json, routes, stream};
use crate::access::Keys;
use crate::config::Config;
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
    config: Config,
    /// Locked as long as this serves.
    _lock: File,
}

impl Server {
    /// Listens on `server.listen`. Connections are answered once [`Server::run`] is
    /// awaited.
    ///
    /// # Errors
    /// `invalid_configuration` for an address that is none; an operator error for one
    /// that is taken, not allowed, or reachable from other machines while there are no keys.
    pub async fn bind(config: &Config, catalog: Arc<Catalog>) -> Result<Server> {
        Server::bind_with(config, catalog, Keys::open(&config.data.folder)?).await
    }

    /// The same with keys that were opened.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub async fn bind_with(config: &Config, catalog: Arc<Catalog>, keys: Keys) -> Result<Server> {
        let lock = lock(&config.data.folder)?;
        let keys = Arc::new(keys);
        let address = resolve(&config.server.listen, keys.are_required()).await?;
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
            app: Arc::new(App::new(config, catalog, keys)),
            config: config.clone(),
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
        let app = self.app.clone();
        let server = &self.config.server;
        let most = most_connections(server.connections);
        let connections = Connections::new(self.listener, most, timeout + IDLE);
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let signal = async move {
            shutdown.await;
            // Jobs take the time that connections do; who watches them is let go.
            tokio::task::spawn_blocking(move || stopping_jobs.stop());
            // So are streams of documents, after the step under way.
            app.stop.send_replace(true);
            // Nobody listens when the server has ended by itself.
            let _ = stopping.send(());
        };
        let service = router(self.app, &self.config)?.into_make_service_with_connect_info::<Peer>();
        let identity = tls::named(server.tls_certificate.as_deref(), server.tls_key.as_deref())?;
        let serving = match identity {
            None => {
                let serving = axum::serve(connections, service);
                serving.with_graceful_shutdown(signal).into_future().boxed()
            }
            Some((certificate, key)) => {
                let connections = TlsConnections::new(connections, certificate, key)?;
                let serving = axum::serve(connections, service);
                serving.with_graceful_shutdown(signal).into_future().boxed()
            }
        };
        let overdue = async {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(timeout + GRACE).await;
        };
        tokio::select! {
            result = serving => {
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
async fn resolve(listen: &str, has_keys: bool) -> Result<SocketAddr> {
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
    if !has_keys && let Some(public) = addresses.iter().find(|a| !a.ip().is_loopback()) {
        return Err(Error::operator(format!(
            "refusing to listen on {public}, which other machines can reach"
        ))
        .advice(
            "there are no API keys: whoever reaches the port could read and change everything. \
             Make one with `gleaner keys create --scope admin`, or listen on 127.0.0.1",
        ));
    }
    addresses
        .first()
        .copied()
        .ok_or_else(|| unusable(listen.to_string()).into())
}

fn router(app: Arc<App>, config: &Config) -> Result<Router> {
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(
            SizeAbove::new(COMPRESS_ABOVE)
                // Compressed already.
                .and(NotForContentType::const_new(export::MEDIA_TYPE))
                // Each event is to arrive when it is sent.
                .and(NotForContentType::SSE)
                .and(NotForContentType::const_new(stream::MEDIA_TYPE)),
        );
    let groups = routes::groups(&app, &config.mcp);
    let description = json::to_bytes(&routes::document(&groups)?)?;
    // It is the first: there is one router of an app.
    let _ = app.description.set(description.into());
    let router = routes::router(groups, &app);
    let router = match config.server.console {
        true => router.fallback(console::file_or_no_route),
        false => router.fallback(no_route),
    };
    let router = router
        .method_not_allowed_fallback(no_method)
        // Bodies are bounded where they are read, which is behind this.
        .layer(RequestDecompressionLayer::new().gzip(true).zstd(true))
        .layer(compression)
        .layer(from_fn_with_state(app.clone(), around))
        .with_state(app);
    Ok(match cors(&config.server.cors_origins)? {
        Some(cors) => router.layer(cors),
        None => router,
    })
}

/// What web pages of other origins may do.
///
/// # Errors
/// `invalid_configuration` for an origin that is none.
fn cors(origins: &[String]) -> Result<Option<CorsLayer>, Problem> {
    if origins.is_empty() {
        return Ok(None);
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let parsed = origins.iter().map(|origin| {
            let is_origin = url::Url::parse(origin)
                .is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            let header = HeaderValue::from_str(origin).ok().filter(|_| is_origin);
            header.ok_or_else(|| {
                Problem::new(Code::InvalidConfiguration, "this is no origin of web pages")
                    .field("server.cors_origins")
                    .found(origin)
                    .expected("https://HOST, perhaps with a port; or *")
            })
        });
        AllowOrigin::list(parsed.collect::<Result<Vec<_>, _>>()?)
    };
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    Ok(Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods(methods)
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([LOCATION, RETRY_AFTER, REQUEST_ID, REPLAYED])
            .max_age(Duration::from_secs(3_600)),
    ))
}

pub(super) async fn no_route(request: Request) -> ApiError {
    Problem::new(Code::RouteNotFound, "there is no such address")
        .field("path")
        .found(request.uri().path())
        .expected("/health, /ready, /metrics, /mcp, or an address below /v1")
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
