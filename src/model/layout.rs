//! Published folders as they are: sentence-transformers' and optimum's layouts, of encoders
//! and of cross-encoders (told apart by `architectures` in `config.json`).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::files::{invalid, read_json, read_json_if_there, sha256_of_file, unreadable};
use super::graph::{self, CONFIG, WEIGHTS};
use super::manifest::{Calibration, Manifest, ModelKind, Prompts, Recommended};
use super::pooling::Pooling;
use super::request::LongTexts;
use super::tokenizer::TOKENIZER;
use crate::error::Result;

const MODULES: &str = "modules.json";
const PROMPTS: &str = "config_sentence_transformers.json";

/// Where exporters put the graph, best known first.
const GRAPHS: [&str; 4] = [
    "onnx/model.onnx",
    "model.onnx",
    "onnx/encoder_model.onnx",
    "encoder_model.onnx",
];
/// Longest input where nothing says how long it may be.
const MAX_TOKENS: usize = 512;

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TransformerConfig {
    max_seq_length: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PromptsConfig {
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ModelConfig {
    hidden_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    model_type: Option<String>,
    architectures: Vec<String>,
    num_labels: Option<usize>,
    id2label: Option<BTreeMap<String, serde_json::Value>>,
}

/// What `tokenizer_config.json` says of the longest input; some write 1e30 for none.
#[derive(Deserialize, Default)]
#[serde(default)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
}

/// What `modules.json` and the files it names say.
struct Pipeline {
    pooling: Pooling,
    pool_prompt: bool,
    normalize: bool,
    max_tokens: Option<usize>,
    dimensions: Option<usize>,
}

/// Describes a published folder; without `hashes`, the files are listed and not read.
///
/// # Errors
/// InvalidModel naming the file that is missing, broken, or asks for something that is
/// not supported.
pub(crate) fn read(folder: &Path, hashes: bool) -> Result<Manifest> {
    if !folder.is_dir() {
        return Err(invalid("", "the model folder does not exist")
            .field("folder")
            .found(folder.display())
            .expected("a folder with model.toml, or one as sentence-transformers saves it")
            .into());
    }
    let config: ModelConfig = read_json_if_there(folder, CONFIG)?.unwrap_or_default();
    if config.is_classifier() {
        return classifier(folder, &config, ModelKind::Reranker, hashes);
    }
    if config.is("ForTokenClassification") {
        return classifier(folder, &config, ModelKind::TokenClassifier, hashes);
    }
    let pipeline = pipeline(folder)?;
    let (graph, files) = files(folder, hashes)?;
    let mut announced = (config.hidden_size, positions(&config));
    if graph == WEIGHTS {
        let (hidden, positions) = graph::shape(folder)?;
        announced = (Some(hidden), Some(positions));
    }
    let dimensions = announced.0.or(pipeline.dimensions).ok_or_else(|| {
        invalid(CONFIG, "nothing says how long the vectors are")
            .found("nothing")
            .expected("`hidden_size`")
    })?;
    let mut max_tokens = pipeline.max_tokens.unwrap_or(MAX_TOKENS);
    if let Some(positions) = announced.1 {
        max_tokens = max_tokens.min(positions);
    }
    Ok(Manifest {
        name: name(folder)?,
        kind: ModelKind::TextEncoder,
        graph: graph.to_owned(),
        head: None,
        code: None,
        pooling: pipeline.pooling,
        pool_prompt: pipeline.pool_prompt,
        normalize: pipeline.normalize,
        max_tokens: max_tokens.max(1),
        long_texts: LongTexts::Truncate,
        dimensions,
        matryoshka: Vec::new(),
        calibration: Calibration::default(),
        recommended: Recommended::default(),
        licence: None,
        origin: None,
        prompts: prompts(folder)?,
        experts: BTreeMap::new(),
        files,
        quality: Vec::new(),
    })
}

/// Describes a cross-encoder as sentence-transformers' CrossEncoder, transformers or optimum
/// save it; or a classifier of tokens as transformers saves it.
fn classifier(
    folder: &Path,
    config: &ModelConfig,
    kind: ModelKind,
    hashes: bool,
) -> Result<Manifest> {
    let labels = config
        .num_labels
        .or_else(|| config.id2label.as_ref().map(BTreeMap::len));
    // What transformers takes where nothing is said.
    let labels = labels.unwrap_or(2);
    if kind == ModelKind::Reranker && !(1..=2).contains(&labels) {
        return Err(
            invalid(CONFIG, "a classifier of several classes is no reranker")
                .found(format!("{labels} labels"))
                .expected("1 label, or 2 of which the second is relevant")
                .into(),
        );
    }
    let (graph, files) = files(folder, hashes)?;
    let tokenizer: TokenizerConfig =
        read_json_if_there(folder, "tokenizer_config.json")?.unwrap_or_default();
    let announced = tokenizer.model_max_length.filter(|&length| length >= 1.0);
    let mut max_tokens = max_tokens(folder, "")?
        .or_else(|| announced.map(|length| length.min(MAX_TOKENS as f64) as usize))
        .unwrap_or(MAX_TOKENS);
    let positions = match graph == WEIGHTS {
        true => Some(graph::shape(folder)?.1),
        false => positions(config),
    };
    if let Some(positions) = positions {
        max_tokens = max_tokens.min(positions);
    }
    Ok(Manifest {
        name: name(folder)?,
        kind,
        graph: graph.to_owned(),
        head: None,
        code: None,
        pooling: Pooling::Cls,
        pool_prompt: true,
        normalize: false,
        max_tokens,
        long_texts: LongTexts::Truncate,
        dimensions: labels,
        matryoshka: Vec::new(),
        calibration: Calibration::default(),
        recommended: Recommended::default(),
        licence: None,
        origin: None,
        prompts: Prompts::default(),
        experts: BTreeMap::new(),
        files,
        quality: Vec::new(),
    })
}

impl ModelConfig {
    fn is_classifier(&self) -> bool {
        self.is("ForSequenceClassification")
    }

    fn is(&self, task: &str) -> bool {
        let mut names = self.architectures.iter();
        names.any(|name| name.ends_with(task))
    }
}

/// The graph of a published folder, and its files with their hashes; without `hashes` the
/// files are not read.
fn files(folder: &Path, hashes: bool) -> Result<(&'static str, BTreeMap<String, String>)> {
    let graph = match GRAPHS.into_iter().find(|file| folder.join(file).is_file()) {
        Some(graph) => graph,
        None if folder.join(WEIGHTS).is_file() => WEIGHTS,
        None => {
            return Err(
                invalid(GRAPHS[0], format!("{} holds no graph", folder.display()))
                    .found("no such file")
                    .expected(format!(
                        "{}, or {WEIGHTS} with {CONFIG} of a BERT",
                        GRAPHS.join(", ")
                    ))
                    .into(),
            );
        }
    };
    let mut files = vec![graph, TOKENIZER];
    if graph == WEIGHTS {
        files.push(CONFIG);
    }
    let mut files: Vec<String> = files.into_iter().map(str::to_owned).collect();
    // Weights that did not fit into the graph's message.
    files.extend(
        [".data", "_data"]
            .map(|suffix| format!("{graph}{suffix}"))
            .into_iter()
            .filter(|file| folder.join(file).is_file()),
    );
    let mut hashed = BTreeMap::new();
    for file in files {
        let hash = match hashes {
            true => sha256_of_file(folder, &file)?,
            false => String::new(),
        };
        hashed.insert(file, hash);
    }
    Ok((graph, hashed))
}

/// RoBERTa's positions start after the padding id.
fn positions(config: &ModelConfig) -> Option<usize> {
    let reserved = match config.model_type.as_deref() {
        Some("roberta" | "xlm-roberta" | "camembert" | "mpnet") => 2,
        _ => 0,
    };
    config
        .max_position_embeddings
        .map(|positions| positions.saturating_sub(reserved))
        .filter(|&positions| positions > 0)
}

/// The folder's own name, which is what a published model is known by.
fn name(folder: &Path) -> Result<String> {
    let absolute = folder
        .canonicalize()
        .map_err(|e| unreadable(folder, ".", e))?;
    Ok(absolute
        .file_name()
        .map_or_else(|| "model".to_owned(), |n| n.to_string_lossy().into_owned()))
}

fn pipeline(folder: &Path) -> Result<Pipeline> {
    let modules: Option<Vec<Module>> = read_json_if_there(folder, MODULES)?;
    let Some(modules) = modules else {
        // A plain encoder: sentence-transformers takes the mean as well; cosine is what
        // such vectors are compared by.
        return Ok(Pipeline {
            pooling: Pooling::Mean,
            pool_prompt: true,
            normalize: true,
            max_tokens: max_tokens(folder, "")?,
            dimensions: None,
        });
    };
    let mut pipeline = Pipeline {
        pooling: Pooling::Mean,
        pool_prompt: true,
        normalize: false,
        max_tokens: None,
        dimensions: None,
    };
    let mut pooled = false;
    for module in &modules {
        match module.kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" if module.path.is_empty() => {
                pipeline.max_tokens = max_tokens(folder, "")?;
            }
            "Pooling" => {
                let config: serde_json::Value = {
                    super::files::check_inside(&module.path)?;
                    read_json(folder, &format!("{}/config.json", module.path))?
                };
                let file = format!("{}/config.json", module.path);
                pipeline.pooling = pooling(&config, &file)?;
                pipeline.pool_prompt =
                    config.get("include_prompt").and_then(|v| v.as_bool()) != Some(false);
                pipeline.dimensions = config
                    .get("word_embedding_dimension")
                    .and_then(serde_json::Value::as_u64)
                    .and_then(|size| usize::try_from(size).ok());
                pooled = true;
            }
            "Normalize" => pipeline.normalize = true,
            _ => {
                return Err(
                    invalid(MODULES, "a module of the pipeline is not supported")
                        .found(format!("{} at `{}`", module.kind, module.path))
                        .expected("Transformer (at the top of the folder), Pooling, Normalize")
                        .into(),
                );
            }
        }
    }
    if !pooled {
        return Err(invalid(MODULES, "the pipeline has no pooling")
            .expected("a module of type sentence_transformers.models.Pooling")
            .into());
    }
    Ok(pipeline)
}

fn max_tokens(folder: &Path, path: &str) -> Result<Option<usize>> {
    // One file per architecture, of one shape.
    for kind in ["bert", "roberta", "distilbert", "xlm-roberta", "mpnet"] {
        let file = format!("{path}sentence_{kind}_config.json");
        let config: Option<TransformerConfig> = read_json_if_there(folder, &file)?;
        if let Some(config) = config {
            return Ok(config.max_seq_length.filter(|&length| length > 0));
        }
    }
    Ok(None)
}

/// The one pooling that is switched on.
fn pooling(config: &serde_json::Value, file: &str) -> Result<Pooling> {
    const KNOWN: [(&str, &str, Option<Pooling>); 6] = [
        ("pooling_mode_mean_tokens", "mean", Some(Pooling::Mean)),
        ("pooling_mode_cls_token", "cls", Some(Pooling::Cls)),
        ("pooling_mode_lasttoken", "lasttoken", Some(Pooling::Last)),
        (
            "pooling_mode_weightedmean_tokens",
            "weightedmean",
            Some(Pooling::WeightedMean),
        ),
        ("pooling_mode_max_tokens", "max", None),
        (
            "pooling_mode_mean_sqrt_len_tokens",
            "mean_sqrt_len_tokens",
            None,
        ),
    ];
    let named = config.get("pooling_mode").and_then(|mode| mode.as_str());
    let on: Vec<_> = KNOWN
        .iter()
        .filter(|(flag, name, _)| {
            config.get(flag).and_then(serde_json::Value::as_bool) == Some(true)
                || named == Some(name)
        })
        .collect();
    match on.as_slice() {
        [(_, _, Some(pooling))] => Ok(*pooling),
        others => {
            let found: Vec<&str> = others.iter().map(|(flag, _, _)| *flag).collect();
            Err(invalid(file, "this pooling is not supported")
                .found(match named {
                    Some(name) if found.is_empty() => name.to_owned(),
                    _ => format!("[{}]", found.join(", ")),
                })
                .expected("exactly one of mean_tokens, cls_token, lasttoken, weightedmean_tokens")
                .into())
        }
    }
}

/// The prompts under the names by which published models know them, and all others by
/// theirs.
fn prompts(folder: &Path) -> Result<Prompts> {
    let config: PromptsConfig = read_json_if_there(folder, PROMPTS)?.unwrap_or_default();
    let first = |names: &[&str]| {
        names
            .iter()
            .find_map(|&name| config.prompts.get(name).cloned().flatten())
    };
    let default = config
        .default_prompt_name
        .as_deref()
        .and_then(|name| first(&[name]))
        .unwrap_or_default();
    let named = config
        .prompts
        .iter()
        .filter_map(|(name, prompt)| Some((name.clone(), prompt.clone()?)))
        .filter(|(name, _)| !["query", "document"].contains(&name.as_str()))
        .collect();
    Ok(Prompts {
        named,
        query: first(&["query", "search_query"]).unwrap_or_else(|| default.clone()),
        document: first(&["document", "passage", "search_document", "corpus"]).unwrap_or(default),
    })
}
