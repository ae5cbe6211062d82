//! What is kept ready, within a bound; what was asked for longest ago gives way.

use lru::LruCache;

/// What an entry counts at the least, for its key and what there is of it.
const LEAST: usize = 16;

/// Values by a key, whose sizes together stay within a bound.
pub(super) struct Bounded<T> {
    kept: LruCache<String, (T, usize)>,
    size: usize,
    most: usize,
}

impl<T> Bounded<T> {
    pub(super) fn new(most: usize) -> Bounded<T> {
        Bounded {
            kept: LruCache::unbounded(),
            size: 0,
            most,
        }
    }

    pub(super) fn get(&mut self, key: &str) -> Option<&T> {
        self.kept.get(key).map(|(value, _)| value)
    }

    /// Keeps a value; one that is larger than the bound is given up at once, with all others.
    pub(super) fn put(&mut self, key: String, value: T, size: usize) {
        let size = size.max(LEAST);
        let before = self.kept.put(key, (value, size));
        self.size = self.size + size - before.map_or(0, |(_, size)| size);
        while self.size > self.most
            && let Some((_, (_, size))) = self.kept.pop_lru()
        {
            self.size -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_within_its_bound() {
        let mut kept = Bounded::new(10 * LEAST);
        for n in 0..100 {
            kept.put(n.to_string(), n, 0);
            kept.get("0");
        }
        // What has no size counts too, and what is asked for stays.
        assert_eq!(kept.kept.len(), 10);
        assert_eq!(kept.get("0"), Some(&0));
        assert_eq!(kept.get("99"), Some(&99));
        assert_eq!(kept.get("50"), None);
        kept.put("0".into(), 1, 5 * LEAST);
        assert_eq!(kept.get("0"), Some(&1));
        assert_eq!(kept.kept.len(), 6);
        // What is as large as the bound has room.
        kept.put("whole".into(), 3, 10 * LEAST);
        assert_eq!((kept.kept.len(), kept.size), (1, 10 * LEAST));
        kept.put("large".into(), 2, 11 * LEAST);
        assert_eq!((kept.kept.len(), kept.size), (0, 0));
    }
}
