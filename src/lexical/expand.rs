//! Terms of the index that a pattern stands for.
//!
//! Which terms are taken, and how frequent each is, depends on the live documents alone:
//! neither deletions awaiting their merge nor the cut into segments have a say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tantivy::postings::TermInfo;
use tantivy::query::FuzzyTermQuery;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocSet, InvertedIndexReader, TERMINATED, Term};

use super::fault;
use super::view::{Segment, View};
use crate::error::Result;

/// Most terms a prefix stands for in one field: the most frequent are taken.
const MAX_BEGINNING: usize = 1024;
/// Most terms looked at for one pattern: the first in the dictionary's order.
const MAX_SCANNED: usize = 50_000;

/// A term of the index.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub term: Term,
    /// Live documents with it.
    pub frequency: u64,
    /// Errors between it and what was typed.
    pub distance: u8,
}

/// Terms that begin with `prefix`.
pub(super) fn beginning(view: &View, field: Field, prefix: &str) -> Result<Vec<Found>> {
    let mut terms = BTreeMap::new();
    for segment in &view.segments {
        let inverted = segment.reader.inverted_index(field).map_err(fault)?;
        let mut range = inverted.terms().range().ge(prefix.as_bytes());
        if let Some(end) = after(prefix.as_bytes()) {
            range = range.lt(end);
        }
        let mut stream = range.into_stream().map_err(|e| fault(e.into()))?;
        let mut scan = Scan {
            segment,
            inverted: &inverted,
            terms: &mut terms,
            taken: 0,
        };
        while stream.advance() && scan.take(stream.key(), stream.value())? {}
    }
    most_frequent(view, field, terms, |_| 0, MAX_BEGINNING)
}

/// Terms within `distance` errors of `word` (letters added, dropped, changed, or two
/// neighbours swapped); nearest first, then most frequent.
pub(super) fn similar(
    view: &View,
    field: Field,
    word: &str,
    distance: u8,
    most: usize,
) -> Result<Vec<Found>> {
    let mut terms = BTreeMap::new();
    let query = FuzzyTermQuery::new(Term::from_field_text(field, word), distance.min(2), true);
    for segment in &view.segments {
        let inverted = segment.reader.inverted_index(field).map_err(fault)?;
        let automaton = query.automaton().map_err(fault)?;
        let stream = inverted.terms().search(automaton).into_stream();
        let mut stream = stream.map_err(|e| fault(e.into()))?;
        let mut scan = Scan {
            segment,
            inverted: &inverted,
            terms: &mut terms,
            taken: 0,
        };
        while stream.advance() && scan.take(stream.key(), stream.value())? {}
    }
    most_frequent(view, field, terms, |text| errors(word, text), most)
}

/// Takes a segment's first terms that live documents have, with their frequencies in its
/// dictionary, which count deleted documents as well.
struct Scan<'a> {
    segment: &'a Segment,
    inverted: &'a InvertedIndexReader,
    terms: &'a mut BTreeMap<Vec<u8>, u64>,
    taken: usize,
}

impl Scan<'_> {
    /// Takes the next term; whether there is room for another.
    fn take(&mut self, term: &[u8], info: &TermInfo) -> Result<bool> {
        if u64::from(info.doc_freq) > self.segment.deletions() || self.is_live(info)? {
            *self.terms.entry(term.to_vec()).or_default() += u64::from(info.doc_freq);
            self.taken += 1;
        }
        Ok(self.taken < MAX_SCANNED)
    }

    fn is_live(&self, info: &TermInfo) -> Result<bool> {
        let postings = self
            .inverted
            .read_postings_from_terminfo(info, IndexRecordOption::Basic);
        let mut postings = postings.map_err(|e| fault(e.into()))?;
        while postings.doc() != TERMINATED {
            if self.segment.is_alive(postings.doc()) {
                return Ok(true);
            }
            postings.advance();
        }
        Ok(false)
    }
}

/// The nearest, then the most frequent among live documents; equals in the dictionary's
/// order.
fn most_frequent(
    view: &View,
    field: Field,
    terms: BTreeMap<Vec<u8>, u64>,
    distance: impl Fn(&str) -> u8,
    most: usize,
) -> Result<Vec<Found>> {
    // Each segment gave its first terms, so these are the first of all of them.
    let mut bounded: Vec<(u8, Reverse<u64>, String)> = terms
        .into_iter()
        .take(MAX_SCANNED)
        .filter_map(|(bytes, bound)| {
            let text = String::from_utf8(bytes).ok()?;
            Some((distance(&text), Reverse(bound), text))
        })
        .collect();
    bounded.sort_unstable();
    // A dictionary's frequency is never below the live one: once enough are found that
    // come before the next one's bound, nothing further on can come before them.
    let mut best: BTreeSet<(u8, Reverse<u64>, String)> = BTreeSet::new();
    for (distance, bound, text) in bounded {
        let mut next = (distance, bound, text);
        if best.len() >= most && best.last().is_none_or(|worst| *worst < next) {
            break;
        }
        next.1 = Reverse(view.frequency(&Term::from_field_text(field, &next.2))?);
        best.insert(next);
        if best.len() > most {
            best.pop_last();
        }
    }
    let found = best
        .into_iter()
        .map(|(distance, Reverse(frequency), text)| Found {
            term: Term::from_field_text(field, &text),
            frequency,
            distance,
        });
    Ok(found.collect())
}

/// The first string after all that begin with `prefix`.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Errors between two words: the optimal string alignment distance.
fn errors(a: &str, b: &str) -> u8 {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut before = vec![0usize; width];
    let mut last: Vec<usize> = (0..width).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; width];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    u8::try_from(last[width - 1]).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::{after, errors};

    #[test]
    fn distances_count_swaps_once() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "ab", 2),
            ("word", "word", 0),
            ("word", "wrod", 1),
            ("word", "words", 1),
            ("word", "ward", 1),
            ("straße", "strase", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(errors(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn ranges_of_prefixes_end_after_them() {
        assert_eq!(after(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after(&[0x61, 0xFF]), Some(b"b".to_vec()));
        assert_eq!(after(&[0xFF]), None);
    }
}
