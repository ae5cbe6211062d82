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
//! A generation is built beside the one that counts, synced, and made to count by replacing
//! `catalog.json`: whatever instant a process ends at, a build has happened or it has not. Several
//! processes may work on one folder: who changes something holds a lock, who reads sees what was
//! written last.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::build::{BATCH, Builder, NameLimits, Tally};
use super::log::{self, Change, Removal};
use super::overlay::{Added, Overlay};
use super::sealed::Sealed;
use super::view::View;
use super::{NameRecord, NewAlias, NewName, RejectedName};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{check_name, sync_parent};
use crate::model::NameTokenizer;

/// What the folders' shape is called; one of another is refused, not guessed at.
const VERSION: u32 = 1;
const MANIFEST: &str = "catalog.json";
const NAMES: &str = "names.bin";
const CHANGES: &str = "changes.log";
const TOKENIZER: &str = "tokenizer.json";
/// Who changes something holds a lock on this file of the catalog.
const LOCK: &str = ".lock";
/// Who builds holds one on this.
const BUILDING: &str = ".building";
/// Most names of one request to add some.
pub const MAX_ADDED: usize = 10_000;
/// Additions and removals from which on a catalog should be sealed anew.
const MANY_CHANGES: usize = 100_000;

/// As it lies in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    generation: String,
    /// Name of the model whose tokenizer it has.
    model: String,
    max_tokens: usize,
    built_at: DateTime<Utc>,
}

impl Manifest {
    fn limits(&self) -> NameLimits {
        NameLimits {
            tokens: self.max_tokens,
            ..NameLimits::default()
        }
    }
}

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
    /// Spellings of aliases, those of added names not counted.
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

/// What came of adding names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddReport {
    /// Names that are new.
    pub added: usize,
    /// Names that were there with the same id, and are now as they came; they keep their aliases.
    pub replaced: usize,
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
    /// Whether a catalog of the name is replaced; it answers until the new one is there.
    pub replace: bool,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildProgress {
    /// So many names are read.
    Names(u64),
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

/// The catalogs of one data folder.
pub struct Catalogs {
    folder: PathBuf,
    slots: Mutex<HashMap<String, Slot>>,
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
                aliases: sealed.aliases().map_or(0, |aliases| aliases.trie.len()),
                ids: sealed.has_ids(),
                bytes: sealed.bytes(),
                mapped_bytes: sealed.bytes() - sealed.unmapped_bytes(),
                nodes: sealed.trie.nodes(),
                max_tokens: opened.manifest.max_tokens,
                model: opened.manifest.model.clone(),
                tokenizer_sha256: tokenizer.sha256().to_owned(),
                built_at: opened.manifest.built_at,
            })
        })
    }

    /// Builds a catalog of names, durably.
    ///
    /// # Errors
    /// `invalid_request` for a name that cannot be used, `catalog_exists`, `task_running` while
    /// another build of it goes on; what `input` gives; an operator's error where it cannot be
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
        let limits = NameLimits {
            tokens: options.max_tokens,
            ..NameLimits::default()
        };
        let (_, tally) = place.fill(limits, input)?;
        let bytes = place.bytes()?;
        let _lock = self.lock(name)?;
        if !options.replace && self.folder.join(name).join(MANIFEST).exists() {
            return Err(exists(name));
        }
        place.publish(&options.model, options.max_tokens)?;
        Ok(report(name, &tally, bytes))
    }

    /// Seals what was added and removed since the names were sealed: the same names as before,
    /// in one file.
    ///
    /// # Errors
    /// As [`Catalogs::build`].
    pub fn compact(&self, name: &str) -> Result<BuildReport> {
        let folder = self.folder.join(name);
        let (view, manifest, sealed_up_to) = self.with(name, |opened| {
            Ok((opened.view.clone(), opened.manifest.clone(), opened.read))
        })?;
        let place = Place::prepare(&folder, &folder.join(&manifest.generation))?;
        let tally = super::compact::compact(&view, &place.folder, manifest.limits())?;
        let bytes = place.bytes()?;
        let _lock = self.lock(name)?;
        let now = read_manifest(&folder)?.ok_or_else(|| not_found(name))?;
        if now.generation != manifest.generation {
            return Err(busy(name));
        }
        // What was changed meanwhile is changed in the new generation too.
        let (changes, _) = log::read(&folder.join(&now.generation).join(CHANGES), sealed_up_to)?;
        log::append(&place.folder.join(CHANGES), 0, &changes)?;
        place.publish(&manifest.model, manifest.max_tokens)?;
        Ok(report(name, &tally, bytes))
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
    /// `catalog_not_found`; an operator's error where its files cannot be removed.
    pub fn delete(&self, name: &str) -> Result<()> {
        let folder = self.place(name)?;
        if read_manifest(&folder)?.is_none() {
            return Err(not_found(name));
        }
        let _lock = self.lock(name)?;
        let cannot = |e: std::io::Error| {
            Error::operator_from(format!("cannot remove {}", folder.display()), e)
        };
        // It is gone with this file; the rest is no catalog any more.
        match std::fs::remove_file(folder.join(MANIFEST)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(not_found(name)),
            removed => removed.map_err(cannot)?,
        }
        sync_parent(&folder.join(MANIFEST))?;
        self.slots.lock().remove(name);
        std::fs::remove_dir_all(&folder).map_err(cannot)
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
            let mut view = opened.view.clone();
            let report = apply(&mut view, &change, opened.manifest.limits())?;
            let log = self.log(name, &opened.manifest);
            opened.read = log::append(&log, opened.read, &[change])?;
            opened.view = view;
            let changes = opened.view.overlay.added.len() + opened.view.overlay.removals();
            if changes.is_multiple_of(MANY_CHANGES) {
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
        let slot = self
            .slots
            .lock()
            .entry(name.to_owned())
            .or_default()
            .clone();
        let mut slot = slot.lock();
        loop {
            // The stamp first: what is replaced meanwhile is read again the next time.
            let Some(stamp) = self.stamp(&folder)? else {
                self.slots.lock().remove(name);
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
        lock_file(&self.folder.join(name).join(LOCK), true)?
            .ok_or_else(|| Error::Bug("a lock that was waited for was not given".into()))
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

/// A generation being built: not found by anybody before it is published, and removed where it
/// never is.
struct Place {
    catalog: PathBuf,
    folder: PathBuf,
    generation: String,
    published: bool,
    _building: File,
}

impl Place {
    fn prepare(catalog: &Path, tokenizer: &Path) -> Result<Place> {
        let cannot = |e: std::io::Error| {
            Error::operator_from(format!("cannot write {}", catalog.display()), e)
        };
        std::fs::create_dir_all(catalog).map_err(cannot)?;
        let name = catalog.file_name().unwrap_or_default().to_string_lossy();
        let building = lock_file(&catalog.join(BUILDING), false)?.ok_or_else(|| busy(&name))?;
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

    fn fill(&self, limits: NameLimits, input: BuildInput<'_>) -> Result<(Sealed, Tally)> {
        let tokenizer = NameTokenizer::open(&self.folder)?;
        let mut builder = Builder::new(&self.folder, &tokenizer, limits);
        let mut rejected = 0;
        let mut count = 0;
        while let Some(batch) = batch(input.names, &mut rejected, input.rejects)? {
            count += batch.len() as u64;
            builder.add(&batch, input.rejects)?;
            (input.progress)(BuildProgress::Names(count));
        }
        let mut named = builder.sort_names(&self.folder)?;
        let mut count = 0;
        while let Some(batch) = batch(input.aliases, &mut rejected, input.rejects)? {
            count += batch.len() as u64;
            named.add_aliases(&batch, input.rejects)?;
            (input.progress)(BuildProgress::Aliases(count));
        }
        (input.progress)(BuildProgress::Writing);
        let (sealed, mut tally) = named.write(&self.folder.join(NAMES))?;
        tally.rejected += rejected;
        Ok((sealed, tally))
    }

    fn bytes(&self) -> Result<u64> {
        let path = self.folder.join(NAMES);
        let metadata = std::fs::metadata(&path).map_err(|e| cannot_read(&path, e))?;
        Ok(metadata.len())
    }

    /// Makes this the generation that counts. The caller holds the catalog's lock.
    fn publish(mut self, model: &str, max_tokens: usize) -> Result<()> {
        let manifest = Manifest {
            version: VERSION,
            generation: self.generation.clone(),
            model: model.to_owned(),
            max_tokens,
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

/// The next names or aliases; None at the end.
fn batch<T>(
    incoming: Incoming<'_, T>,
    rejected: &mut u64,
    rejects: &mut dyn FnMut(RejectedName) -> Result<()>,
) -> Result<Option<Vec<T>>> {
    let mut batch = Vec::new();
    for next in &mut *incoming {
        match next {
            Ok(new) => batch.push(new),
            Err(Error::User(problem)) if problem.code == Code::InvalidName => {
                *rejected += 1;
                rejects(RejectedName {
                    row: 0,
                    name: problem.found.clone().unwrap_or_default(),
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

/// Makes a change that was checked when it was written.
fn replay(view: &mut View, change: &Change, limits: NameLimits, log: &Path) -> Result<()> {
    match apply(view, change, limits) {
        Ok(_) => Ok(()),
        // It was there when the change was made, and is gone: by another change.
        Err(Error::User(problem)) if problem.code == Code::EntityNotFound => Ok(()),
        Err(Error::User(problem)) => Err(Error::operator(format!(
            "{} has a change that cannot be made: {problem}",
            log.display()
        ))
        .advice("build the catalog again from its names")),
        Err(error) => Err(error),
    }
}

/// Makes a change to a view, which is left half changed only where an error is given.
fn apply(view: &mut View, change: &Change, limits: NameLimits) -> Result<AddReport> {
    match change {
        Change::Add(names) => add(view, names, limits),
        Change::Remove(removal) => remove(view, removal),
    }
}

fn add(view: &mut View, names: &[NewName], limits: NameLimits) -> Result<AddReport> {
    let mut report = AddReport::default();
    for (index, new) in names.iter().enumerate() {
        let within = |error: Error| match error {
            Error::User(problem) => {
                let field = problem.field.clone().unwrap_or_default();
                problem.field(format!("names[{index}].{field}")).into()
            }
            other => other,
        };
        super::build::check_fields(new, limits).map_err(within)?;
        let tokens = limits.spell(&view.tokenizer, &new.name).map_err(within)?;
        let mut aliases = Vec::new();
        for alias in &new.aliases {
            let spelled = limits.spell(&view.tokenizer, alias);
            let tokens = spelled.map_err(|e| within(aliases_field(e)))?;
            if !aliases.contains(&tokens) {
                aliases.push(tokens);
            }
        }
        let id = new.id.clone().unwrap_or_else(|| new.name.clone());
        let before = same(view, &id, &new.name)?;
        let sealed = view.sealed.clone();
        let overlay = Arc::make_mut(&mut view.overlay);
        match before {
            None => report.added += 1,
            Some(number) => {
                report.replaced += 1;
                match number.checked_sub(sealed.len() as u32) {
                    None => {
                        overlay.moves_to_next(number);
                        overlay.remove_sealed(&sealed, number, &tokens);
                    }
                    Some(what) => {
                        let of = overlay.added.get(what as usize);
                        let kept = of.map_or_else(Vec::new, |added| added.aliases.clone());
                        aliases.extend(kept);
                        aliases.sort();
                        aliases.dedup();
                        overlay.replaced_by_next(what);
                        overlay.remove_added(what);
                    }
                }
            }
        }
        overlay.add(Added {
            record: NameRecord {
                name: new.name.clone(),
                id,
                description: new.description.clone().filter(|text| !text.is_empty()),
                popularity: new.popularity,
            },
            tokens,
            aliases,
            removed: false,
        });
    }
    Ok(report)
}

fn aliases_field(error: Error) -> Error {
    match error {
        Error::User(problem) => problem.field("aliases").into(),
        other => other,
    }
}

/// Number of the name of an id.
fn same(view: &View, id: &str, name: &str) -> Result<Option<u32>> {
    for number in view.names_of_id(id)? {
        if view
            .record(number)?
            .is_some_and(|record| record.name == name)
        {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn remove(view: &mut View, removal: &Removal) -> Result<AddReport> {
    let mut gone = Vec::new();
    for number in view.names_of_id(&removal.id)? {
        let Some(record) = view.record(number)? else {
            continue;
        };
        if removal
            .name
            .as_ref()
            .is_none_or(|name| *name == record.name)
        {
            let tokens = view.tokenizer.tokens(&record.name)?;
            gone.push((number, tokens.unwrap_or_default()));
        }
    }
    if gone.is_empty() {
        return Err(no_entity(removal.name.as_deref().unwrap_or(&removal.id)));
    }
    let sealed = view.sealed.clone();
    let overlay = Arc::make_mut(&mut view.overlay);
    for (number, tokens) in &gone {
        match number.checked_sub(sealed.len() as u32) {
            None => overlay.remove_sealed(&sealed, *number, tokens),
            Some(what) => overlay.remove_added(what),
        }
    }
    Ok(AddReport {
        added: 0,
        replaced: gone.len(),
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

fn read_manifest(folder: &Path) -> Result<Option<Manifest>> {
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

/// Locks a file; None where another has it and it is not waited for.
fn lock_file(path: &Path, wait: bool) -> Result<Option<File>> {
    let cannot =
        |e: std::io::Error| Error::operator_from(format!("cannot lock {}", path.display()), e);
    let file = File::create(path).map_err(cannot)?;
    if wait {
        file.lock().map_err(cannot)?;
        return Ok(Some(file));
    }
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(cannot(e)),
    }
}

fn cannot_read(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::operator_from(format!("cannot read {}", path.display()), error)
}

fn stamp(metadata: &Metadata) -> Stamp {
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let number = 0;
    (metadata.modified().ok(), metadata.len(), number)
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
    .expected("another name, or that it is to be replaced")
    .into()
}

fn busy(name: &str) -> Error {
    Problem::new(Code::TaskRunning, "the catalog is being built already")
        .field("catalog")
        .found(name)
        .into()
}

fn no_entity(id: &str) -> Error {
    Problem::new(
        Code::EntityNotFound,
        "there is no entity of this id in the catalog",
    )
    .field("id")
    .found(id)
    .into()
}
