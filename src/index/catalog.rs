//! All indexes of a data folder, by name.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard, RwLock};
use tracing::{error, info, warn};

use super::aliases::Aliases;
use super::follow::Attachments;
use super::open::{is_in_use, is_marked, remove_folder, sync_parent, with_suffix};
use super::snapshots::Location;
use super::write::moved;
use super::{Definition, Index, Reindex, Still, check_name};
use crate::config::{Config, Limits, Storage};
use crate::error::{Code, Error, Problem, Result};
use crate::model::Registry;
use crate::store::{Shared, StoreOptions};

/// Longest wait for work on an index to end before it is removed.
const CLOSING: Duration = Duration::from_secs(2);

/// What every index of a process shares.
#[derive(Clone)]
pub struct Settings {
    /// Models by name.
    pub models: Arc<Registry>,
    /// Limits on documents.
    pub limits: Limits,
    /// Memory and timing.
    pub storage: Storage,
    /// RocksDB's settings, with the shared cache.
    pub store: StoreOptions,
}

impl Settings {
    /// The settings a configuration asks for.
    pub fn new(config: &Config) -> Settings {
        Settings {
            models: Arc::new(Registry::new(
                config.models.folders.clone(),
                config.models.runtime.clone(),
            )),
            limits: config.limits.clone(),
            storage: config.storage.clone(),
            store: StoreOptions {
                write_buffer_bytes: config.storage.write_buffer_bytes,
                shared: Some(Shared::new(
                    config.storage.block_cache_bytes,
                    config.storage.write_buffer_bytes.saturating_mul(4),
                )),
                ..StoreOptions::default()
            },
        }
    }
}

/// The indexes of one data folder. Each open index is locked by its store: a second
/// process that opens it gets an error rather than a second writer.
pub struct Catalog {
    folder: PathBuf,
    aliases: Aliases,
    settings: Settings,
    indexes: RwLock<BTreeMap<String, Arc<Index>>>,
    /// Creation and removal, one at a time. A door is never waited for while this is held.
    pub(super) changing: Mutex<()>,
    /// Indexes that are made anew, under way or ended, by the name of the one that is read.
    pub(super) reindexes: Mutex<BTreeMap<String, Arc<Reindex>>>,
    /// Indexes that were built elsewhere.
    pub(super) attached: Attachments,
    /// Where its snapshots are.
    pub(super) location: Location,
    /// Taking, restoring and removing snapshots, one at a time.
    pub(super) snapshotting: Mutex<()>,
    /// Held while the index of that name is opened: only those who want this one wait.
    doors: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    /// Held by the caller that waits, for a while, at a door; the others are turned away
    /// at once, so that those who want an open index find a thread to work for them.
    chair: Mutex<()>,
}

/// Longest that [`Catalog::get`] waits for another that opens the index.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the folder of an index is called while it is removed.
pub(super) const REMOVING: &str = ".removing";
/// Times that a write is done over because its alias moved meanwhile.
const MOVES: usize = 8;
/// What the folder of an index is called while it is made of a snapshot.
pub(super) const RESTORING: &str = ".restoring";

/// How often the records of requests that were carried out once are looked through.
const FORGET_EVERY: Duration = Duration::from_secs(600);

impl Catalog {
    /// A catalog over `config.data.folder`, with no index opened yet.
    pub fn new(config: &Config) -> Result<Catalog> {
        let folder = config.data.folder.join("indexes");
        let data_is_new = !config.data.folder.exists();
        let made = match data_is_new {
            true => make_private(&config.data.folder),
            false => Ok(()),
        };
        made.and_then(|()| std::fs::create_dir_all(&folder))
            .map_err(|e| {
                Error::operator_from(format!("cannot create {}", folder.display()), e)
                    .advice("name a writable folder with --data or GLEANER_DATA")
            })?;
        // An index survives a power loss only if the folders it lies in do.
        sync_parent(&folder)?;
        if data_is_new {
            sync_parent(&config.data.folder)?;
        }
        let catalog = Catalog {
            folder,
            aliases: Aliases::open(config.data.folder.join("aliases.json"))?,
            settings: Settings::new(config),
            indexes: RwLock::default(),
            changing: Mutex::default(),
            reindexes: Mutex::default(),
            attached: Attachments::open(&config.data.folder),
            location: Location::new(config),
            snapshotting: Mutex::default(),
            doors: Mutex::default(),
            chair: Mutex::default(),
        };
        catalog.finish_removals()?;
        catalog.attach_configured(&config.snapshots.attached)?;
        Ok(catalog)
    }

    /// Removes what a removal or a reindexing that was cut short has left. What a creation left stays:
    /// another process may be at it.
    fn finish_removals(&self) -> Result<()> {
        let wrong = |e| Error::operator_from(format!("cannot list {}", self.folder.display()), e);
        for entry in std::fs::read_dir(&self.folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let removed = name.and_then(|name| name.strip_suffix(REMOVING));
            if removed.is_some_and(|name| check_name(name).is_ok()) && path.is_dir() {
                match remove_folder(&path) {
                    Ok(()) => info!(folder = %path.display(), "finished a removal cut short"),
                    // It takes room and harms nobody otherwise.
                    Err(error) => warn!(%error, "a removal cut short cannot be finished"),
                }
            }
            if let Some(name) = name.filter(|name| check_name(name).is_ok())
                && is_marked(&path)
                && let Err(error) = self.settle(name)
            {
                warn!(%error, index = name, "a reindexing cut short cannot be ended");
            }
        }
        Ok(())
    }

    /// What the indexes share.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Opens every index there is. One that cannot be opened is logged and left out,
    /// so that it does not take the others down with it.
    pub fn open_all(&self) -> Result<()> {
        for name in self.names_on_disk()? {
            if let Err(error) = self.wait_for(&name) {
                error!(index = name, %error, "the index cannot be opened and is left out");
            }
        }
        Ok(())
    }

    /// Names of the indexes in the folder, opened or not, in order.
    pub fn names_on_disk(&self) -> Result<Vec<String>> {
        let wrong = |e| Error::operator_from(format!("cannot list {}", self.folder.display()), e);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            if let Ok(name) = entry.file_name().into_string()
                && check_name(&name).is_ok()
                && self.is_there(&name)
            {
                names.push(name);
            }
        }
        let attached = self.attached.all().into_iter();
        names.extend(
            attached
                .filter(|one| one.current().is_some())
                .map(|one| one.name().to_string()),
        );
        names.sort();
        Ok(names)
    }

    /// The open indexes, by name.
    pub fn open_indexes(&self) -> Vec<Arc<Index>> {
        self.indexes.read().values().cloned().collect()
    }

    /// The aliases there are, and the indexes they stand for.
    pub fn aliases(&self) -> BTreeMap<String, String> {
        self.aliases.all()
    }

    /// Lets each alias stand for an index, or with `None` for nothing any more: all of them
    /// in one step, durably. Requests under way go on with the index they began with.
    ///
    /// # Errors
    /// `index_not_found`, `index_exists` for the name of an index, `invalid_request` for
    /// what cannot be a name; then nothing changed.
    pub fn set_aliases(
        &self,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<BTreeMap<String, String>> {
        let _changing = self.changing.lock();
        let mut aliases = self.aliases.all();
        for (alias, index) in changes {
            check_name(alias).map_err(|problem| Problem {
                code: Code::InvalidRequest,
                field: Some("aliases".into()),
                ..problem
            })?;
            if index.is_some() && self.path(alias).exists() {
                return Err(Problem::new(
                    Code::IndexExists,
                    format!("there is an index {alias:?}, so that cannot be an alias"),
                )
                .field("aliases")
                .found(alias)
                .expected("a name that no index has")
                .into());
            }
            match index {
                None => drop(aliases.remove(alias)),
                Some(index) => {
                    if !self.is_there(index) {
                        return Err(self.not_found(index));
                    }
                    aliases.insert(alias.clone(), index.clone());
                }
            }
        }
        self.aliases.replace(aliases.clone())?;
        Ok(aliases)
    }

    /// Makes these the aliases there are, durably.
    pub(super) fn replace_aliases(&self, aliases: BTreeMap<String, String>) -> Result<()> {
        self.aliases.replace(aliases)
    }

    /// Writes to an index by name or alias: calls `write` with the index and with what it
    /// has to hand to [`Index::change_as`] and its like. Where the alias is moved by a
    /// reindexing in the middle, `write` is called again with the index it stands for now,
    /// so that no write that was answered is missing from what the alias names.
    ///
    /// # Errors
    /// As [`Catalog::get`], what `write` answers, and `alias_moved` where the alias moves
    /// time and again.
    pub fn write<T>(
        &self,
        name: &str,
        mut write: impl FnMut(&Arc<Index>, Still<'_>) -> Result<T>,
    ) -> Result<T> {
        for _ in 0..MOVES {
            let index = self.get(name)?;
            index.check_writable()?;
            let still = || {
                index.name() == name || self.aliases.resolve(name).as_deref() == Some(index.name())
            };
            match write(&index, &still) {
                Err(error) if is(&error, Code::AliasMoved) => {}
                done => return done,
            }
        }
        Err(moved(name).into())
    }

    /// Creates an index, or puts another definition of one that is there into force where
    /// that needs nothing indexed anew; whether it was created, and whether anything changed.
    ///
    /// # Errors
    /// `reindex_needed` with what differs; `index_exists` for the name of an alias; as
    /// [`Catalog::create`].
    pub fn define(&self, definition: Definition) -> Result<Defined> {
        check_name(&definition.name)?;
        if !self.is_there(&definition.name) {
            let index = self.create(definition)?;
            return Ok(Defined::Created(index));
        }
        let index = self.get(&definition.name)?;
        let changed = index.redefine(definition)?;
        if changed {
            info!(index = index.name(), "another definition is in force");
        }
        Ok(match changed {
            true => Defined::Changed(index),
            false => Defined::Same(index),
        })
    }

    /// An index by name or alias, opened if it is not yet.
    ///
    /// # Errors
    /// `index_not_found` with the names there are; `overloaded` while another opens it
    /// and takes long.
    pub fn get(&self, name: &str) -> Result<Arc<Index>> {
        self.opened(name, |lock| {
            if let Some(held) = lock.try_lock() {
                return Ok(held);
            }
            self.chair
                .try_lock()
                .and_then(|_chair| lock.try_lock_for(PATIENCE))
                .ok_or_else(|| being_opened(name))
        })
    }

    /// As [`Catalog::get`], but waits for another that opens it for as long as it takes.
    ///
    /// # Errors
    /// `index_not_found` with the names there are.
    pub fn wait_for(&self, name: &str) -> Result<Arc<Index>> {
        self.opened(name, |lock| Ok(lock.lock()))
    }

    fn opened(
        &self,
        name: &str,
        wait: impl for<'a> Fn(&'a Mutex<()>) -> Result<MutexGuard<'a, ()>>,
    ) -> Result<Arc<Index>> {
        let aliased = self.aliases.resolve(name);
        match self.opened_itself(aliased.as_deref().unwrap_or(name), &wait) {
            // The alias was moved, and what it stood for removed, since it was looked up.
            Err(error) if is(&error, Code::IndexNotFound) => match self.aliases.resolve(name) {
                Some(now) if aliased.as_ref() != Some(&now) => self.opened_itself(&now, &wait),
                _ => Err(error),
            },
            opened => opened,
        }
    }

    /// The same by its own name.
    fn opened_itself(
        &self,
        name: &str,
        wait: &impl for<'a> Fn(&'a Mutex<()>) -> Result<MutexGuard<'a, ()>>,
    ) -> Result<Arc<Index>> {
        if let Some(index) = self.indexes.read().get(name) {
            return Ok(index.clone());
        }
        if !self.is_there(name) {
            return Err(self.not_found(name));
        }
        let door = self.doors.lock().entry(name.into()).or_default().clone();
        let _opening = wait(&door)?;
        {
            // One that is being created is in its folder before it is among the others.
            let _changing = wait(&self.changing)?;
            if let Some(index) = self.indexes.read().get(name) {
                return Ok(index.clone());
            }
            if !self.is_there(name) {
                return Err(self.not_found(name));
            }
        }
        let started = Instant::now();
        let path = self.path(name);
        let mut opened = Index::open(&path, &self.settings);
        if opened.is_err() && self.path(name) != path {
            // Another version has come to count, and this one was removed.
            opened = Index::open(&self.path(name), &self.settings);
        }
        let _changing = self.changing.lock();
        // Removed while it was opened, and perhaps created anew.
        if let Some(index) = self.indexes.read().get(name) {
            return Ok(index.clone());
        }
        if !self.is_there(name) {
            return Err(self.not_found(name));
        }
        let index = Arc::new(opened?);
        if let Some(attachment) = self.attached.get(name) {
            index.set_attached(attachment);
        }
        info!(
            index = name,
            documents = index.view().documents,
            took_ms = started.elapsed().as_millis() as u64,
            "opened"
        );
        self.indexes.write().insert(name.into(), index.clone());
        Ok(index)
    }

    /// Creates an index.
    ///
    /// # Errors
    /// `index_exists`, `invalid_definition`, `model_not_found`.
    pub fn create(&self, definition: Definition) -> Result<Arc<Index>> {
        definition.check()?;
        let name = definition.name.clone();
        let _changing = self.changing.lock();
        self.check_free(&name)?;
        let index = Arc::new(Index::create(
            &self.path(&name),
            definition,
            &self.settings,
        )?);
        info!(index = name, "created");
        self.indexes.write().insert(name, index.clone());
        Ok(index)
    }

    /// Lets `make` make the folder of a new index, beside its place, and puts it there.
    /// Other indexes are created and removed meanwhile.
    ///
    /// # Errors
    /// `index_exists`, and what `make` answers.
    pub(super) fn make_at(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.check_free(name)?;
        let folder = self.path(name);
        let making = with_suffix(&folder, RESTORING);
        let placed = make(&making).and_then(|()| {
            let _changing = self.changing.lock();
            self.check_free(name)?;
            std::fs::rename(&making, &folder).map_err(|e| {
                Error::operator_from(format!("cannot rename {}", making.display()), e)
            })?;
            sync_parent(&folder)
        });
        if placed.is_err() {
            remove_folder(&making)?;
        }
        placed
    }

    pub(super) fn check_free(&self, name: &str) -> Result<()> {
        let is_alias = self.aliases.resolve(name).is_some();
        let is_attached = self.attached.get(name).is_some();
        if is_alias || is_attached || self.path(name).exists() {
            let what = match is_alias {
                true => "an alias",
                false if is_marked(&self.path(name)) => {
                    "an index being made by a reindexing called"
                }
                false => "an index",
            };
            return Err(Problem::new(
                Code::IndexExists,
                format!("there is {what} {name:?} already"),
            )
            .field("name")
            .found(name)
            .expected("a name not taken, or the index removed first")
            .into());
        }
        Ok(())
    }

    /// Removes an index and everything in it, once nobody works on it any more.
    ///
    /// # Errors
    /// `index_not_found`; `index_aliased` where an alias stands for it; `task_running` while
    /// it is reindexed or a newer version of it is fetched; `overloaded` if searches or writes under way hold it for longer than
    /// two seconds. Then it is left as it was.
    pub fn remove(&self, name: &str) -> Result<()> {
        let attachment = self.attached.get(name);
        let _looking = match &attachment {
            Some(attachment) => Some(attachment.at_rest()?),
            None => None,
        };
        // Not while it is being opened: the store works by path.
        let door = self.doors.lock().get(name).cloned();
        let _opening = door.as_ref().map(|door| door.lock());
        let _changing = self.changing.lock();
        self.check_not_reindexed(name)?;
        if !self.is_there(name) {
            return Err(self.not_found(name));
        }
        let aliases = self.aliases.all();
        if let Some((alias, _)) = aliases.iter().find(|(_, index)| *index == name) {
            return Err(Problem::new(
                Code::IndexAliased,
                format!("alias {alias:?} stands for index {name:?}"),
            )
            .field("index")
            .found(name)
            .expected("an index without aliases; move or remove them first")
            .into());
        }
        self.close(name)?;
        if is_in_use(&self.path(name)) {
            return Err(Error::operator(format!(
                "index {name:?} is not removed: another process has it open"
            ))
            .advice("ask a running server to (DELETE, docs/rest.md), or stop it"));
        }
        if let Some(attachment) = &attachment {
            self.attached.forget(name);
            attachment.remove()?;
            info!(index = name, "removed");
            return Ok(());
        }
        // Renamed first: from that moment the name is free and nothing half-removed
        // is ever opened.
        let leaving = self.folder.join(format!("{name}.removing"));
        remove_folder(&leaving)?;
        std::fs::rename(self.path(name), &leaving)
            .map_err(|e| Error::operator_from(format!("cannot remove index {name:?}"), e))?;
        sync_parent(&leaving)?;
        remove_folder(&leaving)?;
        info!(index = name, "removed");
        Ok(())
    }

    /// Closes an index: its store works by path, and must not be open when the path comes
    /// to belong to another index.
    fn close(&self, name: &str) -> Result<()> {
        let Some(mut index) = self.indexes.write().remove(name) else {
            return Ok(());
        };
        let started = Instant::now();
        loop {
            match Arc::try_unwrap(index) {
                Ok(index) => {
                    drop(index);
                    return Ok(());
                }
                Err(held) if started.elapsed() > CLOSING => {
                    self.indexes.write().insert(name.into(), held);
                    return Err(Problem::new(
                        Code::Overloaded,
                        format!("index {name:?} is in use and was not removed"),
                    )
                    .field("index")
                    .found("requests that are still being answered")
                    .expected("an index at rest; try again")
                    .into());
                }
                Err(held) => {
                    index = held;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    /// Whether another process has the index of this name or alias open, so that this one cannot
    /// open it.
    pub fn is_open_elsewhere(&self, name: &str) -> bool {
        let aliased = self.aliases.resolve(name);
        let name = aliased.as_deref().unwrap_or(name);
        let is_open = self.indexes.read().contains_key(name);
        !is_open && self.is_there(name) && is_in_use(&self.path(name))
    }

    /// Closes the indexes that nobody works with at the moment, so that another process can open
    /// them; with them goes what was kept for callers between their requests. Whether none is
    /// open any more.
    pub fn close_at_rest(&self) -> bool {
        // Whoever wants one waits until it is closed: a store is opened once at a time.
        let mut indexes = self.indexes.write();
        indexes.retain(|_, index| Arc::strong_count(index) > 1);
        indexes.is_empty()
    }

    /// Refreshes stale indexes until the returned guard is dropped. A refresh that takes
    /// long is followed by a pause of the same length, so that bulk loads are not spent on
    /// refreshing.
    pub fn refresh_in_background(self: &Arc<Self>) -> std::io::Result<Refresher> {
        let catalog = Arc::downgrade(self);
        let interval = Duration::from_millis(self.settings.storage.refresh_ms.max(10));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("refresh".into())
            .spawn(move || {
                let mut pause = interval;
                let mut forgotten: Option<Instant> = None;
                while stopped.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    let Some(catalog) = catalog.upgrade() else {
                        return;
                    };
                    let started = Instant::now();
                    for index in catalog.open_indexes() {
                        if !index.is_stale() {
                            index.adopt_graphs();
                            continue;
                        }
                        // One index's trouble must not end refreshing for all.
                        match catch_unwind(AssertUnwindSafe(|| index.refresh())) {
                            Ok(Ok(_)) => {}
                            Ok(Err(error)) => {
                                error!(index = index.name(), %error, "refresh failed");
                            }
                            Err(_) => error!(index = index.name(), "refresh panicked"),
                        }
                    }
                    if forgotten.is_none_or(|last| last.elapsed() >= FORGET_EVERY) {
                        forgotten = Some(started);
                        for index in catalog.open_indexes() {
                            if let Err(error) = index.forget_old_requests() {
                                error!(index = index.name(), %error, "old requests are not forgotten");
                            }
                        }
                    }
                    pause = interval.max(started.elapsed());
                }
            })?;
        Ok(Refresher {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The folder of an index.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        let attached = self.attached.get(name).and_then(|one| one.current());
        attached.unwrap_or_else(|| self.folder.join(name))
    }

    /// Whether there is an index of this name, opened or not. One that a reindexing is
    /// making is not there yet.
    pub(super) fn is_there(&self, name: &str) -> bool {
        // Names are checked before they become a path.
        check_name(name).is_ok() && self.path(name).is_dir() && !is_marked(&self.path(name))
    }

    /// Puts an open index among the others.
    pub(super) fn insert(&self, index: Arc<Index>) {
        self.indexes.write().insert(index.name().into(), index);
    }

    /// Takes an index out that nobody has found yet.
    pub(super) fn take_out(&self, name: &str) {
        self.indexes.write().remove(name);
    }

    pub(super) fn not_found(&self, name: &str) -> Error {
        let names = self.names_on_disk().unwrap_or_default();
        Problem::new(Code::IndexNotFound, format!("there is no index {name:?}"))
            .field("index")
            .found(name)
            .expected(if names.is_empty() {
                "an index; there is none yet".to_string()
            } else {
                format!("one of: {}", names.join(", "))
            })
            .into()
    }

    /// The folder that holds the indexes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// What became of a definition.
pub enum Defined {
    /// There was no index of its name: now there is.
    Created(Arc<Index>),
    /// It took the place of another one.
    Changed(Arc<Index>),
    /// It says what was in force already.
    Same(Arc<Index>),
}

/// Makes a folder that other users of the machine may not look into, in folders as usual.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above)?;
    }
    let made = std::fs::DirBuilder::new().mode(0o750).create(folder);
    match made {
        // Another process was quicker.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn is(error: &Error, code: Code) -> bool {
    error.problem().is_some_and(|problem| problem.code == code)
}

fn being_opened(name: &str) -> Error {
    Problem::new(
        Code::Overloaded,
        format!("the index {name:?} is being opened or changed; try again in a second"),
    )
    .field("index")
    .into()
}

/// Stops the background refresh when dropped.
pub struct Refresher {
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Refresher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}
