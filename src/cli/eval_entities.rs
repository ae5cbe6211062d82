//! `gleaner eval entities`: how often mentions are linked to the entity that they mean.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::Context;
use super::eval_schema::text;
use crate::config;
use crate::entity::{
    BuildInput, BuildOptions, Catalogs, EntityLinker, Example, NewAlias, NewName, View, Weighings,
};
use crate::error::{Error, Result};
use crate::eval::{
    CandidateTable, judge_found, judge_marked, marked_documents, measure_found, measure_marked,
};
use crate::ingest::{Items, NameOptions, read_aliases, read_names};
use crate::model::{Registry, RuntimeOptions};

/// Candidates that lie beside the titles.
const CANDIDATES: &str = "mention_candidates.tsv.gz";
/// Vectors that are kept, so that names are encoded once.
const CACHE: usize = 512 << 20;

/// Linking of marked mentions, in documents of one JSON object a line.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("names").required(true))]
pub(super) struct EvalEntities {
    /// Documents: text, and labels with span, entity_id and name. May be repeated.
    #[arg(long, value_name = "FILE.jsonl", required = true)]
    mentions: Vec<PathBuf>,
    /// The names there are, one a line; underscores stand for spaces.
    #[arg(long, value_name = "FILE", group = "names")]
    titles: Option<PathBuf>,
    /// A catalog that is there, in the place of one that is built for this and removed.
    #[arg(long, group = "names", conflicts_with_all = ["candidates", "aliases"])]
    catalog: Option<String>,
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
    /// Measure linking of whole texts too.
    #[arg(long)]
    link: bool,
    /// Write what is known of every mention, for `gleaner entities fit`.
    #[arg(long, value_name = "FILE.jsonl")]
    evidence: Option<PathBuf>,
}

impl EvalEntities {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let mut documents = Vec::new();
        for file in &self.mentions {
            documents.extend(marked_documents(&text(file, "mentions")?)?);
        }
        let models = &context.config.models;
        let runtime = RuntimeOptions {
            cache_bytes: CACHE.max(models.runtime.cache_bytes),
            ..models.runtime.clone()
        };
        let registry = Registry::new(models.folders.clone(), runtime);
        let settings = &context.config.entities;
        let linker = EntityLinker::open(&registry, settings)?;
        let weighings = match &settings.weights {
            Some(file) => Weighings::read(file)?,
            None => Weighings::shipped()?,
        };
        let beside = || {
            let folder = self.titles.as_deref().and_then(Path::parent);
            folder.unwrap_or(Path::new("")).join(CANDIDATES)
        };
        let table = match &self.candidates {
            None => None,
            Some(file) if file.as_os_str().is_empty() => Some(read_table(&beside())?),
            Some(file) => Some(read_table(file)?),
        };
        let folder = Folder::new()?;
        let view = match &self.catalog {
            Some(catalog) => Catalogs::new(&context.config.data.folder).view(catalog)?,
            None => self.build(&registry, settings, table.as_ref(), &folder.0)?,
        };
        let bar = super::entities::progress_bar();
        let mut done = 0;
        let mut each = || {
            done += 1;
            bar.set_message(format!("{done} mentions and texts"));
        };
        let table = table.as_ref();
        let mut examples = judge_marked(&linker, &view, &documents, table, &mut each)?;
        let generator = linker.has_generator();
        let mut report = measure_marked(&examples, &weighings, generator);
        if self.link {
            let judged = judge_found(&linker, &view, &documents, &mut each)?;
            report.linking = Some(measure_found(&judged, &weighings, generator));
            examples.extend(judged.examples);
        }
        bar.finish_and_clear();
        if let Some(file) = &self.evidence {
            write_evidence(file, &examples)?;
        }
        context.print(&report, ToString::to_string)
    }

    /// The names of the table, or the titles.
    fn build(
        &self,
        registry: &Registry,
        settings: &config::Entities,
        table: Option<&CandidateTable>,
        folder: &Path,
    ) -> Result<View> {
        let spelled_by = settings.speller();
        let catalogs = Catalogs::new(folder);
        let options = BuildOptions {
            model_folder: registry.folder(spelled_by)?,
            model: spelled_by.to_owned(),
            max_tokens: 128,
            after_space: false,
            replace: false,
        };
        let mut rejected = 0;
        let mut rejects = |_| {
            rejected += 1;
            Ok(())
        };
        let reading = NameOptions { underscores: true };
        let (mut names, mut aliases): (Items<NewName>, Items<NewAlias>) = match table {
            Some(table) => {
                let all: BTreeSet<&String> = table.values().flatten().map(|(n, _)| n).collect();
                let names: Vec<Result<NewName>> = all
                    .into_iter()
                    .map(|name| {
                        Ok(NewName {
                            name: name.clone(),
                            ..NewName::default()
                        })
                    })
                    .collect();
                let mut aliases = Vec::new();
                for (alias, names) in table {
                    aliases.extend(names.iter().map(|(name, count)| {
                        Ok(NewAlias {
                            alias: alias.clone(),
                            name: name.clone(),
                            count: *count,
                        })
                    }));
                }
                (Box::new(names.into_iter()), Box::new(aliases.into_iter()))
            }
            None => {
                let files = self.aliases.iter().map(|file| read_aliases(file, reading));
                let files = files.collect::<Result<Vec<_>>>()?;
                let titles = self.titles.as_deref().unwrap_or(Path::new(""));
                (
                    read_names(titles, reading)?,
                    Box::new(files.into_iter().flatten()),
                )
            }
        };
        catalogs.build(
            "eval",
            &options,
            BuildInput {
                names: &mut *names,
                aliases: &mut *aliases,
                rejects: &mut rejects,
                progress: &mut |_| {},
            },
        )?;
        if rejected > 0 {
            tracing::info!(rejected, "names or aliases could not be taken");
        }
        catalogs.view("eval")
    }
}

fn write_evidence(file: &Path, examples: &[Example]) -> Result<()> {
    let cannot = |e| Error::operator_from(format!("cannot write {}", file.display()), e);
    let mut out = BufWriter::new(File::create(file).map_err(cannot)?);
    for example in examples {
        let line = serde_json::to_string(example)
            .map_err(|e| Error::Bug(format!("evidence does not serialise: {e}")))?;
        writeln!(out, "{line}").map_err(cannot)?;
    }
    out.flush().map_err(cannot)
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
