//! Clicks of people who are not there, on collections whose relevance is known: whether what
//! is learned from a biased log comes near to what is true.
//!
//! People are shown the first documents of a ranking (*selection bias*), look at each with a
//! probability that falls with its rank (*position bias*), and click what they look at if it
//! is relevant, or by mistake (the position-based model; Joachims et al. 2017, section 6).
//! Part of the log comes from another ranking, as after a change of weights; that is what
//! propensities are estimated from.

use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;

use super::learn::{Impression, LearnOptions, LoggedQuery, Seen, learn};
use crate::combine::LargestWeights;
use crate::eval::{JudgedQuery, randomisation_test, split_mix};

/// Where the words' and the vectors' minimum and maximum stand among the features.
const LEXICAL: usize = 1;
const DENSE: usize = 4;
/// How often the paired tests draw.
const DRAWS: usize = 100_000;

/// How people behave and what they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SimulationOptions {
    /// Times that each query is asked.
    pub impressions: usize,
    /// Documents that are shown.
    pub shown: usize,
    /// A document at rank `k` is looked at with probability `1 / k ^ position_bias`.
    pub position_bias: f64,
    /// What is looked at and relevant is clicked with this probability.
    pub click: f64,
    /// And what is looked at and not relevant with this one.
    pub mistake: f64,
    /// Weight of the words, up to 1, in the min-max fusion that shows most of what is shown.
    pub lexical: f32,
    /// And in the one that shows a part.
    pub other_lexical: f32,
    /// The share of that part.
    pub other_share: f64,
    /// Logs that are drawn, from seeds 1 on; what is measured is the mean over them.
    pub logs: u64,
}

impl Default for SimulationOptions {
    fn default() -> Self {
        SimulationOptions {
            impressions: 10,
            shown: 10,
            position_bias: 1.0,
            click: 0.9,
            mistake: 0.05,
            // An engine of words, and a change that was tried out on a part of the people.
            lexical: 0.95,
            other_lexical: 0.5,
            other_share: 0.3,
            logs: 3,
        }
    }
}

/// What one way of learning came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimulatedFit {
    /// Mean nDCG@10 against the true relevance, on queries that were held back.
    pub ndcg: f64,
    /// Of the paired randomisation test against the ranking that was shown, two-sided.
    pub p_shown: f64,
    /// The same against the fit without any correction.
    pub p_plain: f64,
    /// Largest weights of negatives, before they were clipped.
    pub largest_weights: LargestWeights,
}

/// What came of a simulation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulation {
    /// How it was done.
    pub options: SimulationOptions,
    /// Queries held back.
    pub queries: usize,
    /// Clicks.
    pub clicks: usize,
    /// Propensities of the first ten ranks, as they were estimated.
    pub propensities: Vec<f64>,
    /// nDCG@10 of the ranking that was shown.
    pub shown: f64,
    /// By name: `plain`, `propensity` and `coupled` alone, `corrected` for both.
    pub fits: IndexMap<String, SimulatedFit>,
}

/// Lets people click and learns from it, with and without what corrects for bias.
pub fn simulate(queries: &[JudgedQuery], options: &SimulationOptions) -> Simulation {
    let held: Vec<&JudgedQuery> = queries.iter().filter(|one| one.is_held_out()).collect();
    let shown = held
        .iter()
        .map(|one| one.ndcg_by(&mixed(one, options.lexical)));
    let shown: Vec<f64> = shown.collect();
    let ways = [
        ("plain", false, false),
        ("propensity", true, false),
        ("coupled", false, true),
        ("corrected", true, true),
    ];
    // By way, the mean over the logs for each query held back.
    let mut values: IndexMap<&str, Vec<f64>> = IndexMap::new();
    let mut largest: IndexMap<&str, LargestWeights> = IndexMap::new();
    let mut propensities = vec![0.0; 10];
    let mut clicks = 0;
    for log in 1..=options.logs.max(1) {
        let mut chance = Chance(log);
        let logged = queries
            .iter()
            .map(|query| clicked(query, options, &mut chance));
        let logged: Vec<LoggedQuery> = logged.collect();
        for (name, by_propensity, coupled) in ways {
            let how = LearnOptions {
                by_propensity,
                coupled,
                ..LearnOptions::default()
            };
            let Some(learned) = learn(&logged, None, &how) else {
                continue;
            };
            let sums = values.entry(name).or_insert_with(|| vec![0.0; held.len()]);
            for (sum, one) in sums.iter_mut().zip(&held) {
                *sum += one.ndcg(&learned.combiner) / options.logs.max(1) as f64;
            }
            let most = largest.entry(name).or_default();
            most.relevance = most.relevance.max(learned.largest_weights.relevance);
            most.selection = most.selection.max(learned.largest_weights.selection);
            if name == "corrected" {
                clicks += learned.clicks;
                for (sum, rank) in propensities.iter_mut().zip(1..) {
                    *sum += learned.propensities.of(rank) / options.logs.max(1) as f64;
                }
            }
        }
    }
    let plain = values.get("plain").cloned().unwrap_or_default();
    let fits = values.iter().map(|(name, values)| {
        let fit = SimulatedFit {
            ndcg: mean(values),
            p_shown: paired(values, &shown),
            p_plain: paired(values, &plain),
            largest_weights: largest.get(name).copied().unwrap_or_default(),
        };
        ((*name).to_string(), fit)
    });
    Simulation {
        options: *options,
        queries: held.len(),
        clicks,
        propensities,
        shown: mean(&shown),
        fits: fits.collect(),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn paired(values: &[f64], others: &[f64]) -> f64 {
    let differences: Vec<f64> = values.iter().zip(others).map(|(a, b)| a - b).collect();
    randomisation_test(&differences, DRAWS)
}

fn mixed(query: &JudgedQuery, lexical: f32) -> Vec<f32> {
    let rows = query.candidates.iter();
    rows.map(|row| lexical * row[LEXICAL] + (1.0 - lexical) * row[DENSE])
        .collect()
}

/// Shows a query's candidates and notes what is clicked.
fn clicked(query: &JudgedQuery, options: &SimulationOptions, chance: &mut Chance) -> LoggedQuery {
    let mut impressions = Vec::with_capacity(options.impressions);
    for _ in 0..options.impressions {
        let lexical = match chance.next() < options.other_share {
            true => options.other_lexical,
            false => options.lexical,
        };
        let order = query.order_by(&mixed(query, lexical));
        let mut seen = Vec::with_capacity(options.shown);
        for (candidate, rank) in order.into_iter().take(options.shown).zip(1..) {
            let looked = chance.next() < (rank as f64).powf(-options.position_bias);
            let pleases = match query.relevance[candidate] > 0 {
                true => options.click,
                false => options.mistake,
            };
            let clicked = looked & (chance.next() < pleases);
            seen.push(Seen {
                candidate,
                rank,
                clicked,
            });
        }
        impressions.push(Impression { seen });
    }
    LoggedQuery {
        // Held back where the judged query is held out.
        query: query.id.clone(),
        documents: query.documents.clone(),
        features: query.features.clone(),
        impressions,
        judgments: Default::default(),
    }
}

/// A sequence that looks like chance.
struct Chance(u64);

impl Chance {
    /// From 0 up to 1.
    fn next(&mut self) -> f64 {
        (split_mix(&mut self.0) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} clicks; {} queries held back; nDCG@10 against the true relevance",
            self.clicks, self.queries
        )?;
        let propensities = self.propensities.iter().map(|p| format!("{p:.2}"));
        writeln!(
            f,
            "propensities of ranks 1 to 10: {}",
            propensities.collect::<Vec<_>>().join(" ")
        )?;
        writeln!(
            f,
            "                 nDCG@10  p to shown  p to plain  largest weight"
        )?;
        writeln!(f, "as it was shown  {:7.4}", self.shown)?;
        for (name, fit) in &self.fits {
            writeln!(
                f,
                "{name:15}  {:7.4} {:11.4} {:11.4} {:15.1}",
                fit.ndcg, fit.p_shown, fit.p_plain, fit.largest_weights.relevance
            )?;
        }
        Ok(())
    }
}
