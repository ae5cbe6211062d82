//! From texts to entities: which of those that a mention may mean it does mean.
//!
//! What a mention may mean are the names and aliases that are spelled as it is, or what the caller
//! gives ([`candidates`]). Each is measured by how often the alias means it or how popular it is
//! (the prior), by how near its name is to the mention's context in the encoder's eyes, and, where
//! there is a generator, by how likely that would write it ([`measure`]). The measures are weighed
//! ([`weigh`]) into shares, for which none of the catalog competes; how much each counts is fitted
//! ([`fit`]).

mod annotate;
mod candidates;
mod fit;
mod measure;
mod mentions;
mod request;
mod weigh;
mod write;

#[cfg(test)]
mod tests;

pub use annotate::MAX_ANNOTATED;
use annotate::annotate;
use candidates::{Longer, Lookup, Question, share_longer};
pub use fit::{Calibration, CalibrationBin, Example, FitReport, fit};
use measure::{Wanted, check_tokenizer, longest};
pub use mentions::Mentions;
use mentions::detect;
pub use request::{
    DisambiguateRequest, LinkDegraded, LinkMethod, LinkRequest, LinkResponse, LinkedMention,
    MAX_CANDIDATES, MAX_TEXT, RetrieveEntitiesRequest, RetrieveEntitiesResponse, ScoredEntity,
};
use request::{bytes_of, check_count, check_mentions, check_samples, check_text, check_threshold};
use weigh::best_first;
pub use weigh::{
    CandidateMeasures, Evidence, Known, NoneMeasures, Origin, Shares, Thresholds, Way, Weighings,
    Weights,
};
use write::{draw, no_generator, read, search};

use super::view::View;
use crate::config::Entities;
use crate::error::Result;
use crate::model::{Cancellation, Generator, Registry, TextEncoder};

/// Bytes around a marked mention in which longer ones are looked for.
const AROUND: usize = 4_000;
/// Bytes of a token that an encoder reads, at most, where a description is cut.
const BYTES_PER_TOKEN: usize = 32;

/// Links texts to the entities of catalogs. Any number of threads may use one at once; clones share
/// the models.
#[derive(Clone)]
pub struct EntityLinker {
    encoder: TextEncoder,
    generator: Option<Generator>,
    weights: Weights,
    wanted: Wanted,
    /// Those where there is no generator for a catalog.
    alone: Weights,
    cancellation: Cancellation,
}

/// A mention that was found, in characters of the text, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundMention {
    /// Its first character.
    pub start: usize,
    /// The one after its last.
    pub end: usize,
    /// What is known of it.
    pub evidence: Evidence,
    /// The entities whose name the generator wrote beside it; none where it was detected.
    pub written: Vec<String>,
}

impl EntityLinker {
    /// With the models and weights that a configuration names.
    ///
    /// # Errors
    /// Those of the registry, and of [`Weighings::read`].
    pub fn open(registry: &Registry, settings: &Entities) -> Result<EntityLinker> {
        let weighings = match &settings.weights {
            Some(path) => Weighings::read(path)?,
            None => Weighings::shipped()?,
        };
        let generator = settings.generator.as_deref();
        let generator = generator.map(|name| registry.open_generator(name));
        let encoder = registry.open(&settings.encoder)?;
        Ok(EntityLinker::new(
            encoder,
            generator.transpose()?,
            &weighings,
        ))
    }

    /// Of an encoder, and a generator where there is one.
    pub fn new(
        encoder: TextEncoder,
        generator: Option<Generator>,
        weighings: &Weighings,
    ) -> EntityLinker {
        let (_, weights) = weighings.used(generator.is_some());
        EntityLinker {
            encoder,
            wanted: Wanted::by(&weights),
            alone: weighings.used(false).1,
            generator,
            weights,
            cancellation: Cancellation::default(),
        }
    }

    /// The same for somebody who may leave: what is asked of it fails with Timeout, soon after, once
    /// it is cancelled.
    pub fn until(&self, cancellation: &Cancellation) -> EntityLinker {
        EntityLinker {
            cancellation: cancellation.clone(),
            ..self.clone()
        }
    }

    /// The same without its generator where that spells names in other tokens than a catalog's, and
    /// what is told of that.
    fn for_catalog(&self, view: &View) -> (EntityLinker, Option<LinkDegraded>) {
        let fits = |generator: &Generator| check_tokenizer(view, generator).is_ok();
        if self.generator.as_ref().is_none_or(fits) {
            return (self.clone(), None);
        }
        let linker = EntityLinker {
            generator: None,
            weights: self.alone,
            wanted: Wanted::by(&self.alone),
            ..self.clone()
        };
        let degraded = LinkDegraded {
            lost: "generator".into(),
            reason: "the catalog's names are spelled in another tokenizer's tokens than the \
                     generator's: build it with the generator's model"
                .into(),
        };
        (linker, Some(degraded))
    }

    fn lookup<'a>(&self, view: &'a View) -> Lookup<'a> {
        Lookup::new(
            view,
            self.encoder.max_tokens().saturating_mul(BYTES_PER_TOKEN),
        )
    }

    /// The same with everything measured, whether it counts or not.
    pub fn measuring(&self) -> EntityLinker {
        EntityLinker {
            wanted: Wanted {
                similarity: true,
                generated: true,
            },
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
    /// InvalidRequest or LimitExceeded for a request that cannot be answered; ModelMismatch where only
    /// a generator can answer and the catalog was built with another tokenizer than its own; Timeout
    /// once it was cancelled; those of the models.
    pub fn link(&self, view: &View, request: &LinkRequest) -> Result<LinkResponse> {
        let threshold = check_threshold(request.threshold)?;
        let (linker, degraded) = match request.method {
            LinkMethod::Detect => self.for_catalog(view),
            LinkMethod::Annotate => (self.clone(), None),
        };
        let threshold = threshold.unwrap_or(linker.weights.thresholds.found);
        check_count("alternatives", request.alternatives, 0)?;
        let mut mentions = Vec::new();
        for found in linker.found(view, request)? {
            let mut shares = found.evidence.weigh(&linker.weights);
            // What was written is the answer; what else it may mean comes after.
            shares.entities.sort_by_key(|entity| {
                !found.written.is_empty() && !found.written.contains(&entity.id)
            });
            let span = (found.start, found.end);
            let alternatives = request.alternatives;
            mentions.push(answer(&request.text, span, shares, threshold, alternatives));
        }
        Ok(LinkResponse { mentions, degraded })
    }

    /// The mentions of a text with what is known of them.
    ///
    /// # Errors
    /// As [`EntityLinker::link`].
    pub fn found(&self, view: &View, request: &LinkRequest) -> Result<Vec<FoundMention>> {
        let text = &request.text;
        check_text("text", text)?;
        let mut lookup = self.lookup(view);
        let mut written: Vec<Vec<String>> = Vec::new();
        let (stretches, questions) = match request.method {
            LinkMethod::Detect => {
                let stretches = detect(view, text, request.mentions)?;
                check_mentions("text", stretches.len())?;
                let questions = stretches.iter().map(|one| lookup.found(one));
                let mut questions = questions.collect::<Result<Vec<_>>>()?;
                let longer = Longer::of(text, &questions);
                for question in &mut questions {
                    share_longer(text, &longer, question);
                }
                (stretches, questions)
            }
            LinkMethod::Annotate => {
                let (mut stretches, mut questions) = (Vec::new(), Vec::new());
                let annotated = annotate(view, self.generator.as_ref(), text, &self.cancellation)?;
                for one in annotated {
                    let mut question = lookup.found(&one.stretch)?;
                    let ids = lookup.add_names(&one.names, &mut question.candidates)?;
                    written.push(ids.iter().map(|id| id.as_ref().to_owned()).collect());
                    questions.push(question);
                    stretches.push(one.stretch);
                }
                (stretches, questions)
            }
        };
        written.resize(stretches.len(), Vec::new());
        let evidence = self.evidence(view, text, questions, self.wanted)?;
        let (mut byte, mut character) = (0, 0);
        let mut found = Vec::with_capacity(stretches.len());
        for ((stretch, evidence), written) in stretches.iter().zip(evidence).zip(written) {
            character += text[byte..stretch.start].chars().count();
            byte = stretch.start;
            let length = text[stretch.start..stretch.end].chars().count();
            found.push(FoundMention {
                start: character,
                end: character + length,
                evidence,
                written,
            });
        }
        Ok(found)
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
        let threshold = check_threshold(request.threshold)?;
        let alternatives = check_count("alternatives", request.alternatives.unwrap_or(5), 0)?;
        let (linker, degraded) = self.for_catalog(view);
        let evidence = linker.marked(view, request)?;
        let threshold = threshold.unwrap_or(linker.weights.thresholds.of(evidence.origin));
        let answer = answer(
            &request.text,
            (request.start, request.end),
            evidence.weigh(&linker.weights),
            threshold,
            alternatives,
        );
        Ok(LinkedMention { degraded, ..answer })
    }

    /// What is known of a mention.
    ///
    /// # Errors
    /// As [`EntityLinker::disambiguate`].
    pub fn marked(&self, view: &View, request: &DisambiguateRequest) -> Result<Evidence> {
        check_text("text", &request.text)?;
        let (start, end) = bytes_of(&request.text, request.start, request.end)?;
        let tokens = view.tokenizer().tokens(&request.text[start..end])?;
        let tokens = tokens.unwrap_or_default();
        let mut lookup = self.lookup(view);
        let (origin, candidates) = match request.candidates.is_empty() {
            true => (Origin::Marked, lookup.candidates(&tokens)?),
            false => (Origin::Given, lookup.given(&request.candidates, &tokens)?),
        };
        let mut question = Question {
            origin,
            start,
            end,
            tokens,
            candidates,
        };
        if origin == Origin::Marked {
            self.look_further(&mut lookup, view, &request.text, &mut question)?;
        }
        let evidence = self.evidence(view, &request.text, vec![question], self.wanted)?;
        // One question, one answer.
        Ok(evidence.into_iter().next().unwrap_or(Evidence {
            origin,
            none: NoneMeasures::default(),
            candidates: Vec::new(),
        }))
    }

    /// Adds what a marked mention may mean besides what its words say: what longer mentions around
    /// it mean, and what a generator would write.
    fn look_further(
        &self,
        lookup: &mut Lookup<'_>,
        view: &View,
        text: &str,
        question: &mut Question,
    ) -> Result<()> {
        let from = text.floor_char_boundary(question.start.saturating_sub(AROUND));
        // Not from the middle of a word.
        let from = match text[from..question.start].find(char::is_whitespace) {
            Some(space) if from > 0 => from + space,
            _ => from,
        };
        let to = text.ceil_char_boundary((question.end + AROUND).min(text.len()));
        let mut around = Vec::new();
        for mut stretch in detect(view, &text[from..to], Mentions::Capitalized)? {
            stretch.start += from;
            stretch.end += from;
            if text[stretch.start..stretch.end].contains(char::is_whitespace) {
                around.push(lookup.found(&stretch)?);
            }
        }
        share_longer(text, &Longer::of(text, &around), question);
        match &self.generator {
            Some(generator) if self.wanted.generated => {
                self.add_written(lookup, view, generator, text, question)
            }
            _ => Ok(()),
        }
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
        let samples = request.samples.map(check_samples).transpose()?;
        // Only a generator draws.
        let (linker, degraded) = match samples {
            None => self.for_catalog(view),
            Some(_) => (self.clone(), None),
        };
        let mut entities = match (&linker.generator, samples) {
            (Some(generator), None) => {
                let mut generation = read(view, generator, &request.query, &self.cancellation)?;
                search(view, longest(view, generator), &mut generation, k)?
            }
            (Some(generator), Some(samples)) => {
                let mut generation = read(view, generator, &request.query, &self.cancellation)?;
                draw(view, generator.max_answer(), &mut generation, samples)?
            }
            (None, Some(_)) => {
                return Err(no_generator("samples", "no samples, or").into());
            }
            (None, None) => {
                let stretches = detect(view, &request.query, Mentions::All)?;
                check_mentions("query", stretches.len())?;
                let mut lookup = linker.lookup(view);
                let questions = stretches.iter().map(|stretch| lookup.found(stretch));
                let questions = questions.collect::<Result<Vec<_>>>()?;
                let known = linker.evidence(view, &request.query, questions, linker.wanted)?;
                let shares = known
                    .iter()
                    .map(|evidence| evidence.weigh(&linker.weights).entities);
                shares.flatten().collect()
            }
        };
        entities.sort_by(best_first);
        let mut seen = std::collections::HashSet::new();
        entities.retain(|entity| seen.insert(entity.id.clone()));
        entities.truncate(k);
        Ok(RetrieveEntitiesResponse { entities, degraded })
    }
}

/// What is answered of a mention, given by its characters.
fn answer(
    text: &str,
    (start, end): (usize, usize),
    shares: Shares,
    threshold: f32,
    alternatives: usize,
) -> LinkedMention {
    let mut scored = shares.entities.into_iter();
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
        end,
        mention: text.chars().skip(start).take(end - start).collect(),
        entity: first,
        threshold,
        none: shares.none,
        alternatives: others,
        degraded: None,
    }
}
