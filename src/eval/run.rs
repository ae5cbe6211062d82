//! Runs: the ranked documents of each query, in TREC's format.

use std::collections::HashSet;
use std::io::{BufRead, Write};
use std::path::Path;

use indexmap::IndexMap;

use super::judgments::{writable, write_failed};
use crate::error::{Code, Error, Problem};
use crate::ingest::{Text, stream_error};

/// One document of a ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Id of the document.
    pub document: String,
    /// Its score. The ranking does not depend on it.
    pub score: f64,
}

/// Rankings by query. Rank 1 is the first hit: the order of the hits is the ranking,
/// however they are scored.
///
/// `trec_eval` differs: it reads a run's scores only, orders by falling score and breaks
/// ties by falling document id. [`Run::rank_by_score`] does the same to a run of another
/// system; a run of ours that `trec_eval` is given measures the same as here except
/// among hits of equal score.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    queries: IndexMap<String, Vec<Hit>>,
}

impl Run {
    /// Sets the ranking of a query.
    pub fn insert(&mut self, query: impl Into<String>, hits: Vec<Hit>) {
        self.queries.insert(query.into(), hits);
    }

    /// The ranking of a query; empty if it has none.
    pub fn get(&self, query: &str) -> &[Hit] {
        self.queries.get(query).map_or(&[], Vec::as_slice)
    }

    /// Queries with their rankings, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Hit])> {
        self.queries
            .iter()
            .map(|(query, hits)| (query.as_str(), hits.as_slice()))
    }

    /// Number of queries with a ranking.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether there is no ranking.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Takes out hits that are the query itself (equal ids), as BEIR's evaluation does:
    /// in sets such as ArguAna the queries are documents of the corpus.
    pub fn remove_queries(&mut self) {
        for (query, hits) in &mut self.queries {
            hits.retain(|hit| hit.document != *query);
        }
    }

    /// Ranks by falling score, ties by falling document id, as `trec_eval` does.
    pub fn rank_by_score(&mut self) {
        for hits in self.queries.values_mut() {
            hits.sort_by(|a, b| {
                b.score
                    .total_cmp(&a.score)
                    .then_with(|| b.document.cmp(&a.document))
            });
        }
    }

    /// Reads a run: lines of `query Q0 document rank score tag` between blanks. Hits are
    /// ordered by their rank, equal ranks as they stand; ranks may begin at 0 or 1 and
    /// may leave gaps. Compressed files are read as such.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] with the line, for another number of columns, a rank that
    /// is no number, a score that is not finite, or a document ranked twice.
    pub fn read(path: &Path) -> Result<Run, Error> {
        let (path, reader) = Text::open(path)?.into_reader();
        let mut ranked: IndexMap<String, Ranked> = IndexMap::new();
        for (i, line) in reader.lines().enumerate() {
            let line = line.map_err(|error| stream_error(&path, error))?;
            if line.trim().is_empty() {
                continue;
            }
            let bad = |found: &str, expected: &str| -> Error {
                Problem::new(
                    Code::InvalidFile,
                    format!("{}, line {}: not a hit of a run", path.display(), i + 1),
                )
                .found(found)
                .expected(expected)
                .into()
            };
            let cells: Vec<&str> = line.split_whitespace().collect();
            let [query, _, document, rank, score, _] = cells.as_slice() else {
                return Err(bad(&line, "query Q0 document rank score tag"));
            };
            let rank = rank
                .parse::<u64>()
                .map_err(|_| bad(rank, "a rank that is a whole number"))?;
            let score = score
                .parse::<f64>()
                .ok()
                .filter(|score| score.is_finite())
                .ok_or_else(|| bad(score, "a finite score"))?;
            let Ranked { hits, seen } = ranked.entry(query.to_string()).or_default();
            if !seen.insert(document.to_string()) {
                return Err(bad(document, "each document once for a query"));
            }
            let hit = Hit {
                document: document.to_string(),
                score,
            };
            hits.push((rank, hit));
        }
        let queries = ranked
            .into_iter()
            .map(|(query, Ranked { mut hits, .. })| {
                hits.sort_by_key(|(rank, _)| *rank);
                (query, hits.into_iter().map(|(_, hit)| hit).collect())
            })
            .collect();
        Ok(Run { queries })
    }

    /// Writes TREC's six columns under `tag`, ranks from 1, scores with all their digits.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] for an id or a tag with a blank in it, which the format
    /// cannot express; [`Error::Operator`] if writing fails.
    pub fn write(&self, mut to: impl Write, tag: &str) -> Result<(), Error> {
        writable(tag)?;
        for (query, hits) in &self.queries {
            writable(query)?;
            for (i, Hit { document, score }) in hits.iter().enumerate() {
                writable(document)?;
                writeln!(to, "{query} Q0 {document} {} {score} {tag}", i + 1)
                    .map_err(write_failed)?;
            }
        }
        to.flush().map_err(write_failed)
    }
}

/// Hits of a query as they are read.
#[derive(Default)]
struct Ranked {
    hits: Vec<(u64, Hit)>,
    seen: HashSet<String>,
}
