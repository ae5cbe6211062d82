//! Segments: rows that no longer change, and how the best of them are found.

use std::sync::atomic::AtomicBool;

use crate::filter::OrdinalSet;

use super::build::{Before, BuildGraph, GraphOptions};
use super::folder::SealedFile;
use super::graph::Graph;
use super::planner::Walk;
use super::rows::{Finder, Ordinals, Query, Rows};
use super::section::Section;
use super::space::Storage;
use super::top::{Candidate, TopDocuments};
use super::walk::{Scratch, Toward};

/// Rows scanned at a time: as many as the processor can wait for at once.
const CHUNK: usize = 16;

/// How rows are compared in a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// By the plane for finding, to be scored again.
    Approximate,
    /// As precisely as what is kept.
    Full,
}

/// The working memory of searches, used again by the next one.
#[derive(Default)]
pub(crate) struct Searcher {
    pub query: Query,
    pub scratch: Scratch,
    ids: Vec<u32>,
    documents: Vec<u32>,
    similarities: Vec<f32>,
    found: Vec<(u32, f32)>,
    pub top: TopDocuments,
    pub candidates: Vec<Candidate>,
}

/// Rows that no longer change, with a graph over them or without.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(super) rows: Rows,
    pub(super) graph: Option<Graph>,
    /// The document of each row, where some document has not just one.
    pub(super) document_of: Section<u32>,
    /// The file it is read from, if it is.
    pub(super) file: Option<SealedFile>,
}

/// The ordinals of rows, looked up for many of them.
#[derive(Clone, Copy)]
struct Names<'a> {
    document_of: &'a [u32],
    ordinals: Ordinals<'a>,
}

impl Names<'_> {
    #[inline]
    fn ordinal(&self, row: u32) -> u32 {
        let document = match self.document_of {
            [] => row,
            of => of[row as usize],
        };
        self.ordinals.of(document)
    }
}

/// A query on its way through a graph.
struct TowardQuery<'a> {
    finder: Finder<'a>,
    query: &'a mut Query,
}

impl Toward for TowardQuery<'_> {
    #[inline]
    fn similarities(&mut self, rows: &[u32], out: &mut Vec<f32>) {
        self.finder.similarities(self.query, rows, out);
    }

    #[inline(always)]
    fn prefetch(&self, row: u32) {
        self.finder.prefetch(row);
    }
}

impl Segment {
    /// Rows to be scanned from end to end.
    pub(crate) fn flat(rows: Rows) -> Segment {
        Segment {
            rows,
            graph: None,
            document_of: Section::default(),
            file: None,
        }
    }

    /// Rows with a graph over them, which takes minutes for millions. `None` for no rows,
    /// and once `cancelled` is set.
    pub(crate) fn with_graph(
        rows: Rows,
        builder: &dyn BuildGraph,
        options: &GraphOptions,
        before: Option<Before<'_>>,
        cancelled: &AtomicBool,
    ) -> Option<Segment> {
        let graph = builder.build(&rows, options, before, cancelled)?;
        let mut document_of = Vec::new();
        if !rows.one_each() {
            for document in 0..rows.documents() {
                document_of.extend(rows.range(document).map(|_| document as u32));
            }
        }
        Some(Segment {
            rows,
            graph: Some(graph),
            document_of: Section::copy(&document_of),
            file: None,
        })
    }

    /// The rows.
    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The graph, if there is one.
    pub(crate) fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    /// Bytes held in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let graph = self.graph.as_ref().map_or(0, Graph::memory_bytes);
        self.rows.memory_bytes() + graph + self.document_of.memory_bytes()
    }

    fn names(&self) -> Names<'_> {
        Names {
            document_of: &self.document_of,
            ordinals: self.rows.ordinals(),
        }
    }

    #[inline]
    fn document(&self, row: u32) -> u32 {
        if self.document_of.is_empty() {
            row
        } else {
            self.document_of[row as usize]
        }
    }

    /// Puts the best of the documents `documents` of this segment, which is number
    /// `number`, into the searcher's top; the rows compared. The score of a document is
    /// that of its best passage.
    pub(crate) fn scan(
        &self,
        number: u32,
        precision: Precision,
        documents: impl Iterator<Item = u32>,
        searcher: &mut Searcher,
    ) -> u64 {
        let mut compared = 0;
        let finder = self.rows.finder(self.rows.shape().scanned_by());
        let one_each = self.rows.one_each();
        searcher.ids.clear();
        searcher.documents.clear();
        for document in documents {
            searcher.documents.push(document);
            let rows = match one_each {
                true => document..document + 1,
                false => self.rows.range(document as usize),
            };
            compared += u64::from(rows.end - rows.start);
            for row in rows {
                finder.prefetch(row);
                searcher.ids.push(row);
            }
            if searcher.ids.len() >= CHUNK {
                self.scan_collected(number, &finder, precision, searcher);
            }
        }
        self.scan_collected(number, &finder, precision, searcher);
        compared
    }

    /// Compares the rows of the searcher's documents.
    fn scan_collected(
        &self,
        number: u32,
        finder: &Finder<'_>,
        precision: Precision,
        searcher: &mut Searcher,
    ) {
        let (query, ids, scores) = (
            &mut searcher.query,
            &searcher.ids,
            &mut searcher.similarities,
        );
        match precision {
            Precision::Approximate => finder.similarities(query, ids, scores),
            Precision::Full => {
                scores.clear();
                scores.extend(ids.iter().map(|&id| self.rows.score(query, id as usize)));
            }
        }
        let mut rest = scores.as_slice();
        let mut floor = searcher.top.floor();
        let one_each = self.rows.one_each();
        for &document in &searcher.documents {
            let passages = match one_each {
                true => 1,
                false => self.rows.range(document as usize).len(),
            };
            let (own, others) = rest.split_at(passages);
            rest = others;
            let score = own.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if score >= floor {
                searcher.top.push(Candidate {
                    score,
                    ordinal: self.rows.ordinal(document as usize),
                    segment: number,
                    document,
                });
                floor = searcher.top.floor();
            }
        }
        searcher.ids.clear();
        searcher.documents.clear();
    }

    /// Finds documents by walking the graph and puts those that are allowed into the
    /// searcher's top. Rows that are not allowed are jumped over, giving up where that gets
    /// too dear, or are in the beam like the others and are dropped at the end. Whether it
    /// got to the end and found `depth` documents; otherwise the top is as it was.
    pub(crate) fn walk(
        &self,
        number: u32,
        depth: usize,
        how: &Walk,
        allowed: Option<&OrdinalSet>,
        searcher: &mut Searcher,
    ) -> bool {
        let Some(graph) = &self.graph else {
            return false;
        };
        let scratch = &mut searcher.scratch;
        let mut toward = TowardQuery {
            finder: self.rows.finder(self.rows.shape().walked_by()),
            query: &mut searcher.query,
        };
        let names = self.names();
        let accept = |row: u32| allowed.is_none_or(|set| set.contains(names.ordinal(row)));
        let Some(start) = graph.descend(&mut toward, scratch) else {
            return false;
        };
        if how.two_hops && allowed.is_some() {
            let budget = scratch.compared.saturating_add(how.budget);
            if !scratch.beam_among(graph.base(), start, how.width, budget, accept, &mut toward) {
                return false;
            }
        } else {
            scratch.beam(graph.base(), [start], how.width, &mut toward);
        }
        // Put in order by more than what was walked by.
        let shape = self.rows.shape();
        let (ids, scores) = (&mut searcher.ids, &mut searcher.similarities);
        let rows = scratch.found().iter().map(|near| near.row());
        ids.clear();
        ids.extend(rows.filter(|&row| accept(row)));
        let finder = self.rows.finder(shape.built_by());
        if shape.storage == Storage::Binary {
            searcher.query.set_codes();
        }
        ids.iter().for_each(|&row| finder.prefetch(row));
        finder.similarities(&mut searcher.query, ids, scores);
        let found = &mut searcher.found;
        found.clear();
        found.extend(
            ids.iter()
                .map(|&row| self.document(row))
                .zip(scores.iter().copied()),
        );
        if !self.document_of.is_empty() {
            // Each document once, with its best row.
            found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
            found.dedup_by_key(|(document, _)| *document);
        }
        if found.len() < depth {
            return false;
        }
        for &(document, score) in found.iter() {
            searcher.top.push(Candidate {
                score,
                ordinal: self.rows.ordinal(document as usize),
                segment: number,
                document,
            });
        }
        true
    }
}
