//! `gleaner entities`: build, list, show and change catalogs of names, and link texts to them.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::Context;
use crate::entity::{
    AddReport, BuildInput, BuildOptions, BuildProgress, BuildReport, CatalogInfo, Catalogs,
    NameRecord, NewAlias, NewName, RejectedFrom, RejectedName,
};
use crate::error::{Error, Result};
use crate::ingest::{Items, NameOptions, read_aliases, read_names};
use crate::model::Registry;

/// Build, list, show and change catalogs of entities' names.
#[derive(Debug, Subcommand)]
pub(super) enum EntitiesCommand {
    /// Build a catalog of names.
    Build(Build),
    /// List the catalogs.
    List,
    /// Show what a catalog is, or the names of an entity.
    Show {
        /// Name of the catalog.
        catalog: String,
        /// The entity [default: the catalog itself is shown].
        #[arg(long)]
        id: Option<String>,
    },
    /// Add names to a catalog; they can be written at once.
    Add(Add),
    /// Remove an entity from a catalog, or one of its names.
    Remove {
        /// Name of the catalog.
        catalog: String,
        /// The entity.
        id: String,
        /// One of its names only.
        #[arg(long)]
        name: Option<String>,
    },
    /// Write the names of a catalog to a file that build takes, and its aliases to another.
    Export(Export),
    /// Seal what was added and removed since a catalog was built.
    Compact {
        /// Name of the catalog.
        catalog: String,
    },
    /// Which entities a text speaks of.
    Link(super::entities_link::Link),
    /// Which entity a mention means.
    Disambiguate(super::entities_link::Disambiguate),
    /// Which entities a query asks about.
    Retrieve(super::entities_link::Retrieve),
    /// Fit how much each measure counts, on what `gleaner eval entities --evidence` wrote.
    Fit(super::entities_fit::Fit),
    /// Delete a catalog.
    Delete {
        /// Name of the catalog.
        catalog: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Name of the catalog.
    catalog: String,
    /// Names: a text file with one a line, or a file with the columns name, id, aliases,
    /// description and popularity (Parquet, JSONL, JSON, CSV, TSV); text also compressed. May be
    /// repeated.
    #[arg(long, value_name = "FILE", required = true)]
    names: Vec<PathBuf>,
    /// Aliases: lines of an alias, a name and perhaps a count, with tabs between. May be repeated.
    #[arg(long, value_name = "FILE")]
    aliases: Vec<PathBuf>,
    /// The model whose tokenizer spells the names [default: the configuration's
    /// entities.generator, or entities.encoder].
    #[arg(long)]
    model: Option<String>,
    /// Underscores in the files stand for spaces, as in the addresses of DBpedia and Wikipedia.
    #[arg(long)]
    underscores: bool,
    /// Spell names as they are behind a space, where the tokenizer has other tokens for them there: for
    /// generators that annotate texts and were trained to write ` [ Name ]`, as GENRE's BART was.
    #[arg(long)]
    after_space: bool,
    /// Longest name, in tokens.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_tokens: u16,
    /// Replace the catalog if there is one of the name; it answers until the new one is there.
    #[arg(long)]
    replace: bool,
    /// Write what cannot be taken here, a JSON object a line.
    #[arg(long, value_name = "FILE.jsonl")]
    rejects: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Name of the catalog.
    catalog: String,
    /// Where the names are written, a JSON object a line.
    #[arg(long, value_name = "FILE.jsonl")]
    names: PathBuf,
    /// Where the aliases are written: lines of an alias, a name and a count, with tabs between. They
    /// are as the tokenizer reads them, in small letters where it makes no difference.
    #[arg(long, value_name = "FILE.tsv")]
    aliases: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Name of the catalog.
    catalog: String,
    #[command(flatten)]
    what: AddWhat,
    /// The entity that is called so [default: the name].
    #[arg(long, requires = "name")]
    id: Option<String>,
    /// What else it is called; may be repeated.
    #[arg(long = "alias", value_name = "ALIAS", requires = "name")]
    aliases: Vec<String>,
    /// What it is, in words.
    #[arg(long, requires = "name")]
    description: Option<String>,
    /// How often it is meant, beside others.
    #[arg(long, requires = "name")]
    popularity: Option<f32>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct AddWhat {
    /// The name.
    #[arg(long)]
    name: Option<String>,
    /// A file of names, as for build.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
}

#[derive(Serialize)]
struct Removed {
    catalog: String,
    removed: usize,
}

#[derive(Serialize)]
struct Deleted {
    deleted: String,
}

impl EntitiesCommand {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let catalogs = Catalogs::new(&context.config.data.folder);
        match self {
            EntitiesCommand::Build(build) => build.run(context, &catalogs),
            EntitiesCommand::Link(command) => command.run(context, &catalogs),
            EntitiesCommand::Disambiguate(command) => command.run(context, &catalogs),
            EntitiesCommand::Retrieve(command) => command.run(context, &catalogs),
            EntitiesCommand::Fit(command) => command.run(context),
            EntitiesCommand::List => list(context, &catalogs),
            EntitiesCommand::Show { catalog, id: None } => {
                context.print(&catalogs.info(&catalog)?, info_in_words)
            }
            EntitiesCommand::Show {
                catalog,
                id: Some(id),
            } => context.print(&catalogs.entity(&catalog, &id)?, |records| {
                let lines: Vec<String> = records.iter().map(record_in_words).collect();
                lines.join("\n")
            }),
            EntitiesCommand::Add(add) => add.run(context, &catalogs),
            EntitiesCommand::Export(export) => export.run(context, &catalogs),
            EntitiesCommand::Remove { catalog, id, name } => {
                let removed = catalogs.remove(&catalog, &id, name.as_deref())?;
                context.print(&Removed { catalog, removed }, |removed| {
                    format!("removed {} names", removed.removed)
                })
            }
            EntitiesCommand::Compact { catalog } => {
                let bar = progress_bar();
                let report = catalogs.compact(&catalog, &mut |progress| {
                    bar.set_message(progress_in_words(progress));
                });
                bar.finish_and_clear();
                context.print(&report?, report_in_words)
            }
            EntitiesCommand::Delete { catalog } => {
                catalogs.delete(&catalog)?;
                context.print(&Deleted { deleted: catalog }, |deleted| {
                    format!("deleted {}", deleted.deleted)
                })
            }
        }
    }
}

impl Build {
    fn run(self, context: &Context, catalogs: &Catalogs) -> Result<()> {
        let models = &context.config.models;
        let registry = Registry::new(models.folders.clone(), models.runtime.clone());
        let model = match self.model {
            Some(model) => model,
            None => context.config.entities.speller().to_owned(),
        };
        let options = BuildOptions {
            model_folder: registry.folder(&model)?,
            model,
            max_tokens: usize::from(self.max_tokens),
            after_space: self.after_space,
            replace: self.replace,
        };
        let reading = NameOptions {
            underscores: self.underscores,
        };
        let (mut names, of_names) = files(&self.names, |file| read_names(file, reading))?;
        let (mut aliases, of_aliases) = files(&self.aliases, |file| read_aliases(file, reading))?;
        let mut rejects = Rejects::open(self.rejects.as_deref())?;
        let bar = progress_bar();
        let report = catalogs.build(
            &self.catalog,
            &options,
            BuildInput {
                names: &mut names,
                aliases: &mut aliases,
                rejects: &mut |rejected| {
                    let read = match rejected.from {
                        RejectedFrom::Names => &of_names,
                        RejectedFrom::Aliases => &of_aliases,
                    };
                    let (file, row) = read.place(rejected.row);
                    rejects.add(&file, row, &rejected)
                },
                progress: &mut |progress| bar.set_message(progress_in_words(progress)),
            },
        );
        bar.finish_and_clear();
        rejects.finish()?;
        context.print(&report?, report_in_words)
    }
}

#[derive(Serialize)]
struct Exported {
    names: u64,
    aliases: u64,
    /// Aliases that the tokenizer cannot read back.
    left_out: u64,
}

impl Export {
    fn run(self, context: &Context, catalogs: &Catalogs) -> Result<()> {
        let cannot = |file: &Path| {
            let message = format!("cannot write {}", file.display());
            move |e: std::io::Error| Error::operator_from(message.clone(), e)
        };
        let create = |file: &Path| File::create(file).map(BufWriter::new).map_err(cannot(file));
        // What is asked for is there before anything is written over.
        catalogs.view(&self.catalog)?;
        let mut names = create(&self.names)?;
        let mut aliases = self.aliases.as_deref().map(create).transpose()?;
        let mut exported = Exported {
            names: 0,
            aliases: 0,
            left_out: 0,
        };
        let mut count = 0;
        exported.left_out = catalogs.export(
            &self.catalog,
            &mut |name| {
                exported.names += 1;
                let line = serde_json::to_string(&name)
                    .map_err(|e| Error::Bug(format!("a name does not serialise: {e}")))?;
                writeln!(names, "{line}").map_err(cannot(&self.names))
            },
            &mut |alias| match (&mut aliases, &self.aliases) {
                (Some(out), Some(file)) => {
                    count += 1;
                    let NewAlias { alias, name, count } = alias;
                    writeln!(out, "{alias}\t{name}\t{count}").map_err(cannot(file))
                }
                _ => Ok(()),
            },
        )?;
        exported.aliases = count;
        names.flush().map_err(cannot(&self.names))?;
        if let (Some(out), Some(file)) = (&mut aliases, &self.aliases) {
            out.flush().map_err(cannot(file))?;
        }
        context.print(&exported, |exported| {
            format!("{} names, {} aliases", exported.names, exported.aliases)
        })
    }
}

impl Add {
    fn run(self, context: &Context, catalogs: &Catalogs) -> Result<()> {
        let names = match (self.what.name, self.what.names) {
            (Some(name), _) => vec![NewName {
                name,
                id: self.id,
                aliases: self.aliases,
                description: self.description,
                popularity: self.popularity,
            }],
            (None, file) => {
                let file = file.unwrap_or_default();
                read_names(&file, NameOptions::default())?.collect::<Result<_>>()?
            }
        };
        let report = catalogs.add(&self.catalog, names)?;
        context.print(&report, |report: &AddReport| {
            format!("{} added, {} replaced", report.added, report.replaced)
        })
    }
}

/// How many rows of which files have come.
#[derive(Clone)]
struct RowsOf(Rc<RefCell<Vec<(PathBuf, u64)>>>);

impl RowsOf {
    /// The file of a row that is counted over all of them, and its number there.
    fn place(&self, row: u64) -> (PathBuf, u64) {
        let mut left = row;
        for (file, rows) in self.0.borrow().iter() {
            if left <= *rows {
                return (file.clone(), left);
            }
            left -= rows;
        }
        (PathBuf::new(), row)
    }
}

/// What files hold, one after the other; each is opened when its turn comes, but looked at first.
fn files<T: 'static>(
    paths: &[PathBuf],
    open: impl Fn(&Path) -> Result<Items<T>>,
) -> Result<(Items<T>, RowsOf)> {
    let opened = paths.iter().map(|path| open(path));
    let opened = opened.collect::<Result<Vec<_>>>()?;
    let of = RowsOf(Rc::new(RefCell::new(
        paths.iter().map(|path| (path.clone(), 0)).collect(),
    )));
    let counted = of.clone();
    let items = opened.into_iter().enumerate().flat_map(move |(at, items)| {
        let counted = counted.clone();
        items.inspect(move |_| counted.0.borrow_mut()[at].1 += 1)
    });
    Ok((Box::new(items), of))
}

/// Where what could not be taken is written; without a file the first ones are logged.
struct Rejects {
    out: Option<BufWriter<File>>,
    logged: usize,
}

/// Rejects that are logged where no file takes them.
const LOGGED: usize = 5;

impl Rejects {
    fn open(path: Option<&Path>) -> Result<Rejects> {
        let open = |path: &Path| {
            let cannot = |e| Error::operator_from(format!("cannot write {}", path.display()), e);
            File::create(path).map(BufWriter::new).map_err(cannot)
        };
        Ok(Rejects {
            out: path.map(open).transpose()?,
            logged: 0,
        })
    }

    fn add(&mut self, file: &Path, row: u64, rejected: &RejectedName) -> Result<()> {
        match &mut self.out {
            Some(out) => {
                let line = json!({
                    "file": file.display().to_string(), "row": row, "name": rejected.name, "problem": rejected.problem,
                });
                writeln!(out, "{line}").map_err(cannot_write)
            }
            None => {
                self.logged += 1;
                if self.logged <= LOGGED {
                    let file = file.display().to_string();
                    tracing::warn!(
                        file,
                        row,
                        name = rejected.name,
                        "not taken: {}",
                        rejected.problem
                    );
                }
                Ok(())
            }
        }
    }

    fn finish(mut self) -> Result<()> {
        if self.logged > LOGGED {
            tracing::warn!(
                "{} names or aliases were not taken; --rejects FILE has them all",
                self.logged
            );
        }
        self.out
            .as_mut()
            .map_or(Ok(()), |out| out.flush().map_err(cannot_write))
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::operator_from("cannot write the rejects", error)
}

pub(super) fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

fn progress_in_words(progress: BuildProgress) -> String {
    match progress {
        BuildProgress::Names(names) => format!("{names} names read"),
        BuildProgress::Sorted(names) => format!("{names} names sorted"),
        BuildProgress::Aliases(aliases) => format!("names sorted, {aliases} aliases read"),
        BuildProgress::Writing => "writing".into(),
    }
}

fn report_in_words(report: &BuildReport) -> String {
    let mut words = format!(
        "{}: {} names, {} spellings, {} aliases, {:.1} MB",
        report.catalog,
        report.names,
        report.spellings,
        report.aliases,
        report.bytes as f64 / 1e6
    );
    for (count, what) in [
        (report.duplicates, "names came more than once"),
        (report.rejected, "names or aliases could not be taken"),
        (
            report.unknown_targets,
            "aliases are of names that the catalog does not have",
        ),
    ] {
        if count > 0 {
            words.push_str(&format!("\n{count} {what}"));
        }
    }
    words
}

fn info_in_words(info: &CatalogInfo) -> String {
    format!(
        "{}: {} names ({} added, {} removed since {}), {} aliases, {:.1} MB of which {:.1} MB \
         mapped, spelled by {}",
        info.catalog,
        info.names,
        info.added,
        info.removed,
        info.built_at.format("%Y-%m-%d %H:%M"),
        info.aliases,
        info.bytes as f64 / 1e6,
        info.mapped_bytes as f64 / 1e6,
        info.model
    )
}

fn record_in_words(record: &NameRecord) -> String {
    let mut words = format!("{} [{}]", record.name, record.id);
    if let Some(popularity) = record.popularity {
        words.push_str(&format!(", popularity {popularity}"));
    }
    if let Some(description) = &record.description {
        words.push_str(&format!(": {description}"));
    }
    words
}

fn list(context: &Context, catalogs: &Catalogs) -> Result<()> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Listed {
        Known(CatalogInfo),
        Broken { catalog: String, problem: String },
    }
    let mut listed = Vec::new();
    for catalog in catalogs.names()? {
        listed.push(match catalogs.info(&catalog) {
            Ok(info) => Listed::Known(info),
            Err(error) => Listed::Broken {
                catalog,
                problem: error.to_string(),
            },
        });
    }
    context.print(&listed, |listed| {
        if listed.is_empty() {
            return "no catalogs yet: gleaner entities build NAME --names FILE makes one".into();
        }
        let lines: Vec<String> = listed
            .iter()
            .map(|one| match one {
                Listed::Known(info) => info_in_words(info),
                Listed::Broken { catalog, problem } => format!("{catalog}: {problem}"),
            })
            .collect();
        lines.join("\n")
    })
}
