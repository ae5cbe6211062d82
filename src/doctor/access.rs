//! Who may ask: keys, and whether what is sent can be read on its way.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::data::probe;
use super::probe::address;
use super::{Check, Finding, Patient};
use crate::access::Keys;
use crate::api::check_tls;

/// What to do where keys cannot be used.
const MEND: &str = "mend the file, or restore it; a key is made with `gleaner keys create`";

pub(super) fn look(patient: &Patient<'_>) -> Vec<Finding> {
    let server = &patient.config.server;
    let public = address(&server.listen).is_ok_and(|address| !address.ip().is_loopback());
    let mut findings = Vec::new();
    let tls = match check_tls(server) {
        Ok(tls) => tls,
        Err(error) => {
            let advice = "name a certificate and its key in PEM (docs/security.md)";
            findings.push(Finding::of_error(Check::Access, &error, advice));
            true
        }
    };
    findings.extend(server.tls_key.as_deref().and_then(open_to_all));
    findings.push(keys(patient, public, tls));
    if let Some(log) = &server.audit_log {
        let folder = log.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Err(e) = probe(folder.unwrap_or(Path::new("."))) {
            findings.push(Finding::failed(
                Check::Access,
                format!("{} cannot be written: {e}", log.display()),
                "administrators' acts are refused where they cannot be noted: give the folder to the server's user",
            ));
        }
    }
    findings
}

/// A private key that every user of the machine may read.
fn open_to_all(key: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(key).ok()?.mode() & 0o777;
    (mode & 0o007 != 0).then(|| {
        Finding::warning(
            Check::Access,
            format!(
                "every user of the machine may read {} (mode {mode:03o})",
                key.display()
            ),
            format!("chmod o-rwx {}", key.display()),
        )
    })
}

fn keys(patient: &Patient<'_>, public: bool, tls: bool) -> Finding {
    let listen = &patient.config.server.listen;
    let keys = match Keys::open_with_environment(patient.data()) {
        Ok(keys) => keys,
        Err(error) => return Finding::of_error(Check::Access, &error, MEND),
    };
    match (keys.are_required(), public, tls) {
        (false, true, _) => Finding::failed(
            Check::Access,
            format!(
                "there are no keys, and other machines could reach {listen}: it is not listened on"
            ),
            "make a key with `gleaner keys create --scope admin` (in a container: GLEANER_ADMIN_KEY), or listen on 127.0.0.1",
        ),
        (false, false, _) => Finding::ok(
            Check::Access,
            "there are no keys: who works on this machine may read and change everything",
        ),
        (true, true, false) => Finding::warning(
            Check::Access,
            format!("keys are sent to {listen} as they are, without TLS"),
            "set server.tls_certificate and server.tls_key, or let a proxy in front of it do that",
        ),
        (true, ..) => Finding::ok(
            Check::Access,
            match keys.list().len() {
                0 => "a key is needed, which the environment holds".to_owned(),
                kept => format!("a key is needed; {kept} are kept"),
            },
        ),
    }
}
