//! One point in time of the index: its segments, what each document's ordinal is, and
//! the statistics of the live documents.
//!
//! Document frequencies and lengths are taken from live documents only, and lengths
//! as they are kept (one byte each), so neither a deletion awaiting its merge nor
//! the merge itself changes a score.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::SegmentPostings;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, DocSet, Searcher, SegmentReader, TERMINATED, Term};

use super::fault;
use super::schema::{Columns, ORDINAL};
use crate::error::Result;
use crate::filter::OrdinalSet;

/// Most document frequencies remembered per segment.
const MAX_REMEMBERED: usize = 20_000;

/// The segments of one commit.
pub(super) struct View {
    pub columns: Arc<Columns>,
    pub segments: Vec<Arc<Segment>>,
    /// Log sequence this view covers.
    pub covered: u64,
    totals: Mutex<HashMap<Field, Totals>>,
    live: OnceLock<Arc<OrdinalSet>>,
}

/// What BM25 needs to know of a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Live documents that have words in the field.
    pub documents: u64,
    /// Words of the field in live documents.
    pub words: u64,
}

impl Totals {
    /// Words per document that has any.
    pub fn average(&self) -> f32 {
        if self.documents == 0 {
            return 1.0;
        }
        (self.words as f64 / self.documents as f64) as f32
    }
}

/// One immutable segment with the deletions of one commit.
pub(super) struct Segment {
    pub reader: SegmentReader,
    /// Ordinal of each document.
    pub ordinals: Arc<[u32]>,
    /// Its documents by ordinal, where that is not their own order; made when one is first
    /// looked for.
    by_ordinal: OnceLock<Option<Vec<DocId>>>,
    deleted: Vec<DocId>,
    totals: Mutex<HashMap<Field, Totals>>,
    frequencies: Mutex<HashMap<Term, u32>>,
}

impl View {
    /// The view of a searcher, with what `previous` already knows of its segments.
    pub fn new(
        columns: Arc<Columns>,
        searcher: &Searcher,
        covered: u64,
        previous: Option<&View>,
    ) -> Result<View> {
        let segments = searcher
            .segment_readers()
            .iter()
            .map(|reader| {
                let same = previous
                    .into_iter()
                    .flat_map(|v| &v.segments)
                    .find(|s| s.reader.segment_id() == reader.segment_id());
                match same {
                    Some(s) if s.reader.delete_opstamp() == reader.delete_opstamp() => {
                        Ok(Arc::clone(s))
                    }
                    Some(s) => Ok(Arc::new(Segment::new(reader, Arc::clone(&s.ordinals)))),
                    None => Ok(Arc::new(Segment::new(reader, ordinals(reader)?))),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(View {
            columns,
            segments,
            covered,
            totals: Mutex::default(),
            live: OnceLock::new(),
        })
    }

    /// Live documents.
    pub fn documents(&self) -> u64 {
        self.segments
            .iter()
            .map(|s| u64::from(s.reader.num_docs()))
            .sum()
    }

    /// Ordinals of the live documents.
    pub fn live(&self) -> Arc<OrdinalSet> {
        let collect = || {
            let mut live = OrdinalSet::new();
            for segment in &self.segments {
                live.extend(
                    segment
                        .reader
                        .doc_ids_alive()
                        .filter_map(|doc| segment.ordinal(doc)),
                );
            }
            Arc::new(live)
        };
        Arc::clone(self.live.get_or_init(collect))
    }

    /// Documents and words of a text field.
    pub fn totals(&self, field: Field) -> Result<Totals> {
        if let Some(known) = self.totals.lock().get(&field) {
            return Ok(*known);
        }
        let mut sum = Totals::default();
        for segment in &self.segments {
            let totals = segment.totals(field)?;
            sum.documents += totals.documents;
            sum.words += totals.words;
        }
        self.totals.lock().insert(field, sum);
        Ok(sum)
    }

    /// Live documents with a term.
    pub fn frequency(&self, term: &Term) -> Result<u64> {
        let mut sum = 0;
        for segment in &self.segments {
            sum += u64::from(segment.frequency(term)?);
        }
        Ok(sum)
    }

    /// Where a live document stands.
    pub fn find(&self, ordinal: u32) -> Result<Option<(&Arc<Segment>, DocId)>> {
        let term = self.columns.ordinal_term(ordinal);
        for segment in &self.segments {
            let Some(mut postings) = segment.postings(&term, IndexRecordOption::Basic)? else {
                continue;
            };
            while postings.doc() != TERMINATED {
                if segment.is_alive(postings.doc()) {
                    return Ok(Some((segment, postings.doc())));
                }
                postings.advance();
            }
        }
        Ok(None)
    }
}

impl Segment {
    fn new(reader: &SegmentReader, ordinals: Arc<[u32]>) -> Segment {
        let deleted = match reader.alive_bitset() {
            Some(alive) => (0..reader.max_doc())
                .filter(|&d| alive.is_deleted(d))
                .collect(),
            None => Vec::new(),
        };
        Segment {
            reader: reader.clone(),
            ordinals,
            by_ordinal: OnceLock::new(),
            deleted,
            totals: Mutex::default(),
            frequencies: Mutex::default(),
        }
    }

    /// Ordinal of a document of this segment.
    #[inline]
    pub fn ordinal(&self, doc: DocId) -> Option<u32> {
        self.ordinals.get(doc as usize).copied()
    }

    /// The document of an ordinal, dead or alive, if this segment holds it.
    pub fn doc(&self, ordinal: u32) -> Option<DocId> {
        let order = self.by_ordinal.get_or_init(|| {
            // Merging may put later documents first.
            if self.ordinals.is_sorted() {
                return None;
            }
            let mut docs: Vec<DocId> = (0..).take(self.ordinals.len()).collect();
            docs.sort_unstable_by_key(|&doc| self.ordinals[doc as usize]);
            Some(docs)
        });
        match order {
            None => {
                let doc = self.ordinals.binary_search(&ordinal).ok()?;
                DocId::try_from(doc).ok()
            }
            Some(docs) => {
                let place = docs
                    .binary_search_by_key(&ordinal, |&doc| self.ordinals[doc as usize])
                    .ok()?;
                docs.get(place).copied()
            }
        }
    }

    /// Whether a document has not been deleted.
    #[inline]
    pub fn is_alive(&self, doc: DocId) -> bool {
        self.reader
            .alive_bitset()
            .is_none_or(|alive| alive.is_alive(doc))
    }

    /// Documents deleted since the segment was written.
    pub fn deletions(&self) -> u64 {
        self.deleted.len() as u64
    }

    /// The documents of a term, deleted ones included.
    pub fn postings(
        &self,
        term: &Term,
        option: IndexRecordOption,
    ) -> Result<Option<SegmentPostings>> {
        let inverted = self.reader.inverted_index(term.field()).map_err(fault)?;
        inverted
            .read_postings(term, option)
            .map_err(|e| fault(e.into()))
    }

    /// Lengths of a text field, in words, by document.
    pub fn lengths(&self, field: Field) -> Result<FieldNormReader> {
        let norms = self
            .reader
            .fieldnorms_readers()
            .get_field(field)
            .map_err(fault)?;
        Ok(norms.unwrap_or_else(|| FieldNormReader::constant(self.reader.max_doc(), 0)))
    }

    fn totals(&self, field: Field) -> Result<Totals> {
        if let Some(known) = self.totals.lock().get(&field) {
            return Ok(*known);
        }
        let lengths = self.lengths(field)?;
        let mut totals = Totals::default();
        for doc in self.reader.doc_ids_alive() {
            let length = u64::from(lengths.fieldnorm(doc));
            totals.documents += u64::from(length > 0);
            totals.words += length;
        }
        self.totals.lock().insert(field, totals);
        Ok(totals)
    }

    /// Live documents with a term. Without deletions the dictionary knows; with them,
    /// whichever is fewer is walked, the term's documents or the deleted ones.
    fn frequency(&self, term: &Term) -> Result<u32> {
        if self.deleted.is_empty() {
            let inverted = self.reader.inverted_index(term.field()).map_err(fault)?;
            return inverted.doc_freq(term).map_err(|e| fault(e.into()));
        }
        if let Some(&known) = self.frequencies.lock().get(term) {
            return Ok(known);
        }
        let live = match self.postings(term, IndexRecordOption::Basic)? {
            None => 0,
            Some(mut postings) => {
                let all = postings.doc_freq();
                if (self.deleted.len() as u64) * 8 < u64::from(all) {
                    let mut gone = 0;
                    for &doc in &self.deleted {
                        if postings.doc() < doc {
                            postings.seek(doc);
                        }
                        gone += u32::from(postings.doc() == doc);
                    }
                    all - gone
                } else {
                    let mut live = 0;
                    while postings.doc() != TERMINATED {
                        live += u32::from(self.is_alive(postings.doc()));
                        postings.advance();
                    }
                    live
                }
            }
        };
        let mut known = self.frequencies.lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(term.clone(), live);
        Ok(live)
    }
}

fn ordinals(reader: &SegmentReader) -> Result<Arc<[u32]>> {
    let column = reader.fast_fields().u64(ORDINAL).map_err(fault)?;
    Ok((0..reader.max_doc())
        .map(|doc| {
            let ordinal = column.first(doc).and_then(|o| u32::try_from(o).ok());
            ordinal.unwrap_or(u32::MAX)
        })
        .collect())
}
