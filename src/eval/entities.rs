//! How often mentions are linked to the entity that they mean.
//!
//! Gold are documents with marked mentions. Names are compared by what they are in small letters,
//! underscores as spaces, because collections and catalogs spell them differently. What is known of
//! every mention is gathered once ([`judge_marked`], [`judge_found`]); every way of weighing it is
//! measured on that.
//!
//! * **accuracy**: of the mentions that mean an entity, how many have it as their likeliest.
//! * **micro F1**: of the answers, with the fitted threshold, how many are right, and of the
//!   mentions that mean an entity, how many get it: the harmonic mean.
//! * **NIL F1**: the same of mentions that mean no entity of the collection, and answers that say
//!   so.
//! * **ECE**: how far shares are from accuracies, see [`Calibration`].
//! * **ceiling**: of the mentions that mean an entity, how many have it among their candidates.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::entity::{
    Calibration, DisambiguateRequest, EntityLinker, Evidence, Example, LinkMethod, LinkRequest,
    MAX_CANDIDATES, Mentions, NoneMeasures, Origin, View, Way, Weighings, Weights,
};
use crate::error::{Code, Problem, Result};

/// A document with marked mentions.
#[derive(Debug, Clone, Deserialize)]
pub struct MarkedDocument {
    /// The text.
    pub text: String,
    /// The part of it, in characters, whose mentions are all marked; the whole where it is not said.
    #[serde(default)]
    pub evaluation_span: Option<[usize; 2]>,
    /// The mentions.
    pub labels: Vec<MarkedMention>,
}

/// A marked mention.
#[derive(Debug, Clone, Deserialize)]
pub struct MarkedMention {
    /// Characters of the text.
    pub span: [usize; 2],
    /// Id of the entity.
    pub entity_id: String,
    /// Name of the entity.
    #[serde(default)]
    pub name: String,
    /// A pronoun or the like, which is not measured.
    #[serde(default)]
    pub coref: bool,
    /// Not measured either.
    #[serde(default)]
    pub optional: bool,
}

impl MarkedMention {
    /// The entity's name, in the form that is compared; None for one that means none.
    fn gold(&self) -> Option<String> {
        // Numbers have ids in some collections, and this for a name.
        let named = !self.name.is_empty() && self.name != "Unknown";
        let linked = self.entity_id.starts_with('Q') && named;
        linked.then(|| comparable(&self.name))
    }

    /// Whether it is measured.
    fn is_measured(&self) -> bool {
        !self.coref && !self.optional
    }

    /// Whether it says that it means nothing known.
    fn is_nil(&self) -> bool {
        self.entity_id.contains("NIL")
    }
}

/// A name in the form that is compared.
pub fn comparable(name: &str) -> String {
    name.trim().to_lowercase().replace('_', " ")
}

/// Reads documents, a JSON object a line.
///
/// # Errors
/// InvalidFile for a line that is none.
pub fn marked_documents(text: &str) -> Result<Vec<MarkedDocument>> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|e| {
                Problem::new(Code::InvalidFile, "a line is no document with mentions")
                    .field(format!("line {}", number + 1))
                    .found(e)
                    .expected("text and labels with span, entity_id and name")
                    .into()
            })
        })
        .collect()
}

/// Candidates of mentions, by the mention's text: names with counts.
pub type CandidateTable = HashMap<String, Vec<(String, u32)>>;

/// How one way of weighing did on marked mentions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntityScores {
    /// See the module.
    pub accuracy: f64,
    /// See the module.
    pub micro_f1: f64,
    /// See the module.
    pub nil_f1: f64,
    /// Of the likeliest entities.
    pub calibration: Calibration,
}

/// How one way of weighing did on whole texts: the same stretch and the same entity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkingScores {
    /// Of the answers, how many are right.
    pub precision: f64,
    /// Of the marked mentions that mean an entity, how many are answered rightly.
    pub recall: f64,
    /// The harmonic mean.
    pub f1: f64,
    /// Of the likeliest entities.
    pub calibration: Calibration,
}

/// How linking of marked mentions did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntityReport {
    /// Mentions that mean an entity.
    pub mentions: usize,
    /// Mentions that mean none.
    pub nil_mentions: usize,
    /// Of the former, how many have it among their candidates.
    pub ceiling: f64,
    /// By way of weighing.
    pub methods: BTreeMap<Way, EntityScores>,
    /// Of whole texts, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linking: Option<LinkingReport>,
}

/// How linking of whole texts did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkingReport {
    /// Mentions that mean an entity.
    pub mentions: usize,
    /// Of those, how many are found as stretches.
    pub found: f64,
    /// And how many have their entity among the candidates then.
    pub ceiling: f64,
    /// Median time of a text, in seconds.
    pub median_s: f64,
    /// By way of weighing.
    pub methods: BTreeMap<Way, LinkingScores>,
}

/// Right answers, answers and what there was to answer.
#[derive(Default, Clone, Copy)]
struct Counts {
    right: usize,
    answered: usize,
    wanted: usize,
}

impl Counts {
    fn f1(self) -> f64 {
        match self.answered + self.wanted {
            0 => 0.0,
            both => 2.0 * self.right as f64 / both as f64,
        }
    }

    fn recall(self) -> f64 {
        self.right as f64 / self.wanted.max(1) as f64
    }

    fn precision(self) -> f64 {
        self.right as f64 / self.answered.max(1) as f64
    }
}

/// What tells documents apart, wherever they are read from: FNV-1a of the text.
fn document_key(document: &MarkedDocument) -> u64 {
    let bytes = document.text.bytes();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn example(document: u64, gold: Option<String>, evidence: Evidence) -> Example {
    let candidates = evidence.candidates.iter().enumerate();
    let right = candidates.filter(|(_, known)| Some(comparable(&known.name)) == gold);
    Example {
        document,
        right: right.map(|(at, _)| at).collect(),
        linked: gold.is_some(),
        evidence,
    }
}

/// Of a mention that there is nothing to say of.
fn nothing(origin: Origin) -> Evidence {
    Evidence {
        origin,
        none: NoneMeasures::default(),
        candidates: Vec::new(),
    }
}

/// Gathers what is known of the marked mentions: with the candidates of a table, or with what the
/// catalog has. Pronouns and the like are left aside, and what is marked as neither an entity nor
/// none.
///
/// # Errors
/// Those of the linker: any that a request is refused for is a fault of the collection.
pub fn judge_marked(
    linker: &EntityLinker,
    view: &View,
    documents: &[MarkedDocument],
    candidates: Option<&CandidateTable>,
    mut each: impl FnMut(),
) -> Result<Vec<Example>> {
    let linker = linker.measuring();
    let mut examples = Vec::new();
    for document in documents {
        let key = document_key(document);
        for label in document.labels.iter().filter(|label| label.is_measured()) {
            let gold = label.gold();
            if gold.is_none() && !label.is_nil() {
                continue;
            }
            let [start, end] = label.span;
            let mention: String = document
                .text
                .chars()
                .skip(start)
                .take(end.saturating_sub(start))
                .collect();
            let mut names: Vec<String> = Vec::new();
            if let Some(given) = candidates.and_then(|table| table.get(mention.trim())) {
                for (name, _) in given {
                    // What the catalog could not take cannot be asked about; the others can.
                    if !view.names_called(name)?.is_empty() {
                        names.push(name.clone());
                    }
                }
                names.truncate(MAX_CANDIDATES);
            }
            let request = DisambiguateRequest {
                catalog: String::new(),
                text: document.text.clone(),
                start,
                end,
                candidates: names,
                threshold: None,
                alternatives: None,
            };
            // A mention without letters or digits is not asked about.
            let says_something = mention.chars().any(char::is_alphanumeric);
            let evidence = match candidates {
                Some(_) if request.candidates.is_empty() || !says_something => {
                    nothing(Origin::Given)
                }
                None if !says_something => nothing(Origin::Marked),
                _ => linker.marked(view, &request)?,
            };
            examples.push(example(key, gold, evidence));
            each();
        }
    }
    Ok(examples)
}

/// Whole texts, as they are linked.
#[derive(Debug, Clone, Default)]
pub struct JudgedTexts {
    /// The stretches that were found, and the marked mentions that were not.
    pub examples: Vec<Example>,
    /// Marked mentions that mean an entity and are found as stretches.
    pub found: usize,
    /// Time of each text, in seconds.
    pub seconds: Vec<f64>,
}

/// Gathers what is known of what is found in whole texts: what is marked there is right, whatever
/// else is found in the part that is marked is wrong.
///
/// # Errors
/// Those of the linker.
pub fn judge_found(
    linker: &EntityLinker,
    view: &View,
    documents: &[MarkedDocument],
    mut each: impl FnMut(),
) -> Result<JudgedTexts> {
    let linker = linker.measuring();
    let mut judged = JudgedTexts::default();
    for document in documents {
        let key = document_key(document);
        let started = Instant::now();
        let found = linker.found(
            view,
            &LinkRequest {
                catalog: String::new(),
                text: document.text.clone(),
                method: LinkMethod::Detect,
                mentions: Mentions::Capitalized,
                threshold: None,
                alternatives: 0,
            },
        )?;
        judged.seconds.push(started.elapsed().as_secs_f64());
        let [from, to] = document.evaluation_span.unwrap_or([0, usize::MAX]);
        let labels = document.labels.iter();
        let mut labels: HashMap<[usize; 2], &MarkedMention> =
            labels.map(|label| (label.span, label)).collect();
        for mention in found {
            let span = [mention.start, mention.end];
            let label = labels.remove(&span);
            let within = span[0] >= from && span[1] <= to;
            if !within || label.is_some_and(|label| !label.is_measured()) {
                continue;
            }
            let gold = label.and_then(MarkedMention::gold);
            judged.found += usize::from(gold.is_some());
            judged.examples.push(example(key, gold, mention.evidence));
        }
        let missed = document.labels.iter();
        let missed = missed.filter(|label| labels.contains_key(&label.span));
        for label in missed.filter(|label| label.is_measured() && label.gold().is_some()) {
            let evidence = nothing(Origin::Found);
            judged.examples.push(example(key, label.gold(), evidence));
        }
        each();
    }
    Ok(judged)
}

/// What a way of weighing answers.
#[derive(Default)]
struct Outcome {
    /// Of the likeliest entities, whatever their shares.
    likeliest: Counts,
    /// Of those that reach the threshold.
    answers: Counts,
    /// Of answers that none is meant.
    none: Counts,
    calibration: Calibration,
}

fn outcome(examples: &[Example], weights: &Weights) -> Outcome {
    let mut outcome = Outcome::default();
    let mut shares = Vec::new();
    for Example {
        right,
        linked,
        evidence,
        ..
    } in examples
    {
        let weighed = evidence.weigh(weights);
        let first = weighed.entities.first();
        let is_right = first.is_some_and(|entity| {
            let mut right = right.iter();
            right.any(|&at| evidence.candidates[at].id == entity.id)
        });
        let sure =
            first.is_some_and(|entity| entity.score >= weights.thresholds.of(evidence.origin));
        for (counts, answered) in [
            (&mut outcome.likeliest, first.is_some()),
            (&mut outcome.answers, sure),
        ] {
            counts.wanted += usize::from(*linked);
            counts.answered += usize::from(answered);
            counts.right += usize::from(answered && is_right);
        }
        outcome.none.wanted += usize::from(!linked);
        outcome.none.answered += usize::from(!sure);
        outcome.none.right += usize::from(!linked && !sure);
        shares.extend(first.map(|entity| (entity.score, is_right)));
    }
    outcome.calibration = Calibration::of(shares);
    outcome
}

fn ways<T>(
    weighings: &Weighings,
    generator: bool,
    mut measure: impl FnMut(&Weights) -> T,
) -> BTreeMap<Way, T> {
    let ways = weighings.ways.iter();
    ways.filter(|(way, _)| generator || !way.generates())
        .map(|(way, weights)| (*way, measure(weights)))
        .collect()
}

/// Measures what was gathered of marked mentions; `generator` says whether that has what a
/// generator would write.
pub fn measure_marked(
    examples: &[Example],
    weighings: &Weighings,
    generator: bool,
) -> EntityReport {
    let linked = examples.iter().filter(|example| example.linked);
    let reachable = linked.clone().filter(|example| !example.right.is_empty());
    let mentions = linked.clone().count();
    EntityReport {
        mentions,
        nil_mentions: examples.len() - mentions,
        ceiling: reachable.count() as f64 / mentions.max(1) as f64,
        methods: ways(weighings, generator, |weights| {
            let outcome = outcome(examples, weights);
            EntityScores {
                accuracy: outcome.likeliest.recall(),
                micro_f1: outcome.answers.f1(),
                nil_f1: outcome.none.f1(),
                calibration: outcome.calibration,
            }
        }),
        linking: None,
    }
}

/// Measures what was gathered of whole texts.
pub fn measure_found(
    judged: &JudgedTexts,
    weighings: &Weighings,
    generator: bool,
) -> LinkingReport {
    let linked = judged.examples.iter().filter(|example| example.linked);
    let reachable = linked.clone().filter(|example| !example.right.is_empty());
    let mentions = linked.clone().count();
    let mut seconds = judged.seconds.clone();
    seconds.sort_by(f64::total_cmp);
    LinkingReport {
        mentions,
        found: judged.found as f64 / mentions.max(1) as f64,
        ceiling: reachable.count() as f64 / mentions.max(1) as f64,
        median_s: seconds.get(seconds.len() / 2).copied().unwrap_or(0.0),
        methods: ways(weighings, generator, |weights| {
            let outcome = outcome(&judged.examples, weights);
            LinkingScores {
                precision: outcome.answers.precision(),
                recall: outcome.answers.recall(),
                f1: outcome.answers.f1(),
                calibration: outcome.calibration,
            }
        }),
    }
}

impl fmt::Display for EntityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} mentions that mean an entity, {} that mean none; {:.1} % have theirs among the \
             candidates",
            self.mentions,
            self.nil_mentions,
            self.ceiling * 100.0
        )?;
        let header = ["accuracy", "micro F1", "NIL F1", "ECE"];
        writeln!(f, "{}", row("", header.map(String::from)))?;
        for (way, scores) in &self.methods {
            let EntityScores {
                accuracy,
                micro_f1,
                nil_f1,
                calibration,
            } = scores;
            let numbers = [*accuracy, *micro_f1, *nil_f1, calibration.ece];
            writeln!(f, "{}", row(way.name(), numbers.map(three)))?;
        }
        let Some(linking) = &self.linking else {
            return Ok(());
        };
        writeln!(
            f,
            "whole texts: {:.1} % of {} mentions are found, {:.1} % with theirs among the \
             candidates; {:.3} s a text",
            linking.found * 100.0,
            linking.mentions,
            linking.ceiling * 100.0,
            linking.median_s
        )?;
        let header = ["precision", "recall", "F1", "ECE"];
        writeln!(f, "{}", row("", header.map(String::from)))?;
        for (way, scores) in &linking.methods {
            let numbers = [
                scores.precision,
                scores.recall,
                scores.f1,
                scores.calibration.ece,
            ];
            writeln!(f, "{}", row(way.name(), numbers.map(three)))?;
        }
        Ok(())
    }
}

fn three(number: f64) -> String {
    format!("{number:.3}")
}

fn row(name: &str, cells: [String; 4]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>10}")).collect();
    format!("{name:<22}{}", cells.concat())
}
