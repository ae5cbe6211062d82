//! A score taken apart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tantivy::DocId;

use super::cursor::{Cursor, added, cursor};
use super::definition::{Combine, Scoring};
use super::leaf::{FieldMatch, LeafCursor};
use super::plan::{Leaf, Node, Plan};
use super::view::Segment;
use crate::error::Result;

/// How a document came by its score by words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WordExplanation {
    /// The score: the sum over `clauses`.
    pub score: f32,
    /// BM25's parameters.
    pub scoring: Scoring,
    /// The words and phrases that the document matches, in the query's order.
    pub clauses: Vec<ClauseScore>,
}

/// What one part of the query contributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClauseScore {
    /// A word or phrase as looked up; of a group, what joins its parts: `all` and
    /// `any` add their scores, `best` takes the highest and a share of the others.
    pub text: String,
    /// Contribution to the score.
    pub score: f32,
    /// Factor from the query (`^`, synonyms, repetition). Absent for groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boost: Option<f32>,
    /// With combined fields: rarity in the whole document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idf: Option<f32>,
    /// Fields in which a word or phrase stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldScore>,
    /// Parts of a group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<ClauseScore>,
}

/// A word or phrase in one field of the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FieldScore {
    /// Name of the field.
    pub field: String,
    /// Factor of the field; with combined fields, relative to the smallest.
    pub weight: f32,
    /// Occurrences in the field; those of similar words count by their weight.
    pub tf: f32,
    /// Live documents that have it in this field.
    pub df: u64,
    /// Live documents that have words in this field.
    pub documents: u64,
    /// Rarity in this field.
    pub idf: f32,
    /// Words in the field, as kept: exact up to 40, then rounded down by up to a tenth.
    pub length: u32,
    /// Words in the field on average.
    pub average_length: f32,
    /// Score in this field alone. Absent with combined fields, which have one score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
}

/// Takes apart the score of a document that matches.
pub(super) fn explain(
    plan: &Plan,
    segment: &Segment,
    doc: DocId,
    scoring: Scoring,
) -> Result<WordExplanation> {
    let mut clauses = Vec::new();
    for node in plan.must.iter().chain(&plan.should) {
        clauses.extend(clause(node, segment, doc)?);
    }
    let score = clauses.iter().map(|c| f64::from(c.score)).sum::<f64>() as f32;
    Ok(WordExplanation {
        score,
        scoring,
        clauses,
    })
}

fn clause(node: &Node, segment: &Segment, doc: DocId) -> Result<Option<ClauseScore>> {
    let (name, parts, tie) = match node {
        Node::Leaf(leaf) => return self::leaf(leaf, segment, doc),
        Node::All(parts) => {
            let whole = cursor(node, segment)?;
            if whole.is_none_or(|mut c| c.doc() > doc || c.seek(doc) != doc) {
                return Ok(None);
            }
            ("all", parts, None)
        }
        Node::Any { parts, tie: None } => ("any", parts, None),
        Node::Any { parts, tie } => ("best", parts, *tie),
    };
    let mut scores = Vec::new();
    for part in parts {
        scores.extend(clause(part, segment, doc)?);
    }
    Ok((!scores.is_empty()).then(|| ClauseScore {
        text: name.to_string(),
        score: added(scores.iter().map(|c| c.score), tie),
        boost: None,
        idf: None,
        fields: Vec::new(),
        parts: scores,
    }))
}

fn leaf(leaf: &Leaf, segment: &Segment, doc: DocId) -> Result<Option<ClauseScore>> {
    let Some(mut cursor) = LeafCursor::new(leaf, segment)? else {
        return Ok(None);
    };
    if cursor.doc() > doc || cursor.seek(doc) != doc {
        return Ok(None);
    }
    let combined = leaf.scoring.combine == Combine::Combined;
    let field = |m: FieldMatch| FieldScore {
        field: m.part.name.clone(),
        weight: m.part.weight,
        tf: m.tf,
        df: m.part.frequency,
        documents: m.part.documents,
        idf: m.part.idf,
        length: m.length,
        average_length: m.part.average,
        score: (!combined).then_some(m.score),
    };
    Ok(Some(ClauseScore {
        text: leaf.text.clone(),
        score: cursor.score(),
        boost: Some(leaf.boost),
        idf: combined.then_some(leaf.idf),
        fields: cursor.explain().into_iter().map(field).collect(),
        parts: Vec::new(),
    }))
}
