//! The definition of an index: its fields, what is encoded, and how it is searched
//! where a request does not say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rerank::Rerank;
use crate::document::{FieldType, Fields, MAX_STEPS, UnknownFields, is_below, is_path};
use crate::error::{Code, Error, Problem, Result};
use crate::lexical::{Scoring, Synonyms, Typos};
use crate::vector::{Builder, MOST_DIMENSIONS, Metric, Storage, VectorOptions};

/// Longest name of an index.
const MAX_NAME_BYTES: usize = 64;
/// Most fields of an index.
const MAX_FIELDS: usize = 256;
/// Deepest candidate list of a leg; also bounds `candidates` in requests.
pub const MAX_CANDIDATES: usize = 10_000;
/// Largest `ef` of a graph search.
pub const MAX_EF: usize = 10_000;

/// One index, as a TOML file in `indexes/` or a JSON body describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Lower-case letters, digits, `-` and `_`, starting with a letter or digit; at
    /// most 64 bytes.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The property of a document that carries its id.
    #[serde(default = "default_id_field")]
    pub id_field: String,
    /// What happens to properties that `fields` does not name.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
    /// The fields, by name. A name with points is a path: `author.name` is the member
    /// `name` of the object `author`, or of each object in a list of them.
    pub fields: Fields,
    /// What is turned into vectors; without it the index is searched by words alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Embedding>,
    /// How the index is searched where a request does not say.
    #[serde(default)]
    pub search: SearchDefaults,
    /// How words score: BM25's parameters, and how fields add up.
    #[serde(default)]
    pub scoring: Scoring,
    /// Groups of words that mean the same.
    #[serde(default)]
    pub synonyms: Synonyms,
    /// Tolerance for misspelt words.
    #[serde(default)]
    pub typos: Typos,
}

/// What is turned into vectors, and by which model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Name of a text encoder (`gleaner models list`). Without it every document
    /// brings its own vector in `vector_field`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// One of the model's experts: another set of weights, for texts of one domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert: Option<String>,
    /// Fields whose texts, joined by a line break, are encoded.
    #[serde(default)]
    pub fields: Vec<String>,
    /// The field with the language of code, for a model that sees its syntax: the languages are those
    /// of `gleaner ingest --code`. Texts in others are encoded as texts, and so is everything by a
    /// model that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language_field: Option<String>,
    /// A property that may carry a ready vector, used as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_field: Option<String>,
    /// Length of the vectors; needed where no model tells it. Of a model that was trained
    /// for it (`matryoshka` of its manifest), the first so many values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// How two vectors are compared. `cosine` brings every vector to length 1.
    #[serde(default)]
    pub metric: Metric,
    /// How vectors are kept for searching; the store keeps them as they came.
    #[serde(default)]
    pub storage: Storage,
    /// The graphs over the vectors.
    #[serde(default)]
    pub graph: Graph,
    /// Cut long texts into passages with a vector each. Without it a text is encoded
    /// up to the model's limit and the rest is counted as truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passages: Option<Passages>,
}

/// The graphs (HNSW) over the vectors of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Graph {
    /// Links per vector and layer, twice as many on the base layer; 4 to 128. More find
    /// more of the true neighbours and cost memory: 8 bytes a vector each.
    pub m: usize,
    /// Vectors looked at to choose a new one's links among, 8 to 4,096. More make better
    /// graphs and take longer to build.
    pub ef_construction: usize,
    /// What builds them.
    pub builder: Builder,
}

impl Default for Graph {
    fn default() -> Self {
        let options = VectorOptions::new(1);
        Graph {
            m: options.m,
            ef_construction: options.ef_construction,
            builder: options.builder,
        }
    }
}

/// How long texts are cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Passages {
    /// Tokens in a passage, at most; never more than the model takes.
    pub max_tokens: usize,
    /// Tokens that a passage shares with the one before.
    pub overlap: usize,
}

impl Default for Passages {
    fn default() -> Self {
        Passages {
            max_tokens: 200,
            overlap: 40,
        }
    }
}

/// Which legs answer a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Words: BM25.
    Lexical,
    /// Vectors.
    Dense,
    /// Both, fused.
    #[default]
    Hybrid,
}

impl Mode {
    /// The spelling used in requests and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Lexical => "lexical",
            Mode::Dense => "dense",
            Mode::Hybrid => "hybrid",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "lexical" => Ok(Mode::Lexical),
            "dense" => Ok(Mode::Dense),
            "hybrid" => Ok(Mode::Hybrid),
            other => Err(Problem::new(Code::InvalidRequest, "there is no such mode")
                .field("mode")
                .found(other)
                .expected("lexical, dense or hybrid")),
        }
    }
}

/// How the legs' scores become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "lowercase")]
pub enum FusionMethod {
    /// The combiner: a mean of what is known of a candidate, weighted by what is known of
    /// the query. The index's own where it has fitted one from feedback, else the one that
    /// is shipped.
    #[default]
    Learned,
    /// Each leg's scores over its candidates stretched to 0..1, then the weighted sum.
    MinMax,
    /// Reciprocal rank fusion: the weighted sum of 1 / (`rrf_k` + rank), ranks from 1
    /// (Cormack, Clarke and Buettcher, 2009).
    Rrf,
}

/// Fusion of the two legs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "FusionInput")]
pub struct Fusion {
    /// How scores are made comparable.
    pub method: FusionMethod,
    /// Weight of the words, 0 or more.
    pub lexical: f32,
    /// Weight of the vectors, 0 or more.
    pub dense: f32,
    /// The constant of reciprocal rank fusion.
    pub rrf_k: f32,
}

/// Fusion of the two legs.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct FusionInput {
    /// How scores are made comparable: `learned`, or `minmax` where weights are given and
    /// no method.
    method: Option<FusionMethod>,
    /// Weight of the words, 0 or more; 0.5 by default. Not for `learned`, which finds its
    /// own.
    lexical: Option<f32>,
    /// Weight of the vectors, likewise.
    dense: Option<f32>,
    /// The constant of reciprocal rank fusion; 60 by default.
    rrf_k: Option<f32>,
}

impl From<FusionInput> for Fusion {
    fn from(input: FusionInput) -> Fusion {
        let weighted = input.lexical.is_some() || input.dense.is_some();
        let defaults = Fusion::default();
        Fusion {
            method: input.method.unwrap_or(match weighted {
                true => FusionMethod::MinMax,
                false => defaults.method,
            }),
            lexical: input.lexical.unwrap_or(defaults.lexical),
            dense: input.dense.unwrap_or(defaults.dense),
            rrf_k: input.rrf_k.unwrap_or(defaults.rrf_k),
        }
    }
}

impl Default for Fusion {
    fn default() -> Self {
        Fusion {
            method: FusionMethod::Learned,
            lexical: 0.5,
            dense: 0.5,
            rrf_k: 60.0,
        }
    }
}

impl Fusion {
    /// Both legs' scores stretched to 0..1, with equal weights.
    pub fn min_max() -> Fusion {
        Fusion {
            method: FusionMethod::MinMax,
            ..Fusion::default()
        }
    }

    /// Checks the ranges; `field` is the path named in the error.
    pub fn check(&self, code: Code, field: &str) -> Result<(), Problem> {
        let wrong = |name: &str, found: f32, expected: &str| {
            Err(Problem::new(code, "a fusion setting is out of range")
                .field(format!("{field}.{name}"))
                .found(found)
                .expected(expected))
        };
        for (name, weight) in [("lexical", self.lexical), ("dense", self.dense)] {
            if !(weight.is_finite() && (0.0..=1e6).contains(&weight)) {
                return wrong(name, weight, "a number from 0 to 1000000");
            }
        }
        if self.lexical + self.dense <= 0.0 {
            return wrong("lexical", self.lexical, "one of the weights above 0");
        }
        let equal = Fusion::default();
        if self.method == FusionMethod::Learned
            && (self.lexical, self.dense) != (equal.lexical, equal.dense)
        {
            return Err(
                Problem::new(code, "the learned fusion finds its own weights")
                    .field(format!("{field}.method"))
                    .found("learned, with weights")
                    .expected("no weights, or method minmax or rrf"),
            );
        }
        if !(self.rrf_k.is_finite() && self.rrf_k >= 1.0) {
            return wrong("rrf_k", self.rrf_k, "a number of at least 1");
        }
        Ok(())
    }
}

/// Which words of a query a document must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "lowercase")]
pub enum MatchWords {
    /// At least one.
    #[default]
    Any,
    /// Every one.
    All,
}

/// How an index is searched where a request does not say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchDefaults {
    /// Which legs answer. Without an `embedding` it is always lexical.
    pub mode: Mode,
    /// Documents each leg hands to the fusion. Never derived from `k`, so that asking
    /// for more hits does not reorder the first ones.
    pub candidates: usize,
    /// Breadth of a graph search (HNSW's efSearch): more is more exact and slower.
    pub ef: usize,
    /// Fusion of the legs.
    pub fusion: Fusion,
    /// Which words of a query must be in a document.
    #[serde(rename = "match")]
    pub match_words: MatchWords,
    /// Re-ranking of the first documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<Rerank>,
}

impl Default for SearchDefaults {
    fn default() -> Self {
        SearchDefaults {
            mode: Mode::Hybrid,
            candidates: 100,
            ef: 128,
            fusion: Fusion::default(),
            match_words: MatchWords::Any,
            rerank: None,
        }
    }
}

fn default_id_field() -> String {
    "id".into()
}

impl Definition {
    /// Reads a definition from TOML.
    ///
    /// # Errors
    /// `invalid_definition` with the line and what was expected.
    pub fn from_toml(text: &str) -> Result<Definition> {
        let definition: Definition = toml::from_str(text).map_err(|error| {
            Problem::new(
                Code::InvalidDefinition,
                format!("the index definition cannot be read: {error}"),
            )
        })?;
        definition.check()?;
        Ok(definition)
    }

    /// The definition as TOML, which [`from_toml`](Definition::from_toml) reads as the same.
    ///
    /// # Errors
    /// A bug, if it does not serialise.
    pub fn to_toml(&self) -> Result<String> {
        to_toml(self)
    }

    /// Reads a definition from a file.
    pub fn from_file(path: &std::path::Path) -> Result<Definition> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problem::new(
                Code::InvalidDefinition,
                format!("the index definition cannot be read: {error}"),
            )
            .field("file")
            .found(path.display())
            .expected("a readable TOML file in UTF-8")
        })?;
        Definition::from_toml(&text)
    }

    /// Holds the definition to its own rules.
    ///
    /// # Errors
    /// The first contradiction, as `invalid_definition`.
    pub fn check(&self) -> Result<(), Problem> {
        check_name(&self.name)?;
        let wrong = |field: &str, message: &str| {
            Problem::new(Code::InvalidDefinition, message).field(field)
        };
        if self.fields.is_empty() || self.fields.len() > MAX_FIELDS {
            return Err(wrong("fields", "an index needs fields")
                .found(self.fields.len())
                .expected(format!("1 to {MAX_FIELDS} fields")));
        }
        for (name, field) in &self.fields {
            let path = format!("fields.{name}");
            if name == &self.id_field {
                return Err(wrong(&path, "the id is not a field")
                    .found(name)
                    .expected("the id field left out: it can always be filtered on"));
            }
            if !is_field_name(name) {
                return Err(wrong(&path, "a field's name cannot be used")
                    .found(name)
                    .expected("letters, digits, `_`, `-` and `.`, not starting with `_`"));
            }
            if !is_path(name) {
                return Err(wrong(&path, "a field's path cannot be used")
                    .found(name)
                    .expected(format!(
                        "1 to {MAX_STEPS} names with one point between them"
                    )));
            }
            let vector = self.embedding.as_ref();
            let vector = vector.and_then(|embedding| embedding.vector_field.as_ref());
            let others = self.fields.keys().chain([&self.id_field]).chain(vector);
            if let Some(above) = others.into_iter().find(|other| is_below(name, other)) {
                return Err(
                    wrong(&path, "a field lies inside of what is a value itself")
                        .found(format!("{name} below {above}"))
                        .expected(format!("either {above} or fields below it")),
                );
            }
            if !(field.weight.is_finite() && (0.0..=100.0).contains(&field.weight)) {
                return Err(wrong(&path, "a field's weight is out of range")
                    .found(field.weight)
                    .expected("0 to 100"));
            }
        }
        if let Some(embedding) = &self.embedding {
            self.check_embedding(embedding)?;
        }
        self.scoring.check()?;
        self.synonyms.check()?;
        self.typos.check()?;
        let search = &self.search;
        if !(1..=MAX_CANDIDATES).contains(&search.candidates) {
            return Err(wrong("search.candidates", "out of range")
                .found(search.candidates)
                .expected(format!("1 to {MAX_CANDIDATES}")));
        }
        if !(1..=MAX_EF).contains(&search.ef) {
            return Err(wrong("search.ef", "out of range")
                .found(search.ef)
                .expected(format!("1 to {MAX_EF}")));
        }
        if let Some(rerank) = &search.rerank {
            let code = Code::InvalidDefinition;
            rerank.check(&self.fields, code, "search.rerank")?;
            if rerank.by_default && rerank.model.is_none() {
                return Err(
                    wrong("search.rerank.model", "searches are re-ranked by nothing")
                        .found("no name")
                        .expected("the name of a reranker"),
                );
            }
        }
        search
            .fusion
            .check(Code::InvalidDefinition, "search.fusion")
    }

    fn check_embedding(&self, embedding: &Embedding) -> Result<(), Problem> {
        let wrong = |field: &str, message: &str| {
            Problem::new(Code::InvalidDefinition, message).field(format!("embedding.{field}"))
        };
        for name in &embedding.fields {
            let kind = self.fields.get(name).map(|field| field.kind);
            if !matches!(kind, Some(FieldType::Text | FieldType::Keyword)) {
                return Err(wrong("fields", "a field to encode is not a text")
                    .found(name)
                    .expected("the name of a text or keyword field"));
            }
        }
        match &embedding.model {
            None if embedding.expert.is_some() => {
                return Err(wrong("expert", "an expert is one of a model's")
                    .found("no model")
                    .expected("embedding.model as well"));
            }
            Some(_) if embedding.fields.is_empty() => {
                return Err(wrong("fields", "a model needs texts to encode")
                    .found("none")
                    .expected("at least one text field"));
            }
            None if embedding.vector_field.is_none() || embedding.dimensions.is_none() => {
                return Err(wrong("model", "nothing says where the vectors come from")
                    .found("neither a model, nor vector_field with dimensions")
                    .expected("a model's name, or vector_field and dimensions"));
            }
            _ => {}
        }
        if let Some(field) = &embedding.vector_field
            && (self.fields.contains_key(field) || field == &self.id_field)
        {
            return Err(wrong("vector_field", "the name is taken by a field")
                .found(field)
                .expected("a name of its own"));
        }
        if let Some(field) = &embedding.language_field
            && self.fields.get(field).map(|field| field.kind) != Some(FieldType::Keyword)
        {
            return Err(
                wrong("language_field", "a language is no value of that field")
                    .found(field)
                    .expected("the name of a keyword field"),
            );
        }
        if let Some(dimensions) = embedding.dimensions
            && !(1..=MOST_DIMENSIONS).contains(&dimensions)
        {
            return Err(wrong("dimensions", "out of range")
                .found(dimensions)
                .expected(format!("1 to {MOST_DIMENSIONS}")));
        }
        let graph = &embedding.graph;
        if !(4..=128).contains(&graph.m) {
            return Err(wrong("graph.m", "out of range")
                .found(graph.m)
                .expected("4 to 128"));
        }
        if !(8..=4096).contains(&graph.ef_construction) {
            return Err(wrong("graph.ef_construction", "out of range")
                .found(graph.ef_construction)
                .expected("8 to 4096"));
        }
        if let Some(passages) = &embedding.passages
            && !(passages.max_tokens >= 16 && passages.overlap * 2 <= passages.max_tokens)
        {
            return Err(
                wrong("passages", "the passages' lengths contradict each other")
                    .found(format!(
                        "max_tokens {}, overlap {}",
                        passages.max_tokens, passages.overlap
                    ))
                    .expected("max_tokens of at least 16, overlap at most half of it"),
            );
        }
        Ok(())
    }
}

/// A part of a definition as TOML. By way of JSON, where a number of 32 bits is written as short
/// as it can be: TOML knows 64 bits alone, and would have 0.1 as 0.10000000149011612.
///
/// # Errors
/// A bug, if it does not serialise.
pub fn to_toml(part: &impl Serialize) -> Result<String> {
    let bug = |error: &dyn std::fmt::Display| {
        Error::Bug(format!("a definition cannot be written as TOML: {error}"))
    };
    let json = serde_json::to_string(part).map_err(|error| bug(&error))?;
    let json: serde_json::Value = serde_json::from_str(&json).map_err(|error| bug(&error))?;
    toml::to_string(&json).map_err(|error| bug(&error))
}

/// Whether a field may be called so, as far as its letters go.
pub fn is_field_name(name: &str) -> bool {
    let mut letters = name.chars();
    !name.is_empty()
        && !name.starts_with('_')
        && letters.all(|c| c.is_alphanumeric() || "_-.".contains(c))
}

/// Holds an index's name to what is safe as a folder and in a URL.
pub fn check_name(name: &str) -> Result<(), Problem> {
    let first = name.chars().next();
    let fits = first.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
        && name.len() <= MAX_NAME_BYTES;
    if fits {
        return Ok(());
    }
    Err(
        Problem::new(Code::InvalidDefinition, "an index's name cannot be used")
            .field("name")
            .found(name)
            .expected(format!(
                "1 to {MAX_NAME_BYTES} lower-case letters, digits, `-` or `_`, starting with a letter or digit"
            )),
    )
}
