//! The model: weights that depend on the query.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::features::{CANDIDATE_FEATURES, Features, QUERY_FEATURES};
use crate::error::{Code, Error, Problem, Result};

const CANDIDATES: usize = CANDIDATE_FEATURES.len();
const QUERIES: usize = QUERY_FEATURES.len();

/// Beyond so many standard deviations a query feature counts as if it lay there: what was
/// never seen while fitting is not extrapolated to.
const FARTHEST: f32 = 2.5;

/// The combiner that is used where an index has fitted none of its own.
const DEFAULT: &str = include_str!("default.toml");

/// Fitted weights.
///
/// With `g` the query's features, standardised and held to +-2.5, the weight of candidate
/// feature `j` is `softplus(weights[j][0] + sum over k of weights[j][k + 1] * g[k])`,
/// divided by the sum of all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Combiner {
    /// What it was fitted on, for people.
    pub description: String,
    /// Names of the candidate features, a row of `weights` each.
    pub candidate_features: Vec<String>,
    /// Names of the query features, a column of `weights` each but the first.
    pub query_features: Vec<String>,
    /// Mean of each query feature over the queries it was fitted on.
    pub means: Vec<f32>,
    /// Their standard deviations.
    pub deviations: Vec<f32>,
    /// Constant and coefficients of each candidate feature.
    pub weights: Vec<Vec<f32>>,
}

/// The weights for one query, which add up to 1.
pub type Weights = [f32; CANDIDATES];

impl Combiner {
    /// The one that is shipped.
    ///
    /// # Errors
    /// A bug where the file in the source does not fit the features.
    pub fn shipped() -> Result<Combiner> {
        let combiner: Combiner = toml::from_str(DEFAULT)
            .map_err(|e| Error::Bug(format!("the shipped combiner cannot be read: {e}")))?;
        combiner.check().map_err(Error::Bug)?;
        Ok(combiner)
    }

    /// Reads what was fitted.
    ///
    /// # Errors
    /// `invalid_file` for one that is none, or was fitted on other features.
    pub fn from_file(path: &Path) -> Result<Combiner> {
        let bad = |reason: String| {
            Problem::new(Code::InvalidFile, "the combiner cannot be read")
                .field("file")
                .found(path.display())
                .expected(format!(
                    "what `gleaner fusion fit` of this version wrote; {reason}"
                ))
        };
        let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
        let combiner: Combiner = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
        combiner.check().map_err(bad)?;
        Ok(combiner)
    }

    /// Whether it fits the features of this build; why not.
    pub fn check(&self) -> Result<(), String> {
        let same = |names: &[String], known: &[&str]| {
            names.iter().map(String::as_str).eq(known.iter().copied())
        };
        if !same(&self.candidate_features, &CANDIDATE_FEATURES)
            || !same(&self.query_features, &QUERY_FEATURES)
        {
            return Err("the combiner was fitted on other features".into());
        }
        let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
        let sound = self.weights.len() == CANDIDATES
            && self
                .weights
                .iter()
                .all(|row| row.len() == 1 + QUERIES && finite(row))
            && self.means.len() == QUERIES
            && finite(&self.means)
            && self.deviations.len() == QUERIES
            && self.deviations.iter().all(|d| d.is_finite() && *d > 0.0);
        match sound {
            true => Ok(()),
            false => Err("the combiner's numbers are not of the right shape".into()),
        }
    }

    /// A query's features as they enter the weights.
    pub(super) fn standardised(&self, query: &[f32; QUERIES]) -> [f64; QUERIES] {
        std::array::from_fn(|k| {
            let value = (query[k] - self.means[k]) / self.deviations[k];
            f64::from(value.clamp(-FARTHEST, FARTHEST))
        })
    }

    /// The weights for a query.
    pub fn weights(&self, query: &[f32; QUERIES]) -> Weights {
        let query = self.standardised(query);
        let raw: [f64; CANDIDATES] = std::array::from_fn(|j| {
            let row = &self.weights[j];
            let sum: f64 = row[1..]
                .iter()
                .zip(&query)
                .map(|(&w, g)| f64::from(w) * g)
                .sum();
            softplus(f64::from(row[0]) + sum)
        });
        // Softplus is above 0.
        let all: f64 = raw.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        std::array::from_fn(|j| (raw[j] / all) as f32)
    }

    /// The score of each candidate, 0 to 1.
    pub fn scores(&self, features: &Features) -> Vec<f32> {
        let weights = self.weights(&features.query);
        let score = |row: &[f32; CANDIDATES]| {
            let sum: f64 = row
                .iter()
                .zip(&weights)
                .map(|(&f, &w)| f64::from(f) * f64::from(w))
                .sum();
            (sum as f32).clamp(0.0, 1.0)
        };
        features.candidates.iter().map(score).collect()
    }
}

pub(super) fn softplus(z: f64) -> f64 {
    if z > 30.0 { z } else { z.exp().ln_1p() }
}

pub(super) fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}
