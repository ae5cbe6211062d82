//! What a search answers.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::facets::FacetCount;
use super::passage::Passage;
use crate::document::Value;
use crate::index::{FusionMethod, Mode};
use crate::vector::Strategy;

/// The answer to a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SearchResponse {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// How many documents there are to be found.
    pub total: Total,
    /// Of each field whose values were asked for, the most frequent ones among the documents
    /// that `total` counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facets: BTreeMap<String, Vec<FacetCount>>,
    /// The legs that were asked for.
    pub mode: Mode,
    /// What was re-ranked, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank: Option<RerankSummary>,
    /// Why there are fewer hits than `k`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<Shortfall>,
    /// What was lost on the way; the hits come from what was left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<Degraded>,
    /// Where to go on: the `token` of the next request's `cursor`. Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The log sequence that the answer stands on.
    pub seq: u64,
    /// Where the time went.
    pub timings: Timings,
    /// What was done; not a part of the answer.
    #[serde(skip)]
    pub work: Work,
}

/// What a search did, for whoever runs the service: the log of slow searches, and figures.
/// Callers are told with an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// How the vectors were searched, where they were.
    pub strategy: Option<Strategy>,
    /// Passages that the query was compared with; scoring them again is not counted.
    pub compared: u64,
    /// Candidates that each leg was to hand to the fusion.
    pub candidates: usize,
    /// Documents that the words found, up to as many as were asked for.
    pub by_words: usize,
    /// Documents that the vectors found, likewise.
    pub by_vectors: usize,
    /// Documents there are.
    pub documents: u64,
    /// Documents that may be hits: that pass the filter, where there is one.
    pub allowed: u64,
}

/// What a reranker did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RerankSummary {
    /// Its name.
    pub model: String,
    /// Documents that were to be re-ranked: the first so many candidates.
    pub depth: usize,
    /// How many of them it scored; all, but for a cascade, a time that was up or a failure.
    pub scored: usize,
    /// Tokens it read, the query's with each document's.
    pub tokens: u64,
    /// Whether the query was longer than half of what it reads, and cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub query_truncated: bool,
}

/// One hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hit {
    /// The document's id.
    pub id: String,
    /// The score that ranks it. Lexical: BM25. Dense: the index's
    /// metric (cosine unless its definition says otherwise). Hybrid: the fusion's. Re-ranked:
    /// the reranker's, or its blend with these; less where a document was not reached. 0
    /// where nothing was looked for.
    pub score: f32,
    /// Its values of the fields that hits are sorted by, null where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<Vec<Json>>,
    /// Its value of the field that is collapsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Json>,
    /// Further members of its group, the best first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner: Option<Vec<InnerHit>>,
    /// The document, or the fields of it that were asked for.
    pub document: Map<String, Json>,
    /// The passage whose vector was nearest, where texts are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passage: Option<Passage>,
    /// Marked fragments by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highlights: Option<Map<String, Json>>,
    /// The score, taken apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// A further member of a hit's group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InnerHit {
    /// The document's id.
    pub id: String,
    /// Its score.
    pub score: f32,
}

/// How many documents there are to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Total {
    /// Documents that pass the filter and, in lexical mode, match the words.
    pub value: u64,
    /// What `value` counts.
    pub counts: TotalCounts,
}

/// What a total counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TotalCounts {
    /// Documents that pass the filter and match the words.
    Matching,
    /// Documents that pass the filter.
    Filtered,
}

/// Why there are fewer hits than were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shortfall {
    /// Hits that were asked for.
    pub asked: usize,
    /// Hits that came.
    pub found: usize,
    /// The reason, for people.
    pub reason: String,
}

/// Something an answer had to do without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Degraded {
    /// What was lost: `dense`, or `rerank`.
    pub lost: String,
    /// Why.
    pub reason: String,
}

/// Milliseconds spent in each stage. Encoding and words run side by side, so the stages
/// may add up to more than `total`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// Encoding the query; waiting for an encoder that is busy is not in it.
    pub encode_ms: f64,
    /// Compiling the filter.
    pub filter_ms: f64,
    /// Searching the words.
    pub words_ms: f64,
    /// Searching the vectors.
    pub vectors_ms: f64,
    /// Fusing the legs.
    pub fusion_ms: f64,
    /// Re-ranking the first documents.
    #[serde(default)]
    pub rerank_ms: f64,
    /// Fetching, highlighting and explaining the hits.
    pub fetch_ms: f64,
    /// From the request to the answer, inside the process.
    pub total_ms: f64,
}

/// A score, taken apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The words' part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexical: Option<LegExplanation>,
    /// The vectors' part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense: Option<LegExplanation>,
    /// How the two became one; absent where one leg answered alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fusion: Option<FusionExplanation>,
    /// What re-ranking made of it; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank: Option<RerankExplanation>,
    /// Set for hits that follow the fused candidates because more hits were asked for
    /// than there are candidates: they are ranked by their best rank in a leg.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beyond_candidates: bool,
}

/// One leg's part of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LegExplanation {
    /// Rank among the leg's hits, from 1; absent where they were not ranked but sorted or
    /// collapsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// The leg's own score: BM25, or the index's metric.
    pub score: f32,
    /// The score as it entered the fusion, before the weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fused_as: Option<f32>,
    /// Inside the leg: terms with their document frequencies, or how the vectors were searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Json>,
}

/// What re-ranking made of a document. `weight * score_as + (1 - weight) * first_as` is the
/// hit's score; one that was not scored follows those that were, in the first stage's order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RerankExplanation {
    /// Rank in the first stage, from 1.
    pub first_rank: usize,
    /// The first stage's score.
    pub first_score: f32,
    /// The same, stretched to 0..1 over the documents that were scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_as: Option<f32>,
    /// The reranker's score, calibrated to 0..1; absent where it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// The same, stretched likewise; with a weight of 1 as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_as: Option<f32>,
    /// Weight of the reranker.
    pub weight: f32,
    /// Tokens of the pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
    /// With a cascade: how likely the document was to end among the first ten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<f32>,
}

/// How two legs became one score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FusionExplanation {
    /// The method.
    pub method: FusionMethod,
    /// Weight of the words; of a learned fusion, what their features weigh for this query.
    pub lexical_weight: f32,
    /// Weight of the vectors, likewise.
    pub dense_weight: f32,
    /// The sum: the hit's score, before any re-ranking.
    pub score: f32,
    /// Of a learned fusion, what the score is the sum of; absent beyond the candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedExplanation>,
}

/// A score of the learned fusion, taken apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LearnedExplanation {
    /// Version of the index's combiner; 0 for the one that is shipped.
    pub version: u32,
    /// What is known of the document. The contributions add up to the score.
    pub features: Vec<FeatureExplanation>,
    /// What is known of the query, from which the weights come.
    pub query: IndexMap<String, f32>,
}

/// One feature's part of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureExplanation {
    /// The feature; docs/ranking.md lists them.
    pub name: String,
    /// Its value, 0 to 1.
    pub value: f32,
    /// Its weight for this query; all weights add up to 1.
    pub weight: f32,
    /// Their product.
    pub contribution: f32,
}

/// A value as a document holds it; an instant in UTC for dates.
pub(super) fn json_of(value: &Value) -> Json {
    match value {
        Value::Integer(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Boolean(value) => Json::from(*value),
        Value::Text(_) | Value::Keyword(_) | Value::Date(_) => Json::from(value.to_string()),
    }
}
