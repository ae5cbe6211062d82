//! Vectors of texts that were encoded before, the least recently used given up first.

use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// What an entry takes beside its values, in bytes: key, list and table.
const OVERHEAD: usize = 128;

/// What decides a vector, digested: texts are not kept.
pub(crate) type Key = [u8; 32];

/// A vector with what is told of its text.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub vector: Arc<[f32]>,
    pub tokens: u32,
    pub truncated: bool,
}

/// What a cache of vectors holds, and how it was of use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Bytes that may be kept.
    pub most_bytes: u64,
    /// Bytes that are.
    pub bytes: u64,
    /// Vectors that are.
    pub vectors: u64,
    /// Texts whose vector was there.
    pub hits: u64,
    /// Texts whose vector was not.
    pub misses: u64,
}

/// Vectors of all models, up to a number of bytes.
pub(crate) struct VectorCache {
    most_bytes: usize,
    kept: Mutex<Entries>,
}

struct Entries {
    by_key: LruCache<Key, Kept>,
    bytes: usize,
    hits: u64,
    misses: u64,
}

impl VectorCache {
    /// None where nothing may be kept.
    pub(crate) fn new(most_bytes: usize) -> Option<Arc<Self>> {
        (most_bytes > 0).then(|| {
            Arc::new(VectorCache {
                most_bytes,
                kept: Mutex::new(Entries {
                    by_key: LruCache::unbounded(),
                    bytes: 0,
                    hits: 0,
                    misses: 0,
                }),
            })
        })
    }

    /// Key of something that these parts decide, in this order.
    pub(crate) fn key(parts: &[&[u8]]) -> Key {
        let mut hasher = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of parts read alike.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Kept> {
        let mut entries = self.kept.lock();
        let found = entries.by_key.get(key).cloned();
        match found {
            Some(_) => entries.hits += 1,
            None => entries.misses += 1,
        }
        found
    }

    pub(crate) fn figures(&self) -> CacheFigures {
        let entries = self.kept.lock();
        CacheFigures {
            most_bytes: self.most_bytes as u64,
            bytes: entries.bytes as u64,
            vectors: entries.by_key.len() as u64,
            hits: entries.hits,
            misses: entries.misses,
        }
    }

    pub(crate) fn put(&self, key: Key, kept: Kept) {
        let weight = |kept: &Kept| OVERHEAD + size_of_val(&*kept.vector);
        let new = weight(&kept);
        if new > self.most_bytes {
            return;
        }
        let mut entries = self.kept.lock();
        entries.bytes += new;
        if let Some(old) = entries.by_key.put(key, kept) {
            entries.bytes -= weight(&old);
        }
        while entries.bytes > self.most_bytes {
            match entries.by_key.pop_lru() {
                Some((_, old)) => entries.bytes -= weight(&old),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(values: usize) -> Kept {
        Kept {
            vector: vec![0.0; values].into(),
            tokens: 1,
            truncated: false,
        }
    }

    #[test]
    fn the_least_recently_used_go_first_and_the_budget_holds() {
        let cache = VectorCache::new(3 * (OVERHEAD + 40)).unwrap();
        let key = |n: u8| VectorCache::key(&[&[n]]);
        for n in 0..3 {
            cache.put(key(n), kept(10));
        }
        assert!(cache.get(&key(0)).is_some());
        cache.put(key(3), kept(10));
        assert!(cache.get(&key(1)).is_none());
        assert!(cache.get(&key(0)).is_some() && cache.get(&key(3)).is_some());
        // Put again, it is counted once.
        for _ in 0..10 {
            cache.put(key(3), kept(10));
        }
        assert!(cache.get(&key(0)).is_some());
        // Larger than everything: not kept, and nothing goes for it.
        cache.put(key(4), kept(1000));
        assert!(cache.get(&key(4)).is_none() && cache.get(&key(0)).is_some());
        assert!(VectorCache::new(0).is_none());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(
            VectorCache::key(&[b"ab", b"c"]),
            VectorCache::key(&[b"a", b"bc"])
        );
    }
}
