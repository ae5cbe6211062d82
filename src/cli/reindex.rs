//! `gleaner index reindex`: an index made anew beside the one that is in use.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::info;

use super::Context;
use crate::error::{Error, Result};
use crate::index::{Catalog, Reindex, ReindexPhase, ReindexProgress, ReindexRequest};

/// Time between two drawings of the line on a terminal.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// Time between two log lines.
const LOG_EVERY: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Reindexed {
    #[serde(flatten)]
    progress: ReindexProgress,
    documents_now: u64,
}

pub(super) fn run(
    context: &Context,
    catalog: &Arc<Catalog>,
    name: &str,
    request: ReindexRequest,
) -> Result<()> {
    let into = request.into.clone();
    let reindex = catalog.reindex(name, request)?;
    watch(&reindex);
    if let Some(error) = reindex.error() {
        return Err(match &*error {
            Error::User(problem) => problem.as_ref().clone().into(),
            other => Error::operator(other.to_string()),
        });
    }
    let index = catalog.get(&into)?;
    // Ending now would throw away the graph that is being built.
    index.wait_for_background();
    let done = Reindexed {
        progress: reindex.progress(),
        documents_now: index.view().documents,
    };
    context.print(&done, |done| {
        let progress = &done.progress;
        let alias = match &progress.alias {
            Some(alias) => format!("; {alias} stands for it now"),
            None => String::new(),
        };
        format!(
            "made {} of {}: {} documents, {} encoded, vectors of {} taken over; {:.1} s{alias}",
            progress.into,
            progress.source,
            done.documents_now,
            progress.encoded,
            progress.carried,
            progress.seconds
        )
    })
}

/// Shows how far it has come until it has ended.
fn watch(reindex: &Reindex) {
    let draws = std::io::stderr().is_terminal();
    let mut logged = Instant::now();
    while !reindex.wait_for(DRAW_EVERY) {
        let now = reindex.progress();
        if draws {
            // A terminal that is gone shows nothing more.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(&now));
        } else if logged.elapsed() >= LOG_EVERY {
            logged = Instant::now();
            info!(
                documents = now.documents,
                of = now.documents_total,
                behind = now.behind,
                encoded = now.encoded,
                "reindexing"
            );
        }
    }
    if draws {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

fn line(now: &ReindexProgress) -> String {
    match now.phase {
        ReindexPhase::Copying => format!(
            "{} of {} documents, {} encoded",
            now.documents, now.documents_total, now.encoded
        ),
        ReindexPhase::CatchingUp | ReindexPhase::Swapping => {
            format!("{} operations behind", now.behind)
        }
    }
}
