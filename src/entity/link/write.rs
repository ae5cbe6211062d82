//! Retrieval by writing: the names that a generator would write for a query.

use std::collections::HashMap;

use super::super::decode::{Asap, BeamOptions, Hypothesis, Scorer, UpTo, beam_search, log_sum_exp};
use super::super::view::{Node, View};
use super::measure::{GENERATOR_TOKENS, check_tokenizer};
use super::request::ScoredEntity;
use crate::error::{Code, Problem, Result};
use crate::model::{Cancellation, Generation, Generator};

/// Where drawing begins: a request is answered alike whenever it comes.
const SEED: u64 = 1;
/// Names that a search follows at first, and at most.
const NARROWEST: usize = 10;
const WIDEST: usize = 320;

/// Refuses what only a generator can do; `or` is what else can be asked for.
pub(super) fn no_generator(field: &str, or: &str) -> Problem {
    Problem::new(Code::InvalidRequest, "there is no generator to write names")
        .field(field)
        .expected(format!(
            "{or} a generator in the configuration's entities.generator"
        ))
}

/// What is read of a query, to be answered.
pub(super) fn read<'a>(
    view: &View,
    generator: &'a Generator,
    query: &str,
    cancellation: &Cancellation,
) -> Result<Generation<'a>> {
    check_tokenizer(view, generator)?;
    let input = generator.window("", query, "", GENERATOR_TOKENS)?;
    generator.read_while(&[input], cancellation)
}

/// The `k` likeliest entities by a beam, the likeliest first. An entity has the scores of all its
/// names (mGENRE); what is told of it is its share of what was found. Names are searched until they
/// are those of `k` entities: a beam that finds fewer is widened.
///
/// `longest` is the longest name in tokens, `scorer` one of a single input.
pub(super) fn search<S: Scorer>(
    view: &View,
    longest: usize,
    scorer: &mut S,
    k: usize,
) -> Result<Vec<ScoredEntity>> {
    let mut width = k.max(NARROWEST);
    loop {
        let options = BeamOptions {
            beams: width,
            names: width,
            max_tokens: longest,
            ..BeamOptions::default()
        };
        let found = beam_search(scorer, &[view], &options)?;
        let (entities, names) = entities_of(view, found.into_iter().flatten())?;
        if entities.len() >= k || names >= view.len() || width >= WIDEST {
            return Ok(shares(entities, k));
        }
        width = (width * 2).min(WIDEST);
    }
}

/// An entity that was written: its id, the likeliest of its names, and the scores of all of them.
struct Written {
    id: String,
    name: String,
    scores: Vec<f32>,
}

/// The entities of names that were written, the likeliest names first, and how many names they have.
fn entities_of(
    view: &View,
    found: impl Iterator<Item = Hypothesis<Node>>,
) -> Result<(Vec<Written>, usize)> {
    let mut entities: Vec<Written> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut names = 0;
    for hypothesis in found {
        let numbers = view.names_at(hypothesis.node);
        names += numbers.len();
        // Names that are spelled alike share what is written.
        let score = hypothesis.score - (numbers.len().max(1) as f32).ln();
        for number in numbers {
            let Some(record) = view.record(number)? else {
                continue;
            };
            let place = *places.entry(record.id.clone()).or_insert(entities.len());
            if place == entities.len() {
                entities.push(Written {
                    id: record.id,
                    name: record.name,
                    scores: Vec::new(),
                });
            }
            entities[place].scores.push(score);
        }
    }
    Ok((entities, names))
}

/// The best `k`, in order, with their shares of all.
fn shares(entities: Vec<Written>, k: usize) -> Vec<ScoredEntity> {
    // Not clamped: means over tokens add up to more than 1 where an entity has several names.
    let sums = entities.iter();
    let sums: Vec<f32> = sums
        .map(|entity| log_sum_exp(entity.scores.iter().copied()))
        .collect();
    let all = log_sum_exp(sums.iter().copied());
    let mut ranked: Vec<(f32, Written)> = sums.into_iter().zip(entities).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
    ranked.truncate(k);
    let scored = ranked.into_iter().map(|(sum, Written { id, name, .. })| {
        let score = (sum - all).exp().min(1.0);
        ScoredEntity { id, name, score }
    });
    scored.collect()
}

/// Names drawn by the generator's distribution over those that there are; scores are shares of the
/// draws.
///
/// `longest` is the longest name that can be written, in tokens.
pub(super) fn draw<S: Scorer>(
    view: &View,
    longest: usize,
    scorer: &mut S,
    samples: usize,
) -> Result<Vec<ScoredEntity>> {
    let mut sampler = Asap::new(UpTo::new(view, longest), SEED);
    let mut by_id: HashMap<String, (String, f32)> = HashMap::new();
    let mut drawn = 0;
    while drawn < samples {
        let Some(sample) = sampler.sample(scorer)? else {
            // A prefix that only names lead on from which are too long is drawn but once.
            match sampler.valid_mass() > 0.0 {
                true => continue,
                false => break,
            }
        };
        drawn += 1;
        let (node, _) = sample.node;
        let numbers = view.names_at(node);
        let share = 1.0 / (numbers.len().max(1) * samples) as f32;
        for number in numbers {
            if let Some(record) = view.record(number)? {
                let entry = by_id.entry(record.id);
                entry.or_insert_with(|| (record.name, 0.0)).1 += share;
            }
        }
    }
    Ok(by_id
        .into_iter()
        .map(|(id, (name, score))| ScoredEntity {
            id,
            name,
            score: score.min(1.0),
        })
        .collect())
}
