//! From a published folder, or another of ours, to a model folder of ours.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::compact::{self, TRAINED, Trained};
use super::cross_encoder::{CrossEncoder, ScoreOptions};
use super::encoder::TextEncoder;
use super::files::{invalid, read, sha256_of, sha256_of_file, unreadable};
use super::generator::{self, Generator};
use super::graph::{self, WEIGHTS};
use super::layout;
use super::manifest::{MANIFEST, Manifest, ModelKind, Prompts, Quality};
use super::pooling::Pooling;
use super::reference::{
    Parity, REFERENCE, check_names, check_pairs, check_reference, check_tokens,
};
use super::request::Task;
use super::runtime::RuntimeOptions;
use super::token_classifier::TokenClassifier;
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
    /// Whatever the published graph computes in.
    Published,
}

impl Precision {
    /// What is made of a folder where nobody says: int8 of a BERT's weights, and of
    /// everything else the graph as it is.
    pub fn of(source: &Path) -> Precision {
        if source.join(TRAINED).is_file() {
            return Precision::Int8;
        }
        let weights = !source.join(MANIFEST).is_file() && source.join(WEIGHTS).is_file();
        let graph = layout::read(source, false).is_ok_and(|found| found.graph != WEIGHTS);
        match weights && (!graph || graph::shape(source).is_ok()) {
            true => Precision::Int8,
            false if graph || source.join(MANIFEST).is_file() => Precision::Published,
            // Neither: preparing it says what is missing.
            false => Precision::Int8,
        }
    }
}

/// A model that was prepared.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Its description.
    pub manifest: Manifest,
    /// How close it comes to the reference vectors of its source, where there are some.
    pub parity: Option<Parity>,
}

/// A file of a model.
enum Contents {
    Bytes(Vec<u8>),
    /// What lies there.
    Copy(PathBuf),
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
    /// Folder of the model whose embeddings a folder of trained layers alone shares.
    pub base: Option<PathBuf>,
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
            base: None,
            runtime: RuntimeOptions::default(),
        }
    }
}

/// Makes a self-contained model folder at `target`: of the weights of a BERT in
/// sentence-transformers' layout, of trained layers and the base they belong to, or of a
/// graph as it was published, by sentence-transformers, optimum or as a model folder of ours.
/// The result is the same from run to run. It is
/// written beside the target, run, and compared with the source's reference vectors where
/// there are some; then it is renamed, so the target is whole or not there. An older model
/// at the target is replaced.
///
/// # Errors
/// InvalidModel naming the source's file that is missing or broken, where the model does not
/// make its reference vectors, or when the target holds something that is no model; Operator
/// when writing or ONNX Runtime fails.
pub fn prepare(source: &Path, target: &Path, options: &PrepareOptions) -> Result<Prepared> {
    // Building takes minutes.
    check_target(target)?;
    let layers = source.join(TRAINED).is_file();
    let (manifest, mut contents) = match options.precision {
        Precision::Published => published(source)?,
        _ if layers => of_layers(source, target, options)?,
        Precision::Fp32 | Precision::Int8 => of_weights(source, options)?,
    };
    let mut licences = licence_files(source)?;
    if let Some(base) = options.base.as_deref().filter(|_| layers) {
        // What of it is shared stays under its licence.
        let theirs = licence_files(base)?;
        licences.extend(
            theirs
                .into_iter()
                .filter(|(name, _)| !source.join(name).is_file()),
        );
    }
    let manifest = Manifest {
        name: options.name.clone(),
        licence: options
            .licence
            .clone()
            .or(manifest.licence)
            .or_else(|| licence(&licences)),
        origin: options.origin.clone().or(manifest.origin),
        quality: match options.quality.is_empty() {
            true => manifest.quality,
            false => options.quality.clone(),
        },
        ..manifest
    };
    let description = toml::to_string_pretty(&manifest)
        .map_err(|e| Error::Bug(format!("a manifest cannot be written as TOML: {e}")))?;
    contents.push((MANIFEST.to_owned(), Contents::Bytes(description.into())));
    let licences = licences
        .into_iter()
        .map(|(name, bytes)| (name, Contents::Bytes(bytes)));
    contents.extend(licences);
    if source.join(REFERENCE).is_file() {
        contents.push((REFERENCE.to_owned(), Contents::Copy(source.join(REFERENCE))));
    }
    let mut parity = None;
    write(target, &contents, |folder| {
        parity = match manifest.kind {
            ModelKind::TextEncoder => {
                let encoder = TextEncoder::open(folder, &options.runtime)?;
                encoder.encode(Task::Document, &["whether it runs at all"])?;
                check_reference(folder, &encoder)?
            }
            ModelKind::Reranker => {
                let reranker = CrossEncoder::open(folder, &options.runtime)?;
                reranker.score("whether it", &["runs at all"], &ScoreOptions::default())?;
                check_pairs(folder, &reranker)?
            }
            ModelKind::Generator => {
                let generator = Generator::open(folder, &options.runtime)?;
                generator.read(&[generator.window("whether it", " runs ", "at all", 64)?])?;
                check_names(folder, &generator)?
            }
            ModelKind::TokenClassifier => {
                let classifier = TokenClassifier::open(folder, &options.runtime)?;
                classifier.classify(&[classifier.pair("whether it", "runs at all")?])?;
                check_tokens(folder, &classifier)?
            }
        };
        Ok(())
    })?;
    Ok(Prepared { manifest, parity })
}

/// What a graph of our own is built of.
fn of_weights(
    source: &Path,
    options: &PrepareOptions,
) -> Result<(Manifest, Vec<(String, Contents)>)> {
    let published = layout::read(source, false)?;
    let tokenizer = TextTokenizer::open(source)?;
    let (_, positions) = graph::shape(source)?;
    let max_tokens = published.max_tokens.min(positions);
    let purpose = purpose(&published);
    let built = match options.precision {
        Precision::Int8 => graph::integer(
            source,
            &tokenizer,
            purpose,
            max_tokens,
            &options.runtime,
            Some(EMBEDDINGS),
        )?,
        _ => graph::float(source, &tokenizer, purpose, Some(EMBEDDINGS))?,
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
    let manifest = Manifest {
        graph: GRAPH.to_owned(),
        max_tokens,
        dimensions: built.dimensions,
        files,
        ..published
    };
    let contents = contents
        .into_iter()
        .map(|(file, bytes)| (file, Contents::Bytes(bytes)))
        .collect();
    Ok((manifest, contents))
}

/// What the weights of a published folder are read for.
pub(crate) fn purpose(manifest: &Manifest) -> graph::Purpose {
    match manifest.kind {
        ModelKind::TextEncoder | ModelKind::Generator => graph::Purpose::Encoder,
        ModelKind::Reranker => graph::Purpose::CrossEncoder {
            labels: manifest.dimensions,
        },
        ModelKind::TokenClassifier => graph::Purpose::Tokens {
            labels: manifest.dimensions,
        },
    }
}

/// What a graph of our own is built of, where the layers alone are there.
fn of_layers(
    source: &Path,
    target: &Path,
    options: &PrepareOptions,
) -> Result<(Manifest, Vec<(String, Contents)>)> {
    let trained = Trained::read(source)?;
    let base = options.base.as_deref().ok_or_else(|| {
        invalid(
            TRAINED,
            "the layers need the model whose embeddings they share",
        )
        .found("no base")
        .expected(format!("the folder of {}", trained.base))
    })?;
    let (parent, name) = place(target)?;
    let whole = parent.join(format!(".{name}.{}.whole", std::process::id()));
    // Removed whatever comes of it.
    let _swept = Swept(&whole);
    let layers = compact::layers_folder(source, &trained)?;
    compact::assemble(&layers, trained.kind, base, &whole)?;
    if trained.kind == ModelKind::Generator {
        return of_generator(&whole, &trained);
    }
    let (mut manifest, mut contents) = of_weights(&whole, options)?;
    if trained.kind == ModelKind::TextEncoder {
        manifest.pooling = trained.pooling;
        manifest.normalize = trained.normalize;
    }
    manifest.calibration = trained.calibration;
    manifest.recommended = trained.recommended;
    manifest.max_tokens = manifest.max_tokens.min(trained.max_tokens.max(1));
    manifest.matryoshka = trained.matryoshka;
    manifest.prompts = trained.prompts;
    manifest.licence = trained.licence;
    manifest.quality = trained.quality;
    if trained.pooling == Pooling::MultiLayer {
        for (file, contents) in &mut contents {
            if let (GRAPH, Contents::Bytes(model)) = (file.as_str(), contents) {
                *model = graph::with_layers(model)?;
                manifest.files.insert(GRAPH.to_owned(), sha256_of(model));
            }
        }
    }
    if let Some(form) = trained.code {
        let hash = sha256_of_file(source, &form.graph)?;
        manifest.files.insert(form.graph.clone(), hash);
        let graph = Contents::Copy(source.join(&form.graph));
        contents.push((form.graph.clone(), graph));
        manifest.code = Some(form);
    }
    if trained.pooling.is_trained() {
        let hash = compact::head_hash(source)?;
        manifest.files.insert(compact::HEAD.to_owned(), hash);
        manifest.head = Some(compact::HEAD.to_owned());
        let head = Contents::Copy(source.join(compact::HEAD));
        contents.push((compact::HEAD.to_owned(), head));
    }
    Ok((manifest, contents))
}

/// The graphs of a generator whose weights lie together in a folder, which is changed.
fn of_generator(whole: &Path, trained: &Trained) -> Result<(Manifest, Vec<(String, Contents)>)> {
    let form = trained.generator.as_ref().ok_or_else(|| {
        invalid(TRAINED, "nothing says how the generator is made up").expected("[generator]")
    })?;
    let published = layout::read(whole, false)?;
    let (dimensions, positions) = graph::shape(whole)?;
    let [begin, end, opening, closing] = form.put_marks(whole)?;
    let marks = graph::Marks {
        opening,
        closing,
        layer: form.marked,
    };
    let tokenizer = TextTokenizer::open(whole)?;
    let built = graph::generator(whole, &tokenizer, form.layers, marks, EMBEDDINGS)?;
    let max_tokens = trained.max_tokens.clamp(1, positions);
    let config = serde_json::json!({
        "model_type": "gleaner-generator",
        "decoder_start_token_id": begin,
        "eos_token_id": end,
        "max_position_embeddings": max_tokens,
        "vocab_size": tokenizer.vocabulary(),
        "beginning_tokens": form.beginning,
    });
    let config = serde_json::to_vec_pretty(&config)
        .map_err(|e| Error::Bug(format!("a configuration does not serialise: {e}")))?;
    let contents = [
        (generator::ENCODER, built.encoder),
        (generator::DECODER, built.decoder),
        (generator::WITH_PAST, built.with_past),
        (EMBEDDINGS, built.external),
        (graph::CONFIG, config),
        (TOKENIZER, read(whole, TOKENIZER)?),
    ];
    let files = contents
        .iter()
        .map(|(file, bytes)| ((*file).to_owned(), sha256_of(bytes)))
        .collect();
    let manifest = Manifest {
        kind: ModelKind::Generator,
        graph: generator::ENCODER.to_owned(),
        pooling: Pooling::Cls,
        normalize: false,
        max_tokens,
        dimensions,
        files,
        licence: trained.licence.clone(),
        quality: trained.quality.clone(),
        prompts: Prompts::default(),
        ..published
    };
    let contents = contents
        .into_iter()
        .map(|(file, bytes)| (file.to_owned(), Contents::Bytes(bytes)))
        .collect();
    Ok((manifest, contents))
}

/// Removes a folder when dropped.
struct Swept<'a>(&'a Path);

impl Drop for Swept<'_> {
    fn drop(&mut self) {
        // What cannot be removed takes room and harms nobody.
        let _ = fs::remove_dir_all(self.0);
    }
}

/// The folder that a target lies in, and its name there.
fn place(target: &Path) -> Result<(PathBuf, String)> {
    let name = target
        .file_name()
        .ok_or_else(|| invalid("target", "the target has no name").found(target.display()))?
        .to_string_lossy()
        .into_owned();
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    Ok((parent, name))
}

/// The files of a model that has a graph.
fn published(source: &Path) -> Result<(Manifest, Vec<(String, Contents)>)> {
    let manifest = Manifest::read(source)?;
    let contents = manifest
        .files
        .keys()
        .map(|file| (file.clone(), Contents::Copy(source.join(file))))
        .collect();
    Ok((manifest, contents))
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

/// Refuses to replace what is not a model of ours.
fn check_target(target: &Path) -> Result<()> {
    if target.exists() && !target.join(MANIFEST).is_file() && !is_empty(target) {
        return Err(
            invalid("target", "the target holds something that is not a model")
                .found(target.display())
                .expected("a new folder, an empty one, or a model to replace")
                .into(),
        );
    }
    Ok(())
}

/// Writes a folder of files so that it is there whole and good, or not at all.
fn write(
    target: &Path,
    contents: &[(String, Contents)],
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::operator_from(format!("cannot write the model to {}", target.display()), e)
            .advice("check the permissions and the free space of the target's disk")
    };
    // Something else may have been put there meanwhile.
    check_target(target)?;
    let old = target.exists();
    let (parent, name) = place(target)?;
    fs::create_dir_all(&parent).map_err(failed)?;
    let process = std::process::id();
    let fresh = parent.join(format!(".{name}.{process}.new"));
    let stale = parent.join(format!(".{name}.{process}.old"));
    let lay_out = || -> std::io::Result<()> {
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        fs::create_dir(&fresh)?;
        for (file, contents) in contents {
            let path = fresh.join(file);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut out = fs::File::create(path)?;
            match contents {
                Contents::Bytes(bytes) => out.write_all(bytes)?,
                Contents::Copy(from) => {
                    std::io::copy(&mut fs::File::open(from)?, &mut out)?;
                }
            }
            out.sync_all()?;
        }
        Ok(())
    };
    let made = lay_out().map_err(failed).and_then(|()| check(&fresh));
    if let Err(error) = made {
        // Best effort: the error itself is what matters.
        let _ = fs::remove_dir_all(&fresh);
        return Err(error);
    }
    let put_in_place = || -> std::io::Result<()> {
        if old {
            fs::rename(target, &stale)?;
        }
        fs::rename(&fresh, target)?;
        if old {
            fs::remove_dir_all(&stale)?;
        }
        Ok(())
    };
    put_in_place().map_err(|e| {
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
