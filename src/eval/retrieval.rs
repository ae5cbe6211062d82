//! Runs a BEIR collection through an index and measures every mode.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value as Json, json};
use tracing::info;

use super::{
    Answered, BeirFolder, Evaluation, Hit, Measure, Measures, RetrievalReport, Run, evaluate, plot,
};
use crate::config::Ingest;
use crate::document::FieldType;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Definition, Index, Mode};
use crate::ingest::{Progress, load_rows};
use crate::search::{RerankRequest, SearchRequest, search};

/// Hits a query is measured on.
const DEPTH: usize = 100;

/// Loads the collection's documents into an index whose definition names `title` and
/// `text`, or one text field alone, which then holds both.
///
/// # Errors
/// A corpus that cannot be read, or with a document the index refuses: half a collection
/// would be measured as if it were the whole.
pub fn load_corpus(
    index: &Index,
    folder: &BeirFolder,
    settings: &Ingest,
    progress: &Progress,
) -> Result<()> {
    let shape = Shape::of(index.definition())?;
    let rows = folder
        .corpus()?
        .map(|document| document.map(|d| (d.id.clone(), Ok(shape.row(&d.id, d.title, d.text)))));
    load_rows(index, rows, settings, progress, |id: String, problem| {
        Err(Error::User(Box::new(Problem {
            message: format!("document {id:?} of the collection: {}", problem.message),
            ..problem
        })))
    })?;
    index.refresh()?;
    Ok(())
}

/// How a document of a BEIR collection becomes one of the index.
struct Shape {
    id: String,
    title: Option<String>,
    text: String,
}

impl Shape {
    fn of(definition: &Definition) -> Result<Shape> {
        let is_text = |name: &str| {
            definition
                .fields
                .get(name)
                .is_some_and(|field| field.kind == FieldType::Text)
        };
        let text = ["text", "body"].into_iter().find(|name| is_text(name));
        let Some(text) = text else {
            return Err(Problem::new(
                Code::InvalidDefinition,
                "the definition has no field for a collection's texts",
            )
            .field("fields")
            .expected("a text field named text (or body), and one named title")
            .into());
        };
        Ok(Shape {
            id: definition.id_field.clone(),
            title: is_text("title").then(|| "title".to_string()),
            text: text.to_string(),
        })
    }

    fn row(&self, id: &str, title: String, text: String) -> Json {
        let mut row = json!({ self.id.as_str(): id });
        match &self.title {
            Some(field) => {
                row[field.as_str()] = title.into();
                row[self.text.as_str()] = text.into();
            }
            None => row[self.text.as_str()] = format!("{title}\n{text}").into(),
        }
        row
    }
}

/// How the queries of an evaluation are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvalMode {
    /// By the legs of this mode.
    Legs(Mode),
    /// By both legs, and the first documents re-ranked.
    Rerank,
}

impl EvalMode {
    /// The spelling used on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            EvalMode::Legs(mode) => mode.as_str(),
            EvalMode::Rerank => "rerank",
        }
    }
}

impl std::str::FromStr for EvalMode {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "rerank" => Ok(EvalMode::Rerank),
            other => other
                .parse()
                .map(EvalMode::Legs)
                .map_err(|problem: Problem| problem.expected("lexical, dense, hybrid or rerank")),
        }
    }
}

/// Asks every query of a split in every mode, and measures the answers. With `runs`,
/// each mode's run is written there as `MODE.trec`; with `pictures`, what [`plot()`] draws of them.
///
/// # Errors
/// A split that is not there; an answer that had to do without a leg or the reranker, because
/// its measure would pass for the whole.
pub fn measure(
    index: &Index,
    folder: &BeirFolder,
    split: &str,
    modes: &[EvalMode],
    request: &SearchRequest,
    runs: Option<&Path>,
    pictures: Option<&Path>,
) -> Result<RetrievalReport> {
    let qrels = folder.qrels(split)?;
    let queries = folder.queries(&qrels)?;
    let mut report = RetrievalReport {
        documents: index.view().documents,
        ..RetrievalReport::default()
    };
    let mut answered = Vec::new();
    for &mode in modes {
        let (run, milliseconds) = ask(index, &queries, mode, request)?;
        if let Some(folder) = runs {
            write_run(folder, mode, &run)?;
        }
        let evaluation = evaluate(&qrels, &run, &Measure::USUAL);
        report.queries = evaluation.queries.len() as u64;
        report
            .modes
            .insert(mode.as_str().into(), means(&evaluation));
        info!(mode = mode.as_str(), queries = report.queries, "measured");
        answered.push(Answered {
            name: mode.as_str().into(),
            run,
            evaluation,
            milliseconds,
        });
    }
    if let Some(folder) = pictures {
        plot(folder, &qrels, &answered)?;
    }
    Ok(report)
}

pub(super) fn ask(
    index: &Index,
    queries: &indexmap::IndexMap<String, String>,
    mode: EvalMode,
    request: &SearchRequest,
) -> Result<(Run, Vec<f64>)> {
    let (legs, rerank) = match mode {
        EvalMode::Legs(legs) => (legs, RerankRequest::Whether(false)),
        EvalMode::Rerank => {
            let asked = request.rerank.clone();
            (Mode::Hybrid, asked.unwrap_or(RerankRequest::Whether(true)))
        }
    };
    ask_legs(index, queries, legs, rerank, request)
}

/// Asks by these legs, re-ranked or not: the rankings, and the milliseconds of each query.
pub(super) fn ask_legs(
    index: &Index,
    queries: &indexmap::IndexMap<String, String>,
    legs: Mode,
    rerank: RerankRequest,
    request: &SearchRequest,
) -> Result<(Run, Vec<f64>)> {
    let mut run = Run::default();
    let mut milliseconds = Vec::with_capacity(queries.len());
    for (id, text) in queries {
        let asked = Instant::now();
        let answer = search(
            index,
            &SearchRequest {
                query: Some(text.clone()),
                mode: Some(legs),
                rerank: Some(rerank.clone()),
                k: Some(DEPTH),
                fields: Some(Vec::new()),
                ..request.clone()
            },
        )?;
        milliseconds.push(asked.elapsed().as_secs_f64() * 1e3);
        if let Some(lost) = answer.degraded.first() {
            return Err(Error::operator(format!(
                "query {id:?} was answered without {}: {}",
                lost.lost, lost.reason
            )));
        }
        let hits = answer.hits.into_iter().map(|hit| Hit {
            document: hit.id,
            score: f64::from(hit.score),
        });
        run.insert(id.as_str(), hits.collect());
    }
    // Some collections ask with a document's own text under its own id.
    run.remove_queries();
    Ok((run, milliseconds))
}

fn means(evaluation: &Evaluation) -> Measures {
    evaluation
        .measures
        .iter()
        .zip(&evaluation.means)
        .map(|(measure, &mean)| (measure.to_string(), mean))
        .collect()
}

fn write_run(folder: &Path, mode: EvalMode, run: &Run) -> Result<PathBuf> {
    let path = folder.join(format!("{}.trec", mode.as_str()));
    let failed = |e| Error::operator_from(format!("cannot write {}", path.display()), e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).map_err(failed)?);
    run.write(&mut file, &format!("gleaner-{}", mode.as_str()))?;
    std::io::Write::flush(&mut file).map_err(failed)?;
    Ok(path)
}
