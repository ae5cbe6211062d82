//! `gleaner index`: create, list, show, change, compact, reindex, attach and remove indexes.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::{Context, reindex};
use crate::error::Result;
use crate::index::{Defined, Definition, Index, Origin, ReindexRequest, Stats};

/// Create, list, show, change, compact, reindex, attach and remove indexes.
#[derive(Debug, Subcommand)]
pub(super) enum IndexCommand {
    /// Create an index from a definition, or put another definition of one that is there
    /// into force, where that needs nothing indexed anew.
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
    /// Make an index anew beside the one that is there: of another definition, or with
    /// another version of its model.
    Reindex {
        /// Name of the index.
        index: String,
        /// Name of the index to make, which must be free.
        #[arg(long, value_name = "NAME")]
        into: String,
        /// Its definition, in TOML [default: that of the index].
        #[arg(long, value_name = "FILE.toml")]
        definition: Option<PathBuf>,
        /// An alias of the index, or a free name, to stand for the new one at the end.
        #[arg(long)]
        alias: Option<String>,
    },
    /// Attach an index that is built elsewhere, from its snapshots in an object store; or look
    /// for a newer snapshot of one that is attached. It is read-only here.
    Attach {
        /// Name of the index here.
        name: String,
        /// The place of its snapshots, such as s3://BUCKET/PREFIX: what --location names where
        /// they are taken.
        url: String,
        /// Its name there [default: the name here].
        #[arg(long, value_name = "NAME")]
        index: Option<String>,
        /// Seconds between two looks of a server for a newer snapshot; 0 for none.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        follow: u64,
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

/// An index in the list, or why it cannot be opened.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Shown(Box<Shown>),
    Broken { name: String, problem: String },
}

impl Listed {
    fn line(&self) -> String {
        match self {
            Listed::Shown(shown) => shown.line(),
            Listed::Broken { name, problem } => format!("{name}  cannot be opened: {problem}"),
        }
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
                match catalog.define(definition)? {
                    Defined::Created(index) => context.print(&Shown::new(&index, true), |shown| {
                        format!("created {}", shown.name)
                    }),
                    Defined::Changed(index) => context.print(&Shown::new(&index, true), |shown| {
                        format!("changed the definition of {}", shown.name)
                    }),
                    // A script that makes and loads an index can be run again.
                    Defined::Same(index) => context.print(&Shown::new(&index, true), |shown| {
                        format!("{} is of this definition already", shown.name)
                    }),
                }
            }
            IndexCommand::List => {
                let mut all = Vec::new();
                for name in catalog.names_on_disk()? {
                    all.push(match catalog.get(&name) {
                        Ok(index) => Listed::Shown(Shown::new(&index, false).into()),
                        // The others are listed all the same.
                        Err(error) => Listed::Broken {
                            name,
                            problem: error.to_string(),
                        },
                    });
                }
                context.print(&all, |all| match all.as_slice() {
                    [] => "no indexes yet; create one with: gleaner index create FILE.toml".into(),
                    all => all.iter().map(Listed::line).collect::<Vec<_>>().join("\n"),
                })
            }
            IndexCommand::Show { index } => {
                let index = catalog.get(&index)?;
                context.print(&Shown::new(&index, true), |shown| {
                    let definition = index.definition().to_toml().unwrap_or_default();
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
            IndexCommand::Reindex {
                index,
                into,
                definition,
                alias,
            } => {
                let request = ReindexRequest {
                    into,
                    definition: definition
                        .as_deref()
                        .map(Definition::from_file)
                        .transpose()?,
                    alias,
                };
                reindex::run(context, &catalog, &index, request)
            }
            IndexCommand::Attach {
                name,
                url,
                index,
                follow,
            } => {
                let origin = Origin {
                    url,
                    index: index.unwrap_or(name.clone()),
                    follow_s: follow,
                };
                let looked = catalog.attach(&name, origin)?;
                context.print(&looked, |looked| {
                    let state = match looked.changed {
                        true => "answers from",
                        false => "is the newest already:",
                    };
                    format!(
                        "{} {state} {}, {} documents; {} objects downloaded, {:.1} MB",
                        looked.name,
                        looked.snapshot.id,
                        looked.snapshot.documents,
                        looked.new_objects,
                        looked.new_bytes as f64 / 1e6
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
