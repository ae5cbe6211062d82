//! Promise: with a certificate, connections are encrypted; a new certificate is taken over while
//! the server runs; who begins a handshake and stops keeps nobody else from connecting.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::service::Service;

/// A certificate for this machine by this name, written to the folder; what trusts it.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// What `/health` answers to whoever trusts this certificate alone.
fn health(service: &Service, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(service.address)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = StreamOwned::new(session, socket);
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(e) if heard.is_empty() => Err(e),
        // Closing without a farewell is no news after the answer.
        _ => Ok(String::from_utf8_lossy(&heard).into_owned()),
    }
}

fn encrypted(folder: &Path) -> Service {
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    Service::with(|config| {
        config.server.tls_certificate = Some(certificate);
        config.server.tls_key = Some(key);
    })
}

#[test]
fn connections_are_encrypted_and_certificates_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path());
    let service = encrypted(folder.path());
    // Many who begin and stop.
    let halves: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut socket = TcpStream::connect(service.address).unwrap();
            socket.write_all(&[0x16, 0x03, 0x01]).unwrap();
            socket
        })
        .collect();
    let heard = health(&service, &first).unwrap();
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    drop(halves);
    // Without encryption nothing is answered.
    let plain = service.raw(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(!plain.contains("HTTP/1.1 200"), "{plain}");

    // One of the two files alone changes nothing.
    let other = tempfile::tempdir().unwrap();
    let second = certificate(other.path());
    assert!(health(&service, &second).is_err());
    std::fs::copy(other.path().join("tls.crt"), folder.path().join("tls.crt")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(health(&service, &first).is_ok());
    std::fs::copy(other.path().join("tls.key"), folder.path().join("tls.key")).unwrap();
    let begun = std::time::Instant::now();
    while health(&service, &second).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it is not taken over"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(health(&service, &first).is_err());
}
