//! SHA-256 of an index's files, remembered where a file never changes.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::snapshot::is_constant;
use crate::objects;

/// Lies in the index's folder. It is derived: without it files are read once more.
const FILE: &str = "digests.json";

/// The digests of an index's files. A file is known by its inode, which a link to it shares,
/// and counts as the same while its length and time of writing are. Links do not change them.
#[derive(Debug, Default)]
pub(super) struct Digests {
    path: PathBuf,
    known: BTreeMap<u64, Known>,
    /// Those that were asked for: the others are forgotten.
    used: BTreeMap<u64, Known>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    bytes: u64,
    /// Seconds and nanoseconds.
    written: (i64, i64),
    sha256: String,
}

impl Digests {
    /// What is remembered of the index in a folder; nothing where that cannot be read.
    pub(super) fn open(index: &Path) -> Digests {
        let path = index.join(FILE);
        let known = std::fs::read(&path).ok();
        let known = known.and_then(|json| serde_json::from_slice(&json).ok());
        Digests {
            path,
            known: known.unwrap_or_default(),
            used: BTreeMap::new(),
        }
    }

    /// Length and SHA-256 of a file.
    pub(super) fn of(&mut self, file: &Path) -> io::Result<(u64, String)> {
        let data = std::fs::metadata(file)?;
        let written = (data.mtime(), data.mtime_nsec());
        let known = self.known.get(&data.ino());
        let known = known.filter(|known| (known.bytes, known.written) == (data.len(), written));
        let known = match known {
            Some(known) if is_constant(file) => known.clone(),
            _ => {
                let (bytes, sha256) = objects::digest(file)?;
                Known {
                    bytes,
                    written,
                    sha256,
                }
            }
        };
        let found = (known.bytes, known.sha256.clone());
        if is_constant(file) {
            self.used.insert(data.ino(), known);
        }
        Ok(found)
    }

    /// Remembers what was asked for. Where that fails, files are read once more.
    pub(super) fn save(self) {
        if self.used == self.known {
            return;
        }
        let writing = self.path.with_extension("writing");
        let saved = serde_json::to_vec(&self.used)
            .map_err(io::Error::from)
            .and_then(|json| std::fs::write(&writing, json))
            .and_then(|()| std::fs::rename(&writing, &self.path));
        if let Err(error) = saved {
            tracing::warn!(file = %self.path.display(), %error, "digests cannot be remembered");
        }
    }
}
