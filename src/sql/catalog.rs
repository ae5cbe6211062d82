//! The databases of a data folder, by name.
//!
//! A database is one file in `schemas/`, replaced as a whole and synced before it counts: whatever
//! instant a process ends at, an import and a description have happened or they have not. Several
//! processes may work on one folder: who changes something holds a lock, who reads sees what was
//! written last.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lru::LruCache;
use parking_lot::{Mutex, RwLock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bounded::Bounded;
use super::check::{check, check_database_name};
use super::permissions::{not_permitted, restrict};
use super::vectors::{Kind, Others, Shelf};
use super::{Cells, Changes, Database, Descriptions, Permissions};
use crate::error::{Code, Error, Problem, Result};
use crate::index::sync_parent;

mod beside;

pub(crate) use beside::{Beside, read as read_whole, write as write_whole};

/// What the files' shape is called; one of another is refused, not guessed at.
const VERSION: u32 = 1;
/// Columns of what callers may see of databases that is kept ready; a view is a copy of what it
/// shows.
const KEPT_VIEW_COLUMNS: usize = 500_000;
/// Callers whose view is known without looking at the permissions again.
// Not zero, which the compiler sees.
const KNOWN_CALLERS: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();
/// Who changes something holds a lock on this file.
const LOCK: &str = ".lock";

/// A database of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// As it was imported, what was written about it laid over.
    pub database: Database,
    /// What was written about it.
    pub written: Descriptions,
    /// Where it was imported from, without credentials.
    pub source: String,
    /// When it was imported last.
    #[schemars(with = "String")]
    pub imported_at: DateTime<Utc>,
    /// What else is kept of it.
    #[serde(skip)]
    pub(crate) beside: Beside,
    /// Who may see which tables; everybody all where there are none.
    #[serde(skip)]
    pub(crate) permissions: Option<Permissions>,
    /// Whether this is what one caller may see, and not all.
    #[serde(skip)]
    pub(crate) restricted: bool,
}

impl Entry {
    /// A database that is in no catalogue.
    pub(crate) fn alone(database: Database) -> Entry {
        Entry {
            database,
            written: Descriptions::default(),
            source: String::new(),
            imported_at: Utc::now(),
            beside: Beside::default(),
            permissions: None,
            restricted: false,
        }
    }

    /// Who may see which tables, where it is not open to everybody; None of what a caller sees.
    pub fn permissions(&self) -> Option<&Permissions> {
        self.permissions.as_ref()
    }

    /// What tells this from what others may see of the database.
    pub(crate) fn key(&self) -> String {
        let name = &self.database.name;
        if !self.restricted {
            return name.clone();
        }
        let mut tables: Vec<&str> = Vec::new();
        tables.extend(self.database.tables.iter().map(|table| table.name.as_str()));
        tables.sort_unstable();
        view_key(name, tables.into_iter())
    }

    /// Number of its columns.
    pub(crate) fn columns(&self) -> usize {
        let tables = self.database.tables.iter();
        tables.map(|table| table.columns.len()).sum()
    }

    /// Where vectors of one kind are kept. `others` says what becomes of those that are not asked
    /// for; what one caller sees is never all.
    pub(crate) fn shelf(&self, kind: Kind, others: Others) -> Shelf<'_> {
        let others = if self.restricted {
            Others::Stay
        } else {
            others
        };
        Shelf::new(&self.beside, kind, others)
    }

    /// Values of its columns, to be searched.
    ///
    /// # Errors
    /// An operator's error where they cannot be read.
    pub fn cells(&self) -> Result<Cells> {
        let newest = || {
            let schemas = Schemas::of(&self.beside.folder);
            let stored = schemas.stored(&self.beside.name)?;
            Ok(stored.and_then(|stored| stored.cells))
        };
        Ok(self.beside.read_cells(newest)?.within(&self.database))
    }
}

/// As it lies in the file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    source: String,
    imported_at: DateTime<Utc>,
    /// See [`Beside`].
    #[serde(default)]
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cells: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permissions: Option<Permissions>,
    written: Descriptions,
    database: Database,
}

/// What tells one state of a file from the next.
pub(super) type Stamp = (Option<SystemTime>, u64, u64);

/// The databases of one data folder.
pub struct Schemas {
    folder: PathBuf,
    read: RwLock<BTreeMap<String, (Stamp, Arc<Entry>)>>,
    /// What callers may see, by [`Entry::key`], with what it was made of.
    views: Mutex<Bounded<View>>,
    /// By database and caller the key of the view.
    callers: Mutex<LruCache<(String, String), KnownView>>,
}

/// What a view was made of, and its key.
type KnownView = (Weak<Entry>, String);

/// What a view was made of, and the view.
type View = (Arc<Entry>, Arc<Entry>);

impl Schemas {
    /// Those below a data folder; nothing is made before the first one is put there.
    pub fn new(data: &Path) -> Schemas {
        Schemas::of(&data.join("schemas"))
    }

    fn of(folder: &Path) -> Schemas {
        Schemas {
            folder: folder.to_path_buf(),
            read: RwLock::default(),
            views: Mutex::new(Bounded::new(KEPT_VIEW_COLUMNS)),
            callers: Mutex::new(LruCache::new(KNOWN_CALLERS)),
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
            let name = entry.map_err(cannot)?.file_name();
            let name = name.to_string_lossy();
            if let Some(name) = name.strip_suffix(".json")
                && check_database_name(name).is_ok()
            {
                names.push(name.to_string());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The database of this name as a caller may see it: all of it where it has no permissions.
    /// This is what questions are answered from.
    ///
    /// # Errors
    /// As [`Schemas::get`]; `caller_not_permitted` for a caller who may see no table of it, and
    /// for none where it has permissions.
    pub fn visible(&self, name: &str, caller: Option<&str>) -> Result<Arc<Entry>> {
        let whole = self.get(name)?;
        let Some(permissions) = &whole.permissions else {
            return Ok(whole);
        };
        let access = permissions.of(name, caller)?;
        let by_caller = (name.to_string(), caller.unwrap_or_default().to_string());
        let known = self.callers.lock().get(&by_caller).cloned();
        let known = known.filter(|(of, _)| of.as_ptr() == Arc::as_ptr(&whole));
        // The same object for the same sight, so that what is made ready of it is found again.
        let view = |key: &str| {
            let mut views = self.views.lock();
            let (of, view) = views.get(key)?;
            Arc::ptr_eq(of, &whole).then(|| view.clone())
        };
        if let Some(view) = known.and_then(|(_, key)| view(&key)) {
            return Ok(view);
        }
        let tables = access.tables(&whole.database)?;
        if tables.is_empty() {
            return Err(not_permitted(name, caller).into());
        }
        let key = view_key(name, tables.iter().copied());
        let mut callers = self.callers.lock();
        callers.put(by_caller, (Arc::downgrade(&whole), key.clone()));
        drop(callers);
        if let Some(view) = view(&key) {
            return Ok(view);
        }
        let (database, written) = restrict(&whole, &tables);
        let view = Arc::new(Entry {
            database,
            written,
            // A path or a host, which is for who looks after the databases.
            source: String::new(),
            imported_at: whole.imported_at,
            beside: whole.beside.clone(),
            // Those of others are not the caller's to know.
            permissions: None,
            restricted: true,
        });
        let size = view.columns();
        let mut views = self.views.lock();
        views.put(key, (whole.clone(), view.clone()), size);
        Ok(view)
    }

    /// The databases that a caller may see tables of, in the order of their names. One that is
    /// removed meanwhile, or damaged, is left out, and logged.
    ///
    /// # Errors
    /// As [`Schemas::names`].
    pub fn all_visible(&self, caller: Option<&str>) -> Result<Vec<Arc<Entry>>> {
        let mut all = Vec::new();
        for name in self.names()? {
            match self.visible(&name, caller) {
                Ok(entry) => all.push(entry),
                Err(error) => {
                    let problem = error.problem();
                    if problem.is_none_or(|p| p.code != Code::CallerNotPermitted) {
                        tracing::warn!(database = name, %error, "a database is left out");
                    }
                }
            }
        }
        Ok(all)
    }

    /// The database of this name, as it is now, whoever may see it: for who looks after it.
    ///
    /// # Errors
    /// `database_not_found`; an operator's error for a file that cannot be read.
    pub fn get(&self, name: &str) -> Result<Arc<Entry>> {
        let path = self.path(name)?;
        // The stamp first: what is replaced meanwhile is read again the next time.
        let stamp = match std::fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.read.write().remove(name);
                return Err(not_found(name));
            }
            metadata => stamp(&metadata.map_err(|e| cannot_read(&path, e))?),
        };
        if let Some((read, entry)) = self.read.read().get(name)
            && *read == stamp
        {
            return Ok(entry.clone());
        }
        let stored = self.stored(name)?.ok_or_else(|| not_found(name))?;
        let mut database = stored.database;
        stored.written.lay_over(&mut database);
        let beside = Beside {
            folder: self.folder.clone(),
            name: name.to_string(),
            id: stored.id,
            cells: stored.cells,
        };
        let entry = Arc::new(Entry {
            beside,
            database,
            written: stored.written,
            source: stored.source,
            imported_at: stored.imported_at,
            permissions: stored.permissions,
            restricted: false,
        });
        let mut read = self.read.write();
        read.insert(name.to_string(), (stamp, entry.clone()));
        Ok(entry)
    }

    /// Puts an imported database into the place of the one of its name, durably, and says what
    /// changed; None where there was none. `cells` are its values that questions are searched for.
    /// What was written about it stays, and so do its examples and permissions.
    ///
    /// # Errors
    /// As [`check`]; an operator's error where it cannot be written.
    pub fn put(&self, database: Database, cells: &Cells, source: &str) -> Result<Option<Changes>> {
        check(&database)?;
        let _lock = self.lock()?;
        let name = database.name.clone();
        let before = self.stored(&name)?;
        let changes = before
            .as_ref()
            .map(|before| Changes::between(&before.database, &database));
        let (id, written, permissions) = match before {
            Some(before) => (before.id, before.written, before.permissions),
            None => (
                uuid::Uuid::new_v4().simple().to_string(),
                Descriptions::default(),
                None,
            ),
        };
        let mut beside = Beside {
            folder: self.folder.clone(),
            name: name.clone(),
            id,
            cells: None,
        };
        beside.write_cells(cells)?;
        self.write(
            &name,
            &Stored {
                version: VERSION,
                source: source.to_string(),
                imported_at: Utc::now(),
                id: beside.id.clone(),
                cells: beside.cells.clone(),
                permissions,
                written,
                database,
            },
        )?;
        beside.sweep();
        Ok(changes)
    }

    /// Changes the descriptions of a database, durably; what others change meanwhile stays.
    ///
    /// # Errors
    /// `database_not_found`; as [`Descriptions::check`]; those of `change`; an operator's error
    /// where they cannot be written.
    pub fn describe(
        &self,
        name: &str,
        change: impl FnOnce(&mut Descriptions, &Database) -> Result<()>,
    ) -> Result<Arc<Entry>> {
        self.path(name)?;
        {
            let _lock = self.lock()?;
            let mut stored = self.stored(name)?.ok_or_else(|| not_found(name))?;
            stored.written = stored.written.spelt(&stored.database);
            change(&mut stored.written, &stored.database)?;
            stored.written.check(&stored.database)?;
            stored.written = stored.written.spelt(&stored.database);
            self.write(name, &stored)?;
        }
        self.get(name)
    }

    /// Changes the permissions of a database, durably; None opens it to everybody. What others
    /// change meanwhile stays.
    ///
    /// # Errors
    /// `database_not_found`; as [`Permissions::check`]; those of `change`; an operator's error
    /// where they cannot be written.
    pub fn permit(
        &self,
        name: &str,
        change: impl FnOnce(&mut Option<Permissions>) -> Result<()>,
    ) -> Result<Arc<Entry>> {
        self.path(name)?;
        {
            let _lock = self.lock()?;
            let mut stored = self.stored(name)?.ok_or_else(|| not_found(name))?;
            let before = stored.permissions.clone();
            change(&mut stored.permissions)?;
            if let Some(permissions) = &stored.permissions {
                permissions.check()?;
            }
            if stored.permissions != before {
                self.write(name, &stored)?;
            }
        }
        self.get(name)
    }

    /// Removes a database and what was written about it.
    ///
    /// # Errors
    /// `database_not_found`; an operator's error where the file cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        if !self.folder.is_dir() {
            return Err(not_found(name));
        }
        let _lock = self.lock()?;
        let removed = std::fs::remove_file(&path);
        // Of no database: nothing of this name counts any more. Also where somebody removed the
        // database and did not come to this.
        let beside = Beside {
            folder: self.folder.clone(),
            name: name.to_string(),
            ..Beside::default()
        };
        match removed {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                beside.sweep();
                return Err(not_found(name));
            }
            removed => removed.map_err(|e| {
                Error::operator_from(format!("cannot remove {}", path.display()), e)
            })?,
        }
        self.read.write().remove(name);
        sync_parent(&path)?;
        beside.sweep();
        Ok(())
    }

    /// The file of a database: only of what can be a name, so that none leads elsewhere.
    fn path(&self, name: &str) -> Result<PathBuf> {
        check_database_name(name).map_err(|_| not_found(name))?;
        Ok(self.folder.join(format!("{name}.json")))
    }

    pub(super) fn lock(&self) -> Result<File> {
        let path = self.folder.join(LOCK);
        let cannot = |e| Error::operator_from(format!("cannot lock {}", path.display()), e);
        std::fs::create_dir_all(&self.folder).map_err(cannot)?;
        let file = File::create(&path).map_err(cannot)?;
        file.lock().map_err(cannot)?;
        Ok(file)
    }

    fn stored(&self, name: &str) -> Result<Option<Stored>> {
        let path = self.path(name)?;
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|e| cannot_read(&path, e))?,
        };
        let stored: Stored = serde_json::from_slice(&bytes)
            .map_err(|e| cannot_read(&path, e).advice("remove the database and import it again"))?;
        if stored.version != VERSION {
            let message = format!("{} is of version {}", path.display(), stored.version);
            return Err(Error::operator(message).advice("import the database again"));
        }
        Ok(Some(stored))
    }

    fn write(&self, name: &str, stored: &Stored) -> Result<()> {
        write_whole(&self.path(name)?, stored)?;
        // The folder itself may be new.
        sync_parent(&self.folder)
    }
}

/// What tells a view of a database from others: its tables, in the order of their names.
fn view_key<'t>(name: &str, tables: impl Iterator<Item = &'t str>) -> String {
    let mut digest = Sha256::new();
    for table in tables {
        digest.update((table.len() as u64).to_le_bytes());
        digest.update(table);
    }
    let digest = digest.finalize();
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    // No name of a database has a space.
    format!("{name} {digits}")
}

fn cannot_read(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::operator_from(format!("cannot read {}", path.display()), error)
}

pub(super) fn stamp(metadata: &Metadata) -> Stamp {
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let number = 0;
    (metadata.modified().ok(), metadata.len(), number)
}

fn not_found(name: &str) -> Error {
    Problem::new(Code::DatabaseNotFound, "there is no database of this name")
        .field("database")
        .found(name)
        .expected("one that gleaner schema list names")
        .into()
}

#[cfg(test)]
mod tests;
