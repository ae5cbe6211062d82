//! TLS: connections that are encrypted, with certificates that can be replaced while the server
//! runs.
//!
//! Handshakes are made beside each other and within a time, so that a caller who begins one and
//! stops keeps nobody from connecting. The files are looked at every two seconds; new ones are
//! used for new connections once both can be read and belong together, and until then the old
//! ones are.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, Connections, Peer};
use crate::error::{Code, Error, Problem, Result};

/// Longest that a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often it is asked whether the files were replaced.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Connections that wait to be served.
const READY: usize = 64;

/// A certificate with its key, and when the files were written.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
}

/// What the configuration names.
///
/// # Errors
/// `invalid_configuration` where only one of the two is named.
pub(super) fn named<'a>(
    certificate: Option<&'a Path>,
    key: Option<&'a Path>,
) -> Result<Option<(&'a Path, &'a Path)>, Problem> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (certificate, _) => {
            let (there, missing) = match certificate {
                Some(_) => ("tls_certificate", "server.tls_key"),
                None => ("tls_key", "server.tls_certificate"),
            };
            Err(Problem::new(
                Code::InvalidConfiguration,
                "a certificate is of no use without its key, nor a key without its certificate",
            )
            .field(missing)
            .found(format!("server.{there} alone"))
            .expected("both, or neither"))
        }
    }
}

/// Whether connections are to be encrypted, and could be.
///
/// # Errors
/// `invalid_configuration` where only one of the two files is named; an operator's error for files
/// that cannot be read, or do not belong together.
pub fn check_tls(server: &crate::config::Server) -> Result<bool> {
    let (certificate, key) = (server.tls_certificate.as_deref(), server.tls_key.as_deref());
    match named(certificate, key)? {
        None => Ok(false),
        Some((certificate, key)) => load(certificate, key).map(|_| true),
    }
}

fn load(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let wrong = |path: &Path, why: String| {
        Error::operator(format!("{} cannot be used for TLS: {why}", path.display()))
            .advice("server.tls_certificate has to be a chain in PEM, server.tls_key its private key in PEM")
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| wrong(certificate, e.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "it holds no certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, e.to_string()))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Bug(format!("TLS has no protocol versions: {e}")))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| wrong(certificate, e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

impl Identity {
    fn stamp(&self) -> [Option<SystemTime>; 2] {
        [written(&self.certificate), written(&self.key)]
    }

    /// Takes over new files for as long as the server runs.
    async fn follow(self: Arc<Self>) {
        // What was loaded, and what could not be: that is tried again, and said once.
        let (mut seen, mut failed) = (self.stamp(), None);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let stamp = self.stamp();
            if stamp == seen {
                continue;
            }
            let of = self.clone();
            let loaded = tokio::task::spawn_blocking(move || load(&of.certificate, &of.key)).await;
            match loaded {
                Ok(Ok(config)) => {
                    self.current.store(Arc::new(config));
                    seen = stamp;
                    tracing::info!("the certificate was replaced");
                }
                // Perhaps one of the two is still to come.
                Ok(Err(error)) if failed != Some(stamp) => {
                    failed = Some(stamp);
                    tracing::warn!(%error, "the certificate is not replaced yet");
                }
                Ok(Err(_)) => {}
                Err(error) => tracing::error!(%error, "the certificate is not replaced"),
            }
        }
    }
}

/// Connections that are encrypted.
pub(super) struct TlsConnections {
    ready: mpsc::Receiver<(TlsStream<Connection>, SocketAddr)>,
    address: io::Result<SocketAddr>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl TlsConnections {
    /// # Errors
    /// Operator for files that cannot be read, or do not belong together.
    pub(super) fn new(
        mut connections: Connections,
        certificate: &Path,
        key: &Path,
    ) -> Result<TlsConnections> {
        let identity = Arc::new(Identity {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
            current: ArcSwap::from_pointee(load(certificate, key)?),
        });
        let address = connections.local_addr();
        let (send, ready) = mpsc::channel(READY);
        let following = tokio::spawn(identity.clone().follow());
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, peer) = connections.accept().await;
                let acceptor = TlsAcceptor::from(identity.current.load_full());
                let send = send.clone();
                tokio::spawn(async move {
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        // Nobody takes it where the server stops.
                        Ok(Ok(stream)) => drop(send.send((stream, peer)).await),
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "a handshake failed"),
                        Err(_) => tracing::debug!(%peer, "a handshake took too long"),
                    }
                });
            }
        });
        Ok(TlsConnections {
            ready,
            address,
            tasks: [following, accepting],
        })
    }
}

impl Connected<IncomingStream<'_, TlsConnections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsConnections>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

impl Drop for TlsConnections {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Listener for TlsConnections {
    type Io = TlsStream<Connection>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TlsStream<Connection>, SocketAddr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // Accepting goes on as long as this lives.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(error.kind().into()),
        }
    }
}
