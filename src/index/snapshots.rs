//! The snapshots of a data folder: taking, listing, verifying, restoring, removing, in a folder
//! or in an object store.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::Utc;
use parking_lot::MutexGuard;

use super::digests::Digests;
use super::open::{remove_folder, sync_parent, with_suffix};
use super::remote::Remote;
use super::snapshot::{self, MAKING, REMOVING, Snapshot, is_id};
use super::{Catalog, Index, check_name};
use crate::config::Config;
use crate::error::{Code, Error, Problem, Result};
use crate::objects::{self, Objects};

/// Longest wait for another snapshot to be uploaded or restored: that may take hours.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the snapshots of a data folder are.
pub(super) enum Location {
    /// A folder for each index, and in it one for each snapshot.
    Folder(PathBuf),
    /// An object store, opened when it is first needed.
    Store {
        url: String,
        opened: OnceLock<Objects>,
    },
}

impl Location {
    /// The one that a configuration asks for.
    pub(super) fn new(config: &Config) -> Location {
        match &config.snapshots.location {
            None => Location::Folder(config.data.folder.join(FOLDER)),
            Some(url) if objects::is_url(url) => Location::Store {
                url: url.clone(),
                opened: OnceLock::new(),
            },
            Some(folder) => Location::Folder(folder.into()),
        }
    }

    /// The object store, if it is one.
    fn objects(&self) -> Result<Option<&Objects>> {
        match self {
            Location::Folder(_) => Ok(None),
            Location::Store { url, opened } => match opened.get() {
                Some(objects) => Ok(Some(objects)),
                None => {
                    let objects = Objects::open(url)?;
                    Ok(Some(opened.get_or_init(|| objects)))
                }
            },
        }
    }
}

/// The folder of snapshots in the data folder.
const FOLDER: &str = "snapshots";

impl Catalog {
    /// Takes a snapshot of an index, which is its name or an alias.
    ///
    /// # Errors
    /// `index_not_found`; operator errors of the disk, and then there is no snapshot.
    pub fn take_snapshot(&self, index: &str) -> Result<Snapshot> {
        let index = self.get(index)?;
        index.check_writable()?;
        let objects = self.location.objects()?;
        let _taking = self.snapshotting()?;
        let id = Utc::now().format("%Y%m%dT%H%M%S%3fZ").to_string();
        let folder = match objects {
            None => self.folder_of(index.name()),
            Some(_) => self.staging().join(index.name()),
        };
        std::fs::create_dir_all(&folder)
            .map_err(|e| Error::operator_from(format!("cannot create {}", folder.display()), e))?;
        sync_parent(&folder)?;
        if let Some(all) = folder.parent() {
            sync_parent(all)?;
        }
        remove_unfinished(&folder)?;
        let taken = match objects {
            None => index.take_snapshot(&folder.join(&id), &id)?,
            Some(objects) => upload_snapshot(objects, &index, &folder.join(&id), id.clone())?,
        };
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
        let index = self.real_name(index)?;
        if let Some(objects) = self.location.objects()? {
            let snapshots = objects::wait(remote(objects, &index).snapshots())?;
            return match snapshots.is_empty() && !self.is_there(&index) {
                true => Err(self.not_found(&index)),
                false => Ok(snapshots),
            };
        }
        let folder = self.folder_of(&index);
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return match self.is_there(&index) {
                    true => Ok(Vec::new()),
                    false => Err(self.not_found(&index)),
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
        if snapshots.is_empty() && !self.is_there(&index) {
            return Err(self.not_found(&index));
        }
        snapshots.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(snapshots)
    }

    /// Reads a snapshot through and compares checksums.
    ///
    /// # Errors
    /// `snapshot_not_found`; an operator's error if it is damaged.
    pub fn verify_snapshot(&self, index: &str, id: &str) -> Result<Snapshot> {
        let index = self.real_name(index)?;
        match self.location.objects()? {
            None => snapshot::verify(&self.snapshot_folder(&index, id)?),
            Some(_) if !is_id(id) => Err(self.no_snapshot(&index, id)),
            Some(objects) => objects::wait(remote(objects, &index).verify(id))?
                .ok_or_else(|| self.no_snapshot(&index, id)),
        }
    }

    /// Makes an index of a snapshot, under `name`, which must be free.
    ///
    /// # Errors
    /// `snapshot_not_found`, `index_exists`; an operator's error if it is damaged.
    pub fn restore_snapshot(&self, index: &str, id: &str, name: &str) -> Result<Arc<Index>> {
        let index = self.real_name(index)?;
        check_name(name)?;
        match self.location.objects()? {
            None => {
                let folder = self.snapshot_folder(&index, id)?;
                let _restoring = self.snapshotting()?;
                self.make_at(name, |making| snapshot::restore(&folder, making, name))?;
            }
            Some(_) if !is_id(id) => return Err(self.no_snapshot(&index, id)),
            Some(objects) => {
                let _restoring = self.snapshotting()?;
                let remote = remote(objects, &index);
                self.make_at(name, |making| {
                    match objects::wait(remote.restore(id, making, name))? {
                        true => Ok(()),
                        false => Err(self.no_snapshot(&index, id)),
                    }
                })?;
            }
        }
        tracing::info!(index = name, snapshot = id, "restored");
        self.wait_for(name)
    }

    /// Removes a snapshot. What others share with it stays.
    ///
    /// # Errors
    /// `snapshot_not_found`; operator errors of the disk.
    pub fn remove_snapshot(&self, index: &str, id: &str) -> Result<()> {
        let index = self.real_name(index)?;
        if let Some(objects) = self.location.objects()? {
            // Nobody waits for this one, nor it for anybody: see `remote`.
            let removed = is_id(id) && objects::wait(remote(objects, &index).remove(id))?;
            return match removed {
                true => Ok(()),
                false => Err(self.no_snapshot(&index, id)),
            };
        }
        let folder = self.snapshot_folder(&index, id)?;
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

    /// The turn to take or restore a snapshot.
    ///
    /// # Errors
    /// `overloaded` while another is uploaded or restored and takes long.
    fn snapshotting(&self) -> Result<MutexGuard<'_, ()>> {
        let turn = match self.location {
            Location::Folder(_) => Some(self.snapshotting.lock()),
            Location::Store { .. } => self.snapshotting.try_lock_for(PATIENCE),
        };
        turn.ok_or_else(|| {
            Problem::new(
                Code::Overloaded,
                "another snapshot is being uploaded or restored; try again later",
            )
            .into()
        })
    }

    /// Where files lie while they are uploaded: on the same disk as the indexes.
    fn staging(&self) -> PathBuf {
        let indexes = self.folder();
        indexes.parent().unwrap_or(Path::new(".")).join(FOLDER)
    }

    /// The folder of an index's snapshots, where they are in folders.
    fn folder_of(&self, index: &str) -> PathBuf {
        match &self.location {
            Location::Folder(folder) => folder.join(index),
            Location::Store { .. } => self.staging().join(index),
        }
    }

    fn snapshot_folder(&self, index: &str, id: &str) -> Result<PathBuf> {
        let folder = is_id(id).then(|| self.folder_of(index).join(id));
        let folder = folder.filter(|folder| folder.is_dir());
        folder.ok_or_else(|| self.no_snapshot(index, id))
    }

    fn no_snapshot(&self, index: &str, id: &str) -> Error {
        let snapshots = match self.snapshots(index) {
            Ok(snapshots) => snapshots.into_iter(),
            Err(error) => return error,
        };
        let ids: Vec<String> = snapshots.map(|snapshot| snapshot.id).collect();
        let expected = match ids.as_slice() {
            [] => "a snapshot; there is none of this index".to_string(),
            ids => format!("one of: {}", ids.join(", ")),
        };
        Problem::new(
            Code::SnapshotNotFound,
            format!("index {index:?} has no such snapshot"),
        )
        .field("snapshot")
        .found(id)
        .expected(expected)
        .into()
    }
}

fn remote<'a>(objects: &'a Objects, index: &'a str) -> Remote<'a> {
    Remote { objects, index }
}

/// Takes a snapshot in `folder` for as long as it takes to upload it.
fn upload_snapshot(
    objects: &Objects,
    index: &Index,
    folder: &Path,
    id: String,
) -> Result<Snapshot> {
    let staged = with_suffix(folder, MAKING);
    let taken = index.stage(&staged).and_then(|(seq, documents)| {
        let snapshot = Snapshot {
            id,
            index: index.name().to_string(),
            seq,
            documents,
            bytes: 0,
        };
        let digests = Digests::open(index.folder());
        let remote = remote(objects, index.name());
        objects::wait(remote.create(&staged, snapshot, index.id()?, digests))
    });
    if let Err(error) = remove_folder(&staged) {
        tracing::warn!(%error, "what was uploaded cannot be removed here; the next snapshot will");
    }
    taken
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
