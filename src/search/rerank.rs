//! The stage after fusion: a cross-encoder reads the first documents, and their order is made
//! anew.
//!
//! * *Which.* The first `depth` of the fused candidates, ties by id; with a cascade those of
//!   them that might end among the first ten.
//! * *Order.* Documents that were scored come first, by the blend of both scores; all others
//!   follow in the order of the first stage, their scores moved below. So a document that was
//!   not scored never stands above one that was.
//! * *Time.* Pairs are scored in the order of the first stage (with a cascade, the likeliest
//!   first). When the time is up, those before the first that is missing count as scored, and
//!   the rest follow as above: as if the depth had been less. The answer says so.
//! * *Failure.* Without the reranker the answer is the first stage's, and says so.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::fusion::Candidate;
use super::legs::Legs;
use super::page::order;
use super::request::SearchRequest;
use super::response::{Degraded, RerankExplanation, RerankSummary};
use super::run::ms;
use crate::document::{FieldType, strings_at};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Cascade, Definition, Rerank};
use crate::model::{ScoreOptions, Task};
use crate::rerank::{FirstStage, below, blend};
use crate::telemetry::stage;

/// What is lost where documents are not re-ranked.
pub(super) const STAGE: &str = "rerank";

/// Whether and how a search is re-ranked: `true`, `false`, or an object whose fields stand for
/// those of the index's definition.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RerankRequest {
    /// As the definition says, or not at all.
    Whether(bool),
    /// With these settings in place of the definition's.
    Settings(RerankSettings),
}

/// Settings of re-ranking; what is left out is as the index's definition says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RerankSettings {
    /// Name of a reranker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Documents that are re-ranked, 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Fields whose texts are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// Weight of the reranker's score against the first stage's, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// Longest time re-ranking may take, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Leaves out documents that the reranker is unlikely to put among the first ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Cascade>,
}

/// The two forms, for the schema alone.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // stands for the shape alone
pub(super) enum RerankSchema {
    /// As the index's definition says, or not at all.
    Whether(bool),
    /// With these settings in place of the definition's.
    Settings(RerankSettings),
}

impl<'de> Deserialize<'de> for RerankRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand: an untagged enum would lose the reason why neither form fits.
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RerankRequest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or an object with settings")
            }

            fn visit_bool<E: de::Error>(self, whether: bool) -> Result<RerankRequest, E> {
                Ok(RerankRequest::Whether(whether))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RerankRequest, A::Error> {
                RerankSettings::deserialize(MapAccessDeserializer::new(map))
                    .map(RerankRequest::Settings)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The stage of one request: a reranker's name, and settings with nothing left out.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub settings: Rerank,
    pub model: String,
    /// Whether the request names the model, and is to hear that there is none.
    pub named: bool,
    pub fields: Vec<String>,
}

impl Stage {
    /// The stage that a request asks for, if any.
    ///
    /// # Errors
    /// InvalidRequest for settings out of range, a request that nothing can be re-ranked of,
    /// or one without a model.
    pub fn of(request: &SearchRequest, definition: &Definition) -> Result<Option<Stage>, Problem> {
        let defaults = definition.search.rerank.clone().unwrap_or_default();
        let (asked, settings) = match &request.rerank {
            None if defaults.by_default => (false, defaults),
            None | Some(RerankRequest::Whether(false)) => return Ok(None),
            Some(RerankRequest::Whether(true)) => (true, defaults),
            Some(RerankRequest::Settings(settings)) => (true, settings.over(defaults)),
        };
        settings.check(&definition.fields, Code::InvalidRequest, "rerank")?;
        let wrong = |message: &str, found: &str, expected: &str| {
            Err(Problem::new(Code::InvalidRequest, message)
                .field("rerank")
                .found(found)
                .expected(expected))
        };
        if request.query.is_none() {
            return match asked {
                false => Ok(None),
                true => wrong(
                    "there is no text to compare documents with",
                    "no query",
                    "a query, or no rerank",
                ),
            };
        }
        if request.sort.is_some() {
            return match asked {
                false => Ok(None),
                true => wrong(
                    "hits have one order",
                    "sort as well",
                    "one of rerank and sort",
                ),
            };
        }
        let Some(model) = settings.model.clone() else {
            return Err(
                Problem::new(Code::InvalidRequest, "nothing says which reranker to use")
                    .field("rerank.model")
                    .found("no name, here or in the index's definition")
                    .expected("the name of a reranker"),
            );
        };
        let encoded = definition.embedding.iter().flat_map(|e| &e.fields);
        let encoded: Vec<String> = encoded.cloned().collect();
        let fields = match (settings.fields.is_empty(), encoded.is_empty()) {
            (false, _) => settings.fields.clone(),
            (true, false) => encoded,
            (true, true) => {
                let fields = definition.fields.iter();
                let texts = fields.filter(|(_, field)| field.kind == FieldType::Text);
                texts.map(|(name, _)| name.clone()).collect()
            }
        };
        let named = matches!(
            &request.rerank,
            Some(RerankRequest::Settings(RerankSettings {
                model: Some(_),
                ..
            }))
        );
        Ok(Some(Stage {
            settings,
            model,
            named,
            fields,
        }))
    }

    /// The same as a request that does not depend on the definition.
    pub fn request(&self) -> RerankRequest {
        let settings = &self.settings;
        RerankRequest::Settings(RerankSettings {
            model: Some(self.model.clone()),
            depth: Some(settings.depth),
            fields: Some(self.fields.clone()),
            weight: settings.weight,
            time_ms: Some(settings.time_ms),
            cascade: settings.cascade.clone(),
        })
    }
}

impl RerankSettings {
    fn over(&self, defaults: Rerank) -> Rerank {
        Rerank {
            model: self.model.clone().or(defaults.model),
            by_default: defaults.by_default,
            depth: self.depth.unwrap_or(defaults.depth),
            fields: self.fields.clone().unwrap_or(defaults.fields),
            weight: self.weight.or(defaults.weight),
            time_ms: self.time_ms.unwrap_or(defaults.time_ms),
            cascade: self.cascade.clone().or(defaults.cascade),
        }
    }
}

/// What came of re-ranking.
pub(super) struct Reranking {
    pub summary: RerankSummary,
    pub degraded: Option<Degraded>,
    pub took_ms: f64,
    weight: f32,
    /// Documents that were scored.
    scored: HashMap<u32, Scored>,
    /// The least score among them.
    floor: f32,
    /// What the cascade said of those it was asked about.
    chances: HashMap<u32, f32>,
    /// The first stage's place (from 1) and score of every document of the list.
    firsts: HashMap<u32, (usize, f32)>,
}

/// A document that was scored.
#[derive(Debug, Clone, Copy)]
struct Scored {
    rerank: f32,
    tokens: u32,
    parts: (f32, f32),
    score: f32,
}

impl Reranking {
    /// Scores the first documents of a list, best first; None where the plan has no such
    /// stage.
    ///
    /// # Errors
    /// Of the store alone: without a reranker the answer is the first stage's.
    pub fn new(legs: &Legs<'_>, list: &[Candidate]) -> Result<Option<Reranking>> {
        let (Some(stage), Some(query)) = (&legs.plan.rerank, &legs.plan.request.query) else {
            return Ok(None);
        };
        let started = Instant::now();
        let _rerank = stage!("rerank");
        let deadline = started + Duration::from_millis(stage.settings.time_ms);
        let first = first_of(legs, list, stage.settings.depth)?;
        let mut made = Reranking {
            summary: RerankSummary {
                model: stage.model.clone(),
                depth: first.len(),
                scored: 0,
                tokens: 0,
                query_truncated: false,
            },
            degraded: None,
            took_ms: 0.0,
            weight: stage.settings.weight.unwrap_or(1.0),
            scored: HashMap::new(),
            floor: 0.0,
            chances: HashMap::new(),
            firsts: HashMap::new(),
        };
        let scored = match made.score(legs, stage, query, &first, deadline) {
            Ok(scored) => scored,
            Err(error) => {
                made.degraded = Some(lost(legs, stage, error)?);
                Vec::new()
            }
        };
        let firsts: Vec<f32> = scored.iter().map(|(one, ..)| one.score).collect();
        let scores: Vec<f32> = scored.iter().map(|&(_, score, _)| score).collect();
        // With a cascade the list is known, and the cascade alone decides what is left out.
        // Without, what the time did not suffice for is as if the depth had been less.
        let list: Vec<f32> = match stage.settings.cascade {
            Some(_) => first.iter().map(|one| one.score).collect(),
            None => firsts.clone(),
        };
        let blended = blend(&firsts, &scores, &list, made.weight);
        made.floor = blended
            .iter()
            .map(|b| b.score)
            .fold(f32::INFINITY, f32::min);
        made.summary.scored = scored.len();
        for ((candidate, rerank, tokens), blended) in scored.into_iter().zip(blended) {
            let one = Scored {
                rerank,
                tokens,
                parts: (blended.first, blended.rerank),
                score: blended.score,
            };
            made.summary.tokens += u64::from(tokens);
            made.scored.insert(candidate.ordinal, one);
        }
        made.took_ms = ms(started);
        Ok(Some(made))
    }

    /// Scores what is worth it of the first documents, in the order in which it was done.
    fn score(
        &mut self,
        legs: &Legs<'_>,
        stage: &Stage,
        query: &str,
        first: &[Candidate],
        deadline: Instant,
    ) -> Result<Vec<(Candidate, f32, u32)>> {
        let mut worth = first.to_vec();
        if let Some(cascade) = &stage.settings.cascade {
            worth = self.likely(cascade, first);
        }
        let ordinals: Vec<u32> = first.iter().map(|one| one.ordinal).collect();
        let texts = legs.index.documents(&ordinals)?.into_iter();
        let texts = texts.map(|document| {
            let source = document.map(|document| document.source).unwrap_or_default();
            let fields = stage.fields.iter();
            let pieces = fields.flat_map(|field| strings_at(&source, field));
            pieces.collect::<Vec<_>>().join("\n")
        });
        let texts: HashMap<u32, String> = ordinals.into_iter().zip(texts).collect();
        if let Some(cascade) = &stage.settings.cascade {
            let all: usize = texts.values().map(String::len).sum();
            let mut left = (all as f64 * f64::from(cascade.share)).ceil() as usize;
            let within = worth.iter().take_while(|one| {
                let bytes = texts.get(&one.ordinal).map_or(0, String::len);
                let fits = bytes <= left;
                left = left.saturating_sub(bytes);
                fits
            });
            let within = within.count();
            worth.truncate(within);
        }
        // One document alone has no order.
        if worth.len() < 2 {
            return Ok(Vec::new());
        }
        let passages: Vec<&str> = worth
            .iter()
            .map(|one| texts.get(&one.ordinal).map_or("", String::as_str))
            .collect();
        let reranker = legs.index.reranker(&stage.model)?;
        if let (None, Some(weight)) = (stage.settings.weight, reranker.recommended_weight()) {
            self.weight = weight;
        }
        let options = ScoreOptions {
            task: Task::Query,
            deadline: Some(deadline),
            cancellation: legs.plan.cancellation.clone(),
            ..ScoreOptions::default()
        };
        let found = reranker.score(query, &passages, &options)?;
        self.summary.query_truncated = found.query_truncated;
        // What was done after a gap does not count: the order would depend on chance.
        let scores = found.scores.iter().map_while(|score| *score);
        let scored: Vec<(Candidate, f32, u32)> = worth
            .iter()
            .zip(scores)
            .zip(&found.tokens)
            .map(|((&one, score), &tokens)| (one, score, tokens))
            .collect();
        if scored.len() < worth.len() {
            self.degraded = Some(Degraded {
                lost: STAGE.into(),
                reason: format!(
                    "{} of {} documents were re-ranked within {} ms; the others follow in the \
                     first stage's order",
                    scored.len(),
                    worth.len(),
                    stage.settings.time_ms
                ),
            });
        }
        Ok(scored)
    }

    /// Those of the first documents that may end among the first ten, the likeliest first.
    fn likely(&mut self, cascade: &Cascade, first: &[Candidate]) -> Vec<Candidate> {
        let list: Vec<FirstStage> = first
            .iter()
            .map(|one| FirstStage {
                score: one.score,
                lexical: one.lexical.map(|(_, score)| score),
                dense: one.dense.map(|(_, score)| score),
            })
            .collect();
        let chances = cascade.gate().chances(&list);
        let ordinals = first.iter().map(|one| one.ordinal);
        self.chances = ordinals.zip(chances.iter().copied()).collect();
        let mut likely: Vec<(f32, Candidate)> = chances
            .into_iter()
            .zip(first.iter().copied())
            .filter(|(chance, _)| *chance >= cascade.threshold)
            .collect();
        // Stable: those alike stay in the first stage's order.
        likely.sort_by(|a, b| b.0.total_cmp(&a.0));
        likely.into_iter().map(|(_, one)| one).collect()
    }

    /// Gives a list its new scores, and puts it into their order. The list may be longer than
    /// the one that was scored, but begins with the same candidates.
    pub fn apply(&mut self, list: &mut [Candidate]) {
        let places = list.iter().enumerate();
        self.firsts = places
            .map(|(place, one)| (one.ordinal, (place + 1, one.score)))
            .collect();
        if self.scored.is_empty() {
            return;
        }
        let others = list.iter();
        let others = others.filter(|one| !self.scored.contains_key(&one.ordinal));
        let highest = others
            .filter(|one| !one.beyond)
            .map(|one| one.score)
            .fold(f32::NEG_INFINITY, f32::max);
        let mut least = self.floor;
        for one in list.iter_mut() {
            match self.scored.get(&one.ordinal) {
                Some(scored) => one.score = scored.score,
                None if one.beyond => {}
                None => {
                    one.score = below(self.floor, highest, one.score);
                    least = least.min(one.score);
                }
            }
        }
        // What lies deeper is ordered by ranks, and its scores do not compare: they fall.
        for one in list.iter_mut().filter(|one| one.beyond) {
            one.score = below(least, 0.0, -(one.best_rank() as f32) / 1e3);
        }
        list.sort_by(|a, b| order(a, b).then(a.ordinal.cmp(&b.ordinal)));
    }

    /// The score of a document before re-ranking.
    pub fn first_score(&self, ordinal: u32) -> Option<f32> {
        self.firsts.get(&ordinal).map(|first| first.1)
    }

    /// A document's part in it.
    pub fn explain(&self, candidate: &Candidate) -> Option<RerankExplanation> {
        let (rank, first_stage) = *self.firsts.get(&candidate.ordinal)?;
        let scored = self.scored.get(&candidate.ordinal);
        Some(RerankExplanation {
            first_rank: rank,
            first_score: first_stage,
            first_as: scored.map(|one| one.parts.0),
            score: scored.map(|one| one.rerank),
            score_as: scored.map(|one| one.parts.1),
            weight: self.weight,
            tokens: scored.map(|one| one.tokens),
            chance: self.chances.get(&candidate.ordinal).copied(),
        })
    }
}

/// The first `depth` of the fused candidates, equals in the order of their ids.
fn first_of(legs: &Legs<'_>, list: &[Candidate], depth: usize) -> Result<Vec<Candidate>> {
    let fused = list.iter().take_while(|one| !one.beyond).count();
    let mut end = fused.min(depth);
    // Those that tie across the edge are looked at too.
    while end > 0 && end < fused && order(&list[end - 1], &list[end]) == Ordering::Equal {
        end += 1;
    }
    let mut first = list[..end].to_vec();
    let tied: Vec<u32> = first
        .chunk_by(|a, b| order(a, b) == Ordering::Equal)
        .filter(|equal| equal.len() > 1)
        .flat_map(|equal| equal.iter().map(|one| one.ordinal))
        .collect();
    let ids: HashMap<u32, Option<String>> =
        tied.iter().copied().zip(legs.index.ids(&tied)?).collect();
    first.sort_by(|a, b| order(a, b).then_with(|| ids.get(&a.ordinal).cmp(&ids.get(&b.ordinal))));
    first.truncate(depth);
    Ok(first)
}

/// What a failure means for the answer.
///
/// # Errors
/// The failure itself, where it is the caller's.
fn lost(legs: &Legs<'_>, stage: &Stage, error: Error) -> Result<Degraded> {
    let about_the_name = |problem: &Problem| problem.field.as_deref() == Some("model");
    let reason = match &error {
        Error::User(problem) if stage.named && about_the_name(problem) => {
            return Err(problem.as_ref().clone().field("rerank.model").into());
        }
        // What is the operator's business stays in the log: folders too.
        Error::User(problem) if problem.code == Code::InvalidModel => format!(
            "the reranker cannot be used: {} is missing or not what it should be",
            problem.field.as_deref().unwrap_or("a file")
        ),
        Error::User(problem) => problem.message.clone(),
        _ => "the reranker failed".into(),
    };
    tracing::warn!(index = legs.index.name(), %error, "answering without the reranker");
    Ok(Degraded {
        lost: STAGE.into(),
        reason,
    })
}
