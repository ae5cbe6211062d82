//! The command line: one file per command.
//!
//! With `--json` a command prints one document on standard output; logs and progress go
//! to standard error. Exit status: 0 success, 1 failure (of `doctor`: something it looked at
//! failed), 2 usage;
//! `encode` alone tells failures apart (75: trying again may help).

mod cascade;
mod code;
mod doctor;
mod encode;
mod entities;
mod entities_fit;
mod entities_link;
mod eval;
mod eval_entities;
mod eval_schema;
mod export;
mod feedback;
mod fusion;
mod index;
mod ingest;
mod ingest_code;
mod ingest_source;
mod jobs;
mod keys;
mod mcp;
mod models;
mod reindex;
mod schema;
mod schema_examples;
mod schema_permissions;
mod schema_retrieve;
mod schema_values;
mod schema_which;
mod search;
mod serve;
mod shell;
mod snapshot;
mod speed;
mod tune;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::index::Catalog;

/// Search by words and by meaning at once, in one process.
#[derive(Debug, Parser)]
#[command(name = "gleaner", version, about, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command; they win over environment and file.
#[derive(Debug, Args)]
struct Global {
    /// Configuration file [default: config.toml here, if there is one].
    #[arg(
        long,
        global = true,
        env = "GLEANER_CONFIG",
        value_name = "FILE",
        // Any text: a variable that is set to nothing counts as not set.
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    config: Option<PathBuf>,
    /// Data folder [default: data.folder of the configuration].
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder with models, searched before the configured ones; may be repeated.
    #[arg(long = "models-dir", global = true, value_name = "DIR")]
    models: Vec<PathBuf>,
    /// What to log, for example `debug` or `info,tantivy=debug`.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Print one JSON document on standard output.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the REST API.
    Serve(serve::Serve),
    /// Create, list, show, change, compact, reindex, attach and remove indexes.
    #[command(subcommand)]
    Index(index::IndexCommand),
    /// Write what models of code are trained on.
    #[command(subcommand)]
    Code(code::CodeCommand),
    /// Load Parquet, JSONL or CSV files, or a folder of source code, into an index.
    Ingest(ingest::Ingest),
    /// Encode rows of a source into a Parquet file, which ingest loads without encoding.
    Encode(encode::Encode),
    /// Cut sources into units for encode: on this machine, or on a cluster.
    Manifest(encode::Manifest),
    /// List, show, pause, resume, cancel and retry loads.
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Write an index to a Parquet file, which ingest reads back as it was.
    Export(export::Export),
    /// Search an index.
    Search(search::Search),
    /// Build, list, show and change catalogs of entities' names.
    #[command(subcommand)]
    Entities(entities::EntitiesCommand),
    /// Measure the quality of answers.
    #[command(subcommand)]
    Eval(eval::Eval),
    /// Find what is wrong with this installation, and say what to do about it.
    Doctor(doctor::Doctor),
    /// Add, export and learn from what people say about answers.
    #[command(subcommand)]
    Feedback(feedback::FeedbackCommand),
    /// Fit and measure how the legs' answers become one.
    #[command(subcommand)]
    Fusion(fusion::FusionCommand),
    /// Ask a server how it is.
    Health(doctor::AskHealth),
    /// List, add, check, measure and remove models.
    #[command(subcommand)]
    Models(models::Models),
    /// Offer searches, entities and databases as tools to the assistant that starts this, over
    /// standard input and output.
    Mcp(mcp::Mcp),
    /// Import, list, show, describe and remove the schemas of databases.
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Write a shell's completion of this command line.
    Completions(shell::Completions),
    /// Write manual pages.
    Man(shell::Man),
    /// Take, list, verify, restore and remove snapshots of indexes.
    Snapshot(snapshot::Snapshots),
}

/// What a command works with.
struct Context {
    config: Config,
    json: bool,
}

impl Context {
    fn catalog(&self) -> Result<Arc<Catalog>> {
        Catalog::new(&self.config).map(Arc::new)
    }

    /// Prints the result: as JSON where that was asked for, in words otherwise.
    fn print<T: Serialize>(&self, result: &T, words: impl FnOnce(&T) -> String) -> Result<()> {
        let text = if self.json {
            serde_json::to_string(result)
                .map_err(|e| Error::Bug(format!("a result does not serialise: {e}")))?
        } else {
            words(result)
        };
        print(&text)
    }
}

/// Writes text to standard output.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough (`| head`).
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Error::operator_from("cannot write to standard output", e)),
        Ok(()) => Ok(()),
    }
}

/// Runs the command line and returns its exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_unit = matches!(cli.command, Command::Encode(_));
    match run(cli) {
        Ok(status) => status,
        Err(error) => {
            // Whoever reads has left, perhaps (`2>&1 | head`): no reason to panic.
            let _ = writeln!(std::io::stderr(), "gleaner: {error}");
            match is_unit {
                true => ExitCode::from(encode::Exit::of(&error) as u8),
                false => ExitCode::FAILURE,
            }
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        // They need no configuration, and are made where a package is built.
        Command::Completions(command) => return command.run(),
        Command::Man(command) => return command.run(),
        _ => {}
    }
    let file = cli
        .global
        .config
        .filter(|file| !file.as_os_str().is_empty());
    let loaded = Config::load(file.as_deref());
    let (mut config, command) = match (loaded, cli.command) {
        (Ok(config), command) => (config, command),
        // That is what it was asked to find.
        (Err(error), Command::Doctor(doctor)) => {
            return doctor.without_configuration(cli.global.json, &error);
        }
        (Err(error), _) => return Err(error),
    };
    if let Some(folder) = cli.global.data {
        config.data.folder = folder;
    }
    if !cli.global.models.is_empty() {
        let configured = std::mem::take(&mut config.models.folders);
        config.models.folders = cli.global.models.into_iter().chain(configured).collect();
    }
    if let Some(filter) = cli.global.log {
        config.log.filter = filter;
    }
    // Only a server is traced: commands are watched by whoever runs them.
    let traced = matches!(command, Command::Serve(_)).then_some(&config.telemetry);
    let _telemetry = crate::telemetry::start(&config.log, traced)?;
    let context = Context {
        config,
        json: cli.global.json,
    };
    match command {
        Command::Doctor(command) => return command.run(&context, file),
        Command::Serve(command) => command.run(context),
        Command::Index(command) => command.run(&context),
        Command::Code(command) => command.run(&context),
        Command::Ingest(command) => command.run(&context),
        Command::Encode(command) => command.run(&context),
        Command::Manifest(command) => command.run(&context),
        Command::Jobs(command) => command.run(&context),
        Command::Keys(command) => command.run(&context),
        Command::Export(command) => command.run(&context),
        Command::Search(command) => command.run(&context),
        Command::Entities(command) => command.run(&context),
        Command::Eval(command) => command.run(&context),
        Command::Feedback(command) => command.run(&context),
        Command::Fusion(command) => command.run(&context),
        Command::Health(command) => command.run(&context),
        Command::Models(command) => command.run(&context),
        Command::Mcp(command) => command.run(&context),
        Command::Schema(command) => command.run(&context),
        Command::Snapshot(command) => command.run(context),
        Command::Completions(_) | Command::Man(_) => Ok(()),
    }?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// `make schemas` writes it anew.
    #[test]
    fn the_reference_of_commands_is_what_they_take() {
        let options = clap_markdown::MarkdownOptions::new()
            .title("Command line".into())
            .show_footer(false);
        let text = clap_markdown::help_markdown_custom::<Cli>(&options);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli-reference.md");
        if std::env::var_os("GLEANER_REGENERATE").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == text,
            "docs/cli-reference.md: `make schemas` writes it anew"
        );
    }

    /// The commands in a page's blocks of shell, each as a shell would split it.
    fn commands(page: &str) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let mut is_shell = false;
        let joined = page.replace("\\\n", " ");
        for line in joined.lines() {
            if line.trim_start().starts_with("```") {
                is_shell = !is_shell && line.trim() == "```sh";
                continue;
            }
            if !is_shell {
                continue;
            }
            let words = shlex::split(line).unwrap_or_default();
            let ends = |word: &str| {
                let redirects = ["<", ">", "2>"].iter().any(|sign| word.starts_with(sign));
                matches!(word, "|" | "||" | "&&" | ";" | "&") || (redirects && !word.contains(' '))
            };
            for command in words.split(|word| ends(word)) {
                let set = |word: &&String| word.contains('=') && !word.starts_with('-');
                let command: Vec<String> = command.iter().skip_while(set).cloned().collect();
                let name = command.first().map(|name| name.trim_start_matches("bin/"));
                if name == Some("gleaner") {
                    found.push(command);
                }
            }
        }
        found
    }

    /// What the documents say to type is what the program takes.
    #[test]
    fn every_documented_command_is_understood() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let docs = fs::read_dir(root.join("docs")).unwrap();
        let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
        pages.retain(|path| path.extension().is_some_and(|kind| kind == "md"));
        pages.push(root.join("README.md"));
        let (mut count, mut wrong) = (0, Vec::new());
        for path in pages {
            for command in commands(&fs::read_to_string(&path).unwrap()) {
                count += 1;
                if let Err(error) = Cli::command().try_get_matches_from(&command) {
                    let error = error.to_string();
                    let first = error.lines().next().unwrap_or_default();
                    wrong.push(format!(
                        "{}: {}: {first}",
                        path.display(),
                        command.join(" ")
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(count > 80, "only {count} commands were found");
    }
}
