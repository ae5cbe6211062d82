//! Fusions on a collection: examples to fit combiners on, and every way to fuse measured
//! side by side.

use std::fmt;
use std::io::BufRead;
use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::retrieval::{EvalMode, ask};
use super::{BeirFolder, Judgments, Measure, evaluate, randomisation_test};
use crate::combine::{Combiner, Example, Features};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Fusion, FusionMethod, Index, Mode};
use crate::ingest::{Text, stream_error};
use crate::search::{Candidates, SearchRequest, candidates};

/// One query in so many is held out of fitting.
const HELD_OUT: u32 = 5;
/// Ranks that gains are added up over.
const CUT: usize = 10;

/// A judged query with what is known of its candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Query and candidates as the combiner takes them.
    #[serde(skip)]
    pub(crate) features: Features,
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
        crc32fast::hash(self.id.as_bytes()).is_multiple_of(HELD_OUT)
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
        self.ndcg_by(&combiner.scores(&self.features))
    }

    /// Candidates by falling score, equals by id.
    pub fn order_by(&self, scores: &[f32]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| {
            let by_id = || self.documents[a].cmp(&self.documents[b]);
            scores[b].total_cmp(&scores[a]).then_with(by_id)
        });
        order
    }

    /// nDCG@10 of the candidates by these scores.
    pub fn ndcg_by(&self, scores: &[f32]) -> f64 {
        let order = self.order_by(scores);
        let gains = |relevance: &mut dyn Iterator<Item = i32>| -> f64 {
            let ranked = relevance.take(CUT).zip(2u32..);
            ranked
                .map(|(r, rank)| f64::from(r) / f64::from(rank).log2())
                .sum()
        };
        let found = gains(&mut order.iter().map(|&i| self.relevance[i]));
        let ideal = gains(&mut self.ideal.iter().copied());
        if ideal > 0.0 { found / ideal } else { 0.0 }
    }
}

impl JudgedQuery {
    /// Reads what was written as JSON lines.
    ///
    /// # Errors
    /// `invalid_file` with the line, for one that is no query or has other features than
    /// this build's.
    pub fn read(path: &Path) -> Result<Vec<JudgedQuery>> {
        let (path, reader) = Text::open(path)?.into_reader();
        let mut all = Vec::new();
        for (i, line) in reader.lines().enumerate() {
            let line = line.map_err(|error| stream_error(&path, error))?;
            let bad = |reason: String| -> Error {
                Problem::new(
                    Code::InvalidFile,
                    format!(
                        "{}, line {}: not a query with its candidates",
                        path.display(),
                        i + 1
                    ),
                )
                .found(reason)
                .expected("what `gleaner fusion features` of this version wrote")
                .into()
            };
            let mut one: JudgedQuery =
                serde_json::from_str(&line).map_err(|e| bad(e.to_string()))?;
            let row = |row: &Vec<f32>| row.as_slice().try_into().ok();
            let candidates: Option<Vec<_>> = one.candidates.iter().map(row).collect();
            let query = one.query.as_slice().try_into().ok();
            let (Some(candidates), Some(query)) = (candidates, query) else {
                return Err(bad("other features".into()));
            };
            if one.relevance.len() != one.documents.len() || candidates.len() != one.documents.len()
            {
                return Err(bad("lists of different lengths".into()));
            }
            one.features = Features { query, candidates };
            all.push(one);
        }
        Ok(all)
    }
}

/// Examples of several sets, which count alike however many queries each has.
pub fn balanced<'a>(sets: impl IntoIterator<Item = &'a [JudgedQuery]>) -> Vec<Example> {
    let mut all = Vec::new();
    for set in sets {
        let chosen: Vec<&JudgedQuery> = set.iter().filter(|one| !one.is_held_out()).collect();
        let weight = 1.0 / chosen.len().max(1) as f32;
        all.extend(chosen.into_iter().filter_map(|one| one.example(weight)));
    }
    all
}

/// One way of answering, against the default fusion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FusionRow {
    /// Mean nDCG@10.
    pub ndcg: f64,
    /// Mean recall@100.
    pub recall: f64,
    /// Mean nDCG@10 of the learned fusion less this one's.
    pub difference: f64,
    /// Of the paired randomisation test over that difference, two-sided.
    pub p: f64,
}

/// Both legs and every fusion on one collection.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FusionReport {
    /// Documents in the index.
    pub documents: u64,
    /// Queries that count.
    pub queries: u64,
    /// By name: `lexical`, `dense`, `minmax`, `rrf`, `learned`.
    pub rows: IndexMap<String, FusionRow>,
    /// Whether the learned fusion is significantly worse (p < .05) than the better leg.
    pub worse_than_a_leg: bool,
}

/// How often the paired tests draw.
const DRAWS: usize = 100_000;

/// Answers every query of a split by each leg and each fusion.
///
/// # Errors
/// A split that is not there; an answer without one of the legs.
pub fn measure_fusions(index: &Index, folder: &BeirFolder, split: &str) -> Result<FusionReport> {
    let qrels = folder.qrels(split)?;
    let queries = folder.queries(&qrels)?;
    let by = |method| Fusion {
        method,
        ..Fusion::default()
    };
    let ways = [
        ("lexical", Mode::Lexical, FusionMethod::MinMax),
        ("dense", Mode::Dense, FusionMethod::MinMax),
        ("minmax", Mode::Hybrid, FusionMethod::MinMax),
        ("rrf", Mode::Hybrid, FusionMethod::Rrf),
        ("learned", Mode::Hybrid, FusionMethod::Learned),
    ];
    let mut measured = Vec::new();
    for (name, mode, method) in ways {
        let request = SearchRequest {
            fusion: Some(by(method)),
            ..SearchRequest::default()
        };
        let (run, _) = ask(index, &queries, EvalMode::Legs(mode), &request)?;
        measured.push((
            name,
            evaluate(&qrels, &run, &[Measure::Ndcg(10), Measure::Recall(100)]),
        ));
    }
    let Some((_, learned)) = measured.last() else {
        return Err(Error::Bug("nothing was measured".into()));
    };
    let mut rows = IndexMap::new();
    for (name, evaluation) in &measured {
        let differences: Vec<f64> = learned
            .queries
            .iter()
            .map(|(query, values)| {
                values[0] - evaluation.queries.get(query).map_or(0.0, |other| other[0])
            })
            .collect();
        rows.insert(
            (*name).to_string(),
            FusionRow {
                ndcg: evaluation.means[0],
                recall: evaluation.means[1],
                difference: learned.means[0] - evaluation.means[0],
                p: randomisation_test(&differences, DRAWS),
            },
        );
    }
    let better = match rows["lexical"].ndcg > rows["dense"].ndcg {
        true => &rows["lexical"],
        false => &rows["dense"],
    };
    Ok(FusionReport {
        documents: index.view().documents,
        queries: learned.queries.len() as u64,
        worse_than_a_leg: better.difference < 0.0 && better.p < 0.05,
        rows,
    })
}

impl fmt::Display for FusionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} documents, {} queries", self.documents, self.queries)?;
        writeln!(
            f,
            "         ndcg@10  recall@100  learned is better by      p"
        )?;
        for (name, row) in &self.rows {
            write!(f, "{name:8} {:7.4} {:11.4}", row.ndcg, row.recall)?;
            match name.as_str() {
                "learned" => writeln!(f)?,
                _ => writeln!(f, " {:21.4} {:7.4}", row.difference, row.p)?,
            }
        }
        Ok(())
    }
}
