//! How often mentions are linked to the entity that they mean.
//!
//! Gold are documents with marked mentions. Names are compared by what they are in small letters,
//! underscores as spaces, because collections and catalogs spell them differently.
//!
//! * **accuracy**: of the mentions that mean an entity, how many get it.
//! * **micro F1**: the harmonic mean of that and of how many answers are right.
//! * **NIL F1**: the same of mentions that mean no entity of the collection, and answers that say
//!   so.
//! * **ceiling**: of the mentions that mean an entity, how many have it among their candidates.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::entity::{
    DisambiguateRequest, EntityLinker, LinkRequest, MAX_CANDIDATES, Mentions, View, Weights,
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
        let linked = self.entity_id.starts_with('Q') && !self.name.is_empty();
        linked.then(|| comparable(&self.name))
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

/// How one way of choosing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntityScores {
    /// Of the mentions that mean an entity, how many get it.
    pub accuracy: f64,
    /// See the module.
    pub micro_f1: f64,
    /// See the module.
    pub nil_f1: f64,
}

/// How linking did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntityReport {
    /// Mentions that mean an entity.
    pub mentions: usize,
    /// Mentions that mean none.
    pub nil_mentions: usize,
    /// Of the former, how many have it among their candidates.
    pub ceiling: f64,
    /// Of all measures together.
    #[serde(flatten)]
    pub scores: EntityScores,
    /// Of the prior and the similarity alone, and of the two together.
    pub methods: BTreeMap<String, EntityScores>,
    /// Of whole texts, where that was asked for: the same stretch and the same entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linking: Option<LinkingScores>,
}

/// How linking of whole texts did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkingScores {
    /// Of the answers, how many are right.
    pub precision: f64,
    /// Of the marked mentions that mean an entity, how many are answered rightly.
    pub recall: f64,
    /// The harmonic mean.
    pub f1: f64,
    /// Of the marked mentions, how many are found as stretches.
    pub found: f64,
    /// Median time of a text, in seconds.
    pub median_s: f64,
}

/// Candidates of mentions, by the mention's text: names with counts.
pub type CandidateTable = HashMap<String, Vec<(String, u32)>>;

/// Right answers, answers and what there was to answer.
#[derive(Default, Clone, Copy)]
struct Counts {
    right: usize,
    answered: usize,
    wanted: usize,
}

impl Counts {
    fn f1(self) -> f64 {
        let both = self.answered + self.wanted;
        if both == 0 {
            0.0
        } else {
            2.0 * self.right as f64 / both as f64
        }
    }

    fn recall(self) -> f64 {
        self.right as f64 / self.wanted.max(1) as f64
    }

    fn precision(self) -> f64 {
        self.right as f64 / self.answered.max(1) as f64
    }
}

/// Measures disambiguation of the marked mentions: among the candidates of a table, or with what
/// the catalog has.
///
/// # Errors
/// Those of the linker.
pub fn measure_entities(
    linker: &EntityLinker,
    view: &View,
    documents: &[MarkedDocument],
    candidates: Option<&CandidateTable>,
    threshold: f32,
    mut each: impl FnMut(),
) -> Result<EntityReport> {
    let usual = Weights::default();
    let alone = Weights {
        generator: 0.0,
        ..usual
    };
    let ways = [
        (
            "prior",
            Weights {
                similarity: 0.0,
                ..alone
            },
        ),
        (
            "similarity",
            Weights {
                prior: 0.0,
                ..alone
            },
        ),
        ("prior and similarity", alone),
        ("all", usual),
    ];
    let mut linked = [Counts::default(); 4];
    let mut nil = [Counts::default(); 4];
    let mut reachable = 0;
    let mut report = EntityReport::default();
    for document in documents {
        for label in document
            .labels
            .iter()
            .filter(|label| !label.coref && !label.optional)
        {
            let gold = label.gold();
            if gold.is_none() && !label.is_nil() {
                continue;
            }
            match &gold {
                Some(_) => report.mentions += 1,
                None => report.nil_mentions += 1,
            }
            let [start, end] = label.span;
            let mention: String = document
                .text
                .chars()
                .skip(start)
                .take(end - start)
                .collect();
            let given = candidates.map(|table| table.get(mention.trim()));
            let mut names: Vec<String> = Vec::new();
            if let Some(given) = given {
                names.extend(given.into_iter().flatten().map(|(name, _)| name.clone()));
                names.truncate(MAX_CANDIDATES);
            }
            let nothing = candidates.is_some() && names.is_empty();
            let request = DisambiguateRequest {
                catalog: String::new(),
                text: document.text.clone(),
                start,
                end,
                candidates: names,
                threshold: Some(0.0),
                alternatives: Some(100),
            };
            for (which, (_, weights)) in ways.iter().enumerate() {
                let answer = match nothing {
                    true => None,
                    false => match linker.weighing(*weights).disambiguate(view, &request) {
                        Ok(answer) => Some(answer),
                        // A mention without letters or digits.
                        Err(error) if error.problem().is_some() => None,
                        Err(error) => return Err(error),
                    },
                };
                let entity = answer.as_ref().and_then(|answer| answer.entity.as_ref());
                let found = entity.map(|entity| comparable(&entity.name));
                let sure = entity.is_some_and(|entity| entity.score >= threshold);
                linked[which].answered += usize::from(found.is_some());
                nil[which].answered += usize::from(!sure);
                match &gold {
                    Some(gold) => {
                        linked[which].wanted += 1;
                        linked[which].right += usize::from(found.as_ref() == Some(gold));
                    }
                    None => {
                        nil[which].wanted += 1;
                        nil[which].right += usize::from(!sure);
                    }
                }
                if which == 0
                    && let (Some(gold), Some(answer)) = (&gold, &answer)
                {
                    let all = answer.entity.iter().chain(&answer.alternatives);
                    reachable += usize::from(all.into_iter().any(|e| comparable(&e.name) == *gold));
                }
            }
            each();
        }
    }
    report.ceiling = reachable as f64 / report.mentions.max(1) as f64;
    for (which, (name, _)) in ways.iter().enumerate() {
        let scores = EntityScores {
            accuracy: linked[which].recall(),
            micro_f1: linked[which].f1(),
            nil_f1: nil[which].f1(),
        };
        report.scores = scores;
        report.methods.insert((*name).to_owned(), scores);
    }
    if !linker.has_generator() {
        report.methods.remove("all");
    }
    Ok(report)
}

/// Measures linking of whole texts.
///
/// # Errors
/// Those of the linker.
pub fn measure_linking(
    linker: &EntityLinker,
    view: &View,
    documents: &[MarkedDocument],
    threshold: f32,
) -> Result<LinkingScores> {
    let mut counts = Counts::default();
    let (mut found, mut marked) = (0, 0);
    let mut times = Vec::new();
    for document in documents {
        let started = std::time::Instant::now();
        let answer = linker.link(
            view,
            &LinkRequest {
                catalog: String::new(),
                text: document.text.clone(),
                mentions: Mentions::Capitalized,
                threshold: Some(threshold),
                alternatives: 0,
            },
        )?;
        times.push(started.elapsed().as_secs_f64());
        let [from, to] = document.evaluation_span.unwrap_or([0, usize::MAX]);
        let mut gold: HashMap<[usize; 2], &MarkedMention> = HashMap::new();
        for label in &document.labels {
            gold.insert(label.span, label);
        }
        let measured = |label: &MarkedMention| !label.coref && !label.optional;
        let wanted = document
            .labels
            .iter()
            .filter(|l| measured(l) && l.gold().is_some());
        counts.wanted += wanted.clone().count();
        marked += wanted.count();
        for mention in &answer.mentions {
            let span = [mention.start, mention.end];
            let label = gold.get(&span).copied();
            found += usize::from(label.is_some_and(|l| measured(l) && l.gold().is_some()));
            let Some(entity) = &mention.entity else {
                continue;
            };
            let counts_here = span[0] >= from && span[1] <= to;
            if !counts_here || label.is_some_and(|label| !measured(label)) {
                continue;
            }
            counts.answered += 1;
            let right = label.and_then(MarkedMention::gold) == Some(comparable(&entity.name));
            counts.right += usize::from(right);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(LinkingScores {
        precision: counts.precision(),
        recall: counts.recall(),
        f1: counts.f1(),
        found: found as f64 / marked.max(1) as f64,
        median_s: times.get(times.len() / 2).copied().unwrap_or(0.0),
    })
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
        writeln!(
            f,
            "{:<22}{:>10}{:>10}{:>10}",
            "", "accuracy", "micro F1", "NIL F1"
        )?;
        for (name, scores) in &self.methods {
            writeln!(
                f,
                "{name:<22}{:>10.3}{:>10.3}{:>10.3}",
                scores.accuracy, scores.micro_f1, scores.nil_f1
            )?;
        }
        if let Some(linking) = &self.linking {
            writeln!(
                f,
                "whole texts: precision {:.3}, recall {:.3}, F1 {:.3}; {:.3} of the mentions are \
                 found; {:.3} s a text",
                linking.precision, linking.recall, linking.f1, linking.found, linking.median_s
            )?;
        }
        Ok(())
    }
}
