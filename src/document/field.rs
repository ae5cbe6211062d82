//! Field definitions: types and how text is analysed.

use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The fields of an index, in the order of its definition.
pub type Fields = IndexMap<String, FieldDefinition>;

/// Type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Prose: analysed into words, searched by BM25, highlighted.
    Text,
    /// An exact string: filtered, matched whole.
    Keyword,
    /// 64-bit signed integer.
    Integer,
    /// 64-bit float, finite.
    Float,
    /// A day (`2024-05-01`) or an instant (RFC 3339); kept in UTC to the microsecond.
    Date,
    /// `true` or `false`.
    Boolean,
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldType::Text => "text",
            FieldType::Keyword => "keyword",
            FieldType::Integer => "integer",
            FieldType::Float => "float",
            FieldType::Date => "date",
            FieldType::Boolean => "boolean",
        })
    }
}

impl FieldType {
    /// For sentences: `a keyword`, `an integer`.
    pub fn with_article(self) -> &'static str {
        match self {
            FieldType::Text => "a text",
            FieldType::Keyword => "a keyword",
            FieldType::Integer => "an integer",
            FieldType::Float => "a float",
            FieldType::Date => "a date",
            FieldType::Boolean => "a boolean",
        }
    }
}

/// Languages with a stemmer and a list of stop words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// No stemming, no stop words; Chinese, Japanese and Korean are cut into bigrams
    /// in every language, so mixed text needs no setting.
    #[default]
    None,
    Danish,
    Dutch,
    English,
    Finnish,
    French,
    German,
    Hungarian,
    Italian,
    Norwegian,
    Portuguese,
    Russian,
    Spanish,
    Swedish,
}

/// How a text field's words are made from its characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Analysis {
    /// Language of the field; decides stemmer and stop words.
    pub language: Language,
    /// Reduce words to their stem ("running" matches "runs"). Needs a language.
    pub stemming: bool,
    /// Leave out the language's most frequent words.
    pub stop_words: bool,
    /// Match letters without their accents ("cafe" finds "café").
    pub fold_accents: bool,
}

impl Default for Analysis {
    fn default() -> Self {
        Analysis {
            language: Language::None,
            stemming: true,
            stop_words: true,
            fold_accents: true,
        }
    }
}

/// One field of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldDefinition {
    /// Type of the values.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// A document without it is refused.
    #[serde(default)]
    pub required: bool,
    /// Holds a list of values; a single value counts as a list of one.
    #[serde(default)]
    pub many: bool,
    /// Factor on the field's BM25 score; 0 leaves the field out of the search by words
    /// (it can still be named: `field:word`). Text only, 0 to 100.
    #[serde(default = "one")]
    pub weight: f32,
    /// Analysis of a text field.
    #[serde(default)]
    pub analysis: Analysis,
}

impl FieldDefinition {
    /// A field of this type with every other setting at its default.
    pub fn new(kind: FieldType) -> Self {
        FieldDefinition {
            kind,
            required: false,
            many: false,
            weight: one(),
            analysis: Analysis::default(),
        }
    }
}

fn one() -> f32 {
    1.0
}
