//! What the words of a query say about given documents, found by words or not.

use super::collect::sought;
use super::cursor::cursor;
use super::plan::{Leaf, Node, Plan};
use super::view::View;
use crate::error::Result;

/// What the words of a query say about documents.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WordEvidence {
    /// Rarity (idf times boost) of each word or phrase that is looked for, in the query's
    /// order; exclusions are not among them.
    pub rarities: Vec<f32>,
    /// One for each of the documents, in their order.
    pub documents: Vec<DocumentEvidence>,
}

/// What the words of a query say about one document.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DocumentEvidence {
    /// BM25 over the words that it has, whether or not it has all that the query requires
    /// and none that it excludes.
    pub score: f32,
    /// Share of the query's rarity in the words that it has, 0 to 1.
    pub covered: f32,
}

/// Looks up the words of a plan in documents. Costs a step into each word's postings for
/// each document.
pub(super) fn evidence(view: &View, plan: &Plan, ordinals: &[u32]) -> Result<WordEvidence> {
    let nodes: Vec<&Node> = plan.must.iter().chain(&plan.should).collect();
    let rarities: Vec<f32> = nodes.iter().map(|node| rarity(node)).collect();
    let all: f32 = rarities.iter().sum();
    let mut documents = vec![DocumentEvidence::default(); ordinals.len()];
    for segment in &view.segments {
        // Documents of the segment, ascending, with their places in the answer.
        let mut here: Vec<(u32, usize)> = Vec::new();
        for (place, &ordinal) in ordinals.iter().enumerate() {
            if let Some(doc) = segment.doc(ordinal)
                && segment.is_alive(doc)
            {
                here.push((doc, place));
            }
        }
        here.sort_unstable();
        if here.is_empty() {
            continue;
        }
        let mut scores = vec![0.0f64; here.len()];
        for (node, &rarity) in nodes.iter().zip(&rarities) {
            let Some(mut cursor) = cursor(node, segment)? else {
                continue;
            };
            for (i, &(doc, place)) in here.iter().enumerate() {
                if sought(&mut cursor, doc) == doc {
                    scores[i] += f64::from(cursor.score());
                    documents[place].covered += rarity;
                }
            }
        }
        for (&(_, place), score) in here.iter().zip(scores) {
            let document = &mut documents[place];
            document.score = score as f32;
            document.covered = if all > 0.0 {
                (document.covered / all).clamp(0.0, 1.0)
            } else {
                0.0
            };
        }
    }
    Ok(WordEvidence {
        rarities,
        documents,
    })
}

/// How rare what a node looks for is: of a group, its rarest part or all parts together.
fn rarity(node: &Node) -> f32 {
    match node {
        Node::Leaf(leaf) => leaf_rarity(leaf),
        Node::All(parts) => parts.iter().map(rarity).sum(),
        Node::Any { parts, .. } => parts.iter().map(rarity).fold(0.0, f32::max),
    }
}

/// With several fields, that of the field in which it is most frequent: a rare title word
/// may be a common one.
fn leaf_rarity(leaf: &Leaf) -> f32 {
    let idf = if leaf.idf > 0.0 {
        leaf.idf
    } else {
        let found = leaf.fields.iter().filter(|f| f.frequency > 0);
        found.map(|f| f.idf).reduce(f32::min).unwrap_or_else(|| {
            // A word that no document has is as rare as a word can be.
            leaf.fields.iter().map(|f| f.idf).fold(0.0, f32::max)
        })
    };
    (leaf.boost * idf).max(0.0)
}
