//! Running the units of a manifest on this machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{ShardEncoder, ShardState, ShardSummary, Unit};
use crate::error::Error;
use crate::ingest::Progress;

/// A unit that has no shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFailure {
    /// The source with its part.
    pub source: String,
    /// The shard that is not there.
    pub target: String,
    /// Why.
    pub error: String,
    /// Whether trying again may help: the trouble is the disk's, the network's or the
    /// machine's, not the source's.
    pub try_again: bool,
}

/// The outcome of running a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Units in the manifest.
    pub units: u64,
    /// Of these, those whose shards were made.
    pub encoded: u64,
    /// Those whose shards were there already.
    pub skipped: u64,
    /// Those that have no shard.
    pub failed: Vec<UnitFailure>,
    /// Rows read, of all units that have their shard.
    pub rows: u64,
    /// Documents in the shards.
    pub documents: u64,
    /// Rows that are rejects.
    pub rejected: u64,
    /// Passages with a vector.
    pub passages: u64,
    /// Tokens encoded.
    pub tokens: u64,
    /// Time taken.
    pub seconds: f64,
}

/// Runs units, so many at once. One that fails does not keep the others from being run; running
/// them all again does what is left.
pub fn run_units(
    encoder: &ShardEncoder,
    units: &[Unit],
    workers: usize,
    progress: &Progress,
) -> RunSummary {
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<ShardSummary, Error>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, units.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(unit) = units.get(number) else {
                        return;
                    };
                    let outcome = encoder.encode(unit, progress);
                    if let Err(error) = &outcome {
                        tracing::error!(unit = unit.spelled(), %error, "a unit failed");
                    }
                    done.lock().push((number, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(number, _)| *number);
    let mut summary = RunSummary {
        units: units.len() as u64,
        encoded: 0,
        skipped: 0,
        failed: Vec::new(),
        rows: 0,
        documents: 0,
        rejected: 0,
        passages: 0,
        tokens: 0,
        seconds: 0.0,
    };
    for (number, outcome) in done {
        match outcome {
            Ok(unit) => {
                match unit.state {
                    ShardState::Encoded => summary.encoded += 1,
                    ShardState::Skipped => summary.skipped += 1,
                }
                summary.rows += unit.rows;
                summary.documents += unit.documents;
                summary.rejected += unit.rejected;
                summary.passages += unit.passages;
                summary.tokens += unit.tokens;
            }
            Err(error) => summary.failed.push(UnitFailure {
                source: units[number].spelled(),
                target: units[number].target.clone(),
                try_again: matches!(error, Error::Operator(_)),
                error: error.to_string(),
            }),
        }
    }
    summary.seconds = started.elapsed().as_secs_f64();
    summary
}
