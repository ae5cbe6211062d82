//! `gleaner fusion`: fitting and measuring how the legs' answers become one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Subcommand;

use super::Context;
use super::eval::{Loaded, definition};
use crate::error::{Error, Result};
use crate::eval::{BeirFolder, JudgedQuery, judged_queries};

/// Fit and measure how the legs' answers become one.
#[derive(Debug, Subcommand)]
pub(super) enum FusionCommand {
    /// Write what is known of the candidates of judged queries, a JSON line for each query.
    Features(FeaturesCommand),
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

impl FusionCommand {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        match self {
            FusionCommand::Features(command) => command.run(context),
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
