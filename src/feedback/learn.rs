//! From a log of what was shown, clicked and judged to a combiner, and whether it wins.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::combine::{
    Combiner, CoupledOptions, Example, Exposure, Features, FitOptions, LargestWeights,
    Propensities, Selection, fit, fit_coupled,
};
use crate::eval::randomisation_test;

/// Ranks that gains are added up over.
const CUT: usize = 10;
/// How often the paired test draws.
const DRAWS: usize = 10_000;

/// A query with what is known of its candidates and what was said about them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoggedQuery {
    /// Its text: says where it is held back, and stands for it in the log.
    pub query: String,
    /// Ids of its candidates, in the order of the features.
    pub documents: Vec<String>,
    /// What is known of them.
    pub features: Features,
    /// What was shown.
    pub impressions: Vec<Impression>,
    /// Grades by candidate.
    pub judgments: BTreeMap<usize, u8>,
}

/// What was shown at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Impression {
    /// What is a candidate of what was shown.
    pub seen: Vec<Seen>,
}

/// A candidate that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its place among the candidates.
    pub candidate: usize,
    /// Where it was shown, from 1.
    pub rank: usize,
    /// Whether it was clicked.
    pub clicked: bool,
}

/// How to learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearnOptions {
    /// Count clicks by the inverse propensity of their rank, which corrects for where they
    /// were shown; otherwise all alike.
    pub by_propensity: bool,
    /// Count negatives by the coupled estimation, which corrects for what was not shown at
    /// all; otherwise all alike.
    pub coupled: bool,
    /// Of fitting.
    pub fit: CoupledOptions,
}

impl Default for LearnOptions {
    fn default() -> Self {
        LearnOptions {
            by_propensity: true,
            coupled: true,
            fit: CoupledOptions::default(),
        }
    }
}

/// What was learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// The combiner.
    pub combiner: Combiner,
    /// How likely each rank is looked at.
    pub propensities: Propensities,
    /// Largest weights of negatives, before they were clipped.
    pub largest_weights: LargestWeights,
    /// Queries that were fitted on.
    pub queries: usize,
    /// Clicks in them.
    pub clicks: usize,
}

/// A combiner against another one, on queries that neither was fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Queries compared on.
    pub queries: usize,
    /// Mean gain of the one in use.
    pub before: f64,
    /// Mean gain of the new one.
    pub after: f64,
    /// Of the paired randomisation test, two-sided.
    pub p: f64,
}

impl LoggedQuery {
    /// Whether it is held back: one in five, by its text.
    pub fn is_held_back(&self) -> bool {
        crc32fast::hash(self.query.as_bytes()).is_multiple_of(5)
    }

    fn exposures(&self) -> impl Iterator<Item = Exposure> {
        let query = u64::from(crc32fast::hash(self.query.as_bytes())) << 32;
        let seen = self.impressions.iter().flat_map(|one| &one.seen);
        seen.map(move |one| Exposure {
            pair: query | one.candidate as u64,
            rank: one.rank,
            clicked: one.clicked,
        })
    }

    /// What is known to be relevant, with what each counts; and the same without what
    /// corrects clicks. Judgments outdo clicks.
    fn positives(
        &self,
        propensities: &Propensities,
    ) -> (BTreeMap<usize, f64>, BTreeMap<usize, f64>) {
        let (mut corrected, mut observed) = (BTreeMap::new(), BTreeMap::new());
        for (&candidate, &grade) in self.judgments.iter().filter(|(_, grade)| **grade > 0) {
            corrected.insert(candidate, f64::from(grade));
            observed.insert(candidate, f64::from(grade));
        }
        for one in self.impressions.iter().flat_map(|one| &one.seen) {
            if one.clicked && !self.judgments.contains_key(&one.candidate) {
                *corrected.entry(one.candidate).or_insert(0.0) += 1.0 / propensities.of(one.rank);
                *observed.entry(one.candidate).or_insert(0.0) += 1.0;
            }
        }
        (corrected, observed)
    }

    fn example(
        &self,
        propensities: &Propensities,
        by_propensity: bool,
    ) -> Option<(Example, Selection)> {
        let (corrected, observed) = self.positives(propensities);
        let counted = match by_propensity {
            true => &corrected,
            false => &observed,
        };
        if counted.is_empty() {
            return None;
        }
        let list = |of: &BTreeMap<usize, f64>| of.iter().map(|(&i, &w)| (i, w as f32)).collect();
        let mut ranks: Vec<Option<usize>> = vec![None; self.documents.len()];
        for one in self.impressions.iter().flat_map(|one| &one.seen) {
            let best = &mut ranks[one.candidate];
            *best = Some(best.map_or(one.rank, |rank| rank.min(one.rank)));
        }
        // What was judged was selected first of all.
        for &candidate in self.judgments.keys() {
            ranks[candidate] = Some(1);
        }
        let negatives = 0..self.documents.len();
        let example = Example {
            features: self.features.clone(),
            positives: list(counted),
            negatives: negatives.filter(|i| !observed.contains_key(i)).collect(),
            weight: counted.values().sum::<f64>() as f32,
        };
        let selection = Selection {
            ranks,
            positives: list(&observed),
        };
        Some((example, selection))
    }

    /// Gain of a combiner's order: what each positive counts, by the logarithm of its rank
    /// within ten; and the most that there is to gain.
    fn gain(&self, combiner: &Combiner, propensities: &Propensities) -> (f64, f64) {
        let (counted, _) = self.positives(propensities);
        let scores = combiner.scores(&self.features);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| {
            let by_id = || self.documents[a].cmp(&self.documents[b]);
            scores[b].total_cmp(&scores[a]).then_with(by_id)
        });
        let ranked = order.iter().take(CUT).zip(2u32..);
        let gain = ranked
            .filter_map(|(i, rank)| Some(counted.get(i)? / f64::from(rank).log2()))
            .sum();
        (gain, counted.values().sum())
    }
}

/// Learns from the queries that are not held back, beginning from `from`, or weights that
/// depend on no query, and held to it the more, the fewer they are. None where nothing of
/// what was said concerns a candidate.
pub fn learn(
    queries: &[LoggedQuery],
    from: Option<&Combiner>,
    options: &LearnOptions,
) -> Option<Learned> {
    let used: Vec<&LoggedQuery> = queries.iter().filter(|one| !one.is_held_back()).collect();
    let exposures: Vec<Exposure> = used.iter().flat_map(|one| one.exposures()).collect();
    let propensities = Propensities::estimate(&exposures);
    let (examples, selections): (Vec<Example>, Vec<Selection>) = used
        .iter()
        .filter_map(|one| one.example(&propensities, options.by_propensity))
        .unzip();
    if examples.is_empty() {
        return None;
    }
    let coupled = CoupledOptions {
        fit: for_log(&options.fit.fit, examples.len()),
        ..options.fit
    };
    let description = format!("{} queries of feedback", examples.len());
    let (combiner, largest_weights) = match options.coupled {
        true => {
            let fitted = fit_coupled(&examples, &selections, from, &coupled, &description);
            (fitted.combiner, fitted.weights)
        }
        false => {
            let fitted = fit(&examples, from, &coupled.fit, &description);
            (
                fitted,
                LargestWeights {
                    relevance: 1.0,
                    selection: 1.0,
                },
            )
        }
    };
    Some(Learned {
        combiner,
        propensities,
        largest_weights,
        queries: examples.len(),
        clicks: exposures.iter().filter(|one| one.clicked).count(),
    })
}

/// The fewer queries there are, the more weights are held to where they began.
fn for_log(options: &FitOptions, queries: usize) -> FitOptions {
    let few = 200.0 / queries.max(1) as f64;
    FitOptions {
        query_penalty: options.query_penalty * (1.0 + few),
        constant_penalty: options.constant_penalty * (1.0 + few),
        ..*options
    }
}

/// Compares two combiners on the queries that are held back: the mean over all that is known
/// to be relevant in them, each counted by the inverse propensity of its clicks, of
/// `1 / log2(1 + rank)` within the first ten.
pub fn compare(
    queries: &[LoggedQuery],
    before: &Combiner,
    after: &Combiner,
    propensities: &Propensities,
) -> Comparison {
    let mut sums = (0.0, 0.0, 0.0);
    let mut differences = Vec::new();
    for one in queries.iter().filter(|one| one.is_held_back()) {
        let (old, all) = one.gain(before, propensities);
        let (new, _) = one.gain(after, propensities);
        if all > 0.0 {
            sums.0 += old;
            sums.1 += new;
            sums.2 += all;
            differences.push(new - old);
        }
    }
    let all = f64::max(sums.2, f64::MIN_POSITIVE);
    Comparison {
        queries: differences.len(),
        before: sums.0 / all,
        after: sums.1 / all,
        p: randomisation_test(&differences, DRAWS),
    }
}

/// Groups what was said by query.
#[derive(Default)]
pub(super) struct Grouped {
    queries: HashMap<String, usize>,
    pub list: Vec<(String, Vec<super::event::FeedbackEvent>)>,
}

impl Grouped {
    pub(super) fn add(&mut self, event: super::event::FeedbackEvent) {
        let Some(query) = event.query.as_deref().map(str::trim).map(String::from) else {
            return;
        };
        let place = *self.queries.entry(query.clone()).or_insert(self.list.len());
        if place == self.list.len() {
            self.list.push((query, Vec::new()));
        }
        self.list[place].1.push(event);
    }
}
