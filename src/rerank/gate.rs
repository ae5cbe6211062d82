//! Which documents of a first stage a cross-encoder might put among the first ten, told from
//! the first stage's scores in microseconds.
//!
//! A logistic regression over a few features of a document's place (score, ranks, margin to
//! the tenth, whether both legs found it) and of the whole list (how far the first is ahead,
//! how flat the scores are). It is fitted to what the cross-encoder did on queries it scored
//! in full; no judgments take part.

/// Values that describe a document's place.
pub const FEATURES: usize = 9;

/// What the first stage says of a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FirstStage {
    /// The score it was ranked by.
    pub score: f32,
    /// The words' score, where they found it.
    pub lexical: Option<f32>,
    /// The vectors' score, where they found it.
    pub dense: Option<f32>,
}

/// Features of the documents of one list, best first. Ranks are those of scores, so that
/// documents of equal scores are equal here too.
pub fn features(list: &[FirstStage]) -> Vec<[f64; FEATURES]> {
    let count = list.len();
    let scores: Vec<f32> = list.iter().map(|one| one.score).collect();
    let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let stretch = |score: f32| match most > least {
        true => f64::from((score - least) / (most - least)),
        false => 1.0,
    };
    let stretched: Vec<f64> = scores.iter().map(|&score| stretch(score)).collect();
    let mean = stretched.iter().sum::<f64>() / count.max(1) as f64;
    let mut sorted = stretched.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let lead = sorted.first().unwrap_or(&1.0) - sorted.get(1).unwrap_or(&0.0);
    let tenth = sorted.get(super::TOP - 1).copied().unwrap_or(0.0);
    let of = |leg: fn(&FirstStage) -> Option<f32>| -> Vec<Option<usize>> {
        ranks(&list.iter().map(leg).collect::<Vec<_>>())
    };
    let fused = of(|one| Some(one.score));
    let (lexical, dense) = (of(|one| one.lexical), of(|one| one.dense));
    let log = |rank: usize| (1.0 + rank as f64).ln();
    (0..count)
        .map(|n| {
            let rank = fused[n].unwrap_or(count);
            let (words, vectors) = (lexical[n].unwrap_or(count), dense[n].unwrap_or(count));
            [
                1.0,
                stretched[n],
                log(rank),
                (tenth - stretched[n]).max(0.0),
                f64::from(lexical[n].is_some() && dense[n].is_some()),
                log(words.min(vectors)),
                log(words.max(vectors)),
                lead,
                mean,
            ]
        })
        .collect()
}

/// Ranks from 0 by falling score; equal scores have one rank.
fn ranks(scores: &[Option<f32>]) -> Vec<Option<usize>> {
    let mut order: Vec<(f32, usize)> = scores
        .iter()
        .enumerate()
        .filter_map(|(n, score)| Some(((*score)?, n)))
        .collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut ranks = vec![None; scores.len()];
    let mut rank = 0;
    for (place, &(score, n)) in order.iter().enumerate() {
        if place == 0 || order[place - 1].0 != score {
            rank = place;
        }
        ranks[n] = Some(rank);
    }
    ranks
}

/// Tells how likely a document is to be among the first ten once all are scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// A weight for each feature.
    pub weights: [f64; FEATURES],
}

impl Default for Gate {
    /// Falls with the rank in the fused list and in the better leg.
    fn default() -> Self {
        Gate {
            weights: [2.2, 2.5, -0.8, -2.0, 0.3, -0.4, -0.15, 0.0, -1.0],
        }
    }
}

/// Steps of Newton's method, which takes a handful.
const STEPS: usize = 50;
/// Prior precision of every weight but the first: keeps weights finite where a feature tells
/// everything.
const RIDGE: f64 = 1.0;

impl Gate {
    /// Likelihoods, 0 to 1, of the documents of one list, best first.
    pub fn chances(&self, list: &[FirstStage]) -> Vec<f32> {
        let rows = features(list).into_iter();
        rows.map(|row| self.chance(&row) as f32).collect()
    }

    fn chance(&self, row: &[f64; FEATURES]) -> f64 {
        let sum: f64 = self.weights.iter().zip(row).map(|(w, x)| w * x).sum();
        1.0 / (1.0 + (-sum).exp())
    }

    /// Fits the weights to what became of some documents (penalised maximum likelihood by
    /// Newton's method); the default where there is nothing to fit to.
    pub fn fit(rows: &[([f64; FEATURES], bool)]) -> Gate {
        let both = rows.iter().any(|row| row.1) && rows.iter().any(|row| !row.1);
        if !both {
            return Gate::default();
        }
        let mut gate = Gate {
            weights: [0.0; FEATURES],
        };
        for _ in 0..STEPS {
            let mut gradient = [0.0; FEATURES];
            let mut hessian = [[0.0; FEATURES]; FEATURES];
            for (row, yes) in rows {
                let chance = gate.chance(row);
                let (error, weight) = (f64::from(*yes) - chance, chance * (1.0 - chance));
                for i in 0..FEATURES {
                    gradient[i] += error * row[i];
                    for j in 0..=i {
                        hessian[i][j] += weight * row[i] * row[j];
                    }
                }
            }
            for i in 0..FEATURES {
                let ridge = if i == 0 { 1e-6 } else { RIDGE };
                gradient[i] -= ridge * gate.weights[i];
                hessian[i][i] += ridge;
            }
            let step = solve(hessian, gradient);
            let mut largest = 0.0_f64;
            for (weight, step) in gate.weights.iter_mut().zip(step) {
                *weight += step;
                largest = largest.max(step.abs());
            }
            if largest < 1e-9 {
                break;
            }
        }
        gate
    }
}

/// Solves a symmetric positive definite system, given by its lower half (Cholesky).
fn solve(mut a: [[f64; FEATURES]; FEATURES], mut b: [f64; FEATURES]) -> [f64; FEATURES] {
    for i in 0..FEATURES {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            a[i][j] = match i == j {
                true => (a[i][i] - sum).max(1e-12).sqrt(),
                false => (a[i][j] - sum) / a[j][j],
            };
        }
    }
    for i in 0..FEATURES {
        let sum: f64 = (0..i).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i][i];
    }
    for i in (0..FEATURES).rev() {
        let sum: f64 = (i + 1..FEATURES).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list() -> impl Strategy<Value = Vec<FirstStage>> {
        let leg = prop::option::of(0.0_f32..20.0);
        prop::collection::vec((0.0_f32..1.0, leg.clone(), leg), 0..60).prop_map(|rows| {
            let mut list: Vec<FirstStage> = rows
                .into_iter()
                .map(|(score, lexical, dense)| FirstStage {
                    score,
                    lexical,
                    dense,
                })
                .collect();
            list.sort_by(|a, b| b.score.total_cmp(&a.score));
            list
        })
    }

    proptest! {
        #[test]
        fn chances_are_chances_and_do_not_depend_on_the_order_of_equals(
            mut list in list(),
        ) {
            for n in 1..list.len() {
                if n % 3 == 0 {
                    list[n].score = list[n - 1].score;
                }
            }
            let chances = Gate::default().chances(&list);
            prop_assert_eq!(chances.len(), list.len());
            prop_assert!(chances.iter().all(|c| (0.0..=1.0).contains(c)));
            for n in (3..list.len()).step_by(3) {
                let mut swapped = list.clone();
                swapped.swap(n, n - 1);
                let other = Gate::default().chances(&swapped);
                prop_assert_eq!(chances[n], other[n - 1]);
                prop_assert_eq!(chances[n - 1], other[n]);
            }
        }
    }

    #[test]
    fn a_fit_finds_what_decides() {
        // Documents end among the first ten if their score is high, whatever else.
        let mut rows = Vec::new();
        for n in 0..400_u32 {
            let x = f64::from(n % 20) / 20.0;
            let mut row = [0.0; FEATURES];
            row[0] = 1.0;
            row[1] = x;
            row[5] = f64::from(n % 7) / 7.0;
            rows.push((row, x + f64::from(n % 3) * 0.1 > 0.7));
        }
        let gate = Gate::fit(&rows);
        assert!(
            gate.weights[1] > 5.0 && gate.weights[5].abs() < 1.0,
            "{gate:?}"
        );
        // At the optimum the likelihood's slope is zero: the sum of chances is that of facts.
        let sum: f64 = rows.iter().map(|(row, _)| gate.chance(row)).sum();
        let facts = rows.iter().filter(|row| row.1).count() as f64;
        assert!((sum - facts).abs() < 1e-3, "{sum} {facts}");
        assert_eq!(Gate::fit(&rows[..0]), Gate::default());
    }
}
