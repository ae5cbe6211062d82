//! The log of what people said about answers, as the index keeps it: bytes under numbers.

use super::once::Step;
use super::write::moved;
use super::{Index, Still};
use crate::error::Result;

impl Index {
    /// Keeps events, durably when it returns, and what `step` records in the same batch. Of
    /// more than `limits.feedback_events` the oldest give way. The number of the first.
    ///
    /// # Errors
    /// `alias_moved` where `still` says that the index is no longer the one that was meant;
    /// operator errors of the disk.
    pub fn add_feedback(
        &self,
        events: &[Vec<u8>],
        still: Still<'_>,
        step: Option<&Step<'_>>,
    ) -> Result<u64> {
        self.check_writable()?;
        // A reindexing that takes over what is here holds up writers while it moves the alias.
        let _writer = self.writer.lock();
        if !still() {
            return Err(moved(self.name()).into());
        }
        let notes = match step {
            Some(step) => step.notes(&[])?,
            None => Vec::new(),
        };
        let most = self.limits().feedback_events as u64;
        let first = self.store.add_feedback(events, &notes, most)?;
        if let Some(step) = step {
            step.recorded();
        }
        Ok(first)
    }

    /// Numbers of the oldest and the newest event, if there are any.
    pub fn feedback_numbers(&self) -> Result<Option<(u64, u64)>> {
        self.store.feedback_numbers()
    }

    /// Calls `each` with the number and the bytes of every event, in order.
    pub fn for_each_feedback(&self, each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        self.store.for_each_feedback(0, each)
    }
}
