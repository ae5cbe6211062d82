//! Generations of a catalog: what counts, and what is to count next.
//!
//! A generation is built beside the one that counts, synced, and made to count by replacing
//! `catalog.json`: whatever instant a process ends at, a build has happened or it has not.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::RejectedName;
use super::build::{BATCH, Builder, NameLimits, RejectedFrom, Tally};
use super::catalog::{BuildInput, BuildProgress, Incoming};
use super::sealed::Sealed;
use crate::error::{Code, Error, Problem, Result};
use crate::index::sync_parent;
use crate::model::NameTokenizer;

/// What the folders' shape is called; one of another is refused, not guessed at.
const VERSION: u32 = 1;
pub(super) const MANIFEST: &str = "catalog.json";
pub(super) const NAMES: &str = "names.bin";
pub(super) const CHANGES: &str = "changes.log";
const TOKENIZER: &str = "tokenizer.json";
/// Who changes something holds a lock on this file of the catalog.
pub(super) const LOCK: &str = ".lock";
/// Who builds holds a lock on this file of the catalog.
const BUILDING: &str = ".building";

/// As it lies in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    pub generation: String,
    /// Name of the model whose tokenizer it has.
    pub model: String,
    pub max_tokens: usize,
    #[serde(default)]
    pub after_space: bool,
    pub built_at: DateTime<Utc>,
}

impl Manifest {
    pub(super) fn limits(&self) -> NameLimits {
        NameLimits {
            tokens: self.max_tokens,
            ..NameLimits::default()
        }
    }
}

/// A generation being built: not found by anybody before it is published, and removed where it
/// never is.
pub(super) struct Place {
    catalog: PathBuf,
    pub folder: PathBuf,
    generation: String,
    published: bool,
    _building: File,
}

impl Place {
    /// Begins one, with the tokenizer of a folder.
    pub(super) fn prepare(catalog: &Path, tokenizer: &Path) -> Result<Place> {
        let cannot = |e: std::io::Error| {
            Error::operator_from(format!("cannot write {}", catalog.display()), e)
        };
        let building = loop {
            std::fs::create_dir_all(catalog).map_err(cannot)?;
            match lock_building(catalog) {
                // Removed by who gave up building it, or removed the catalog.
                Err(LockError::Gone) => {}
                Err(LockError::Failed(error)) => return Err(error),
                Ok(building) => break building,
            }
        };
        let generation = uuid::Uuid::new_v4().simple().to_string();
        let folder = catalog.join(&generation);
        std::fs::create_dir(&folder).map_err(cannot)?;
        let place = Place {
            catalog: catalog.to_path_buf(),
            folder,
            generation,
            published: false,
            _building: building,
        };
        // Refuses what is no tokenizer before anything is read.
        NameTokenizer::open(tokenizer)?;
        let copy = place.folder.join(TOKENIZER);
        std::fs::copy(tokenizer.join(TOKENIZER), &copy)
            .and_then(|_| File::open(&copy)?.sync_all())
            .map_err(cannot)?;
        Ok(place)
    }

    /// Builds the names of it.
    pub(super) fn fill(
        &self,
        limits: NameLimits,
        after_space: bool,
        input: BuildInput<'_>,
    ) -> Result<(Sealed, Tally)> {
        let tokenizer = NameTokenizer::open(&self.folder)?.after_space(after_space);
        let mut builder = Builder::new(&self.folder, &tokenizer, limits);
        let mut rejected = 0;
        let mut rows = Rows::of(RejectedFrom::Names);
        while let Some(batch) = rows.batch(input.names, &mut rejected, input.rejects)? {
            builder.add(&batch, input.rejects)?;
            (input.progress)(BuildProgress::Names(rows.count));
        }
        let mut named = builder.sort_names(&self.folder, input.progress)?;
        let mut rows = Rows::of(RejectedFrom::Aliases);
        while let Some(batch) = rows.batch(input.aliases, &mut rejected, input.rejects)? {
            named.add_aliases(&batch, input.rejects)?;
            (input.progress)(BuildProgress::Aliases(rows.count));
        }
        (input.progress)(BuildProgress::Writing);
        let (sealed, mut tally) = named.write(&self.folder.join(NAMES))?;
        tally.rejected += rejected;
        Ok((sealed, tally))
    }

    /// Size of the names in bytes.
    pub(super) fn bytes(&self) -> Result<u64> {
        let path = self.folder.join(NAMES);
        let metadata = std::fs::metadata(&path).map_err(|e| cannot_read(&path, e))?;
        Ok(metadata.len())
    }

    /// Makes this the generation that counts. The caller holds the catalog's lock.
    pub(super) fn publish(
        mut self,
        model: &str,
        max_tokens: usize,
        after_space: bool,
    ) -> Result<()> {
        let manifest = Manifest {
            version: VERSION,
            generation: self.generation.clone(),
            model: model.to_owned(),
            max_tokens,
            after_space,
            built_at: Utc::now(),
        };
        let path = self.catalog.join(MANIFEST);
        let cannot = |e| Error::operator_from(format!("cannot write {}", path.display()), e);
        let json = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| Error::Bug(format!("a manifest does not serialise: {e}")))?;
        sync_parent(&self.folder.join(NAMES))?;
        sync_parent(&self.folder)?;
        let beside = path.with_extension("writing");
        let mut file = File::create(&beside).map_err(cannot)?;
        file.write_all(&json)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&beside, &path))
            .map_err(cannot)?;
        self.published = true;
        sync_parent(&path)?;
        // The catalog's folder, and that of all catalogs, may be new.
        sync_parent(&self.catalog)?;
        if let Some(all) = self.catalog.parent() {
            sync_parent(all)?;
        }
        self.sweep();
        Ok(())
    }

    /// Removes generations that do not count: older ones, and what a crash left behind.
    fn sweep(&self) {
        let entries = std::fs::read_dir(&self.catalog).into_iter().flatten();
        for entry in entries.flatten() {
            if entry.path() != self.folder && entry.path().is_dir() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.published {
            let _ = std::fs::remove_dir_all(&self.folder);
            // Where there never was a catalog, nothing stays behind.
            if !self.catalog.join(MANIFEST).exists() {
                let _ = std::fs::remove_file(self.catalog.join(BUILDING));
                let _ = std::fs::remove_file(self.catalog.join(LOCK));
                let _ = std::fs::remove_dir(&self.catalog);
            }
        }
    }
}

/// Names or aliases as they come, numbered from 1.
struct Rows {
    count: u64,
    from: RejectedFrom,
}

impl Rows {
    fn of(from: RejectedFrom) -> Rows {
        Rows { count: 0, from }
    }

    /// The next ones with their numbers; None at the end.
    fn batch<T>(
        &mut self,
        incoming: Incoming<'_, T>,
        rejected: &mut u64,
        rejects: &mut dyn FnMut(RejectedName) -> Result<()>,
    ) -> Result<Option<Vec<(u64, T)>>> {
        let mut batch = Vec::new();
        for next in &mut *incoming {
            self.count += 1;
            match next {
                Ok(new) => batch.push((self.count, new)),
                Err(Error::User(problem)) if problem.code == Code::InvalidName => {
                    *rejected += 1;
                    // What was found is the name where that is what is wrong.
                    let names = matches!(problem.field.as_deref(), Some("name" | "alias"));
                    let name = problem.found.clone().filter(|_| names);
                    rejects(RejectedName {
                        row: self.count,
                        from: self.from,
                        name: name.unwrap_or_default(),
                        problem: *problem,
                    })?;
                }
                Err(error) => return Err(error),
            }
            if batch.len() >= BATCH {
                break;
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

/// What counts; None where there is no catalog.
pub(super) fn read_manifest(folder: &Path) -> Result<Option<Manifest>> {
    let path = folder.join(MANIFEST);
    let bytes = match std::fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|e| cannot_read(&path, e))?,
    };
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|e| cannot_read(&path, e).advice("build the catalog again from its names"))?;
    if manifest.version != VERSION {
        let message = format!("{} is of version {}", path.display(), manifest.version);
        return Err(Error::operator(message).advice("build the catalog again from its names"));
    }
    // It names a folder: only one of ours.
    let ours = uuid::Uuid::try_parse(&manifest.generation).is_ok();
    match ours {
        true => Ok(Some(manifest)),
        false => Err(Error::operator(format!("{} is damaged", path.display()))
            .advice("build the catalog again from its names")),
    }
}

/// Why a file is not locked.
pub(super) enum LockError {
    /// Its folder is not there any more.
    Gone,
    Failed(Error),
}

/// Locks a catalog for a change, after whoever has it.
pub(super) fn lock_changes(catalog: &Path) -> Result<File, LockError> {
    lock_file(&catalog.join(LOCK), true)
}

/// Locks a catalog against builds, compactions and its removal.
///
/// # Errors
/// `task_running` where one of them goes on.
pub(super) fn lock_building(catalog: &Path) -> Result<File, LockError> {
    lock_file(&catalog.join(BUILDING), false)
}

fn lock_file(path: &Path, wait: bool) -> Result<File, LockError> {
    let cannot = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => LockError::Gone,
        _ => LockError::Failed(Error::operator_from(
            format!("cannot lock {}", path.display()),
            e,
        )),
    };
    loop {
        let file = File::create(path).map_err(cannot)?;
        if wait {
            file.lock().map_err(cannot)?;
        } else {
            match file.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => {
                    let catalog = path.parent().and_then(Path::file_name);
                    let name = catalog.unwrap_or_default().to_string_lossy();
                    return Err(LockError::Failed(busy(&name)));
                }
                Err(std::fs::TryLockError::Error(e)) => return Err(cannot(e)),
            }
        }
        // Whoever had it may have removed the file: then this is a lock on nothing.
        let own = file.metadata().map_err(cannot)?;
        match std::fs::metadata(path) {
            Ok(there) if same_file(&own, &there) => return Ok(file),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(cannot(e)),
        }
    }
}

#[cfg(unix)]
fn same_file(a: &std::fs::Metadata, b: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// There is no telling them apart; files that are locked cannot be removed there.
#[cfg(not(unix))]
fn same_file(_: &std::fs::Metadata, _: &std::fs::Metadata) -> bool {
    true
}

pub(super) fn cannot_read(
    path: &Path,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::operator_from(format!("cannot read {}", path.display()), error)
}

pub(super) fn busy(name: &str) -> Error {
    Problem::new(
        Code::TaskRunning,
        "the catalog is being built or compacted already",
    )
    .field("catalog")
    .found(name)
    .into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = folder.path().join("catalog");
        std::fs::create_dir(&catalog).unwrap();
        let first = lock_changes(&catalog).ok().unwrap();
        let given = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let lock = lock_changes(&catalog);
                given.store(true, Ordering::SeqCst);
                lock.is_ok()
            });
            // It waits for the first one's file.
            std::thread::sleep(Duration::from_millis(100));
            std::fs::rename(&catalog, folder.path().join("removed")).unwrap();
            std::fs::create_dir(&catalog).unwrap();
            let second = lock_changes(&catalog).ok().unwrap();
            drop(first);
            std::thread::sleep(Duration::from_millis(100));
            assert!(!given.load(Ordering::SeqCst), "two have the lock");
            drop(second);
            assert!(waits.join().unwrap());
        });
        std::fs::remove_dir_all(&catalog).unwrap();
        assert!(matches!(lock_changes(&catalog), Err(LockError::Gone)));
    }
}
