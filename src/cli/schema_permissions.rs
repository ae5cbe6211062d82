//! `gleaner schema permissions`: who may see which tables of a database.

use std::path::PathBuf;

use serde::Serialize;

use super::Context;
use super::eval_schema::text;
use crate::error::{Code, Problem, Result};
use crate::sql::{Access, Permissions, Schemas};

/// Show or change who may see which tables; what is not said stays as it is.
#[derive(Debug, clap::Args)]
pub(super) struct ShowPermissions {
    /// Name of the database.
    database: String,
    /// The caller to let in, or to change.
    #[arg(long, value_name = "NAME", requires = "allow")]
    caller: Option<String>,
    /// Tables that the caller may see; * stands for any characters.
    #[arg(long, value_name = "PATTERN", requires = "caller")]
    allow: Vec<String>,
    /// Tables of those that the caller may not see.
    #[arg(long, value_name = "PATTERN", requires = "caller")]
    deny: Vec<String>,
    /// The caller to shut out.
    #[arg(long, value_name = "NAME", conflicts_with = "caller")]
    shut_out: Option<String>,
    /// All permissions anew, as --json prints them.
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["caller", "shut_out"])]
    file: Option<PathBuf>,
    /// Let everybody see everything.
    #[arg(long, conflicts_with_all = ["caller", "shut_out", "file"])]
    open: bool,
}

#[derive(Serialize)]
struct Shown {
    /// Null lets everybody see everything.
    permissions: Option<Permissions>,
}

impl ShowPermissions {
    pub(super) fn run(self, context: &Context, schemas: &Schemas) -> Result<()> {
        let entry = schemas.get(&self.database)?;
        let mut permissions = entry.permissions().cloned();
        if self.open {
            permissions = None;
        } else if let Some(file) = &self.file {
            let read = serde_json::from_str(&text(file, "file")?).map_err(|e| {
                Problem::new(Code::InvalidFile, format!("these are no permissions: {e}"))
                    .field("file")
                    .found(file.display())
                    .expected("{\"callers\": {\"NAME\": {\"allow\": [\"PATTERN\"], \"deny\": []}}}")
            })?;
            permissions = Some(read);
        } else if let Some(caller) = self.caller {
            let access = Access {
                allow: self.allow,
                deny: self.deny,
            };
            let known = permissions.get_or_insert_default();
            known.callers.insert(caller, access);
        } else if let Some(caller) = &self.shut_out {
            // Where everybody may see everything, nobody is shut out by name.
            let known = permissions.as_mut();
            if known
                .and_then(|known| known.callers.remove(caller))
                .is_none()
            {
                return Err(
                    Problem::new(Code::InvalidRequest, "there is no such caller")
                        .field("shut-out")
                        .found(caller)
                        .into(),
                );
            }
        }
        if permissions.as_ref() != entry.permissions() {
            schemas.permit(&self.database, permissions.clone())?;
        }
        let database = self.database;
        context.print(&Shown { permissions }, |shown| {
            let Some(permissions) = &shown.permissions else {
                return format!("{database} is open to everybody");
            };
            let mut lines = vec![format!(
                "{database} is open to {} callers",
                permissions.callers.len()
            )];
            for (name, access) in &permissions.callers {
                let tables = schemas.visible(&database, Some(name));
                let tables = tables.map_or(0, |entry| entry.database.tables.len());
                let deny = match access.deny.as_slice() {
                    [] => String::new(),
                    deny => format!(", but not {}", deny.join(", ")),
                };
                let allow = access.allow.join(", ");
                lines.push(format!("  {name}: {allow}{deny} ({tables} tables)"));
            }
            lines.join("\n")
        })
    }
}
