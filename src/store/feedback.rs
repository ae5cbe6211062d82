//! What people said about answers, in the order in which it came.

use super::codec;
use super::options::{FEEDBACK, META, scan};
use super::{NAMED, Store, synced};
use crate::error::Result;

impl Store {
    /// Keeps events, and named values beside them, in one batch; synced. Of more than `most`
    /// events the oldest give way. Answers with the number of the first: events are numbered
    /// from 1, each by 1 more than the one before.
    pub fn add_feedback(
        &self,
        events: &[Vec<u8>],
        notes: &[(String, Vec<u8>)],
        most: u64,
    ) -> Result<u64> {
        let mut health = self.writer.lock();
        self.check_writable(*health)?;
        let held = self.feedback_numbers()?;
        let first = held.map_or(1, |(_, last)| last.saturating_add(1));
        let family = self.family(FEEDBACK)?;
        let mut batch = rocksdb::WriteBatch::default();
        let mut next = first;
        for event in events {
            batch.put_cf(family, codec::seq_key(next), event);
            next = next.saturating_add(1);
        }
        let oldest = held.map_or(first, |(oldest, _)| oldest);
        // The newest one stays whatever is asked for: it says which number comes next.
        let kept = next.saturating_sub(most.max(1));
        if kept > oldest {
            batch.delete_range_cf(family, codec::seq_key(oldest), codec::seq_key(kept));
        }
        for (name, value) in notes {
            batch.put_cf(self.family(META)?, format!("{NAMED}{name}"), value);
        }
        if !batch.is_empty() {
            self.write(batch, &synced(), &mut health)?;
        }
        Ok(first)
    }

    /// Takes over events of another store under their numbers, which have to follow the ones
    /// that are here; synced.
    pub fn take_feedback(&self, events: &[(u64, Vec<u8>)]) -> Result<()> {
        let mut health = self.writer.lock();
        self.check_writable(*health)?;
        let mut batch = rocksdb::WriteBatch::default();
        for (number, event) in events {
            batch.put_cf(self.family(FEEDBACK)?, codec::seq_key(*number), event);
        }
        self.write(batch, &synced(), &mut health)
    }

    /// Numbers of the oldest and the newest event, if there are any.
    pub fn feedback_numbers(&self) -> Result<Option<(u64, u64)>> {
        let mut rows = self.db.raw_iterator_cf(self.family(FEEDBACK)?);
        let mut ends = [None; 2];
        for (end, place) in ends.iter_mut().zip([0, 1]) {
            match place {
                0 => rows.seek_to_first(),
                _ => rows.seek_to_last(),
            }
            rows.status().map_err(|e| self.read_fault(e))?;
            *end = match rows.key() {
                None => return Ok(None),
                Some(key) => Some(codec::decode_seq(key).ok_or_else(|| self.corrupt("feedback"))?),
            };
        }
        match ends {
            [Some(oldest), Some(newest)] => Ok(Some((oldest, newest))),
            _ => Ok(None),
        }
    }

    /// Calls `each` with the number and the bytes of every event after `after`, in order, as
    /// of one point in time.
    pub fn for_each_feedback(
        &self,
        after: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut rows = self.db.raw_iterator_cf_opt(self.family(FEEDBACK)?, scan());
        rows.seek(codec::seq_key(after.saturating_add(1)));
        while let Some((key, value)) = rows.item() {
            let number = codec::decode_seq(key).ok_or_else(|| self.corrupt("feedback"))?;
            each(number, value)?;
            rows.next();
        }
        rows.status().map_err(|e| self.read_fault(e))
    }
}
