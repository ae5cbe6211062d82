//! The learned fusion: what the legs say about each candidate, put together by the combiner.
//!
//! Each leg is also asked about the candidates of the other: BM25 over the words that they
//! have, and how near their vectors are, exactly. The order depends on the first
//! `candidates` of each leg alone, never on how many hits are wanted.

use std::collections::HashMap;
use std::sync::Arc;

use super::fusion::{Candidate, merge, order_fused};
use super::legs::{Found, Legs};
use super::response::{FeatureExplanation, LearnedExplanation};
use crate::combine::{
    CANDIDATE_FEATURES, Evidence, Features, LEXICAL_FEATURES, QUERY_FEATURES, Weights, features,
    first_few,
};
use crate::error::Result;
use crate::filter::OrdinalSet;
use crate::index::ActiveCombiner;
use crate::vector::{VectorHit, VectorQuery, check_vector};

/// Where the minimum and maximum of a leg are stretched to 0 and 1, among the features.
const LEXICAL_PART: usize = 1;
const DENSE_PART: usize = 4;
/// Features of the vectors alone.
const DENSE_FEATURES: std::ops::Range<usize> = LEXICAL_FEATURES..LEXICAL_FEATURES + 3;

/// How one query's candidates were scored.
pub(super) struct Learned {
    combiner: Arc<ActiveCombiner>,
    weights: Weights,
    features: Features,
    /// Places among the features by ordinal.
    places: HashMap<u32, usize>,
}

/// The candidates of a query, ascending by ordinal, with what is known of them.
pub(super) struct Known {
    pub ordinals: Vec<u32>,
    pub features: Features,
}

/// Asks both legs about the candidates of both.
pub(super) fn known(legs: &Legs<'_>, found: &Found) -> Result<Known> {
    let candidates = legs.plan.candidates;
    let mut all = merge(&found.lexical, &found.dense);
    all.retain(|one| one.best_rank() < candidates);
    all.sort_unstable_by_key(|one| one.ordinal);
    let ordinals: Vec<u32> = all.iter().map(|one| one.ordinal).collect();
    let words = match legs.words {
        Some(words) => legs.view.words.evidence(words, &ordinals)?,
        None => Default::default(),
    };
    let known = Nearness::new(legs, found, &all)?;
    let among = |place: Option<(usize, f32)>| place.is_some_and(|(rank, _)| rank < candidates);
    let of_words = |i: usize| words.documents.get(i).copied().unwrap_or_default();
    let mut evidence = Evidence {
        lexical: all
            .iter()
            .enumerate()
            .map(|(i, one)| one.lexical.map_or(of_words(i).score, |(_, score)| score))
            .collect(),
        covered: (0..all.len()).map(|i| of_words(i).covered).collect(),
        dense: ordinals
            .iter()
            .map(|ordinal| known.score(*ordinal))
            .collect(),
        near_first: Vec::new(),
        by_words: all.iter().map(|one| among(one.lexical)).collect(),
        by_vectors: all.iter().map(|one| among(one.dense)).collect(),
        rarities: words.rarities,
        documents: legs.view.documents,
    };
    let mut found = features(&evidence);
    if let Some(middle) = known.middle(legs, &ordinals, &first_few(&found))? {
        evidence.near_first = near(legs, &middle, &ordinals)?;
        found = features(&evidence);
    }
    Ok(Known {
        ordinals,
        features: found,
    })
}

/// The nearest passage of each candidate to the query, and how near it is.
struct Nearness(HashMap<u32, VectorHit>);

impl Nearness {
    fn new(legs: &Legs<'_>, found: &Found, all: &[Candidate]) -> Result<Nearness> {
        let mut hits: HashMap<u32, VectorHit> = found
            .passages
            .iter()
            .map(|hit| (hit.ordinal, *hit))
            .collect();
        let unknown: OrdinalSet = all
            .iter()
            .map(|one| one.ordinal)
            .filter(|ordinal| !hits.contains_key(ordinal))
            .collect();
        if let Some(vector) = &found.vector {
            let more = exactly(legs, vector, &unknown)?;
            hits.extend(more.into_iter().map(|hit| (hit.ordinal, hit)));
        }
        Ok(Nearness(hits))
    }

    fn score(&self, ordinal: u32) -> Option<f32> {
        self.0.get(&ordinal).map(|hit| hit.score)
    }

    /// The middle of the vectors of some candidates by what each counts, by their nearest
    /// passages; None where they have none, or they cancel out.
    fn middle(
        &self,
        legs: &Legs<'_>,
        ordinals: &[u32],
        chosen: &[(usize, f32)],
    ) -> Result<Option<Vec<f32>>> {
        let mut sum = vec![0.0f64; legs.index.dimensions()];
        let mut counted = 0.0;
        for &(place, counts) in chosen {
            let ordinal = ordinals[place];
            let Some(hit) = self.0.get(&ordinal) else {
                continue;
            };
            let Some(stored) = legs.index.stored_vectors(ordinal)? else {
                continue;
            };
            let from = usize::from(hit.passage) * stored.dimensions;
            let Some(row) = stored.vectors.get(from..from + stored.dimensions) else {
                continue;
            };
            counted += f64::from(counts);
            for (s, &x) in sum.iter_mut().zip(row) {
                *s += f64::from(counts) * f64::from(x);
            }
        }
        if counted <= 0.0 {
            return Ok(None);
        }
        let middle: Vec<f32> = sum.iter().map(|s| (s / counted) as f32).collect();
        let usable = check_vector(&middle, legs.index.dimensions(), "vector").is_ok();
        Ok(usable.then_some(middle))
    }
}

/// How near documents are to a vector; None for those without one.
fn near(legs: &Legs<'_>, vector: &[f32], ordinals: &[u32]) -> Result<Vec<Option<f32>>> {
    let set: OrdinalSet = ordinals.iter().copied().collect();
    let hits = exactly(legs, vector, &set)?;
    let scores: HashMap<u32, f32> = hits.iter().map(|hit| (hit.ordinal, hit.score)).collect();
    Ok(ordinals
        .iter()
        .map(|ordinal| scores.get(ordinal).copied())
        .collect())
}

/// All of some documents by how near they are to a vector.
fn exactly(legs: &Legs<'_>, vector: &[f32], among: &OrdinalSet) -> Result<Vec<VectorHit>> {
    let Some(reader) = &legs.view.vectors else {
        return Ok(Vec::new());
    };
    if among.is_empty() {
        return Ok(Vec::new());
    }
    let query = VectorQuery {
        exact: true,
        ..VectorQuery::new(among.len(), legs.plan.ef)
    };
    Ok(reader.search(vector, &query, Some(among))?.hits)
}

/// One list of two, by the index's combiner; whatever lies deeper than the candidates
/// follows.
pub(super) fn fuse_learned(legs: &Legs<'_>, found: &Found) -> Result<(Vec<Candidate>, Learned)> {
    let combiner = legs.index.combiner();
    let Known { ordinals, features } = known(legs, found)?;
    let weights = combiner.combiner.weights(&features.query);
    let scores = combiner.combiner.scores(&features);
    let places: HashMap<u32, usize> = ordinals.iter().copied().zip(0..).collect();
    let mut fused = merge(&found.lexical, &found.dense);
    for one in &mut fused {
        match places.get(&one.ordinal) {
            None => one.beyond = true,
            Some(&place) => {
                let row = &features.candidates[place];
                one.parts = (row[LEXICAL_PART], row[DENSE_PART]);
                one.score = scores[place];
            }
        }
    }
    order_fused(&mut fused);
    let learned = Learned {
        combiner,
        weights,
        features,
        places,
    };
    Ok((fused, learned))
}

impl Learned {
    /// Weights of the words and of the vectors; what is left is that of both together.
    pub fn leg_weights(&self) -> (f32, f32) {
        let lexical = self.weights[..LEXICAL_FEATURES].iter().sum();
        (lexical, self.weights[DENSE_FEATURES].iter().sum())
    }

    /// A candidate's score, taken apart; None for a document beyond the candidates.
    pub fn explain(&self, ordinal: u32) -> Option<LearnedExplanation> {
        let row = &self.features.candidates[*self.places.get(&ordinal)?];
        let named = CANDIDATE_FEATURES.iter().zip(row).zip(&self.weights);
        let query = QUERY_FEATURES.iter().zip(&self.features.query);
        Some(LearnedExplanation {
            version: self.combiner.version,
            features: named
                .map(|((name, &value), &weight)| FeatureExplanation {
                    name: (*name).into(),
                    value,
                    weight,
                    contribution: weight * value,
                })
                .collect(),
            query: query
                .map(|(name, &value)| ((*name).into(), value))
                .collect(),
        })
    }
}
