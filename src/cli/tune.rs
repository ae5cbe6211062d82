//! `gleaner eval tune`: settings of an index's searches, chosen on judged queries.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::Serialize;

use super::Context;
use super::eval::{Loaded, definition};
use crate::error::{Code, Error, Problem, Result};
use crate::eval::{BeirFolder, TuneReport, tune};
use crate::index::{Definition, to_toml};
use crate::search::RerankSettings;

/// Choose fusion, candidates and re-ranking on judged queries by cross-validation, say what that
/// gains and how sure it is, and write the definition that searches so.
#[derive(Debug, clap::Args)]
pub(super) struct Tune {
    /// Folder with corpus.jsonl, queries.jsonl and qrels/.
    #[arg(long, value_name = "DIR")]
    beir: PathBuf,
    /// Which judgments: not those that quality is reported on later.
    #[arg(long, default_value = "train")]
    split: String,
    /// Definition of the index [default: title and text, English, the default encoder].
    #[arg(long, value_name = "FILE.toml")]
    index: Option<PathBuf>,
    /// Keep the index in this folder and use it again if it is there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Try this reranker as well [default: the definition's]; `none` for none.
    #[arg(long, value_name = "MODEL")]
    reranker: Option<String>,
    /// Parts that the queries are cut into: each is measured with what was chosen on the others.
    #[arg(long, default_value_t = 5)]
    folds: usize,
    /// Write the definition with what was chosen here. Where the gain may be chance, it is the
    /// definition as it was.
    #[arg(long, value_name = "FILE.toml")]
    out: Option<PathBuf>,
    /// Write what is best on these queries even where its gain may be chance.
    #[arg(long, requires = "out")]
    anyway: bool,
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    report: TuneReport,
    /// Whether the definition that was written searches otherwise than before.
    changed: bool,
    search: crate::index::SearchDefaults,
}

impl Tune {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let folder = BeirFolder::open(&self.beir)?;
        // A misspelt split is noticed before anything is encoded.
        folder.qrels(&self.split)?;
        let mut definition = definition(self.index.as_deref())?;
        let reranker = match self.reranker.as_deref() {
            Some("none") => None,
            Some(name) => Some(name.to_string()),
            None => definition
                .search
                .rerank
                .as_ref()
                .and_then(|r| r.model.clone()),
        };
        let loaded = Loaded::new(context, &folder, definition.clone(), self.keep.as_deref())?;
        let settings = reranker.clone().map(|model| RerankSettings {
            model: Some(model),
            ..RerankSettings::default()
        });
        let report = tune(
            &loaded.index,
            &folder,
            &self.split,
            settings.as_ref(),
            self.folds,
        )?;
        let before = definition.clone();
        let is_own = report.chosen == report.rows[0];
        if !is_own && (report.is_better() || self.anyway) {
            let chosen = &report.chosen.setting;
            chosen.put_into(&mut definition, reranker.as_deref());
        }
        if let Some(file) = &self.out {
            std::fs::write(file, written(&definition)?)
                .map_err(|e| Error::operator_from(format!("cannot write {}", file.display()), e))?;
        }
        let answer = Answer {
            report,
            changed: definition != before,
            search: definition.search,
        };
        context.print(&answer, |answer| {
            let search = to_toml(&IndexMap::from([("search", &answer.search)]));
            let conclusion = match answer.report.is_better() {
                true => "better by more than chance explains",
                false => {
                    "that may be chance: the definition is left as it is, unless you say --anyway"
                }
            };
            format!(
                "{}{conclusion}\n\n{}",
                answer.report,
                search.unwrap_or_default()
            )
        })
    }
}

/// A definition as a file, which is read again before it is trusted.
fn written(definition: &Definition) -> Result<String> {
    let text = definition.to_toml()?;
    match Definition::from_toml(&text) {
        Ok(read) if read == *definition => Ok(text),
        Ok(_) => Err(Error::Bug(
            "a definition is read otherwise than written".into(),
        )),
        Err(error) => Err(Problem::new(
            Code::InvalidDefinition,
            "the definition cannot search with what was chosen",
        )
        .found(error)
        .into()),
    }
}
