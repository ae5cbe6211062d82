//! `gleaner ingest --code`: a folder of source code into an index.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::Context;
use super::ingest::is_not_found;
use crate::code::Limits;
use crate::error::{Error, Result};
use crate::index::{Catalog, Definition, Index};
use crate::ingest::{
    CodeOptions, CodeSummary, Loading, Progress, Reporter, Show, Summary, WalkLimits, check_folder,
    check_repository, load_code, preview_code,
};

/// The definition that `--create` makes an index of.
const DEFINITION: &str = include_str!("../../indexes/code.toml");

#[derive(Debug, Args)]
pub(super) struct CodeFlags {
    /// Index the source code and the Markdown below this folder, in place of files: cut into
    /// functions and types, or into sections; what did not change is left alone, what went away is
    /// removed.
    #[arg(long, visible_alias = "folder", value_name = "DIR", conflicts_with_all = ["files", "SourceFlags"])]
    code: Option<PathBuf>,
    /// What the ids of its documents begin with [default: the folder's name].
    #[arg(long, value_name = "NAME", requires = "code")]
    repository: Option<String>,
    /// Let the folder take the place of what is indexed under its name, although it shares less than
    /// half of its files.
    #[arg(long, requires = "code")]
    replace: bool,
    /// Change nothing. Of a folder of code, say what would be added, changed and removed; of
    /// files, what is in the columns of the first one, how they would become fields (a mapping
    /// is proposed where none is given), and what its first ten documents would be.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Serialize)]
struct LoadedCode {
    index: String,
    repository: String,
    dry_run: bool,
    #[serde(flatten)]
    code: CodeSummary,
    /// What was written, and how quickly.
    written: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejects: Option<PathBuf>,
}

impl CodeFlags {
    pub(super) fn folder(&self) -> Option<&Path> {
        self.code.as_deref()
    }

    pub(super) fn run(
        self,
        context: &Context,
        name: &str,
        create: bool,
        rejects: Option<PathBuf>,
        quiet: bool,
    ) -> Result<()> {
        let folder = self.code.unwrap_or_default();
        let repository = match self.repository {
            Some(repository) => repository,
            None => folder_name(&folder),
        };
        let options = CodeOptions {
            repository: repository.clone(),
            walk: WalkLimits::default(),
            without: kept(&context.config.data.folder),
            replace: self.replace,
            parse: Limits::default(),
        };
        let catalog = context.catalog()?;
        let progress = Arc::new(Progress::new());
        let show = if quiet { Show::Nothing } else { Show::Auto };
        let reporter = Reporter::start(progress.clone(), show);
        let outcome = if self.dry_run {
            let index = match catalog.get(name) {
                Err(error) if create && is_not_found(&error) => None,
                got => Some(got?),
            };
            preview_code(index.as_deref(), &folder, &options, &progress).map(|code| (code, None))
        } else {
            let rejects = rejects.unwrap_or_else(|| PathBuf::from(format!("{name}-rejects.jsonl")));
            let loading = Loading {
                settings: &context.config.ingest,
                rejects: &rejects,
                progress: &progress,
            };
            // What is wrong at first sight makes no index.
            check_repository(&repository)?;
            check_folder(&folder)?;
            let index = open(&catalog, name, create)?;
            let loaded = load_code(&index, &folder, &options, loading);
            if loaded.is_ok() {
                index.wait_for_background();
            }
            loaded
        };
        let written = reporter.finish();
        let (code, rejects) = outcome?;
        let loaded = LoadedCode {
            index: name.to_string(),
            repository,
            dry_run: self.dry_run,
            code,
            written,
            rejects,
        };
        context.print(&loaded, in_words)
    }
}

/// What is kept in a data folder and is nobody's code, also where that folder is the one to index.
fn kept(data: &Path) -> Vec<PathBuf> {
    let inner = ["indexes", "snapshots", "entities", "rejects"];
    let inner = inner.iter().map(|name| data.join(name));
    std::iter::once(data.to_path_buf()).chain(inner).collect()
}

fn open(catalog: &Arc<Catalog>, name: &str, create: bool) -> Result<Arc<Index>> {
    match catalog.get(name) {
        Err(error) if create && is_not_found(&error) => {
            let definition = Definition::from_toml(DEFINITION)
                .map_err(|e| Error::Bug(format!("the definition for code cannot be read: {e}")))?;
            catalog.create(Definition {
                name: name.to_string(),
                ..definition
            })
        }
        got => got,
    }
}

/// The name of a folder, also of one that is given as `.` or `..`.
pub(super) fn folder_name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.into());
    let name = whole.file_name().unwrap_or_default();
    name.to_string_lossy().replace('#', "_")
}

fn in_words(loaded: &LoadedCode) -> String {
    let code = &loaded.code;
    let counts = |counts: &std::collections::BTreeMap<&str, u64>| {
        let counts: Vec<String> = counts
            .iter()
            .map(|(name, n)| format!("{n} {name}"))
            .collect();
        counts.join(", ")
    };
    let mut text = format!(
        "{}{}: {} files of {} in {} units: {} added, {} changed, {} unchanged, {} removed",
        if loaded.dry_run { "would do: " } else { "" },
        loaded.index,
        code.files,
        loaded.repository,
        code.units,
        code.added,
        code.changed,
        code.unchanged,
        code.removed,
    );
    if !loaded.dry_run {
        text += &format!(
            "; {} passages encoded, {} rejected; {:.1} s",
            loaded.written.passages, loaded.written.rejected, loaded.written.seconds
        );
    }
    if !code.languages.is_empty() {
        text += &format!("\nlanguages (files): {}", counts(&code.languages));
    }
    if code.broken > 0 {
        text += &format!(
            "\n{} files do not follow their grammar everywhere: what could be parsed is indexed",
            code.broken
        );
    }
    for (path, reason) in &code.as_text {
        text += &format!("\nindexed as text: {path}: {reason}");
    }
    if !code.skipped.is_empty() {
        text += &format!("\nnot indexed (files): {}", counts(&code.skipped));
        for (reason, paths) in &code.skipped_files {
            let more = code.skipped[reason] - paths.len() as u64;
            text += &format!("\n  {reason}: {}", paths.join(", "));
            if more > 0 {
                text += &format!(" and {more} more");
            }
        }
    }
    if let Some(path) = &loaded.rejects {
        text += &format!("\nrejected documents and their reasons: {}", path.display());
    }
    text
}
