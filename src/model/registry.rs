//! Models by name: which folders are looked in, and each model loaded once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache::{CacheFigures, VectorCache};
use super::cross_encoder::CrossEncoder;
use super::encoder::TextEncoder;
use super::files::is_plain;
use super::generator::Generator;
use super::manifest::{MANIFEST, Manifest, ModelKind};
use super::queue::QueueFigures;
use super::runtime::RuntimeOptions;
use super::token_classifier::TokenClassifier;
use super::tokenizer::TOKENIZER;
use crate::error::{Code, Problem, Result};

/// Most names an error lists.
const LISTED: usize = 20;

/// A model that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelSummary {
    /// Name to open it by.
    pub name: String,
    /// Where it is.
    pub folder: PathBuf,
    /// What it does; absent when its description cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ModelKind>,
    /// Values per vector, where it makes some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Longest input in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Shorter vectors that it makes as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matryoshka: Vec<usize>,
    /// Names of its further sets of weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experts: Vec<String>,
    /// Licence of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// What is wrong with the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What an opened model does.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFigures {
    /// Its name, by its description.
    pub name: String,
    /// The set of weights, where it is not the model's own.
    pub expert: Option<String>,
    /// What it does.
    pub kind: ModelKind,
    /// What waits for it and what it has done.
    pub queue: QueueFigures,
}

/// Finds and keeps models.
pub struct Registry {
    folders: Vec<PathBuf>,
    options: RuntimeOptions,
    cache: Option<Arc<VectorCache>>,
    /// By folder and expert. A slot is locked while its model is loaded, so that two callers
    /// do not load it twice and nobody waits for another model.
    slots: Mutex<HashMap<(PathBuf, Option<String>), Slot>>,
    /// Names under which models have been opened, with the expert's.
    names: Mutex<HashMap<(String, Option<String>), TextEncoder>>,
    /// The same of rerankers.
    rerankers: Mutex<HashMap<PathBuf, Slot<CrossEncoder>>>,
    reranker_names: Mutex<HashMap<String, CrossEncoder>>,
    /// And of generators.
    generators: Mutex<HashMap<PathBuf, Slot<Generator>>>,
    /// The same of classifiers of tokens.
    classifiers: Mutex<HashMap<PathBuf, Slot<TokenClassifier>>>,
}

type Slot<T = TextEncoder> = Arc<Mutex<Option<T>>>;

impl Registry {
    /// A registry that looks in these folders, in this order; a model is a folder inside
    /// one of them. Nothing is read yet, and folders need not exist.
    pub fn new(folders: Vec<PathBuf>, options: RuntimeOptions) -> Self {
        Registry {
            folders,
            cache: VectorCache::new(options.cache_bytes),
            options,
            slots: Mutex::default(),
            names: Mutex::default(),
            rerankers: Mutex::default(),
            reranker_names: Mutex::default(),
            generators: Mutex::default(),
            classifiers: Mutex::default(),
        }
    }

    /// The folders that are looked in.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The model of that name: the name in its `model.toml`, or its folder's name or path
    /// below one of the folders (`publisher/model`). The first call loads it.
    ///
    /// # Errors
    /// ModelNotFound, listing what there is; otherwise as [`TextEncoder::open`].
    pub fn open(&self, name: &str) -> Result<TextEncoder> {
        self.open_expert(name, None)
    }

    /// One of a model's experts, or with `None` the model itself.
    ///
    /// # Errors
    /// As [`Registry::open`]; ModelNotFound, too, for an expert that there is not.
    pub fn open_expert(&self, name: &str, expert: Option<&str>) -> Result<TextEncoder> {
        let expert = expert.map(str::to_owned);
        let wanted = (name.to_owned(), expert.clone());
        if let Some(encoder) = self.names.lock().get(&wanted) {
            return Ok(encoder.clone());
        }
        let folder = self.folder(name)?;
        // Expert and folder are known to be there before anything is kept under them, and
        // before any file is hashed: a caller may ask for what there is not without end.
        let manifest = self.check_kind(name, &folder, ModelKind::TextEncoder)?;
        manifest.of_expert(expert.as_deref())?;
        let place = (folder.clone(), expert.clone());
        let slot = self.slots.lock().entry(place).or_default().clone();
        let encoder = {
            let mut opened = slot.lock();
            match opened.as_ref() {
                Some(encoder) => encoder.clone(),
                None => opened
                    .insert(TextEncoder::open_expert(
                        &folder,
                        expert.as_deref(),
                        &self.options,
                        self.cache.clone(),
                    )?)
                    .clone(),
            }
        };
        self.names.lock().insert(wanted, encoder.clone());
        Ok(encoder)
    }

    /// The reranker of that name. The first call loads it.
    ///
    /// # Errors
    /// ModelNotFound, listing what there is; InvalidRequest for a model of another kind;
    /// otherwise as [`CrossEncoder::open`].
    pub fn open_reranker(&self, name: &str) -> Result<CrossEncoder> {
        if let Some(reranker) = self.reranker_names.lock().get(name) {
            return Ok(reranker.clone());
        }
        let folder = self.folder(name)?;
        self.check_kind(name, &folder, ModelKind::Reranker)?;
        let slot = self
            .rerankers
            .lock()
            .entry(folder.clone())
            .or_default()
            .clone();
        let reranker = {
            let mut opened = slot.lock();
            match opened.as_ref() {
                Some(reranker) => reranker.clone(),
                None => opened
                    .insert(CrossEncoder::open(&folder, &self.options)?)
                    .clone(),
            }
        };
        let names = &mut self.reranker_names.lock();
        names.insert(name.to_owned(), reranker.clone());
        Ok(reranker)
    }

    /// The generator of that name. The first call loads it.
    ///
    /// # Errors
    /// ModelNotFound, listing what there is; otherwise as [`Generator::open`].
    pub fn open_generator(&self, name: &str) -> Result<Generator> {
        let folder = self.folder(name)?;
        let slot = self
            .generators
            .lock()
            .entry(folder.clone())
            .or_default()
            .clone();
        let mut opened = slot.lock();
        Ok(match opened.as_ref() {
            Some(generator) => generator.clone(),
            None => opened
                .insert(Generator::open(&folder, &self.options)?)
                .clone(),
        })
    }

    /// The classifier of tokens of that name. The first call loads it.
    ///
    /// # Errors
    /// ModelNotFound, listing what there is; InvalidRequest for a model of another kind;
    /// otherwise as [`TokenClassifier::open`].
    pub fn open_token_classifier(&self, name: &str) -> Result<TokenClassifier> {
        let folder = self.folder(name)?;
        self.check_kind(name, &folder, ModelKind::TokenClassifier)?;
        let slot = self
            .classifiers
            .lock()
            .entry(folder.clone())
            .or_default()
            .clone();
        let mut opened = slot.lock();
        match opened.as_ref() {
            Some(classifier) => Ok(classifier.clone()),
            None => Ok(opened
                .insert(TokenClassifier::open(&folder, &self.options)?)
                .clone()),
        }
    }

    /// What the opened models do that have a queue: all but generators. Those that are being
    /// opened right now are left out.
    pub fn figures(&self) -> Vec<ModelFigures> {
        let mut figures = Vec::new();
        for ((_, expert), slot) in self.slots.lock().iter() {
            if let Some(Some(encoder)) = slot.try_lock().as_deref() {
                figures.push(ModelFigures {
                    name: encoder.name().to_owned(),
                    expert: expert.clone(),
                    kind: ModelKind::TextEncoder,
                    queue: encoder.figures(),
                });
            }
        }
        for slot in self.rerankers.lock().values() {
            if let Some(Some(reranker)) = slot.try_lock().as_deref() {
                figures.push(ModelFigures {
                    name: reranker.name().to_owned(),
                    expert: None,
                    kind: ModelKind::Reranker,
                    queue: reranker.figures(),
                });
            }
        }
        for slot in self.classifiers.lock().values() {
            if let Some(Some(classifier)) = slot.try_lock().as_deref() {
                figures.push(ModelFigures {
                    name: classifier.name().to_owned(),
                    expert: None,
                    kind: ModelKind::TokenClassifier,
                    queue: classifier.figures(),
                });
            }
        }
        figures
    }

    /// What is kept of vectors of texts that were encoded before; None where nothing may be.
    pub fn cache_figures(&self) -> Option<CacheFigures> {
        self.cache.as_ref().map(|cache| cache.figures())
    }

    /// The description of a model; refuses one that does something else than what is asked
    /// of it.
    fn check_kind(&self, name: &str, folder: &Path, wanted: ModelKind) -> Result<Manifest> {
        let manifest = Manifest::peek(folder)?;
        if manifest.kind == wanted {
            return Ok(manifest);
        }
        let others = self.list().into_iter();
        let others = others.filter(|summary| summary.kind == Some(wanted));
        let mut others: Vec<String> = others.map(|summary| summary.name).collect();
        others.truncate(LISTED);
        Err(
            Problem::new(Code::InvalidRequest, "the model does something else")
                .field("model")
                .found(format!("{name}, a {}", manifest.kind.as_str()))
                .expected(match others.is_empty() {
                    true => format!("a {}; there is none", wanted.as_str()),
                    false => format!("a {}: {}", wanted.as_str(), others.join(", ")),
                })
                .into(),
        )
    }

    /// Where the model of that name is.
    ///
    /// # Errors
    /// ModelNotFound, listing what there is.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        self.find(name).ok_or_else(|| self.not_found(name).into())
    }

    /// What there is, in the order it is looked for; a name that occurs twice is opened
    /// from its first place, and only that is listed.
    pub fn list(&self) -> Vec<ModelSummary> {
        let mut summaries: Vec<ModelSummary> = Vec::new();
        for folder in self.model_folders() {
            let mut summary = summarize(folder);
            // A folder's name goes before one that a description gives: what is listed is what
            // opens.
            let named = self.direct(&summary.name);
            if named.is_some_and(|named| named != summary.folder)
                && let Some(name) = summary.folder.file_name().and_then(|name| name.to_str())
            {
                summary.name = name.to_owned();
            }
            if !summaries.iter().any(|known| known.name == summary.name) {
                summaries.push(summary);
            }
        }
        summaries
    }

    /// The first folder of that name that holds a model. Each model has few names, since what
    /// was opened is kept by name: paths in other spellings are none.
    fn direct(&self, name: &str) -> Option<PathBuf> {
        if !is_plain(name) {
            return None;
        }
        let mut folders = self.folders.iter().map(|folder| folder.join(name));
        folders.find(|folder| is_model(folder))
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        let listed = || self.list().into_iter().find(|summary| summary.name == name);
        self.direct(name).or_else(|| Some(listed()?.folder))
    }

    /// Folders that hold a model, one level below ours, sorted by name.
    fn model_folders(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in &self.folders {
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            let mut here: Vec<PathBuf> = entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| is_model(path))
                .collect();
            here.sort();
            found.extend(here);
        }
        found
    }

    fn not_found(&self, name: &str) -> Problem {
        let mut names: Vec<String> = self.list().into_iter().map(|s| s.name).collect();
        let more = names.len().saturating_sub(LISTED);
        names.truncate(LISTED);
        let mut there = match names.is_empty() {
            true => "no model at all".to_owned(),
            false => names.join(", "),
        };
        if more > 0 {
            there.push_str(&format!(" and {more} more"));
        }
        // Callers of the service see the error: the folders are for the operator only.
        tracing::info!(model = name, folders = ?self.folders, "there is no such model");
        Problem::new(Code::ModelNotFound, "there is no model of this name")
            .field("model")
            .found(name)
            .expected(there)
    }
}

fn is_model(folder: &Path) -> bool {
    // Names that begin with a dot are models being prepared.
    let hidden = folder
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden
        && [MANIFEST, "modules.json", TOKENIZER]
            .iter()
            .any(|file| folder.join(file).is_file())
}

fn summarize(folder: PathBuf) -> ModelSummary {
    // Laid out as optimum exports them, without a description of ours.
    let undescribed = !folder.join(MANIFEST).is_file() && Generator::is_one(&folder);
    match Manifest::peek(&folder) {
        Ok(manifest) => ModelSummary {
            name: manifest.name,
            folder,
            kind: Some(manifest.kind),
            dimensions: (manifest.kind == ModelKind::TextEncoder).then_some(manifest.dimensions),
            max_tokens: Some(manifest.max_tokens),
            matryoshka: manifest.matryoshka,
            experts: manifest.experts.into_keys().collect(),
            licence: manifest.licence,
            problem: None,
        },
        Err(error) => ModelSummary {
            problem: (!undescribed).then(|| error.to_string()),
            name: folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            folder,
            kind: None,
            dimensions: None,
            max_tokens: None,
            matryoshka: Vec::new(),
            experts: Vec::new(),
            licence: None,
        },
    }
}
