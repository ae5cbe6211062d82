//! Segments: rows that no longer change, and how each kind finds the best.

use std::fmt::Debug;
use std::sync::atomic::AtomicBool;

use crate::filter::OrdinalSet;

use super::build::build;
use super::graph::{Graph, Walk};
use super::kernels::prefetch;
use super::rows::{Query, Rows};
use super::top::{Candidate, TopDocuments};

/// How rows are compared in a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// By int8, to be scored again in full precision.
    Approximate,
    /// By f32.
    Full,
}

/// Rows that no longer change. A new kind of segment says how to reach its rows
/// and, if it has one, how to walk its graph; scanning is the same for all.
pub(crate) trait Segment: Send + Sync + Debug {
    /// The rows.
    fn rows(&self) -> &Rows;

    /// Links per row, where there is a graph.
    fn links(&self) -> Option<usize> {
        None
    }

    /// Bytes held.
    fn memory_bytes(&self) -> usize {
        self.rows().memory_bytes()
    }

    /// Finds documents by walking the graph with a beam of `ef` rows, comparing
    /// no more than `budget` rows and a little: each document once, with its
    /// best int8 score found. `None` without a graph or past the budget.
    fn walk(
        &self,
        _query: &Query,
        _ef: usize,
        _budget: u64,
        _allowed: Option<&OrdinalSet>,
    ) -> Option<Walked> {
        None
    }
}

/// What a walk found.
pub(crate) struct Walked {
    /// Documents of the segment and their scores.
    pub documents: Vec<(u32, f32)>,
    /// Rows compared.
    pub compared: u64,
}

/// Scores every allowed document of a segment; the rows compared. The score of
/// a document is that of its best passage.
pub(crate) fn scan(
    rows: &Rows,
    segment: u32,
    query: &Query,
    precision: Precision,
    allowed: Option<&OrdinalSet>,
    top: &mut TopDocuments,
) -> u64 {
    let mut compared = 0;
    let mut floor = top.floor();
    for document in 0..rows.documents() {
        let ordinal = rows.ordinal(document);
        if allowed.is_some_and(|allowed| !allowed.contains(ordinal)) {
            continue;
        }
        let (score, count) = best(rows, document, query, precision);
        compared += count;
        if score >= floor {
            top.push(Candidate {
                score,
                ordinal,
                segment,
                document: document as u32,
            });
            floor = top.floor();
        }
    }
    compared
}

/// The same, going through the allowed ordinals rather than the documents.
pub(crate) fn list(
    rows: &Rows,
    segment: u32,
    query: &Query,
    precision: Precision,
    allowed: &OrdinalSet,
    top: &mut TopDocuments,
) -> u64 {
    let mut compared = 0;
    for ordinal in allowed.iter() {
        let Some(document) = rows.find(ordinal) else {
            continue;
        };
        let (score, count) = best(rows, document, query, precision);
        compared += count;
        top.push(Candidate {
            score,
            ordinal,
            segment,
            document: document as u32,
        });
    }
    compared
}

#[inline]
fn best(rows: &Rows, document: usize, query: &Query, precision: Precision) -> (f32, u64) {
    let range = rows.range(document);
    let count = range.len() as u64;
    let scores = range.map(|row| match precision {
        Precision::Approximate => rows.approximate(query, row),
        Precision::Full => rows.exact(query, row),
    });
    (scores.fold(f32::NEG_INFINITY, f32::max), count)
}

/// Rows scanned from end to end.
#[derive(Debug)]
pub(crate) struct FlatSegment {
    rows: Rows,
}

impl FlatSegment {
    pub(crate) fn new(rows: Rows) -> FlatSegment {
        FlatSegment { rows }
    }
}

impl Segment for FlatSegment {
    fn rows(&self) -> &Rows {
        &self.rows
    }
}

/// Rows with a graph over them.
#[derive(Debug)]
pub(crate) struct GraphSegment {
    rows: Rows,
    graph: Graph,
    m: usize,
    /// The document of each row.
    documents: Vec<u32>,
}

impl GraphSegment {
    /// Builds the graph, which takes minutes for a million rows. `None` for no
    /// rows and once `cancelled` is set.
    pub(crate) fn build(
        rows: Rows,
        m: usize,
        ef_construction: usize,
        cancelled: &AtomicBool,
    ) -> Option<GraphSegment> {
        let graph = build(&rows, m, ef_construction, cancelled)?;
        let documents = (0..rows.documents())
            .flat_map(|document| rows.range(document).map(move |_| document as u32))
            .collect();
        Some(GraphSegment {
            rows,
            graph,
            m,
            documents,
        })
    }
}

/// A query on its way through a graph.
struct Toward<'a> {
    segment: &'a GraphSegment,
    query: &'a Query,
    allowed: Option<&'a OrdinalSet>,
}

impl Walk for Toward<'_> {
    #[inline]
    fn similarity(&self, row: u32) -> f32 {
        self.segment.rows.approximate(self.query, row as usize)
    }

    #[inline]
    fn accept(&self, row: u32) -> bool {
        self.allowed.is_none_or(|allowed| {
            let document = self.segment.documents[row as usize];
            allowed.contains(self.segment.rows.ordinal(document as usize))
        })
    }

    #[inline]
    fn prefetch(&self, row: u32) {
        prefetch(self.segment.rows.code(row as usize));
    }
}

impl Segment for GraphSegment {
    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn links(&self) -> Option<usize> {
        Some(self.m)
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.graph.memory_bytes() + 4 * self.documents.capacity()
    }

    fn walk(
        &self,
        query: &Query,
        ef: usize,
        budget: u64,
        allowed: Option<&OrdinalSet>,
    ) -> Option<Walked> {
        let walk = Toward {
            segment: self,
            query,
            allowed,
        };
        let start = self.graph.descend(0, |row| walk.similarity(row));
        let (near, compared) = self.graph.beam(start, 0, ef, budget, &walk)?;
        let mut documents: Vec<(u32, f32)> = near
            .iter()
            .map(|near| (self.documents[near.row as usize], near.similarity))
            .collect();
        // Each document once, with its best row.
        documents.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        documents.dedup_by_key(|(document, _)| *document);
        Some(Walked {
            documents,
            compared,
        })
    }
}
