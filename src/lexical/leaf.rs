//! BM25: the documents of one word or phrase, in one or several fields, with scores.

use std::sync::Arc;

use tantivy::fieldnorm::FieldNormReader;
use tantivy::{DocId, TERMINATED};

use super::cursor::{Cursor, added};
use super::definition::{Combine, Scoring};
use super::occurrences::Occurrences;
use super::plan::{FieldPart, Leaf};
use super::view::Segment;
use crate::error::Result;

/// A word, a group of words or a phrase, in one or several fields.
pub(super) struct LeafCursor {
    fields: Vec<FieldCursor>,
    scoring: Scoring,
    /// Of a combined leaf: rarity in the whole document, and the weighted average length.
    idf: f32,
    average: f32,
    boost: f32,
    doc: DocId,
}

struct FieldCursor {
    /// None: the field adds only its length.
    matches: Option<Occurrences>,
    lengths: FieldNormReader,
    part: Arc<FieldPart>,
    /// `k1 * (1 - b + b * length / average)` by length byte; empty with combined fields,
    /// whose lengths add up.
    norms: Vec<f32>,
}

/// How a document fares in one field of a leaf.
#[derive(Debug, Clone)]
pub(super) struct FieldMatch {
    pub part: Arc<FieldPart>,
    pub tf: f32,
    pub length: u32,
    /// Its score; with combined fields, the leaf's own.
    pub score: f32,
}

impl LeafCursor {
    pub fn new(leaf: &Leaf, segment: &Segment) -> Result<Option<LeafCursor>> {
        let combined = leaf.scoring.combine == Combine::Combined;
        let mut fields = Vec::new();
        let mut any = false;
        for part in &leaf.fields {
            let matches = Occurrences::new(&part.sought, segment)?;
            any |= matches.is_some();
            if matches.is_none() && !combined {
                continue;
            }
            let norm = |byte| {
                let length = FieldNormReader::id_to_fieldnorm(byte) as f32;
                norm_of(&leaf.scoring, length, part.average)
            };
            let norms = if combined {
                Vec::new()
            } else {
                (0..=u8::MAX).map(norm).collect()
            };
            fields.push(FieldCursor {
                matches,
                lengths: segment.lengths(part.field)?,
                part: Arc::clone(part),
                norms,
            });
        }
        if !any {
            return Ok(None);
        }
        let mut cursor = LeafCursor {
            fields,
            scoring: leaf.scoring,
            idf: leaf.idf,
            average: leaf.average,
            boost: leaf.boost,
            doc: 0,
        };
        cursor.doc = cursor.least();
        Ok(Some(cursor))
    }

    fn least(&self) -> DocId {
        let docs = self.fields.iter().filter_map(|f| f.matches.as_ref());
        docs.map(Occurrences::doc).min().unwrap_or(TERMINATED)
    }

    /// Weighted frequency and length of the current document over all fields.
    fn combined(&self) -> (f32, f32) {
        let (mut tf, mut length) = (0.0, 0.0);
        for field in &self.fields {
            if let Some(matches) = field.matches.as_ref().filter(|m| m.doc() == self.doc) {
                tf += field.part.weight * matches.tf();
            }
            length += field.part.weight * field.lengths.fieldnorm(self.doc) as f32;
        }
        (tf, length)
    }

    fn combined_score(&self) -> f32 {
        let (tf, length) = self.combined();
        let norm = norm_of(&self.scoring, length, self.average);
        self.boost * self.idf * saturated(&self.scoring, tf, norm)
    }

    fn field_score(&self, field: &FieldCursor, tf: f32) -> f32 {
        // One norm for each byte; combined leaves do not come here.
        let norm = field.norms[field.lengths.fieldnorm_id(self.doc) as usize];
        self.boost * field.part.weight * field.part.idf * saturated(&self.scoring, tf, norm)
    }

    /// How the current document fares in each field it matches in.
    pub fn explain(&self) -> Vec<FieldMatch> {
        let here = |f: &&FieldCursor| f.matches.as_ref().is_some_and(|m| m.doc() == self.doc);
        self.fields
            .iter()
            .filter(here)
            .map(|field| {
                let tf = field.matches.as_ref().map_or(0.0, Occurrences::tf);
                FieldMatch {
                    part: Arc::clone(&field.part),
                    tf,
                    length: field.lengths.fieldnorm(self.doc),
                    score: match self.scoring.combine {
                        Combine::Combined => self.combined_score(),
                        _ => self.field_score(field, tf),
                    },
                }
            })
            .collect()
    }
}

impl Cursor for LeafCursor {
    fn doc(&self) -> DocId {
        self.doc
    }

    fn advance(&mut self) -> DocId {
        for matches in self.fields.iter_mut().filter_map(|f| f.matches.as_mut()) {
            if matches.doc() == self.doc {
                matches.advance();
            }
        }
        self.doc = self.least();
        self.doc
    }

    fn seek(&mut self, target: DocId) -> DocId {
        for matches in self.fields.iter_mut().filter_map(|f| f.matches.as_mut()) {
            if matches.doc() < target {
                matches.seek(target);
            }
        }
        self.doc = self.least();
        self.doc
    }

    fn score(&mut self) -> f32 {
        let tie = match self.scoring.combine {
            Combine::Combined => return self.combined_score(),
            Combine::Sum => None,
            Combine::Best => Some(self.scoring.tie_breaker),
        };
        let here = self.fields.iter().filter_map(|field| {
            let matches = field.matches.as_ref()?;
            (matches.doc() == self.doc).then(|| self.field_score(field, matches.tf()))
        });
        added(here, tie)
    }
}

/// BM25's length normalisation.
pub(super) fn norm_of(scoring: &Scoring, length: f32, average: f32) -> f32 {
    scoring.k1 * (1.0 - scoring.b + scoring.b * length / average)
}

/// BM25's frequency component, at most `k1 + 1`.
pub(super) fn saturated(scoring: &Scoring, tf: f32, norm: f32) -> f32 {
    let divisor = tf + norm;
    if divisor <= 0.0 {
        return 0.0;
    }
    (scoring.k1 + 1.0) * tf / divisor
}
