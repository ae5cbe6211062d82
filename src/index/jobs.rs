//! What jobs that load into an index keep beside its documents.
//!
//! What holds: what a job notes of how far it is, is in the same batch of the store as the
//! documents that it wrote ([`Index::change_noting`]), so that there is never the one without
//! the other. Notes are the index's own: a reindexing takes them over, a snapshot has those of
//! its time.

use std::borrow::Cow;

use super::once::Step;
use super::{Change, Changed, How, IfVersion, Index, Still};
use crate::error::Result;
use crate::store::Durability;

/// `job/NAME` is what a job notes under that name.
pub(super) const JOBS: &str = "job/";
/// The member of a job's note that says by its [`Index::identity`] which index it is a job of.
const IDENTITY: &str = "identity";

/// What a job notes, of what its changes came to: names and values.
pub type JobNotes<'a> = dyn Fn(&[Changed]) -> Result<Vec<(String, Vec<u8>)>> + 'a;

/// What a note of an index is in another one that takes its place: a job is one of the new
/// index from then on. One that is of neither stays as it is.
pub(super) fn taken_over<'a>(name: &str, note: &'a [u8], from: &str, to: &str) -> Cow<'a, [u8]> {
    // Jobs themselves are noted under their ids alone.
    let is_job = name.strip_prefix(JOBS).is_some_and(|id| !id.contains('/'));
    let read = match is_job {
        true => serde_json::from_slice::<serde_json::Value>(note).ok(),
        false => None,
    };
    match read {
        Some(mut job) if job[IDENTITY] == from => {
            job[IDENTITY] = to.into();
            Cow::Owned(job.to_string().into_bytes())
        }
        _ => Cow::Borrowed(note),
    }
}

impl Index {
    /// Everything that jobs have noted whose names begin so, by name. Names that begin with `~`
    /// are those of long notes, and are met only where `beginning` has it too.
    ///
    /// # Errors
    /// An operator's error of the disk.
    pub fn job_notes(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut notes = Vec::new();
        self.store
            .for_each_meta(&format!("{JOBS}{beginning}"), |name, value| {
                let name = &name[JOBS.len()..];
                // Behind all others in the order of names.
                if beginning.is_empty() && name.starts_with('~') {
                    return Ok(false);
                }
                notes.push((name.to_string(), value.to_vec()));
                Ok(true)
            })?;
        Ok(notes)
    }

    /// Applies changes as [`Index::change_as`] does, and in the same batch keeps what `notes`
    /// makes of their outcome. Without changes the notes alone are kept; then they are not
    /// synced, see [`Index::sync`].
    ///
    /// # Errors
    /// As [`Index::change_as`].
    pub fn change_noting(
        &self,
        changes: &[(Change<'_>, IfVersion)],
        still: Still<'_>,
        notes: &JobNotes<'_>,
    ) -> Result<Vec<Changed>> {
        let beside = |changed: &[Changed]| {
            let named = |(name, value)| (format!("{JOBS}{name}"), value);
            Ok(notes(changed)?.into_iter().map(named).collect())
        };
        let how = How {
            durability: Durability::Synced,
            still,
            step: Some(&Step::beside(&beside)),
        };
        self.change_as(changes, how)
    }

    /// Forgets what was noted under these names.
    ///
    /// # Errors
    /// An operator's error of the disk.
    pub fn forget_job_notes(&self, names: &[String]) -> Result<()> {
        let names: Vec<String> = names.iter().map(|name| format!("{JOBS}{name}")).collect();
        self.at_rest(|store| store.delete_metas(&names))
    }

    /// Waits until everything that was written before is on the disk.
    ///
    /// # Errors
    /// An operator's error of the disk.
    pub fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// What no other index has or had; another one after the index was restored.
    ///
    /// # Errors
    /// An operator's error of the disk.
    pub fn identity(&self) -> Result<String> {
        self.id()
    }
}
