//! From a published folder to a model folder of ours.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::files::{invalid, read, sha256_of, unreadable};
use super::graph;
use super::layout;
use super::manifest::{MANIFEST, Manifest, Quality};
use super::runtime::RuntimeOptions;
use super::tokenizer::{TOKENIZER, TextTokenizer};
use crate::error::{Error, Result};

/// The graph with all weights but the word embeddings.
const GRAPH: &str = "model.onnx";
/// The word embeddings: fine-tuned models that keep them share this file.
const EMBEDDINGS: &str = "word_embeddings.bin";

/// In what numbers a prepared model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// int8 weights and embeddings, u8 activations of fixed scale: about twice as fast
    /// and a quarter of the size.
    Int8,
    /// fp32, the published weights as they are.
    Fp32,
}

/// What to prepare.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// Name of the prepared model.
    pub name: String,
    /// Numbers it computes in.
    pub precision: Precision,
    /// Licence of the weights; taken from the source's licence file when absent and that
    /// file is a well-known one.
    pub licence: Option<String>,
    /// Where the weights come from.
    pub origin: Option<String>,
    /// How well it does.
    pub quality: Vec<Quality>,
    /// ONNX Runtime, which an int8 model is calibrated with.
    pub runtime: RuntimeOptions,
}

impl PrepareOptions {
    /// Options with everything else at its default.
    pub fn new(name: impl Into<String>, precision: Precision) -> Self {
        PrepareOptions {
            name: name.into(),
            precision,
            licence: None,
            origin: None,
            quality: Vec::new(),
            runtime: RuntimeOptions::default(),
        }
    }
}

/// Makes a self-contained model folder at `target` from a sentence-transformers folder
/// with the weights of a BERT. The result is the same from run to run. It is written
/// beside the target and renamed, so the target is whole or not there; an older model at
/// the target is replaced.
///
/// # Errors
/// InvalidModel naming the source's file that is missing or broken, or when the target
/// holds something that is no model; Operator when writing or ONNX Runtime fails.
pub fn prepare(source: &Path, target: &Path, options: &PrepareOptions) -> Result<Manifest> {
    let published = layout::read(source, false)?;
    let tokenizer = TextTokenizer::open(source)?;
    let (_, positions) = graph::shape(source)?;
    let max_tokens = published.max_tokens.min(positions);
    let built = match options.precision {
        Precision::Fp32 => graph::float(source, &tokenizer, Some(EMBEDDINGS))?,
        Precision::Int8 => graph::integer(
            source,
            &tokenizer,
            max_tokens,
            &options.runtime,
            Some(EMBEDDINGS),
        )?,
    };
    let mut contents = vec![
        (GRAPH.to_owned(), built.model),
        (TOKENIZER.to_owned(), read(source, TOKENIZER)?),
    ];
    if let Some(external) = built.external {
        contents.push((EMBEDDINGS.to_owned(), external));
    }
    let files: BTreeMap<String, String> = contents
        .iter()
        .map(|(file, bytes)| (file.clone(), sha256_of(bytes)))
        .collect();
    let licences = licence_files(source)?;
    let manifest = Manifest {
        name: options.name.clone(),
        graph: GRAPH.to_owned(),
        max_tokens,
        dimensions: built.dimensions,
        licence: options.licence.clone().or_else(|| licence(&licences)),
        origin: options.origin.clone(),
        files,
        quality: options.quality.clone(),
        ..published
    };
    let description = toml::to_string_pretty(&manifest)
        .map_err(|e| Error::Bug(format!("a manifest cannot be written as TOML: {e}")))?;
    contents.push((MANIFEST.to_owned(), description.into_bytes()));
    contents.extend(licences);
    write(target, &contents)?;
    Ok(manifest)
}

/// Licence and notice files at the top of the source, sorted by name.
fn licence_files(source: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let entries = fs::read_dir(source).map_err(|e| unreadable(source, ".", e))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            let upper = name.to_uppercase();
            ["LICENSE", "LICENCE", "NOTICE", "COPYING"]
                .iter()
                .any(|start| upper.starts_with(start))
        })
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| read(source, &name).map(|bytes| (name, bytes)))
        .collect()
}

/// The identifier of a well-known licence text.
fn licence(files: &[(String, Vec<u8>)]) -> Option<String> {
    files.iter().find_map(|(_, bytes)| {
        let text = String::from_utf8_lossy(bytes);
        let start: String = text.chars().take(400).collect();
        let known = [
            ("Apache License", "Version 2.0", "Apache-2.0"),
            ("MIT License", "Permission is hereby granted", "MIT"),
        ];
        known
            .iter()
            .find(|(title, line, _)| start.contains(title) && start.contains(line))
            .map(|(_, _, identifier)| (*identifier).to_owned())
    })
}

/// Writes a folder of files so that it is there whole or not at all.
fn write(target: &Path, contents: &[(String, Vec<u8>)]) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::operator_from(format!("cannot write the model to {}", target.display()), e)
            .advice("check the permissions and the free space of the target's disk")
    };
    let old = target.exists();
    if old && !target.join(MANIFEST).is_file() && !is_empty(target) {
        return Err(
            invalid("target", "the target holds something that is not a model")
                .found(target.display())
                .expected("a new folder, an empty one, or a model to replace")
                .into(),
        );
    }
    let name = target
        .file_name()
        .ok_or_else(|| invalid("target", "the target has no name").found(target.display()))?
        .to_string_lossy();
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(failed)?;
    let process = std::process::id();
    let fresh = parent.join(format!(".{name}.{process}.new"));
    let stale = parent.join(format!(".{name}.{process}.old"));
    let attempt = || -> std::io::Result<()> {
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        fs::create_dir(&fresh)?;
        for (file, bytes) in contents {
            let mut out = fs::File::create(fresh.join(file))?;
            out.write_all(bytes)?;
            out.sync_all()?;
        }
        if old {
            fs::rename(target, &stale)?;
        }
        fs::rename(&fresh, target)?;
        if old {
            fs::remove_dir_all(&stale)?;
        }
        Ok(())
    };
    attempt().map_err(|e| {
        // Best effort: the error itself is what matters.
        let _ = fs::remove_dir_all(&fresh);
        if old && !target.exists() {
            let _ = fs::rename(&stale, target);
        }
        failed(e)
    })
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}
