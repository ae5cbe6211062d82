//! The documents that have a term, one of a group of terms, or a phrase in one field, and
//! how often.

use tantivy::postings::{Postings, SegmentPostings};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, DocSet, TERMINATED};

use super::plan::Sought;
use super::view::Segment;
use crate::error::Result;

/// Documents with what is sought in one field, and how often.
pub(super) enum Occurrences {
    One(Box<SegmentPostings>),
    Group(Vec<(SegmentPostings, f32)>),
    Phrase(Phrase),
}

impl Occurrences {
    pub fn new(sought: &Sought, segment: &Segment) -> Result<Option<Occurrences>> {
        Ok(match sought {
            Sought::Terms(terms) => {
                let mut found = Vec::new();
                for (term, factor) in terms {
                    let postings = segment.postings(term, IndexRecordOption::WithFreqs)?;
                    found.extend(postings.map(|p| (p, *factor)));
                }
                if found.len() == 1
                    && let Some((postings, factor)) = found.pop()
                {
                    if factor == 1.0 {
                        return Ok(Some(Occurrences::One(Box::new(postings))));
                    }
                    found.push((postings, factor));
                }
                (!found.is_empty()).then_some(Occurrences::Group(found))
            }
            Sought::Phrase { terms, slop } => {
                let mut parts = Vec::new();
                for (position, term) in terms {
                    match segment.postings(term, IndexRecordOption::WithFreqsAndPositions)? {
                        Some(postings) => parts.push((*position, postings)),
                        None => return Ok(None),
                    }
                }
                (!parts.is_empty()).then(|| Occurrences::Phrase(Phrase::new(parts, *slop)))
            }
        })
    }

    pub fn doc(&self) -> DocId {
        match self {
            Occurrences::One(postings) => postings.doc(),
            Occurrences::Group(group) => group
                .iter()
                .map(|(p, _)| p.doc())
                .min()
                .unwrap_or(TERMINATED),
            Occurrences::Phrase(phrase) => phrase.doc,
        }
    }

    pub fn advance(&mut self) {
        match self {
            Occurrences::One(postings) => {
                postings.advance();
            }
            Occurrences::Group(group) => {
                let doc = group
                    .iter()
                    .map(|(p, _)| p.doc())
                    .min()
                    .unwrap_or(TERMINATED);
                for (postings, _) in group {
                    if postings.doc() == doc {
                        postings.advance();
                    }
                }
            }
            Occurrences::Phrase(phrase) => phrase.find(phrase.doc.saturating_add(1)),
        }
    }

    pub fn seek(&mut self, target: DocId) {
        match self {
            Occurrences::One(postings) => {
                postings.seek(target);
            }
            Occurrences::Group(group) => {
                for (postings, _) in group {
                    if postings.doc() < target {
                        postings.seek(target);
                    }
                }
            }
            Occurrences::Phrase(phrase) => phrase.find(target),
        }
    }

    pub fn tf(&self) -> f32 {
        match self {
            Occurrences::One(postings) => postings.term_freq() as f32,
            Occurrences::Group(group) => {
                let doc = self.doc();
                let here = group.iter().filter(|(p, _)| p.doc() == doc);
                here.map(|(p, factor)| factor * p.term_freq() as f32).sum()
            }
            Occurrences::Phrase(phrase) => phrase.count as f32,
        }
    }
}

/// Words in a row.
pub(super) struct Phrase {
    /// Place in the phrase, and where the word stands.
    parts: Vec<(u32, SegmentPostings)>,
    slop: u32,
    doc: DocId,
    count: u32,
    positions: Vec<Vec<u32>>,
}

impl Phrase {
    fn new(parts: Vec<(u32, SegmentPostings)>, slop: u32) -> Phrase {
        let mut phrase = Phrase {
            positions: vec![Vec::new(); parts.len()],
            parts,
            slop,
            doc: 0,
            count: 0,
        };
        phrase.find(0);
        phrase
    }

    /// Goes to the first document at or after `target` that has the phrase.
    fn find(&mut self, mut target: DocId) {
        'target: while target < TERMINATED {
            for (_, postings) in &mut self.parts {
                if postings.doc() < target {
                    postings.seek(target);
                }
                if postings.doc() > target {
                    target = postings.doc();
                    continue 'target;
                }
            }
            self.count = self.occurrences();
            if self.count > 0 {
                self.doc = target;
                return;
            }
            target += 1;
        }
        self.doc = TERMINATED;
    }

    /// Occurrences in the document all parts stand on: each place of the first word from
    /// which the others follow in order, with at most `slop` words more between the
    /// first and the last than the phrase has.
    fn occurrences(&mut self) -> u32 {
        for ((_, postings), positions) in self.parts.iter_mut().zip(&mut self.positions) {
            postings.positions(positions);
        }
        let Some((starts, others)) = self.positions.split_first() else {
            return 0;
        };
        let first = self.parts.first().map_or(0, |(place, _)| *place);
        let places: Vec<u32> = self
            .parts
            .iter()
            .skip(1)
            .map(|(place, _)| place - first)
            .collect();
        let mut next = vec![0usize; others.len()];
        let mut count = 0;
        'start: for &start in starts {
            let mut previous = start;
            for ((positions, next), place) in others.iter().zip(&mut next).zip(&places) {
                let least = if self.slop == 0 {
                    start.saturating_add(*place)
                } else {
                    previous.saturating_add(1)
                };
                while positions.get(*next).is_some_and(|&p| p < least) {
                    *next += 1;
                }
                match positions.get(*next) {
                    Some(&p) if self.slop > 0 || p == least => previous = p,
                    Some(_) => continue 'start,
                    None => return count,
                }
            }
            let span = previous - start;
            let expected = places.last().copied().unwrap_or(0);
            if span <= expected.saturating_add(self.slop) {
                count += 1;
            }
        }
        count
    }
}
