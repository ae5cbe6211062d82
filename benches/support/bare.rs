//! The side of bare ONNX Runtime: inputs that are tokens already, cut into batches, run on as
//! many sessions.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;

/// Inputs in batches of at most `most` tokens, longest first: of one length, or where `padded`
/// as long as their longest. A single one may be longer.
pub fn batches<T>(
    mut inputs: Vec<T>,
    tokens: impl Fn(&T) -> usize,
    most: usize,
    padded: bool,
) -> Vec<Vec<T>> {
    inputs.sort_by_key(|input| Reverse(tokens(input)));
    let mut batches: Vec<Vec<T>> = Vec::new();
    for input in inputs {
        match batches.last_mut() {
            Some(batch)
                if (padded || tokens(&batch[0]) == tokens(&input))
                    && (batch.len() + 1) * tokens(&batch[0]) <= most =>
            {
                batch.push(input);
            }
            _ => batches.push(vec![input]),
        }
    }
    batches
}

/// Seconds that the sessions take for the batches, each taking the next.
pub fn run<S: Send, B: Sync>(
    sessions: &mut [S],
    batches: &[B],
    work: impl Fn(&mut S, &B) -> Result<()> + Sync,
) -> Result<f64> {
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let work = &work;
    std::thread::scope(|scope| -> Result<()> {
        let runs: Vec<_> = sessions
            .iter_mut()
            .map(|session| {
                scope.spawn(|| -> Result<()> {
                    while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                        work(session, batch)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for run in runs {
            run.join()
                .map_err(|_| anyhow::anyhow!("a run panicked"))??;
        }
        Ok(())
    })?;
    Ok(started.elapsed().as_secs_f64())
}
