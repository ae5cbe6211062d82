//! `gleaner feedback`: what people say about answers, and what an index learns from it.

use std::path::PathBuf;

use chrono::Utc;
use clap::Subcommand;
use serde::Serialize;

use super::Context;
use crate::error::{Code, Error, Problem, Result};
use crate::feedback::{
    FeedbackEvent, FitReport, FitRequest, export_feedback, fit_feedback, status,
};
use crate::index::CombinerStatus;
use crate::ingest::{Format, Source, SourceOptions};

/// Add, export and learn from feedback.
#[derive(Debug, Subcommand)]
pub(super) enum FeedbackCommand {
    /// Add the events of a JSONL file, all of them or none.
    Add {
        /// Name of the index.
        index: String,
        /// An event a line, as in POST /v1/feedback; `.gz` and `.zst` too, `-` for standard
        /// input.
        file: PathBuf,
    },
    /// Write the events to a Parquet file, a row for each document of each event.
    Export {
        /// Name of the index.
        index: String,
        /// The file.
        #[arg(long, value_name = "FILE.parquet")]
        to: PathBuf,
        /// Replace the file if it is there.
        #[arg(long)]
        force: bool,
    },
    /// Fit a combiner on the events, and use it if it wins on queries that are held back.
    Fit {
        /// Name of the index.
        index: String,
        /// Keep it, but do not use it even if it wins.
        #[arg(long)]
        keep_only: bool,
    },
    /// Use a version of the combiner from now on.
    Activate {
        /// Name of the index.
        index: String,
        /// The version; 0 for the one that is shipped.
        // `version` is the flag that every command has.
        #[arg(id = "combiner", value_name = "VERSION")]
        version: u32,
    },
    /// Go back to the version that was used before.
    Rollback {
        /// Name of the index.
        index: String,
    },
    /// Show what is kept and which combiner is used.
    Status {
        /// Name of the index.
        index: String,
    },
}

#[derive(Serialize)]
struct Added {
    index: String,
    added: usize,
}

#[derive(Serialize)]
struct Exported {
    index: String,
    file: PathBuf,
    events: u64,
    rows: u64,
}

impl FeedbackCommand {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let catalog = context.catalog()?;
        match self {
            FeedbackCommand::Add { index, file } => {
                let events = read(&file)?;
                let added = catalog.write(&index, |index, still| {
                    index.add_feedback(&events, still, None)?;
                    Ok(Added {
                        index: index.name().into(),
                        added: events.len(),
                    })
                })?;
                context.print(&added, |done| {
                    format!("{}: added {} events", done.index, done.added)
                })
            }
            FeedbackCommand::Export { index, to, force } => {
                let index = catalog.get(&index)?;
                let done = export_feedback(&index, &to, force)?;
                let exported = Exported {
                    index: index.name().into(),
                    file: to,
                    events: done.events,
                    rows: done.rows,
                };
                context.print(&exported, |done| {
                    format!(
                        "{}: {} events in {} rows of {}",
                        done.index,
                        done.events,
                        done.rows,
                        done.file.display()
                    )
                })
            }
            FeedbackCommand::Fit { index, keep_only } => {
                let request = FitRequest {
                    activate: !keep_only,
                };
                let report = fit_feedback(&*catalog.get(&index)?, &request)?;
                context.print(&report, fitted)
            }
            FeedbackCommand::Activate { index, version } => {
                let status = catalog.get(&index)?.activate_combiner(version)?;
                context.print(&status, in_use)
            }
            FeedbackCommand::Rollback { index } => {
                let status = catalog.get(&index)?.roll_back_combiner()?;
                context.print(&status, in_use)
            }
            FeedbackCommand::Status { index } => {
                let status = status(&*catalog.get(&index)?)?;
                context.print(&status, |status| {
                    let events = &status.events;
                    format!(
                        "{}: {} judgments, {} impressions, {} clicks without one\n{}",
                        status.index,
                        events.judgments,
                        events.impressions,
                        events.clicks,
                        in_use(&status.combiner)
                    )
                })
            }
        }
    }
}

fn in_use(status: &CombinerStatus) -> String {
    let named = |version: u32| match version {
        0 => "the one that is shipped".to_string(),
        version => format!("version {version}"),
    };
    let kept: Vec<String> = status.versions.iter().map(u32::to_string).collect();
    let kept = match kept.is_empty() {
        true => "none".to_string(),
        false => kept.join(", "),
    };
    let before = status
        .before
        .last()
        .map(|version| format!("; before: {}", named(*version)));
    format!(
        "combiner in use: {}{}; versions kept: {kept}",
        named(status.active),
        before.unwrap_or_default()
    )
}

fn fitted(report: &FitReport) -> String {
    let held = &report.held_back;
    format!(
        "version {} from {} queries with {} clicks and {} judged pairs\n\
         on {} queries held back: {:.4}, was {:.4} (p = {:.4})\n\
         propensities of ranks 1, 2, 3, 5, 10: {}; from {} pairs shown at several ranks\n\
         largest weight of a negative: {:.1}\n{}",
        report.version,
        report.queries,
        report.clicks,
        report.judgments,
        held.queries,
        held.after,
        held.before,
        held.p,
        [1, 2, 3, 5, 10]
            .map(|rank| format!("{:.2}", report.propensities.of(rank)))
            .join(" "),
        report.propensities.interventions,
        report.largest_weights.relevance,
        match (report.won, report.activated) {
            (true, true) => "it has won and is used from now on",
            (true, false) => "it has won and is not used; activate it to use it",
            (false, _) => "it has not won and is not used",
        }
    )
}

/// The events of a file, checked.
fn read(file: &std::path::Path) -> Result<Vec<Vec<u8>>> {
    let options = SourceOptions {
        format: Some(Format::Jsonl),
        ..SourceOptions::default()
    };
    let now = Utc::now();
    let mut events = Vec::new();
    for row in Source::open(file, &options)? {
        let row = row?;
        let line = format!("line {}", row.line.unwrap_or(row.number));
        let json = row.json.map_err(|problem| {
            Error::from(Problem {
                message: format!("{line}: {}", problem.message),
                ..problem
            })
        })?;
        let event: FeedbackEvent = serde_json::from_value(json)
            .map_err(|e| Problem::new(Code::InvalidFile, format!("{line} is not an event: {e}")))?;
        events.push(event.checked(&line, now)?.to_bytes()?);
    }
    if events.is_empty() {
        return Err(Problem::new(Code::InvalidFile, "the file holds no events")
            .field("file")
            .found(file.display())
            .expected("an event a line")
            .into());
    }
    Ok(events)
}
