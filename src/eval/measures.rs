//! The measures of ranked retrieval, as `trec_eval` computes them.
//!
//! A document is relevant if its relevance is above 0. A document without a judgment
//! counts as not relevant. `r(i)` is the relevance of the document at rank `i`, 0 if it
//! is below 0 or not judged; `R` the number of relevant documents of the query.
//!
//! * nDCG@k (Järvelin and Kekäläinen 2002, with the relevance itself as gain):
//!   `DCG@k = sum over i <= k of r(i) / log2(i + 1)`, divided by the DCG@k of the best
//!   ranking of all judged documents. Some publications use `2^r - 1` as gain; BEIR and
//!   `trec_eval` use `r`.
//! * recall@k: relevant documents within rank k, over `R`.
//! * precision@k: relevant documents within rank k, over `k`, even if fewer came back.
//! * MRR@k: one over the rank of the first relevant document, 0 if it is beyond k.
//! * MAP@k: precision at the rank of each relevant document within k, summed, over `R`
//!   (`trec_eval`'s `map_cut`).
//!
//! A query that has relevant documents and no ranking counts as 0 in every measure
//! (`trec_eval -c`): leaving it out would reward a system for not answering. A query
//! without any relevant document is left out: no ranking of it could be told from
//! another (`trec_eval` counts it as 0, so its means are lower where there are such
//! queries). Rankings of queries without judgments are ignored.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;

use super::{Hit, Judgments, Qrels, Run};
use crate::error::{Code, Error, Problem};

/// A measure and its cutoff `k`, at least 1; written `ndcg@10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Normalised discounted cumulative gain.
    Ndcg(usize),
    /// Share of the relevant documents that were found.
    Recall(usize),
    /// Reciprocal rank of the first relevant document.
    Mrr(usize),
    /// Share of the hits that are relevant.
    Precision(usize),
    /// Average precision.
    Map(usize),
}

impl Measure {
    /// What retrieval reports show: nDCG@10, recall@100 and MRR@10 first.
    pub const USUAL: [Measure; 5] = [
        Measure::Ndcg(10),
        Measure::Recall(100),
        Measure::Mrr(10),
        Measure::Map(100),
        Measure::Precision(10),
    ];

    /// Its cutoff.
    pub fn k(self) -> usize {
        match self {
            Measure::Ndcg(k)
            | Measure::Recall(k)
            | Measure::Mrr(k)
            | Measure::Precision(k)
            | Measure::Map(k) => k,
        }
    }

    /// Its value, between 0 and 1, for one ranking; None if no document is relevant.
    pub fn of(self, judged: &Judgments, hits: &[Hit]) -> Option<f64> {
        self.over(&Query::new(judged, hits)?)
    }

    fn over(self, query: &Query) -> Option<f64> {
        let k = self.k();
        if k == 0 {
            return None;
        }
        let gains = &query.gains[..query.gains.len().min(k)];
        let relevant = query.ideal.len() as f64;
        let found = || gains.iter().filter(|&&gain| gain > 0).count() as f64;
        Some(match self {
            Measure::Ndcg(_) => dcg(gains) / dcg(&query.ideal[..query.ideal.len().min(k)]),
            Measure::Recall(_) => found() / relevant,
            Measure::Precision(_) => found() / k as f64,
            Measure::Mrr(_) => match gains.iter().position(|&gain| gain > 0) {
                Some(before) => 1.0 / (before + 1) as f64,
                None => 0.0,
            },
            Measure::Map(_) => {
                let ranks = gains.iter().zip(1u32..).filter(|&(&gain, _)| gain > 0);
                let precisions = ranks
                    .zip(1u32..)
                    .map(|((_, rank), found)| f64::from(found) / f64::from(rank));
                precisions.sum::<f64>() / relevant
            }
        })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Measure::Ndcg(_) => "ndcg",
            Measure::Recall(_) => "recall",
            Measure::Mrr(_) => "mrr",
            Measure::Precision(_) => "precision",
            Measure::Map(_) => "map",
        };
        write!(f, "{name}@{}", self.k())
    }
}

impl FromStr for Measure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Measure, Error> {
        let unknown = || {
            Problem::new(Code::InvalidConfiguration, "there is no such measure")
                .field("measure")
                .found(text)
                .expected("ndcg@k, recall@k, mrr@k, precision@k or map@k, k from 1")
        };
        let (name, k) = text.split_once('@').ok_or_else(unknown)?;
        let k = k.parse().ok().filter(|&k| k > 0).ok_or_else(unknown)?;
        Ok(match name.to_ascii_lowercase().as_str() {
            "ndcg" => Measure::Ndcg(k),
            "recall" => Measure::Recall(k),
            "mrr" => Measure::Mrr(k),
            "precision" => Measure::Precision(k),
            "map" => Measure::Map(k),
            _ => return Err(unknown().into()),
        })
    }
}

/// A run measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The measures, in the order of the values below.
    pub measures: Vec<Measure>,
    /// Values of each query that counts, in the order of the judgments.
    pub queries: IndexMap<String, Vec<f64>>,
    /// Mean of each measure over these queries; 0 if there is none.
    pub means: Vec<f64>,
}

impl Evaluation {
    /// Mean of a measure; None if it was not asked for.
    pub fn mean(&self, measure: Measure) -> Option<f64> {
        let at = self.measures.iter().position(|&known| known == measure)?;
        self.means.get(at).copied()
    }
}

/// Measures a run against judgments; see the module for which queries count.
pub fn evaluate(qrels: &Qrels, run: &Run, measures: &[Measure]) -> Evaluation {
    let mut queries = IndexMap::with_capacity(qrels.len());
    for (id, judged) in qrels.iter() {
        let Some(query) = Query::new(judged, run.get(id)) else {
            continue;
        };
        let values = measures
            .iter()
            .map(|measure| measure.over(&query).unwrap_or(0.0))
            .collect::<Vec<f64>>();
        queries.insert(id.to_string(), values);
    }
    let mut means = vec![0.0; measures.len()];
    for values in queries.values() {
        for (mean, value) in means.iter_mut().zip(values) {
            *mean += value;
        }
    }
    for mean in &mut means {
        *mean /= queries.len().max(1) as f64;
    }
    Evaluation {
        measures: measures.to_vec(),
        queries,
        means,
    }
}

/// A ranking by the relevance of its documents.
struct Query {
    /// Relevance at each rank, 0 where not judged or below 0.
    gains: Vec<i32>,
    /// Relevance of the relevant documents, best first; never empty.
    ideal: Vec<i32>,
}

impl Query {
    /// None if no document is relevant.
    fn new(judged: &Judgments, hits: &[Hit]) -> Option<Query> {
        let mut ideal: Vec<i32> = judged.values().copied().filter(|&gain| gain > 0).collect();
        if ideal.is_empty() {
            return None;
        }
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        // A document counts once, at its best rank: a faulty ranking must not gain by
        // repeating a relevant document.
        let mut seen = HashSet::with_capacity(hits.len());
        let gains = hits
            .iter()
            .map(|hit| match judged.get(&hit.document) {
                Some(&gain) if gain > 0 && seen.insert(hit.document.as_str()) => gain,
                _ => 0,
            })
            .collect();
        Some(Query { gains, ideal })
    }
}

fn dcg(gains: &[i32]) -> f64 {
    gains
        .iter()
        .zip(2u32..)
        .map(|(&gain, rank_and_one)| f64::from(gain) / f64::from(rank_and_one).log2())
        .sum()
}
