//! Fitting: which weights put relevant documents above the others.

use super::features::{CANDIDATE_FEATURES, Features, QUERY_FEATURES};
use super::model::{Combiner, sigmoid, softplus};

const CANDIDATES: usize = CANDIDATE_FEATURES.len();
const QUERIES: usize = QUERY_FEATURES.len();
/// Parameters: for each candidate feature a constant and a coefficient for each query
/// feature.
pub(super) const PARAMETERS: usize = CANDIDATES * (1 + QUERIES);

/// A query with its candidates, and which of them are known to be relevant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Example {
    /// What is known of them.
    pub features: Features,
    /// Candidates that are relevant, and how much each counts.
    pub positives: Vec<(usize, f32)>,
    /// Candidates that count as not relevant.
    pub negatives: Vec<usize>,
    /// How much the query counts.
    pub weight: f32,
}

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitOptions {
    /// Steps over all examples.
    pub steps: usize,
    /// Length of a step (Adam, Kingma and Ba 2015).
    pub rate: f64,
    /// How strongly the dependence on the query is held to where it started.
    pub query_penalty: f64,
    /// The same for the constants.
    pub constant_penalty: f64,
}

impl Default for FitOptions {
    fn default() -> Self {
        FitOptions {
            steps: 400,
            rate: 0.05,
            query_penalty: 0.005,
            constant_penalty: 0.0003,
        }
    }
}

/// Fits a combiner, beginning from `from` and held to it, or from weights that depend on no
/// query.
///
/// Minimises the mean over the examples of the softmax loss of each positive against the
/// negatives of its query (ListNet's top-one loss, Cao et al. 2007, with one positive at a
/// time), plus the penalties times the squared distance from the start.
pub fn fit(
    examples: &[Example],
    from: Option<&Combiner>,
    options: &FitOptions,
    description: &str,
) -> Combiner {
    let mut model = start(examples, from, description);
    let ready: Vec<Ready<'_>> = examples.iter().map(|e| Ready::new(e, &model)).collect();
    let origin = parameters(&model);
    let mut parameters = origin;
    let mut adam = Adam::new(PARAMETERS, options.rate);
    for _ in 0..options.steps {
        let mut gradient = [0.0; PARAMETERS];
        let mut all = 0.0;
        for one in &ready {
            all += f64::from(one.example.weight);
            let weight = f64::from(one.example.weight);
            one.add_gradient(&parameters, weight, |_| 1.0, &mut gradient);
        }
        penalise(&mut gradient, &parameters, &origin, all, options);
        adam.step(&mut parameters, &gradient);
    }
    set(&mut model, &parameters);
    model
}

/// Where fitting begins: weights as they are, or equal ones.
pub(super) fn start(examples: &[Example], from: Option<&Combiner>, description: &str) -> Combiner {
    if let Some(from) = from {
        return Combiner {
            description: description.into(),
            ..from.clone()
        };
    }
    let count = examples.len().max(1) as f64;
    let moment = |k: usize, of: &dyn Fn(f64) -> f64| {
        let values = examples.iter().map(|e| of(f64::from(e.features.query[k])));
        values.sum::<f64>() / count
    };
    let means: Vec<f64> = (0..QUERIES).map(|k| moment(k, &|v| v)).collect();
    let deviations = means.iter().enumerate().map(|(k, mean)| {
        let variance = moment(k, &|v| (v - mean) * (v - mean));
        // One that never varies must not blow up when it does.
        variance.sqrt().max(0.02) as f32
    });
    Combiner {
        description: description.into(),
        candidate_features: CANDIDATE_FEATURES.map(String::from).to_vec(),
        query_features: QUERY_FEATURES.map(String::from).to_vec(),
        deviations: deviations.collect(),
        means: means.into_iter().map(|m| m as f32).collect(),
        weights: (0..CANDIDATES)
            .map(|_| {
                let mut row = vec![0.0; 1 + QUERIES];
                row[0] = 1.0;
                row
            })
            .collect(),
    }
}

pub(super) fn parameters(model: &Combiner) -> [f64; PARAMETERS] {
    let mut all = model.weights.iter().flatten().map(|&w| f64::from(w));
    std::array::from_fn(|_| all.next().unwrap_or(0.0))
}

pub(super) fn set(model: &mut Combiner, parameters: &[f64; PARAMETERS]) {
    model.weights = parameters
        .chunks(1 + QUERIES)
        .map(|row| row.iter().map(|&w| w as f32).collect())
        .collect();
}

/// Divides the gradient by the weight of all examples and adds that of the penalties.
pub(super) fn penalise(
    gradient: &mut [f64; PARAMETERS],
    parameters: &[f64; PARAMETERS],
    origin: &[f64; PARAMETERS],
    all: f64,
    options: &FitOptions,
) {
    for (i, g) in gradient.iter_mut().enumerate() {
        let penalty = match i % (1 + QUERIES) {
            0 => options.constant_penalty,
            _ => options.query_penalty,
        };
        *g = *g / all.max(f64::MIN_POSITIVE) + 2.0 * penalty * (parameters[i] - origin[i]);
    }
}

/// An example with its query's features as they enter the weights.
pub(super) struct Ready<'a> {
    pub example: &'a Example,
    query: [f64; QUERIES],
}

impl<'a> Ready<'a> {
    pub fn new(example: &'a Example, model: &Combiner) -> Ready<'a> {
        Ready {
            example,
            query: model.standardised(&example.features.query),
        }
    }

    /// Weights before they are brought to a sum of 1, and their derivatives.
    fn raw(&self, parameters: &[f64; PARAMETERS]) -> ([f64; CANDIDATES], [f64; CANDIDATES]) {
        let z: [f64; CANDIDATES] = std::array::from_fn(|j| {
            let row = &parameters[j * (1 + QUERIES)..(j + 1) * (1 + QUERIES)];
            row[0]
                + row[1..]
                    .iter()
                    .zip(&self.query)
                    .map(|(w, g)| w * g)
                    .sum::<f64>()
        });
        (z.map(softplus), z.map(sigmoid))
    }

    /// Scores of all candidates as they enter the loss.
    pub fn scores(&self, parameters: &[f64; PARAMETERS]) -> Vec<f64> {
        let (raw, _) = self.raw(parameters);
        let score =
            |row: &[f32; CANDIDATES]| row.iter().zip(&raw).map(|(&f, w)| f64::from(f) * w).sum();
        self.example.features.candidates.iter().map(score).collect()
    }

    /// Adds `weight` times the gradient of the example's loss; `negative` says how much a
    /// negative counts.
    pub fn add_gradient(
        &self,
        parameters: &[f64; PARAMETERS],
        weight: f64,
        negative: impl Fn(usize) -> f64,
        gradient: &mut [f64; PARAMETERS],
    ) {
        let scores = self.scores(parameters);
        let by_score = softmax_gradient(self.example, &scores, negative);
        let (_, slopes) = self.raw(parameters);
        let mut by_weight = [0.0; CANDIDATES];
        for (row, g) in self.example.features.candidates.iter().zip(&by_score) {
            if *g != 0.0 {
                for (sum, &f) in by_weight.iter_mut().zip(row) {
                    *sum += g * f64::from(f);
                }
            }
        }
        for j in 0..CANDIDATES {
            let slope = weight * by_weight[j] * slopes[j];
            let row = &mut gradient[j * (1 + QUERIES)..(j + 1) * (1 + QUERIES)];
            row[0] += slope;
            for (sum, g) in row[1..].iter_mut().zip(&self.query) {
                *sum += slope * g;
            }
        }
    }
}

/// The gradient of an example's loss by its candidates' scores: the mean over the positives,
/// by what each counts, of `-log(exp(s+) / (exp(s+) + sum over n of w(n) exp(s(n))))`.
pub(super) fn softmax_gradient(
    example: &Example,
    scores: &[f64],
    negative: impl Fn(usize) -> f64,
) -> Vec<f64> {
    let mut gradient = vec![0.0; scores.len()];
    let all: f64 = example.positives.iter().map(|(_, w)| f64::from(*w)).sum();
    if all <= 0.0 || example.negatives.is_empty() {
        return gradient;
    }
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let terms: Vec<f64> = example
        .negatives
        .iter()
        .map(|&n| negative(n) * (scores[n] - highest).exp())
        .collect();
    let others: f64 = terms.iter().sum();
    let mut pushed = 0.0;
    for &(p, counts) in &example.positives {
        let own = (scores[p] - highest).exp();
        let share = f64::from(counts) / all;
        gradient[p] += share * (own / (own + others) - 1.0);
        pushed += share / (own + others);
    }
    for (&n, term) in example.negatives.iter().zip(&terms) {
        gradient[n] += pushed * term;
    }
    gradient
}

/// Steps of a length of their own for each parameter (Kingma and Ba 2015, algorithm 1).
pub(super) struct Adam {
    rate: f64,
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl Adam {
    pub fn new(parameters: usize, rate: f64) -> Adam {
        Adam {
            rate,
            first: vec![0.0; parameters],
            second: vec![0.0; parameters],
            steps: 0,
        }
    }

    pub fn step(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        const B1: f64 = 0.9;
        const B2: f64 = 0.999;
        self.steps += 1;
        let (c1, c2) = (1.0 - B1.powi(self.steps), 1.0 - B2.powi(self.steps));
        for (i, (p, g)) in parameters.iter_mut().zip(gradient).enumerate() {
            self.first[i] = B1 * self.first[i] + (1.0 - B1) * g;
            self.second[i] = B2 * self.second[i] + (1.0 - B2) * g * g;
            *p -= self.rate * (self.first[i] / c1) / ((self.second[i] / c2).sqrt() + 1e-8);
        }
    }
}
