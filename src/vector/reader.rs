//! A snapshot of the vectors, and the search over it.

use std::sync::Arc;

use serde::Serialize;

use crate::error::{Code, Problem, Result};
use crate::filter::OrdinalSet;

use super::planner::{Plan, plan};
use super::rows::Query;
use super::segment::{Precision, Segment, list, scan};
use super::top::{Candidate, TopDocuments};

/// How many documents found by int8 are scored again in full precision: this
/// many times the depth, and at least [`RESCORED_AT_LEAST`].
const RESCORED_PER_HIT: usize = 4;
const RESCORED_AT_LEAST: usize = 64;

/// How deep and how carefully to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorQuery {
    /// Distinct documents wanted.
    pub depth: usize,
    /// Beam width in a graph, at least `depth` in effect. Wider finds more of
    /// the true neighbours and takes longer in proportion.
    pub ef: usize,
    /// Score every allowed passage in full precision, whatever it costs.
    pub exact: bool,
}

/// A document found, by its best passage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VectorHit {
    /// The document.
    pub ordinal: u32,
    /// Its best passage: the place among the passages it was added with.
    pub passage: u16,
    /// Dot product of the query and that passage, in full precision.
    pub score: f32,
}

/// How a search was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Every allowed passage was compared.
    Exact,
    /// Graphs were walked.
    Graph,
    /// Some segments were scanned and the graphs of others walked.
    Mixed,
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
    dimensions: usize,
    segments: Vec<Arc<dyn Segment>>,
}

impl VectorReader {
    pub(crate) fn new(dimensions: usize, segments: Vec<Arc<dyn Segment>>) -> VectorReader {
        VectorReader {
            dimensions,
            segments,
        }
    }

    /// Documents held, those deleted since and not yet merged away included.
    pub fn len(&self) -> usize {
        self.segments.iter().map(|s| s.rows().documents()).sum()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passages held.
    pub fn passages(&self) -> usize {
        self.segments.iter().map(|s| s.rows().len()).sum()
    }

    /// Segments, and how many of them have a graph.
    pub fn segments(&self) -> (usize, usize) {
        let graphs = self.segments.iter().filter(|s| s.links().is_some());
        (self.segments.len(), graphs.count())
    }

    /// The `depth` documents whose best passage has the highest dot product with
    /// `query`, among the `allowed` ones (the live ones that pass the filter;
    /// without a set, all that the reader holds).
    ///
    /// A scan compares in int8 and scores the best few again in f32, so that its
    /// answer is that of a scan in f32 unless more than three quarters of those
    /// few are nearer to one another than int8 tells apart (about 1e-3 between
    /// unit vectors). A graph answers approximately, and never with fewer hits
    /// than a scan would. The same reader, query and set give the same answer.
    ///
    /// Errors: `invalid_vector` if the query has other than the index's number
    /// of dimensions, or values that are not finite.
    pub fn search(
        &self,
        query: &[f32],
        how: &VectorQuery,
        allowed: Option<&OrdinalSet>,
    ) -> Result<VectorHits> {
        check_vector(query, self.dimensions, "query")?;
        let query = Query::new(query);
        let kept = if how.exact {
            how.depth
        } else {
            how.depth
                .saturating_mul(RESCORED_PER_HIT)
                .max(RESCORED_AT_LEAST)
        };
        let mut top = TopDocuments::new(kept, self.len());
        let mut work = Work::default();
        let possible = allowed.map_or(usize::MAX, OrdinalSet::len);
        if how.depth > 0 && possible > 0 {
            for segment in 0..self.segments.len() {
                self.search_segment(segment, &query, how, allowed, &mut top, &mut work);
            }
        }
        Ok(VectorHits {
            hits: self.rescore(&query, how.depth, top.into_candidates()),
            strategy: work.strategy(),
            scored: work.compared,
        })
    }

    fn search_segment(
        &self,
        number: usize,
        query: &Query,
        how: &VectorQuery,
        allowed: Option<&OrdinalSet>,
        top: &mut TopDocuments,
        work: &mut Work,
    ) {
        let segment = &self.segments[number];
        let (rows, number) = (segment.rows(), number as u32);
        // Scanning is the only way to rank what all scores the same.
        let graph = segment.links().filter(|_| !how.exact && !query.is_zero());
        let mut plan = plan(rows, graph, how.depth, how.ef, allowed);
        if let Plan::Walk { ef, budget } = plan {
            let walked = segment.walk(query, ef, budget, allowed);
            work.compared += walked.as_ref().map_or(budget, |walked| walked.compared);
            match walked {
                Some(walked) if walked.documents.len() >= how.depth => {
                    for (document, score) in walked.documents {
                        top.push(Candidate {
                            score,
                            ordinal: rows.ordinal(document as usize),
                            segment: number,
                            document,
                        });
                    }
                    work.walked += 1;
                    return;
                }
                // Short or too dear. There may be more, and a scan finds them.
                _ => plan = Plan::Scan,
            }
        }
        let precision = if how.exact {
            Precision::Full
        } else {
            Precision::Approximate
        };
        work.scanned += 1;
        work.compared += match (plan, allowed) {
            (Plan::List, Some(allowed)) => list(rows, number, query, precision, allowed, top),
            _ => scan(rows, number, query, precision, allowed, top),
        };
    }

    /// The candidates by their best passage in full precision.
    fn rescore(&self, query: &Query, depth: usize, candidates: Vec<Candidate>) -> Vec<VectorHit> {
        let mut hits: Vec<VectorHit> = candidates
            .into_iter()
            .map(|candidate| {
                let rows = self.segments[candidate.segment as usize].rows();
                let (score, passage) = rows.best_passage(query, candidate.document as usize);
                VectorHit {
                    ordinal: candidate.ordinal,
                    passage,
                    score,
                }
            })
            .collect();
        let better = |a: &VectorHit, b: &VectorHit| b.score.total_cmp(&a.score);
        // An ordinal added twice is in two segments until they are merged.
        hits.sort_unstable_by(|a, b| a.ordinal.cmp(&b.ordinal).then(better(a, b)));
        hits.dedup_by_key(|hit| hit.ordinal);
        // Stable: equal scores stay ordered by ordinal.
        hits.sort_by(better);
        hits.truncate(depth);
        hits
    }
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
            (0, _) => Strategy::Exact,
            (_, 0) => Strategy::Graph,
            _ => Strategy::Mixed,
        }
    }
}

/// Whether `vector` is a whole, not empty, number of rows of finite values.
pub(super) fn check_vector(vector: &[f32], dimensions: usize, field: &str) -> Result<()> {
    let problem = |message: &str| Problem::new(Code::InvalidVector, message).field(field);
    if vector.len() != dimensions {
        return Err(problem("a vector of another length than the index's")
            .found(format!("{} values", vector.len()))
            .expected(format!("{dimensions} values"))
            .into());
    }
    if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
        return Err(problem("a vector with a value that is not finite")
            .found(format!("{} at position {at}", vector[at]))
            .expected("finite numbers")
            .into());
    }
    let norm = vector
        .iter()
        .map(|v| f64::from(*v).powi(2))
        .sum::<f64>()
        .sqrt();
    if norm > MOST_NORM {
        return Err(problem("a vector too long for its products to be finite")
            .found(format!("norm {norm:e}"))
            .expected(format!("a norm of at most {MOST_NORM:e}"))
            .into());
    }
    Ok(())
}

/// Products of two vectors of this norm are far from overflowing an f32.
const MOST_NORM: f64 = 1e18;
