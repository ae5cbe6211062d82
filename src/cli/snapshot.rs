//! `gleaner snapshot`: take, list, verify, restore and remove snapshots.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use crate::error::Result;
use crate::index::Snapshot;

/// Take, list, verify, restore and remove snapshots of indexes.
#[derive(Debug, Args)]
pub(super) struct Snapshots {
    /// A folder, or the URL of a place in an object store, such as s3://BUCKET/PREFIX
    /// [default: snapshots.location of the configuration].
    #[arg(long, global = true, value_name = "FOLDER|URL")]
    location: Option<String>,
    #[command(subcommand)]
    command: SnapshotCommand,
}

impl Snapshots {
    pub(super) fn run(self, mut context: Context) -> Result<()> {
        if let Some(location) = self.location {
            context.config.snapshots.location = Some(location);
            context.config.snapshots.check()?;
        }
        self.command.run(&context)
    }
}

#[derive(Debug, Subcommand)]
enum SnapshotCommand {
    /// Take a snapshot of an index.
    Create {
        /// Name of the index.
        index: String,
    },
    /// List the snapshots of an index.
    List {
        /// Name of the index.
        index: String,
    },
    /// Read a snapshot through and compare checksums.
    Verify {
        /// Name of the index.
        index: String,
        /// The snapshot.
        id: String,
    },
    /// Make an index of a snapshot.
    Restore {
        /// Name of the index.
        index: String,
        /// The snapshot.
        id: String,
        /// Name of the index to make, which must be free [default: the index's].
        #[arg(long = "as", value_name = "NAME")]
        name: Option<String>,
    },
    /// Remove a snapshot.
    Delete {
        /// Name of the index.
        index: String,
        /// The snapshot.
        id: String,
    },
}

#[derive(Serialize)]
struct Restored {
    restored: String,
    documents: u64,
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

fn line(snapshot: &Snapshot) -> String {
    format!(
        "{}  {} documents, {:.1} MB",
        snapshot.id,
        snapshot.documents,
        snapshot.bytes as f64 / 1e6
    )
}

impl SnapshotCommand {
    fn run(self, context: &Context) -> Result<()> {
        let catalog = context.catalog()?;
        match self {
            SnapshotCommand::Create { index } => {
                let taken = catalog.take_snapshot(&index)?;
                context.print(&taken, |taken| format!("took {}", line(taken)))
            }
            SnapshotCommand::List { index } => {
                let all = catalog.snapshots(&index)?;
                context.print(&all, |all| match all.as_slice() {
                    [] => format!("no snapshots; take one with: gleaner snapshot create {index}"),
                    all => all.iter().map(line).collect::<Vec<_>>().join("\n"),
                })
            }
            SnapshotCommand::Verify { index, id } => {
                let verified = catalog.verify_snapshot(&index, &id)?;
                context.print(&verified, |verified| {
                    format!("as it was: {}", line(verified))
                })
            }
            SnapshotCommand::Restore { index, id, name } => {
                let name = name.unwrap_or(index.clone());
                let restored = catalog.restore_snapshot(&index, &id, &name)?;
                let restored = Restored {
                    restored: name,
                    documents: restored.view().documents,
                };
                context.print(&restored, |done| {
                    format!("restored {}: {} documents", done.restored, done.documents)
                })
            }
            SnapshotCommand::Delete { index, id } => {
                catalog.remove_snapshot(&index, &id)?;
                context.print(&Removed { removed: id }, |removed| {
                    format!("removed {}", removed.removed)
                })
            }
        }
    }
}
