//! `gleaner eval entities`: how often mentions are linked to the entity that they mean.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::Context;
use super::eval_schema::text;
use crate::entity::{BuildInput, BuildOptions, Catalogs, EntityLinker, NewAlias, NewName};
use crate::error::{Error, Result};
use crate::eval::{CandidateTable, marked_documents, measure_entities, measure_linking};
use crate::ingest::{NameOptions, read_aliases, read_names};
use crate::model::{Registry, RuntimeOptions};

/// Candidates that lie beside the titles.
const CANDIDATES: &str = "mention_candidates.tsv.gz";
/// Vectors that are kept, so that names are encoded once.
const CACHE: usize = 512 << 20;

/// Linking of marked mentions, in documents of one JSON object a line.
#[derive(Debug, clap::Args)]
pub(super) struct EvalEntities {
    /// Documents: text, and labels with span, entity_id and name.
    #[arg(long, value_name = "FILE.jsonl")]
    mentions: PathBuf,
    /// The names there are, one a line; underscores stand for spaces.
    #[arg(long, value_name = "FILE")]
    titles: PathBuf,
    /// Choose among given candidates: lines of a mention, a name and a count, with tabs between
    /// [default: mention_candidates.tsv.gz beside the titles]. Their names are the catalog then.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "",
        // Any text: nothing at all stands for the default.
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    candidates: Option<PathBuf>,
    /// Further aliases: lines of an alias, a name and perhaps a count.
    #[arg(long, value_name = "FILE")]
    aliases: Vec<PathBuf>,
    /// A mention whose best entity has a lower score counts as meaning none.
    #[arg(long, default_value_t = 0.5)]
    threshold: f32,
    /// Measure linking of whole texts too.
    #[arg(long)]
    link: bool,
}

impl EvalEntities {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let documents = marked_documents(&text(&self.mentions, "mentions")?)?;
        let models = &context.config.models;
        let runtime = RuntimeOptions {
            cache_bytes: CACHE.max(models.runtime.cache_bytes),
            ..models.runtime.clone()
        };
        let registry = Registry::new(models.folders.clone(), runtime);
        let settings = &context.config.entities;
        let linker = EntityLinker::open(&registry, settings)?;
        let spelled_by = settings.generator.as_ref().unwrap_or(&settings.encoder);
        let folder = Folder::new()?;
        let catalogs = Catalogs::new(&folder.0);
        let options = BuildOptions {
            model_folder: registry.folder(spelled_by)?,
            model: spelled_by.clone(),
            max_tokens: 128,
            replace: false,
        };
        let table = match &self.candidates {
            None => None,
            Some(file) if file.as_os_str().is_empty() => {
                let beside = self.titles.parent().unwrap_or(Path::new(""));
                Some(read_table(&beside.join(CANDIDATES))?)
            }
            Some(file) => Some(read_table(file)?),
        };
        let mut rejected = 0;
        let mut rejects = |_| {
            rejected += 1;
            Ok(())
        };
        match &table {
            Some(table) => {
                let mut seen = HashSet::new();
                let all = || table.values().flatten();
                let mut names =
                    all()
                        .filter(|(name, _)| seen.insert(name.clone()))
                        .map(|(name, _)| {
                            Ok(NewName {
                                name: name.clone(),
                                ..NewName::default()
                            })
                        });
                let mut aliases = table.iter().flat_map(|(alias, names)| {
                    names.iter().map(|(name, count)| {
                        Ok(NewAlias {
                            alias: alias.clone(),
                            name: name.clone(),
                            count: *count,
                        })
                    })
                });
                catalogs.build(
                    "eval",
                    &options,
                    BuildInput {
                        names: &mut names,
                        aliases: &mut aliases,
                        rejects: &mut rejects,
                        progress: &mut |_| {},
                    },
                )?;
            }
            None => {
                let reading = NameOptions { underscores: true };
                let files = self.aliases.iter().map(|file| read_aliases(file, reading));
                let files = files.collect::<Result<Vec<_>>>()?;
                catalogs.build(
                    "eval",
                    &options,
                    BuildInput {
                        names: &mut *read_names(&self.titles, reading)?,
                        aliases: &mut files.into_iter().flatten(),
                        rejects: &mut rejects,
                        progress: &mut |_| {},
                    },
                )?;
            }
        }
        if rejected > 0 {
            tracing::info!(rejected, "names or aliases could not be taken");
        }
        let view = catalogs.view("eval")?;
        let bar = super::entities::progress_bar();
        let mut done = 0;
        let each = || {
            done += 1;
            bar.set_message(format!("{done} mentions"));
        };
        let table = table.as_ref();
        let mut report = measure_entities(&linker, &view, &documents, table, self.threshold, each)?;
        if self.link {
            report.linking = Some(measure_linking(&linker, &view, &documents, self.threshold)?);
        }
        bar.finish_and_clear();
        context.print(&report, ToString::to_string)
    }
}

fn read_table(file: &Path) -> Result<CandidateTable> {
    let mut table = CandidateTable::new();
    for alias in read_aliases(file, NameOptions::default())? {
        let NewAlias { alias, name, count } = match alias {
            Ok(alias) => alias,
            Err(Error::User(problem)) if problem.code == crate::error::Code::InvalidName => {
                continue;
            }
            Err(error) => return Err(error),
        };
        table
            .entry(alias.trim().to_owned())
            .or_default()
            .push((name, count));
    }
    Ok(table)
}

/// A folder of its own, removed with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        let name = format!("gleaner-eval-{}", uuid::Uuid::new_v4().simple());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)
            .map_err(|e| Error::operator_from(format!("cannot make {}", folder.display()), e))?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
