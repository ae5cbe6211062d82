//! Walking the documents that match, in order, with their scores.
//!
//! A cursor stands on a document or past the last ([`TERMINATED`]). Scores are BM25 over
//! statistics of the live documents; parts are added in the query's order, so the
//! same document scores the same to the bit whatever segment holds it.

use tantivy::{DocId, TERMINATED};

use super::leaf::LeafCursor;
use super::plan::Node;
use super::view::Segment;
use crate::error::Result;

/// Documents of one segment that match, ascending.
pub(super) trait Cursor {
    fn doc(&self) -> DocId;
    fn advance(&mut self) -> DocId;
    /// Goes to the first document at or after `target`, which is not behind.
    fn seek(&mut self, target: DocId) -> DocId;
    /// Score of the current document.
    fn score(&mut self) -> f32;

    /// Adds the scores of all documents below `end` to `window`, which starts at `base`.
    fn collect(&mut self, base: DocId, end: DocId, window: &mut dyn FnMut(usize, f32)) {
        let mut doc = self.doc();
        while doc < end {
            let score = self.score();
            window((doc - base) as usize, score);
            doc = self.advance();
        }
    }
}

/// The cursor of a node; None if nothing in the segment can match it.
pub(super) fn cursor(node: &Node, segment: &Segment) -> Result<Option<Box<dyn Cursor>>> {
    Ok(match node {
        Node::Leaf(leaf) => {
            LeafCursor::new(leaf, segment)?.map(|leaf| Box::new(leaf) as Box<dyn Cursor>)
        }
        Node::Any { parts, tie } => {
            let mut cursors = Vec::new();
            for part in parts {
                cursors.extend(cursor(part, segment)?);
            }
            match cursors.len() {
                0 => None,
                1 => cursors.pop(),
                _ => Some(Box::new(Any::new(cursors, *tie))),
            }
        }
        Node::All(parts) => {
            let mut cursors = Vec::new();
            for part in parts {
                match cursor(part, segment)? {
                    Some(cursor) => cursors.push(cursor),
                    None => return Ok(None),
                }
            }
            match cursors.len() {
                0 => None,
                1 => cursors.pop(),
                _ => Some(Box::new(All::new(cursors))),
            }
        }
    })
}

/// Documents with any of several parts. Scores are added, or with a tie breaker the
/// best counts in full and the others in part.
struct Any {
    parts: Vec<Box<dyn Cursor>>,
    tie: Option<f32>,
    doc: DocId,
}

impl Any {
    fn new(parts: Vec<Box<dyn Cursor>>, tie: Option<f32>) -> Any {
        let mut any = Any { parts, tie, doc: 0 };
        any.doc = any.least();
        any
    }

    fn least(&self) -> DocId {
        self.parts
            .iter()
            .map(|p| p.doc())
            .min()
            .unwrap_or(TERMINATED)
    }
}

impl Cursor for Any {
    fn doc(&self) -> DocId {
        self.doc
    }

    fn advance(&mut self) -> DocId {
        for part in &mut self.parts {
            if part.doc() == self.doc {
                part.advance();
            }
        }
        self.doc = self.least();
        self.doc
    }

    fn seek(&mut self, target: DocId) -> DocId {
        for part in &mut self.parts {
            if part.doc() < target {
                part.seek(target);
            }
        }
        self.doc = self.least();
        self.doc
    }

    fn score(&mut self) -> f32 {
        let doc = self.doc;
        let scores = self
            .parts
            .iter_mut()
            .filter(|p| p.doc() == doc)
            .map(|p| p.score());
        added(scores, self.tie)
    }
}

/// Adds scores in order; with a tie breaker, the best and a share of the others.
pub(super) fn added(scores: impl Iterator<Item = f32>, tie: Option<f32>) -> f32 {
    let (mut sum, mut best) = (0.0f64, 0.0f32);
    for score in scores {
        sum += f64::from(score);
        best = best.max(score);
    }
    match tie {
        None => sum as f32,
        Some(tie) => (f64::from(best) + f64::from(tie) * (sum - f64::from(best))) as f32,
    }
}

/// Documents with all of several parts; their scores are added.
struct All {
    parts: Vec<Box<dyn Cursor>>,
    doc: DocId,
}

impl All {
    fn new(parts: Vec<Box<dyn Cursor>>) -> All {
        let mut all = All { parts, doc: 0 };
        all.align(0);
        all
    }

    /// Goes to the first document at or after `target` on which all parts agree.
    fn align(&mut self, mut target: DocId) -> DocId {
        'target: while target < TERMINATED {
            for part in &mut self.parts {
                if part.doc() < target {
                    part.seek(target);
                }
                if part.doc() > target {
                    target = part.doc();
                    continue 'target;
                }
            }
            break;
        }
        self.doc = target.min(TERMINATED);
        self.doc
    }
}

impl Cursor for All {
    fn doc(&self) -> DocId {
        self.doc
    }

    fn advance(&mut self) -> DocId {
        self.align(self.doc.saturating_add(1))
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.align(target)
    }

    fn score(&mut self) -> f32 {
        added(self.parts.iter_mut().map(|p| p.score()), None)
    }
}
