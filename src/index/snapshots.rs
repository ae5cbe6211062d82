//! The snapshots of a data folder: taking, listing, verifying, restoring, removing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;

use super::open::{remove_folder, sync_parent, with_suffix};
use super::snapshot::{self, MAKING, REMOVING, Snapshot};
use super::{Catalog, Index, check_name};
use crate::error::{Code, Error, Problem, Result};

impl Catalog {
    /// Takes a snapshot of an index, which is its name or an alias.
    ///
    /// # Errors
    /// `index_not_found`; operator errors of the disk, and then there is no snapshot.
    pub fn take_snapshot(&self, index: &str) -> Result<Snapshot> {
        let index = self.get(index)?;
        let _taking = self.snapshotting.lock();
        let id = Utc::now().format("%Y%m%dT%H%M%S%3fZ").to_string();
        let folder = self.snapshots_folder().join(index.name());
        std::fs::create_dir_all(&folder)
            .map_err(|e| Error::operator_from(format!("cannot create {}", folder.display()), e))?;
        sync_parent(&folder)?;
        sync_parent(&self.snapshots_folder())?;
        remove_unfinished(&folder)?;
        let taken = index.take_snapshot(&folder.join(&id), &id)?;
        tracing::info!(
            index = index.name(),
            snapshot = id,
            seq = taken.seq,
            "took a snapshot"
        );
        Ok(taken)
    }

    /// The snapshots of an index, the oldest first; also of one that is not there any more,
    /// as long as it has any. What cannot be read is logged and left out.
    ///
    /// # Errors
    /// `index_not_found` where there is neither; operator errors of the disk.
    pub fn snapshots(&self, index: &str) -> Result<Vec<Snapshot>> {
        let name = self.real_name(index)?;
        let folder = self.snapshots_folder().join(&name);
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return match self.is_there(&name) {
                    true => Ok(Vec::new()),
                    false => Err(self.not_found(&name)),
                };
            }
            entries => entries.map_err(|e| {
                Error::operator_from(format!("cannot list {}", folder.display()), e)
            })?,
        };
        let mut snapshots = Vec::new();
        for entry in entries.flatten() {
            // Those under way, or cut short, have a dot in their name.
            if !entry.file_name().to_string_lossy().contains('.') {
                match snapshot::read(&entry.path()) {
                    Ok(snapshot) => snapshots.push(snapshot),
                    Err(error) => tracing::warn!(%error, "a snapshot cannot be read"),
                }
            }
        }
        if snapshots.is_empty() && !self.is_there(&name) {
            return Err(self.not_found(&name));
        }
        snapshots.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(snapshots)
    }

    /// Reads a snapshot through and compares checksums.
    ///
    /// # Errors
    /// `snapshot_not_found`; an operator's error if it is damaged.
    pub fn verify_snapshot(&self, index: &str, id: &str) -> Result<Snapshot> {
        snapshot::verify(&self.snapshot_folder(index, id)?)
    }

    /// Makes an index of a snapshot, under `name`, which must be free.
    ///
    /// # Errors
    /// `snapshot_not_found`, `index_exists`; an operator's error if it is damaged.
    pub fn restore_snapshot(&self, index: &str, id: &str, name: &str) -> Result<Arc<Index>> {
        let folder = self.snapshot_folder(index, id)?;
        check_name(name)?;
        let _restoring = self.snapshotting.lock();
        self.make_at(name, |making| snapshot::restore(&folder, making, name))?;
        tracing::info!(index = name, snapshot = id, "restored");
        self.wait_for(name)
    }

    /// Removes a snapshot. What others share with it stays.
    ///
    /// # Errors
    /// `snapshot_not_found`; operator errors of the disk.
    pub fn remove_snapshot(&self, index: &str, id: &str) -> Result<()> {
        let folder = self.snapshot_folder(index, id)?;
        let _removing = self.snapshotting.lock();
        let leaving = with_suffix(&folder, REMOVING);
        std::fs::rename(&folder, &leaving)
            .map_err(|e| Error::operator_from(format!("cannot remove {}", folder.display()), e))?;
        sync_parent(&folder)?;
        remove_folder(&leaving)
    }

    /// The index that an alias stands for, or the name itself.
    fn real_name(&self, name: &str) -> Result<String> {
        let name = self.aliases().remove(name).unwrap_or(name.to_string());
        check_name(&name).map_err(|_| self.not_found(&name))?;
        Ok(name)
    }

    fn snapshots_folder(&self) -> PathBuf {
        let indexes = self.folder();
        indexes.parent().unwrap_or(Path::new(".")).join("snapshots")
    }

    fn snapshot_folder(&self, index: &str, id: &str) -> Result<PathBuf> {
        let index = self.real_name(index)?;
        let folder = snapshot::folder_of(&self.snapshots_folder(), &index, id);
        match folder.filter(|folder| folder.is_dir()) {
            Some(folder) => Ok(folder),
            None => {
                let ids = self
                    .snapshots(&index)?
                    .into_iter()
                    .map(|snapshot| snapshot.id);
                let ids = ids.collect::<Vec<_>>().join(", ");
                let expected = match ids.as_str() {
                    "" => "a snapshot; there is none of this index".to_string(),
                    ids => format!("one of: {ids}"),
                };
                Err(Problem::new(
                    Code::SnapshotNotFound,
                    format!("index {index:?} has no such snapshot"),
                )
                .field("snapshot")
                .found(id)
                .expected(expected)
                .into())
            }
        }
    }
}

/// Removes what snapshots that were cut short have left, which would keep files from being
/// given back. The index is open in this process, so that nobody else is at it.
fn remove_unfinished(folder: &Path) -> Result<()> {
    let wrong = |e| Error::operator_from(format!("cannot list {}", folder.display()), e);
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(MAKING) || name.ends_with(REMOVING) {
            remove_folder(&path)?;
        }
    }
    Ok(())
}
