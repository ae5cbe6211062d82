//! Retrieval by writing: the names that a generator would write for a query.

use std::collections::HashMap;

use super::super::decode::{Asap, BeamOptions, beam_search, log_sum_exp};
use super::super::view::View;
use super::measure::{GENERATOR_TOKENS, check_tokenizer};
use super::request::ScoredEntity;
use crate::error::{Code, Problem, Result};
use crate::model::{Generation, Generator};

/// Where drawing begins: a request is answered alike whenever it comes.
const SEED: u64 = 1;

/// Refuses what only a generator can do; `or` is what else can be asked for.
pub(super) fn no_generator(field: &str, or: &str) -> Problem {
    Problem::new(Code::InvalidRequest, "there is no generator to write names")
        .field(field)
        .expected(format!(
            "{or} a generator in the configuration's entities.generator"
        ))
}

fn read<'a>(view: &View, generator: &'a Generator, query: &str) -> Result<Generation<'a>> {
    check_tokenizer(view, generator)?;
    let input = generator.window("", query, "", GENERATOR_TOKENS)?;
    generator.read(&[input])
}

/// The likeliest names by a beam; an entity has the scores of all its names (mGENRE).
pub(super) fn search(
    view: &View,
    generator: &Generator,
    query: &str,
    k: usize,
) -> Result<Vec<ScoredEntity>> {
    let options = BeamOptions {
        beams: k.max(10),
        names: k.max(10),
        ..BeamOptions::default()
    };
    let mut generation = read(view, generator, query)?;
    let found = beam_search(&mut generation, &[view], &options)?;
    let mut by_id: HashMap<String, (String, Vec<f32>)> = HashMap::new();
    for hypothesis in found.into_iter().flatten() {
        let numbers = view.names_at(hypothesis.node);
        // Names that are spelled alike share what is written.
        let share = (numbers.len().max(1) as f32).ln();
        for number in numbers {
            let Some(record) = view.record(number)? else {
                continue;
            };
            // The likeliest comes first.
            let entry = by_id.entry(record.id);
            let (_, scores) = entry.or_insert_with(|| (record.name, Vec::new()));
            scores.push(hypothesis.score - share);
        }
    }
    Ok(by_id
        .into_iter()
        .map(|(id, (name, scores))| ScoredEntity {
            id,
            name,
            score: log_sum_exp(scores.iter().copied()).exp().min(1.0),
        })
        .collect())
}

/// Names drawn by the generator's distribution over those that there are; scores are shares of the
/// draws.
pub(super) fn draw(
    view: &View,
    generator: &Generator,
    query: &str,
    samples: usize,
) -> Result<Vec<ScoredEntity>> {
    let mut generation = read(view, generator, query)?;
    let mut sampler = Asap::new(view, SEED);
    let mut by_id: HashMap<String, (String, f32)> = HashMap::new();
    for _ in 0..samples {
        let Some(sample) = sampler.sample(&mut generation)? else {
            break;
        };
        let numbers = view.names_at(sample.node);
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
