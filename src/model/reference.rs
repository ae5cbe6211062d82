//! Vectors that a model folder ships for some texts, as its makers computed them, and
//! whether the model here makes the same.
//!
//! `reference.json`:
//! ```json
//! {"texts": ["...", "..."], "vectors": [[0.1, ...], [...]], "tasks": ["query", "document"]}
//! ```
//! `tasks` may be absent: then the texts are documents. `languages` may name those of code, with null
//! for other texts. Vectors are compared by their angle.
//! `least` may say which cosine is enough, 0.99 to 1: of weights that are kept in int8 and
//! computed with in floats, for one.
//!
//! Of a reranker:
//! ```json
//! {"queries": ["...", "..."], "passages": ["...", "..."], "logits": [2.1, -3.4], "most": 0.02}
//! ```
//! The scores that the logits stand for, by the manifest's calibration, are compared; `most`
//! says how far apart they may be, 0.1 at most.
//!
//! Of a classifier of tokens:
//! ```json
//! {"queries": ["..."], "passages": ["..."], "logits": [[[2.1, -3.4], ...]], "most": 0.05}
//! ```
//! Logits are those of every token, special ones included; their logistic functions are
//! compared, on average over a pair's tokens.
//!
//! Of a generator:
//! ```json
//! {"before": ["..."], "mentions": ["..."], "after": ["..."], "names": [["...", "..."]],
//!  "log_probabilities": [[-1.2, -9.8]], "most": 0.01}
//! ```
//! What is read is the mention between its marks, with the texts on both sides; the logarithm of a
//! name's probability, its end included, may be `most` apart, and as much of itself.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cross_encoder::{CrossEncoder, ScoreOptions};
use super::encoder::TextEncoder;
use super::files::{invalid, read_json_if_there};
use super::generator::Generator;
use super::graph;
use super::names::NameTokenizer;
use super::request::{EncodeOptions, Input, Task};
use super::token_classifier::TokenClassifier;
use crate::code::Language;
use crate::error::Result;

/// File with reference vectors.
pub const REFERENCE: &str = "reference.json";
/// Least cosine with a reference vector of a model that computes in floats.
const LEAST_FLOAT: f64 = 0.999;
/// The same of a model that computes in int8, whose references are those in floats.
const LEAST_INTEGER: f64 = 0.99;

#[derive(Deserialize)]
struct Reference {
    texts: Vec<String>,
    vectors: Vec<Vec<f64>>,
    #[serde(default)]
    tasks: Option<Vec<Task>>,
    #[serde(default)]
    languages: Option<Vec<Option<Language>>>,
    #[serde(default)]
    least: Option<f64>,
}

/// How close a model comes to its reference vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Parity {
    /// Texts, or pairs of texts, compared.
    pub texts: usize,
    /// Cosine of the least alike pair; for scores of a reranker, 1 less the largest difference.
    pub least_cosine: f64,
    /// What it has to be at least.
    pub required: f64,
}

/// Compares an encoder with the reference vectors of its folder; None where there are none.
///
/// # Errors
/// InvalidModel for a reference that cannot be read, or that the model does not come close
/// to; otherwise as [`TextEncoder::encode`].
pub fn check_reference(folder: &Path, encoder: &TextEncoder) -> Result<Option<Parity>> {
    let Some(reference) = read_json_if_there::<Reference>(folder, REFERENCE)? else {
        return Ok(None);
    };
    let count = reference.texts.len();
    let tasks = reference
        .tasks
        .unwrap_or_else(|| vec![Task::Document; count]);
    if count == 0 || reference.vectors.len() != count || tasks.len() != count {
        return Err(
            invalid(REFERENCE, "texts, vectors and tasks do not go together")
                .found(format!(
                    "{count} texts, {} vectors, {} tasks",
                    reference.vectors.len(),
                    tasks.len()
                ))
                .expected("one vector and, if any, one task for each of one text or more")
                .into(),
        );
    }
    let usual = match graph::is_integer(folder, &encoder.manifest().graph) {
        true => LEAST_INTEGER,
        false => LEAST_FLOAT,
    };
    let required = reference.least.unwrap_or(usual);
    if !(LEAST_INTEGER..=1.0).contains(&required) {
        return Err(invalid(
            REFERENCE,
            "`least` would let another model pass for this one",
        )
        .found(required)
        .expected(format!("{LEAST_INTEGER} to 1"))
        .into());
    }
    let languages = reference.languages.unwrap_or_default();
    let mut least: Option<(f64, &str)> = None;
    let texts = reference.texts.iter().zip(&reference.vectors).zip(tasks);
    for (place, ((text, vector), task)) in texts.enumerate() {
        let input = match languages.get(place) {
            Some(Some(language)) => Input::Code(*language, text),
            _ => Input::Text(text),
        };
        let found = encoder.encode_with(&EncodeOptions::new(task), &[input])?;
        let cosine = cosine(&found.vectors, vector);
        if least.is_none_or(|(lowest, _)| cosine.is_nan() || cosine < lowest) {
            least = Some((cosine, text));
        }
    }
    let (least_cosine, text) = least.unwrap_or((1.0, ""));
    // A NaN is below everything.
    if least_cosine >= required {
        return Ok(Some(Parity {
            texts: count,
            least_cosine,
            required,
        }));
    }
    Err(
        invalid(REFERENCE, "the model does not make the vectors it should")
            .found(format!("cosine {least_cosine:.4} for {text:?}"))
            .expected(format!("at least {required} for each of {count} texts"))
            .into(),
    )
}

/// How far apart scores may be where the file does not say: of a reranker that computes in
/// floats, and of one in int8.
const APART_FLOAT: f64 = 0.001;
const APART_INTEGER: f64 = 0.05;
/// The most that a file may say.
const APART_MOST: f64 = 0.1;

#[derive(Deserialize)]
struct PairReference {
    queries: Vec<String>,
    passages: Vec<String>,
    logits: Vec<f32>,
    #[serde(default)]
    most: Option<f64>,
}

/// Compares a reranker with the reference scores of its folder; None where there are none.
///
/// # Errors
/// InvalidModel for a reference that cannot be read, or that the model does not come close
/// to; otherwise as [`CrossEncoder::score`].
pub fn check_pairs(folder: &Path, reranker: &CrossEncoder) -> Result<Option<Parity>> {
    let Some(reference) = read_json_if_there::<PairReference>(folder, REFERENCE)? else {
        return Ok(None);
    };
    let count = reference.queries.len();
    if count == 0 || reference.passages.len() != count || reference.logits.len() != count {
        return Err(
            invalid(REFERENCE, "queries, passages and logits do not go together")
                .found(format!(
                    "{count} queries, {} passages, {} logits",
                    reference.passages.len(),
                    reference.logits.len()
                ))
                .expected("one of each for one pair or more")
                .into(),
        );
    }
    let usual = match graph::is_integer(folder, &reranker.manifest().graph) {
        true => APART_INTEGER,
        false => APART_FLOAT,
    };
    let most = reference.most.unwrap_or(usual);
    if !(0.0..=APART_MOST).contains(&most) {
        return Err(invalid(
            REFERENCE,
            "`most` would let another model pass for this one",
        )
        .found(most)
        .expected(format!("0 to {APART_MOST}"))
        .into());
    }
    let calibration = reranker.manifest().calibration;
    let mut farthest = (0.0_f64, String::new());
    let pairs = reference.queries.iter().zip(&reference.passages);
    for ((query, passage), &logit) in pairs.zip(&reference.logits) {
        let found = reranker.score(query, &[passage], &ScoreOptions::default())?;
        let found = found.scores.first().copied().flatten().unwrap_or(f32::NAN);
        let apart = f64::from((found - calibration.score(logit)).abs());
        if apart.is_nan() || apart > farthest.0 {
            farthest = (apart, format!("{query} | {passage}"));
        }
    }
    let (apart, pair) = farthest;
    // A NaN is above everything.
    if apart <= most {
        return Ok(Some(Parity {
            texts: count,
            least_cosine: 1.0 - apart,
            required: 1.0 - most,
        }));
    }
    Err(
        invalid(REFERENCE, "the model does not give the scores it should")
            .found(format!("{apart:.4} apart for {pair:?}"))
            .expected(format!("at most {most} for each of {count} pairs"))
            .into(),
    )
}

#[derive(Deserialize)]
struct TokenReference {
    queries: Vec<String>,
    passages: Vec<String>,
    logits: Vec<Vec<Vec<f32>>>,
    #[serde(default)]
    most: Option<f64>,
}

/// Compares a classifier of tokens with the reference of its folder; None where there is none.
///
/// # Errors
/// InvalidModel for a reference that cannot be read, or that the model does not come close
/// to; otherwise as [`TokenClassifier::classify`].
pub fn check_tokens(folder: &Path, classifier: &TokenClassifier) -> Result<Option<Parity>> {
    let Some(reference) = read_json_if_there::<TokenReference>(folder, REFERENCE)? else {
        return Ok(None);
    };
    let count = reference.queries.len();
    if count == 0 || reference.passages.len() != count || reference.logits.len() != count {
        return Err(
            invalid(REFERENCE, "queries, passages and logits do not go together")
                .found(format!(
                    "{count} queries, {} passages, {} rows of logits",
                    reference.passages.len(),
                    reference.logits.len()
                ))
                .expected("one of each for one pair or more")
                .into(),
        );
    }
    let usual = match graph::is_integer(folder, &classifier.manifest().graph) {
        true => APART_INTEGER,
        false => APART_FLOAT,
    };
    let most = reference.most.unwrap_or(usual);
    if !(0.0..=APART_MOST).contains(&most) {
        return Err(invalid(
            REFERENCE,
            "`most` would let another model pass for this one",
        )
        .found(most)
        .expected(format!("0 to {APART_MOST}"))
        .into());
    }
    let logistic = |logit: f32| 1.0 / (1.0 + (-f64::from(logit)).exp());
    let mut farthest = (0.0_f64, String::new());
    let pairs = reference.queries.iter().zip(&reference.passages);
    for ((query, passage), expected) in pairs.zip(&reference.logits) {
        let found = classifier.classify(&[classifier.pair(query, passage)?])?;
        let found = found.first().map(Vec::as_slice).unwrap_or_default();
        let expected = expected.concat();
        let sum: f64 = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| (logistic(*a) - logistic(*b)).abs())
            .sum();
        let apart = match found.len() == expected.len() {
            true => sum / expected.len().max(1) as f64,
            false => f64::NAN,
        };
        if apart.is_nan() || apart > farthest.0 {
            farthest = (apart, format!("{query} | {passage}"));
        }
    }
    let (apart, pair) = farthest;
    // A NaN is above everything.
    if apart <= most {
        return Ok(Some(Parity {
            texts: count,
            least_cosine: 1.0 - apart,
            required: 1.0 - most,
        }));
    }
    Err(
        invalid(REFERENCE, "the model does not say what it should of tokens")
            .found(format!("{apart:.4} apart for {pair:?}"))
            .expected(format!("at most {most} for each of {count} pairs"))
            .into(),
    )
}

#[derive(Deserialize)]
struct NameReference {
    before: Vec<String>,
    mentions: Vec<String>,
    after: Vec<String>,
    names: Vec<Vec<String>>,
    log_probabilities: Vec<Vec<f32>>,
    #[serde(default)]
    most: Option<f64>,
}

/// Compares a generator with the reference of its folder; None where there is none.
///
/// # Errors
/// InvalidModel for a reference that cannot be read, or that the model does not come close
/// to; otherwise as [`Generator::read`].
pub fn check_names(folder: &Path, generator: &Generator) -> Result<Option<Parity>> {
    let Some(reference) = read_json_if_there::<NameReference>(folder, REFERENCE)? else {
        return Ok(None);
    };
    let count = reference.mentions.len();
    let others = [
        reference.before.len(),
        reference.after.len(),
        reference.names.len(),
        reference.log_probabilities.len(),
    ];
    if count == 0 || others != [count; 4] {
        return Err(invalid(
            REFERENCE,
            "texts, mentions, names and probabilities do not go together",
        )
        .found(format!("{count} mentions, {others:?} of the others"))
        .expected("one of each for one mention or more")
        .into());
    }
    let most = reference.most.unwrap_or(APART_FLOAT);
    if !(0.0..=APART_MOST).contains(&most) {
        return Err(invalid(
            REFERENCE,
            "`most` would let another model pass for this one",
        )
        .found(most)
        .expected(format!("0 to {APART_MOST}"))
        .into());
    }
    let tokenizer = NameTokenizer::open(folder)?;
    let mut farthest = (0.0_f64, String::new());
    for at in 0..count {
        let (mention, names) = (&reference.mentions[at], &reference.names[at]);
        let (before, after) = (&reference.before[at], &reference.after[at]);
        let read = generator.marked_window(before, mention, after, generator.max_tokens())?;
        let spelled = names.iter().map(|name| tokenizer.tokens(name));
        let spelled: Vec<Vec<u32>> = spelled
            .map(|tokens| Ok(tokens?.unwrap_or_default()))
            .collect::<Result<_>>()?;
        let most = generator.max_answer();
        if let Some(long) = spelled.iter().find(|tokens| tokens.len() > most) {
            return Err(
                invalid(REFERENCE, "a name is longer than the generator writes")
                    .found(format!("{} tokens", long.len()))
                    .expected(format!("at most {most}"))
                    .into(),
            );
        }
        let answers: Vec<(usize, &[u32])> = spelled.iter().map(|t| (0, t.as_slice())).collect();
        let mut found = vec![f64::NAN; names.len()];
        generator.read(&[read])?.force(&answers, |which, logits| {
            let wanted = answers[which].1.iter().copied().chain([generator.end()]);
            let rows = logits.values.chunks_exact(logits.vocabulary.max(1));
            found[which] = rows.zip(wanted).map(|(row, id)| log_share(row, id)).sum();
        })?;
        let expected = &reference.log_probabilities[at];
        if found.len() != expected.len() {
            farthest = (f64::NAN, mention.clone());
        }
        for ((name, found), &expected) in names.iter().zip(&found).zip(expected) {
            let expected = f64::from(expected);
            let apart = (found - expected).abs() / (1.0 + expected.abs());
            if apart.is_nan() || apart > farthest.0 {
                farthest = (apart, format!("{mention} | {name}"));
            }
        }
    }
    let (apart, name) = farthest;
    // A NaN is above everything.
    if apart <= most {
        return Ok(Some(Parity {
            texts: count,
            least_cosine: 1.0 - apart,
            required: 1.0 - most,
        }));
    }
    Err(
        invalid(REFERENCE, "the model does not write names as it should")
            .found(format!("{apart:.4} apart for {name:?}"))
            .expected(format!("at most {most} for each of {count} mentions"))
            .into(),
    )
}

/// Logarithm of a token's share.
fn log_share(logits: &[f32], token: u32) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let all: f64 = logits.iter().map(|&v| f64::from(v - most).exp()).sum();
    let own = logits.get(token as usize).copied();
    own.map_or(f64::NAN, |own| f64::from(own - most) - all.ln())
}

/// NaN for vectors of different lengths.
fn cosine(found: &[f32], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let (mut dot, mut a, mut b) = (0.0, 0.0, 0.0);
    for (&x, &y) in found.iter().zip(expected) {
        let x = f64::from(x);
        dot += x * y;
        a += x * x;
        b += y * y;
    }
    dot / (a * b).sqrt()
}
