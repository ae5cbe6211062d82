//! `gleaner index`: create, list, show, compact and remove indexes.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::Context;
use crate::error::Result;
use crate::index::{Definition, Index, Stats};

/// Create, list, show, compact and remove indexes.
#[derive(Debug, Subcommand)]
pub(super) enum IndexCommand {
    /// Create an index from a definition.
    Create {
        /// The definition, in TOML.
        file: PathBuf,
        /// Another name than the definition's.
        #[arg(long)]
        name: Option<String>,
    },
    /// List the indexes.
    List,
    /// Show an index's definition and figures.
    Show {
        /// Name of the index.
        index: String,
    },
    /// Give back the disk and memory of what was deleted or replaced, now instead of in time.
    Compact {
        /// Name of the index.
        index: String,
    },
    /// Remove an index and everything in it.
    Delete {
        /// Name of the index.
        index: String,
    },
}

#[derive(Serialize)]
struct Shown {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<Definition>,
    stats: Stats,
}

impl Shown {
    fn new(index: &Index, whole: bool) -> Shown {
        Shown {
            name: index.name().to_string(),
            definition: whole.then(|| index.definition().clone()),
            stats: index.stats(),
        }
    }

    fn line(&self) -> String {
        format!(
            "{}  {} documents, {} passages of {} dimensions",
            self.name, self.stats.documents, self.stats.passages, self.stats.dimensions
        )
    }
}

#[derive(Serialize)]
struct Compacted {
    compacted: String,
    bytes_before: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

impl IndexCommand {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let catalog = context.catalog()?;
        match self {
            IndexCommand::Create { file, name } => {
                let mut definition = Definition::from_file(&file)?;
                if let Some(name) = name {
                    definition.name = name;
                }
                let index = catalog.create(definition)?;
                context.print(&Shown::new(&index, true), |shown| {
                    format!("created {}", shown.name)
                })
            }
            IndexCommand::List => {
                let mut all = Vec::new();
                for name in catalog.names_on_disk()? {
                    all.push(Shown::new(&*catalog.get(&name)?, false));
                }
                context.print(&all, |all| match all.as_slice() {
                    [] => "no indexes yet; create one with: gleaner index create FILE.toml".into(),
                    all => all.iter().map(Shown::line).collect::<Vec<_>>().join("\n"),
                })
            }
            IndexCommand::Show { index } => {
                let index = catalog.get(&index)?;
                context.print(&Shown::new(&index, true), |shown| {
                    let definition = toml::to_string(index.definition()).unwrap_or_default();
                    format!("{}\n\n{definition}", shown.line())
                })
            }
            IndexCommand::Compact { index } => {
                let index = catalog.get(&index)?;
                let before = index.disk_bytes();
                index.compact()?;
                let compacted = Compacted {
                    compacted: index.name().to_string(),
                    bytes_before: before,
                    bytes: index.disk_bytes(),
                };
                context.print(&compacted, |done| {
                    let mb = |bytes: u64| bytes as f64 / 1e6;
                    format!(
                        "compacted {}: {:.1} MB, was {:.1} MB",
                        done.compacted,
                        mb(done.bytes),
                        mb(done.bytes_before)
                    )
                })
            }
            IndexCommand::Delete { index } => {
                catalog.remove(&index)?;
                context.print(&Removed { removed: index }, |removed| {
                    format!("removed {}", removed.removed)
                })
            }
        }
    }
}
