//! Models that are kept as their trained layers alone, in int8, beside a base whose word
//! embeddings and tokenizer they share (`training/README.md` describes the files).
//!
//! ```text
//! trained.toml        name, format, kind, base, pooling, normalize, max_tokens, dimensions,
//!                     licence, [prompts], [calibration], [recommended], [files] with sha256, [[quality]]
//! layers.safetensors  the layers: matrices in int8 with a scale for each row
//! head.onnx           the graph of a trained pooling, where there is one
//! code.onnx           the network over the syntax of code, where there is one; such a model has no
//!                     layers of its own: `layers_of` names the folder beside it that has them
//! head.safetensors    of a reranker: BERT's pooler and classifier, in the same form; of a
//!                     classifier of tokens, the classifier; of a generator, the decoder
//! ```
//!
//! The tensors may lie there compressed, as `layers.safetensors.gz`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;

use super::code::CodeForm;
use super::files::{
    check_inside, invalid, read, read_json, read_packed, sha256_of, sha256_of_file, unreadable,
};
use super::graph::{CONFIG, WEIGHTS};
use super::manifest::{Calibration, ModelKind, Prompts, Quality, Recommended};
use super::pooling::Pooling;
use super::tokenizer::TOKENIZER;
use crate::error::{Error, Result};

/// What describes such a folder.
pub(crate) const TRAINED: &str = "trained.toml";
/// Its layers.
const LAYERS: &str = "layers.safetensors";
/// The graph of its pooling.
pub(crate) const HEAD: &str = "head.onnx";
/// The classifier of what is no encoder, and a reranker's pooler.
const CLASSIFIER: &str = "head.safetensors";
/// The format that is read here.
const FORMAT: &str = "gleaner-layers-1";
/// What the scale of a matrix is called, after its name.
const SCALE: &str = ".scale";

/// The description of a model that is kept so.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Trained {
    pub format: String,
    #[serde(default = "text_encoder")]
    pub kind: ModelKind,
    /// Name of the model whose embeddings it shares.
    pub base: String,
    #[serde(default = "cls")]
    pub pooling: Pooling,
    #[serde(default)]
    pub normalize: bool,
    pub max_tokens: usize,
    #[serde(default)]
    pub matryoshka: Vec<usize>,
    #[serde(default)]
    pub licence: Option<String>,
    #[serde(default)]
    pub prompts: Prompts,
    #[serde(default)]
    pub calibration: Calibration,
    #[serde(default)]
    pub recommended: Recommended,
    #[serde(default)]
    pub quality: Vec<Quality>,
    #[serde(default)]
    pub generator: Option<GeneratorForm>,
    /// Name of the folder beside this one whose layers it has, where it has none of its own.
    #[serde(default)]
    pub layers_of: Option<String>,
    /// How it reads code.
    #[serde(default)]
    pub code: Option<CodeForm>,
    files: BTreeMap<String, String>,
}

/// What a generator's weights alone do not say.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct GeneratorForm {
    /// Layers of its decoder.
    pub layers: usize,
    /// The encoder's first trained layer, which is told where the mention is.
    pub marked: usize,
    /// Token that an answer begins with, and the one that ends it.
    pub begin: String,
    pub end: String,
    /// Tokens before and behind a mention, and the spare ones of the base's vocabulary that they
    /// are.
    pub opening: [String; 2],
    pub closing: [String; 2],
    /// Tokens of a text's beginning that stay where the rest does not fit.
    pub beginning: usize,
}

impl GeneratorForm {
    /// Renames the spare tokens in the `tokenizer.json` of `folder`, which are special from then on;
    /// returns the ids of begin, end, opening and closing.
    ///
    /// # Errors
    /// InvalidModel for a tokenizer without these tokens; Operator when it cannot be written.
    pub(crate) fn put_marks(&self, folder: &Path) -> Result<[u32; 4]> {
        let mut tokenizer: serde_json::Value = read_json(folder, TOKENIZER)?;
        let lacking = |token: &str| {
            Error::from(invalid(TOKENIZER, "the base's vocabulary lacks a token").expected(token))
        };
        let mut ids = [0_u32; 4];
        for (at, [mark, spare]) in [(2, &self.opening), (3, &self.closing)] {
            let vocabulary = tokenizer.pointer_mut("/model/vocab");
            let vocabulary = vocabulary.and_then(serde_json::Value::as_object_mut);
            let vocabulary = vocabulary.ok_or_else(|| lacking(spare))?;
            let id = vocabulary.remove(spare).ok_or_else(|| lacking(spare))?;
            vocabulary.insert(mark.clone(), id.clone());
            let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
            ids[at] = number.ok_or_else(|| lacking(spare))?;
            let added = serde_json::json!({
                "id": id, "content": mark, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            });
            match tokenizer.get_mut("added_tokens") {
                Some(serde_json::Value::Array(tokens)) => {
                    tokens.push(added);
                    tokens.sort_by_key(|token| token["id"].as_u64());
                }
                _ => return Err(lacking(mark)),
            }
        }
        for (at, token) in [(0, &self.begin), (1, &self.end)] {
            let id = tokenizer.pointer("/model/vocab").and_then(|v| v.get(token));
            let id = id.and_then(serde_json::Value::as_u64);
            let id = id.and_then(|id| u32::try_from(id).ok());
            ids[at] = id.ok_or_else(|| lacking(token))?;
        }
        let bytes = serde_json::to_vec(&tokenizer)
            .map_err(|e| Error::Bug(format!("a tokenizer does not serialise: {e}")))?;
        fs::write(folder.join(TOKENIZER), bytes).map_err(|e| {
            Error::operator_from(format!("cannot write the model to {}", folder.display()), e)
        })?;
        Ok(ids)
    }
}

fn text_encoder() -> ModelKind {
    ModelKind::TextEncoder
}

/// What a classifier takes; an encoder says.
fn cls() -> Pooling {
    Pooling::Cls
}

impl Trained {
    /// Reads the description; the files are checked against it.
    ///
    /// # Errors
    /// InvalidModel naming the file that is missing or not what it should be.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let bytes = read(folder, TRAINED)?;
        let broken = |e: &dyn std::fmt::Display| {
            invalid(TRAINED, "this describes no trained layers").found(e)
        };
        let text = std::str::from_utf8(&bytes).map_err(|e| broken(&e))?;
        let trained: Trained = toml::from_str(text).map_err(|e| broken(&e.message()))?;
        if trained.format != FORMAT {
            return Err(
                invalid(TRAINED, "the layers are in a format that is not read here")
                    .found(&trained.format)
                    .expected(FORMAT)
                    .into(),
            );
        }
        let says = toml::from_str::<toml::Table>(text).unwrap_or_default();
        for key in ["pooling", "normalize"] {
            if trained.kind == ModelKind::TextEncoder && !says.contains_key(key) {
                return Err(broken(&format!("missing field `{key}`")).into());
            }
        }
        for (file, announced) in &trained.files {
            check_inside(file)?;
            let found = sha256_of_file(folder, file)?;
            if !found.eq_ignore_ascii_case(announced) {
                return Err(invalid(file, "the file is not the one that was trained")
                    .found(format!("sha256 {found}"))
                    .expected(format!("sha256 {announced}, by {TRAINED}"))
                    .into());
            }
        }
        Ok(trained)
    }
}

/// The folder with a model's layers: its own, or the one beside it that it names.
///
/// # Errors
/// InvalidModel for a name that leads elsewhere.
pub(crate) fn layers_folder(folder: &Path, trained: &Trained) -> Result<PathBuf> {
    let Some(name) = &trained.layers_of else {
        return Ok(folder.to_path_buf());
    };
    check_inside(name)?;
    // Of a folder that is given as `.`, too.
    let whole = folder
        .canonicalize()
        .map_err(|e| unreadable(folder, ".", e))?;
    Ok(whole.with_file_name(name))
}

/// Writes the whole model into the empty folder `into`: the base's files, with the trained
/// layers in the place of its own, and of what is no encoder with its classifier.
///
/// # Errors
/// InvalidModel for layers of another base, or that do not fit it; Operator when a file
/// cannot be written.
pub(crate) fn assemble(folder: &Path, kind: ModelKind, base: &Path, into: &Path) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::operator_from(format!("cannot write the model to {}", into.display()), e)
            .advice("check the permissions and the free space of the target's disk")
    };
    let weights = read(base, WEIGHTS)?;
    let layers = read_packed(folder, LAYERS)?;
    copy_all(base, into).map_err(failed)?;
    let unfit = |message: String| invalid(LAYERS, message);
    let (_, about) = SafeTensors::read_metadata(&layers)
        .map_err(|e| unfit("the layers cannot be read".to_owned()).found(e))?;
    let belongs = about
        .metadata()
        .as_ref()
        .and_then(|about| about.get("base_sha256").cloned())
        .unwrap_or_default();
    let found = sha256_of(&weights);
    if belongs != found {
        return Err(
            unfit("the layers belong to other weights than the base's".to_owned())
                .found(format!("sha256 {found} of {WEIGHTS}"))
                .expected(format!("sha256 {belongs}"))
                .into(),
        );
    }
    let trained = SafeTensors::deserialize(&layers)
        .map_err(|e| unfit("the layers cannot be read".to_owned()).found(e))?;
    let whole = SafeTensors::deserialize(&weights)
        .map_err(|e| invalid(WEIGHTS, "the base's weights cannot be read").found(e))?;
    let mut expanded = expand(&trained, LAYERS)?;
    if kind != ModelKind::TextEncoder {
        let head = read_packed(folder, CLASSIFIER)?;
        let head = SafeTensors::deserialize(&head)
            .map_err(|e| invalid(CLASSIFIER, "the classifier cannot be read").found(e))?;
        for (name, tensor) in expand(&head, CLASSIFIER)? {
            let plain = name.strip_prefix("bert.").unwrap_or(&name).to_owned();
            expanded.insert(plain, tensor);
        }
        if kind != ModelKind::Generator {
            describe_classifier(&expanded, kind, into)?;
        }
    }
    let mut all: Vec<(String, TensorView<'_>)> = Vec::new();
    let mut replaced: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, view) in whole.iter() {
        let plain = name.strip_prefix("bert.").unwrap_or(name);
        match expanded.remove(plain) {
            None => all.push((name.to_owned(), view)),
            Some(Expanded { values, .. }) => {
                if values.len() != view.shape().iter().product::<usize>() {
                    return Err(
                        unfit(format!("`{plain}` has another shape than the base's"))
                            .found(format!("{} values", values.len()))
                            .expected(format!("{:?}", view.shape()))
                            .into(),
                    );
                }
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                replaced.push((name.to_owned(), view.shape().to_vec(), bytes));
            }
        }
    }
    for (name, Expanded { shape, values }) in expanded {
        let own: &[&str] = match kind {
            ModelKind::TextEncoder => &[],
            ModelKind::Reranker | ModelKind::TokenClassifier => &["pooler.", "classifier."],
            ModelKind::Generator => &["decoder.", "cls.", "mention", "copied"],
        };
        if !own.iter().any(|start| name.starts_with(start)) {
            return Err(unfit(format!("the base has no `{name}`")).into());
        }
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        replaced.push((name, shape, bytes));
    }
    for (name, shape, bytes) in &replaced {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes)
            .map_err(|e| unfit(format!("`{name}` cannot be used")).found(e))?;
        all.push((name.clone(), view));
    }
    let bytes = safetensors::serialize(all, None::<HashMap<String, String>>)
        .map_err(|e| Error::Bug(format!("weights do not serialise: {e}")))?;
    fs::write(into.join(WEIGHTS), bytes).map_err(failed)
}

/// Says in the assembled `config.json` that there is a classifier, and how many labels it has.
fn describe_classifier(
    head: &BTreeMap<String, Expanded>,
    kind: ModelKind,
    into: &Path,
) -> Result<()> {
    let architecture = match kind {
        ModelKind::TokenClassifier => "BertForTokenClassification",
        _ => "BertForSequenceClassification",
    };
    let bias = head.get("classifier.bias").ok_or_else(|| {
        invalid(CLASSIFIER, "`classifier.bias` is missing").expected("a value for each label")
    })?;
    let mut config: serde_json::Map<String, serde_json::Value> = read_json(into, CONFIG)?;
    config.insert("architectures".into(), serde_json::json!([architecture]));
    config.insert("num_labels".into(), bias.values.len().into());
    // How long an input the base reads as an encoder is not how long one this reads.
    for file in ["modules.json", "sentence_bert_config.json"] {
        let _ = fs::remove_file(into.join(file));
    }
    let bytes = serde_json::to_vec_pretty(&config)
        .map_err(|e| Error::Bug(format!("a configuration does not serialise: {e}")))?;
    fs::write(into.join(CONFIG), bytes).map_err(|e| {
        Error::operator_from(format!("cannot write the model to {}", into.display()), e)
    })
}

/// A tensor in f32, row-major.
struct Expanded {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// The tensors of a file in f32, by name.
fn expand(stored: &SafeTensors<'_>, file: &str) -> Result<BTreeMap<String, Expanded>> {
    let wrong = |name: &str, message: &str| invalid(file, format!("`{name}` {message}"));
    let floats = |name: &str| -> Result<Vec<f32>> {
        let view = stored
            .tensor(name)
            .map_err(|e| wrong(name, "is missing").found(e))?;
        if view.dtype() != Dtype::F32 {
            return Err(wrong(name, "has another type")
                .found(format!("{:?}", view.dtype()))
                .expected("F32")
                .into());
        }
        let values = view.data().chunks_exact(4);
        Ok(values
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    };
    let mut out = BTreeMap::new();
    for (name, view) in stored.iter() {
        if name.ends_with(SCALE) {
            continue;
        }
        let values = match view.dtype() {
            Dtype::I8 => {
                let scales = floats(&format!("{name}{SCALE}"))?;
                let rows = scales.len().max(1);
                if view.shape().first() != Some(&rows) {
                    return Err(wrong(name, "has not one scale for each row")
                        .found(format!("{rows} scales"))
                        .expected(format!("{:?}", view.shape()))
                        .into());
                }
                let width = (view.data().len() / rows).max(1);
                let rows = view.data().chunks_exact(width).zip(scales);
                rows.flat_map(|(row, scale)| {
                    row.iter().map(move |&b| f32::from(b.cast_signed()) * scale)
                })
                .collect()
            }
            _ => floats(name)?,
        };
        let shape = view.shape().to_vec();
        out.insert(name.to_owned(), Expanded { shape, values });
    }
    Ok(out)
}

/// Copies a folder of files but for its weights, two levels deep, which is all that
/// published ones have.
fn copy_all(from: &Path, into: &Path) -> std::io::Result<()> {
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = into.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target)?;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if inner.path().is_file() {
                    fs::copy(inner.path(), target.join(inner.file_name()))?;
                }
            }
        } else if entry.file_name() != WEIGHTS {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The hash of a model's head.
pub(crate) fn head_hash(folder: &Path) -> Result<String> {
    match folder.join(HEAD).is_file() {
        true => sha256_of_file(folder, HEAD),
        false => Err(unreadable(
            folder,
            HEAD,
            std::io::ErrorKind::NotFound.into(),
        )),
    }
}

/// Name of the model whose embeddings a folder of trained layers alone shares; None for any
/// other folder, and where its description cannot be read.
pub fn layers_base(folder: &Path) -> Option<String> {
    let trained = Trained::read(folder).ok()?;
    check_inside(&trained.base).ok()?;
    Some(trained.base)
}
