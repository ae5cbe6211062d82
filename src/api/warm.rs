//! Opens every index and runs every model once, on a thread beside the server, so that
//! the first search does not pay for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, info};

use super::error::in_full;
use crate::error::{Code, Error, Result};
use crate::index::{Catalog, Index};
use crate::model::{ScoreOptions, Task};

/// How long after a failure it is tried again: an operator who mends it need not restart.
const AGAIN: Duration = Duration::from_secs(5);

/// What is still missing before every request is answered at its usual pace.
pub(super) struct Readiness(Mutex<Vec<String>>);

impl Default for Readiness {
    fn default() -> Self {
        Readiness(Mutex::new(vec!["the indexes are being opened".into()]))
    }
}

impl Readiness {
    /// What is missing; nothing when ready.
    pub(super) fn reasons(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// The thread that warms up; stopped and waited for when dropped.
pub(super) struct WarmUp {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl WarmUp {
    /// Starts the thread.
    pub(super) fn start(catalog: Arc<Catalog>, readiness: Arc<Readiness>) -> Result<WarmUp> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("warm-up".into())
            .spawn(move || warm(&catalog, &readiness, &stopped))
            .map_err(|e| Error::operator_from("cannot start a thread", e))?;
        Ok(WarmUp {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for WarmUp {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

fn warm(catalog: &Catalog, readiness: &Readiness, stopped: &Receiver<()>) {
    let started = Instant::now();
    loop {
        let mut reasons = Vec::new();
        match catalog.names_on_disk() {
            Ok(names) => {
                for name in names {
                    if stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Empty) {
                        return;
                    }
                    match catalog.wait_for(&name).and_then(|index| warm_index(&index)) {
                        Ok(()) => {}
                        // Removed since the names were read.
                        Err(e) if e.problem().is_some_and(|p| p.code == Code::IndexNotFound) => {}
                        Err(e) => reasons.push(reason(&name, &e, readiness)),
                    }
                }
            }
            Err(e) => {
                error!(detail = in_full(&e), "the indexes cannot be listed");
                reasons.push("the indexes cannot be listed; the log says why".into());
            }
        }
        for (name, status) in catalog.attached() {
            if status.snapshot.is_none() {
                reasons.push(format!("index {name:?} is attached and not downloaded yet"));
            }
        }
        let ready = reasons.is_empty();
        *readiness.0.lock() = reasons;
        if ready {
            info!(took_ms = started.elapsed().as_millis() as u64, "ready");
            return;
        }
        if stopped.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn warm_index(index: &Index) -> Result<()> {
    let has_model = index
        .definition()
        .embedding
        .as_ref()
        .is_some_and(|embedding| embedding.model.is_some());
    if has_model {
        index.encoder()?.encode(Task::Query, &["warm up"])?;
    }
    let rerank = index.definition().search.rerank.as_ref();
    let rerank = rerank.filter(|rerank| rerank.by_default);
    if let Some(model) = rerank.and_then(|rerank| rerank.model.as_deref()) {
        let reranker = index.reranker(model)?;
        reranker.score("warm up", &["warm up"], &ScoreOptions::default())?;
    }
    Ok(())
}

/// What a caller is told; the log hears the whole story, once.
fn reason(name: &str, error: &Error, readiness: &Readiness) -> String {
    let reason = match error {
        Error::User(problem) => format!("index {name:?}: {}", problem.message),
        _ => format!("index {name:?} cannot be used; the log says why"),
    };
    if !readiness.0.lock().contains(&reason) {
        error!(
            index = name,
            detail = in_full(error),
            "an index is not ready; trying again every few seconds"
        );
    }
    reason
}
