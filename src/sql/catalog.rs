//! The databases of a data folder, by name.
//!
//! A database is one file in `schemas/`, replaced as a whole and synced before it counts: whatever
//! instant a process ends at, an import and a description have happened or they have not. Several
//! processes may work on one folder: who changes something holds a lock, who reads sees what was
//! written last.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{check, check_database_name};
use super::{Changes, Database, Descriptions};
use crate::error::{Code, Error, Problem, Result};
use crate::index::sync_parent;

/// What the files' shape is called; one of another is refused, not guessed at.
const VERSION: u32 = 1;
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
}

/// As it lies in the file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    source: String,
    imported_at: DateTime<Utc>,
    written: Descriptions,
    database: Database,
}

/// What tells one state of a file from the next.
type Stamp = (Option<SystemTime>, u64, u64);

/// The databases of one data folder.
pub struct Schemas {
    folder: PathBuf,
    read: RwLock<BTreeMap<String, (Stamp, Arc<Entry>)>>,
}

impl Schemas {
    /// Those below a data folder; nothing is made before the first one is put there.
    pub fn new(data: &Path) -> Schemas {
        Schemas {
            folder: data.join("schemas"),
            read: RwLock::default(),
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

    /// The database of this name, as it is now.
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
        let entry = Arc::new(Entry {
            database,
            written: stored.written,
            source: stored.source,
            imported_at: stored.imported_at,
        });
        let mut read = self.read.write();
        read.insert(name.to_string(), (stamp, entry.clone()));
        Ok(entry)
    }

    /// Puts an imported database into the place of the one of its name, durably, and says what
    /// changed; None where there was none. What was written about it stays.
    ///
    /// # Errors
    /// As [`check`]; an operator's error where it cannot be written.
    pub fn put(&self, database: Database, source: &str) -> Result<Option<Changes>> {
        check(&database)?;
        let _lock = self.lock()?;
        let name = database.name.clone();
        let before = self.stored(&name)?;
        let changes = before
            .as_ref()
            .map(|before| Changes::between(&before.database, &database));
        self.write(
            &name,
            &Stored {
                version: VERSION,
                source: source.to_string(),
                imported_at: Utc::now(),
                written: before.map(|before| before.written).unwrap_or_default(),
                database,
            },
        )?;
        Ok(changes)
    }

    /// Makes these the descriptions of a database, durably.
    ///
    /// # Errors
    /// `database_not_found`; as [`Descriptions::check`]; an operator's error where they cannot
    /// be written.
    pub fn describe(&self, name: &str, written: Descriptions) -> Result<Arc<Entry>> {
        self.path(name)?;
        {
            let _lock = self.lock()?;
            let mut stored = self.stored(name)?.ok_or_else(|| not_found(name))?;
            written.check(&stored.database)?;
            stored.written = written;
            self.write(name, &stored)?;
        }
        self.get(name)
    }

    /// Removes a database and what was written about it.
    ///
    /// # Errors
    /// `database_not_found`; an operator's error where the file cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        if !path.is_file() {
            return Err(not_found(name));
        }
        let _lock = self.lock()?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(not_found(name)),
            removed => removed.map_err(|e| {
                Error::operator_from(format!("cannot remove {}", path.display()), e)
            })?,
        }
        self.read.write().remove(name);
        sync_parent(&path)
    }

    /// The file of a database: only of what can be a name, so that none leads elsewhere.
    fn path(&self, name: &str) -> Result<PathBuf> {
        check_database_name(name).map_err(|_| not_found(name))?;
        Ok(self.folder.join(format!("{name}.json")))
    }

    fn lock(&self) -> Result<File> {
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
        let path = self.path(name)?;
        let cannot = |e| Error::operator_from(format!("cannot write {}", path.display()), e);
        let json = serde_json::to_vec(stored)
            .map_err(|e| Error::Bug(format!("a database does not serialise: {e}")))?;
        let beside = path.with_extension("writing");
        let mut file = File::create(&beside).map_err(cannot)?;
        file.write_all(&json)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&beside, &path))
            .map_err(cannot)?;
        sync_parent(&path)?;
        // The folder itself may be new.
        sync_parent(&self.folder)
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
    Problem::new(Code::DatabaseNotFound, "there is no database of this name")
        .field("database")
        .found(name)
        .expected("one that gleaner schema list names")
        .into()
}

#[cfg(test)]
mod tests;
