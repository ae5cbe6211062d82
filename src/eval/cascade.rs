//! Quality of a cascade against the share of pairs that its reranker reads.
//!
//! Every query is re-ranked in full once. What a cascade would have left out is then worked
//! out from that: a pair's score does not depend on the pairs beside it.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{BeirFolder, Hit, Judgments, Measure};
use crate::error::{Error, Result};
use crate::index::{Cascade, Index, Mode, to_toml};
use crate::rerank::{FirstStage, Gate, TOP, blend, features};
use crate::search::{RerankRequest, RerankSettings, SearchRequest, SearchResponse, search};

/// Shares of pair-tokens that a curve is shown for.
const SHARES: [f64; 12] = [
    0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0,
];
const MEASURE: Measure = Measure::Ndcg(10);
/// Widest bar of a curve, in characters.
const BAR: usize = 40;

/// A document of a query that was re-ranked in full.
#[derive(Debug, Clone)]
struct Traced {
    id: String,
    first: FirstStage,
    rerank: f32,
    tokens: u32,
}

/// A query that was re-ranked in full; documents in the first stage's order.
#[derive(Debug, Clone)]
struct Trace {
    id: String,
    documents: Vec<Traced>,
    judged: Judgments,
}

/// The queries of a collection, re-ranked in full.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    queries: Vec<Trace>,
    weight: f32,
}

/// Quality of one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CascadePoint {
    /// Least likelihood with which a document is re-ranked.
    pub threshold: f32,
    /// Share of all pair-tokens that the reranker reads.
    pub share: f64,
    /// Share of queries of which it reads any.
    pub queries: f64,
    /// nDCG@10.
    pub ndcg: f64,
    /// nDCG@10 where every query is cut at one depth instead, for about the same share.
    pub cut: f64,
}

/// What a cascade costs and keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CascadeReport {
    /// Queries.
    pub queries: usize,
    /// nDCG@10 of the first stage.
    pub first: f64,
    /// nDCG@10 with everything re-ranked.
    pub full: f64,
    /// Quality by share of pair-tokens.
    pub curve: Vec<CascadePoint>,
    /// The one for the budget, or of the threshold that was given.
    pub chosen: CascadePoint,
    /// What to put into a definition.
    pub cascade: Cascade,
}

/// Re-ranks every query of a split in full, over a first stage as `first` asks for it.
///
/// # Errors
/// As [`search`]; an answer that had to do without something.
pub fn trace(
    index: &Index,
    folder: &BeirFolder,
    split: &str,
    settings: &RerankSettings,
    first: &SearchRequest,
) -> Result<Traces> {
    let qrels = folder.qrels(split)?;
    let mut traces = Traces::default();
    let queries = folder.queries(&qrels)?;
    let count = queries.len();
    for (n, (id, text)) in queries.into_iter().enumerate() {
        let Some(judged) = qrels.get(&id) else {
            continue;
        };
        if n > 0 && n % 100 == 0 {
            tracing::info!(queries = n, of = count, "re-ranked");
        }
        let defaults = index.definition().search.rerank.clone().unwrap_or_default();
        let depth = settings.depth.unwrap_or(defaults.depth);
        let request = SearchRequest {
            query: Some(text),
            mode: Some(first.mode.unwrap_or(Mode::Hybrid)),
            k: Some(depth.min(index.limits().hits)),
            fields: Some(Vec::new()),
            explain: true,
            rerank: Some(RerankRequest::Settings(RerankSettings {
                // Everything.
                cascade: Some(Cascade {
                    threshold: 0.0,
                    ..Cascade::default()
                }),
                ..settings.clone()
            })),
            ..first.clone()
        };
        let answer = search(index, &request)?;
        if let Some(lost) = answer.degraded.first() {
            return Err(Error::operator(format!(
                "query {id:?} was answered without {}: {}",
                lost.lost, lost.reason
            )));
        }
        let explained = answer
            .hits
            .iter()
            .filter_map(|hit| hit.explanation.as_ref());
        if let Some(explained) = explained.filter_map(|e| e.rerank.as_ref()).next() {
            traces.weight = explained.weight;
        }
        traces.queries.push(Trace {
            // Some collections ask with a document's own text under its own id.
            documents: traced(answer, &id),
            id,
            judged: judged.clone(),
        });
    }
    Ok(traces)
}

fn traced(answer: SearchResponse, query: &str) -> Vec<Traced> {
    let hits = answer.hits.into_iter();
    let mut documents: Vec<(usize, Traced)> = hits
        .filter(|hit| hit.id != query)
        .filter_map(|hit| {
            let explained = hit.explanation?;
            let rerank = explained.rerank?;
            let traced = Traced {
                id: hit.id,
                first: FirstStage {
                    score: rerank.first_score,
                    lexical: explained.lexical.map(|leg| leg.score),
                    dense: explained.dense.map(|leg| leg.score),
                },
                rerank: rerank.score?,
                tokens: rerank.tokens?,
            };
            Some((rerank.first_rank, traced))
        })
        .collect();
    documents.sort_by_key(|(rank, _)| *rank);
    documents.into_iter().map(|(_, one)| one).collect()
}

impl Trace {
    /// The order in which the documents come when these are scored, as a cascade has it, or where
    /// the list is `cut` as if there were no others.
    fn order(&self, scored: &[bool], weight: f32, cut: bool) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.documents.len()).filter(|&n| scored[n]).collect();
        // One document alone has no order.
        if places.len() < 2 {
            return (0..self.documents.len()).collect();
        }
        let of = |get: fn(&Traced) -> f32| -> Vec<f32> {
            places.iter().map(|&n| get(&self.documents[n])).collect()
        };
        let first = of(|d| d.first.score);
        let list = match cut {
            true => first.clone(),
            false => self.documents.iter().map(|d| d.first.score).collect(),
        };
        let blended = blend(&first, &of(|d| d.rerank), &list, weight);
        let mut scores = vec![0.0; self.documents.len()];
        for (&n, blended) in places.iter().zip(blended) {
            scores[n] = blended.score;
        }
        places.sort_by(|&a, &b| {
            let ids = || self.documents[a].id.cmp(&self.documents[b].id);
            scores[b].total_cmp(&scores[a]).then_with(ids)
        });
        let others = (0..self.documents.len()).filter(|&n| !scored[n]);
        places.extend(others);
        places
    }

    fn ndcg(&self, scored: &[bool], weight: f32, cut: bool) -> Option<f64> {
        let hits = self.order(scored, weight, cut).into_iter().take(TOP);
        let hits: Vec<Hit> = hits
            .map(|n| Hit {
                document: self.documents[n].id.clone(),
                score: 0.0,
            })
            .collect();
        MEASURE.of(&self.judged, &hits)
    }

    fn stages(&self) -> Vec<FirstStage> {
        self.documents.iter().map(|d| d.first).collect()
    }
}

impl Traces {
    /// nDCG@10 of each query, by its id, where the first `depth` documents are re-ranked with this
    /// weight.
    pub(super) fn cut_at(&self, depth: usize, weight: f32) -> impl Iterator<Item = (&str, f64)> {
        self.queries.iter().filter_map(move |query| {
            let scored = first(query.documents.len(), depth);
            Some((query.id.as_str(), query.ndcg(&scored, weight, true)?))
        })
    }

    /// Puts the queries of another collection beside these.
    pub fn add(&mut self, other: Traces) {
        self.queries.extend(other.queries);
        self.weight = other.weight;
    }

    /// Fits a gate to what the reranker put among the first ten.
    pub fn fit(&self) -> Gate {
        let mut rows = Vec::new();
        for query in &self.queries {
            let all = vec![true; query.documents.len()];
            let order = query.order(&all, self.weight, false);
            let mut among = vec![false; query.documents.len()];
            order.into_iter().take(TOP).for_each(|n| among[n] = true);
            rows.extend(features(&query.stages()).into_iter().zip(among));
        }
        Gate::fit(&rows)
    }

    /// What a gate costs and keeps; chosen is the lowest threshold whose share of pair-tokens
    /// is within `budget`, or the one given.
    pub fn report(&self, gate: Gate, budget: f64, threshold: Option<f32>) -> CascadeReport {
        let chances: Vec<Vec<f32>> = self
            .queries
            .iter()
            .map(|query| gate.chances(&query.stages()))
            .collect();
        let mut all: Vec<(f32, u32)> = self
            .queries
            .iter()
            .zip(&chances)
            .flat_map(|(query, chances)| {
                let tokens = query.documents.iter().map(|d| d.tokens);
                chances.iter().copied().zip(tokens)
            })
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let total: f64 = all.iter().map(|&(_, tokens)| f64::from(tokens)).sum();
        let threshold_of = |share: f64| {
            let mut threshold = 1.0_f32;
            let mut sum = 0.0;
            for pairs in all.chunk_by(|a, b| a.0 == b.0) {
                sum += pairs.iter().map(|&(_, t)| f64::from(t)).sum::<f64>();
                if sum > share * total * (1.0 + 1e-9) {
                    break;
                }
                threshold = pairs[0].0;
            }
            if share >= 1.0 { 0.0 } else { threshold }
        };
        let point = |threshold: f32| self.point(&chances, threshold, total);
        let curve: Vec<CascadePoint> = SHARES.map(|s| point(threshold_of(s))).to_vec();
        let chosen = threshold.unwrap_or_else(|| threshold_of(budget));
        CascadeReport {
            queries: self.queries.len(),
            first: self.mean(false, |query| vec![false; query.documents.len()]),
            full: self.mean(false, |query| vec![true; query.documents.len()]),
            curve,
            chosen: point(chosen),
            cascade: Cascade {
                threshold: chosen,
                weights: gate.weights.to_vec(),
                ..Cascade::default()
            },
        }
    }

    fn point(&self, chances: &[Vec<f32>], threshold: f32, total: f64) -> CascadePoint {
        let mut chosen: Vec<Vec<bool>> = chances
            .iter()
            .map(|chances| chances.iter().map(|&c| c >= threshold).collect())
            .collect();
        for scored in &mut chosen {
            // As a search has it: one document alone is not read.
            if scored.iter().filter(|&&yes| yes).count() < 2 {
                scored.fill(false);
            }
        }
        let tokens = |query: &Trace, scored: &[bool]| -> f64 {
            let pairs = query.documents.iter().zip(scored).filter(|(_, yes)| **yes);
            pairs.map(|(d, _)| f64::from(d.tokens)).sum()
        };
        let read: f64 = self
            .queries
            .iter()
            .zip(&chosen)
            .map(|(query, scored)| tokens(query, scored))
            .sum();
        let touched = chosen
            .iter()
            .filter(|scored| scored.contains(&true))
            .count();
        // The depth at which all queries together come to about as many tokens.
        let deepest = self.queries.iter().map(|q| q.documents.len()).max();
        let cut = |depth: usize| {
            let queries = self.queries.iter();
            queries
                .map(|q| tokens(q, &first(q.documents.len(), depth)))
                .sum::<f64>()
        };
        let depths: Vec<usize> = (0..=deepest.unwrap_or(0)).collect();
        let depth = depths.partition_point(|&depth| cut(depth) < read);
        let mut places = chosen.iter();
        CascadePoint {
            threshold,
            share: read / total.max(1.0),
            queries: touched as f64 / self.queries.len().max(1) as f64,
            ndcg: self.mean(false, |_| places.next().cloned().unwrap_or_default()),
            cut: self.mean(true, |query| first(query.documents.len(), depth)),
        }
    }

    /// Mean of the measure over the queries, with these documents of each scored.
    fn mean(&self, cut: bool, mut scored: impl FnMut(&Trace) -> Vec<bool>) -> f64 {
        let values: Vec<f64> = self
            .queries
            .iter()
            .filter_map(|query| query.ndcg(&scored(query), self.weight, cut))
            .collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    }
}

fn first(count: usize, depth: usize) -> Vec<bool> {
    (0..count).map(|n| n < depth).collect()
}

impl CascadeReport {
    /// The cascade as a part of an index definition.
    ///
    /// # Errors
    /// A bug, if it does not serialise.
    pub fn to_toml(&self) -> Result<String> {
        let mut inner = IndexMap::from([("cascade", &self.cascade)]);
        let table = IndexMap::from([("search", IndexMap::from([("rerank", &mut inner)]))]);
        to_toml(&table)
    }
}

impl fmt::Display for CascadeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} queries; nDCG@10 {:.4} without the reranker, {:.4} with everything re-ranked",
            self.queries, self.first, self.full
        )?;
        writeln!(f, "share of   share of                        cut at")?;
        writeln!(f, "tokens     queries    threshold  nDCG@10   a depth")?;
        let values = self.curve.iter().map(|point| point.ndcg);
        let least = values.fold(self.first.min(self.full), f64::min);
        let range = (self.full.max(self.first) - least).max(1e-9);
        for point in &self.curve {
            let bar = (BAR as f64 * (point.ndcg - least) / range).round().max(0.0) as usize;
            writeln!(
                f,
                "{:<9.3}  {:<9.3}  {:<9.4}  {:.4}    {:.4}   {}",
                point.share,
                point.queries,
                point.threshold,
                point.ndcg,
                point.cut,
                "#".repeat(bar.min(BAR))
            )?;
        }
        let chosen = &self.chosen;
        writeln!(
            f,
            "chosen: threshold {:.4}, {:.1} % of the pair-tokens, nDCG@10 {:.4} ({:+.4} to full)",
            chosen.threshold,
            chosen.share * 100.0,
            chosen.ndcg,
            chosen.ndcg - self.full
        )?;
        if let Ok(toml) = self.to_toml() {
            write!(f, "\n{toml}")?;
        }
        Ok(())
    }
}
