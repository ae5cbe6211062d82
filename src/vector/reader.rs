//! A snapshot of the vectors, and the search over it.

use std::cell::RefCell;
use std::sync::Arc;

use serde::Serialize;

use crate::error::Result;
use crate::filter::OrdinalSet;

use super::planner::{Allowed, Plan, Way, plan};
use super::segment::{Precision, Searcher, Segment};
use super::space::{Shape, Storage, check_vector};
use super::top::Candidate;

/// How many documents found approximately are scored again: this many times the depth,
/// and at least [`RESCORED_AT_LEAST`].
const RESCORED_PER_HIT: usize = 3;
const RESCORED_AT_LEAST: usize = 32;

thread_local! {
    static SEARCHER: RefCell<Searcher> = RefCell::default();
}

/// How deep and how carefully to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorQuery {
    /// Distinct documents wanted.
    pub depth: usize,
    /// Beam width in a graph, at least `depth` in effect. Wider finds more of
    /// the true neighbours and takes longer in proportion.
    pub ef: usize,
    /// Score every allowed passage as precisely as what is kept, whatever it costs.
    pub exact: bool,
    /// Search segments with a graph this way rather than the one that is cheapest by
    /// estimate: for measuring.
    pub way: Option<Way>,
}

impl VectorQuery {
    /// `depth` documents, with a beam of `ef`.
    pub fn new(depth: usize, ef: usize) -> VectorQuery {
        VectorQuery {
            depth,
            ef,
            exact: false,
            way: None,
        }
    }
}

/// A document found, by its best passage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VectorHit {
    /// The document.
    pub ordinal: u32,
    /// Its best passage: the place among the passages it was added with.
    pub passage: u16,
    /// By the index's metric, greater is nearer; as precise as what is kept of the vectors.
    pub score: f32,
}

/// How a search was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Every allowed passage was compared.
    Scan,
    /// Graphs were walked.
    Graph,
    /// Some segments were scanned and the graphs of others walked.
    Mixed,
}

impl Strategy {
    /// The spelling on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Scan => "scan",
            Strategy::Graph => "graph",
            Strategy::Mixed => "mixed",
        }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorHits {
    /// At most `depth`, best first; equal scores by ordinal.
    pub hits: Vec<VectorHit>,
    /// How they were found.
    pub strategy: Strategy,
    /// Passages compared with the query; scoring again is not counted.
    pub scored: u64,
}

/// The vectors at one point in time. Later additions, merges and builds do not
/// change it.
#[derive(Debug)]
pub struct VectorReader {
    pub(super) shape: Shape,
    pub(super) segments: Vec<Arc<Segment>>,
}

impl VectorReader {
    pub(crate) fn new(shape: Shape, segments: Vec<Arc<Segment>>) -> VectorReader {
        VectorReader { shape, segments }
    }

    /// Documents held, those deleted since and not yet merged away included.
    pub fn len(&self) -> usize {
        self.segments.iter().map(|s| s.rows().documents()).sum()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The documents it holds, dead or alive.
    pub fn documents(&self) -> OrdinalSet {
        let ordinals = self.segments.iter().map(|s| s.rows().ordinals.iter());
        ordinals.flatten().copied().collect()
    }

    /// Passages held.
    pub fn passages(&self) -> usize {
        self.segments.iter().map(|s| s.rows().len()).sum()
    }

    /// Segments, and how many of them have a graph.
    pub fn segments(&self) -> (usize, usize) {
        let graphs = self.segments.iter().filter(|s| s.graph().is_some());
        (self.segments.len(), graphs.count())
    }

    /// The `depth` documents whose best passage is nearest to `query`, among the `allowed`
    /// ones (the live ones that pass the filter; without a set, all that the reader
    /// holds).
    ///
    /// A scan compares approximately (with int8 to about 1e-3 between unit vectors, with bits
    /// to much less) and scores the best few again, as many as their likely error leaves a
    /// chance: nearly always the exact answer, and that for certain with `exact`. A graph
    /// answers approximately, and never with fewer hits than a scan would. The same reader,
    /// query and set give the same answer.
    ///
    /// Errors: `invalid_vector` if the query has other than the index's number of
    /// dimensions, values that are not finite, or only zeros.
    pub fn search(
        &self,
        query: &[f32],
        how: &VectorQuery,
        allowed: Option<&OrdinalSet>,
    ) -> Result<VectorHits> {
        check_vector(query, self.shape.dimensions, "query")?;
        SEARCHER.with_borrow_mut(|searcher| {
            searcher.query.set(query, &self.shape);
            Ok(self.search_with(searcher, how, allowed))
        })
    }

    fn search_with(
        &self,
        searcher: &mut Searcher,
        how: &VectorQuery,
        allowed: Option<&OrdinalSet>,
    ) -> VectorHits {
        let rescored = how
            .depth
            .saturating_mul(RESCORED_PER_HIT)
            .max(RESCORED_AT_LEAST);
        searcher.top.clear(match self.shape.storage {
            _ if how.exact => how.depth,
            // Bits say little: whatever the beam holds is worth a second look.
            Storage::Binary => rescored.max(how.ef),
            _ => rescored,
        });
        let mut work = Work::default();
        // Counted once: it takes as long as a short walk where there are millions.
        let allowed = allowed.map(|set| Allowed {
            set,
            count: set.len(),
        });
        if how.depth > 0 && allowed.is_none_or(|allowed| allowed.count > 0) {
            for (number, segment) in (0..).zip(&self.segments) {
                search_segment(segment, number, how, allowed, searcher, &mut work);
            }
        }
        VectorHits {
            hits: self.rescore(searcher, how.depth),
            strategy: work.strategy(),
            scored: work.compared,
        }
    }

    /// The candidates by their best passage, as precisely as what is kept.
    fn rescore(&self, searcher: &mut Searcher, depth: usize) -> Vec<VectorHit> {
        let Searcher {
            query,
            top,
            candidates,
            ..
        } = searcher;
        candidates.clear();
        candidates.extend(top.drain());
        candidates.sort_unstable();
        let segment = |candidate: &Candidate| &self.segments[candidate.segment as usize];
        for candidate in candidates.iter().take(depth) {
            segment(candidate)
                .rows()
                .prefetch_fine(candidate.document as usize);
        }
        let mut hits: Vec<VectorHit> = Vec::with_capacity(candidates.len());
        let mut enough = f32::NEG_INFINITY;
        for (place, candidate) in candidates.iter().enumerate() {
            let rows = segment(candidate).rows();
            if place == depth {
                // Whatever comes now has to be better than the worst of these, and is
                // known to about its error.
                let worst = hits
                    .iter()
                    .map(|hit| hit.score)
                    .fold(f32::INFINITY, f32::min);
                enough = rows.similarity_of(worst, query);
            }
            if candidate.score + rows.doubt(query, candidate.document as usize) < enough {
                break;
            }
            let (score, passage) = rows.best_passage(query, candidate.document as usize);
            hits.push(VectorHit {
                ordinal: candidate.ordinal,
                passage,
                score,
            });
        }
        let better = |a: &VectorHit, b: &VectorHit| b.score.total_cmp(&a.score);
        if self.segments.len() > 1 {
            // An ordinal added twice is in two segments until they are merged.
            hits.sort_unstable_by(|a, b| a.ordinal.cmp(&b.ordinal).then(better(a, b)));
            hits.dedup_by_key(|hit| hit.ordinal);
        }
        hits.sort_unstable_by(|a, b| better(a, b).then(a.ordinal.cmp(&b.ordinal)));
        hits.truncate(depth);
        hits
    }
}

fn search_segment(
    segment: &Segment,
    number: u32,
    how: &VectorQuery,
    allowed: Option<Allowed<'_>>,
    searcher: &mut Searcher,
    work: &mut Work,
) {
    let rows = segment.rows();
    let graph = segment.graph().is_some() && !how.exact;
    let mut plan = plan(rows, graph, how.depth, how.ef, allowed, how.way);
    let allowed = allowed.map(|allowed| allowed.set);
    if let Plan::Walk(walk) = plan {
        searcher.scratch.compared = 0;
        let found = segment.walk(number, how.depth, &walk, allowed, searcher);
        work.compared += searcher.scratch.compared;
        if found {
            work.walked += 1;
            return;
        }
        // Short, or too dear to go on. There may be more, and a scan finds them.
        plan = Plan::Scan;
    }
    let precision = if how.exact {
        Precision::Full
    } else {
        Precision::Approximate
    };
    work.scanned += 1;
    work.compared += match (plan, allowed) {
        (Plan::List, Some(allowed)) => {
            let ordinals = rows.ordinals();
            let documents = allowed.iter().filter_map(|ordinal| ordinals.find(ordinal));
            segment.scan(number, precision, documents.map(|d| d as u32), searcher)
        }
        _ => {
            let ordinals = rows.ordinals();
            let documents = (0..rows.documents() as u32)
                .filter(|&document| allowed.is_none_or(|set| set.contains(ordinals.of(document))));
            segment.scan(number, precision, documents, searcher)
        }
    };
}

/// What a search has done so far.
#[derive(Default)]
struct Work {
    compared: u64,
    walked: usize,
    scanned: usize,
}

impl Work {
    fn strategy(&self) -> Strategy {
        match (self.walked, self.scanned) {
            (0, _) => Strategy::Scan,
            (_, 0) => Strategy::Graph,
            _ => Strategy::Mixed,
        }
    }
}
