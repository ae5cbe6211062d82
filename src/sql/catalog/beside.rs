//! Files beside a database's own: what is too much to be read with it every time.
//!
//! A database's file names those that count, and is replaced after they are written and synced:
//! at whatever instant a process ends, what is named is there and whole, and what is not named is
//! swept away by the next change.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{Schemas, cannot_read};
use crate::error::{Error, Result};
use crate::index::sync_parent;
use crate::sql::Cells;
use crate::sql::vectors::Kind;

/// Endings of the files: values, examples, vectors; and of what is not yet any of these.
const CELLS: &str = "cells";
const EXAMPLES: &str = "examples";
const VECTORS: &str = "vectors";
const WRITING: &str = "writing";

/// Where the files of one database are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    /// What the database is told by from others that had its name before or will after.
    pub(super) id: String,
    /// What its values' file is told by from those of other imports; None where there are none.
    pub(super) cells: Option<String>,
}

impl Beside {
    /// The file of stored questions.
    pub(crate) fn examples(&self) -> PathBuf {
        self.folder
            .join(format!("{}.{}.{EXAMPLES}", self.name, self.id))
    }

    /// Whether it is of a database in a catalogue.
    pub(crate) fn is_somewhere(&self) -> bool {
        !self.id.is_empty()
    }

    /// The file of vectors of one kind.
    pub(crate) fn vectors(&self, kind: Kind) -> PathBuf {
        let Beside { name, id, .. } = self;
        self.folder
            .join(format!("{name}.{id}-{}.{VECTORS}", kind.name()))
    }

    /// Replaces the file of vectors, where the database is still there. It may be lost, so that it
    /// is not synced.
    pub(crate) fn write_vectors(&self, kind: Kind, bytes: &[u8]) -> Result<()> {
        let path = self.vectors(kind);
        let cannot = |e| Error::operator_from(format!("cannot write {}", path.display()), e);
        let own = uuid::Uuid::new_v4().simple();
        let beside = self.folder.join(format!("{}.{own}.{WRITING}", self.name));
        let written = std::fs::write(&beside, bytes)
            .map_err(cannot)
            .and_then(|()| {
                let schemas = Schemas::of(&self.folder);
                let _lock = schemas.lock()?;
                let stored = schemas.stored(&self.name)?;
                if stored.is_some_and(|stored| stored.id == self.id) {
                    std::fs::rename(&beside, &path).map_err(cannot)?;
                }
                Ok(())
            });
        // Of no use any more, where it is still there.
        let _ = std::fs::remove_file(&beside);
        written
    }

    fn cells_of(&self, import: &str) -> PathBuf {
        self.folder.join(format!("{}.{import}.{CELLS}", self.name))
    }

    /// Values as they were imported; those of the import that there is now, where this one was
    /// replaced meanwhile.
    pub(super) fn read_cells(&self, newest: impl Fn() -> Result<Option<String>>) -> Result<Cells> {
        // Each time means another import between two lines of this.
        const TRIES: usize = 5;
        let mut import = self.cells.clone();
        for _ in 0..TRIES {
            let Some(name) = import else {
                return Ok(Cells::default());
            };
            if let Some(cells) = read(&self.cells_of(&name))? {
                return Ok(cells);
            }
            import = newest()?.filter(|other| *other != name);
            if import.is_none() {
                break;
            }
        }
        let lost = format!("the values of {} are missing", self.name);
        Err(Error::operator(lost).advice("import the database again"))
    }

    /// Writes values and makes them those of the database.
    pub(super) fn write_cells(&mut self, cells: &Cells) -> Result<()> {
        self.cells = None;
        if !cells.is_empty() {
            let import = uuid::Uuid::new_v4().simple().to_string();
            write(&self.cells_of(&import), cells)?;
            self.cells = Some(import);
        }
        Ok(())
    }

    /// Removes files of this name that do not count any more. What cannot be removed now is with
    /// the next change.
    pub(super) fn sweep(&self) {
        let mut counts = vec![self.examples()];
        counts.extend(self.cells.as_deref().map(|import| self.cells_of(import)));
        counts.extend(Kind::ALL.map(|kind| self.vectors(kind)));
        let prefix = format!("{}.", self.name);
        let Ok(files) = std::fs::read_dir(&self.folder) else {
            return;
        };
        for file in files.flatten() {
            let path = file.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            let ours = file.file_name().to_string_lossy().starts_with(&prefix)
                && ending
                    .is_some_and(|ending| [CELLS, EXAMPLES, VECTORS, WRITING].contains(&ending));
            if ours && !counts.contains(&path) {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

/// What a file holds; None where there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match std::fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|e| cannot_read(path, e))?,
    };
    let read = serde_json::from_slice(&bytes).map_err(|e| cannot_read(path, e))?;
    Ok(Some(read))
}

/// Replaces a file as a whole, durably.
pub(crate) fn write(path: &Path, content: &impl serde::Serialize) -> Result<()> {
    let cannot = |e| Error::operator_from(format!("cannot write {}", path.display()), e);
    let json = serde_json::to_vec(content)
        .map_err(|e| Error::Bug(format!("what is kept does not serialise: {e}")))?;
    let beside = path.with_extension(WRITING);
    let mut file = File::create(&beside).map_err(cannot)?;
    file.write_all(&json)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(cannot)?;
    sync_parent(path)
}
