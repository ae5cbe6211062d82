//! The catalogs of a data folder, by name.
//!
//! ```text
//! entities/NAME/catalog.json        which generation counts, and what it was built with
//! entities/NAME/GENERATION/
//!     tokenizer.json                the generator's, as it was
//!     names.bin                     the sealed names
//!     changes.log                   what was added and removed since
//! ```
//!
//! Several processes may work on one folder: who changes something holds a lock, who reads sees what
//! was written last.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::build::{NameLimits, Tally};
use super::change::{AddReport, apply, check, no_entity, replay};
use super::generation::{
    CHANGES, LockError, MANIFEST, Manifest, NAMES, Place, busy, cannot_read, lock_building,
    lock_changes, read_manifest,
};
use super::log::{self, Change, Removal};
use super::overlay::Overlay;
use super::sealed::Sealed;
use super::view::View;
use super::{NameRecord, NewAlias, NewName, RejectedName};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{check_name, sync_parent};
use crate::model::{Generator, NameTokenizer};

/// Most names of one request to add some.
pub const MAX_ADDED: usize = 10_000;
/// Additions and removals from which on a catalog should be sealed anew.
const MANY_CHANGES: usize = 100_000;
/// Catalogs that are kept open: each has a tokenizer in memory, and what was added to it.
const MOST_OPEN: usize = 16;
/// What the folders of catalogs that were removed begin with: no name of a catalog does.
const REMOVED: &str = ".removed-";

/// What a catalog is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogInfo {
    /// Its name.
    pub catalog: String,
    /// Names that can be written.
    pub names: usize,
    /// Of those, added since the names were sealed.
    pub added: usize,
    /// Sealed names that were removed since.
    pub removed: usize,
    /// Spellings of aliases; each that came with an added name is counted beside the sealed ones.
    pub aliases: usize,
    /// Whether ids are something else than the names.
    pub ids: bool,
    /// Size of the sealed names on disk, in bytes.
    pub bytes: u64,
    /// The part of it that is mapped into memory, in bytes; the rest is read when it is asked for.
    pub mapped_bytes: u64,
    /// Nodes of the trie of the sealed names.
    pub nodes: usize,
    /// Longest name in tokens.
    pub max_tokens: usize,
    /// The model whose tokenizer spells the names.
    pub model: String,
    /// Whether they are spelled as they are behind a space.
    pub after_space: bool,
    /// Hash of its `tokenizer.json`.
    pub tokenizer_sha256: String,
    /// When the names were sealed.
    #[schemars(with = "String")]
    pub built_at: DateTime<Utc>,
}

/// What a build has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BuildReport {
    /// Name of the catalog.
    pub catalog: String,
    /// Names in it.
    pub names: u64,
    /// Different token sequences among them: names that the tokenizer sees no difference between
    /// share one.
    pub spellings: u64,
    /// Names that came again with the same id, and were taken once.
    pub duplicates: u64,
    /// Names and aliases that could not be taken.
    pub rejected: u64,
    /// Spellings of aliases.
    pub aliases: u64,
    /// Aliases of names that are not in the catalog.
    pub unknown_targets: u64,
    /// Size on disk in bytes, the tokenizer not counted.
    pub bytes: u64,
}

/// How a catalog is built.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Name of the model whose tokenizer spells the names.
    pub model: String,
    /// Its folder.
    pub model_folder: PathBuf,
    /// Longest name in tokens.
    pub max_tokens: usize,
    /// Whether names are spelled as they are behind a space, for generators that write them there.
    pub after_space: bool,
    /// Whether a catalog of the name is replaced; it answers until the new one is there.
    pub replace: bool,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildProgress {
    /// So many names are read.
    Names(u64),
    /// So many names are in order.
    Sorted(u64),
    /// Names are sorted; so many aliases are read.
    Aliases(u64),
    /// The file is being written.
    Writing,
}

/// Names and aliases as they come. An error of the code `invalid_name` is about one of them, any
/// other ends it all.
pub type Incoming<'a, T> = &'a mut dyn Iterator<Item = Result<T>>;

/// What a build is made of, and who hears of it.
pub struct BuildInput<'a> {
    /// The names.
    pub names: Incoming<'a, NewName>,
    /// Aliases of names; those of the names themselves come with them.
    pub aliases: Incoming<'a, NewAlias>,
    /// Gets what cannot be taken.
    pub rejects: &'a mut dyn FnMut(RejectedName) -> Result<()>,
    /// Hears how far it is.
    pub progress: &'a mut dyn FnMut(BuildProgress),
}

/// What tells one state of a file from the next.
type Stamp = (Option<SystemTime>, u64, u64);

/// A catalog that was opened.
struct Opened {
    stamp: Stamp,
    manifest: Manifest,
    view: View,
    /// Up to where the changes are in the view.
    read: u64,
}

type Slot = Arc<Mutex<Option<Opened>>>;

/// Catalogs that were opened, and when each of them was asked for last.
#[derive(Default)]
struct Slots {
    all: HashMap<String, (Slot, u64)>,
    asked: u64,
}

impl Slots {
    /// The slot of a catalog. Of too many the one that was asked for least lately is given up.
    fn of(&mut self, name: &str) -> Slot {
        self.asked += 1;
        if !self.all.contains_key(name) && self.all.len() >= MOST_OPEN {
            let idle = self.all.iter();
            // One that somebody works on is kept: it would be opened twice.
            let idle = idle.filter(|(_, (slot, _))| Arc::strong_count(slot) == 1);
            let last = idle.min_by_key(|(_, (_, asked))| *asked);
            if let Some(name) = last.map(|(name, _)| name.clone()) {
                self.all.remove(&name);
            }
        }
        let (slot, asked) = self.all.entry(name.to_owned()).or_default();
        *asked = self.asked;
        slot.clone()
    }
}

/// The catalogs of one data folder.
pub struct Catalogs {
    folder: PathBuf,
    slots: Mutex<Slots>,
}

impl Catalogs {
    /// Those below a data folder; nothing is made before the first one is built.
    pub fn new(data: &Path) -> Catalogs {
        Catalogs {
            folder: data.join("entities"),
            slots: Mutex::default(),
        }
    }

    /// Their names, in the order of the alphabet.
    ///
    /// # Errors
    /// An operator's error where the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let cannot = |e| Error::operator_from(format!("cannot read {}", self.folder.display()), e);
        let entries = match std::fs::read_dir(&self.folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(cannot)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(cannot)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if check_name(&name).is_ok() && entry.path().join(MANIFEST).is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The catalog of this name, as it is now.
    ///
    /// # Errors
    /// `catalog_not_found`; an operator's error for files that cannot be read or are damaged.
    pub fn view(&self, name: &str) -> Result<View> {
        self.with(name, |opened| Ok(opened.view.clone()))
    }

    /// What a catalog is.
    ///
    /// # Errors
    /// As [`Catalogs::view`].
    pub fn info(&self, name: &str) -> Result<CatalogInfo> {
        self.with(name, |opened| {
            let View {
                sealed,
                overlay,
                tokenizer,
            } = &opened.view;
            Ok(CatalogInfo {
                catalog: name.to_owned(),
                names: opened.view.len(),
                added: overlay.additions(),
                removed: overlay.removals(),
                aliases: sealed.aliases().map_or(0, |aliases| aliases.trie.len())
                    + overlay.aliases(),
                ids: sealed.has_ids(),
                bytes: sealed.bytes(),
                mapped_bytes: sealed.bytes() - sealed.unmapped_bytes(),
                nodes: sealed.trie.nodes(),
                max_tokens: opened.manifest.max_tokens,
                model: opened.manifest.model.clone(),
                after_space: opened.manifest.after_space,
                tokenizer_sha256: tokenizer.sha256().to_owned(),
                built_at: opened.manifest.built_at,
            })
        })
    }

    /// Builds a catalog of names, durably.
    ///
    /// # Errors
    /// `invalid_request` for a name that cannot be used, `catalog_exists`, `task_running` while
    /// another build of it goes on, `invalid_name` where no name at all could be taken; what `input` gives; an operator's error where it cannot be
    /// written. There is no new catalog then, and the old one is as it was.
    pub fn build(
        &self,
        name: &str,
        options: &BuildOptions,
        input: BuildInput<'_>,
    ) -> Result<BuildReport> {
        check_catalog_name(name)?;
        if !options.replace && self.folder.join(name).join(MANIFEST).exists() {
            return Err(exists(name));
        }
        let place = Place::prepare(&self.folder.join(name), &options.model_folder)?;
        // No more than the generator writes, where the model is one.
        let writes = Generator::max_answer_in(&options.model_folder)?;
        let max_tokens = options.max_tokens.min(writes.unwrap_or(usize::MAX));
        let limits = NameLimits {
            tokens: max_tokens,
            ..NameLimits::default()
        };
        let (_, tally) = place.fill(limits, options.after_space, input)?;
        // Nothing takes the place of a catalog, or is one, where something was to be.
        let there = self.folder.join(name).join(MANIFEST).exists();
        if tally.names == 0 && (there || tally.rejected > 0) {
            return Err(nothing(&tally));
        }
        let bytes = place.bytes()?;
        let _lock = self.lock(name)?;
        if !options.replace && self.folder.join(name).join(MANIFEST).exists() {
            return Err(exists(name));
        }
        place.publish(&options.model, max_tokens, options.after_space)?;
        Ok(report(name, &tally, bytes))
    }

    /// Seals what was added and removed since the names were sealed: the same names as before,
    /// in one file.
    ///
    /// # Errors
    /// As [`Catalogs::build`].
    pub fn compact(
        &self,
        name: &str,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<BuildReport> {
        let folder = self.folder.join(name);
        let (view, manifest, sealed_up_to) = self.with(name, |opened| {
            Ok((opened.view.clone(), opened.manifest.clone(), opened.read))
        })?;
        let place = Place::prepare(&folder, &folder.join(&manifest.generation))?;
        let tally = super::compact::compact(&view, &place.folder, manifest.limits(), progress)?;
        let bytes = place.bytes()?;
        let _lock = self.lock(name)?;
        let now = read_manifest(&folder)?.ok_or_else(|| not_found(name))?;
        if now.generation != manifest.generation {
            return Err(busy(name));
        }
        // What was changed meanwhile is changed in the new generation too.
        let (changes, _) = log::read(&folder.join(&now.generation).join(CHANGES), sealed_up_to)?;
        log::append(&place.folder.join(CHANGES), 0, &changes)?;
        place.publish(&manifest.model, manifest.max_tokens, manifest.after_space)?;
        Ok(report(name, &tally, bytes))
    }

    /// Gives every name, and then every alias of one with how often it means it, as a build takes
    /// them: ids where they are not the names, aliases as the tokenizer reads them. Returns how many
    /// aliases it cannot read back; they are left out.
    ///
    /// # Errors
    /// As [`Catalogs::view`]; those of `names` and `aliases`.
    pub fn export(
        &self,
        name: &str,
        names: &mut dyn FnMut(NewName) -> Result<()>,
        aliases: &mut dyn FnMut(NewAlias) -> Result<()>,
    ) -> Result<u64> {
        super::export::export(&self.view(name)?, names, aliases)
    }

    /// Adds names, durably; they are visible at once. All of them are added or none.
    ///
    /// # Errors
    /// `catalog_not_found`, `invalid_name`, `limit_exceeded`; an operator's error where they
    /// cannot be written.
    pub fn add(&self, name: &str, names: Vec<NewName>) -> Result<AddReport> {
        if names.len() > MAX_ADDED {
            return Err(Problem::new(Code::LimitExceeded, "too many names at once")
                .field("names")
                .found(names.len())
                .expected(format!("at most {MAX_ADDED}; build a catalog of more"))
                .into());
        }
        self.change(name, Change::Add(names))
    }

    /// Removes an entity with all its names, or one of the names, durably; it is gone at once.
    /// Returns how many names are gone.
    ///
    /// # Errors
    /// `catalog_not_found`, `entity_not_found`; an operator's error where it cannot be written.
    pub fn remove(&self, catalog: &str, id: &str, name: Option<&str>) -> Result<usize> {
        let removal = Removal {
            id: id.to_owned(),
            name: name.map(str::to_owned),
        };
        self.change(catalog, Change::Remove(removal))
            .map(|report| report.replaced)
    }

    /// Removes a catalog.
    ///
    /// # Errors
    /// `catalog_not_found`, `task_running` while it is built or compacted; an operator's error where
    /// its files cannot be removed.
    pub fn delete(&self, name: &str) -> Result<()> {
        let folder = self.place(name)?;
        // Whatever it says: what is damaged can be removed too.
        let there = || match folder.join(MANIFEST).exists() {
            true => Ok(()),
            false => Err(not_found(name)),
        };
        there()?;
        let _building = lock_building(&folder).map_err(|error| gone(error, name))?;
        let _lock = self.lock(name)?;
        there()?;
        let cannot = |e: std::io::Error| {
            Error::operator_from(format!("cannot remove {}", folder.display()), e)
        };
        // It is gone in one step; what is left of it has no name of a catalog, and cannot be in the
        // way of another one of this name.
        let removed = format!("{REMOVED}{}", uuid::Uuid::new_v4().simple());
        std::fs::rename(&folder, self.folder.join(removed)).map_err(cannot)?;
        sync_parent(&folder)?;
        self.slots.lock().all.remove(name);
        self.sweep()
    }

    /// Removes what is left of catalogs that were removed, by a process that may have ended since.
    fn sweep(&self) -> Result<()> {
        let cannot =
            |e| Error::operator_from(format!("cannot remove from {}", self.folder.display()), e);
        for entry in std::fs::read_dir(&self.folder).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            if !entry.file_name().to_string_lossy().starts_with(REMOVED) {
                continue;
            }
            match std::fs::remove_dir_all(entry.path()) {
                // Another one removes it too.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(cannot)?,
            }
        }
        Ok(())
    }

    /// The names of an entity.
    ///
    /// # Errors
    /// `catalog_not_found`, `entity_not_found`; as [`Catalogs::view`].
    pub fn entity(&self, catalog: &str, id: &str) -> Result<Vec<NameRecord>> {
        let view = self.view(catalog)?;
        let mut records = Vec::new();
        for number in view.names_of_id(id)? {
            records.extend(view.record(number)?);
        }
        match records.is_empty() {
            true => Err(no_entity(id)),
            false => Ok(records),
        }
    }

    fn change(&self, name: &str, change: Change) -> Result<AddReport> {
        // Before anything is made: a lock's file would be a folder of a catalog that is not there.
        self.view(name)?;
        let _lock = self.lock(name)?;
        self.with(name, |opened| {
            let limits = opened.manifest.limits();
            check(&opened.view, &change, limits)?;
            let log = self.log(name, &opened.manifest);
            opened.read = log::append(&log, opened.read, std::slice::from_ref(&change))?;
            let before = opened.view.overlay.changes();
            let report = apply(&mut opened.view, &change, limits).inspect_err(|_| {
                // It is in the log: whoever comes next reads it again from there.
                opened.stamp = Stamp::default();
            })?;
            let changes = opened.view.overlay.changes();
            if before / MANY_CHANGES != changes / MANY_CHANGES {
                tracing::warn!(
                    catalog = name,
                    changes,
                    "seal the catalog: gleaner entities compact"
                );
            }
            Ok(report)
        })
    }

    fn log(&self, name: &str, manifest: &Manifest) -> PathBuf {
        self.folder
            .join(name)
            .join(&manifest.generation)
            .join(CHANGES)
    }

    /// The folder of a catalog: only of what can be a name, so that none leads elsewhere.
    fn place(&self, name: &str) -> Result<PathBuf> {
        check_catalog_name(name).map_err(|_| not_found(name))?;
        Ok(self.folder.join(name))
    }

    /// Works on a catalog as it is now.
    fn with<T>(&self, name: &str, work: impl FnOnce(&mut Opened) -> Result<T>) -> Result<T> {
        let folder = self.place(name)?;
        let slot = self.slots.lock().of(name);
        let mut slot = slot.lock();
        loop {
            // The stamp first: what is replaced meanwhile is read again the next time.
            let Some(stamp) = self.stamp(&folder)? else {
                self.slots.lock().all.remove(name);
                return Err(not_found(name));
            };
            if slot.as_ref().is_some_and(|opened| opened.stamp == stamp) {
                break;
            }
            *slot = None;
            let manifest = read_manifest(&folder)?.ok_or_else(|| not_found(name))?;
            match open(&folder.join(&manifest.generation), manifest, stamp) {
                Ok(opened) => {
                    *slot = Some(opened);
                    break;
                }
                // Replaced, and the old one removed, while it was being opened.
                Err(_) if self.stamp(&folder)? != Some(stamp) => {}
                Err(error) => return Err(error),
            }
        }
        let opened = slot
            .as_mut()
            .ok_or_else(|| Error::Bug("a catalog that was opened is not there".into()))?;
        let log = self.log(name, &opened.manifest);
        if log::len(&log)? > opened.read {
            let (changes, end) = log::read(&log, opened.read)?;
            let limits = opened.manifest.limits();
            // Others may still hold the view; that they go on with the old one is theirs to have.
            let mut view = opened.view.clone();
            for change in &changes {
                replay(&mut view, change, limits, &log)?;
            }
            opened.view = view;
            opened.read = end;
        }
        work(opened)
    }

    /// What tells the catalog's state from the next; None where there is no catalog.
    fn stamp(&self, folder: &Path) -> Result<Option<Stamp>> {
        let path = folder.join(MANIFEST);
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            metadata => Ok(Some(stamp(&metadata.map_err(|e| cannot_read(&path, e))?))),
        }
    }

    fn lock(&self, name: &str) -> Result<File> {
        lock_changes(&self.folder.join(name)).map_err(|error| gone(error, name))
    }
}

/// Refuses what cannot be a catalog's name.
///
/// # Errors
/// `invalid_request`, by the rules of names of indexes.
pub fn check_catalog_name(name: &str) -> Result<()> {
    check_name(name)
        .map_err(|problem| Problem {
            code: Code::InvalidRequest,
            message: "a catalog's name cannot be used".into(),
            ..problem
        })
        .map_err(Error::from)
}

fn open(folder: &Path, manifest: Manifest, stamp: Stamp) -> Result<Opened> {
    let names = folder.join(NAMES);
    let sealed = Sealed::open(&names).map_err(|e| {
        Error::operator(format!("{} {e}", names.display()))
            .advice("build the catalog again from its names")
    })?;
    // The model's folder may be gone or another one by now: this is a copy of its tokenizer.
    let tokenizer = NameTokenizer::open(folder).map_err(|e| match e {
        Error::User(problem) => {
            Error::operator(problem.to_string()).advice("build the catalog again from its names")
        }
        other => other,
    })?;
    let tokenizer = tokenizer.after_space(manifest.after_space);
    Ok(Opened {
        stamp,
        manifest,
        view: View {
            sealed: Arc::new(sealed),
            overlay: Arc::new(Overlay::default()),
            tokenizer: Arc::new(tokenizer),
        },
        read: 0,
    })
}

fn report(name: &str, tally: &Tally, bytes: u64) -> BuildReport {
    BuildReport {
        catalog: name.to_owned(),
        names: tally.names,
        spellings: tally.spellings,
        duplicates: tally.duplicates,
        rejected: tally.rejected,
        aliases: tally.aliases,
        unknown_targets: tally.unknown_targets,
        bytes,
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let number = 0;
    (metadata.modified().ok(), metadata.len(), number)
}

fn gone(error: LockError, name: &str) -> Error {
    match error {
        LockError::Gone => not_found(name),
        LockError::Failed(error) => error,
    }
}

fn nothing(tally: &Tally) -> Error {
    Problem::new(Code::InvalidName, "there is no name that can be taken")
        .field("names")
        .found(format!("{} names, all of them refused", tally.rejected))
        .expected("at least one that the catalog can have; the rejects say what is wrong")
        .into()
}

fn not_found(name: &str) -> Error {
    Problem::new(
        Code::CatalogNotFound,
        "there is no catalog of entities of this name",
    )
    .field("catalog")
    .found(name)
    .expected("one that gleaner entities list names")
    .into()
}

fn exists(name: &str) -> Error {
    Problem::new(
        Code::CatalogExists,
        "there is a catalog of entities of this name already",
    )
    .field("catalog")
    .found(name)
    .expected("another name, or --replace on the command line")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_catalogs_are_kept_open_and_those_that_are_asked_for() {
        let mut slots = Slots::default();
        let (first, busy) = (slots.of("first"), slots.of("busy"));
        let first = Arc::downgrade(&first);
        for number in 0..100 {
            slots.of(&format!("other-{number}"));
            assert!(slots.all.len() <= MOST_OPEN);
            // Asked for again and again.
            assert!(Arc::ptr_eq(&slots.of("first"), &first.upgrade().unwrap()));
        }
        assert!(Arc::ptr_eq(&slots.of("busy"), &busy));
    }
}
