//! What administrators did, one JSON object a line, in `audit.jsonl` of the data folder or where
//! `server.audit_log` says.
//!
//! Each line is written before the act is answered. The file is opened anew for each, so that it
//! may be rotated by moving it away.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When, in UTC.
    pub at: String,
    /// Whose key: its id, `command line`, or nothing where the server has no keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// From where, where it came over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The name of the operation in the API's description.
    pub operation: String,
    /// Method and address, without parameters.
    pub request: String,
    /// What it was answered with; 401 and 403 for what was refused.
    pub status: u16,
    /// Names the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl AuditEntry {
    /// One of now.
    pub fn new(operation: &str, request: String, status: u16) -> AuditEntry {
        AuditEntry {
            at: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            key: None,
            peer: None,
            operation: operation.into(),
            request,
            status,
            request_id: None,
        }
    }
}

/// The file.
pub struct AuditLog {
    path: PathBuf,
    turn: Mutex<()>,
}

impl AuditLog {
    /// That of a data folder, or the configured one.
    pub fn new(folder: &Path, configured: Option<&Path>) -> AuditLog {
        AuditLog {
            path: configured.map_or_else(|| folder.join("audit.jsonl"), Path::to_path_buf),
            turn: Mutex::default(),
        }
    }

    /// Adds a line, and waits until it is on the disk.
    ///
    /// # Errors
    /// Operator where it cannot be written.
    pub fn add(&self, entry: &AuditEntry) -> Result<()> {
        let cannot = |e| {
            Error::operator_from(format!("cannot write {}", self.path.display()), e)
                .advice("make room, or name another file in server.audit_log")
        };
        let mut line = serde_json::to_vec(entry)
            .map_err(|e| Error::Bug(format!("an act does not serialise: {e}")))?;
        line.push(b'\n');
        let _turn = self.turn.lock();
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut file = options.open(&self.path).map_err(cannot)?;
        // Where another user owns the folder and this is not root, the file stays as it is.
        let _ = super::keys::owned_as_folder(&file, &self.path);
        file.write_all(&line)
            .and_then(|()| file.sync_data())
            .map_err(cannot)
    }
}
