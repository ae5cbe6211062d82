//! Fitting on what some ranking has shown: relevance and selection, estimated together.
//!
//! A log only holds what a ranking put before people. What it left out looks like what was
//! seen and not wanted, and a fit that takes it so learns to repeat that ranking. The coupled
//! estimation (Cai et al., "Hard negatives or false negatives", CIKM 2022, arXiv 2209.05072)
//! fits two models on the same pairs: one of relevance, one of which documents were selected
//! at all. In each, a negative `n` counts
//!
//! `w(n) = 1 / (1 - sigmoid(s(n) / temperature))`
//!
//! with `s` the other model's score, taken as given: an unlabelled document that was likely
//! to be selected is truly not relevant, and counts more. Scores are taken relative to the
//! mean of the query's positives, so that a negative as likely selected as those counts
//! twice. Weights are clipped, and the largest one before that is told.
//!
//! Here the model of relevance is the [`Combiner`]; that of selection is linear in the same
//! features and in whether and where a document was shown. Only the first is served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::features::CANDIDATE_FEATURES;
use super::fit::{
    Adam, Example, FitOptions, PARAMETERS, Ready, parameters, penalise, set, softmax_gradient,
    start,
};
use super::model::Combiner;

const CANDIDATES: usize = CANDIDATE_FEATURES.len();
/// Whether a document was shown, and how high.
const SHOWN: usize = 2;
/// Holds the model of selection to moderate scores.
const SELECTION_PENALTY: f64 = 0.002;

/// What is known of how an example's candidates were selected.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// Best rank at which each candidate was shown, from 1; None if it never was.
    pub ranks: Vec<Option<usize>>,
    /// The positives as often as they were observed, not corrected for anything.
    pub positives: Vec<(usize, f32)>,
}

/// How to fit both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoupledOptions {
    /// Of the model of relevance, and the steps and their length of both.
    pub fit: FitOptions,
    /// Divides scores before they become weights; more makes the weights more alike.
    pub temperature: f64,
    /// What a negative counts at most.
    pub most_weight: f64,
}

impl Default for CoupledOptions {
    fn default() -> Self {
        CoupledOptions {
            fit: FitOptions::default(),
            temperature: 2.0,
            most_weight: 10.0,
        }
    }
}

/// What came of fitting.
#[derive(Debug, Clone, PartialEq)]
pub struct CoupledFit {
    /// The model of relevance.
    pub combiner: Combiner,
    /// Largest weights of the last step.
    pub weights: LargestWeights,
}

/// The largest weights that negatives had, before they were clipped.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LargestWeights {
    /// In fitting relevance.
    pub relevance: f64,
    /// In fitting selection.
    pub selection: f64,
}

/// Fits both models from a log. `selections` has one for each example.
pub fn fit_coupled(
    examples: &[Example],
    selections: &[Selection],
    from: Option<&Combiner>,
    options: &CoupledOptions,
    description: &str,
) -> CoupledFit {
    let mut model = start(examples, from, description);
    let ready: Vec<Ready<'_>> = examples.iter().map(|e| Ready::new(e, &model)).collect();
    let selected: Vec<Example> = examples
        .iter()
        .zip(selections)
        .map(|(example, selection)| Example {
            positives: selection.positives.clone(),
            negatives: example.negatives.clone(),
            weight: selection.positives.iter().map(|(_, w)| w).sum(),
            features: Default::default(),
        })
        .collect();
    let origin = parameters(&model);
    let mut relevance = origin;
    let mut selection = [0.0; CANDIDATES + SHOWN];
    let mut relevance_steps = Adam::new(PARAMETERS, options.fit.rate);
    let mut selection_steps = Adam::new(CANDIDATES + SHOWN, options.fit.rate);
    let mut largest = LargestWeights::default();
    for _ in 0..options.fit.steps {
        largest = LargestWeights::default();
        let mut by_relevance = [0.0; PARAMETERS];
        let mut by_selection = [0.0; CANDIDATES + SHOWN];
        let (mut all, mut observed) = (0.0, 0.0);
        for ((one, shown), of) in ready.iter().zip(selections).zip(&selected) {
            let weight = f64::from(one.example.weight);
            all += weight;
            observed += f64::from(of.weight);
            let relevance_scores = one.scores(&relevance);
            let rows = rows(one.example, shown);
            let selection_scores: Vec<f64> = rows
                .iter()
                .map(|row| row.iter().zip(&selection).map(|(f, w)| f * w).sum())
                .collect();
            let of_relevance = weights(&selection_scores, of, options, &mut largest.relevance);
            one.add_gradient(&relevance, weight, |n| of_relevance[n], &mut by_relevance);
            let of_selection = weights(
                &relevance_scores,
                one.example,
                options,
                &mut largest.selection,
            );
            let gradient = softmax_gradient(of, &selection_scores, |n| of_selection[n]);
            for (row, g) in rows.iter().zip(gradient) {
                for (sum, f) in by_selection.iter_mut().zip(row) {
                    *sum += f64::from(of.weight) * g * f;
                }
            }
        }
        penalise(&mut by_relevance, &relevance, &origin, all, &options.fit);
        for (g, p) in by_selection.iter_mut().zip(&selection) {
            *g = *g / f64::max(observed, f64::MIN_POSITIVE) + 2.0 * SELECTION_PENALTY * p;
        }
        relevance_steps.step(&mut relevance, &by_relevance);
        selection_steps.step(&mut selection, &by_selection);
    }
    set(&mut model, &relevance);
    CoupledFit {
        combiner: model,
        weights: largest,
    }
}

/// What the model of selection knows of each candidate.
fn rows(example: &Example, selection: &Selection) -> Vec<[f64; CANDIDATES + SHOWN]> {
    let candidates = example.features.candidates.iter().zip(&selection.ranks);
    candidates
        .map(|(row, rank)| {
            std::array::from_fn(|j| match (j.checked_sub(CANDIDATES), rank) {
                (None, _) => f64::from(row[j]),
                (Some(_), None) => 0.0,
                (Some(0), Some(_)) => 1.0,
                (Some(_), Some(rank)) => 1.0 / (1.0 + *rank as f64).log2(),
            })
        })
        .collect()
}

/// What each candidate counts as a negative, by the other model's scores.
fn weights(
    scores: &[f64],
    example: &Example,
    options: &CoupledOptions,
    largest: &mut f64,
) -> Vec<f64> {
    let counted: f64 = example.positives.iter().map(|(_, w)| f64::from(*w)).sum();
    let sum: f64 = example
        .positives
        .iter()
        .map(|&(p, w)| f64::from(w) * scores[p])
        .sum();
    let level = if counted > 0.0 { sum / counted } else { 0.0 };
    let mut weights = vec![1.0; scores.len()];
    for &n in &example.negatives {
        // 1 / (1 - sigmoid(x)) is 1 + exp(x).
        let weight = 1.0 + ((scores[n] - level) / options.temperature).exp();
        *largest = largest.max(weight);
        weights[n] = weight.min(options.most_weight);
    }
    weights
}
