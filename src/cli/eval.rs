//! `gleaner eval`: how good the answers are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;

use super::Context;
use crate::error::{Code, Error, Problem, Result};
use crate::eval::{BeirFolder, EvalMode, load_corpus, measure};
use crate::index::{Cascade, Catalog, Definition, FusionMethod, Index};
use crate::ingest::{Progress, Reporter, Show};
use crate::search::{RerankRequest, RerankSettings, SearchRequest};

/// Time for re-ranking a query, as long as it takes: an answer that stopped half-way measures the
/// machine.
const TIME_MS: u64 = 600_000;
/// The definition for collections where none is named.
const BEIR_DEFINITION: &str = include_str!("../../indexes/beir.toml");

/// Measure the quality of answers.
#[derive(Debug, Subcommand)]
pub(super) enum Eval {
    /// Retrieval, on a collection in the BEIR layout.
    Retrieval(Retrieval),
    /// Quality against the share of pairs a reranker reads, and the threshold of a cascade
    /// for a budget.
    Cascade(super::cascade::Cascade),
    /// Choose fusion, candidates and re-ranking on judged queries, and say what that gains.
    Tune(super::tune::Tune),
    /// How much of what its SQL needs is kept of a schema for a question.
    Schema(super::eval_schema::EvalSchema),
    /// How often mentions are linked to the entity that they mean.
    Entities(super::eval_entities::EvalEntities),
}

/// Retrieval, on a collection in the BEIR layout.
#[derive(Debug, clap::Args)]
pub(super) struct Retrieval {
    /// Folder with corpus.jsonl, queries.jsonl and qrels/.
    #[arg(long, value_name = "DIR")]
    beir: PathBuf,
    /// Which judgments.
    #[arg(long, default_value = "test")]
    split: String,
    /// Definition of the index [default: title and text, English, the default encoder].
    #[arg(long, value_name = "FILE.toml")]
    index: Option<PathBuf>,
    /// Modes to measure: lexical, dense, hybrid, and rerank, which is hybrid with its first
    /// documents re-ranked.
    #[arg(long, value_delimiter = ',', default_value = "lexical,dense,hybrid")]
    modes: Vec<String>,
    /// Write each mode's run here, in TREC's format.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Write pictures here (SVG): precision against recall, quality against latency, and how the
    /// scores of relevant documents lie beside others'.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Keep the index in this folder and use it again if it is there: the documents are
    /// encoded once for several evaluations. Remove it when model or definition change.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Candidates each leg hands to the fusion [default: the definition's].
    #[arg(long)]
    candidates: Option<usize>,
    /// Weight of the words in the fusion, 0 to 1; the vectors get the rest
    /// [default: the definition's].
    #[arg(long)]
    lexical_weight: Option<f32>,
    #[command(flatten)]
    rerank: Reranked,
    /// Fuse by reciprocal ranks in place of the definition's method.
    #[arg(long)]
    rrf: bool,
}

/// How the first documents are re-ranked.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Reranked {
    /// Name of the reranker [default: the definition's].
    #[arg(long, value_name = "MODEL")]
    reranker: Option<String>,
    /// Documents that are re-ranked [default: the definition's, or 100].
    #[arg(long, value_name = "N")]
    rerank_depth: Option<usize>,
    /// Weight of the reranker against the first stage, 0 to 1 [default: the definition's, or
    /// what the model recommends, or 1].
    #[arg(long, value_name = "WEIGHT")]
    rerank_weight: Option<f32>,
    /// TOML file with a cascade, as `gleaner eval cascade` prints it [default: the definition's].
    #[arg(long, value_name = "FILE.toml")]
    cascade: Option<PathBuf>,
}

impl Reranked {
    pub(super) fn settings(&self) -> Result<RerankSettings> {
        let cascade = match &self.cascade {
            None => None,
            Some(file) => Some(cascade_in(file)?),
        };
        Ok(RerankSettings {
            model: self.reranker.clone(),
            depth: self.rerank_depth,
            weight: self.rerank_weight,
            time_ms: Some(TIME_MS),
            cascade,
            ..RerankSettings::default()
        })
    }
}

/// The cascade in a file: its keys alone, or below `[search.rerank.cascade]`.
fn cascade_in(file: &Path) -> Result<Cascade> {
    let unusable = |found: &dyn std::fmt::Display| {
        Problem::new(Code::InvalidFile, "the file describes no cascade")
            .field("cascade")
            .found(format!("{}: {found}", file.display()))
            .expected("TOML as `gleaner eval cascade` prints it")
    };
    let text = std::fs::read_to_string(file).map_err(|e| unusable(&e))?;
    let mut table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| unusable(&e.message()))?;
    for key in ["search", "rerank", "cascade"] {
        if let Some(toml::Value::Table(inner)) = table.get(key) {
            table = inner.clone();
        }
    }
    let cascade = table.try_into::<Cascade>();
    Ok(cascade.map_err(|e| unusable(&e.message()))?)
}

impl Eval {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        match self {
            Eval::Retrieval(command) => command.run(context),
            Eval::Cascade(command) => command.run(context),
            Eval::Tune(command) => command.run(context),
            Eval::Schema(command) => command.run(context),
            Eval::Entities(command) => command.run(context),
        }
    }
}

impl Retrieval {
    fn run(self, context: &Context) -> Result<()> {
        let modes = self
            .modes
            .iter()
            .map(|mode| Ok(mode.trim().parse::<EvalMode>()?))
            .collect::<Result<Vec<_>>>()?;
        let folder = BeirFolder::open(&self.beir)?;
        // A misspelt split is noticed before anything is encoded.
        folder.qrels(&self.split)?;
        let definition = definition(self.index.as_deref())?;
        let loaded = Loaded::new(context, &folder, definition, self.keep.as_deref())?;
        let index = &loaded.index;
        let mut fusion = index.definition().search.fusion;
        if let Some(weight) = self.lexical_weight {
            fusion.method = FusionMethod::MinMax;
            fusion.lexical = weight;
            fusion.dense = 1.0 - weight;
        }
        if self.rrf {
            fusion.method = FusionMethod::Rrf;
        }
        let request = SearchRequest {
            candidates: self.candidates,
            fusion: Some(fusion),
            rerank: Some(RerankRequest::Settings(self.rerank.settings()?)),
            ..SearchRequest::default()
        };
        let report = measure(
            index,
            &folder,
            &self.split,
            &modes,
            &request,
            self.run_dir.as_deref(),
            self.plot.as_deref(),
        )?;
        context.print(&report, |report| report.to_string())
    }
}

/// The definition in a file, or that for BEIR collections.
pub(super) fn definition(file: Option<&Path>) -> Result<Definition> {
    match file {
        Some(file) => Definition::from_file(file),
        None => Definition::from_toml(BEIR_DEFINITION),
    }
}

/// A collection in an index.
pub(super) struct Loaded {
    pub index: Arc<Index>,
    // In this order: the index is closed before its folder goes.
    _catalog: Catalog,
    _temporary: Option<TemporaryFolder>,
}

impl Loaded {
    /// Loads a collection, or opens the index that was kept of it.
    pub(super) fn new(
        context: &Context,
        folder: &BeirFolder,
        definition: Definition,
        keep: Option<&Path>,
    ) -> Result<Loaded> {
        let temporary = match keep {
            Some(_) => None,
            None => Some(TemporaryFolder::new()?),
        };
        let mut config = context.config.clone();
        config.data.folder = match (keep, &temporary) {
            (Some(folder), _) => folder.to_path_buf(),
            (None, Some(folder)) => folder.0.clone(),
            (None, None) => return Err(Error::Bug("no folder for the index".into())),
        };
        let catalog = Catalog::new(&config)?;
        let name = definition.name.clone();
        let kept = catalog.names_on_disk()?.contains(&name);
        let index = if kept {
            catalog.get(&name)?
        } else {
            catalog.create(definition)?
        };
        // A load that was interrupted would be measured as if it were the whole.
        let loaded = config.data.folder.join(format!("{name}.loaded"));
        if !loaded.is_file() {
            let progress = Arc::new(Progress::new());
            let reporter = Reporter::start(progress.clone(), Show::Auto);
            let outcome = load_corpus(&index, folder, &config.ingest, &progress);
            reporter.finish();
            outcome?;
            std::fs::write(&loaded, "").map_err(|e| {
                Error::operator_from(format!("cannot write {}", loaded.display()), e)
            })?;
        }
        Ok(Loaded {
            index,
            _catalog: catalog,
            _temporary: temporary,
        })
    }
}

/// A folder that is removed when the evaluation ends, however it ends.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Result<TemporaryFolder> {
        let path = std::env::temp_dir().join(format!("gleaner-eval-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path)
            .map_err(|e| Error::operator_from(format!("cannot create {}", path.display()), e))?;
        Ok(TemporaryFolder(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
