//! What is asked and what is answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mentions::Mentions;
use crate::error::{Code, Problem, Result};

/// Longest text, in bytes.
pub const MAX_TEXT: usize = 200_000;
/// Most candidates that a request may give.
pub const MAX_CANDIDATES: usize = 256;
/// Most names that these may have together.
pub const MAX_CANDIDATE_NAMES: usize = 1_024;
/// Most mentions of a text.
pub const MAX_MENTIONS: usize = 5_000;
/// Most names that a request may ask for.
pub const MAX_NAMES: usize = 100;

/// How the mentions of a text are found.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum LinkMethod {
    /// By the names and aliases of the catalog.
    #[default]
    Detect,
    /// By a generator that copies the text and writes names beside what it takes for mentions:
    /// right for one that was trained to. Texts of at most 20,000 bytes.
    Annotate,
}

/// Which entities a text speaks of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// The catalog of names.
    pub catalog: String,
    /// The text, at most 200,000 bytes and 5,000 mentions.
    pub text: String,
    /// How mentions are found.
    #[serde(default)]
    pub method: LinkMethod,
    /// Which stretches count as mentions where they are detected.
    #[serde(default)]
    pub mentions: Mentions,
    /// Mentions whose best entity has a lower score are answered as meaning none of the catalog,
    /// 0 to 1; where it is not said, what the weights were fitted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Most further entities that are told of each mention, 0 to 100; 0 where it is not said.
    #[serde(default)]
    pub alternatives: usize,
}

/// Which entity a mention means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DisambiguateRequest {
    /// The catalog of names.
    pub catalog: String,
    /// The text, at most 200,000 bytes.
    pub text: String,
    /// First character of the mention, counted from 0.
    pub start: usize,
    /// The character after its last.
    pub end: usize,
    /// Names or ids of the catalog that it may mean, at most 256, which may have 1,024 names; what its
    /// words may mean where none are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// The answer is none of the catalog where the best entity has a lower score, 0 to 1; where it
    /// is not said, what the weights were fitted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Most further entities that are told, 0 to 100; 5 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternatives: Option<usize>,
}

/// Most names that a request may draw.
pub const MAX_SAMPLES: usize = 1_000;

/// Which entities a query asks about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrieveEntitiesRequest {
    /// The catalog of names.
    pub catalog: String,
    /// The query, at most 200,000 bytes.
    pub query: String,
    /// Most entities, 1 to 100; 10 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// So many names are drawn, 1 to 1,000, in the place of searching for the likeliest: by the
    /// generator's own distribution over the names that there are (aligned sampling). Scores are
    /// shares of the draws then; the same request draws the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
}

/// An entity with how likely it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScoredEntity {
    /// Its id.
    pub id: String,
    /// Its name; of several the likeliest.
    pub name: String,
    /// 0 to 1: how likely it is meant, beside the others and none.
    pub score: f32,
}

/// A mention and what it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkedMention {
    /// First character of the mention, counted from 0.
    pub start: usize,
    /// The character after its last.
    pub end: usize,
    /// Its text.
    pub mention: String,
    /// What it means; null for none of the catalog. It is the likeliest entity where that has at
    /// least the threshold, be none likelier or not.
    pub entity: Option<ScoredEntity>,
    /// The score from which on an entity is answered.
    pub threshold: f32,
    /// The share that falls to none of the catalog, 0 to 1.
    pub none: f32,
    /// What else it could mean, the likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<ScoredEntity>,
    /// What the answer had to do without; of a whole text it is told once, beside the mentions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<LinkDegraded>,
}

/// Something an answer had to do without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkDegraded {
    /// What was lost: `generator`.
    pub lost: String,
    /// Why.
    pub reason: String,
}

/// What a text speaks of, in its order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkResponse {
    /// The mentions; none overlaps another.
    pub mentions: Vec<LinkedMention>,
    /// What the answer had to do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<LinkDegraded>,
}

/// Entities that a query asks about, the likeliest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetrieveEntitiesResponse {
    /// The entities. Where a generator searched for them, a score is the share that falls to the
    /// entity of all that the search found, these and others, by the mean probability of a name's
    /// tokens: it says which is likelier, not whether any is right.
    pub entities: Vec<ScoredEntity>,
    /// What the answer had to do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<LinkDegraded>,
}

pub(super) fn check_text(field: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(
            Problem::new(Code::InvalidRequest, "there is nothing to read")
                .field(field)
                .expected("a text")
                .into(),
        );
    }
    if text.len() > MAX_TEXT {
        return Err(Problem::new(Code::LimitExceeded, "the text is too long")
            .field(field)
            .found(format!("{} bytes", text.len()))
            .expected(format!("at most {MAX_TEXT} bytes; cut it into parts"))
            .into());
    }
    Ok(())
}

pub(super) fn check_mentions(field: &str, found: usize) -> Result<()> {
    if found <= MAX_MENTIONS {
        return Ok(());
    }
    Err(
        Problem::new(Code::LimitExceeded, "the text has too many mentions")
            .field(field)
            .found(format!("{found} mentions"))
            .expected(format!(
                "at most {MAX_MENTIONS} mentions; cut it into parts"
            ))
            .into(),
    )
}

pub(super) fn check_threshold(threshold: Option<f32>) -> Result<Option<f32>> {
    let Some(found) = threshold.filter(|threshold| !(0.0..=1.0).contains(threshold)) else {
        return Ok(threshold);
    };
    Err(
        Problem::new(Code::InvalidRequest, "the threshold cannot be used")
            .field("threshold")
            .found(found)
            .expected("0 to 1")
            .into(),
    )
}

pub(super) fn check_count(field: &str, count: usize, least: usize) -> Result<usize> {
    check_within(field, count, least, MAX_NAMES)
}

pub(super) fn check_samples(samples: usize) -> Result<usize> {
    check_within("samples", samples, 1, MAX_SAMPLES)
}

fn check_within(field: &str, count: usize, least: usize, most: usize) -> Result<usize> {
    if (least..=most).contains(&count) {
        return Ok(count);
    }
    Err(
        Problem::new(Code::InvalidRequest, "so many cannot be asked for")
            .field(field)
            .found(count)
            .expected(format!("{least} to {most}"))
            .into(),
    )
}

/// The bytes of a text's characters `start` to `end`, which hold a mention.
pub(super) fn bytes_of(text: &str, start: usize, end: usize) -> Result<(usize, usize)> {
    let characters = || text.chars().count();
    let refused = |message: &str, field: &str, found: usize, expected: String| {
        Problem::new(Code::InvalidRequest, message)
            .field(field)
            .found(found)
            .expected(expected)
    };
    if end <= start {
        let expected = format!("more than start, {start}");
        return Err(refused("the mention is empty", "end", end, expected).into());
    }
    let byte = |character: usize| {
        let mut bytes = text.char_indices().map(|(byte, _)| byte);
        bytes
            .nth(character)
            .or_else(|| (character == characters()).then_some(text.len()))
    };
    let outside = |field: &str, at: usize| {
        let expected = format!("at most the text's {} characters", characters());
        refused("the mention is not in the text", field, at, expected)
    };
    let first = byte(start).ok_or_else(|| outside("start", start))?;
    let last = byte(end).ok_or_else(|| outside("end", end))?;
    if !text[first..last].chars().any(char::is_alphanumeric) {
        return Err(Problem::new(Code::InvalidRequest, "the mention is empty")
            .field("start")
            .found(text[first..last].escape_debug())
            .expected("a mention with at least one letter or digit")
            .into());
    }
    Ok((first, last))
}
