//! Fusions on a collection: examples to fit combiners on, and every way to fuse measured
//! side by side.

use serde::Serialize;

use super::{BeirFolder, Judgments};
use crate::combine::{Combiner, Example, Features};
use crate::error::Result;
use crate::index::{Index, Mode};
use crate::search::{Candidates, SearchRequest, candidates};

/// One query in so many is held out of fitting.
const HELD_OUT: u32 = 5;
/// Ranks that gains are added up over.
const CUT: usize = 10;

/// A judged query with what is known of its candidates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgedQuery {
    /// Its id.
    pub id: String,
    /// Ids of the candidates.
    pub documents: Vec<String>,
    /// What is known of the query.
    pub query: Vec<f32>,
    /// What is known of each candidate.
    pub candidates: Vec<Vec<f32>>,
    /// Relevance of each candidate, 0 where it is not judged.
    pub relevance: Vec<i32>,
    /// Relevance of all that is relevant, found or not, falling.
    pub ideal: Vec<i32>,
    #[serde(skip)]
    features: Features,
}

/// Asks all queries of a split. Queries that are documents of the collection do not find
/// themselves.
///
/// # Errors
/// A split that is not there; a leg that cannot answer.
pub fn judged_queries(index: &Index, folder: &BeirFolder, split: &str) -> Result<Vec<JudgedQuery>> {
    let qrels = folder.qrels(split)?;
    let mut all = Vec::new();
    for (id, text) in folder.queries(&qrels)? {
        let request = SearchRequest {
            query: Some(text),
            mode: Some(Mode::Hybrid),
            ..SearchRequest::default()
        };
        let Some(judged) = qrels.get(&id) else {
            continue;
        };
        let one = JudgedQuery::new(id, candidates(index, &request)?, judged);
        if !one.ideal.is_empty() {
            all.push(one);
        }
    }
    Ok(all)
}

impl JudgedQuery {
    /// Joins what is known of a query's candidates with what is judged.
    pub fn new(id: String, found: Candidates, judged: &Judgments) -> JudgedQuery {
        let Candidates { ids, mut features } = found;
        let mut documents = Vec::with_capacity(ids.len());
        let mut rows = Vec::with_capacity(ids.len());
        for (document, row) in ids.into_iter().zip(features.candidates) {
            if document != id {
                documents.push(document);
                rows.push(row);
            }
        }
        features.candidates = rows;
        let mut ideal: Vec<i32> = judged.values().copied().filter(|&r| r > 0).collect();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        let of = |document: &String| judged.get(document).copied().unwrap_or(0).max(0);
        JudgedQuery {
            relevance: documents.iter().map(of).collect(),
            query: features.query.to_vec(),
            candidates: features.candidates.iter().map(|row| row.to_vec()).collect(),
            id,
            documents,
            ideal,
            features,
        }
    }

    /// Whether it is held out of fitting: one in five, by its id.
    pub fn is_held_out(&self) -> bool {
        crc32fast::hash(self.id.as_bytes()) % HELD_OUT == 0
    }

    /// To fit on; None where no relevant document is among the candidates.
    pub fn example(&self, weight: f32) -> Option<Example> {
        let places = || self.relevance.iter().enumerate();
        let positives: Vec<(usize, f32)> = places()
            .filter(|(_, r)| **r > 0)
            .map(|(i, &r)| (i, r as f32))
            .collect();
        (!positives.is_empty()).then(|| Example {
            features: self.features.clone(),
            positives,
            negatives: places().filter(|(_, r)| **r == 0).map(|(i, _)| i).collect(),
            weight,
        })
    }

    /// nDCG@10 of the candidates in a combiner's order; equals by id.
    pub fn ndcg(&self, combiner: &Combiner) -> f64 {
        let scores = combiner.scores(&self.features);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| {
            let by_id = || self.documents[a].cmp(&self.documents[b]);
            scores[b].total_cmp(&scores[a]).then_with(by_id)
        });
        let gains = |relevance: &mut dyn Iterator<Item = i32>| -> f64 {
            let ranked = relevance.take(CUT).zip(2u32..);
            ranked.map(|(r, rank)| f64::from(r) / f64::from(rank).log2()).sum()
        };
        let found = gains(&mut order.iter().map(|&i| self.relevance[i]));
        let ideal = gains(&mut self.ideal.iter().copied());
        if ideal > 0.0 { found / ideal } else { 0.0 }
    }
}
