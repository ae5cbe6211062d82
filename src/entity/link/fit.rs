//! Fitting how much each measure counts, on marked mentions.
//!
//! A conditional logit: the weights that make the right answers likeliest, by Newton's method, held
//! to where they begin. How strongly they are held is chosen on documents that were left out, a
//! fifth at a time; so are thresholds, and what is reported.

use serde::{Deserialize, Serialize};

use super::weigh::{CandidateMeasures, Evidence, NoneMeasures, Origin, Thresholds, Way, Weights};
use crate::error::{Code, Problem, Result};

const CANDIDATE: usize = CandidateMeasures::NAMES.len();
const PARAMETERS: usize = CANDIDATE + NoneMeasures::NAMES.len();
/// Parts of the documents that are left out in turn.
const FOLDS: u64 = 5;
/// How strongly weights may be held to where they begin.
const PENALTIES: [f64; 6] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2];
/// Most steps of Newton's method.
const STEPS: usize = 50;
/// Least sum of the squares of the steps that goes on.
const CLOSE: f64 = 1e-10;
/// Parts of the scale of shares whose answers are counted apart.
const BINS: usize = 10;

/// A mention whose meaning is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// What tells its document from others.
    pub document: u64,
    /// Which candidates are right; none of them where the mention means nothing of these.
    pub right: Vec<usize>,
    /// Whether it means an entity, be it among the candidates or not.
    pub linked: bool,
    /// What is known of it.
    pub evidence: Evidence,
}

/// How good fitted weights are on documents that they were not fitted on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FitReport {
    /// Examples with candidates.
    pub examples: usize,
    /// How strongly the weights were held.
    pub penalty: f64,
    /// Mean of the negative logarithm of the right answer's share.
    pub loss: f64,
    /// Of the examples with candidates, how many get the right answer, none included.
    pub accuracy: f64,
    /// How good the shares are as probabilities.
    pub calibration: Calibration,
}

/// Whether shares are probabilities: of the likeliest entities, how many are right beside their
/// shares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Calibration {
    /// Expected calibration error: the mean distance of share and accuracy over ten parts of the
    /// scale, by their answers (Guo et al. 2017).
    pub ece: f64,
    /// The parts that have answers.
    pub bins: Vec<CalibrationBin>,
}

/// Answers with a similar share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CalibrationBin {
    /// How many.
    pub answers: usize,
    /// Mean of their shares.
    pub share: f64,
    /// How many of them are right.
    pub right: f64,
}

impl Calibration {
    /// Of the shares of answers, and whether each is right.
    pub fn of(answers: impl IntoIterator<Item = (f32, bool)>) -> Calibration {
        let mut bins = [CalibrationBin::default(); BINS];
        for (share, right) in answers {
            let at = ((share * BINS as f32) as usize).min(BINS - 1);
            bins[at].answers += 1;
            bins[at].share += f64::from(share);
            bins[at].right += f64::from(u8::from(right));
        }
        let all: usize = bins.iter().map(|bin| bin.answers).sum();
        let mut ece = 0.0;
        let mut kept = Vec::new();
        for mut bin in bins.into_iter().filter(|bin| bin.answers > 0) {
            ece += (bin.share - bin.right).abs() / all as f64;
            bin.share /= bin.answers as f64;
            bin.right /= bin.answers as f64;
            kept.push(bin);
        }
        Calibration { ece, bins: kept }
    }
}

/// Fits the weights of a way of weighing. The same examples give the same weights.
///
/// # Errors
/// InvalidRequest for too few documents to leave some out.
pub fn fit(examples: &[Example], way: Way) -> Result<(Weights, FitReport)> {
    let ready: Vec<Ready> = examples.iter().filter_map(Ready::new).collect();
    let fold = |ready: &Ready| ready.document % FOLDS;
    let filled = (0..FOLDS).filter(|&f| ready.iter().any(|ready| fold(ready) == f));
    if filled.count() < 2 {
        return Err(Problem::new(
            Code::InvalidRequest,
            "there are too few documents to fit weights on",
        )
        .field("mentions")
        .found(format!("{} mentions with candidates", ready.len()))
        .expected("mentions of at least ten documents")
        .into());
    }
    let mut best: Option<(f64, f64, Vec<Parameters>)> = None;
    for penalty in PENALTIES {
        let mut loss = 0.0;
        let mut folds = Vec::new();
        for left_out in 0..FOLDS {
            let kept: Vec<&Ready> = ready.iter().filter(|r| fold(r) != left_out).collect();
            let fitted = newton(&kept, way, penalty);
            let out = ready.iter().filter(|r| fold(r) == left_out);
            loss += out.map(|one| one.loss(&fitted)).sum::<f64>();
            folds.push(fitted);
        }
        if best.as_ref().is_none_or(|(_, least, _)| loss < *least) {
            best = Some((penalty, loss, folds));
        }
    }
    let Some((penalty, loss, folds)) = best else {
        return Ok((Weights::default(), FitReport::default()));
    };
    let all: Vec<&Ready> = ready.iter().collect();
    let mut weights = weights_of(&newton(&all, way, penalty));
    // What the folds say of the documents that they have not seen.
    let folds: Vec<Weights> = folds.iter().map(weights_of).collect();
    let judged: Vec<Judged> = examples
        .iter()
        .map(|example| Judged::new(example, &folds[(example.document % FOLDS) as usize]))
        .collect();
    for origin in [Origin::Given, Origin::Marked, Origin::Found] {
        let own = judged.iter().filter(|judged| judged.origin == origin);
        *weights.thresholds.of_mut(origin) = threshold(own);
    }
    let answered = judged.iter().filter(|judged| judged.candidates);
    let right = answered.clone().filter(|judged| judged.first_is_right());
    let report = FitReport {
        examples: ready.len(),
        penalty,
        loss: loss / ready.len() as f64,
        accuracy: right.count() as f64 / ready.len() as f64,
        calibration: Calibration::of(answered.map(|judged| (judged.share, judged.right))),
    };
    Ok((weights, report))
}

/// The answer to an example.
struct Judged {
    origin: Origin,
    candidates: bool,
    /// Share of the likeliest entity, and of none.
    share: f32,
    none: f32,
    right: bool,
    linked: bool,
    reachable: bool,
}

impl Judged {
    fn new(example: &Example, weights: &Weights) -> Judged {
        let evidence = &example.evidence;
        let shares = evidence.weigh(weights);
        let first = shares.entities.first();
        let right = first.is_some_and(|entity| {
            let mut right = example.right.iter();
            right.any(|&at| evidence.candidates[at].id == entity.id)
        });
        Judged {
            origin: evidence.origin,
            candidates: first.is_some(),
            share: first.map_or(0.0, |entity| entity.score),
            none: shares.none,
            right,
            linked: example.linked,
            reachable: !example.right.is_empty(),
        }
    }

    fn first_is_right(&self) -> bool {
        match self.share >= self.none {
            true => self.right,
            false => !self.reachable,
        }
    }
}

/// The least share that is an answer, by the F1 of the answers.
fn threshold<'a>(judged: impl Iterator<Item = &'a Judged>) -> f32 {
    let mut answers: Vec<(f32, bool)> = Vec::new();
    let mut wanted = 0;
    for one in judged {
        wanted += usize::from(one.linked);
        if one.candidates {
            answers.push((one.share, one.right));
        }
    }
    answers.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut right = 0;
    let mut best = (0.0, Thresholds::default().found);
    for (at, &(share, is_right)) in answers.iter().enumerate() {
        right += usize::from(is_right);
        let next = answers.get(at + 1).map_or(0.0, |&(share, _)| share);
        let f1 = 2.0 * right as f64 / (at + 1 + wanted) as f64;
        if f1 > best.0 && next < share {
            best = (f1, (share + next) / 2.0);
        }
    }
    // Two digits are all that so few answers can tell.
    (best.1 * 100.0).round() / 100.0
}

type Parameters = [f64; PARAMETERS];

fn weights_of(parameters: &Parameters) -> Weights {
    let at = |at: usize| parameters[at] as f32;
    Weights {
        candidate: CandidateMeasures::of(std::array::from_fn(at)),
        none: NoneMeasures::of(std::array::from_fn(|place| at(CANDIDATE + place))),
        thresholds: Thresholds::default(),
    }
}

/// An example whose answer is not certain.
struct Ready {
    document: u64,
    /// Measures of each candidate, and then of none.
    rows: Vec<Parameters>,
    right: Vec<usize>,
}

impl Ready {
    /// None for one without candidates, which teaches nothing.
    fn new(example: &Example) -> Option<Ready> {
        let Evidence {
            none, candidates, ..
        } = &example.evidence;
        if candidates.is_empty() {
            return None;
        }
        let mut rows: Vec<Parameters> = Vec::with_capacity(candidates.len() + 1);
        for known in candidates {
            let values = known.measures.values();
            rows.push(std::array::from_fn(|at| {
                values.get(at).copied().map_or(0.0, f64::from)
            }));
        }
        let values = none.values();
        rows.push(std::array::from_fn(|at| {
            let place = at.checked_sub(CANDIDATE);
            place.map_or(0.0, |place| f64::from(values[place]))
        }));
        let right = match example.right.is_empty() {
            true => vec![rows.len() - 1],
            false => example.right.clone(),
        };
        Some(Ready {
            document: example.document,
            rows,
            right,
        })
    }

    /// Shares of the rows.
    fn shares(&self, parameters: &Parameters) -> Vec<f64> {
        let dot =
            |row: &Parameters| -> f64 { row.iter().zip(parameters).map(|(a, b)| a * b).sum() };
        let logits: Vec<f64> = self.rows.iter().map(dot).collect();
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut shares: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
        let sum: f64 = shares.iter().sum();
        for share in &mut shares {
            *share /= sum;
        }
        shares
    }

    fn loss(&self, parameters: &Parameters) -> f64 {
        let shares = self.shares(parameters);
        let right: f64 = self.right.iter().map(|&at| shares[at]).sum();
        -right.max(1e-12).ln()
    }
}

/// Where fitting begins: what counts say is believed, and nothing else is known.
fn origin(way: Way) -> Parameters {
    let (candidate, _) = way.counts();
    let begin = CandidateMeasures {
        prior: candidate.prior,
        ..CandidateMeasures::default()
    };
    let values = begin.values();
    std::array::from_fn(|at| values.get(at).copied().map_or(0.0, f64::from))
}

/// Minimises the mean loss plus the penalty of the squared distances from the origin, each in the
/// unit of its measure's deviation.
fn newton(examples: &[&Ready], way: Way, penalty: f64) -> Parameters {
    let (candidate, none) = way.counts();
    let counts: Vec<f32> = candidate
        .values()
        .into_iter()
        .chain(none.values())
        .collect();
    let origin = origin(way);
    let scales = scales(examples);
    let held: Parameters = std::array::from_fn(|at| penalty * scales[at] * scales[at]);
    let objective = |parameters: &Parameters| {
        let mean: f64 = examples.iter().map(|one| one.loss(parameters)).sum::<f64>();
        let away = (0..PARAMETERS).map(|at| held[at] * (parameters[at] - origin[at]).powi(2));
        mean / examples.len() as f64 + away.sum::<f64>()
    };
    let mut parameters = origin;
    let mut value = objective(&parameters);
    for _ in 0..STEPS {
        let (gradient, curvature) = derivatives(examples, &parameters);
        let free = |at: usize| counts[at] != 0.0;
        let mut system = vec![[0.0; PARAMETERS + 1]; PARAMETERS];
        for (row, equation) in system.iter_mut().enumerate() {
            // What does not count stays where it is.
            if !free(row) {
                equation[row] = 1.0;
                continue;
            }
            for column in (0..PARAMETERS).filter(|&column| free(column)) {
                equation[column] = curvature[row][column];
            }
            equation[row] += 2.0 * held[row] + 1e-12;
            equation[PARAMETERS] =
                gradient[row] + 2.0 * held[row] * (parameters[row] - origin[row]);
        }
        let step = solve(system);
        let mut length = 1.0;
        let mut moved = false;
        while length > 1e-6 {
            let next: Parameters = std::array::from_fn(|at| parameters[at] - length * step[at]);
            let reached = objective(&next);
            if reached < value {
                (parameters, value, moved) = (next, reached, true);
                break;
            }
            length /= 2.0;
        }
        let size: f64 = step.iter().map(|s| (length * s).powi(2)).sum();
        if !moved || size < CLOSE {
            break;
        }
    }
    parameters
}

/// Deviations of the measures; 1 for those that never differ.
fn scales(examples: &[&Ready]) -> Parameters {
    let rows = || examples.iter().flat_map(|one| &one.rows);
    let count = rows().count().max(1) as f64;
    std::array::from_fn(|at| {
        let mean = rows().map(|row| row[at]).sum::<f64>() / count;
        let variance = rows().map(|row| (row[at] - mean).powi(2)).sum::<f64>() / count;
        match variance.sqrt() {
            deviation if deviation > 1e-6 => deviation,
            _ => 1.0,
        }
    })
}

/// Gradient of the mean loss, and the part of its curvature that is never negative.
fn derivatives(
    examples: &[&Ready],
    parameters: &Parameters,
) -> (Parameters, [Parameters; PARAMETERS]) {
    let mut gradient = [0.0; PARAMETERS];
    let mut curvature = [[0.0; PARAMETERS]; PARAMETERS];
    let count = examples.len().max(1) as f64;
    for one in examples {
        let shares = one.shares(parameters);
        let right: f64 = one.right.iter().map(|&at| shares[at]).sum();
        let mut mean = [0.0; PARAMETERS];
        for (row, share) in one.rows.iter().zip(&shares) {
            for at in 0..PARAMETERS {
                mean[at] += share * row[at];
            }
        }
        for at in 0..PARAMETERS {
            let wanted: f64 = one
                .right
                .iter()
                .map(|&row| shares[row] / right.max(1e-12) * one.rows[row][at])
                .sum();
            gradient[at] += (mean[at] - wanted) / count;
        }
        for (row, share) in one.rows.iter().zip(&shares) {
            let away: Parameters = std::array::from_fn(|at| row[at] - mean[at]);
            for a in 0..PARAMETERS {
                if away[a] == 0.0 {
                    continue;
                }
                for b in 0..PARAMETERS {
                    curvature[a][b] += share * away[a] * away[b] / count;
                }
            }
        }
    }
    (gradient, curvature)
}

/// Solves linear equations, the right side in the last column, by elimination with pivots.
fn solve(mut system: Vec<[f64; PARAMETERS + 1]>) -> Parameters {
    for column in 0..PARAMETERS {
        let largest = (column..PARAMETERS)
            .max_by(|&a, &b| system[a][column].abs().total_cmp(&system[b][column].abs()));
        system.swap(column, largest.unwrap_or(column));
        let pivot = system[column];
        if pivot[column].abs() < 1e-300 {
            continue;
        }
        for row in system.iter_mut().skip(column + 1) {
            let times = row[column] / pivot[column];
            for at in column..=PARAMETERS {
                row[at] -= times * pivot[at];
            }
        }
    }
    let mut solved = [0.0; PARAMETERS];
    for row in (0..PARAMETERS).rev() {
        let known: f64 = (row + 1..PARAMETERS)
            .map(|at| system[row][at] * solved[at])
            .sum();
        if system[row][row].abs() >= 1e-300 {
            solved[row] = (system[row][PARAMETERS] - known) / system[row][row];
        }
    }
    solved
}
