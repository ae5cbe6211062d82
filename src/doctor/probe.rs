//! Asking a server how it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

use crate::config::Config;
use crate::error::{Code, Error, Problem, Result};

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// The status of its answer: 200 where all is well.
    pub status: u16,
    /// The body, as far as it is JSON.
    pub body: Value,
}

impl Health {
    /// The texts of a list in the body, as `reasons` of `/ready`.
    pub fn list(&self, key: &str) -> Vec<String> {
        let list = self.body[key].as_array().into_iter().flatten();
        list.filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    }
}

/// The address that a server with this configuration is reached by from this machine.
///
/// # Errors
/// `invalid_configuration` for an address that is none.
pub fn local_url(config: &Config) -> Result<String> {
    let address = reached_by(address(&config.server.listen)?);
    Ok(match config.server.tls_certificate.is_some() {
        true => format!("https://{address}"),
        false => format!("http://{address}"),
    })
}

/// The first address that `server.listen` stands for.
pub(super) fn address(listen: &str) -> Result<SocketAddr> {
    let unusable = |found: String| {
        Problem::new(
            Code::InvalidConfiguration,
            "there is no such address to listen on",
        )
        .field("server.listen")
        .found(found)
        .expected("ADDRESS:PORT, for example 127.0.0.1:7700")
    };
    let mut addresses = listen
        .to_socket_addrs()
        .map_err(|e| unusable(format!("{listen}: {e}")))?;
    addresses
        .next()
        .ok_or_else(|| unusable(listen.to_owned()).into())
}

/// Whoever listens on all addresses is reached by the loopback's.
fn reached_by(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// Asks for `path` (`/health` or `/ready`) of the server at `url`, and waits at most `timeout`.
///
/// # Errors
/// Operator: nothing answers there.
pub fn ask_health(url: &str, path: &str, timeout: Duration) -> Result<Health> {
    let url = format!("{}{path}", url.trim_end_matches('/'));
    let cannot = |e: reqwest::Error| {
        Error::operator_from(format!("{url} does not answer"), e).advice(
            "start the server, or name its address with --url or server.listen of the configuration",
        )
    };
    let threads = |e| Error::operator_from("cannot start a thread for a request", e);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(threads)?;
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            // A proxy of the machine's would be asked for its own idea of this address.
            .no_proxy()
            // Nothing secret is sent, and a certificate is hardly ever for this address: what is
            // asked is whether a server answers, not which.
            .danger_accept_invalid_certs(true)
            .timeout(timeout)
            .build()
            .map_err(cannot)?;
        let answer = client.get(&url).send().await.map_err(cannot)?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(cannot)?;
        Ok(Health {
            status,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_the_loopback() {
        let reached = |listen: &str| reached_by(address(listen).unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:7700"), "127.0.0.1:7700");
        assert_eq!(reached("[::]:7700"), "[::1]:7700");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
        assert!(address("nowhere").is_err());
    }
}
