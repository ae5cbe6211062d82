//! How likely a document is looked at, by the rank at which it was shown.
//!
//! A click needs two things: that the document was looked at, and that it pleased
//! (position-based model, Richardson et al. 2007). Counting each click as `1 / propensity`
//! of its rank makes the loss what it would have been had everything been looked at
//! (Joachims, Swaminathan and Schnabel 2017).
//!
//! The propensities come from the log itself, without an experiment: a document that was
//! shown for the same query at two ranks, because the index, the definition or the combiner
//! changed between, tells how these ranks compare (intervention harvesting, Agarwal et al.
//! 2019). Where the log has too few of those, they are assumed to fall as 1 / rank.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ranks that propensities are estimated for; deeper ones follow the last.
const RANKS: usize = 50;
/// Clicks that two ranks need on the documents that they share, each.
const CLICKS: f64 = 5.0;
/// Propensities below this count as this, so that no click counts more than 20 times.
const LEAST: f64 = 0.05;
/// Sweeps over the ranks until their differences have settled.
const SWEEPS: usize = 500;

/// Times that a document was shown and clicked, by rank.
type ByRank = BTreeMap<usize, (f64, f64)>;

/// A document that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// Stands for the query and the document together.
    pub pair: u64,
    /// Where it was shown, from 1.
    pub rank: usize,
    /// Whether it was clicked.
    pub clicked: bool,
}

/// How likely each rank is looked at, relative to the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Propensities {
    /// By rank, from 1: falling, at most 1, at least 0.05.
    pub by_rank: Vec<f64>,
    /// Ranks that the log told about; the others are assumed.
    pub estimated: usize,
    /// Pairs of query and document that were shown at more than one rank.
    pub interventions: usize,
}

impl Propensities {
    /// 1 / rank.
    pub fn assumed() -> Propensities {
        Propensities {
            by_rank: (1..=RANKS)
                .map(|rank| (1.0 / rank as f64).max(LEAST))
                .collect(),
            estimated: 0,
            interventions: 0,
        }
    }

    /// Of a rank, from 1.
    pub fn of(&self, rank: usize) -> f64 {
        let place = rank.max(1) - 1;
        let last = self.by_rank.last().copied().unwrap_or(1.0);
        self.by_rank.get(place).copied().unwrap_or(last)
    }

    /// Estimates them from what was shown.
    pub fn estimate(exposures: &[Exposure]) -> Propensities {
        let mut pairs: HashMap<u64, ByRank> = HashMap::new();
        for one in exposures
            .iter()
            .filter(|one| (1..=RANKS).contains(&one.rank))
        {
            let at = pairs
                .entry(one.pair)
                .or_default()
                .entry(one.rank)
                .or_default();
            at.0 += 1.0;
            at.1 += f64::from(u8::from(one.clicked));
        }
        let mut moved: Vec<(u64, ByRank)> = pairs
            .into_iter()
            .filter(|(_, ranks)| ranks.len() > 1)
            .collect();
        // Sums of floats depend on their order.
        moved.sort_unstable_by_key(|(pair, _)| *pair);
        let interventions = moved.len();
        let mut shared = vec![vec![Shared::default(); RANKS]; RANKS];
        for (_, ranks) in &moved {
            for (&a, &(shown_a, clicks_a)) in ranks {
                for (&b, &(shown_b, clicks_b)) in ranks.range(a + 1..) {
                    let both = &mut shared[a - 1][b - 1];
                    both.rates.0 += clicks_a / shown_a;
                    both.rates.1 += clicks_b / shown_b;
                    both.clicks.0 += clicks_a;
                    both.clicks.1 += clicks_b;
                }
            }
        }
        let logs = solve(&shared);
        let known = logs.iter().take_while(|log| log.is_some()).count();
        if known < 2 {
            return Propensities {
                interventions,
                ..Propensities::assumed()
            };
        }
        let known_logs: Vec<f64> = logs.into_iter().flatten().take(known).collect();
        let mut by_rank = falling(&known_logs);
        let first = by_rank[0];
        for log in &mut by_rank {
            *log = (*log - first).exp().clamp(LEAST, 1.0);
        }
        let last = by_rank[known - 1];
        for rank in known + 1..=RANKS {
            by_rank.push((last * known as f64 / rank as f64).max(LEAST));
        }
        Propensities {
            by_rank,
            estimated: known,
            interventions,
        }
    }
}

/// What two ranks' documents that they share tell.
#[derive(Debug, Clone, Copy, Default)]
struct Shared {
    rates: (f64, f64),
    clicks: (f64, f64),
}

impl Shared {
    /// Logarithm of the ratio of the propensities, and how sure it is: the inverse of its
    /// variance.
    fn ratio(&self) -> Option<(f64, f64)> {
        let (a, b) = self.clicks;
        (a >= CLICKS && b >= CLICKS).then(|| ((self.rates.0 / self.rates.1).ln(), a * b / (a + b)))
    }
}

/// Logarithms of the propensities of the ranks that hang together with the first, by
/// weighted least squares over all pairs of ranks.
fn solve(shared: &[Vec<Shared>]) -> Vec<Option<f64>> {
    // Edges to each rank: from where, by how much, how sure.
    let mut edges: Vec<Vec<(usize, f64, f64)>> = vec![Vec::new(); RANKS];
    for (a, row) in shared.iter().enumerate() {
        for (b, both) in row.iter().enumerate().skip(a + 1) {
            if let Some((ratio, weight)) = both.ratio() {
                edges[a].push((b, ratio, weight));
                edges[b].push((a, -ratio, weight));
            }
        }
    }
    let mut logs: Vec<Option<f64>> = vec![None; RANKS];
    logs[0] = Some(0.0);
    for _ in 0..SWEEPS {
        for rank in 1..RANKS {
            let (mut sum, mut weights) = (0.0, 0.0);
            for &(other, ratio, weight) in &edges[rank] {
                if let Some(log) = logs[other] {
                    sum += weight * (log + ratio);
                    weights += weight;
                }
            }
            if weights > 0.0 {
                logs[rank] = Some(sum / weights);
            }
        }
    }
    logs
}

/// The falling sequence nearest to the values (pool adjacent violators).
fn falling(values: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for &value in values {
        let mut pool = (value, 1);
        while let Some(&(before, count)) = pools.last()
            && before < pool.0
        {
            pools.pop();
            let all = count + pool.1;
            pool = (
                (before * count as f64 + pool.0 * pool.1 as f64) / all as f64,
                all,
            );
        }
        pools.push(pool);
    }
    let spread = pools
        .iter()
        .flat_map(|&(mean, count)| std::iter::repeat_n(mean, count));
    spread.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the log shows by chance is drawn from a fixed sequence.
    fn chance(state: &mut u64) -> f64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn propensities_are_found_where_documents_moved() {
        let mut state = 7;
        let mut exposures = Vec::new();
        for pair in 0..4_000u64 {
            let pleases = 0.1 + 0.8 * chance(&mut state);
            for _ in 0..4 {
                let rank = 1 + (chance(&mut state) * 8.0) as usize;
                let looked = 1.0 / (rank as f64).sqrt();
                let clicked = chance(&mut state) < looked * pleases;
                exposures.push(Exposure {
                    pair,
                    rank,
                    clicked,
                });
            }
        }
        let found = Propensities::estimate(&exposures);
        assert_eq!(found.estimated, 8);
        for rank in 1..=8 {
            let truth = 1.0 / (rank as f64).sqrt();
            assert!(
                (found.of(rank) - truth).abs() < 0.06,
                "rank {rank}: {} for {truth}",
                found.of(rank)
            );
        }
        assert!(found.of(9) < found.of(8) && found.of(1_000) >= LEAST);
    }

    #[test]
    fn without_documents_that_moved_they_are_assumed() {
        let exposures: Vec<Exposure> = (0..1_000)
            .map(|pair| Exposure {
                pair,
                rank: 1 + pair as usize % 10,
                clicked: pair % 3 == 0,
            })
            .collect();
        let found = Propensities::estimate(&exposures);
        assert_eq!((found.estimated, found.interventions), (0, 0));
        assert_eq!(found.of(4), 0.25);
    }
}
