//! How the first documents of an answer are re-ranked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{FieldType, Fields};
use crate::error::{Code, Problem, Result};
use crate::rerank::{FEATURES, Gate};

/// Most documents that one search re-ranks.
pub const MAX_RERANK_DEPTH: usize = 1_000;
/// Longest time budget, in milliseconds.
const MAX_TIME_MS: u64 = 600_000;
/// Most fields that make a document's text.
const MAX_FIELDS: usize = 64;

/// Re-ranking by a cross-encoder, which reads the query and a document together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rerank {
    /// Name of a reranker (`gleaner models list`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether searches that do not say are re-ranked. Those that nothing can be re-ranked of
    /// (without a text to compare with, or in an order of fields) are left as they are.
    pub by_default: bool,
    /// Documents that are re-ranked: the first so many of the fused candidates, 1 to 1,000.
    /// Never derived from `k`, so that asking for more hits does not reorder the first ones.
    pub depth: usize,
    /// Fields whose texts, joined by a line break, are read; those that are encoded by
    /// default, or all text fields where nothing is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Weight of the reranker's score against the first stage's, 0 to 1. With 1 the
    /// reranker's score is the hit's; otherwise both are stretched to 0..1 over the documents
    /// that were re-ranked (with a cascade, the first stage's over all that it was asked about),
    /// and added. Absent: what the model recommends, or else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// Longest time re-ranking may take, in milliseconds. What was not reached in that time
    /// follows in the first stage's order, and the answer says so.
    pub time_ms: u64,
    /// Leaves out documents that the reranker is unlikely to put among the first ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Cascade>,
}

impl Default for Rerank {
    fn default() -> Self {
        Rerank {
            model: None,
            by_default: false,
            depth: 100,
            fields: Vec::new(),
            weight: None,
            time_ms: 5_000,
            cascade: None,
        }
    }
}

/// Which documents are worth the reranker's time, told from the first stage's scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cascade {
    /// Least likelihood of ending among the first ten with which a document is re-ranked, 0
    /// (all of them) to 1. `gleaner eval cascade` picks it for a budget.
    pub threshold: f32,
    /// Most of a query's documents that are re-ranked, as a share of the bytes of all their
    /// texts, more than 0 to 1; the likeliest go first.
    pub share: f32,
    /// Weights of the features that the likelihood is told from, as `gleaner eval cascade`
    /// fits them; the built-in ones where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
}

impl Default for Cascade {
    fn default() -> Self {
        Cascade {
            threshold: 0.05,
            share: 1.0,
            weights: Vec::new(),
        }
    }
}

impl Cascade {
    /// What tells the likelihood.
    pub fn gate(&self) -> Gate {
        match <[f64; FEATURES]>::try_from(self.weights.as_slice()) {
            Ok(weights) => Gate { weights },
            Err(_) => Gate::default(),
        }
    }
}

impl Rerank {
    /// Checks the ranges and the fields; `path` is named in the error before the setting.
    ///
    /// # Errors
    /// A problem with this code.
    pub fn check(&self, fields: &Fields, code: Code, path: &str) -> Result<(), Problem> {
        let wrong =
            |name: &str, message: &str| Problem::new(code, message).field(format!("{path}.{name}"));
        let range = "a setting of re-ranking is out of range";
        if !(1..=MAX_RERANK_DEPTH).contains(&self.depth) {
            return Err(wrong("depth", range)
                .found(self.depth)
                .expected(format!("1 to {MAX_RERANK_DEPTH}")));
        }
        if let Some(weight) = self.weight.filter(|w| !(0.0..=1.0).contains(w)) {
            return Err(wrong("weight", range).found(weight).expected("0 to 1"));
        }
        if !(1..=MAX_TIME_MS).contains(&self.time_ms) {
            return Err(wrong("time_ms", range)
                .found(self.time_ms)
                .expected(format!("1 to {MAX_TIME_MS}")));
        }
        if self.fields.len() > MAX_FIELDS {
            return Err(
                wrong("fields", "a document's text is made of too many fields")
                    .found(self.fields.len())
                    .expected(format!("at most {MAX_FIELDS}")),
            );
        }
        let is_text = |kind| matches!(kind, FieldType::Text | FieldType::Keyword);
        for name in &self.fields {
            if !fields.get(name).is_some_and(|field| is_text(field.kind)) {
                let texts = fields.iter().filter(|(_, field)| is_text(field.kind));
                let texts: Vec<&str> = texts.map(|(name, _)| name.as_str()).collect();
                return Err(wrong("fields", "a field to read is not a text")
                    .found(name)
                    .expected(format!("one of: {}", texts.join(", "))));
            }
        }
        let Some(cascade) = &self.cascade else {
            return Ok(());
        };
        if !(0.0..=1.0).contains(&cascade.threshold) {
            return Err(wrong("cascade.threshold", range)
                .found(cascade.threshold)
                .expected("0 to 1"));
        }
        if !(cascade.share > 0.0 && cascade.share <= 1.0) {
            return Err(wrong("cascade.share", range)
                .found(cascade.share)
                .expected("more than 0, at most 1"));
        }
        let weights = &cascade.weights;
        if !weights.is_empty()
            && (weights.len() != FEATURES || weights.iter().any(|w| !w.is_finite()))
        {
            return Err(wrong("cascade.weights", "these weigh no features")
                .found(format!("{} numbers", weights.len()))
                .expected(format!(
                    "none, or the {FEATURES} that `gleaner eval cascade` prints"
                )));
        }
        Ok(())
    }
}
