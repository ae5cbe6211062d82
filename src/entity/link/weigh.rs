//! Weighing evidence: shares for what a mention may mean, and for none of it.
//!
//! Every candidate has a few measures, and so has the answer that none is meant. A share is the
//! softmax of weighted sums of them; weights are fitted on marked mentions ([`super::fit`]), so that
//! a share is a probability: of the answers with a share of 0.8 eight in ten are right.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::decode::log_sum_exp;
use super::request::ScoredEntity;
use crate::error::{Code, Error, Problem, Result};

/// The weights that are used where the configuration names none.
const SHIPPED: &str = include_str!("weights.toml");

/// Declares a struct of numbers by name, as an array too.
macro_rules! measures {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$doc])* pub $field: f32,)+ }

        impl $name {
            /// The names of the numbers, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];

            /// The numbers, in order.
            pub fn values(&self) -> [f32; Self::NAMES.len()] {
                [$(self.$field),+]
            }

            /// Of the numbers, in order.
            pub fn of(values: [f32; Self::NAMES.len()]) -> $name {
                let [$($field),+] = values;
                $name { $($field),+ }
            }

            fn dot(&self, other: &$name) -> f32 {
                0.0 $(+ self.$field * other.$field)+
            }
        }
    };
}

measures! {
    /// What is measured of a candidate; or how much each measure counts.
    CandidateMeasures {
        /// Logarithm of the share that falls to it by counts and popularity.
        prior,
        /// Cosine of the mention's context and the name, with its description where there is one, by
        /// the encoder.
        similarity,
        /// 1 where the name is spelled as the mention is.
        spelled,
        /// 1 where a longer mention of the text may mean it.
        shared,
        /// Logarithm of the probability that the generator writes the name, not below -30.
        generated,
        /// The same divided by the tokens that are written, the end included.
        generated_mean,
    }
}

measures! {
    /// What is measured of the answer that none is meant; or how much each measure counts.
    NoneMeasures {
        /// 1 where the caller gave the candidates.
        given,
        /// 1 where the caller marked the mention and gave no candidates.
        marked,
        /// 1 where the mention was found in a text.
        found,
        /// The largest cosine of a candidate.
        similarity,
        /// Logarithm of the probability that the generator writes any of the candidates, not below
        /// -30.
        generated,
        /// 1 where the mention is a single word.
        word,
        /// 1 where no candidate's name, left alone what stands in brackets behind it, is spelled as
        /// the mention is.
        alias,
        /// The same in a catalog of few names, where whoever made it chose its aliases: 1 for a
        /// single name, 0 for ten millions and where the caller gave the candidates, falling with
        /// the logarithm of the number of names.
        alias_of_few,
        /// 1 for a catalog of a single name, falling in the same way.
        few,
        /// Logarithm of the number of candidates.
        candidates,
    }
}

/// How a mention came to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Marked, with candidates.
    Given,
    /// Marked.
    Marked,
    /// Found in a text.
    Found,
}

/// A candidate with what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The entity.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is measured.
    #[serde(flatten)]
    pub measures: CandidateMeasures,
}

/// What is known of a mention: everything that is weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// How it came to be asked about.
    pub origin: Origin,
    /// What is measured of the answer that none is meant.
    pub none: NoneMeasures,
    /// The candidates.
    pub candidates: Vec<Known>,
}

/// How much each measure counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// Of a candidate.
    pub candidate: CandidateMeasures,
    /// Of the answer that none is meant.
    pub none: NoneMeasures,
    /// Where an answer is given.
    pub thresholds: Thresholds,
}

/// The least share that is an answer, by how the mention came to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// With candidates given.
    pub given: f32,
    /// Of marked mentions.
    pub marked: f32,
    /// Of mentions that were found.
    pub found: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            given: 0.5,
            marked: 0.5,
            found: 0.5,
        }
    }
}

impl Thresholds {
    /// That of an origin.
    pub fn of(&self, origin: Origin) -> f32 {
        match origin {
            Origin::Given => self.given,
            Origin::Marked => self.marked,
            Origin::Found => self.found,
        }
    }

    pub(super) fn of_mut(&mut self, origin: Origin) -> &mut f32 {
        match origin {
            Origin::Given => &mut self.given,
            Origin::Marked => &mut self.marked,
            Origin::Found => &mut self.found,
        }
    }
}

/// What a mention means, by shares.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// Entities with their shares, the likeliest first, ties by id; names of one entity together.
    pub entities: Vec<ScoredEntity>,
    /// The share that falls to none of them.
    pub none: f32,
}

impl Evidence {
    /// The logits of the candidates, and of none.
    pub(super) fn logits(&self, weights: &Weights) -> (Vec<f32>, f32) {
        let logits = self.candidates.iter();
        let logits = logits.map(|known| weights.candidate.dot(&known.measures));
        (logits.collect(), weights.none.dot(&self.none))
    }

    /// Weighs it. Shares add up to 1.
    pub fn weigh(&self, weights: &Weights) -> Shares {
        let (logits, none) = self.logits(weights);
        let all = log_sum_exp(logits.iter().copied().chain([none]));
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| {
            let by_name = || self.candidates[a].name.cmp(&self.candidates[b].name);
            logits[b].total_cmp(&logits[a]).then_with(by_name)
        });
        // An entity goes by the likeliest of its names, and has the shares of all of them.
        let mut entities: Vec<ScoredEntity> = Vec::with_capacity(order.len());
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(order.len());
        for at in order {
            let known = &self.candidates[at];
            let score = (logits[at] - all).exp();
            match places.get(known.id.as_str()) {
                Some(&place) => entities[place].score += score,
                None => {
                    places.insert(&known.id, entities.len());
                    entities.push(ScoredEntity {
                        id: known.id.clone(),
                        name: known.name.clone(),
                        score,
                    });
                }
            }
        }
        for entity in &mut entities {
            // Sums of rounded numbers may be a little more.
            entity.score = entity.score.min(1.0);
        }
        entities.sort_by(best_first);
        Shares {
            entities,
            none: (none - all).exp(),
        }
    }
}

pub(super) fn best_first(a: &ScoredEntity, b: &ScoredEntity) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id))
}

/// A way of weighing: which measures count.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Counts and popularity.
    Prior,
    /// The encoder.
    Similarity,
    /// The generator.
    Generator,
    /// Counts, popularity and the encoder.
    PriorSimilarity,
    /// Counts, popularity and the generator.
    PriorGenerator,
    /// Everything but the generator.
    NoGenerator,
    /// Everything.
    All,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 7] = [
        Way::Prior,
        Way::Similarity,
        Way::Generator,
        Way::PriorSimilarity,
        Way::PriorGenerator,
        Way::NoGenerator,
        Way::All,
    ];

    /// Whether counts, the encoder, the generator and spellings count.
    fn parts(self) -> [bool; 4] {
        match self {
            Way::Prior => [true, false, false, false],
            Way::Similarity => [false, true, false, false],
            Way::Generator => [false, false, true, false],
            Way::PriorSimilarity => [true, true, false, false],
            Way::PriorGenerator => [true, false, true, false],
            Way::NoGenerator => [true, true, false, true],
            Way::All => [true; 4],
        }
    }

    /// Its name in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Way::Prior => "prior",
            Way::Similarity => "similarity",
            Way::Generator => "generator",
            Way::PriorSimilarity => "prior_similarity",
            Way::PriorGenerator => "prior_generator",
            Way::NoGenerator => "no_generator",
            Way::All => "all",
        }
    }

    /// Whether it needs a generator.
    pub fn generates(self) -> bool {
        let [_, _, generator, _] = self.parts();
        generator
    }

    /// 1 for the measures that count.
    pub(super) fn counts(self) -> (CandidateMeasures, NoneMeasures) {
        let parts = self.parts().map(|part| f32::from(u8::from(part)));
        let [prior, similarity, generator, spelled] = parts;
        let candidate = CandidateMeasures {
            prior,
            similarity,
            spelled,
            shared: prior,
            generated: generator,
            generated_mean: generator,
        };
        let none = NoneMeasures {
            similarity,
            generated: generator,
            ..NoneMeasures::of([1.0; NoneMeasures::NAMES.len()])
        };
        (candidate, none)
    }
}

/// Weights for every way of weighing, and which way is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighings {
    /// What they were fitted on, for people.
    pub description: String,
    /// The way where there is no generator.
    pub without_generator: Way,
    /// The way where there is one.
    pub with_generator: Way,
    /// The weights.
    pub ways: BTreeMap<Way, Weights>,
}

impl Weighings {
    /// Those that are shipped.
    ///
    /// # Errors
    /// A bug where the file in the source cannot be read.
    pub fn shipped() -> Result<Weighings> {
        Weighings::parse(SHIPPED)
            .map_err(|e| Error::Bug(format!("the shipped weights cannot be read: {e}")))
    }

    /// Reads what `gleaner entities fit` wrote.
    ///
    /// # Errors
    /// InvalidConfiguration for a file that is not that; an operator's error where it cannot be read.
    pub fn read(path: &Path) -> Result<Weighings> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::operator_from(format!("cannot read {}", path.display()), e))?;
        Weighings::parse(&text).map_err(|message| {
            Problem::new(
                Code::InvalidConfiguration,
                "a file of weights cannot be used",
            )
            .field("entities.weights")
            .found(format!("{}: {message}", path.display()))
            .expected("what `gleaner entities fit` writes")
            .into()
        })
    }

    fn parse(text: &str) -> Result<Weighings, String> {
        let weighings: Weighings = toml::from_str(text).map_err(|e| e.to_string())?;
        for weights in weighings.ways.values() {
            let numbers = weights.candidate.values().into_iter();
            let Thresholds {
                given,
                marked,
                found,
            } = weights.thresholds;
            let mut numbers = numbers
                .chain(weights.none.values())
                .chain([given, marked, found]);
            if !numbers.all(f32::is_finite) {
                return Err("a weight is no number".into());
            }
        }
        for way in [weighings.without_generator, weighings.with_generator] {
            if !weighings.ways.contains_key(&way) {
                return Err(format!("there are no weights for {way:?}"));
            }
        }
        match weighings.without_generator.generates() {
            true => Err("the way without a generator needs one".into()),
            false => Ok(weighings),
        }
    }

    /// The weights of a way; None where there are none.
    pub fn of(&self, way: Way) -> Option<&Weights> {
        self.ways.get(&way)
    }

    /// The way and the weights that are used.
    pub fn used(&self, generator: bool) -> (Way, Weights) {
        let way = match generator {
            true => self.with_generator,
            false => self.without_generator,
        };
        // Checked when they were read.
        (way, self.ways.get(&way).copied().unwrap_or_default())
    }
}
