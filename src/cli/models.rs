//! `gleaner models`: list, add and check models.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::Context;
use crate::error::{Code, Error, Problem, Result};
use crate::model::{ModelSummary, Precision, PrepareOptions, Registry, Task, prepare};

/// List, add and check models.
#[derive(Debug, Subcommand)]
pub(super) enum Models {
    /// List the models in the configured folders.
    List,
    /// Make a model folder out of a published one (sentence-transformers layout).
    Add {
        /// The published folder.
        source: PathBuf,
        /// Name of the model here [default: the folder's name].
        #[arg(long)]
        name: Option<String>,
        /// Arithmetic of the model.
        #[arg(long, value_enum, default_value_t = Arithmetic::Int8)]
        precision: Arithmetic,
        /// Folder to put it in [default: the first configured folder].
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Licence of the weights [default: as the folder's licence file says].
        #[arg(long)]
        licence: Option<String>,
        /// Where the weights come from.
        #[arg(long)]
        origin: Option<String>,
    },
    /// Load a model, verify its files and encode a probe.
    Check {
        /// Name of the model.
        model: String,
    },
}

/// Arithmetic of a model.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Arithmetic {
    /// 8-bit integers with scales that do not depend on the batch.
    Int8,
    /// 32-bit floats.
    Fp32,
}

#[derive(Serialize)]
struct Checked {
    model: String,
    fingerprint: String,
    dimensions: usize,
    max_tokens: usize,
    encode_ms: f64,
}

impl Models {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let folders = &context.config.models.folders;
        let registry = || Registry::new(folders.clone(), context.config.models.runtime.clone());
        match self {
            Models::List => {
                let models = registry().list();
                context.print(&models, |models| {
                    if models.is_empty() {
                        let places: Vec<String> =
                            folders.iter().map(|f| f.display().to_string()).collect();
                        return format!("no models in {}", places.join(", "));
                    }
                    models.iter().map(line).collect::<Vec<_>>().join("\n")
                })
            }
            Models::Add {
                source,
                name,
                precision,
                into,
                licence,
                origin,
            } => {
                let name = name
                    .or_else(|| Some(source.file_name()?.to_str()?.to_lowercase()))
                    .ok_or_else(|| {
                        Problem::new(Code::InvalidModel, "the model needs a name")
                            .field("name")
                            .expected("--name NAME")
                    })?;
                let into = into
                    .or_else(|| folders.first().cloned())
                    .ok_or_else(|| Error::operator("no folder for models is configured"))?;
                let target = into.join(&name);
                let manifest = prepare(
                    &source,
                    &target,
                    &PrepareOptions {
                        name,
                        precision: match precision {
                            Arithmetic::Int8 => Precision::Int8,
                            Arithmetic::Fp32 => Precision::Fp32,
                        },
                        licence,
                        origin,
                        quality: Vec::new(),
                        runtime: context.config.models.runtime.clone(),
                    },
                )?;
                context.print(&manifest, |manifest| {
                    format!("added {} to {}", manifest.name, target.display())
                })
            }
            Models::Check { model } => {
                let encoder = registry().open(&model)?;
                encoder.encode(Task::Query, &["a first probe warms up"])?;
                let started = std::time::Instant::now();
                encoder.encode(Task::Query, &["how do plants make sugar out of light?"])?;
                let checked = Checked {
                    fingerprint: encoder.fingerprint().to_string(),
                    dimensions: encoder.dimensions(),
                    max_tokens: encoder.max_tokens(),
                    encode_ms: started.elapsed().as_secs_f64() * 1e3,
                    model,
                };
                context.print(&checked, |c| {
                    format!(
                        "{}: good; {} dimensions, up to {} tokens, a query takes {:.1} ms",
                        c.model, c.dimensions, c.max_tokens, c.encode_ms
                    )
                })
            }
        }
    }
}

fn line(model: &ModelSummary) -> String {
    let mut line = model.name.clone();
    if let Some(dimensions) = model.dimensions {
        line += &format!("  {dimensions} dimensions");
    }
    if let Some(tokens) = model.max_tokens {
        line += &format!(", up to {tokens} tokens");
    }
    if let Some(licence) = &model.licence {
        line += &format!(", {licence}");
    }
    if let Some(problem) = &model.problem {
        line += &format!("  cannot be used: {problem}");
    }
    format!("{line}  ({})", model.folder.display())
}
