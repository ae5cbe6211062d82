//! What is measured of mentions and of what they may mean.

use std::collections::HashMap;

use super::super::decode::{BeamOptions, beam_search, log_sum_exp, teacher_force};
use super::super::view::View;
use super::EntityLinker;
use super::candidates::{Candidate, Lookup, Question};
use super::weigh::{CandidateMeasures, Evidence, Known, NoneMeasures, Origin, Weights};
use crate::error::{Code, Error, Problem, Result};
use crate::model::{EncodeOptions, Generator, Input, Task};

/// Characters of the text on each side of a mention that make its context.
const CONTEXT: usize = 300;
/// Tokens of the text that a generator reads.
pub(super) const GENERATOR_TOKENS: usize = 384;
/// Contexts and names encoded at once.
const ENCODED: usize = 4_096;
/// Mentions whose contexts a generator reads at once.
const READ: usize = 32;
/// Bytes of the text on each side of a mention, and of its beginning, that a generator may read.
const NEAR: usize = 8 * GENERATOR_TOKENS;
const BEGINNING: usize = 600;
/// Names that a generator writes where nobody says which there are.
const BEAMS: usize = 10;
/// As many names as a catalog may have that has few of them, by powers of ten.
const MANY_NAMES: f32 = 7.0;
/// The least logarithm of a probability that is told from others.
const UNLIKELIEST: f32 = -30.0;

/// Which measures are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub similarity: bool,
    pub generated: bool,
}

impl Wanted {
    /// What these weights count.
    pub(super) fn by(weights: &Weights) -> Wanted {
        let Weights {
            candidate, none, ..
        } = weights;
        let weighs = |values: &[f32]| values.iter().any(|&value| value != 0.0);
        Wanted {
            similarity: weighs(&[candidate.similarity, none.similarity]),
            generated: weighs(&[
                candidate.generated,
                candidate.generated_mean,
                none.generated,
            ]),
        }
    }
}

impl EntityLinker {
    /// What is known of every question.
    pub(super) fn evidence(
        &self,
        view: &View,
        text: &str,
        questions: Vec<Question>,
        wanted: Wanted,
    ) -> Result<Vec<Evidence>> {
        let similarities = match wanted.similarity {
            true => Some(self.similarities(text, &questions)?),
            false => None,
        };
        let generated = match &self.generator {
            Some(generator) if wanted.generated => {
                Some(self.generated(view, generator, text, &questions)?)
            }
            _ => None,
        };
        Ok(questions
            .into_iter()
            .enumerate()
            .map(|(at, question)| {
                let of = |all: &Option<Vec<Vec<f32>>>| all.as_ref().map(|all| all[at].clone());
                let words = text[question.start..question.end].trim();
                let one_word = !words.contains(char::is_whitespace);
                let few = match question.origin {
                    Origin::Given => 0.0,
                    Origin::Marked | Origin::Found => few(view.len()),
                };
                let mention = Mention {
                    words,
                    one_word,
                    few,
                };
                evidence(question, &mention, of(&similarities), of(&generated))
            })
            .collect())
    }

    /// Cosines of every mention's context and its candidates' names.
    fn similarities(&self, text: &str, questions: &[Question]) -> Result<Vec<Vec<f32>>> {
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut order: Vec<&str> = Vec::new();
        // A text that says the same again has the same contexts again.
        let mut contexts: HashMap<&str, usize> = HashMap::new();
        let mut different: Vec<&str> = Vec::new();
        let mut of = Vec::with_capacity(questions.len());
        for question in questions {
            let context = context(text, question.start, question.end);
            of.push(*contexts.entry(context).or_insert_with(|| {
                different.push(context);
                different.len() - 1
            }));
            for candidate in &question.candidates {
                names.entry(&candidate.described).or_insert_with(|| {
                    order.push(&candidate.described);
                    order.len() - 1
                });
            }
        }
        let dimensions = self.encoder.dimensions();
        let encode = |task: Task, texts: &[&str]| -> Result<Vec<f32>> {
            let mut vectors = Vec::with_capacity(texts.len() * dimensions);
            let options = EncodeOptions {
                cancellation: self.cancellation.clone(),
                ..EncodeOptions::new(task)
            };
            for some in texts.chunks(ENCODED) {
                let inputs: Vec<Input<'_>> = some.iter().map(|text| Input::Text(text)).collect();
                vectors.extend(self.encoder.encode_with(&options, &inputs)?.vectors);
            }
            Ok(vectors)
        };
        let contexts = encode(Task::Query, &different)?;
        let order = encode(Task::Document, &order)?;
        fn row(vectors: &[f32], at: usize, dimensions: usize) -> &[f32] {
            &vectors[at * dimensions..(at + 1) * dimensions]
        }
        Ok(questions
            .iter()
            .enumerate()
            .map(|(at, question)| {
                let context = row(&contexts, of[at], dimensions);
                let cosine = |candidate: &Candidate| {
                    let name = row(&order, names[&*candidate.described], dimensions);
                    context.iter().zip(name).map(|(a, b)| a * b).sum()
                };
                question.candidates.iter().map(cosine).collect()
            })
            .collect())
    }
}

/// What is known of a mention beside its candidates.
struct Mention<'a> {
    words: &'a str,
    one_word: bool,
    /// How few names there are to be meant, 0 to 1.
    few: f32,
}

/// How few names a catalog has: 1 for one, 0 for ten millions.
fn few(names: usize) -> f32 {
    (1.0 - (names.max(1) as f32).log10() / MANY_NAMES).clamp(0.0, 1.0)
}

/// Whether a name is spelled as a mention is: `Amazon`, and `Amazon (company)` too, where what
/// stands in brackets only tells it from others of that name.
fn is_spelled_so(candidate: &Candidate, question: &Question, mention: &str) -> bool {
    *candidate.tokens == *question.tokens
        || candidate
            .name
            .strip_suffix(')')
            .and_then(|name| name.rsplit_once(" ("))
            .is_some_and(|(name, _)| name.trim().to_lowercase() == mention.to_lowercase())
}

/// Puts measures together: cosines and logarithms of probabilities of the candidates.
fn evidence(
    question: Question,
    mention: &Mention<'_>,
    similarities: Option<Vec<f32>>,
    generated: Option<Vec<f32>>,
) -> Evidence {
    let yes = |is: bool| f32::from(u8::from(is));
    let total: f32 = question.candidates.iter().map(|c| c.weight).sum();
    let spelled = |candidate: &Candidate| is_spelled_so(candidate, &question, mention.words);
    let any = |values: &Option<Vec<f32>>| values.as_ref().is_some_and(|values| !values.is_empty());
    let alias = yes(!question.candidates.iter().any(spelled));
    let none = NoneMeasures {
        given: yes(question.origin == Origin::Given),
        marked: yes(question.origin == Origin::Marked),
        found: yes(question.origin == Origin::Found),
        similarity: match (&similarities, any(&similarities)) {
            (Some(all), true) => all.iter().copied().fold(-1.0, f32::max),
            _ => 0.0,
        },
        generated: match (&generated, any(&generated)) {
            (Some(all), true) => log_sum_exp(all.iter().copied()).max(UNLIKELIEST),
            _ => 0.0,
        },
        word: yes(mention.one_word),
        alias,
        alias_of_few: alias * mention.few,
        few: mention.few,
        candidates: (question.candidates.len().max(1) as f32).ln(),
    };
    let measures = |at: usize, candidate: &Candidate| {
        let written = generated.as_ref().map_or(0.0, |all| all[at]);
        CandidateMeasures {
            prior: (candidate.weight / total).max(f32::MIN_POSITIVE).ln(),
            similarity: similarities.as_ref().map_or(0.0, |all| all[at]),
            spelled: yes(spelled(candidate)),
            shared: yes(candidate.shared),
            generated: written.max(UNLIKELIEST),
            generated_mean: (written / (candidate.tokens.len() + 1) as f32).max(UNLIKELIEST),
        }
    };
    let known: Vec<CandidateMeasures> = question
        .candidates
        .iter()
        .enumerate()
        .map(|(at, candidate)| measures(at, candidate))
        .collect();
    Evidence {
        origin: question.origin,
        none,
        candidates: question
            .candidates
            .into_iter()
            .zip(known)
            .map(|(Candidate { id, name, .. }, measures)| Known {
                id: id.as_ref().to_owned(),
                name: name.as_ref().to_owned(),
                measures,
            })
            .collect(),
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

pub(super) fn check_tokenizer(view: &View, generator: &Generator) -> Result<()> {
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

/// What a generator reads of a mention.
fn input(generator: &Generator, text: &str, start: usize, end: usize) -> Result<Vec<u32>> {
    let (before, after) = (&text[..start], &text[end..]);
    // No more of the text than can matter: its beginning, and what is near.
    let near = before.ceil_char_boundary(before.len().saturating_sub(NEAR));
    let beginning = &before[..before.floor_char_boundary(BEGINNING.min(near))];
    let before = match near > beginning.len() {
        true => format!("{beginning} {}", &before[near..]),
        false => before.to_owned(),
    };
    let after = &after[..after.floor_char_boundary(NEAR.min(after.len()))];
    generator.marked_window(&before, &text[start..end], after, GENERATOR_TOKENS)
}

/// Longest name that a generator can write, in tokens, of those of a catalog.
pub(super) fn longest(view: &View, generator: &Generator) -> usize {
    view.longest().min(generator.max_answer())
}

impl EntityLinker {
    /// Logarithms of the probabilities that a generator writes the candidates' names.
    fn generated(
        &self,
        view: &View,
        generator: &Generator,
        text: &str,
        questions: &[Question],
    ) -> Result<Vec<Vec<f32>>> {
        check_tokenizer(view, generator)?;
        let mut found = Vec::with_capacity(questions.len());
        for some in questions.chunks(READ) {
            let inputs = some
                .iter()
                .map(|question| input(generator, text, question.start, question.end));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            // What is longer than it writes it does not write.
            let writes = |candidate: &Candidate| candidate.tokens.len() <= generator.max_answer();
            let mut names: Vec<(usize, &[u32])> = Vec::new();
            for (at, question) in some.iter().enumerate() {
                let own = question.candidates.iter().filter(|one| writes(one));
                names.extend(own.map(|candidate| (at, &*candidate.tokens)));
            }
            let mut generation = generator.read_while(&inputs, &self.cancellation)?;
            let forced = teacher_force(&mut generation, &names)?;
            let mut forced = forced.into_iter().map(|forced| forced.log_probability);
            for question in some {
                let own = question.candidates.iter().map(|candidate| {
                    let written = writes(candidate).then(|| forced.next()).flatten();
                    written.unwrap_or(f32::NEG_INFINITY)
                });
                found.push(own.collect());
            }
        }
        Ok(found)
    }

    /// Adds the names that a generator would write for a mention, of all that a catalog has.
    pub(super) fn add_written(
        &self,
        lookup: &Lookup<'_>,
        view: &View,
        generator: &Generator,
        text: &str,
        question: &mut Question,
    ) -> Result<()> {
        check_tokenizer(view, generator)?;
        let input = input(generator, text, question.start, question.end)?;
        let options = BeamOptions {
            beams: BEAMS,
            names: BEAMS,
            max_tokens: longest(view, generator),
            ..BeamOptions::default()
        };
        let mut generation = generator.read_while(&[input], &self.cancellation)?;
        let written = beam_search(&mut generation, &[view], &options)?;
        let nodes = written.into_iter().flatten();
        let names: Vec<u32> = nodes.flat_map(|one| view.names_at(one.node)).collect();
        lookup.add_names(&names, &mut question.candidates)?;
        Ok(())
    }
}
