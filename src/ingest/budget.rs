//! Bytes and batches that may be under way at once.

use parking_lot::{Condvar, Mutex};

/// What is under way in a load, held to a number of bytes and of batches. One batch is always
/// let in, however large.
pub(super) struct Budget {
    bytes: usize,
    batches: usize,
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    batches: usize,
    closed: bool,
}

impl Budget {
    /// Lets so many bytes in so many batches be under way.
    pub(super) fn new(bytes: usize, batches: usize) -> Budget {
        Budget {
            bytes,
            batches,
            held: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits until a batch fits; false once nothing is taken any more.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let mut held = self.held.lock();
        while !held.closed
            && held.batches > 0
            && (held.batches >= self.batches || held.bytes.saturating_add(bytes) > self.bytes)
        {
            self.changed.wait(&mut held);
        }
        held.bytes = held.bytes.saturating_add(bytes);
        held.batches += 1;
        !held.closed
    }

    /// Waits until nothing is under way; false once nothing is taken any more.
    pub(super) fn wait_until_empty(&self) -> bool {
        let mut held = self.held.lock();
        while !held.closed && held.batches > 0 {
            self.changed.wait(&mut held);
        }
        !held.closed
    }

    /// After a batch of so many bytes has left.
    pub(super) fn give_back(&self, bytes: usize) {
        let mut held = self.held.lock();
        held.bytes = held.bytes.saturating_sub(bytes);
        held.batches = held.batches.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Turns everybody away from now on.
    pub(super) fn close(&self) {
        self.held.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_under_way_stays_within_it() {
        let budget = Arc::new(Budget::new(100, 3));
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for i in 0..200 {
                        let bytes = 10 + i % 50;
                        assert!(budget.take(bytes));
                        let sum = now.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(sum, Ordering::SeqCst);
                        now.fetch_sub(bytes, Ordering::SeqCst);
                        budget.give_back(bytes);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 100);
        // What is larger than all of it goes alone.
        assert!(budget.take(1000));
        let waits = std::thread::spawn({
            let budget = budget.clone();
            move || budget.take(1)
        });
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waits.is_finished());
        budget.give_back(1000);
        assert!(waits.join().unwrap());
    }

    #[test]
    fn closing_wakes_who_waits() {
        let budget = Arc::new(Budget::new(1, 1));
        assert!(budget.take(1));
        let waits = std::thread::spawn({
            let budget = budget.clone();
            move || budget.take(1)
        });
        budget.close();
        assert!(!waits.join().unwrap());
    }
}
