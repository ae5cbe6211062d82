//! Lookups, scans, and the log.

use rocksdb::DBPinnableSlice;

use super::codec;
use super::options::{DOCUMENTS, IDS, LOG, META, VECTORS, scan};
use super::{NAMED, Store, StoredVectors};
use crate::error::{Error, Result};

/// Keys looked up at a time: bounds the blocks held in memory at once.
const LOOKUP_BATCH: usize = 256;

/// A document as it was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// External id.
    pub id: String,
    /// The bytes given to the put.
    pub source: Vec<u8>,
}

/// What one operation did to the set of live documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry {
    /// Its sequence number.
    pub seq: u64,
    /// The ordinal that came to life. A later entry may have removed it, and
    /// its document and vectors may then be gone.
    pub put: Option<u32>,
    /// The ordinal that died.
    pub removed: Option<u32>,
}

impl Store {
    /// The ordinal of the live document with this external id.
    pub fn ordinal(&self, id: &str) -> Result<Option<u32>> {
        let value = self
            .db
            .get_pinned_cf(self.family(IDS)?, id)
            .map_err(|e| self.read_fault(e))?;
        self.decoded(value, "an ordinal", codec::decode_ordinal)
    }

    /// The ordinals of the live documents with these external ids, in their order.
    pub fn ordinals(&self, ids: &[&str]) -> Result<Vec<Option<u32>>> {
        let family = self.family(IDS)?;
        let mut out = Vec::with_capacity(ids.len());
        for ids in ids.chunks(LOOKUP_BATCH) {
            let keys = ids.iter().map(|id| id.as_bytes());
            for value in self.db.batched_multi_get_cf(family, keys, false) {
                let value = value.map_err(|e| self.read_fault(e))?;
                out.push(self.decoded(value, "an ordinal", codec::decode_ordinal)?);
            }
        }
        Ok(out)
    }

    /// The document under an ordinal; `None` if it is not live.
    pub fn document(&self, ordinal: u32) -> Result<Option<StoredDocument>> {
        let value = self.value(DOCUMENTS, ordinal)?;
        self.decoded(value, "a document", stored_document)
    }

    /// The documents under several ordinals, in their order.
    pub fn documents(&self, ordinals: &[u32]) -> Result<Vec<Option<StoredDocument>>> {
        self.many(DOCUMENTS, ordinals, "a document", stored_document)
    }

    /// The external ids of several documents, in the order of the ordinals.
    pub fn ids(&self, ordinals: &[u32]) -> Result<Vec<Option<String>>> {
        self.many(DOCUMENTS, ordinals, "a document", |bytes| {
            codec::decode_document(bytes).map(|(id, _)| id.to_owned())
        })
    }

    /// The bytes of the document under an ordinal; `None` if there is none or it has
    /// been buried.
    pub fn source(&self, ordinal: u32) -> Result<Option<Vec<u8>>> {
        let value = self.value(DOCUMENTS, ordinal)?;
        self.decoded(value, "a document", source)
    }

    /// The bytes of several documents, in the order of the ordinals.
    pub fn sources(&self, ordinals: &[u32]) -> Result<Vec<Option<Vec<u8>>>> {
        self.many(DOCUMENTS, ordinals, "a document", source)
    }

    /// Passages and vectors under an ordinal; `None` if it is not live or was
    /// put without.
    pub fn vectors(&self, ordinal: u32) -> Result<Option<StoredVectors>> {
        let value = self.value(VECTORS, ordinal)?;
        self.decoded(value, "vectors", codec::decode_vectors)
    }

    /// Passages and vectors of several documents, in the order of the ordinals.
    pub fn vectors_many(&self, ordinals: &[u32]) -> Result<Vec<Option<StoredVectors>>> {
        self.many(VECTORS, ordinals, "vectors", codec::decode_vectors)
    }

    /// Sequence number of the last operation; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.counters.read().last_seq
    }

    /// The ordinal that the next put will get: one past every ordinal so far.
    pub fn next_ordinal(&self) -> u32 {
        self.counters.read().next_ordinal
    }

    /// Live documents.
    pub fn count(&self) -> u64 {
        self.counters.read().live
    }

    /// The lowest sequence number the log still holds; `last_seq() + 1` when it
    /// holds none.
    pub fn oldest_seq(&self) -> u64 {
        self.counters.read().log_start
    }

    /// Hands over every log entry after `after_seq`, in order, as of now. An
    /// error of `each` ends it. An operator's error if the log was trimmed past
    /// `after_seq`, or ends before it: what is derived then has to be rebuilt.
    pub fn replay(
        &self,
        after_seq: u64,
        mut each: impl FnMut(LogEntry) -> Result<()>,
    ) -> Result<()> {
        let counters = *self.counters.read();
        if after_seq.saturating_add(1) < counters.log_start || after_seq > counters.last_seq {
            return Err(Error::operator(format!(
                "the log of the store {} holds operations {} to {}, so it cannot be replayed after {after_seq}",
                self.path.display(),
                counters.log_start,
                counters.last_seq,
            ))
            .advice("rebuild the word index and the vector segments from the documents"));
        }
        let mut rows = self.db.raw_iterator_cf_opt(self.family(LOG)?, scan());
        let mut expected = after_seq + 1;
        rows.seek(codec::seq_key(expected));
        while expected <= counters.last_seq {
            let Some((key, value)) = rows.item() else {
                rows.status().map_err(|e| self.read_fault(e))?;
                return Err(self.corrupt(format!("the log: operation {expected} is missing and")));
            };
            let entry = codec::decode_log(value);
            let (Some(seq), Some((put, removed))) = (codec::decode_seq(key), entry) else {
                return Err(self.corrupt("a log entry"));
            };
            if seq != expected {
                return Err(self.corrupt(format!("the log: operation {expected} is missing and")));
            }
            each(LogEntry { seq, put, removed })?;
            expected += 1;
            rows.next();
        }
        Ok(())
    }

    /// Calls `each` with the ordinal and the id of every live document, ordered
    /// by id, as of one point in time.
    pub fn for_each_live(&self, mut each: impl FnMut(u32, &str)) -> Result<()> {
        self.for_each_row(IDS, |key, value| {
            let (Some(ordinal), Ok(id)) = (codec::decode_ordinal(value), std::str::from_utf8(key))
            else {
                return Err(self.corrupt("an id"));
            };
            each(ordinal, id);
            Ok(())
        })
    }

    /// Calls `each` with the ordinal, the id and the source of every document that is
    /// live or not buried yet, ordered by ordinal, as of one point in time.
    pub fn for_each_document(
        &self,
        mut each: impl FnMut(u32, &str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.for_each_row(DOCUMENTS, |key, value| {
            let document = codec::decode_document(value);
            let (Some(ordinal), Some((id, source))) = (codec::decode_ordinal(key), document) else {
                return Err(self.corrupt("a document"));
            };
            each(ordinal, id, source)
        })
    }

    /// Calls `each` with the ordinal and the vectors of every document that has any and
    /// is live or not buried yet, ordered by ordinal, as of one point in time.
    pub fn for_each_vectors(
        &self,
        mut each: impl FnMut(u32, StoredVectors) -> Result<()>,
    ) -> Result<()> {
        self.for_each_row(VECTORS, |key, value| {
            let vectors = codec::decode_vectors(value);
            let (Some(ordinal), Some(vectors)) = (codec::decode_ordinal(key), vectors) else {
                return Err(self.corrupt("vectors"));
            };
            each(ordinal, vectors)
        })
    }

    /// The value kept under a name by `put_meta`.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.get_meta(format!("{NAMED}{name}").as_bytes())
    }

    /// Calls `each` with the values whose names begin with `prefix`, by name, until it says
    /// false.
    pub fn for_each_meta(
        &self,
        prefix: &str,
        mut each: impl FnMut(&str, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let from = format!("{NAMED}{prefix}");
        let mut rows = self.db.raw_iterator_cf(self.family(META)?);
        rows.seek(&from);
        while let Some((key, value)) = rows.item() {
            if !key.starts_with(from.as_bytes()) {
                break;
            }
            let name = key.strip_prefix(NAMED.as_bytes()).unwrap_or(key);
            let name = std::str::from_utf8(name).map_err(|_| self.corrupt("a name"))?;
            if !each(name, value)? {
                break;
            }
            rows.next();
        }
        rows.status().map_err(|e| self.read_fault(e))
    }

    pub(super) fn get_meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db
            .get_cf(self.family(META)?, key)
            .map_err(|e| self.read_fault(e))
    }

    fn for_each_row(
        &self,
        family: &str,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut rows = self.db.raw_iterator_cf_opt(self.family(family)?, scan());
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            each(key, value)?;
            rows.next();
        }
        rows.status().map_err(|e| self.read_fault(e))
    }

    fn value(&self, family: &str, ordinal: u32) -> Result<Option<DBPinnableSlice<'_>>> {
        self.db
            .get_pinned_cf(self.family(family)?, codec::ordinal_key(ordinal))
            .map_err(|e| self.read_fault(e))
    }

    fn many<T>(
        &self,
        family: &str,
        ordinals: &[u32],
        what: &str,
        decode: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<Option<T>>> {
        let family = self.family(family)?;
        let mut out = Vec::with_capacity(ordinals.len());
        for ordinals in ordinals.chunks(LOOKUP_BATCH) {
            let keys: Vec<[u8; 4]> = ordinals.iter().map(|&o| codec::ordinal_key(o)).collect();
            let sorted = ordinals.is_sorted();
            for value in self.db.batched_multi_get_cf(family, &keys, sorted) {
                let value = value.map_err(|e| self.read_fault(e))?;
                out.push(self.decoded(value, what, &decode)?);
            }
        }
        Ok(out)
    }

    fn decoded<T>(
        &self,
        value: Option<DBPinnableSlice<'_>>,
        what: &str,
        decode: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        match value {
            Some(bytes) => decode(&bytes).map(Some).ok_or_else(|| self.corrupt(what)),
            None => Ok(None),
        }
    }
}

fn stored_document(bytes: &[u8]) -> Option<StoredDocument> {
    codec::decode_document(bytes).map(|(id, source)| StoredDocument {
        id: id.to_owned(),
        source: source.to_vec(),
    })
}

fn source(bytes: &[u8]) -> Option<Vec<u8>> {
    codec::decode_document(bytes).map(|(_, source)| source.to_vec())
}
