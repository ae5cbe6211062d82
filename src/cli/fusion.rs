//! `gleaner fusion`: fitting and measuring how the legs' answers become one.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Subcommand;
use indexmap::IndexMap;
use serde::Serialize;

use super::Context;
use super::eval::{Loaded, definition};
use crate::combine::{Combiner, FitOptions, fit};
use crate::error::{Error, Result};
use crate::eval::{BeirFolder, JudgedQuery, balanced, judged_queries, measure_fusions};
use crate::feedback::{SimulationOptions, simulate};

/// Fit and measure how the legs' answers become one.
#[derive(Debug, Subcommand)]
pub(super) enum FusionCommand {
    /// Write what is known of the candidates of judged queries, a JSON line for each query.
    Features(FeaturesCommand),
    /// Fit a combiner on what `features` wrote, one query in five held out.
    Fit(FitCommand),
    /// Measure both legs and every fusion side by side, with paired tests.
    Measure(MeasureCommand),
    /// Let simulated people click, and learn from it with and without correcting for bias.
    Simulate(SimulateCommand),
}

/// A split of a collection in the BEIR layout.
#[derive(Debug, Clone)]
pub(super) struct Set {
    name: String,
    folder: PathBuf,
    split: String,
}

impl FromStr for Set {
    type Err = String;

    fn from_str(text: &str) -> Result<Set, String> {
        let parsed = text.split_once('=').and_then(|(name, rest)| {
            let (folder, split) = rest.rsplit_once(':')?;
            let usable = |part: &str| !part.is_empty() && !part.contains(['/', '\\']);
            (usable(name) && usable(split) && !folder.is_empty()).then(|| Set {
                name: name.into(),
                folder: folder.into(),
                split: split.into(),
            })
        });
        parsed.ok_or_else(|| "expected NAME=FOLDER:SPLIT".into())
    }
}

/// Collections and what they are loaded into.
#[derive(Debug, clap::Args)]
pub(super) struct Sets {
    /// A collection in the BEIR layout and its judgments, as NAME=FOLDER:SPLIT; may be
    /// repeated.
    #[arg(long = "set", value_name = "NAME=FOLDER:SPLIT", required = true)]
    sets: Vec<Set>,
    /// Definition of the index [default: title and text, English, the default encoder].
    #[arg(long, value_name = "FILE.toml")]
    index: Option<PathBuf>,
    /// Keep the indexes below this folder and use them again if they are there. Remove it
    /// when model or definition change.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Sets {
    /// Loads each collection in turn, and hands it over.
    fn each(
        &self,
        context: &Context,
        mut of: impl FnMut(&Set, &BeirFolder, &Loaded) -> Result<()>,
    ) -> Result<()> {
        for set in &self.sets {
            // A misspelt split is noticed before anything is encoded.
            BeirFolder::open(&set.folder)?.qrels(&set.split)?;
        }
        for set in &self.sets {
            let folder = BeirFolder::open(&set.folder)?;
            let keep = self.keep.as_ref().map(|keep| keep.join(&set.name));
            let definition = definition(self.index.as_deref())?;
            let loaded = Loaded::new(context, &folder, definition, keep.as_deref())?;
            of(set, &folder, &loaded)?;
        }
        Ok(())
    }
}

/// Write what is known of the candidates of judged queries.
#[derive(Debug, clap::Args)]
pub(super) struct FeaturesCommand {
    #[command(flatten)]
    sets: Sets,
    /// Folder for NAME.jsonl of each collection.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Fit a combiner on what `features` wrote.
#[derive(Debug, clap::Args)]
pub(super) struct FitCommand {
    /// Files that `gleaner fusion features` wrote. All count alike; one that is named several
    /// times counts as often.
    #[arg(required = true, value_name = "NAME.jsonl")]
    files: Vec<PathBuf>,
    /// Where to write the combiner; without it, it is only measured.
    #[arg(long, value_name = "FILE.toml")]
    out: Option<PathBuf>,
    /// Fit on all files but one in turn as well, and measure on that one: how the combiner
    /// does on what it has never seen.
    #[arg(long)]
    leave_one_out: bool,
    /// Steps.
    #[arg(long, default_value_t = FitOptions::default().steps)]
    steps: usize,
    /// How strongly the dependence on the query is held to none.
    #[arg(long, default_value_t = FitOptions::default().query_penalty)]
    query_penalty: f64,
}

/// Measure both legs and every fusion side by side.
#[derive(Debug, clap::Args)]
pub(super) struct MeasureCommand {
    #[command(flatten)]
    sets: Sets,
    /// The combiner to measure, as `fit` writes them [default: the one that is shipped].
    #[arg(long, value_name = "FILE.toml")]
    combiner: Option<PathBuf>,
}

/// Let simulated people click, and learn from it.
#[derive(Debug, clap::Args)]
pub(super) struct SimulateCommand {
    /// Files that `gleaner fusion features` wrote.
    #[arg(required = true, value_name = "NAME.jsonl")]
    files: Vec<PathBuf>,
    /// Times that each query is asked.
    #[arg(long, default_value_t = SimulationOptions::default().impressions)]
    impressions: usize,
    /// A document at rank k is looked at with probability 1 / k ^ this.
    #[arg(long, default_value_t = SimulationOptions::default().position_bias)]
    position_bias: f64,
    /// Weight of the words in the ranking that is shown.
    #[arg(long, default_value_t = SimulationOptions::default().lexical)]
    lexical_weight: f32,
    /// Logs to draw; what is measured is the mean over them.
    #[arg(long, default_value_t = SimulationOptions::default().logs)]
    logs: u64,
}

/// What fitting came to.
#[derive(Serialize)]
struct Fitted {
    sets: IndexMap<String, FittedSet>,
}

/// On one set's queries that were held out: nDCG@10.
#[derive(Serialize)]
struct FittedSet {
    queries: usize,
    held_out: usize,
    lexical: f64,
    dense: f64,
    minmax: f64,
    fitted: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<f64>,
}

impl FusionCommand {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        match self {
            FusionCommand::Features(command) => command.run(context),
            FusionCommand::Fit(command) => command.run(context),
            FusionCommand::Measure(command) => command.run(context),
            FusionCommand::Simulate(command) => command.run(context),
        }
    }
}

impl FeaturesCommand {
    fn run(self, context: &Context) -> Result<()> {
        std::fs::create_dir_all(&self.out).map_err(|e| cannot_write(&self.out, e))?;
        self.sets.each(context, |set, folder, loaded| {
            let queries = judged_queries(&loaded.index, folder, &set.split)?;
            write_lines(&self.out.join(format!("{}.jsonl", set.name)), &queries)
        })
    }
}

fn write_lines(path: &Path, queries: &[JudgedQuery]) -> Result<()> {
    let file = std::fs::File::create(path).map_err(|e| cannot_write(path, e))?;
    let mut file = std::io::BufWriter::new(file);
    for query in queries {
        let line = serde_json::to_string(query)
            .map_err(|e| Error::Bug(format!("a query does not serialise: {e}")))?;
        writeln!(file, "{line}").map_err(|e| cannot_write(path, e))?;
    }
    file.flush().map_err(|e| cannot_write(path, e))
}

fn cannot_write(path: &Path, e: std::io::Error) -> Error {
    Error::operator_from(format!("cannot write {}", path.display()), e)
        .advice("check the folder and its permissions")
}

/// A set's name and its queries.
type Named = (String, Vec<JudgedQuery>);

fn read(files: &[PathBuf]) -> Result<Vec<Named>> {
    let read = |file: &PathBuf| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        Ok((name.into_owned(), JudgedQuery::read(file)?))
    };
    files.iter().map(read).collect()
}

impl FitCommand {
    fn run(self, context: &Context) -> Result<()> {
        let sets = read(&self.files)?;
        let options = FitOptions {
            steps: self.steps,
            query_penalty: self.query_penalty,
            ..FitOptions::default()
        };
        let of = |skipped: Option<&String>| {
            let chosen = sets.iter().filter(|(name, _)| Some(name) != skipped);
            let examples = balanced(chosen.map(|(_, queries)| queries.as_slice()));
            let names: Vec<String> = sets
                .iter()
                .map(|(name, queries)| {
                    let fitted = queries.iter().filter(|one| !one.is_held_out()).count();
                    format!("{name} ({fitted})")
                })
                .collect();
            let description = format!("fitted on queries of {}", names.join(", "));
            fit(&examples, None, &options, &description)
        };
        let combiner = of(None);
        let mut fitted = Fitted {
            sets: IndexMap::new(),
        };
        for (name, queries) in &sets {
            if fitted.sets.contains_key(name) {
                continue;
            }
            let held: Vec<&JudgedQuery> = queries.iter().filter(|one| one.is_held_out()).collect();
            let mean = |of: &dyn Fn(&JudgedQuery) -> f64| {
                held.iter().map(|one| of(one)).sum::<f64>() / held.len().max(1) as f64
            };
            let by = |of: fn(&[f32]) -> f32| {
                mean(&|one| {
                    let scores: Vec<f32> = one.candidates.iter().map(|row| of(row)).collect();
                    one.ndcg_by(&scores)
                })
            };
            let left_out = self.leave_one_out.then(|| of(Some(name)));
            let set = FittedSet {
                queries: queries.len(),
                held_out: held.len(),
                lexical: by(|row| row[0]),
                dense: by(|row| row[5]),
                minmax: by(|row| row[1] + row[4]),
                fitted: mean(&|one| one.ndcg(&combiner)),
                left_out: left_out.map(|other| mean(&|one| one.ndcg(&other))),
            };
            fitted.sets.insert(name.clone(), set);
        }
        if let Some(out) = &self.out {
            let text = toml::to_string(&combiner)
                .map_err(|e| Error::Bug(format!("a combiner does not serialise: {e}")))?;
            std::fs::write(out, text).map_err(|e| cannot_write(out, e))?;
        }
        context.print(&fitted, |fitted| {
            let mut text = String::from(
                "nDCG@10 on queries held out\nset         queries  lexical   dense  minmax  fitted  left out\n",
            );
            for (name, set) in &fitted.sets {
                // Writing into a string cannot fail.
                let _ = writeln!(
                    text,
                    "{name:11} {:7} {:8.4} {:7.4} {:7.4} {:7.4}  {}",
                    set.held_out,
                    set.lexical,
                    set.dense,
                    set.minmax,
                    set.fitted,
                    set.left_out.map_or("-".into(), |value| format!("{value:8.4}"))
                );
            }
            text
        })
    }
}

impl MeasureCommand {
    fn run(self, context: &Context) -> Result<()> {
        let mut reports = IndexMap::new();
        let combiner = self
            .combiner
            .as_deref()
            .map(Combiner::from_file)
            .transpose()?;
        self.sets.each(context, |set, folder, loaded| {
            if let Some(combiner) = &combiner {
                loaded.index.try_combiner(combiner.clone());
            }
            let report = measure_fusions(&loaded.index, folder, &set.split)?;
            reports.insert(set.name.clone(), report);
            Ok(())
        })?;
        context.print(&reports, |reports| {
            let tables = reports
                .iter()
                .map(|(name, report)| format!("{name}: {report}"));
            tables.collect::<Vec<_>>().join("\n")
        })
    }
}

impl SimulateCommand {
    fn run(self, context: &Context) -> Result<()> {
        let options = SimulationOptions {
            impressions: self.impressions,
            position_bias: self.position_bias,
            lexical: self.lexical_weight,
            logs: self.logs,
            ..SimulationOptions::default()
        };
        let mut reports = IndexMap::new();
        let mut all = Vec::new();
        for (name, queries) in read(&self.files)? {
            reports.insert(name, simulate(&queries, &options));
            all.extend(queries);
        }
        // Together there are more queries to tell a difference by.
        reports.insert("all".into(), simulate(&all, &options));
        context.print(&reports, |reports| {
            let tables = reports
                .iter()
                .map(|(name, report)| format!("{name}: {report}"));
            tables.collect::<Vec<_>>().join("\n")
        })
    }
}
