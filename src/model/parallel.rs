//! Independent pieces of work on a few threads, results in order.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Result;

/// Does `work` for 0 to `count - 1` on at most `workers` threads, the caller's among
/// them; pieces are taken in order. After an error no further piece is begun, and the
/// first error by index is returned.
pub(crate) fn map<T: Send>(
    count: usize,
    workers: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let workers = workers.min(count);
    if workers <= 1 {
        return (0..count).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let turn = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            let result = work(index);
            if result.is_err() {
                next.store(count, Ordering::Relaxed);
            }
            done.push((index, result));
        }
    };
    // What is logged on the way belongs to whoever asked.
    let span = tracing::Span::current();
    let mut done = std::thread::scope(|scope| {
        let elsewhere = || span.in_scope(turn);
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(elsewhere)).collect();
        let mut done = turn();
        for other in others {
            match other.join() {
                Ok(part) => done.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn results_are_in_order_whatever_the_threads() {
        for workers in [1, 2, 7] {
            let squares = map(50, workers, |i| Ok(i * i)).unwrap();
            assert_eq!(squares, (0..50).map(|i| i * i).collect::<Vec<_>>());
        }
        assert!(map(0, 3, Ok).unwrap().is_empty());
    }

    #[test]
    fn an_error_ends_the_work() {
        let result = map(1000, 3, |i| match i {
            5 => Err(Error::Bug("five".to_owned())),
            _ => Ok(i),
        });
        assert!(matches!(result, Err(Error::Bug(_))));
    }
}
