//! Bounds on work: how much is done at once, how many wait for it, and how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::panic_message;
use crate::error::{Code, Error, Problem, Result};

/// Lets in what fits its capacity; lets a bounded number wait for a bounded time; turns
/// the rest away. Those who wait are served in order.
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    capacity: u32,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
    /// Turned away because as many waited as may.
    full: AtomicU64,
    /// Turned away because they waited as long as they may.
    late: AtomicU64,
}

/// What a gate has let in, and what not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GateFigures {
    /// Units of work that fit.
    pub capacity: u64,
    /// Units that are under way.
    pub in_use: u64,
    /// Callers that wait.
    pub waiting: u64,
    /// Callers that were turned away because as many waited as may.
    pub full: u64,
    /// Callers that were turned away because they waited as long as they may.
    pub late: u64,
}

impl Gate {
    /// A gate with room for `capacity` units of work, where at most `queue` callers wait
    /// for at most `patience`.
    pub(super) fn new(capacity: usize, queue: usize, patience: Duration) -> Gate {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX).max(1);
        Gate {
            // 2^32 - 1 permits are far below the semaphore's own limit on 64 bits; on 32
            // bits no machine has room for that much work.
            permits: Arc::new(Semaphore::new(
                (capacity as usize).min(Semaphore::MAX_PERMITS),
            )),
            capacity,
            waiting: AtomicUsize::new(0),
            queue,
            patience,
            full: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    pub(super) fn figures(&self) -> GateFigures {
        let free = self.permits.available_permits() as u64;
        let capacity = u64::from(self.capacity);
        GateFigures {
            capacity,
            in_use: capacity.saturating_sub(free),
            waiting: self.waiting.load(Ordering::Relaxed) as u64,
            full: self.full.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
        }
    }

    /// An error that says that as many are at work as may be, for callers that do not wait.
    pub(super) fn refuse(&self, reason: &str) -> Error {
        self.full.fetch_add(1, Ordering::Relaxed);
        overloaded(reason)
    }

    /// Waits until `units` fit, or until the patience is used up. Dropping the future
    /// gives the place in the queue back.
    ///
    /// # Errors
    /// `overloaded` when the queue is full or the wait was too long.
    pub(super) async fn enter(&self, units: u32) -> Result<Permit> {
        let units = units.min(self.capacity);
        if let Some(permit) = self.try_enter(units) {
            return Ok(permit);
        }
        let _place = self.take_place()?;
        let permit = self.permits.clone().acquire_many_owned(units);
        match tokio::time::timeout(self.patience, permit).await {
            Ok(Ok(permit)) => Ok(Permit(Arc::new(permit))),
            Ok(Err(_)) => Err(Error::Bug("a gate was closed".into())),
            Err(_) => {
                self.late.fetch_add(1, Ordering::Relaxed);
                Err(overloaded("no request finished while this one waited"))
            }
        }
    }

    /// Enters without waiting, if `units` fit now.
    pub(super) fn try_enter(&self, units: u32) -> Option<Permit> {
        let permit = self.permits.clone().try_acquire_many_owned(units).ok()?;
        Some(Permit(Arc::new(permit)))
    }

    fn take_place(&self) -> Result<Place<'_>> {
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            return Err(self.refuse("as many requests wait as may wait"));
        }
        Ok(place)
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn overloaded(reason: &str) -> Error {
    Problem::new(
        Code::Overloaded,
        format!("the server is busy: {reason}; try again in a second"),
    )
    .into()
}

/// The right to work, held until dropped and until what it runs has ended.
pub(super) struct Permit(Arc<OwnedSemaphorePermit>);

impl Permit {
    /// Runs blocking work on a thread of its own. When the caller leaves, the work that
    /// has begun is finished, and its permit is kept until then: those who left still
    /// count.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let held = self.0.clone();
        let span = tracing::Span::current();
        let done = tokio::task::spawn_blocking(move || {
            let _held = held;
            span.in_scope(work)
        })
        .await;
        match done {
            Ok(result) => result,
            Err(error) if error.is_panic() => {
                Err(Error::Bug(panic_message(error.into_panic().as_ref())))
            }
            Err(_) => Err(Error::Bug("work was cancelled before it began".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Permit>) -> Option<Code> {
        result.err().and_then(|e| e.problem().map(|p| p.code))
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_and_a_leaver_frees_a_place() {
        let gate = Arc::new(Gate::new(1, 1, Duration::from_secs(60)));
        let working = gate.enter(1).await.unwrap();
        let waits = {
            let gate = gate.clone();
            tokio::spawn(async move { gate.enter(1).await })
        };
        while gate.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(code(gate.enter(1).await), Some(Code::Overloaded));
        let expected = GateFigures {
            capacity: 1,
            in_use: 1,
            waiting: 1,
            full: 1,
            late: 0,
        };
        assert_eq!(gate.figures(), expected);
        // The one who waits leaves: the place is free, and the permit never reaches it.
        waits.abort();
        assert!(waits.await.is_err());
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
        drop(working);
        assert!(gate.enter(1).await.is_ok());
    }

    #[tokio::test]
    async fn patience_ends() {
        let gate = Gate::new(1, 8, Duration::from_millis(5));
        let _working = gate.enter(1).await.unwrap();
        assert_eq!(code(gate.enter(1).await), Some(Code::Overloaded));
        let figures = gate.figures();
        assert_eq!((figures.late, figures.full, figures.waiting), (1, 0, 0));
    }

    #[tokio::test]
    async fn work_under_way_keeps_its_permit_when_the_caller_leaves() {
        let gate = Arc::new(Gate::new(1, 0, Duration::from_millis(5)));
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let caller = {
            let gate = gate.clone();
            tokio::spawn(async move {
                let permit = gate.enter(1).await?;
                permit
                    .run(move || {
                        let _ = finished.recv();
                        Ok(())
                    })
                    .await
            })
        };
        while gate.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        // Give the work time to begin: what has not begun is cancelled with its caller.
        tokio::time::sleep(Duration::from_millis(20)).await;
        caller.abort();
        assert!(caller.await.is_err());
        assert!(gate.try_enter(1).is_none());
        finish.send(()).unwrap();
        while gate.try_enter(1).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_the_permit() {
        let gate = Gate::new(1, 0, Duration::from_millis(5));
        let permit = gate.enter(1).await.unwrap();
        let result: Result<()> = permit.run(|| panic!("broken on purpose")).await;
        assert!(matches!(result, Err(Error::Bug(m)) if m.contains("broken on purpose")));
        drop(permit);
        assert!(gate.try_enter(1).is_some());
    }
}
