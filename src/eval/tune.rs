//! Settings of a search chosen on judged queries, with what they gain.
//!
//! Every setting answers every query once. Which one is best is then asked of some of the queries
//! and measured on the others, in turn (cross-validation): the gain that is reported is that of
//! choosing, on queries that the choice did not see. How sure it is, the bootstrap says (its
//! interval holds the gain of 95 of 100 samples of as many queries) and the randomisation test:
//! both have to agree before anything is called better.
//!
//! A reranker is tried over the definition's own first stage. Over one that was chosen here, its
//! columns would know of queries that they are measured on; whoever wants both tunes twice.

use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;
use tracing::info;

use super::cascade::trace;
use super::retrieval::ask_legs;
use super::significance::bootstrap_interval;
use super::{BeirFolder, Measure, evaluate, randomisation_test};
use crate::error::{Code, Problem, Result};
use crate::index::{Cascade, Definition, Fusion, FusionMethod, Index, Mode, Rerank};
use crate::search::{RerankRequest, RerankSettings, SearchRequest};

const MEASURE: Measure = Measure::Ndcg(10);
/// Weights of the words that are tried; the vectors get the rest.
const LEXICAL: [f32; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Candidates of each leg that are tried, beside the definition's.
const CANDIDATES: [usize; 2] = [50, 200];
/// Depths of the reranker that are tried.
const DEPTHS: [usize; 3] = [20, 50, 100];
/// Weights of the reranker that are tried.
const WEIGHTS: [f32; 6] = [0.1, 0.2, 0.3, 0.5, 0.7, 1.0];
/// Draws of the tests.
const DRAWS: usize = 10_000;
/// Time for re-ranking a query, in milliseconds: an answer that stopped half-way measures the machine.
const TIME_MS: u64 = 600_000;
/// Least queries that can be told apart at all.
const LEAST: usize = 10;

/// How a search is made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Which legs answer.
    pub mode: Mode,
    /// How they become one.
    pub fusion: Fusion,
    /// Documents that each hands to the fusion.
    pub candidates: usize,
    /// Re-ranking, where there is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<Reranked>,
}

/// How the first documents are re-ranked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reranked {
    /// How many.
    pub depth: usize,
    /// The reranker's weight; what its model recommends where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// Which of them are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Cascade>,
}

/// A setting and its quality on all queries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TuneRow {
    /// In words.
    pub name: String,
    /// Mean nDCG@10.
    pub ndcg: f64,
    /// The setting.
    pub setting: Setting,
}

/// What was tried and chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TuneReport {
    /// Judged queries.
    pub queries: usize,
    /// Parts that the queries were cut into.
    pub folds: usize,
    /// The definition's own setting first, then the others by falling quality.
    pub rows: Vec<TuneRow>,
    /// The best on all queries.
    pub chosen: TuneRow,
    /// Mean nDCG@10 of what was chosen without the queries it is measured on.
    pub cross_validated: f64,
    /// How much that is above the definition's own setting.
    pub gain: f64,
    /// Its interval, of 95 %.
    pub interval: [f64; 2],
    /// Of the paired randomisation test over it, two-sided.
    pub p: f64,
}

/// Every query's quality by a setting; queries in one order.
struct Column {
    row: TuneRow,
    values: Vec<f64>,
}

/// Tries fusions, candidates and, with a reranker, its depths and weights, on the judged queries of
/// a split, beside the search that the definition makes by itself.
///
/// # Errors
/// `invalid_request` for fewer than two folds or ten judged queries; as [`crate::search::search`];
/// an answer that had to do without something.
pub fn tune(
    index: &Index,
    folder: &BeirFolder,
    split: &str,
    reranker: Option<&RerankSettings>,
    folds: usize,
) -> Result<TuneReport> {
    let qrels = folder.qrels(split)?;
    let queries = folder.queries(&qrels)?;
    let mut columns: Vec<Column> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    let own = own(index.definition());
    for setting in settings(index.definition(), &own) {
        let rerank = match setting.rerank {
            Some(_) => RerankRequest::Settings(RerankSettings {
                time_ms: Some(TIME_MS),
                ..RerankSettings::default()
            }),
            None => RerankRequest::Whether(false),
        };
        let (run, _) = ask_legs(index, &queries, setting.mode, rerank, &setting.request())?;
        let evaluation = evaluate(&qrels, &run, &[MEASURE]);
        if columns.is_empty() {
            ids = evaluation.queries.keys().cloned().collect();
            // Before the rest is asked.
            check(ids.len(), folds)?;
        }
        let found = |id: &String| evaluation.queries.get(id).map_or(0.0, |values| values[0]);
        let column = Column::of(setting, ids.iter().map(found).collect());
        info!(setting = column.row.name, ndcg = column.row.ndcg, "tried");
        columns.push(column);
    }
    if let Some(reranker) = reranker {
        let first = Setting {
            rerank: None,
            ..own
        };
        columns.extend(reranked(index, folder, split, reranker, &first, &ids)?);
    }
    Ok(report(columns, &ids, folds))
}

fn check(queries: usize, folds: usize) -> Result<(), Problem> {
    if queries < LEAST {
        return Err(Problem::new(
            Code::InvalidRequest,
            "there are too few judged queries to choose by",
        )
        .field("split")
        .found(queries)
        .expected(format!("at least {LEAST}")));
    }
    if !(2..=queries).contains(&folds) {
        return Err(Problem::new(
            Code::InvalidRequest,
            "the queries cannot be cut into so many parts",
        )
        .field("folds")
        .found(folds)
        .expected(format!("2 to {queries}")));
    }
    Ok(())
}

/// How the definition searches where a request does not say.
fn own(definition: &Definition) -> Setting {
    let search = &definition.search;
    let rerank = search.rerank.as_ref().filter(|rerank| rerank.by_default);
    Setting {
        mode: match definition.embedding {
            Some(_) => search.mode,
            None => Mode::Lexical,
        },
        fusion: search.fusion,
        candidates: search.candidates,
        rerank: rerank.map(|rerank| Reranked {
            depth: rerank.depth,
            weight: rerank.weight,
            cascade: rerank.cascade.clone(),
        }),
    }
}

/// The definition's own setting, and those without a reranker that are tried beside it.
fn settings(definition: &Definition, own: &Setting) -> Vec<Setting> {
    let mut all = vec![own.clone()];
    let mut add = |mode, fusion, candidates| {
        let setting = Setting {
            mode,
            fusion,
            candidates,
            rerank: None,
        };
        if !all.contains(&setting) {
            all.push(setting);
        }
    };
    add(Mode::Lexical, own.fusion, own.candidates);
    if definition.embedding.is_none() {
        return all;
    }
    add(Mode::Dense, own.fusion, own.candidates);
    let by = |method, lexical: f32| Fusion {
        method,
        lexical,
        dense: ((1.0 - lexical) * 100.0).round() / 100.0,
        ..Fusion::default()
    };
    let mut fusions = vec![by(FusionMethod::Learned, 0.5), by(FusionMethod::Rrf, 0.5)];
    fusions.extend(LEXICAL.map(|weight| by(FusionMethod::MinMax, weight)));
    for candidates in [own.candidates].into_iter().chain(CANDIDATES) {
        for &fusion in &fusions {
            add(Mode::Hybrid, fusion, candidates);
        }
    }
    all
}

/// A first stage with a reranker over it.
fn reranked(
    index: &Index,
    folder: &BeirFolder,
    split: &str,
    reranker: &RerankSettings,
    first: &Setting,
    ids: &[String],
) -> Result<Vec<Column>> {
    let settings = RerankSettings {
        depth: DEPTHS.iter().copied().max(),
        time_ms: Some(TIME_MS),
        ..reranker.clone()
    };
    let request = SearchRequest {
        mode: Some(first.mode),
        ..first.request()
    };
    let traces = trace(index, folder, split, &settings, &request)?;
    let mut columns = Vec::new();
    for depth in DEPTHS {
        for weight in WEIGHTS {
            let found: IndexMap<&str, f64> = traces.cut_at(depth, weight).collect();
            let values = ids.iter().map(|id| found.get(id.as_str()).copied());
            let setting = Setting {
                rerank: Some(Reranked {
                    depth,
                    weight: Some(weight),
                    cascade: None,
                }),
                ..first.clone()
            };
            let values = values.map(Option::unwrap_or_default).collect();
            columns.push(Column::of(setting, values));
        }
    }
    Ok(columns)
}

/// The column with the highest mean over some of the queries; of equals the first, which is the
/// definition's own or the cheaper one.
fn best_of(columns: &[Column], among: impl Fn(usize) -> bool) -> Option<&Column> {
    let sum = |column: &Column| -> f64 {
        let values = column.values.iter().enumerate();
        values.filter(|(n, _)| among(*n)).map(|(_, v)| v).sum()
    };
    let mut best: Option<(&Column, f64)> = None;
    for column in columns {
        let sum = sum(column);
        if best.is_none_or(|(_, highest)| sum > highest + 1e-9) {
            best = Some((column, sum));
        }
    }
    best.map(|(column, _)| column)
}

fn report(columns: Vec<Column>, ids: &[String], folds: usize) -> TuneReport {
    // By its id, so that a query stays in its part whatever queries come later.
    let parts: Vec<usize> = ids
        .iter()
        .map(|id| crc32fast::hash(id.as_bytes()) as usize % folds)
        .collect();
    let mut values = vec![0.0; ids.len()];
    for part in 0..folds {
        let Some(chosen) = best_of(&columns, |n| parts[n] != part) else {
            continue;
        };
        for (n, value) in values.iter_mut().enumerate() {
            if parts[n] == part {
                *value = chosen.values[n];
            }
        }
    }
    let own = columns.first().map_or(&[][..], |own| &own.values);
    let differences: Vec<f64> = values.iter().zip(own).map(|(a, b)| a - b).collect();
    let chosen = best_of(&columns, |_| true).map(|column| column.row.clone());
    let mut rows: Vec<TuneRow> = columns.into_iter().map(|column| column.row).collect();
    if let [_, others @ ..] = rows.as_mut_slice() {
        others.sort_by(|a, b| b.ndcg.total_cmp(&a.ndcg));
    }
    TuneReport {
        queries: ids.len(),
        folds,
        chosen: chosen.unwrap_or_else(|| rows[0].clone()),
        rows,
        cross_validated: mean(&values),
        gain: mean(&differences),
        interval: bootstrap_interval(&differences, DRAWS),
        p: randomisation_test(&differences, DRAWS),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

impl Column {
    fn of(setting: Setting, values: Vec<f64>) -> Column {
        Column {
            row: TuneRow {
                name: setting.to_string(),
                ndcg: mean(&values),
                setting,
            },
            values,
        }
    }
}

impl Setting {
    fn request(&self) -> SearchRequest {
        SearchRequest {
            fusion: Some(self.fusion),
            candidates: Some(self.candidates),
            ..SearchRequest::default()
        }
    }

    /// Makes a definition search so where a request does not say.
    pub fn put_into(&self, definition: &mut Definition, reranker: Option<&str>) {
        let search = &mut definition.search;
        search.mode = self.mode;
        search.fusion = self.fusion;
        search.candidates = self.candidates;
        match &self.rerank {
            Some(chosen) => {
                let rerank = search.rerank.get_or_insert_with(Rerank::default);
                rerank.model = reranker.map(str::to_string).or(rerank.model.take());
                rerank.by_default = true;
                rerank.depth = chosen.depth;
                rerank.weight = chosen.weight;
                rerank.cascade = chosen.cascade.clone();
            }
            None => {
                if let Some(rerank) = &mut search.rerank {
                    rerank.by_default = false;
                }
            }
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mode, self.fusion.method) {
            (Mode::Lexical, _) => write!(f, "words alone")?,
            (Mode::Dense, _) => write!(f, "vectors alone")?,
            (Mode::Hybrid, FusionMethod::Learned) => write!(f, "learned")?,
            (Mode::Hybrid, FusionMethod::Rrf) => write!(f, "rrf")?,
            (Mode::Hybrid, FusionMethod::MinMax) => {
                write!(f, "minmax, words {:.2}", self.fusion.lexical)?;
            }
        }
        write!(f, ", {} candidates", self.candidates)?;
        let Some(rerank) = &self.rerank else {
            return Ok(());
        };
        write!(f, ", {} re-ranked", rerank.depth)?;
        if let Some(weight) = rerank.weight {
            write!(f, " by {weight:.2}")?;
        }
        match rerank.cascade {
            Some(_) => write!(f, ", with a cascade"),
            None => Ok(()),
        }
    }
}

impl TuneReport {
    /// Whether the chosen setting is better by more than chance explains: the whole interval lies
    /// above 0, and the test agrees (p < .05), which where few queries differ is harder to please.
    pub fn is_better(&self) -> bool {
        self.chosen != self.rows[0] && self.interval[0] > 0.0 && self.p < 0.05
    }
}

impl fmt::Display for TuneReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} queries in {} parts", self.queries, self.folds)?;
        writeln!(f, "ndcg@10")?;
        for (n, row) in self.rows.iter().enumerate() {
            let mark = match n {
                0 => "  (as it is)",
                _ if row == &self.chosen => "  (chosen)",
                _ => "",
            };
            writeln!(f, "{:.4}   {}{mark}", row.ndcg, row.name)?;
        }
        writeln!(
            f,
            "\nchosen on other queries: {:.4}, {:+.4} to the definition as it is, 95 % of samples within \
             {:+.4} to {:+.4}, p {:.4}",
            self.cross_validated, self.gain, self.interval[0], self.interval[1], self.p
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(lexical: f32, values: Vec<f64>) -> Column {
        let setting = Setting {
            mode: Mode::Hybrid,
            fusion: Fusion {
                method: FusionMethod::MinMax,
                lexical,
                dense: 1.0 - lexical,
                ..Fusion::default()
            },
            candidates: 100,
            rerank: None,
        };
        Column::of(setting, values)
    }

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("q{n}")).collect()
    }

    #[test]
    fn what_is_always_better_is_chosen_and_its_gain_is_sure() {
        let columns = vec![
            column(0.5, vec![0.5; 60]),
            column(
                0.2,
                (0..60).map(|n| 0.55 + f64::from(n % 3) / 10.0).collect(),
            ),
        ];
        let report = report(columns, &ids(60), 5);
        assert!((report.chosen.setting.fusion.lexical - 0.2).abs() < 1e-6);
        assert!((report.gain - 0.15).abs() < 1e-9);
        assert!(report.is_better() && report.p < 0.001, "{report}");
        assert!(report.interval[0] < report.gain && report.gain < report.interval[1]);
    }

    /// Many settings that differ by chance alone: the best of them looks better on the queries it
    /// was chosen on, and is not on others.
    #[test]
    fn chance_is_no_gain() {
        let mut state = 7u64;
        let mut draw = || super::super::split_mix(&mut state) as f64 / u64::MAX as f64;
        let columns: Vec<Column> = (0..40)
            .map(|n| column(n as f32 / 40.0, (0..80).map(|_| draw()).collect()))
            .collect();
        let own = columns[0].row.ndcg;
        let report = report(columns, &ids(80), 5);
        assert!(report.chosen.ndcg > own + 0.05, "{report}");
        assert!(report.gain < report.chosen.ndcg - own - 0.03, "{report}");
        assert!(!report.is_better(), "{report}");
    }

    /// Four queries of sixty that are better and none that is worse: the interval alone would be
    /// sure, and in one of eight cases it is chance.
    #[test]
    fn a_few_queries_prove_nothing() {
        let own = vec![0.5; 60];
        let other = (0..60)
            .map(|n| if n % 15 == 0 { 0.6 } else { 0.5 })
            .collect();
        let report = report(vec![column(0.5, own), column(0.2, other)], &ids(60), 5);
        assert!(report.gain > 0.0 && report.p > 0.05, "{report}");
        assert!(!report.is_better(), "{report}");
    }

    #[test]
    fn of_equals_the_definition_stays() {
        let columns = vec![column(0.5, vec![0.3; 20]), column(0.9, vec![0.3; 20])];
        let report = report(columns, &ids(20), 4);
        assert_eq!(report.chosen, report.rows[0]);
        assert!(!report.is_better());
    }
}
