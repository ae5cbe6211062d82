//! What is kept for callers between their requests, for a while.
//!
//! A cursor holds a view, and a view holds memory and disk. So there are at most so many of
//! them, the one that was used least recently makes room for a new one, and what nobody
//! comes back for is dropped when its time is over, by a thread that lives as long as
//! something is held.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Something kept, of a type that only its keeper knows.
type Kept = Arc<dyn Any + Send + Sync>;

/// Things kept, by id.
pub struct Held {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    things: HashMap<String, Thing>,
    /// Whether a thread looks after them.
    watched: bool,
    closed: bool,
}

struct Thing {
    what: Kept,
    keep: Duration,
    used: Instant,
}

impl Thing {
    fn ends(&self) -> Instant {
        self.used + self.keep
    }
}

impl Held {
    pub(super) fn new() -> Held {
        Held {
            inner: Arc::default(),
        }
    }

    /// Keeps `what` until it was not used for the time of `keep`, and returns its id. There
    /// are at most `most` things afterwards.
    pub(crate) fn keep(&self, what: Kept, keep: Duration, most: usize) -> String {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut gone = Vec::new();
        {
            let mut state = self.inner.state.lock();
            while state.things.len() >= most.max(1) {
                let oldest = state.things.iter().min_by_key(|(_, thing)| thing.used);
                let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                    break;
                };
                gone.extend(state.things.remove(&oldest));
            }
            let used = Instant::now();
            state.things.insert(id.clone(), Thing { what, keep, used });
            if !state.watched {
                state.watched = self.watch();
            }
        }
        self.inner.changed.notify_all();
        // Not under the lock: the last holder of a view gives documents back to the disk.
        drop(gone);
        id
    }

    /// What is kept under an id; its time begins anew. None if it is not kept any more.
    pub(crate) fn get(&self, id: &str) -> Option<Kept> {
        let mut state = self.inner.state.lock();
        let now = Instant::now();
        let thing = state
            .things
            .get_mut(id)
            .filter(|thing| thing.ends() > now)?;
        thing.used = now;
        Some(thing.what.clone())
    }

    /// How many things are kept.
    pub fn len(&self) -> usize {
        self.inner.state.lock().things.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn watch(&self) -> bool {
        let inner = self.inner.clone();
        let thread = std::thread::Builder::new().name("cursors".into());
        match thread.spawn(move || inner.watch()) {
            Ok(_) => true,
            Err(error) => {
                // The next one that is kept tries again.
                tracing::warn!(%error, "no thread to drop expired cursors");
                false
            }
        }
    }
}

impl Inner {
    fn watch(&self) {
        let mut state = self.state.lock();
        while !state.closed {
            let now = Instant::now();
            let expired = state.things.extract_if(|_, thing| thing.ends() <= now);
            let expired: Vec<_> = expired.collect();
            if !expired.is_empty() {
                parking_lot::MutexGuard::unlocked(&mut state, || drop(expired));
                continue;
            }
            match state.things.values().map(Thing::ends).min() {
                Some(next) => {
                    self.changed.wait_until(&mut state, next);
                }
                None => break,
            }
        }
        state.watched = false;
        drop(state);
        self.changed.notify_all();
    }
}

/// Longest wait for the thread that drops what has expired.
const CLOSING: Duration = Duration::from_secs(10);

impl Drop for Held {
    /// Nothing that was kept is alive afterwards, unless a caller is using it: the store
    /// under an index must be closed before its folder may belong to another one.
    fn drop(&mut self) {
        let gone = {
            let mut state = self.inner.state.lock();
            state.closed = true;
            std::mem::take(&mut state.things)
        };
        self.inner.changed.notify_all();
        drop(gone);
        let until = Instant::now() + CLOSING;
        let mut state = self.inner.state.lock();
        while state.watched && !self.inner.changed.wait_until(&mut state, until).timed_out() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(held: &Held, ms: u64, most: usize) -> (String, std::sync::Weak<u32>) {
        let what = Arc::new(7u32);
        let weak = Arc::downgrade(&what);
        (held.keep(what, Duration::from_millis(ms), most), weak)
    }

    #[test]
    fn what_nobody_comes_back_for_is_dropped() {
        let held = Held::new();
        let (short, short_kept) = thing(&held, 30, 8);
        let (long, long_kept) = thing(&held, 60_000, 8);
        let begun = Instant::now();
        while short_kept.strong_count() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(held.get(&short).is_none());
        assert!(held.get(&long).is_some());
        assert_eq!((held.len(), long_kept.strong_count()), (1, 1));
        // Another one is looked after as well.
        let (_, again) = thing(&held, 30, 8);
        let begun = Instant::now();
        while again.strong_count() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let held = Held::new();
        let (first, _) = thing(&held, 60_000, 2);
        let (second, _) = thing(&held, 60_000, 2);
        assert!(held.get(&first).is_some());
        let (third, kept) = thing(&held, 60_000, 2);
        assert!(held.get(&second).is_none());
        assert!(held.get(&first).is_some() && held.get(&third).is_some());
        drop(held);
        assert_eq!(kept.strong_count(), 0);
    }
}
