//! `gleaner keys`: make, list and revoke API keys, beside a server that runs or without one.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::Context;
use crate::access::{AuditEntry, AuditLog, KeyInfo, KeyRequest, Keys, Scope};
use crate::error::{Code, Problem, Result};

/// Make, list and revoke API keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key and print it: it is not stored, and cannot be shown again.
    Create {
        /// What it may do; may be repeated.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// Names of indexes, databases and catalogs that it reaches, such as "docs-*"; may be
        /// repeated [default: *].
        #[arg(long = "index", value_name = "GLOB")]
        indexes: Vec<String>,
        /// What it is for.
        #[arg(long, default_value = "")]
        name: String,
        /// When it ends, in RFC 3339: 2027-01-31T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// List the keys.
    List,
    /// End a key, and the tokens made with it.
    Revoke {
        /// Its id.
        id: String,
    },
}

#[derive(Serialize)]
struct Revoked {
    revoked: String,
}

fn line(key: &KeyInfo) -> String {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let ends = key.expires_at.as_ref();
    format!(
        "{}  {}  {}  {}{}",
        key.id,
        scopes.join(","),
        key.indexes.join(","),
        key.name,
        ends.map_or_else(String::new, |at| format!("  until {at}"))
    )
}

impl KeysCommand {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let folder = &context.config.data.folder;
        let keys = Keys::open(folder)?;
        let log = AuditLog::new(folder, context.config.server.audit_log.as_deref());
        let note = |operation: &str, request: String| {
            let mut entry = AuditEntry::new(operation, request, 200);
            entry.key = Some("command line".into());
            log.add(&entry)
        };
        match self {
            KeysCommand::Create {
                scopes,
                indexes,
                name,
                expires_at,
            } => {
                let made = keys.create(KeyRequest {
                    name,
                    scopes,
                    indexes: match indexes.is_empty() {
                        true => vec!["*".into()],
                        false => indexes,
                    },
                    expires_at: expires_at.as_deref().map(time).transpose()?,
                })?;
                note(
                    "createKey",
                    format!("gleaner keys create: {}", made.info.id),
                )?;
                // The key alone, so that a script may take it.
                context.print(&made, |made| made.key.clone())
            }
            KeysCommand::List => {
                let all = keys.list();
                context.print(&all, |all| match all.as_slice() {
                    [] => "no keys: whoever reaches the server may do everything; make one with \
                           `gleaner keys create --scope admin`"
                        .into(),
                    all => all.iter().map(line).collect::<Vec<_>>().join("\n"),
                })
            }
            KeysCommand::Revoke { id } => {
                keys.revoke(&id)?;
                note("revokeKey", format!("gleaner keys revoke {id}"))?;
                context.print(&Revoked { revoked: id }, |done| {
                    format!("revoked {}", done.revoked)
                })
            }
        }
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, Problem> {
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed.map(|at| at.to_utc()).map_err(|e| {
        Problem::new(Code::InvalidRequest, "this is no time")
            .field("expires_at")
            .found(format!("{text}: {e}"))
            .expected("for example 2027-01-31T00:00:00Z")
    })
}
