//! What a mention may mean: by the names and aliases of a catalog, or by what a caller gives.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::view::View;
use super::mentions::Stretch;
use super::request::{MAX_CANDIDATE_NAMES, MAX_CANDIDATES};
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
    pub id: Arc<str>,
    pub name: Arc<str>,
    /// What contexts are compared with: the name, with what it is in words where that is known.
    pub described: Arc<str>,
    /// Tokens of the name.
    pub tokens: Arc<[u32]>,
    /// Of counts and popularity.
    pub weight: f32,
    /// Whether a longer mention of the text means it.
    pub shared: bool,
}

/// Looks up what words may mean, each of them once.
pub(super) struct Lookup<'a> {
    view: &'a View,
    /// Bytes of what contexts are compared with: no more than is read of it.
    described: usize,
    known: HashMap<Vec<u32>, Vec<Candidate>>,
}

impl<'a> Lookup<'a> {
    /// In a catalog, for an encoder that reads `described` bytes.
    pub(super) fn new(view: &'a View, described: usize) -> Lookup<'a> {
        Lookup {
            view,
            described,
            known: HashMap::new(),
        }
    }

    /// A mention that was found.
    pub(super) fn found(&mut self, stretch: &Stretch) -> Result<Question> {
        Ok(Question {
            origin: Origin::Found,
            start: stretch.start,
            end: stretch.end,
            candidates: self.candidates(&stretch.tokens)?,
            tokens: stretch.tokens.clone(),
        })
    }

    /// What a mention's words may mean by the names and aliases of a catalog.
    pub(super) fn candidates(&mut self, tokens: &[u32]) -> Result<Vec<Candidate>> {
        if let Some(known) = self.known.get(tokens) {
            return Ok(known.clone());
        }
        let mut weights: HashMap<u32, f32> = HashMap::new();
        for alias in self.view.aliased(tokens) {
            weights.insert(alias.name, alias.count as f32);
        }
        for number in self.view.names_spelled(tokens) {
            *weights.entry(number).or_default() += 1.0;
        }
        let found = self.of_weights(weights, MOST_CANDIDATES)?;
        self.known.insert(tokens.to_vec(), found.clone());
        Ok(found)
    }

    /// The `most` of these names that have most weight, popularity taken in.
    fn of_weights(&self, weights: HashMap<u32, f32>, most: usize) -> Result<Vec<Candidate>> {
        let view = self.view;
        let mut weights: Vec<(u32, f32)> = weights.into_iter().collect();
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
            let tokens = view.tokenizer().tokens(&record.name)?.unwrap_or_default();
            let mut described = record.name.clone();
            if let Some(description) = &record.description {
                described.push_str(": ");
                let room = self.described.saturating_sub(described.len());
                described.push_str(&description[..description.floor_char_boundary(room)]);
            }
            found.push(Candidate {
                tokens: tokens.into(),
                id: record.id.into(),
                described: described.into(),
                name: record.name.into(),
                weight,
                shared: false,
            });
        }
        Ok(found)
    }

    /// The candidates that a caller gives, by name or id: all of their names.
    pub(super) fn given(&self, names: &[String], mention: &[u32]) -> Result<Vec<Candidate>> {
        let refused = |message: &str, found: usize, expected: String| {
            Problem::new(Code::LimitExceeded, message)
                .field("candidates")
                .found(found)
                .expected(expected)
        };
        if names.len() > MAX_CANDIDATES {
            let expected = format!("at most {MAX_CANDIDATES}");
            return Err(refused("too many candidates", names.len(), expected).into());
        }
        let counts: HashMap<u32, f32> = self
            .view
            .aliased(mention)
            .into_iter()
            .map(|alias| (alias.name, alias.count as f32))
            .collect();
        let mut weights: HashMap<u32, f32> = HashMap::new();
        for (index, name) in names.iter().enumerate() {
            let numbers = self.view.names_called(name)?;
            if numbers.is_empty() {
                return Err(Problem::new(
                    Code::EntityNotFound,
                    "a candidate is not in the catalog",
                )
                .field(format!("candidates[{index}]"))
                .found(name)
                .expected("a name or an id of the catalog")
                .into());
            }
            for number in numbers {
                let count = counts.get(&number).copied().unwrap_or(0.0);
                weights.insert(number, UNKNOWN + count);
            }
            if weights.len() > MAX_CANDIDATE_NAMES {
                let expected = format!("candidates of at most {MAX_CANDIDATE_NAMES} names");
                let message = "the candidates have too many names";
                return Err(refused(message, weights.len(), expected).into());
            }
        }
        self.of_weights(weights, MAX_CANDIDATE_NAMES)
    }

    /// Adds names to what a mention may mean, where they are not there; returns their entities.
    pub(super) fn add_names(
        &self,
        numbers: &[u32],
        candidates: &mut Vec<Candidate>,
    ) -> Result<Vec<Arc<str>>> {
        let named = numbers.iter().map(|&number| (number, UNKNOWN));
        let named = self.of_weights(named.collect(), MAX_CANDIDATES)?;
        let ids = named.iter().map(|candidate| candidate.id.clone()).collect();
        let known: HashSet<(Arc<str>, Arc<str>)> = candidates
            .iter()
            .map(|other| (other.id.clone(), other.name.clone()))
            .collect();
        let missing = named
            .into_iter()
            .filter(|one| !known.contains(&(one.id.clone(), one.name.clone())));
        candidates.extend(missing);
        Ok(ids)
    }
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
