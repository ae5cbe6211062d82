//! Who serves the data folder, and whether the address to listen on is free.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::data::at_work;
use super::probe::{address, ask_health, local_url};
use super::process::{listening_on, named};
use super::{Check, Finding, Patient, Server};

/// Longest wait for a server on this machine.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn look(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let listen = &patient.config.server.listen;
    let address = match address(listen) {
        Ok(address) => address,
        Err(error) => {
            return vec![Finding::of_error(
                Check::Listen,
                &error,
                "name an address of this machine",
            )];
        }
    };
    let there = (address.port() != 0)
        .then(|| listening_on(address.port()))
        .flatten();
    let ours = patient
        .server
        .as_ref()
        .is_some_and(|server| server.process.is_some() && server.process == there);
    match &patient.server {
        None => findings.push(Finding::ok(
            Check::Server,
            "no server works on this data folder",
        )),
        Some(server) if ours => findings.push(ready(patient, server)),
        Some(server) => findings.push(Finding::warning(
            Check::Server,
            format!("{}, on another address than {listen}", at_work(server)),
            "it was started with another configuration or another --listen than this: what is said here of the configuration may not hold for it",
        )),
    }
    if ours {
        findings.push(Finding::ok(
            Check::Listen,
            format!("{address} is this server's"),
        ));
    } else {
        findings.push(free(address, there));
    }
    findings
}

/// What the server says of itself.
fn ready(patient: &Patient<'_>, server: &Server) -> Finding {
    let who = at_work(server);
    let answer = local_url(patient.config).and_then(|url| ask_health(&url, "/ready", PATIENCE));
    match answer {
        Ok(health) if health.status == 200 => {
            Finding::ok(Check::Server, format!("{who}, and is ready"))
        }
        Ok(health) if !health.list("reasons").is_empty() => Finding::warning(
            Check::Server,
            format!(
                "{who}, and is not ready: {}",
                health.list("reasons").join("; ")
            ),
            "wait, if it has just started; otherwise its log says more",
        ),
        Ok(health) => Finding::warning(
            Check::Server,
            format!("{who}, and answers /ready with status {}", health.status),
            "look at its log",
        ),
        Err(error) => Finding::of_error(
            Check::Server,
            &error,
            "it holds the data folder and its port, and does not answer: look at its log, and restart it",
        ),
    }
}

/// Whether one could listen there; who does, where somebody does.
fn free(address: SocketAddr, there: Option<u32>) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(Check::Listen, format!("{address} is free")),
        Err(e) if e.kind() == ErrorKind::AddrInUse => {
            let who = there.map_or("another process".into(), named);
            Finding::failed(
                Check::Listen,
                format!("port {} is taken by {who}", address.port()),
                "stop who has it, or choose another port with server.listen or --listen",
            )
        }
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Finding::failed(
            Check::Listen,
            format!("this user may not listen on {address}"),
            "ports below 1024 need special rights; choose another with server.listen or --listen",
        ),
        Err(e) => Finding::failed(
            Check::Listen,
            format!("cannot listen on {address}: {e}"),
            "choose an address of this machine with server.listen or --listen",
        ),
    }
}
