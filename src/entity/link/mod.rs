//! From texts to entities: which of those that a mention may mean it does mean.
//!
//! What a mention may mean are the names and aliases that are spelled as it is, or what the caller
//! gives. Each is measured by how often the alias means it or how popular it is (the prior), by how
//! near its name is to the mention's context in the encoder's eyes, and, where there is a
//! generator, by how likely that would write it. A share for none of the catalog competes with
//! them.

mod mentions;
mod request;

use std::collections::HashMap;

pub use mentions::Mentions;
use mentions::{Stretch, detect};
pub use request::{
    DisambiguateRequest, LinkRequest, LinkResponse, LinkedMention, MAX_CANDIDATES, MAX_TEXT,
    RetrieveEntitiesRequest, RetrieveEntitiesResponse, ScoredEntity,
};
use request::{bytes_of, check_count, check_text, check_threshold};

use super::decode::{BeamOptions, beam_search, log_sum_exp, teacher_force};
use super::view::View;
use crate::config::Entities;
use crate::error::{Code, Error, Problem, Result};
use crate::model::{Generator, Registry, Task, TextEncoder};

/// Most entities that a mention's words may mean.
const MOST_CANDIDATES: usize = 64;
/// What is left of the weight of a name that is not popular at all, beside the most popular one.
const LEAST_POPULAR: f32 = 0.05;
/// Characters of the text on each side of a mention that make its context.
const CONTEXT: usize = 300;
/// Tokens of the text that a generator reads.
const GENERATOR_TOKENS: usize = 384;
/// Contexts and names encoded at once.
const ENCODED: usize = 4_096;

/// How much each measure counts: of logarithms of shares, and of cosines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of the logarithm of the share that falls to an entity by counts and popularity.
    pub prior: f32,
    /// Of the cosine of context and name.
    pub similarity: f32,
    /// Of the logarithm of the share that falls to it by the generator.
    pub generator: f32,
    /// What none of the catalog has, less the best cosine's part.
    pub none: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Weights {
            prior: 1.0,
            similarity: 6.0,
            generator: 0.5,
            none: -3.0,
        }
    }
}

/// Links texts to the entities of catalogs. Any number of threads may use one at once; clones share
/// the models.
#[derive(Clone)]
pub struct EntityLinker {
    encoder: TextEncoder,
    generator: Option<Generator>,
    weights: Weights,
}

/// A mention of a text, and what it may mean.
struct Question {
    start: usize,
    end: usize,
    candidates: Vec<Candidate>,
}

/// Something that a mention may mean.
#[derive(Debug, Clone)]
struct Candidate {
    id: String,
    name: String,
    /// Tokens of the name.
    tokens: Vec<u32>,
    /// Of counts and popularity.
    weight: f32,
    score: f32,
}

impl EntityLinker {
    /// With the models that a configuration names.
    ///
    /// # Errors
    /// Those of the registry.
    pub fn open(registry: &Registry, settings: &Entities) -> Result<EntityLinker> {
        let generator = settings.generator.as_deref();
        let generator = generator.map(|name| registry.open_generator(name));
        Ok(EntityLinker::new(
            registry.open(&settings.encoder)?,
            generator.transpose()?,
        ))
    }

    /// Of an encoder, and a generator where there is one.
    pub fn new(encoder: TextEncoder, generator: Option<Generator>) -> EntityLinker {
        EntityLinker {
            encoder,
            generator,
            weights: Weights::default(),
        }
    }

    /// The same with other weights.
    pub fn weighing(&self, weights: Weights) -> EntityLinker {
        EntityLinker {
            weights,
            ..self.clone()
        }
    }

    /// Whether names are written by a generator.
    pub fn has_generator(&self) -> bool {
        self.generator.is_some()
    }

    /// The entities that a text speaks of.
    ///
    /// # Errors
    /// InvalidRequest or LimitExceeded for a request that cannot be answered; ModelMismatch for a
    /// catalog that was built with another tokenizer than the generator's; those of the models.
    pub fn link(&self, view: &View, request: &LinkRequest) -> Result<LinkResponse> {
        check_text("text", &request.text)?;
        let threshold = check_threshold(request.threshold)?;
        check_count("alternatives", request.alternatives, 0)?;
        let stretches = detect(view, &request.text, request.mentions)?;
        let mut questions = Vec::with_capacity(stretches.len());
        for stretch in &stretches {
            questions.push(Question {
                start: stretch.start,
                end: stretch.end,
                candidates: candidates(view, &stretch.tokens)?,
            });
        }
        share_longer(&request.text, &stretches, &mut questions);
        let none = self.score(view, &request.text, &mut questions)?;
        let mut mentions = Vec::with_capacity(questions.len());
        let (mut byte, mut character) = (0, 0);
        for (question, none) in questions.into_iter().zip(none) {
            character += request.text[byte..question.start].chars().count();
            byte = question.start;
            let start = character;
            mentions.push(answer(
                &request.text,
                start,
                question,
                none,
                threshold,
                request.alternatives,
            ));
        }
        Ok(LinkResponse { mentions })
    }

    /// The entity that a mention means.
    ///
    /// # Errors
    /// As [`EntityLinker::link`]; EntityNotFound for a candidate that the catalog does not have.
    pub fn disambiguate(
        &self,
        view: &View,
        request: &DisambiguateRequest,
    ) -> Result<LinkedMention> {
        check_text("text", &request.text)?;
        let threshold = check_threshold(request.threshold)?;
        let alternatives = check_count("alternatives", request.alternatives.unwrap_or(5), 0)?;
        let (start, end) = bytes_of(&request.text, request.start, request.end)?;
        let tokens = view
            .tokenizer()
            .tokens(&request.text[start..end])?
            .unwrap_or_default();
        let candidates = match request.candidates.is_empty() {
            true => candidates(view, &tokens)?,
            false => given(view, &request.candidates, &tokens)?,
        };
        let mut questions = [Question {
            start,
            end,
            candidates,
        }];
        let none = self.score(view, &request.text, &mut questions)?;
        let [question] = questions;
        let none = none.first().copied().unwrap_or(1.0);
        Ok(answer(
            &request.text,
            request.start,
            question,
            none,
            threshold,
            alternatives,
        ))
    }

    /// The entities that a query asks about: what a generator writes, or without one what the
    /// query's words name.
    ///
    /// # Errors
    /// As [`EntityLinker::link`].
    pub fn retrieve(
        &self,
        view: &View,
        request: &RetrieveEntitiesRequest,
    ) -> Result<RetrieveEntitiesResponse> {
        check_text("query", &request.query)?;
        let k = check_count("k", request.k.unwrap_or(10), 1)?;
        let mut entities = match &self.generator {
            Some(generator) => self.write(view, generator, &request.query, k)?,
            None => {
                let stretches = detect(view, &request.query, Mentions::All)?;
                let mut questions = Vec::new();
                for Stretch { start, end, tokens } in stretches {
                    let candidates = candidates(view, &tokens)?;
                    questions.push(Question {
                        start,
                        end,
                        candidates,
                    });
                }
                self.score(view, &request.query, &mut questions)?;
                let all = questions
                    .into_iter()
                    .flat_map(|question| question.candidates);
                all.map(Candidate::scored).collect()
            }
        };
        entities.sort_by(best_first);
        let mut seen = std::collections::HashSet::new();
        entities.retain(|entity| seen.insert(entity.id.clone()));
        entities.truncate(k);
        Ok(RetrieveEntitiesResponse { entities })
    }

    /// Names that a generator writes for an input, those of an entity together.
    fn write(
        &self,
        view: &View,
        generator: &Generator,
        input: &str,
        k: usize,
    ) -> Result<Vec<ScoredEntity>> {
        check_tokenizer(view, generator)?;
        let input = generator.window("", input, "", GENERATOR_TOKENS)?;
        let mut generation = generator.read(&[input])?;
        let options = BeamOptions {
            beams: k.max(10),
            names: k.max(10),
            ..BeamOptions::default()
        };
        let found = beam_search(&mut generation, &[view], &options)?;
        let mut by_id: HashMap<String, (String, f32, Vec<f32>)> = HashMap::new();
        for hypothesis in found.into_iter().flatten() {
            let numbers = view.names_at(hypothesis.node);
            // Names that are spelled alike share what is written.
            let share = (numbers.len().max(1) as f32).ln();
            for number in numbers {
                let Some(record) = view.record(number)? else {
                    continue;
                };
                let entry = by_id
                    .entry(record.id)
                    .or_insert_with(|| (record.name, hypothesis.score, Vec::new()));
                entry.2.push(hypothesis.score - share);
            }
        }
        Ok(by_id
            .into_iter()
            .map(|(id, (name, _, scores))| ScoredEntity {
                id,
                name,
                score: log_sum_exp(scores.iter().copied()).exp().min(1.0),
            })
            .collect())
    }

    /// Scores the candidates of every question; returns what is left for none of them.
    fn score(&self, view: &View, text: &str, questions: &mut [Question]) -> Result<Vec<f32>> {
        let similarities = self.similarities(text, questions)?;
        let generated = match &self.generator {
            Some(generator) if self.weights.generator != 0.0 => {
                Some(generated(view, generator, text, questions)?)
            }
            _ => None,
        };
        let weights = self.weights;
        let mut none = Vec::with_capacity(questions.len());
        for (at, question) in questions.iter_mut().enumerate() {
            let total: f32 = question.candidates.iter().map(|c| c.weight).sum();
            let mut logits: Vec<f32> = Vec::with_capacity(question.candidates.len());
            for (which, candidate) in question.candidates.iter().enumerate() {
                let mut logit =
                    weights.prior * (candidate.weight / total.max(f32::MIN_POSITIVE)).ln();
                logit += weights.similarity * similarities[at][which];
                if let Some(generated) = &generated {
                    logit += weights.generator * generated[at][which].max(-30.0);
                }
                logits.push(logit);
            }
            let all = log_sum_exp(logits.iter().copied().chain([weights.none]));
            for (candidate, logit) in question.candidates.iter_mut().zip(&logits) {
                candidate.score = (logit - all).exp();
            }
            none.push((weights.none - all).exp());
            merge(&mut question.candidates);
        }
        Ok(none)
    }

    /// Cosines of every mention's context and its candidates' names.
    fn similarities(&self, text: &str, questions: &[Question]) -> Result<Vec<Vec<f32>>> {
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut order: Vec<&str> = Vec::new();
        let mut contexts = Vec::with_capacity(questions.len());
        for question in questions {
            contexts.push(context(text, question.start, question.end));
            for candidate in &question.candidates {
                names.entry(&candidate.name).or_insert_with(|| {
                    order.push(&candidate.name);
                    order.len() - 1
                });
            }
        }
        let dimensions = self.encoder.dimensions();
        let encode = |task: Task, texts: &[&str]| -> Result<Vec<f32>> {
            let mut vectors = Vec::with_capacity(texts.len() * dimensions);
            for some in texts.chunks(ENCODED) {
                vectors.extend(self.encoder.encode(task, some)?.vectors);
            }
            Ok(vectors)
        };
        let contexts = encode(Task::Query, &contexts)?;
        let order = encode(Task::Document, &order)?;
        let row = |vectors: &[f32], at: usize| -> Vec<f32> {
            vectors[at * dimensions..(at + 1) * dimensions].to_vec()
        };
        Ok(questions
            .iter()
            .enumerate()
            .map(|(at, question)| {
                let context = row(&contexts, at);
                let cosine = |candidate: &Candidate| {
                    let name = row(&order, names[candidate.name.as_str()]);
                    context.iter().zip(&name).map(|(a, b)| a * b).sum()
                };
                question.candidates.iter().map(cosine).collect()
            })
            .collect())
    }
}

impl Candidate {
    fn scored(self) -> ScoredEntity {
        ScoredEntity {
            id: self.id,
            name: self.name,
            score: self.score,
        }
    }
}

fn best_first(a: &ScoredEntity, b: &ScoredEntity) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id))
}

/// Names of one entity become one candidate, with the name that has most; the likeliest first.
fn merge(candidates: &mut Vec<Candidate>) {
    candidates.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.name.cmp(&b.name))
    });
    let mut merged: Vec<Candidate> = Vec::with_capacity(candidates.len());
    for candidate in candidates.drain(..) {
        match merged.iter_mut().find(|other| other.id == candidate.id) {
            Some(other) => other.score += candidate.score,
            None => merged.push(candidate),
        }
    }
    merged.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    *candidates = merged;
}

fn answer(
    text: &str,
    start: usize,
    question: Question,
    none: f32,
    threshold: f32,
    alternatives: usize,
) -> LinkedMention {
    let mention = text[question.start..question.end].to_owned();
    let mut scored = question.candidates.into_iter().map(Candidate::scored);
    let mut first = scored.next();
    let mut others: Vec<ScoredEntity> = Vec::new();
    if first
        .as_ref()
        .is_some_and(|entity| entity.score < threshold)
    {
        others.extend(first.take());
    }
    others.extend(scored);
    others.truncate(alternatives);
    LinkedMention {
        start,
        end: start + mention.chars().count(),
        mention,
        entity: first,
        none,
        alternatives: others,
    }
}

/// A mention with what stands around it, by whole words.
fn context(text: &str, start: usize, end: usize) -> &str {
    let from = text[..start].char_indices().rev().nth(CONTEXT - 1);
    let from = from.map_or(0, |(byte, _)| byte);
    let to = text[end..].char_indices().nth(CONTEXT);
    let to = to.map_or(text.len(), |(byte, _)| end + byte);
    let from = match text[from..start].find(char::is_whitespace) {
        Some(space) if from > 0 => from + space,
        _ => from,
    };
    text[from..to].trim()
}

/// What a mention's words may mean by the names and aliases of a catalog.
fn candidates(view: &View, tokens: &[u32]) -> Result<Vec<Candidate>> {
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
            name: record.name,
            weight,
            score: 0.0,
        });
    }
    Ok(found)
}

/// The candidates that a caller gives, by name or id.
fn given(view: &View, names: &[String], mention: &[u32]) -> Result<Vec<Candidate>> {
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
                weights.push((number, 0.1 + counts.get(&number).copied().unwrap_or(0.0)));
            }
        }
    }
    of_weights(view, weights, MAX_CANDIDATES)
}

/// A mention that is a part of a longer one's words elsewhere in the text may mean the same:
/// `Simmons` after `Phil Simmons`.
fn share_longer(text: &str, stretches: &[Stretch], questions: &mut [Question]) {
    let words: Vec<Vec<String>> = stretches
        .iter()
        .map(|stretch| {
            let mention = &text[stretch.start..stretch.end];
            mention.split_whitespace().map(str::to_lowercase).collect()
        })
        .collect();
    for at in 0..questions.len() {
        if words[at].len() != 1 {
            continue;
        }
        let longer = words.iter().position(|other| {
            other.len() > 1 && other.len() < 5 && other.last() == words[at].last()
        });
        let Some(longer) = longer else { continue };
        let shared: Vec<Candidate> = questions[longer].candidates.clone();
        let own = &mut questions[at].candidates;
        let most = own.iter().map(|c| c.weight).fold(1.0, f32::max);
        for mut candidate in shared {
            own.retain(|other| other.id != candidate.id);
            candidate.weight = candidate.weight.max(most * 4.0);
            own.push(candidate);
        }
    }
}

fn check_tokenizer(view: &View, generator: &Generator) -> Result<()> {
    if view.tokenizer().sha256() == generator.tokenizer_sha256() {
        return Ok(());
    }
    Err(Error::from(
        Problem::new(
            Code::ModelMismatch,
            "the catalog's names are spelled in another tokenizer's tokens than the generator's",
        )
        .field("catalog")
        .expected("a catalog that was built with the generator's tokenizer"),
    ))
}

/// Logarithms of the shares of the candidates by what a generator would write.
fn generated(
    view: &View,
    generator: &Generator,
    text: &str,
    questions: &[Question],
) -> Result<Vec<Vec<f32>>> {
    check_tokenizer(view, generator)?;
    let mut inputs = Vec::with_capacity(questions.len());
    let mut names: Vec<(usize, &[u32])> = Vec::new();
    for (at, question) in questions.iter().enumerate() {
        let (before, after) = (&text[..question.start], &text[question.end..]);
        let mention = format!(
            " [START_ENT] {} [END_ENT] ",
            &text[question.start..question.end]
        );
        // No more of the sides than can matter.
        let before =
            &before[before.ceil_char_boundary(before.len().saturating_sub(8 * GENERATOR_TOKENS))..];
        let after = &after[..after.floor_char_boundary((8 * GENERATOR_TOKENS).min(after.len()))];
        inputs.push(generator.window(before, &mention, after, GENERATOR_TOKENS)?);
        names.extend(
            question
                .candidates
                .iter()
                .map(|c| (at, c.tokens.as_slice())),
        );
    }
    let mut generation = generator.read(&inputs)?;
    let forced = teacher_force(&mut generation, &names)?;
    let mut forced = forced.into_iter().map(|forced| forced.log_probability);
    Ok(questions
        .iter()
        .map(|question| {
            let own: Vec<f32> = forced.by_ref().take(question.candidates.len()).collect();
            let all = log_sum_exp(own.iter().copied());
            own.iter().map(|p| p - all).collect()
        })
        .collect())
}
