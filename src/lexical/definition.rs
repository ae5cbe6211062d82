//! What an index definition says about words beyond its fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Problem};

/// Tolerance for misspelt words. It applies to words that no document contains;
/// `word~1` and `word~2` ask for it explicitly and work without it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Typos {
    /// Whether unknown words are matched against similar ones.
    pub enabled: bool,
    /// Shortest word, in characters, in which one error is forgiven. At least 2.
    pub min_length_one: u32,
    /// Shortest word, in characters, in which two errors are forgiven. At least
    /// `min_length_one`.
    pub min_length_two: u32,
    /// Weight of a similar word, 0 to 1; two errors weigh its square.
    pub weight: f32,
    /// Most similar words that one word stands for. 1 to 256.
    pub max_expansions: u32,
}

impl Default for Typos {
    fn default() -> Self {
        Typos {
            enabled: false,
            min_length_one: 5,
            min_length_two: 9,
            weight: 0.5,
            max_expansions: 32,
        }
    }
}

/// Words that stand for one another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Synonyms {
    /// Each group lists words or phrases that mean the same; a query that has one of
    /// them finds the others too. At most 10,000 groups of 2 to 50 members.
    pub groups: Vec<Vec<String>>,
    /// Weight of a synonym against the word that was typed, 0 to 1.
    pub weight: f32,
}

impl Default for Synonyms {
    fn default() -> Self {
        Synonyms {
            groups: Vec::new(),
            weight: 0.8,
        }
    }
}

/// How the fields of a document add up to its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// Each word scores in each field, weighted, and the scores are added. Fields
    /// confirm one another.
    Sum,
    /// Each word scores in its best field; the others add `tie_breaker` times theirs.
    /// Good where fields repeat each other.
    Best,
    /// The fields count as one text in which each occurrence weighs as much as its field
    /// (BM25F, Robertson, Zaragoza and Taylor 2004; weights taken relative to the
    /// smallest). A word is as rare as it is in the whole document, which suits
    /// titles and bodies.
    #[default]
    Combined,
}

/// Parameters of BM25.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scoring {
    /// How fields add up.
    pub combine: Combine,
    /// Share of the fields that are not the best, with `best`; 0 to 1.
    pub tie_breaker: f32,
    /// How soon further occurrences of a word stop counting; 0 to 10.
    pub k1: f32,
    /// How much a long text is discounted; 0 to 1.
    pub b: f32,
}

impl Default for Scoring {
    fn default() -> Self {
        Scoring {
            combine: Combine::default(),
            tie_breaker: 0.1,
            k1: 1.2,
            b: 0.75,
        }
    }
}

impl Scoring {
    /// # Errors
    /// `invalid_definition` naming the parameter that is out of its range.
    pub fn check(&self) -> Result<(), Problem> {
        weight("scoring.tie_breaker", self.tie_breaker)?;
        weight("scoring.b", self.b)?;
        if !(0.0..=10.0).contains(&self.k1) {
            return Err(problem("scoring.k1").found(self.k1).expected("0 to 10"));
        }
        Ok(())
    }
}

/// Most groups of synonyms.
const MAX_GROUPS: usize = 10_000;
/// Most members of a group.
const MAX_MEMBERS: usize = 50;
/// Longest member, in characters.
const MAX_MEMBER_CHARS: usize = 200;

impl Typos {
    /// # Errors
    /// `invalid_definition` naming the setting that is out of its range.
    pub fn check(&self) -> Result<(), Problem> {
        weight("typos.weight", self.weight)?;
        if self.min_length_one < 2 || self.min_length_two < self.min_length_one {
            return Err(problem("typos.min_length_two")
                .found(format!(
                    "{} and {}",
                    self.min_length_one, self.min_length_two
                ))
                .expected("2 <= min_length_one <= min_length_two"));
        }
        if !(1..=256).contains(&self.max_expansions) {
            return Err(problem("typos.max_expansions")
                .found(self.max_expansions)
                .expected("1 to 256"));
        }
        Ok(())
    }

    /// Errors forgiven in a word of this many characters.
    pub(super) fn distance(&self, chars: usize) -> u8 {
        let chars = u32::try_from(chars).unwrap_or(u32::MAX);
        if !self.enabled || chars < self.min_length_one {
            0
        } else if chars < self.min_length_two {
            1
        } else {
            2
        }
    }
}

impl Synonyms {
    /// # Errors
    /// `invalid_definition` naming the group that is out of its limits.
    pub fn check(&self) -> Result<(), Problem> {
        weight("synonyms.weight", self.weight)?;
        if self.groups.len() > MAX_GROUPS {
            return Err(problem("synonyms.groups")
                .found(format!("{} groups", self.groups.len()))
                .expected(format!("at most {MAX_GROUPS}")));
        }
        for (i, group) in self.groups.iter().enumerate() {
            let field = format!("synonyms.groups[{i}]");
            if !(2..=MAX_MEMBERS).contains(&group.len()) {
                return Err(problem(field)
                    .found(format!("{} members", group.len()))
                    .expected(format!("2 to {MAX_MEMBERS} words or phrases")));
            }
            let unusable = |member: &&String| {
                !member.contains(char::is_alphanumeric) || member.chars().count() > MAX_MEMBER_CHARS
            };
            if let Some(member) = group.iter().find(unusable) {
                return Err(problem(field).found(member).expected(format!(
                    "words with letters or digits, at most {MAX_MEMBER_CHARS} characters"
                )));
            }
        }
        Ok(())
    }
}

fn weight(field: &str, weight: f32) -> Result<(), Problem> {
    if (0.0..=1.0).contains(&weight) {
        return Ok(());
    }
    Err(problem(field).found(weight).expected("0 to 1"))
}

fn problem(field: impl Into<String>) -> Problem {
    Problem::new(
        Code::InvalidDefinition,
        "the index definition has a setting out of its range",
    )
    .field(field)
}
