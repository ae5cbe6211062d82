//! What a model folder holds: `model.toml`, or what is read from a published folder
//! (see [`super::layout`]).

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::code::CodeForm;
use super::files::{check_inside, invalid, read, sha256_of, sha256_of_file};
use super::layout;
use super::pooling::Pooling;
use super::request::LongTexts;
use crate::error::{Code, Problem, Result};

/// File that describes a model folder of ours.
pub const MANIFEST: &str = "model.toml";

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// Texts to vectors.
    TextEncoder,
    /// Pairs of a query and a passage to scores (a cross-encoder).
    Reranker,
    /// Pairs of texts to some values for each of their tokens.
    TokenClassifier,
    /// Texts to further texts, token by token (an encoder-decoder).
    Generator,
}

impl ModelKind {
    /// The spelling used in manifests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            ModelKind::TextEncoder => "text-encoder",
            ModelKind::Reranker => "reranker",
            ModelKind::TokenClassifier => "token-classifier",
            ModelKind::Generator => "generator",
        }
    }
}

/// From what a reranker's classifier says to a score: the logistic function of
/// `(logit - offset) / temperature` (Platt 1999), where the logit is the classifier's one
/// value, or of two the second less the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// More than 0; more makes scores less sure.
    pub temperature: f32,
    /// The logit that means one half.
    pub offset: f32,
}

/// How the makers of a model found it best used; what a request or a definition says goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Recommended {
    /// Of a reranker: weight of its score against the first stage's, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
}

impl Recommended {
    fn is_default(&self) -> bool {
        *self == Recommended::default()
    }
}

impl Default for Calibration {
    fn default() -> Self {
        Calibration {
            temperature: 1.0,
            offset: 0.0,
        }
    }
}

impl Calibration {
    /// The score of a logit, 0 to 1.
    pub fn score(&self, logit: f32) -> f32 {
        let logit = f64::from(logit - self.offset) / f64::from(self.temperature);
        (1.0 / (1.0 + (-logit).exp())) as f32
    }

    fn is_default(&self) -> bool {
        *self == Calibration::default()
    }
}

/// Put before a text, as the model was trained.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prompts {
    /// Before a query.
    pub query: String,
    /// Before a document.
    pub document: String,
    /// Further ones, which a request may name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub named: BTreeMap<String, String>,
}

impl Prompts {
    /// The prompt of this name.
    ///
    /// # Errors
    /// InvalidRequest, listing those there are.
    pub fn of_name(&self, name: &str) -> Result<&str, Problem> {
        match (self.named.get(name), name) {
            (Some(prompt), _) => Ok(prompt),
            (None, "query") => Ok(&self.query),
            (None, "document") => Ok(&self.document),
            (None, _) => {
                let mut names = vec!["query", "document"];
                names.extend(self.named.keys().map(String::as_str));
                Err(
                    Problem::new(Code::InvalidRequest, "the model has no prompt of this name")
                        .field("prompt_name")
                        .found(name)
                        .expected(names.join(", ")),
                )
            }
        }
    }
}

/// Another set of weights for the texts of one domain, chosen by who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expert {
    /// File of its graph, ONNX.
    pub graph: String,
    /// File of its head, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Further files that are its alone, such as weights beside its graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

impl Expert {
    /// Names of its files.
    fn own(&self) -> impl Iterator<Item = &str> {
        let graphs = [Some(self.graph.as_str()), self.head.as_deref()];
        let further = self.files.iter().map(String::as_str);
        graphs.into_iter().flatten().chain(further)
    }
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn is_truncate(value: &LongTexts) -> bool {
    *value == LongTexts::Truncate
}

/// A measured quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// What it was measured on.
    pub dataset: String,
    /// Which measure, as in `ndcg@10`.
    pub measure: String,
    /// The value.
    pub value: f64,
}

/// A model folder's description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name by which indexes and requests refer to the model.
    pub name: String,
    /// What the model does.
    pub kind: ModelKind,
    /// File of the graph, relative to the folder: ONNX, or `model.safetensors` of a BERT.
    pub graph: String,
    /// File of the graph that does a trained pooling, where it is not part of `graph`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// How code is read, by a model that sees its syntax; other texts are pooled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodeForm>,
    /// How token vectors become one vector; `cls` for a reranker.
    pub pooling: Pooling,
    /// Whether the tokens of a prompt are pooled with the text's. They always take part in
    /// the attention.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub pool_prompt: bool,
    /// Vectors are scaled to length 1; `false` for a reranker.
    pub normalize: bool,
    /// Longest input in tokens, special tokens included; of a reranker, query and passage
    /// together.
    pub max_tokens: usize,
    /// What happens to longer texts.
    #[serde(default, skip_serializing_if = "is_truncate")]
    pub long_texts: LongTexts,
    /// Values per vector; of a reranker, the labels of its classifier, 1 or 2.
    pub dimensions: usize,
    /// How a reranker's logits become scores.
    #[serde(default, skip_serializing_if = "Calibration::is_default")]
    pub calibration: Calibration,
    /// How it is best used.
    #[serde(default, skip_serializing_if = "Recommended::is_default")]
    pub recommended: Recommended,
    /// Numbers of first values that make a vector by themselves (Matryoshka
    /// representations, arXiv 2205.13147).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matryoshka: Vec<usize>,
    /// Licence of the weights, as an SPDX identifier where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Where the weights come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Put before queries and documents.
    #[serde(default)]
    pub prompts: Prompts,
    /// Other sets of weights, by the name of their domain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub experts: BTreeMap<String, Expert>,
    /// sha256 of every file the model consists of, by its path inside the folder.
    pub files: BTreeMap<String, String>,
    /// How well it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<Quality>,
}

impl Manifest {
    /// Reads a folder: its `model.toml` with every file's hash checked, or the layout of
    /// sentence-transformers or optimum with the hashes taken.
    ///
    /// # Errors
    /// InvalidModel naming the file that is missing, broken or not the one announced;
    /// Operator when a file cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        if !folder.join(MANIFEST).is_file() {
            return layout::read(folder, true);
        }
        let manifest = Self::peek(folder)?;
        for (file, announced) in &manifest.files {
            let found = sha256_of_file(folder, file)?;
            if !found.eq_ignore_ascii_case(announced) {
                return Err(
                    invalid(file, "the file is not the one the model was made with")
                        .found(format!("sha256 {found}"))
                        .expected(format!("sha256 {announced}, by {MANIFEST}"))
                        .into(),
                );
            }
        }
        Ok(manifest)
    }

    /// The description alone: no hash is taken or checked.
    pub(crate) fn peek(folder: &Path) -> Result<Self> {
        if !folder.join(MANIFEST).is_file() {
            return layout::read(folder, false);
        }
        let bytes = read(folder, MANIFEST)?;
        let broken = |e: &dyn std::fmt::Display| {
            invalid(
                MANIFEST,
                format!(
                    "{} is not a model's description",
                    folder.join(MANIFEST).display()
                ),
            )
            .found(e)
        };
        let text = std::str::from_utf8(&bytes).map_err(|e| broken(&e))?;
        let manifest: Manifest = toml::from_str(text).map_err(|e| broken(&e.message()))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        if self.name.trim().is_empty() {
            return Err(invalid(MANIFEST, "`name` is empty").into());
        }
        for (key, value) in [
            ("max_tokens", self.max_tokens),
            ("dimensions", self.dimensions),
        ] {
            if value == 0 {
                return Err(invalid(MANIFEST, format!("`{key}` is zero"))
                    .expected("1 or more")
                    .into());
            }
        }
        let wrong = |message: String| invalid(MANIFEST, message);
        match self.kind {
            ModelKind::TextEncoder => {}
            ModelKind::Reranker => self.check_reranker()?,
            ModelKind::TokenClassifier | ModelKind::Generator => self.check_one_graph()?,
        }
        if let Some(length) = self
            .matryoshka
            .iter()
            .find(|&&length| length == 0 || length > self.dimensions)
        {
            return Err(
                wrong("`matryoshka` names a length no vector has".to_owned())
                    .found(length)
                    .expected(format!("1 to {}", self.dimensions))
                    .into(),
            );
        }
        let headed = self.head.is_some() || self.experts.values().any(|e| e.head.is_some());
        if headed && !self.pooling.is_trained() {
            return Err(
                wrong("there is a `head`, and `pooling` is not its".to_owned())
                    .expected("latent_attention, multi_layer or head")
                    .into(),
            );
        }
        if let Some(form) = &self.code {
            let encodes = self.kind == ModelKind::TextEncoder && !headed;
            if !encodes || self.pooling.is_trained() || !self.experts.is_empty() {
                return Err(wrong("`code` goes with an encoder that pools".to_owned())
                    .expected("a text-encoder without `head`, `experts` and a trained pooling")
                    .into());
            }
            if form.nodes == 0 || form.vocabulary == 0 {
                return Err(wrong("`code` reads no nodes".to_owned())
                    .expected("`nodes` and `vocabulary` of 1 or more")
                    .into());
            }
        }
        for file in self.files.keys() {
            check_inside(file)?;
        }
        let experts = self.experts.values().flat_map(Expert::own);
        for file in [self.graph.as_str(), super::tokenizer::TOKENIZER]
            .into_iter()
            .chain(self.head.as_deref())
            .chain(self.code.as_ref().map(|form| form.graph.as_str()))
            .chain(experts)
        {
            if !self.files.contains_key(file) {
                return Err(invalid(MANIFEST, format!("`files` lacks {file}"))
                    .expected("the sha256 of every file the model consists of")
                    .into());
            }
        }
        Ok(())
    }

    fn check_one_graph(&self) -> Result<()> {
        if self.head.is_some() || !self.experts.is_empty() {
            let kind = self.kind.as_str();
            return Err(invalid(MANIFEST, format!("a {kind} has one graph"))
                .found("`head` or `experts`")
                .expected("neither")
                .into());
        }
        Ok(())
    }

    fn check_reranker(&self) -> Result<()> {
        let wrong = |message: &str| invalid(MANIFEST, message);
        if self.dimensions > 2 {
            return Err(wrong("a classifier of several classes is no reranker")
                .found(format!("`dimensions` of {}", self.dimensions))
                .expected("1 label, or 2 of which the second is relevant")
                .into());
        }
        self.check_one_graph()?;
        let Calibration {
            temperature,
            offset,
        } = self.calibration;
        if !(temperature.is_finite() && temperature > 0.0 && offset.is_finite()) {
            return Err(wrong("the calibration makes no scores")
                .found(format!("temperature {temperature}, offset {offset}"))
                .expected("a temperature above 0 and an offset")
                .into());
        }
        if let Some(weight) = self.recommended.weight.filter(|w| !(0.0..=1.0).contains(w)) {
            return Err(wrong("the recommended weight is out of range")
                .found(weight)
                .expected("0 to 1")
                .into());
        }
        Ok(())
    }

    /// The description of one set of weights: of this expert, or of the model without any.
    /// Other experts' files are not among its own.
    ///
    /// # Errors
    /// ModelNotFound for an expert that there is not.
    pub fn of_expert(&self, expert: Option<&str>) -> Result<Manifest> {
        let mut one = self.clone();
        let base = [Some(self.graph.as_str()), self.head.as_deref()];
        let shared = |file: &str| {
            file == super::tokenizer::TOKENIZER || base.into_iter().flatten().any(|b| b == file)
        };
        for file in self.experts.values().flat_map(Expert::own) {
            if !shared(file) {
                one.files.remove(file);
            }
        }
        let Some(name) = expert else {
            return Ok(one);
        };
        let Some(expert) = self.experts.get(name) else {
            let names: Vec<&str> = self.experts.keys().map(String::as_str).collect();
            return Err(
                Problem::new(Code::ModelNotFound, "the model has no expert of this name")
                    .field("expert")
                    .found(name)
                    .expected(match names.is_empty() {
                        true => "no expert: the model has one set of weights".to_owned(),
                        false => names.join(", "),
                    })
                    .into(),
            );
        };
        for file in base.into_iter().flatten() {
            one.files.remove(file);
        }
        one.graph.clone_from(&expert.graph);
        one.head = expert.head.clone().or_else(|| self.head.clone());
        one.experts = BTreeMap::new();
        for file in expert.own().chain(one.head.as_deref()) {
            if let Some(hash) = self.files.get(file) {
                one.files.insert(file.to_owned(), hash.clone());
            }
        }
        Ok(one)
    }

    /// Identity of the vectors: sha256 over the files' hashes and over everything that
    /// changes a text's vector. Two folders of one fingerprint encode alike, whatever
    /// they are called. Named prompts are not in it: only who asks for one gets it.
    pub fn fingerprint(&self) -> String {
        let mut identity = serde_json::json!({
            "graph": self.graph,
            "files": self.files,
            "pooling": self.pooling,
            "normalize": self.normalize,
            "max_tokens": self.max_tokens,
            "dimensions": self.dimensions,
            "prompts": {"query": self.prompts.query, "document": self.prompts.document},
        });
        // What came later is left out where it is at its default: what was built before
        // stays what it is.
        if let Some(head) = &self.head {
            identity["head"] = serde_json::json!(head);
        }
        if let Some(code) = &self.code {
            identity["code"] = serde_json::json!(code);
        }
        if !self.pool_prompt {
            identity["pool_prompt"] = serde_json::json!(false);
        }
        if self.kind != ModelKind::TextEncoder {
            identity["kind"] = serde_json::json!(self.kind);
            identity["calibration"] = serde_json::json!(self.calibration);
        }
        if self.long_texts != LongTexts::Truncate {
            identity["long_texts"] = serde_json::json!(self.long_texts);
        }
        sha256_of(identity.to_string().as_bytes())
    }
}
