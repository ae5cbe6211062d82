//! What a mention may mean: by the names and aliases of a catalog, or by what a caller gives.

use std::collections::{HashMap, HashSet};

use super::super::view::View;
use super::mentions::Stretch;
use super::request::MAX_CANDIDATES;
use super::weigh::Origin;
use crate::error::{Code, Problem, Result};

/// Most entities that a mention's words may mean.
const MOST_CANDIDATES: usize = 64;
/// The weight of a name that no alias counts, beside counts.
const UNKNOWN: f32 = 0.1;
/// What is left of the weight of a name that is not popular at all, beside the most popular one.
const LEAST_POPULAR: f32 = 0.05;

/// A mention of a text, and what it may mean.
pub(super) struct Question {
    pub origin: Origin,
    /// Bytes of the text.
    pub start: usize,
    pub end: usize,
    /// The mention's tokens.
    pub tokens: Vec<u32>,
    pub candidates: Vec<Candidate>,
}

/// Something that a mention may mean.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub id: String,
    pub name: String,
    /// What contexts are compared with: the name, with what it is in words where that is known.
    pub described: String,
    /// Tokens of the name.
    pub tokens: Vec<u32>,
    /// Of counts and popularity.
    pub weight: f32,
    /// Whether a longer mention of the text means it.
    pub shared: bool,
}

impl Question {
    /// A mention that was found.
    pub(super) fn found(view: &View, stretch: &Stretch) -> Result<Question> {
        Ok(Question {
            origin: Origin::Found,
            start: stretch.start,
            end: stretch.end,
            candidates: candidates(view, &stretch.tokens)?,
            tokens: stretch.tokens.clone(),
        })
    }
}

/// What a mention's words may mean by the names and aliases of a catalog.
pub(super) fn candidates(view: &View, tokens: &[u32]) -> Result<Vec<Candidate>> {
    let mut weights: Vec<(u32, f32)> = Vec::new();
    for alias in view.aliased(tokens) {
        weights.push((alias.name, alias.count as f32));
    }
    for number in view.names_spelled(tokens) {
        match weights.iter_mut().find(|(other, _)| *other == number) {
            Some((_, weight)) => *weight += 1.0,
            None => weights.push((number, 1.0)),
        }
    }
    of_weights(view, weights, MOST_CANDIDATES)
}

/// The `most` of these names that have most weight, popularity taken in.
fn of_weights(view: &View, mut weights: Vec<(u32, f32)>, most: usize) -> Result<Vec<Candidate>> {
    let mut known: Vec<f32> = weights
        .iter()
        .filter_map(|&(number, _)| view.popularity(number))
        .collect();
    known.sort_by(f32::total_cmp);
    if let Some(&largest) = known.last().filter(|&&largest| largest > 0.0) {
        // What is not known to be popular is as popular as the middle one.
        let middle = known[known.len() / 2];
        for (number, weight) in &mut weights {
            let popularity = view.popularity(*number).unwrap_or(middle);
            *weight *= LEAST_POPULAR + popularity / largest;
        }
    }
    weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    weights.truncate(most);
    let mut found = Vec::with_capacity(weights.len());
    for (number, weight) in weights {
        let Some(record) = view.record(number)? else {
            continue;
        };
        found.push(Candidate {
            tokens: view.tokenizer().tokens(&record.name)?.unwrap_or_default(),
            id: record.id,
            described: match record.description {
                Some(description) => format!("{}: {description}", record.name),
                None => record.name.clone(),
            },
            name: record.name,
            weight,
            shared: false,
        });
    }
    Ok(found)
}

/// The candidates that a caller gives, by name or id.
pub(super) fn given(view: &View, names: &[String], mention: &[u32]) -> Result<Vec<Candidate>> {
    if names.len() > MAX_CANDIDATES {
        return Err(Problem::new(Code::LimitExceeded, "too many candidates")
            .field("candidates")
            .found(names.len())
            .expected(format!("at most {MAX_CANDIDATES}"))
            .into());
    }
    let counts: HashMap<u32, f32> = view
        .aliased(mention)
        .into_iter()
        .map(|alias| (alias.name, alias.count as f32))
        .collect();
    let mut weights: Vec<(u32, f32)> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut numbers = view.names_of_id(name)?;
        if let Some(tokens) = view.tokenizer().tokens(name)? {
            for number in view.names_spelled(&tokens) {
                if view
                    .record(number)?
                    .is_some_and(|record| record.name == *name)
                {
                    numbers.push(number);
                }
            }
        }
        if numbers.is_empty() {
            return Err(
                Problem::new(Code::EntityNotFound, "a candidate is not in the catalog")
                    .field(format!("candidates[{index}]"))
                    .found(name)
                    .expected("a name or an id of the catalog")
                    .into(),
            );
        }
        for number in numbers {
            if weights.iter().all(|(other, _)| *other != number) {
                weights.push((
                    number,
                    UNKNOWN + counts.get(&number).copied().unwrap_or(0.0),
                ));
            }
        }
    }
    of_weights(view, weights, MAX_CANDIDATES)
}

/// Adds names to what a mention may mean, where they are not there; returns their entities.
pub(super) fn add_names(
    view: &View,
    numbers: &[u32],
    candidates: &mut Vec<Candidate>,
) -> Result<Vec<String>> {
    let named = numbers.iter().map(|&number| (number, UNKNOWN));
    let named = of_weights(view, named.collect(), MAX_CANDIDATES)?;
    let ids = named.iter().map(|candidate| candidate.id.clone()).collect();
    let known: HashSet<(String, String)> = candidates
        .iter()
        .map(|other| (other.id.clone(), other.name.clone()))
        .collect();
    let missing = named
        .into_iter()
        .filter(|one| !known.contains(&(one.id.clone(), one.name.clone())));
    candidates.extend(missing);
    Ok(ids)
}

/// A mention that is the last or the first word of a longer one elsewhere in the text may mean the
/// same: `Simmons` after `Phil Simmons`. `longer` are the mentions of the text with what they may
/// mean.
pub(super) fn share_longer(text: &str, longer: &Longer, question: &mut Question) {
    let mention = text[question.start..question.end].trim().to_lowercase();
    let shared = longer.last.get(&mention);
    let Some(shared) = shared.or_else(|| longer.first.get(&mention)) else {
        return;
    };
    let own = &mut question.candidates;
    let most = own.iter().map(|one| one.weight).fold(1.0, f32::max);
    for candidate in shared {
        let there = own.iter_mut().find(|other| other.id == candidate.id);
        match there {
            Some(other) => (other.weight, other.shared) = (other.weight.max(most), true),
            None => own.push(Candidate {
                weight: candidate.weight.max(most),
                shared: true,
                ..candidate.clone()
            }),
        }
    }
}

/// What mentions of two to four words may mean, by their last and their first word. The first
/// mention of a text counts.
#[derive(Default)]
pub(super) struct Longer {
    last: HashMap<String, Vec<Candidate>>,
    first: HashMap<String, Vec<Candidate>>,
}

impl Longer {
    pub(super) fn of(text: &str, questions: &[Question]) -> Longer {
        let mut longer = Longer::default();
        for question in questions {
            let mention = text[question.start..question.end].to_lowercase();
            let words: Vec<&str> = mention.split_whitespace().collect();
            let (Some(first), Some(last)) = (words.first(), words.last()) else {
                continue;
            };
            if !(2..5).contains(&words.len()) {
                continue;
            }
            for (by, word) in [(&mut longer.last, last), (&mut longer.first, first)] {
                by.entry((*word).to_owned())
                    .or_insert_with(|| question.candidates.clone());
            }
        }
        longer
    }
}
