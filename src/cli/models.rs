//! `gleaner models`: list, add, check, measure and remove models.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::{Context, speed};
use crate::config::cache_folder;
use crate::error::{Code, Error, Problem, Result};
use crate::model::{
    MANIFEST, Manifest, ModelKind, ModelSummary, Parity, Precision, PrepareOptions, Registry,
    ScoreOptions, Task, check_names, check_pairs, check_reference, check_tokens, layers_base,
    prepare,
};

/// List, add, check, measure and remove models.
#[derive(Debug, Subcommand)]
pub(super) enum Models {
    /// List the models in the configured folders.
    List,
    /// Make a model folder out of a published one (sentence-transformers or optimum layout),
    /// or out of another of ours; refused where it does not make its reference vectors.
    Add {
        /// The published folder.
        source: PathBuf,
        /// Name of the model here [default: the folder's name].
        #[arg(long)]
        name: Option<String>,
        /// Arithmetic of the model [default: int8 of a BERT's weights, published of a graph].
        #[arg(long, value_enum)]
        precision: Option<Arithmetic>,
        /// Folder to put it in [default: the first configured folder].
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Folder of the model whose embeddings a folder of trained layers shares [default: as
        /// set-up has put it into the cache folder].
        #[arg(long, value_name = "DIR")]
        base: Option<PathBuf>,
        /// Licence of the weights [default: as the folder's licence file says].
        #[arg(long)]
        licence: Option<String>,
        /// Where the weights come from.
        #[arg(long)]
        origin: Option<String>,
        /// Take the place of a model of that name. An index that was filled with the old one
        /// is refused until it is filled anew, unless the vectors are the same.
        #[arg(long)]
        replace: bool,
    },
    /// Load a model, verify its files, encode a probe, and compare with its reference
    /// vectors where it has some.
    Check {
        /// Name of the model.
        model: String,
        /// One of its experts.
        #[arg(long)]
        expert: Option<String>,
    },
    /// Measure how fast a model is on this machine.
    Bench {
        /// Name of the model.
        model: String,
        /// One of its experts.
        #[arg(long)]
        expert: Option<String>,
        /// How long to measure queries, and then texts.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Remove a model; refused while an index uses it.
    Remove {
        /// Name of the model.
        model: String,
        /// Even if an index uses it: it then answers by words alone.
        #[arg(long)]
        force: bool,
    },
}

/// Arithmetic of a model.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Arithmetic {
    /// 8-bit integers with scales that do not depend on the batch.
    Int8,
    /// 32-bit floats.
    Fp32,
    /// The published graph as it is.
    Published,
}

#[derive(Serialize)]
struct Added {
    #[serde(flatten)]
    manifest: Manifest,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Parity>,
}

#[derive(Serialize)]
struct Checked {
    model: String,
    kind: ModelKind,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
    max_tokens: usize,
    /// A query, or a query with one passage.
    encode_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Parity>,
}

#[derive(Serialize)]
struct Removed {
    removed: String,
    folder: PathBuf,
}

impl Models {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let folders = &context.config.models.folders;
        let runtime = &context.config.models.runtime;
        let registry = Registry::new(folders.clone(), runtime.clone());
        match self {
            Models::List => {
                let models = registry.list();
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
                base,
                licence,
                origin,
                replace,
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
                let target = into.join(model_name(&name)?);
                if !replace && target.join(MANIFEST).is_file() {
                    return Err(Problem::new(
                        Code::InvalidModel,
                        "there is a model of this name already",
                    )
                    .field("name")
                    .found(target.display())
                    .expected("another name (--name), or --replace")
                    .into());
                }
                let prepared = prepare(
                    &source,
                    &target,
                    &PrepareOptions {
                        name,
                        precision: match precision {
                            Some(Arithmetic::Int8) => Precision::Int8,
                            Some(Arithmetic::Fp32) => Precision::Fp32,
                            Some(Arithmetic::Published) => Precision::Published,
                            None => Precision::of(&source),
                        },
                        licence,
                        origin,
                        base: base.or_else(|| cached_base(&source)),
                        quality: Vec::new(),
                        runtime: runtime.clone(),
                    },
                )?;
                let added = Added {
                    manifest: prepared.manifest,
                    reference: prepared.parity,
                };
                context.print(&added, |added| {
                    format!(
                        "added {} to {}{}",
                        added.manifest.name,
                        target.display(),
                        compared(added.reference.as_ref())
                    )
                })
            }
            Models::Check { model, expert } => {
                let checked = check(&registry, model, expert.as_deref())?;
                context.print(&checked, |c| {
                    let does = match c.dimensions {
                        Some(dimensions) => format!("{dimensions} dimensions"),
                        None => c.kind.as_str().to_owned(),
                    };
                    let what = match c.kind {
                        ModelKind::TextEncoder => "a query",
                        ModelKind::Reranker | ModelKind::TokenClassifier => "a pair",
                        ModelKind::Generator => "reading an input",
                    };
                    format!(
                        "{}: good; {does}, up to {} tokens, {what} takes {:.1} ms{}",
                        c.model,
                        c.max_tokens,
                        c.encode_ms,
                        compared(c.reference.as_ref())
                    )
                })
            }
            Models::Bench {
                model,
                expert,
                seconds,
            } => speed::bench(context, model, expert.as_deref(), seconds),
            Models::Remove { model, force } => {
                let folder = registry.folder(&model)?;
                if !force {
                    refuse_if_used(context, &registry, &model, &folder)?;
                }
                remove(&folder)?;
                let removed = Removed {
                    removed: model,
                    folder,
                };
                context.print(&removed, |removed| {
                    format!(
                        "removed {} from {}",
                        removed.removed,
                        removed.folder.display()
                    )
                })
            }
        }
    }
}

fn check(registry: &Registry, model: String, expert: Option<&str>) -> Result<Checked> {
    let folder = registry.folder(&model)?;
    match kind_of(registry, &model)? {
        ModelKind::Reranker if expert.is_none() => return check_reranker(registry, &folder, model),
        ModelKind::TokenClassifier if expert.is_none() => {
            return check_classifier(registry, &folder, model);
        }
        ModelKind::Generator if expert.is_none() => {
            return check_generator(registry, &folder, model);
        }
        _ => {}
    }
    let encoder = registry.open_expert(&model, expert)?;
    encoder.encode(Task::Query, &["a first probe warms up"])?;
    let longest = "a ".repeat(encoder.max_tokens());
    let read = encoder.encode(Task::Document, &[longest]);
    read.map_err(|error| too_long(encoder.max_tokens(), &error))?;
    let started = Instant::now();
    encoder.encode(Task::Query, &["how do plants make sugar out of light?"])?;
    let encode_ms = started.elapsed().as_secs_f64() * 1e3;
    // The reference is the model's own, not an expert's.
    let reference = match expert {
        None => check_reference(&folder, &encoder)?,
        Some(_) => None,
    };
    Ok(Checked {
        fingerprint: encoder.fingerprint().to_string(),
        kind: ModelKind::TextEncoder,
        dimensions: Some(encoder.dimensions()),
        max_tokens: encoder.max_tokens(),
        encode_ms,
        reference,
        model,
    })
}

/// What a model does; an encoder where its folder does not say, which opening it will.
pub(super) fn kind_of(registry: &Registry, model: &str) -> Result<ModelKind> {
    let folder = registry.folder(model)?;
    let listed = registry.list().into_iter().find(|m| m.folder == folder);
    let kind = listed.and_then(|model| model.kind);
    Ok(kind.unwrap_or(ModelKind::TextEncoder))
}

/// What a model that fails on its longest text has wrong: its positions end before.
fn too_long(max_tokens: usize, error: &Error) -> Error {
    tracing::warn!(%error, "the longest text cannot be read");
    let message = "the model does not read texts as long as its description says";
    Problem::new(Code::InvalidModel, message)
        .field("max_tokens")
        .found(max_tokens)
        .expected("as many tokens as its graph has positions for")
        .into()
}

fn check_reranker(registry: &Registry, folder: &Path, model: String) -> Result<Checked> {
    let reranker = registry.open_reranker(&model)?;
    let options = ScoreOptions::default();
    reranker.score("a first probe", &["warms up"], &options)?;
    let longest = "a ".repeat(reranker.max_tokens());
    let read = reranker.score("a first probe", &[longest], &options);
    read.map_err(|error| too_long(reranker.max_tokens(), &error))?;
    let started = Instant::now();
    reranker.score(
        "how do plants make sugar out of light?",
        &["Plants make sugar out of light, water and the carbon dioxide of the air."],
        &options,
    )?;
    Ok(Checked {
        encode_ms: started.elapsed().as_secs_f64() * 1e3,
        kind: ModelKind::Reranker,
        fingerprint: reranker.fingerprint().to_string(),
        dimensions: None,
        max_tokens: reranker.max_tokens(),
        reference: check_pairs(folder, &reranker)?,
        model,
    })
}

fn check_classifier(registry: &Registry, folder: &Path, model: String) -> Result<Checked> {
    let classifier = registry.open_token_classifier(&model)?;
    classifier.classify(&[classifier.pair("a first probe", "warms up")?])?;
    let longest = "a ".repeat(classifier.max_tokens());
    let read = classifier.classify(&[classifier.pair("a first probe", &longest)?]);
    read.map_err(|error| too_long(classifier.max_tokens(), &error))?;
    let started = Instant::now();
    let pair = classifier.pair("which singer is the oldest", "singer: name, age, country")?;
    classifier.classify(&[pair])?;
    Ok(Checked {
        encode_ms: started.elapsed().as_secs_f64() * 1e3,
        kind: ModelKind::TokenClassifier,
        fingerprint: classifier.fingerprint().to_string(),
        dimensions: None,
        max_tokens: classifier.max_tokens(),
        reference: check_tokens(folder, &classifier)?,
        model,
    })
}

fn check_generator(registry: &Registry, folder: &Path, model: String) -> Result<Checked> {
    let generator = registry.open_generator(&model)?;
    let longest = "a ".repeat(generator.max_tokens());
    let read = generator.window(&longest, " a ", &longest, generator.max_tokens())?;
    let run = generator.read(&[read]).and_then(|mut run| run.start());
    run.map_err(|error| too_long(generator.max_tokens(), &error))?;
    let started = Instant::now();
    let read = generator.window("plants make", " sugar ", "out of light", 64)?;
    generator.read(&[read])?.start()?;
    Ok(Checked {
        encode_ms: started.elapsed().as_secs_f64() * 1e3,
        kind: ModelKind::Generator,
        fingerprint: generator.tokenizer_sha256().to_owned(),
        dimensions: None,
        max_tokens: generator.max_tokens(),
        reference: check_names(folder, &generator)?,
        model,
    })
}

/// Refuses where an index needs the model, or may: one that cannot be opened does not say.
fn refuse_if_used(
    context: &Context,
    registry: &Registry,
    model: &str,
    folder: &Path,
) -> Result<()> {
    let catalog = context.catalog()?;
    for name in catalog.names_on_disk()? {
        let index = catalog.get(&name)?;
        let definition = index.definition();
        let embedding = definition.embedding.as_ref();
        let encoder = embedding.and_then(|e| e.model.as_deref());
        let rerank = definition.search.rerank.as_ref();
        let reranker = rerank.and_then(|r| r.model.as_deref());
        // The same model may go by the name of its folder and of its manifest.
        let same = |used: &str| used == model || registry.folder(used).is_ok_and(|f| f == folder);
        if encoder.into_iter().chain(reranker).any(same) {
            return Err(
                Problem::new(Code::InvalidRequest, "an index uses this model")
                    .field("model")
                    .found(format!("{model}, used by index {name}"))
                    .expected("a model that no index uses, or --force")
                    .into(),
            );
        }
    }
    Ok(())
}

/// Removes a model's folder, which at no time is there in part under its name.
fn remove(folder: &Path) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::operator_from(format!("cannot remove {}", folder.display()), e)
            .advice("check the permissions of the model folder")
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let aside = folder.with_file_name(format!(".{name}.{}.removing", std::process::id()));
    std::fs::rename(folder, &aside).map_err(failed)?;
    std::fs::remove_dir_all(&aside).map_err(failed)
}

fn compared(parity: Option<&Parity>) -> String {
    parity.map_or_else(String::new, |parity| {
        format!(
            "; {:.5} or more alike with its {} references",
            parity.least_cosine, parity.texts
        )
    })
}

fn line(model: &ModelSummary) -> String {
    let mut line = model.name.clone();
    if let Some(kind) = model.kind.filter(|kind| *kind != ModelKind::TextEncoder) {
        line += &format!("  {}", kind.as_str());
    }
    if let Some(dimensions) = model.dimensions {
        line += &format!("  {dimensions} dimensions");
    }
    if !model.matryoshka.is_empty() {
        let shorter: Vec<String> = model.matryoshka.iter().map(usize::to_string).collect();
        line += &format!(" (or {})", shorter.join(", "));
    }
    if let Some(tokens) = model.max_tokens {
        line += &format!(", up to {tokens} tokens");
    }
    if !model.experts.is_empty() {
        line += &format!(", experts {}", model.experts.join(", "));
    }
    if let Some(licence) = &model.licence {
        line += &format!(", {licence}");
    }
    if let Some(problem) = &model.problem {
        line += &format!("  cannot be used: {problem}");
    }
    format!("{line}  ({})", model.folder.display())
}

/// Longest name of a model, in bytes.
const NAME_BYTES: usize = 100;

/// A name that is a folder of its own on every system, and can be written in a definition.
fn model_name(name: &str) -> Result<&str> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty()
        || name.len() > NAME_BYTES
        || name.starts_with('.')
        || !name.chars().all(good)
    {
        return Err(
            Problem::new(Code::InvalidModel, "a model cannot have this name")
                .field("name")
                .found(name)
                .expected(format!(
                    "letters, digits, `-`, `_` and `.`, not first, at most {NAME_BYTES}"
                ))
                .into(),
        );
    }
    Ok(name)
}

/// Where set-up has put the model that trained layers belong to.
fn cached_base(source: &Path) -> Option<PathBuf> {
    let name = layers_base(source)?;
    let folder = cache_folder()?.join("sources").join(name);
    folder.is_dir().then_some(folder)
}
