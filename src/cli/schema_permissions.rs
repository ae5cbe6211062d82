//! `gleaner schema permissions`: who may see which tables of a database.

use std::path::{Path, PathBuf};

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
        let changes = self.open || self.file.is_some() || self.caller.is_some();
        let file = self.file.as_deref().map(read).transpose()?;
        let entry = match changes || self.shut_out.is_some() {
            false => schemas.get(&self.database)?,
            true => schemas.permit(&self.database, |permissions| {
                if self.open {
                    *permissions = None;
                } else if file.is_some() {
                    *permissions = file;
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
                    let removed = known.and_then(|known| known.callers.remove(caller));
                    removed.ok_or_else(|| {
                        Problem::new(Code::InvalidRequest, "there is no such caller")
                            .field("shut-out")
                            .found(caller)
                    })?;
                }
                Ok(())
            })?,
        };
        let permissions = entry.permissions().cloned();
        let database = self.database;
        context.print(&Shown { permissions }, |shown| {
            let Some(permissions) = &shown.permissions else {
                return format!("{database} is open to everybody");
            };
            let mut lines = vec![match permissions.callers.len() {
                1 => format!("{database} is open to 1 caller"),
                callers => format!("{database} is open to {callers} callers"),
            }];
            for (name, access) in &permissions.callers {
                let tables = schemas.visible(&database, Some(name));
                let tables = tables.map_or(0, |entry| entry.database.tables.len());
                let deny = match access.deny.as_slice() {
                    [] => String::new(),
                    deny => format!(", but not {}", deny.join(", ")),
                };
                let allow = access.allow.join(", ");
                lines.push(format!("  {name}: {allow}{deny} ({tables} tables)"));
                // As a rule one that is spelt wrongly.
                for pattern in access.idle(&entry.database) {
                    lines.push(format!("    no table matches {pattern}"));
                }
            }
            lines.join("\n")
        })
    }
}

fn read(file: &Path) -> Result<Permissions> {
    let read = serde_json::from_str(&text(file, "file")?).map_err(|e| {
        Problem::new(Code::InvalidFile, format!("these are no permissions: {e}"))
            .field("file")
            .found(file.display())
            .expected("{\"callers\": {\"NAME\": {\"allow\": [\"PATTERN\"], \"deny\": []}}}")
    })?;
    Ok(read)
}
