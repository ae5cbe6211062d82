//! Other names of indexes, which can be moved from one to another in one step.
//!
//! Kept in one small file beside the indexes, replaced as a whole: whatever instant a
//! process ends at, all changes of a request have happened or none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use parking_lot::RwLock;

use super::open::sync_parent;
use crate::error::{Error, Result};

/// Aliases and the indexes they stand for.
pub(super) struct Aliases {
    path: PathBuf,
    current: RwLock<BTreeMap<String, String>>,
}

impl Aliases {
    /// Those of the file, none if there is no file.
    pub(super) fn open(path: PathBuf) -> Result<Aliases> {
        let current = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                Error::operator_from(format!("{} cannot be read", path.display()), e)
                    .advice("mend it: it is a JSON object of aliases and names of indexes")
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => {
                let what = format!("cannot read {}", path.display());
                return Err(Error::operator_from(what, e));
            }
        };
        Ok(Aliases {
            path,
            current: RwLock::new(current),
        })
    }

    /// The index that an alias stands for.
    pub(super) fn resolve(&self, alias: &str) -> Option<String> {
        self.current.read().get(alias).cloned()
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<String, String> {
        self.current.read().clone()
    }

    /// Makes these the aliases there are, durably.
    pub(super) fn replace(&self, aliases: BTreeMap<String, String>) -> Result<()> {
        let cannot = |e| Error::operator_from(format!("cannot write {}", self.path.display()), e);
        let json = serde_json::to_vec_pretty(&aliases)
            .map_err(|e| Error::Bug(format!("aliases do not serialise: {e}")))?;
        let beside = self.path.with_extension("writing");
        let mut file = File::create(&beside).map_err(cannot)?;
        file.write_all(&json)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&beside, &self.path))
            .map_err(cannot)?;
        // Whatever becomes of the sync, this is what the file says.
        *self.current.write() = aliases;
        sync_parent(&self.path)
    }
}
